#include "services/node/reload.hpp"

#include <algorithm>
#include <string_view>

namespace corelane::services {
namespace {

constexpr std::string_view kLevel = "log.level";
constexpr std::string_view kOrigins = "websocket.origins";
constexpr std::string_view kReloadable[] = {kLevel, kOrigins};

std::string path_of(const config::Setting& setting) {
  return std::string{setting.section} + "." + std::string{setting.key};
}

}  // namespace

Reloaded compare(const config::Configuration& running, const config::ConfigResult& now) {
  Reloaded reloaded;
  for (const config::ConfigError& error : now.errors) reloaded.errors.push_back(error.text());
  if (!reloaded.errors.empty()) return reloaded;
  const config::Configuration& values = now.config;
  reloaded.log_level = values.text(kLevel);
  reloaded.origins = values.list(kOrigins);
  for (const config::Setting& setting : values.table().settings()) {
    const std::string path = path_of(setting);
    const config::Setting* const before = running.table().find(path);
    if (before == nullptr || running.of(*before) == values.of(setting)) continue;
    const bool is_taken = std::ranges::find(kReloadable, path) != std::end(kReloadable);
    (is_taken ? reloaded.taken : reloaded.need_restart).push_back(path);
  }
  return reloaded;
}

}  // namespace corelane::services
