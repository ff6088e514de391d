#pragma once
// What `serve` and `echo` have in common: reading the configuration, and the answers that need no
// server (--help, --print-config, --check-config, errors).

#include <optional>
#include <string>
#include <vector>

#include "services/config/config.hpp"
#include "services/config/server_options.hpp"
#include "tools/commands.hpp"

namespace corelane::tools {

struct LoadedConfig {
  services::config::ServerConfig config;  // with the host's defaults filled in
  std::vector<int> cpus;                  // that this process may use
  bool connections_chosen = false;        // limits.connections_max is not the default
  std::optional<int> exit_code;           // nothing more is to be done
};

services::ProcessOptions process_options(const LoadedConfig& loaded);

// Prints what is asked for, and all errors and warnings.
LoadedConfig load_server_config(const std::string& command, const Arguments& arguments);

}  // namespace corelane::tools
