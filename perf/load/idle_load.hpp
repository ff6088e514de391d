#pragma once
// The idle load: opens many connections, holds them without a word (pings are answered), and
// reports what each costs the server in memory. The connections are held by processes of their own,
// as many as the limit of descriptors of a process asks for (RLIMIT_NOFILE, one a connection), so
// neither that limit nor the ports of one address bound their number.

#include <cstdint>
#include <optional>

#include "perf/load/process_sample.hpp"
#include "perf/load/settings.hpp"
#include "runtime/result.hpp"
#include "runtime/types.hpp"

namespace corelane::perf {

struct IdleResult {
  std::uint32_t opened = 0;
  std::uint32_t closed_early = 0;  // while they were held
  double open_seconds = 0;
  ProcessMemory before{};                      // with no connection of ours
  ProcessMemory held{};                        // with all of them
  std::optional<std::uint64_t> kernel_before;  // kernel_waiting_bytes(), at the same times
  std::optional<std::uint64_t> kernel_held;
  ProcessSample opening{};  // what the server used while they were opened
};

// Blocks the calling thread, in a process without any other. Settings::server_pid is required. With
// Protocol::opcode each connection asks WhoAmI, so that it is a session that was used. Memory is
// read `hold` after the last has opened. From one source address the kernel gives about 28,000
// ports to one target; errors beyond that are EADDRNOTAVAIL. Other errors: limit_exceeded where the
// limit of descriptors leaves none for connections, ESRCH, those of Opener::open(), of the ring, of
// pipe(2) and fork(2).
runtime::Result<IdleResult> run_idle(const Settings& settings, runtime::Nanoseconds hold);

}  // namespace corelane::perf
