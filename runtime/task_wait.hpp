#pragma once
// What a suspended coroutine waits for: said by the awaiters, for lists of tasks
// (runtime/task_list.hpp). Nothing of it is made before a list is asked for, but for the time at
// which a wait began.

#include <cstdint>

#include "runtime/types.hpp"

namespace corelane::runtime {

enum class WaitKind : std::uint8_t {
  none,       // runs, is about to, or waits for something that does not say so
  timer,      // `at`: its deadline, on the ring's clock
  operation,  // of the ring: `what` it does, with `descriptor`
  queue,      // for other coroutines: `what` is the kind of the queue
  reply,      // for an answer (runtime/reply.hpp)
  core,       // for a function on another core: `core`
  thread,     // for a function that blocks, on a thread
  group,      // for the tasks of a group: `what` is its name, `tasks` how many, at most
              // kListedTasksMax of runtime/task_list.hpp
};

struct TaskWait {
  WaitKind kind = WaitKind::none;
  const char* what = "";  // a literal
  Nanoseconds waited = 0;
  Nanoseconds at = 0;
  Descriptor descriptor{};
  CoreId core = kNoCore;
  std::size_t tasks = 0;
};

// When a wait began: in units of 2^20 ns, so that it fits where an awaiter has 4 bytes to spare. A
// wait of more than 52 days shows as a shorter one.
class WaitBegin {
 public:
  void set(Nanoseconds now) noexcept { units_ = units_of(now); }
  Nanoseconds waited(Nanoseconds now) const noexcept {
    return Nanoseconds{units_of(now) - units_} << kShift;
  }

 private:
  static constexpr int kShift = 20;
  static std::uint32_t units_of(Nanoseconds time) noexcept {
    return static_cast<std::uint32_t>(time >> kShift);
  }
  std::uint32_t units_ = 0;
};

}  // namespace corelane::runtime
