#pragma once
// Prints a server program's configuration, errors and warnings before it serves, and decides
// whether it goes on.

#include <optional>

#include "services/config/config.hpp"

namespace corelane::services::config {

inline constexpr int kExitUsage = 2;         // arguments or configuration
inline constexpr int kExitOutputFailed = 7;  // stdout took nothing more: a full disk

// Prints what was asked for (--help, --print-config, --check-config), all errors and all warnings.
// The exit code, if nothing more is to be done.
std::optional<int> answer(const ConfigResult& result);

}  // namespace corelane::services::config
