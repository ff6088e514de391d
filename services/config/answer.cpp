#include "services/config/answer.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <string_view>

#include "runtime/log.hpp"

namespace corelane::services::config {
namespace {

// Not fmt::print(), which throws where the disk is full. The exit code.
int print(std::FILE* to, std::string_view text) {
  const bool all = std::fwrite(text.data(), 1, text.size(), to) == text.size();
  return std::fflush(to) == 0 && all ? 0 : kExitOutputFailed;
}

}  // namespace

std::optional<int> answer(const ConfigResult& result) {
  if (result.action == ConfigAction::help && result.ok()) return print(stdout, result.help);
  // A server writes its warnings without waiting for a reader; a command that only checks waits.
  const bool runs = result.ok() && result.action == ConfigAction::run;
  for (const std::string& warning : result.warnings) {
    if (runs) {
      runtime::log(runtime::LogLevel::warning, warning);
    } else {
      print(stderr, fmt::format("corelane: warning: {}\n", warning));
    }
  }
  for (const ConfigError& error : result.errors) print(stderr, error.text() + "\n");
  if (!result.ok()) return kExitUsage;
  switch (result.action) {
    case ConfigAction::print_config:
      return print(stdout, print_config(result));
    case ConfigAction::check_config:
      return print(stdout, fmt::format("the configuration {}\n",
                                       result.warnings.empty() ? "is in order"
                                                               : "can be used, see the warnings"));
    case ConfigAction::run:
    case ConfigAction::help:
      break;
  }
  return std::nullopt;
}

}  // namespace corelane::services::config
