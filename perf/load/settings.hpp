#pragma once
// Settings: what the command line asks of a load, in one struct for all workloads; each uses the
// fields that concern it. A value, made at start-up, constant while the load runs.

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "perf/load/target.hpp"
#include "runtime/types.hpp"

namespace corelane::perf {

// What is spoken above the scheme.
enum class Protocol : std::uint8_t { raw, opcode, nats, resp };

constexpr std::string_view name_of(Protocol protocol) noexcept {
  switch (protocol) {
    case Protocol::opcode:
      return "opcode";
    case Protocol::nats:
      return "nats";
    case Protocol::resp:
      return "resp";
    case Protocol::raw:
      break;
  }
  return "raw";
}

struct Settings {
  std::string load;  // the workload's name
  std::string name;  // a label for reports and plots; empty: none
  Target target;
  Protocol protocol = Protocol::raw;
  std::uint32_t connections = 64;
  std::uint32_t depth = 1;  // messages on their way, a connection
  std::uint32_t payload_bytes = 125;
  double rate = 0;  // messages a second in all; 0: a closed loop
  runtime::Nanoseconds warmup = runtime::kSecond;
  runtime::Nanoseconds duration = 5 * runtime::kSecond;
  double ramp_per_second = 0;          // connections; 0: as fast as they open
  std::uint32_t source_addresses = 0;  // 127.0.0.1 and the following; 0: the kernel chooses
  std::uint32_t first_source = 0;      // which of them the first connection has
  int cpu = -1;                        // -1: not pinned
  pid_t server_pid = 0;                // 0: the server's side is not measured
  bool batched = false;                // the next `depth` messages once all of these have come back
  bool compressed = false;             // permessage-deflate is asked for, and insisted on
  bool counts_system_calls = false;    // of the server
  bool shows_progress = false;

  bool is_open_loop() const noexcept { return rate > 0; }
};

}  // namespace corelane::perf
