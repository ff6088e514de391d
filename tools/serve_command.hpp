#pragma once
// What `serve` and `echo` have in common: reading the configuration.

#include <optional>
#include <string>

#include "services/node/settings.hpp"
#include "tools/commands.hpp"

namespace corelane::tools {

// Fills in the options, and prints what is asked for, all errors and warnings. The exit code, if
// nothing more is to be done.
std::optional<int> read_server_settings(services::ServerOptions& options,
                                        services::ServedBy served_by, const std::string& command,
                                        const Arguments& arguments);

}  // namespace corelane::tools
