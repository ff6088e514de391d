#pragma once
// Interval: a timer that repeats, without drift.
//
//   Interval every(std::chrono::seconds(1));
//   for (;;) {
//     const std::uint64_t ticks = co_await every.next();
//     if (ticks == 0) co_return;   // cancelled
//     report(ticks);               // 1, or more if the core or this loop was late
//   }

#include <coroutine>
#include <cstdint>

#include "runtime/assert.hpp"
#include "runtime/await.hpp"
#include "runtime/core.hpp"
#include "runtime/duration.hpp"
#include "runtime/types.hpp"

namespace corelane::runtime {

class Interval {
 public:
  // The first tick comes after one period, which is more than 0. On the core that uses it.
  explicit Interval(Duration period) noexcept
      : period_(period.nanoseconds()), due_(after(Core::current().ring().now(), period_)) {
    RT_ASSERT(period_ > 0);
  }

  class Next {
   public:
    explicit Next(Interval& interval) noexcept : interval_(interval), sleep_(interval.due_) {}
    bool await_ready() const noexcept { return false; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
      return sleep_.await_suspend(handle);
    }
    std::uint64_t await_resume() const noexcept {
      return sleep_.await_resume() ? interval_.pass() : 0;
    }

   private:
    Interval& interval_;
    SleepUntil sleep_;
  };
  // Suspends until the next tick: how many are due since the last one that was waited for. Ticks
  // that were missed are not made up for one by one. 0: cancelled.
  AwaiterFrom<Next, Interval&> next() noexcept { return AwaiterFrom<Next, Interval&>(*this); }

 private:
  std::uint64_t pass() noexcept {
    const Nanoseconds late = Core::current().now() - due_;
    const Nanoseconds ticks = 1 + (late > 0 ? late / period_ : 0);
    due_ = after(due_, ticks * period_);
    return static_cast<std::uint64_t>(ticks);
  }

  Nanoseconds period_;
  Nanoseconds due_;
};

}  // namespace corelane::runtime
