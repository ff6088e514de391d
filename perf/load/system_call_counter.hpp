#pragma once
// SystemCallCounter: how many system calls another process makes, by the kernel's tracepoint
// raw_syscalls:sys_enter, one counter a thread. Needs tracefs and the right to trace (root, or
// kernel.perf_event_paranoid below 0 and a readable tracefs). Each counted call costs the process
// about 50 ns, so CPU figures of the same run are a little high. Threads that the process starts
// later are counted too. Sources: perf_event_open(2).

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace corelane::perf {

class SystemCallCounter {
 public:
  SystemCallCounter() = default;
  ~SystemCallCounter();
  SystemCallCounter(const SystemCallCounter&) = delete;
  SystemCallCounter& operator=(const SystemCallCounter&) = delete;

  // Prepares a counter for each thread of `pid`; where it may not, refused() says why.
  void open(pid_t pid);
  void start() noexcept;
  // Calls since start(); empty if open() was not called or was refused.
  std::optional<std::uint64_t> stop() noexcept;
  const std::string& refused() const noexcept { return refused_; }

 private:
  bool open_thread(std::uint64_t event, pid_t thread);

  std::vector<int> counters_;
  std::string refused_;
};

}  // namespace corelane::perf
