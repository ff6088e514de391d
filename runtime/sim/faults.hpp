#pragma once
// Faults: what goes wrong in a simulated world and how often, and how large its buffers are. A
// value, set when the world is made; the same seed and the same Faults give the same run.
//
// Chances are n in 1000 for each time the thing could happen. Everything here is legal behaviour of
// Linux and io_uring, so a correct program survives all of it; what is rare on a real machine is
// common here.

#include <cstddef>
#include <cstdint>
#include <string>

#include "runtime/types.hpp"

namespace corelane::runtime::sim {

// A span of virtual time from which a delay is drawn, both ends included.
struct DelayRange {
  Nanoseconds low = 0;
  Nanoseconds high = 0;
};

// The kinds, in the order of the members of Faults.
enum class Fault : std::uint8_t {
  short_read,
  short_write,
  reset,
  multishot_end,
  no_buffers,
  accept_failure,
  connect_failure,
  delayed_completion,
  late_cancel,
  lane_reorder,
  slow_core,
  file_error,
  interleave,
};
inline constexpr std::size_t kFaultKinds = 13;

struct Faults {
  // --- Chances, n in 1000
  std::uint32_t short_read = 0;       // a receive or file read brings less than is there
  std::uint32_t short_write = 0;      // a send or file write ends before all is taken
  std::uint32_t reset = 0;            // the connection breaks at a receive or send
  std::uint32_t multishot_end = 0;    // a multishot operation ends after a good completion
  std::uint32_t no_buffers = 0;       // ENOBUFS although the group has buffers
  std::uint32_t accept_failure = 0;   // EMFILE, ENFILE or ECONNABORTED; the connection may wait on
  std::uint32_t connect_failure = 0;  // ECONNREFUSED or ETIMEDOUT
  std::uint32_t delayed_completion = 0;  // a step takes long_delay instead of step_delay
  std::uint32_t late_cancel = 0;         // a cancel request takes long_delay to take effect
  std::uint32_t lane_reorder = 0;        // a lane's batch is cut short, perhaps to nothing
  std::uint32_t slow_core = 0;           // a core that could run is passed over for long_delay
  std::uint32_t file_error = 0;          // EIO, ENOSPC or EINTR from a file operation
  std::uint32_t interleave = 0;          // others have turns within a core's (Ring::interleave)

  // Not among the kinds, and off in harsh() and swarm(): programs that speak UDP ask for it.
  std::uint32_t datagram_loss = 0;  // a datagram does not arrive

  // --- Virtual time
  DelayRange step_delay{1 * kMicrosecond, 20 * kMicrosecond};     // until an operation progresses
  DelayRange network_delay{5 * kMicrosecond, 60 * kMicrosecond};  // one way between two sockets
  DelayRange turn_cost{200, 3 * kMicrosecond};                    // how long a core's turn takes
  DelayRange long_delay{100 * kMicrosecond, 5 * kMillisecond};
  Nanoseconds clock_granularity = 1;  // Ring::now() is rounded down to a multiple of it

  // --- Sizes
  std::uint32_t socket_buffer_bytes = 64 * 1024;  // each of a stream's four kernel buffers
  std::uint32_t descriptors_max = 1u << 20;       // plain ones, of the whole process
  std::uint32_t backlog_max = 4096;               // as net.core.somaxconn

  std::uint32_t chance_of(Fault kind) const noexcept;  // n in 1000
  static const char* name_of(Fault kind) noexcept;

  // The quiet settings of the members above: no faults, plausible delays.
  static Faults none() { return {}; }
  // Everything at once, often, with small buffers, but no reset, connect or accept failure and no
  // file error: nothing that a program could not hide from its users.
  static Faults harsh();
  // A set that depends on the seed: some kinds are off, so that they do not mask each other, the
  // others have random chances; sizes and delays differ too. `breaking` also allows what ends
  // connections or fails operations: reset, connect_failure, accept_failure, file_error.
  static Faults swarm(std::uint64_t seed, bool breaking);

  // What the environment variable CORELANE_FAULTS says: quiet (or none), swarm, breaking (a swarm
  // that also ends connections and fails operations) or harsh; `otherwise` if it is not set.
  static Faults of_environment(std::uint64_t seed, const Faults& otherwise);

  // One line "name=value name=value" of what differs from none().
  std::string text() const;
};

}  // namespace corelane::runtime::sim
