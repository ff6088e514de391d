#pragma once
// Reading the configuration again while the server runs (SIGHUP): which of the changed settings
// take effect at once, and which need a restart.

#include <functional>
#include <string>
#include <vector>

#include "services/config/config.hpp"

namespace corelane::services {

struct Reloaded {
  std::vector<std::string> errors;  // not empty: nothing is taken over
  std::string log_level;
  std::vector<std::string> origins;
  // "log.level", ...: settings that differ from those that the server runs with.
  std::vector<std::string> taken;
  std::vector<std::string> need_restart;
};

// Reads all sources again. Blocks; on any thread, one at a time.
using Reload = std::function<Reloaded()>;

// What `now` has that `running` has not: tables of the same program.
Reloaded compare(const config::Configuration& running, const config::ConfigResult& now);

}  // namespace corelane::services
