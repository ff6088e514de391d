#include "tools/serve_command.hpp"

#include <fmt/core.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <string_view>

#include "runtime/host.hpp"
#include "runtime/log.hpp"
#include "services/config/schema.hpp"
#include "services/node/start_guard.hpp"
#include "tools/exit_code.hpp"

#ifdef CORELANE_MIMALLOC
#include <mimalloc.h>
#endif

namespace corelane::tools {

namespace config = services::config;
using services::config::ConfigAction;
using services::config::ConfigError;
using services::config::ConfigResult;
namespace {

std::string host_name() {
  std::array<char, 65> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) return "node";
  return name.data();
}

// Not fmt::print(), which throws where the disk is full. The exit code.
int print(std::FILE* to, std::string_view text) {
  const bool all = std::fwrite(text.data(), 1, text.size(), to) == text.size();
  return std::fflush(to) == 0 && all ? kExitOk : kExitOutputFailed;
}

// Before the server allocates anything much: what exists already stays where it is.
void choose_page_size(bool huge_pages) {
#ifdef CORELANE_MIMALLOC
  if (huge_pages) mi_option_enable(mi_option_large_os_pages);
#else
  static_cast<void>(huge_pages);
#endif
}

}  // namespace

LoadedConfig load_server_config(const std::string& command, const Arguments& arguments) {
  ConfigResult result = config::load_config(command, arguments, config::process_environment(),
                                            config::read_whole_file);
  LoadedConfig loaded;
  if (result.action == ConfigAction::help && result.ok()) {
    loaded.exit_code = print(stdout, result.help);
    return loaded;
  }
  // A server goes on whether or not its warnings are read; who only checks waits for the reader.
  const bool runs = result.ok() && result.action == ConfigAction::run;
  for (const std::string& warning : result.warnings) {
    if (runs) {
      runtime::log(runtime::LogLevel::warning, warning);
    } else {
      print(stderr, fmt::format("corelane: warning: {}\n", warning));
    }
  }
  for (const ConfigError& error : result.errors) print(stderr, error.text() + "\n");
  if (!result.ok()) {
    loaded.exit_code = kExitUsage;
  } else if (result.action == ConfigAction::print_config) {
    loaded.exit_code = print(stdout, print_config(result));
  } else if (result.action == ConfigAction::check_config) {
    loaded.exit_code =
        print(stdout, fmt::format("the configuration {}\n", result.warnings.empty()
                                                                ? "is in order"
                                                                : "can be used, see the warnings"));
  }
  for (std::size_t i = 0; i < config::settings().size(); ++i) {
    if (setting_path(config::settings()[i]) != "limits.connections_max") continue;
    loaded.connections_chosen = result.origins[i] != "default";
  }
  loaded.config = std::move(result.config);
  loaded.cpus = runtime::allowed_cpus();
  resolve_host_defaults(loaded.config, loaded.cpus, host_name());
  return loaded;
}

services::ProcessOptions process_options(const LoadedConfig& loaded) {
  services::ProcessOptions options = process_options(loaded.config, loaded.cpus);
  options.warns_if_fewer = loaded.connections_chosen;
  return options;
}

int run_serve(const Arguments& arguments) {
  services::guard_start();
  const LoadedConfig loaded = load_server_config("corelane serve", arguments);
  if (loaded.exit_code) return *loaded.exit_code;
  choose_page_size(loaded.config.runtime.huge_pages);
  return services::run_node(process_options(loaded), node_options(loaded.config));
}

}  // namespace corelane::tools
