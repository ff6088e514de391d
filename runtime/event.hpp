#pragma once
// Event: coroutines of one core wait until it is set. It stays set until reset().
//
//   Event ready;
//   const auto waited = co_await ready.wait();   // at once if it is set
//   ready.set();                                 // wakes all that wait

#include "runtime/result.hpp"
#include "runtime/wait_queue.hpp"

namespace corelane::runtime {

class Event {
 public:
  explicit Event(bool is_set = false) noexcept : is_set_(is_set) {}

  // The waiting coroutines are resumed by the loop, also if the event is reset before.
  void set() noexcept {
    waiting_.check_owner("Event");
    is_set_ = true;
    waiting_.wake_all(WaitQueue::Outcome::granted);
  }
  void reset() noexcept {
    waiting_.check_owner("Event");
    is_set_ = false;
  }
  bool is_set() const noexcept { return is_set_; }

  // Suspends until it is set. Error: cancelled.
  detail::QueueWait<Event> wait() noexcept { return detail::QueueWait<Event>(*this); }

 private:
  friend class detail::QueueAwaiter<Event>;
  bool pass() const noexcept {
    waiting_.check_owner("Event");
    return is_set_;
  }

  bool is_set_;
  WaitQueue waiting_{"event"};
};

}  // namespace corelane::runtime
