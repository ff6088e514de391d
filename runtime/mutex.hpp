#pragma once
// Mutex: one coroutine of one core at a time, first come first served, over its waits. (What does
// not wait needs no lock: a core runs one coroutine at a time.)
//
//   const auto lock = co_await mutex.lock();   // unlocked at the end of the block
//   if (!lock) co_return lock.error();
//
// ConditionVariable: waits until another coroutine has changed something. With a lock it is given
// up for the wait, and taken again before the wait ends, also when it ends cancelled.

#include <cstddef>
#include <utility>

#include "runtime/assert.hpp"
#include "runtime/guard.hpp"
#include "runtime/result.hpp"
#include "runtime/task.hpp"
#include "runtime/wait_queue.hpp"

namespace corelane::runtime {

class Mutex;

// Holds the lock until it is destroyed, on the mutex's core, or released.
using MutexLock = detail::Guard<Mutex>;

class Mutex {
 public:
  Mutex() = default;
  ~Mutex() { RT_ASSERT(!is_locked_); }
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

 private:
  using Waiting = detail::QueueAwaiter<Mutex>;
  class Locking : public Waiting {
   public:
    using Waiting::Waiting;
    Result<MutexLock> await_resume() const noexcept {
      const Result<void> taken = Waiting::await_resume();
      if (!taken) return taken.error();
      return MutexLock(this->owner());
    }
  };

 public:
  // Suspends while it is locked: a Result<MutexLock>. Error: cancelled.
  AwaiterFrom<Locking, Mutex&> lock() noexcept { return AwaiterFrom<Locking, Mutex&>(*this); }
  // False if it is locked. For a lock by hand: unlock() follows.
  bool try_lock() noexcept {
    waiting_.check_owner("Mutex");
    return !std::exchange(is_locked_, true);
  }
  void unlock() noexcept {
    waiting_.check_owner("Mutex");
    RT_ASSERT(is_locked_);
    if (waiting_.empty()) {
      is_locked_ = false;
    } else {
      waiting_.wake_front(WaitQueue::Outcome::granted);  // it is handed over
    }
  }
  bool is_locked() const noexcept { return is_locked_; }

 private:
  friend class detail::QueueAwaiter<Mutex>;
  friend class ConditionVariable;
  friend class detail::Guard<Mutex>;
  bool pass() noexcept { return try_lock(); }
  void give_back(std::size_t) noexcept { unlock(); }
  Waiting lock_whatever_happens() noexcept { return Waiting(*this, WaitQueue::OnCancel::ignore); }

  bool is_locked_ = false;
  WaitQueue waiting_{"mutex"};
};

class ConditionVariable {
 public:
  void notify_one() noexcept {
    waiting_.check_owner("ConditionVariable");
    if (!waiting_.empty()) waiting_.wake_front(WaitQueue::Outcome::granted);
  }
  void notify_all() noexcept {
    waiting_.check_owner("ConditionVariable");
    waiting_.wake_all(WaitQueue::Outcome::granted);
  }

  // Suspends until it is notified, always. Error: cancelled.
  detail::QueueWait<ConditionVariable> wait() noexcept {
    return detail::QueueWait<ConditionVariable>(*this);
  }
  Task<Result<void>> wait(MutexLock& lock) {
    Mutex* const mutex = lock.owner();
    RT_ASSERT(mutex != nullptr);
    mutex->unlock();
    const auto notified = co_await wait();
    static_cast<void>(co_await mutex->lock_whatever_happens());
    if (!notified) co_return notified.error();
    co_return Result<void>{};
  }
  // Suspends until it is notified and `condition()` is true; not at all if it is true already.
  template <class Condition>
  Task<Result<void>> wait_until(Condition condition) {
    while (!condition()) {
      const auto notified = co_await wait();
      if (!notified) co_return notified.error();
    }
    co_return Result<void>{};
  }
  template <class Condition>
  Task<Result<void>> wait_until(MutexLock& lock, Condition condition) {
    while (!condition()) {
      const auto notified = co_await wait(lock);
      if (!notified) co_return notified.error();
    }
    co_return Result<void>{};
  }

 private:
  friend class detail::QueueAwaiter<ConditionVariable>;
  static bool pass() noexcept { return false; }

  WaitQueue waiting_{"condition variable"};
};

}  // namespace corelane::runtime
