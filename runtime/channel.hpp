#pragma once
// Channel<T>: a bounded queue between coroutines of one core. send() waits while it is full,
// receive() while it is empty. After close() nothing more is taken in; what is in it can still be
// received, then receive() ends with `closed`.

#include <deque>
#include <optional>
#include <utility>

#include "runtime/owner.hpp"
#include "runtime/result.hpp"
#include "runtime/wait_queue.hpp"

namespace corelane::runtime {

template <class T>
class Channel {
 public:
  explicit Channel(std::size_t capacity) : capacity_(capacity) { RT_ASSERT(capacity > 0); }

  // Errors: closed, cancelled (the value is lost with the sender's frame in both cases).
  Task<Result<void>> send(T value) {
    owner_.check("Channel");
    if (closed_) co_return fail(ErrorCode::closed);
    if (!offer(value)) {
      std::optional<T> slot{std::move(value)};
      WaitQueue::Waiter waiter{senders_, WaitQueue::OnCancel::wake, &slot};
      const WaitQueue::Outcome outcome = co_await waiter;
      if (outcome == WaitQueue::Outcome::closed) co_return fail(ErrorCode::closed);
      if (outcome == WaitQueue::Outcome::cancelled) co_return fail(ErrorCode::cancelled);
    }
    co_return Result<void>{};
  }
  // Without waiting: false if it is full or closed, and then `value` is untouched.
  bool try_send(T& value) {
    owner_.check("Channel");
    return !closed_ && offer(value);
  }

  // Errors: closed (and empty), cancelled.
  Task<Result<T>> receive() {
    owner_.check("Channel");
    if (!items_.empty()) co_return Result<T>{pop()};
    if (closed_) co_return fail(ErrorCode::closed);
    std::optional<T> slot;
    WaitQueue::Waiter waiter{receivers_, WaitQueue::OnCancel::wake, &slot};
    const WaitQueue::Outcome outcome = co_await waiter;
    if (outcome == WaitQueue::Outcome::granted) co_return Result<T>{std::move(*slot)};
    co_return fail(outcome == WaitQueue::Outcome::closed ? ErrorCode::closed
                                                         : ErrorCode::cancelled);
  }

  void close() noexcept {
    owner_.check("Channel");
    closed_ = true;
    receivers_.wake_all(WaitQueue::Outcome::closed);
    senders_.wake_all(WaitQueue::Outcome::closed);
  }
  bool closed() const noexcept { return closed_; }
  std::size_t size() const noexcept { return items_.size(); }

 private:
  // Gives the value to a waiting receiver or to the queue; false if there is no room.
  bool offer(T& value) {
    if (!receivers_.empty()) {
      static_cast<std::optional<T>*>(receivers_.front().slot)->emplace(std::move(value));
      receivers_.wake_front(WaitQueue::Outcome::granted);
      return true;
    }
    if (items_.size() == capacity_) return false;
    items_.push_back(std::move(value));
    return true;
  }
  T pop() {
    T value = std::move(items_.front());
    items_.pop_front();
    if (!senders_.empty()) {
      items_.push_back(std::move(**static_cast<std::optional<T>*>(senders_.front().slot)));
      senders_.wake_front(WaitQueue::Outcome::granted);
    }
    return value;
  }

  OwnerCheck owner_;
  std::size_t capacity_;
  bool closed_ = false;
  std::deque<T> items_;
  WaitQueue receivers_{"channel, to receive"};
  WaitQueue senders_{"channel, to send"};
};

}  // namespace corelane::runtime
