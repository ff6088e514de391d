#pragma once
// Broadcast<T>: coroutines of one core send values, and every subscription gets a copy of each that
// is sent after it was made.
//
//   Broadcast<Price> prices(64);
//   auto mine = prices.subscribe(OnSlow::miss);
//   for (;;) {
//     const auto got = co_await mine.receive();
//     if (!got) break;                                  // closed, or cancelled
//     if (got->missed != 0) note(got->missed);          // values before this one
//     show(got->value);
//   }
//
// The newest `capacity` values are kept, once for all. A subscription that is further behind either
// makes send() wait, or misses the oldest values and is told how many: it chooses. So a value that
// is expensive to copy is sent as a pointer to what is shared. Belongs to one core.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "runtime/assert.hpp"
#include "runtime/owner.hpp"
#include "runtime/result.hpp"
#include "runtime/task.hpp"
#include "runtime/wait_queue.hpp"

namespace corelane::runtime {

// What happens when a subscription is `capacity` values behind.
enum class OnSlow : std::uint8_t {
  wait,  // send() waits until it takes one
  miss,  // it misses the oldest one
};

template <class T>
class Broadcast {
 public:
  // `capacity`: values that are kept.
  explicit Broadcast(std::size_t capacity) : slots_(capacity) { RT_ASSERT(capacity > 0); }
  Broadcast(const Broadcast&) = delete;
  Broadcast& operator=(const Broadcast&) = delete;
  // Closes; its subscriptions receive nothing more.
  ~Broadcast() {
    close();
    for (Subscription* one : subscriptions_) one->from_ = nullptr;
  }

  struct Received {
    T value;
    std::uint64_t missed = 0;  // values between the last one received and this one
  };

  // Ends with its destruction. It is moved while nobody waits in receive().
  class [[nodiscard]] Subscription {
   public:
    Subscription(Broadcast& from, OnSlow on_slow)
        : from_(&from), on_slow_(on_slow), next_(from.end_), index_(from.subscriptions_.size()) {
      from.subscriptions_.push_back(this);
    }
    Subscription(Subscription&& other) noexcept
        : from_(std::exchange(other.from_, nullptr)),
          on_slow_(other.on_slow_),
          next_(other.next_),
          index_(other.index_) {
      if (from_ != nullptr) from_->subscriptions_[index_] = this;
    }
    Subscription& operator=(Subscription&&) = delete;
    ~Subscription() {
      if (from_ != nullptr) from_->leave(*this);
    }

    // Suspends until there is a value. Errors: closed (and everything has been received),
    // cancelled.
    Task<Result<Received>> receive() {
      while (from_ != nullptr && next_ == from_->end_) {
        from_->owner_.check("Broadcast");
        if (from_->closed_) break;
        WaitQueue::Waiter waiter{from_->receivers_};
        const WaitQueue::Outcome outcome = co_await waiter;
        if (outcome == WaitQueue::Outcome::cancelled) co_return fail(ErrorCode::cancelled);
      }
      if (from_ == nullptr || next_ == from_->end_) co_return fail(ErrorCode::closed);
      co_return from_->take(*this);
    }
    // Values that it has not received, those that it will miss included.
    std::uint64_t behind() const noexcept { return from_ != nullptr ? from_->end_ - next_ : 0; }

   private:
    friend class Broadcast;
    Broadcast* from_;  // null: it is gone
    OnSlow on_slow_;
    std::uint64_t next_;  // the position of the value that it receives next
    std::size_t index_;   // in subscriptions_
  };

  // For values that are sent from now on.
  Subscription subscribe(OnSlow on_slow) {
    owner_.check("Broadcast");
    return Subscription(*this, on_slow);
  }
  std::size_t subscriptions() const noexcept { return subscriptions_.size(); }

  // Suspends while a subscription that is waited for is `capacity` values behind. Errors: closed,
  // cancelled (the value is lost in both cases).
  Task<Result<void>> send(T value) {
    owner_.check("Broadcast");
    if (closed_) co_return fail(ErrorCode::closed);
    if (!senders_.empty() || !has_room()) {
      WaitQueue::Waiter waiter{senders_, WaitQueue::OnCancel::wake, &value};
      const WaitQueue::Outcome outcome = co_await waiter;
      if (outcome == WaitQueue::Outcome::closed) co_return fail(ErrorCode::closed);
      if (outcome == WaitQueue::Outcome::cancelled) co_return fail(ErrorCode::cancelled);
      co_return Result<void>{};
    }
    put(std::move(value));
    co_return Result<void>{};
  }
  // Without waiting: false if send() would wait or it is closed, and then `value` is untouched.
  bool try_send(T& value) {
    owner_.check("Broadcast");
    if (closed_ || !senders_.empty() || !has_room()) return false;
    put(std::move(value));
    return true;
  }

  // What was sent can still be received.
  void close() noexcept {
    owner_.check("Broadcast");
    closed_ = true;
    senders_.wake_all(WaitQueue::Outcome::closed);
    receivers_.wake_all(WaitQueue::Outcome::closed);
  }
  bool closed() const noexcept { return closed_; }

 private:
  std::optional<T>& slot(std::uint64_t position) noexcept {
    return slots_[static_cast<std::size_t>(position % slots_.size())];
  }

  void put(T value) {
    if (subscriptions_.empty()) return;
    slot(end_).emplace(std::move(value));
    ++end_;
    receivers_.wake_all(WaitQueue::Outcome::granted);
  }
  Received take(Subscription& by) {
    std::uint64_t missed = 0;
    if (end_ - by.next_ > slots_.size()) missed = end_ - by.next_ - slots_.size();
    by.next_ += missed;
    Received received{.value = *slot(by.next_), .missed = missed};
    const bool may_block = by.on_slow_ == OnSlow::wait && by.next_ + slots_.size() == end_;
    ++by.next_;
    if (may_block) one_less_blocks();
    return received;
  }
  // Whether nobody must be waited for. Counts those who must: they are looked at once for each
  // time that the last of them has moved on.
  bool has_room() noexcept {
    if (blocking_ == 0) {
      for (const Subscription* one : subscriptions_) {
        if (one->on_slow_ == OnSlow::wait && one->next_ + slots_.size() == end_) ++blocking_;
      }
    }
    return blocking_ == 0;
  }
  void one_less_blocks() {
    if (blocking_ == 0 || --blocking_ != 0) return;
    while (!senders_.empty() && has_room()) {
      put(std::move(*static_cast<T*>(senders_.front().slot)));
      senders_.wake_front(WaitQueue::Outcome::granted);
    }
  }
  void leave(const Subscription& one) noexcept {
    owner_.check("Broadcast");
    const bool may_block = one.on_slow_ == OnSlow::wait && one.next_ + slots_.size() == end_;
    subscriptions_[one.index_] = subscriptions_.back();
    subscriptions_[one.index_]->index_ = one.index_;
    subscriptions_.pop_back();
    if (may_block) one_less_blocks();
  }

  OwnerCheck owner_;
  std::vector<std::optional<T>> slots_;
  std::uint64_t end_ = 0;  // the position of the next value
  std::vector<Subscription*> subscriptions_;
  std::size_t blocking_ = 0;  // subscriptions known to be waited for; 0: perhaps none is known
  bool closed_ = false;
  WaitQueue receivers_{"broadcast, to receive"};
  WaitQueue senders_{"broadcast, to send"};
};

}  // namespace corelane::runtime
