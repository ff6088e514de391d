#pragma once
// The idle load: opens many connections, holds them without a word (pings are answered), and
// reports what each costs the server in memory. One core.

#include <sys/types.h>

#include <cstdint>

#include "perf/load/process_sample.hpp"
#include "perf/load/target.hpp"
#include "runtime/result.hpp"
#include "runtime/types.hpp"

namespace perf {

struct IdleOptions {
  Target target;
  std::uint32_t connections = 10'000;
  runtime::Nanoseconds hold = 2 * runtime::kSecond;
  int cpu = -1;
  pid_t server_pid = 0;  // required
};

struct IdleResult {
  std::uint32_t opened = 0;
  std::uint32_t closed_early = 0;  // while they were held
  double open_seconds = 0;
  ProcessMemory before{};   // with no connection of ours
  ProcessMemory held{};     // with all of them
  ProcessSample opening{};  // what the server used while they were opened
};

// From one source address the kernel gives about 28,000 ports to one target; errors beyond that
// are EADDRNOTAVAIL. Other errors: those of open_stream(), of the ring, ESRCH.
runtime::Result<IdleResult> run_idle(const IdleOptions& options);

}  // namespace perf
