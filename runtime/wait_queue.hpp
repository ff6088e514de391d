#pragma once
// WaitQueue: coroutines of one core that wait their turn, first come first served. The raw material
// of Channel and Semaphore: the code that wakes a waiter hands over the value or permit (through
// the waiter's `slot`), so no other coroutine can take it in between.

#include <coroutine>
#include <cstdint>

#include "runtime/assert.hpp"
#include "runtime/cancel.hpp"
#include "runtime/core.hpp"
#include "runtime/owner.hpp"
#include "runtime/result.hpp"
#include "runtime/task.hpp"

namespace corelane::runtime {

class WaitQueue {
 public:
  enum class Outcome : std::uint8_t { waiting, granted, cancelled, closed };

  enum class OnCancel : std::uint8_t {
    wake,    // the wait ends with `cancelled`
    ignore,  // for ends that must be awaited: only granted or closed end the wait
  };

  // One wait, living in the frame of the coroutine that waits. `slot` and `amount` are for the
  // code that wakes it.
  class Waiter final : private Cancellable {
   public:
    explicit Waiter(WaitQueue& queue, OnCancel on_cancel = OnCancel::wake, void* its_slot = nullptr,
                    std::size_t its_amount = 1) noexcept
        : slot(its_slot),
          amount(its_amount),
          queue_(queue),
          ignores_cancel_(on_cancel == OnCancel::ignore) {}
    bool await_ready() const noexcept { return false; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
      CancelScope* scope = scope_of(handle);
      if (!ignores_cancel_ && scope != nullptr && scope->cancelled()) {
        outcome_ = Outcome::cancelled;
        return false;
      }
      name_ = scope != nullptr ? scope->name() : "wait";
      handle_ = handle;
      begin_.set(Core::current().now());
      queue_.append(*this);
      if (!ignores_cancel_ && scope != nullptr) scope->add(*this);
      return true;
    }
    Outcome await_resume() const noexcept { return outcome_; }

    void* const slot;          // where the waker puts what it hands over
    const std::size_t amount;  // how much is waited for (Semaphore)

   private:
    friend class WaitQueue;
    void wake(Outcome outcome) noexcept {
      unlink();
      outcome_ = outcome;
      Core::current().schedule(handle_, name_);
    }
    void on_cancel() noexcept override {
      queue_.remove(*this);
      wake(Outcome::cancelled);
    }
    bool describe_wait(Nanoseconds now, TaskWait& wait) const noexcept override {
      wait.kind = WaitKind::queue;
      wait.what = queue_.what_;
      wait.waited = begin_.waited(now);
      return true;
    }

    WaitQueue& queue_;
    Waiter* next_ = nullptr;
    Waiter* previous_ = nullptr;
    std::coroutine_handle<> handle_;
    const char* name_ = "";
    Outcome outcome_ = Outcome::waiting;
    bool ignores_cancel_;
    WaitBegin begin_;
  };

  WaitQueue() = default;
  // `what` is a literal: what lists of tasks call it.
  explicit WaitQueue(const char* what) noexcept : what_(what) {}
  ~WaitQueue() { RT_ASSERT(first_ == nullptr); }
  WaitQueue(const WaitQueue&) = delete;
  WaitQueue& operator=(const WaitQueue&) = delete;

  bool empty() const noexcept { return first_ == nullptr; }
  std::uint32_t size() const noexcept { return size_; }
  // Debug builds: that this is the owner's core (runtime/owner.hpp). `what` is the class around it.
  void check_owner(const char* what) const noexcept { owner_.check(what); }
  Waiter& front() noexcept { return *first_; }
  void wake_front(Outcome outcome) noexcept {
    owner_.check("WaitQueue");
    Waiter& waiter = *first_;
    remove(waiter);
    waiter.wake(outcome);
  }
  void wake_all(Outcome outcome) noexcept {
    while (!empty()) wake_front(outcome);
  }

 private:
  void append(Waiter& waiter) noexcept {
    owner_.check("WaitQueue");
    waiter.previous_ = last_;
    (last_ != nullptr ? last_->next_ : first_) = &waiter;
    last_ = &waiter;
    ++size_;
  }
  void remove(Waiter& waiter) noexcept {
    (waiter.previous_ != nullptr ? waiter.previous_->next_ : first_) = waiter.next_;
    (waiter.next_ != nullptr ? waiter.next_->previous_ : last_) = waiter.previous_;
    waiter.next_ = nullptr;
    waiter.previous_ = nullptr;
    --size_;
  }

  Waiter* first_ = nullptr;
  Waiter* last_ = nullptr;
  std::uint32_t size_ = 0;
  OwnerCheck owner_;
  const char* what_ = "wake-up";
};

namespace detail {

// Waits in owner.waiting_ unless owner.pass() is true, which has effect then (a lock taken). For
// primitives: allocates nothing. Error: cancelled.
template <class Owner>
class QueueAwaiter {
 public:
  explicit QueueAwaiter(Owner& owner,
                        WaitQueue::OnCancel on_cancel = WaitQueue::OnCancel::wake) noexcept
      : owner_(owner), waiter_(owner.waiting_, on_cancel) {}
  bool await_ready() noexcept { return passed_ = owner_.pass(); }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
    return waiter_.await_suspend(handle);
  }
  Result<void> await_resume() const noexcept {
    if (passed_ || waiter_.await_resume() == WaitQueue::Outcome::granted) return {};
    return fail(ErrorCode::cancelled);
  }

 protected:
  Owner& owner() const noexcept { return owner_; }

 private:
  Owner& owner_;
  bool passed_ = false;
  WaitQueue::Waiter waiter_;
};
template <class Owner>
using QueueWait = AwaiterFrom<QueueAwaiter<Owner>, Owner&>;

}  // namespace detail

}  // namespace corelane::runtime
