#pragma once
// The process around a node: checks that the host can run it, raises the limit of descriptors for
// its connections, refuses addresses on which another process listens, prints its addresses, and
// handles signals:
//
//   SIGTERM, SIGINT   drains: no more connections, 1001 to every client, flush, exit 0 within the
//                     deadline; a second one ends the process at once (128 + signal)
//   SIGHUP            opens the log's file again, and reads the configuration again: takes over
//                     log.level and websocket.origins, and says which other settings
//                     need a restart
//   SIGUSR1           lists all suspended tasks in the log
//
// Until it serves, SIGTERM and SIGINT end it at once (128 + signal), or, in the moment in which the
// cores start, as above. Nothing at the start waits for another process without an end, and what
// becomes of stdout and stderr holds nothing up (runtime/log.hpp).
//
// `corelane serve`, `corelane echo` and framework::app share it. One a process, called from main()
// with no other thread running.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/address.hpp"
#include "runtime/cpu_level.hpp"
#include "runtime/log.hpp"
#include "runtime/log_event.hpp"
#include "runtime/runtime.hpp"
#include "runtime/task.hpp"
#include "services/node/node.hpp"
#include "services/node/reload.hpp"

namespace corelane::services {

using LogLevel = runtime::LogLevel;

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;  // could not start: an address is taken, a limit is too low
// The kernel, or a sandbox, lacks what we need of io_uring; or the processor, of instructions.
inline constexpr int kExitUnavailable = runtime::kCpuExitCode;

struct ProcessOptions {
  runtime::RuntimeOptions runtime{};  // direct descriptors are filled in by run_node
  std::uint64_t connections_max = 1'000'000;
  bool warns_if_fewer = false;  // connections_max was configured, no default
  bool direct_descriptors = true;
  // With what comes after it within the 10 s after which supervisors kill.
  runtime::Nanoseconds drain_deadline = 8 * runtime::kSecond;
  LogLevel log_level = LogLevel::info;
  runtime::LogFormat log_format = runtime::LogFormat::text;
  std::string log_file{};  // empty: stderr
  Reload reload{};         // null: SIGHUP opens the log's file alone
};

// "error", "warning", "debug"; anything else is info.
constexpr LogLevel log_level_of(std::string_view name) noexcept {
  return name == "error"     ? LogLevel::error
         : name == "warning" ? LogLevel::warning
         : name == "debug"   ? LogLevel::debug
                             : LogLevel::info;
}

// Serves a node until a signal has ended it. Prints "listening on ADDRESS (N cores)" to stdout for
// each address once all of them accept, everything else to stderr. Returns the exit code: one of
// the above, or config::kExitUsage for options that cannot be used together.
int run_node(ProcessOptions options, NodeOptions node);

// Why `address` cannot be listened on by a process that must have it alone; empty if it can. Our
// listeners share ports among cores (SO_REUSEPORT), so that the kernel would let a second server
// in and split the connections between both. Another one that starts at the very same time can
// slip through. The file of a Unix socket that nobody listens on is not in the way.
std::optional<runtime::Error> address_taken(const runtime::Address& address);

// A slot for each connection that a core may hold, as far as `descriptor_limit` (RLIMIT_NOFILE)
// and the kernel's own bound let a ring have them.
std::uint32_t direct_table_slots(std::uint64_t connections_max, std::uint32_t cores,
                                 std::uint64_t descriptor_limit);

}  // namespace corelane::services
