#pragma once
// What a server process does around the servers on its cores: it looks whether the host can run
// them, takes the descriptors they need, refuses addresses that another process listens on, says
// what it listens on, and ends as signals ask:
//
//   SIGTERM, SIGINT   drains: no more connections, 1001 to every client, flush, exit 0 within the
//                     deadline; a second one ends the process at once (128 + signal)
//   SIGHUP            is logged and ignored
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
#include <vector>

#include "runtime/address.hpp"
#include "runtime/cpu_level.hpp"
#include "runtime/log.hpp"
#include "runtime/runtime.hpp"
#include "runtime/task.hpp"
#include "services/node/node.hpp"

namespace corelane::services {

using LogLevel = runtime::LogLevel;

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;  // could not start: an address is taken, a limit is too low
// The kernel, or a sandbox, lacks what we need of io_uring; or the processor, of instructions.
inline constexpr int kExitUnavailable = runtime::kCpuExitCode;

struct ProcessOptions {
  runtime::RuntimeOptions runtime;       // direct descriptors are filled in by run_process
  std::vector<runtime::Address> listen;  // what must not be taken; run_node fills it in
  std::uint64_t connections_max = 1'000'000;
  bool warns_if_fewer = false;  // connections_max is somebody's wish, not a default
  bool direct_descriptors = true;
  // With what comes after it within the 10 s after which supervisors kill.
  runtime::Nanoseconds drain_deadline = 8 * runtime::kSecond;
  LogLevel log_level = LogLevel::info;
};

// The servers, seen from the main task on core 0.
class Served {
 public:
  Served() = default;
  Served(const Served&) = delete;
  Served& operator=(const Served&) = delete;
  virtual ~Served() = default;

  // What could not be made, for a line of the log; empty if all could.
  virtual runtime::Task<std::string> start() = 0;
  virtual runtime::Task<std::optional<Node::ListenError>> listen() = 0;
  struct Listening {
    runtime::Address address;
    const char* note = "";  // for people, "tcp"; may be empty
  };
  virtual std::vector<Listening> listening() const = 0;
  // Ends all connections, politely until the deadline. Returns how many had to be cut off.
  virtual runtime::Task<std::uint32_t> drain(runtime::Nanoseconds deadline) = 0;
  // After drain(), also when listen() failed; not when start() did.
  virtual runtime::Task<void> stop() = 0;
};

// Runs until a signal has ended it. Prints "listening on ADDRESS (N cores)" to stdout for each
// address once all of them accept, everything else to stderr. Returns the exit code.
int run_process(ProcessOptions options, Served& served);
// The same for a node, on the addresses that it is to listen on.
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
