#pragma once
// What /proc tells about a thread of this process: how long it ran, how long it waited for a CPU,
// and whether it does either now. For the stall monitor, which must not blame a handler for a busy
// machine. Three system calls at most and no allocation; any thread may ask about any other.

#include <sys/types.h>

#include <cstdint>

namespace corelane::runtime {

struct ThreadTimes {
  std::int64_t running_ns = 0;
  std::int64_t waiting_ns = 0;  // ready, but without a CPU; a wait is added when it ends
};

// `schedstat_fd` is an open /proc/<process>/task/<thread>/schedstat. Zeros if it is none (-1, or a
// kernel without that file), so that nothing is deducted.
ThreadTimes thread_times(int schedstat_fd) noexcept;

// Whether the thread runs or waits for a CPU, as opposed to being blocked. True if nothing is
// known.
bool is_runnable(pid_t thread_id) noexcept;

}  // namespace corelane::runtime
