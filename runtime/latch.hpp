#pragma once
// Latch: coroutines of one core wait until an event has happened `count` times. It opens once.
// Barrier: `parties` coroutines wait for each other, in each round.
//
//   Latch started(workers);            Barrier round(players);
//   started.count_down();              const auto last = co_await round.arrive_and_wait();
//   co_await started.wait();

#include <cstddef>

#include "runtime/assert.hpp"
#include "runtime/result.hpp"
#include "runtime/wait_queue.hpp"

namespace corelane::runtime {

class Latch {
 public:
  explicit Latch(std::size_t count) noexcept : left_(count) {}

  // At most as often as the latch's count.
  void count_down(std::size_t by = 1) noexcept {
    waiting_.check_owner("Latch");
    RT_ASSERT(by <= left_);
    left_ -= by;
    if (left_ == 0) waiting_.wake_all(WaitQueue::Outcome::granted);
  }
  bool is_open() const noexcept { return left_ == 0; }
  // Suspends until the count is 0. Error: cancelled.
  detail::QueueWait<Latch> wait() noexcept { return detail::QueueWait<Latch>(*this); }

 private:
  friend class detail::QueueAwaiter<Latch>;
  bool pass() const noexcept {
    waiting_.check_owner("Latch");
    return is_open();
  }

  std::size_t left_;
  WaitQueue waiting_{"latch"};
};

class Barrier {
 public:
  explicit Barrier(std::size_t parties) noexcept : parties_(parties) { RT_ASSERT(parties > 0); }

 private:
  using Waiting = detail::QueueAwaiter<Barrier>;
  class Arrival : public Waiting {
   public:
    explicit Arrival(Barrier& barrier) noexcept : Waiting(barrier) {}
    bool await_ready() noexcept { return is_last_ = Waiting::await_ready(); }
    Result<bool> await_resume() const noexcept {
      const Result<void> met = Waiting::await_resume();
      if (!met) return met.error();
      return is_last_;
    }

   private:
    bool is_last_ = false;
  };

 public:
  // Suspends until all parties have arrived: true for the one that arrived last. Error: cancelled;
  // the arrival is taken back at the moment of the cancel.
  AwaiterFrom<Arrival, Barrier&> arrive_and_wait() noexcept {
    return AwaiterFrom<Arrival, Barrier&>(*this);
  }

 private:
  friend class detail::QueueAwaiter<Barrier>;
  // The parties that have arrived are those in the queue: a cancel removes one at once.
  bool pass() noexcept {
    waiting_.check_owner("Barrier");
    if (waiting_.size() + 1 < parties_) return false;
    waiting_.wake_all(WaitQueue::Outcome::granted);
    return true;
  }

  std::size_t parties_;
  WaitQueue waiting_{"barrier"};
};

}  // namespace corelane::runtime
