#pragma once
// Exit codes of the corelane program, the same for all commands, so that scripts can tell what
// happened. `doctor` has its own three (tools/doctor.hpp). Ended by a signal: 128 + its number.

#include "services/config/answer.hpp"
#include "services/node/process.hpp"

namespace corelane::tools {

enum ExitCode : int {
  kExitOk = services::kExitOk,
  kExitServerError = services::kExitFailed,  // the server answered with an error; or serve and echo
                                             // could not start
  kExitUsage = services::config::kExitUsage,  // arguments or configuration
  kExitNotConnected = 3,                      // nobody there, or no WebSocket server
  kExitTimeout = 4,
  kExitLost = 5,                                  // the connection ended before all was done
  kExitUnavailable = services::kExitUnavailable,  // no io_uring on this host, or a processor
                                                  // below the build's (runtime/cpu_level.hpp)
  kExitOutputFailed = services::config::kExitOutputFailed,  // stdout took nothing more: a full disk
};

}  // namespace corelane::tools
