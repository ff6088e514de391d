#pragma once
// TimerHeap: exact timers, for sleeping coroutines and deadlines of single operations. A 4-ary heap
// of {deadline, timer} with the timers embedded in what waits: nothing is allocated but the heap's
// own array. (What 100,000 connections share goes into runtime/coarse_timer.hpp instead.)
//
// Owned and used by one core. Times are nanoseconds of the runtime's monotonic clock. Timers with
// equal deadlines fire in the order in which they were queued, so a simulation repeats exactly.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "runtime/assert.hpp"

namespace corelane::runtime {

// Embedded in what waits; immovable, and not queued when destroyed.
struct Timer {
  using Fire = void (*)(Timer&) noexcept;
  static constexpr std::uint32_t kNotQueued = std::numeric_limits<std::uint32_t>::max();

  explicit Timer(Fire fire_function) noexcept : fire(fire_function) {}
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer() { RT_ASSERT(!queued()); }

  bool queued() const noexcept { return heap_index != kNotQueued; }

  std::int64_t deadline_ns = 0;           // meaningful while queued
  Fire fire;                              // called unqueued; may queue, cancel or destroy any timer
  std::uint32_t heap_index = kNotQueued;  // the heap's own
  std::uint32_t sequence = 0;             // the heap's own: order among equal deadlines
};
static_assert(sizeof(Timer) == 24);

class TimerHeap {
 public:
  static constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

  TimerHeap() = default;
  TimerHeap(const TimerHeap&) = delete;
  TimerHeap& operator=(const TimerHeap&) = delete;
  ~TimerHeap() { RT_ASSERT(entries_.empty()); }

  // Queues a timer that is not queued. O(log n). A deadline in the past is allowed.
  void add(Timer& timer, std::int64_t deadline_ns);

  // False if it was not queued (never added, fired or cancelled before). O(log n).
  bool cancel(Timer& timer) noexcept;

  // Moves a queued timer, or queues it; it counts as queued last among equal deadlines.
  void reschedule(Timer& timer, std::int64_t deadline_ns);

  // The earliest deadline, or kNever.
  std::int64_t next_deadline() const noexcept {
    return entries_.empty() ? kNever : entries_.front().deadline_ns;
  }

  // Fires timers with deadline_ns <= now_ns in order, at most `max`, also those that the fired ones
  // queue. Returns how many; what is left has a next_deadline() <= now_ns.
  std::size_t fire_due(std::int64_t now_ns, std::size_t max) noexcept;

  std::size_t size() const noexcept { return entries_.size(); }

 private:
  // The deadline is repeated here so that sifting reads one line of four children and touches
  // timers only to break ties.
  struct Entry {
    std::int64_t deadline_ns;
    Timer* timer;
  };
  static constexpr std::size_t kArity = 4;

  static bool earlier(const Entry& left, const Entry& right) noexcept;
  void place(std::size_t index, const Entry& entry) noexcept;
  void sift_up(std::size_t index, const Entry& entry) noexcept;
  void sift_down(std::size_t index, const Entry& entry) noexcept;
  // Puts the entry where it belongs, starting from a hole at `index`.
  void settle(std::size_t index, const Entry& entry) noexcept;
  void remove(std::size_t index) noexcept;

  std::vector<Entry> entries_;
  std::uint32_t next_sequence_ = 0;
};

}  // namespace corelane::runtime
