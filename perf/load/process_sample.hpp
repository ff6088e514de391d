#pragma once
// What another process has used so far, read from /proc and its CPU clock: for the server's side of
// a measurement. Plain blocking reads of a few small files, so at the edges of an interval only.
// Sources: clock_getcpuclockid(3), proc_pid_stat(5), proc_pid_status(5).

#include <sys/types.h>

#include <cstdint>
#include <optional>

#include "runtime/result.hpp"

namespace corelane::perf {

struct ProcessSample {
  std::uint64_t cpu_ns = 0;      // of all threads, exact
  std::uint64_t user_ticks = 0;  // of sysconf(_SC_CLK_TCK): for the share of user time only
  std::uint64_t system_ticks = 0;
  std::uint64_t voluntary_switches = 0;    // times a thread went to sleep
  std::uint64_t involuntary_switches = 0;  // times one was put aside for another process
};

struct ProcessMemory {
  std::uint64_t resident_bytes = 0;   // VmRSS
  std::uint64_t anonymous_bytes = 0;  // RssAnon: without the program's own pages
};

// Error: ESRCH, if there is no such process.
runtime::Result<ProcessSample> sample_process(pid_t pid);
runtime::Result<ProcessMemory> sample_memory(pid_t pid);

// What the kernel has allocated for waiting, for all processes: requests of rings, watches of epoll
// and what hangs on them, but not the sockets themselves. Empty: root alone may read it. Source:
// slabinfo(5).
std::optional<std::uint64_t> kernel_waiting_bytes();

// From one sample to a later one of the same process.
ProcessSample operator-(const ProcessSample& to, const ProcessSample& from) noexcept;

// CPU time by mode.
struct CpuTimes {
  std::uint64_t user_ns = 0;
  std::uint64_t system_ns = 0;
  std::uint64_t total_ns() const noexcept { return user_ns + system_ns; }
  friend CpuTimes operator-(const CpuTimes& to, const CpuTimes& from) noexcept {
    return {.user_ns = to.user_ns - from.user_ns, .system_ns = to.system_ns - from.system_ns};
  }
};
// CPU times of the calling thread: the sum is exact, its parts are the kernel's estimate.
CpuTimes own_cpu_times() noexcept;

}  // namespace corelane::perf
