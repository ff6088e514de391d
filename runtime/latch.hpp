#pragma once
// Latch: coroutines of one core wait until something has happened so many times, once. Barrier: so
// many coroutines wait for each other, again and again.
//
//   Latch started(workers);            Barrier round(players);
//   started.count_down();              const auto last = co_await round.arrive_and_wait();
//   co_await started.wait();

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "runtime/assert.hpp"
#include "runtime/result.hpp"
#include "runtime/wait_queue.hpp"

namespace corelane::runtime {

class Latch {
 public:
  explicit Latch(std::size_t count) noexcept : left_(count) {}

  // At most as often as the latch's count.
  void count_down(std::size_t by = 1) noexcept {
    RT_ASSERT(by <= left_);
    left_ -= by;
    if (left_ == 0) waiting_.wake_all(WaitQueue::Outcome::granted);
  }
  bool is_open() const noexcept { return left_ == 0; }
  // Suspends until the count is 0. Error: cancelled.
  detail::QueueWait<Latch> wait() noexcept { return detail::QueueWait<Latch>(*this); }

 private:
  friend class detail::QueueAwaiter<Latch>;
  bool pass() const noexcept { return is_open(); }

  std::size_t left_;
  WaitQueue waiting_;
};

class Barrier {
 public:
  explicit Barrier(std::size_t parties) noexcept : parties_(parties) { RT_ASSERT(parties > 0); }

 private:
  using Waiting = detail::QueueAwaiter<Barrier>;
  class Arrival : public Waiting {
   public:
    explicit Arrival(Barrier& barrier) noexcept : Waiting(barrier), round_(barrier.round_) {}
    bool await_ready() noexcept {
      round_ = owner().round_;
      return is_last_ = Waiting::await_ready();
    }
    Result<bool> await_resume() const noexcept {
      const Result<void> met = Waiting::await_resume();
      if (met) return is_last_;
      // The others wait for somebody else, unless they met with this arrival all the same.
      if (round_ == owner().round_) --owner().arrived_;
      return met.error();
    }

   private:
    std::uint64_t round_;
    bool is_last_ = false;
  };

 public:
  // Suspends until all parties have arrived: true for the one that arrived last. Error: cancelled;
  // the arrival is taken back then.
  AwaiterFrom<Arrival, Barrier&> arrive_and_wait() noexcept {
    return AwaiterFrom<Arrival, Barrier&>(*this);
  }

 private:
  friend class detail::QueueAwaiter<Barrier>;
  bool pass() noexcept {
    if (++arrived_ < parties_) return false;
    arrived_ = 0;
    ++round_;
    waiting_.wake_all(WaitQueue::Outcome::granted);
    return true;
  }

  std::size_t parties_;
  std::size_t arrived_ = 0;
  std::uint64_t round_ = 0;
  WaitQueue waiting_;
};

}  // namespace corelane::runtime
