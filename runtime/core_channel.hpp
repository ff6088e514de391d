#pragma once
// CoreChannel<T>: a bounded queue from any cores to one core. It is made, read and destroyed on its
// home core; each CoreSender puts values in from one core.
//
//   CoreChannel<Job> jobs(1024);                              // on the core that receives
//   auto feed = [to = jobs.sender(1)]() mutable { return produce(std::move(to)); };
//   group.spawn("feed", ...);                                 // submit_to(1, std::move(feed))
//   for (;;) {
//     const auto job = co_await jobs.receive();
//     if (!job) break;                                        // closed, or cancelled
//   }
//
//   Task<void> produce(CoreSender<Job> to) {                  // on core 1
//     while (auto job = next()) {
//       const auto sent = co_await to.send(std::move(*job));  // waits while the ring is full
//       if (!sent) co_return;
//     }
//   }                                                         // the sender is gone
//
// Values of one sender arrive in the order sent. There is no order between senders, and none is
// starved. Each sender has a ring of `capacity` slots, allocated with it; nothing is allocated
// later. A sender that waits goes on when a quarter of its ring has been taken.
//
// The channel closes when either side calls close(): then nothing more is taken in, everything
// whose send() succeeded can still be received, and after that receive() ends with `closed`. While
// all senders are gone it is the same, until sender() makes another one. (A channel that is to
// outlive its senders keeps one for itself.)
// One that is destroyed drops what is in it, closes, and frees its memory in the background when
// its senders are gone.
//
// Values lie in the rings, and what crosses is one lane message a sender and turn, "so many are
// there", and one back, "so many are taken" (runtime/lanes.hpp). So there are no
// wake-ups beside those of the lanes, and no atomic but the one that says which side of a ring ends
// last; a value arrives in the receiver's next turn. A CoreSender that is destroyed on a thread
// that is no core does not leave its ring while the runtime runs: the channel does not see it go.

#include <algorithm>
#include <atomic>
#include <bit>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "runtime/assert.hpp"
#include "runtime/cache_line.hpp"
#include "runtime/core.hpp"
#include "runtime/owner.hpp"
#include "runtime/result.hpp"
#include "runtime/task.hpp"
#include "runtime/types.hpp"
#include "runtime/wait_queue.hpp"

namespace corelane::runtime {

template <class T>
class CoreSender;

namespace detail {

template <class T>
class ChannelHome;

// The values of one sender, and the part of the channel on its core. Made and freed on the home
// core. The sender's core writes the first part, the home core the second; each tells the other one
// its position by a message.
//
//       head_ (home)          end_            tail_ (sender)
//   ..... [ received later ] [ to be told of ] .....
template <class T>
class SenderRing {
 public:
  SenderRing(ChannelHome<T>& home, CoreId home_core, CoreId core, std::size_t capacity)
      : home_(home),
        home_core_(home_core),
        core_(core),
        capacity_(capacity),
        mask_(std::bit_ceil(capacity) - 1),
        slots_(static_cast<T*>(::operator new((mask_ + 1) * sizeof(T), kAlignment))),
        room_until_(capacity),
        hook_{[](void* ring) noexcept { static_cast<SenderRing*>(ring)->tell(); }, this} {}
  SenderRing(const SenderRing&) = delete;
  SenderRing& operator=(const SenderRing&) = delete;
  ~SenderRing() {
    for (; head_ != tail_; ++head_) slot(head_).~T();
    ::operator delete(slots_, kAlignment);
  }

  // --- On the sender's core
  bool closed() const noexcept { return closed_; }
  bool try_push(T& value) noexcept {
    if (tail_ == room_until_ || closed_) return false;
    ::new (static_cast<void*>(&slot(tail_))) T(std::move(value));
    ++tail_;
    if (!hook_.requested) Core::current().request_flush(FlushPhase::services, hook_);
    return true;
  }
  // Overtakes nobody: while a coroutine waits, the ring is full.
  bool pass(T& value) noexcept {
    owner_.check("CoreSender");
    return try_push(value);
  }
  WaitQueue& waiting() noexcept { return waiting_; }
  // Takes nothing more, and says so behind the last value.
  void end() noexcept {
    if (std::exchange(closed_, true)) return;
    waiting_.wake_all(WaitQueue::Outcome::closed);
    told_ = tail_;
    send_home(Ended{this, tail_});
  }
  void close_channel() noexcept {
    owner_.check("CoreSender");
    if (closed_) return;
    end();
    send_home(CloseAll{this});
  }

  // --- On any core: the CoreSender is gone
  void drop_sender() noexcept {
    // Both owners are told of each other's end: acquire and release for the one that frees it.
    if (abandoned_.exchange(true, std::memory_order_acq_rel)) {
      delete this;
      return;
    }
    Core* const core = Core::current_or_null();
    if (core == nullptr) return;  // the runtime ends, and the home core frees this
    if (core->id() == core_) {
      leave();
    } else {
      core->lanes().send(core_, Drop{this});
    }
  }

 private:
  friend class ChannelHome<T>;
  static constexpr std::align_val_t kAlignment{std::max(alignof(T), kCacheLine)};

  // To the home core. While the sender has not left, its home lives.
  struct Arrived {
    SenderRing* ring;
    std::uint64_t end;
    void deliver(CoreId) const { ring->home_.arrived(*ring, end); }
  };
  struct Ended {
    SenderRing* ring;
    std::uint64_t end;
    void deliver(CoreId) const { ring->home_.ended(*ring, end); }
  };
  struct CloseAll {
    SenderRing* ring;
    void deliver(CoreId) const { ring->home_.close(); }
  };
  struct Left {
    SenderRing* ring;
    void deliver(CoreId) const { ring->home_.left(*ring); }
  };
  struct Released {
    SenderRing* ring;
    void deliver(CoreId) const { ring->home_.free(*ring); }
  };
  // To the sender's core.
  struct Taken {
    SenderRing* ring;
    std::uint64_t head;
    void deliver(CoreId) const { ring->taken(head); }
  };
  struct Close {
    SenderRing* ring;
    void deliver(CoreId) const { ring->end(); }
  };
  struct Drop {
    SenderRing* ring;
    void deliver(CoreId) const { ring->leave(); }
  };
  // The last one: when it is back, no message to this core is under way.
  struct Release {
    SenderRing* ring;
    void deliver(CoreId) const { ring->send_home(Released{ring}); }
  };

  T& slot(std::uint64_t at) noexcept { return slots_[at & mask_]; }
  template <class Message>
  void send_home(const Message& message) noexcept {
    Core::current().lanes().send(home_core_, message);
  }
  void tell() noexcept {
    if (told_ == tail_) return;
    told_ = tail_;
    send_home(Arrived{this, tail_});
  }
  void taken(std::uint64_t head) noexcept {
    room_until_ = head + capacity_;
    while (!waiting_.empty() && try_push(*static_cast<T*>(waiting_.front().slot))) {
      waiting_.wake_front(WaitQueue::Outcome::granted);
    }
  }
  void leave() noexcept {
    RT_ASSERT(waiting_.empty());
    end();
    send_home(Left{this});
  }

  ChannelHome<T>& home_;
  const CoreId home_core_;
  const CoreId core_;
  const std::size_t capacity_;
  const std::size_t mask_;
  T* const slots_;
  std::atomic<bool> abandoned_{false};  // by the CoreSender, or by a home that ends with its core

  // The sender's core.
  alignas(kCacheLine) std::uint64_t tail_ = 0;
  std::uint64_t told_ = 0;  // the home core knows, or will, of the values before this
  std::uint64_t room_until_;
  bool closed_ = false;
  OwnerCheck owner_;
  WaitQueue waiting_{"channel of another core, to send"};
  Core::FlushHook hook_;

  // The home core.
  alignas(kCacheLine) std::uint64_t head_ = 0;
  std::uint64_t end_ = 0;
  std::uint64_t told_back_ = 0;  // the sender knows, or will, of what was taken before this
  SenderRing* next_ready_ = nullptr;
  bool is_ready_ = false;      // in the list of those that have values
  bool is_returning_ = false;  // in the list of those to be told
  bool has_ended_ = false;
  bool has_left_ = false;
  bool is_released_ = false;
};

// What one receive takes.
template <class T>
struct Taking {
  std::optional<T> one;
  std::vector<T>* many = nullptr;
  std::size_t most = 1;
  std::size_t taken = 0;

  void put(T&& value) {
    ++taken;
    if (many != nullptr) {
      many->push_back(std::move(value));
    } else {
      one.emplace(std::move(value));
    }
  }
};

// The channel. Lives until its CoreChannel and all senders are gone; all of it on the home core.
template <class T>
class ChannelHome final : public Errand {
 public:
  explicit ChannelHome(std::size_t capacity)
      : capacity_(capacity),
        hook_{[](void* home) noexcept { static_cast<ChannelHome*>(home)->flush(); }, this} {
    RT_ASSERT(capacity > 0);
    Core::current().send_away(*this);
  }

  SenderRing<T>& add_sender(CoreId core) {
    check_owner();
    RT_ASSERT(core < Core::current().cores());
    rings_.reserve(rings_.size() + 1);
    returning_.reserve(rings_.capacity());
    auto* const ring = new SenderRing<T>(*this, Core::current().id(), core, capacity_);
    rings_.push_back(ring);
    had_senders_ = true;
    ++open_;
    if (closed_) Core::current().lanes().send(core, typename SenderRing<T>::Close{ring});
    return *ring;
  }

  void close() noexcept {
    check_owner();
    if (std::exchange(closed_, true)) return;
    for (SenderRing<T>* ring : rings_) {
      if (!ring->has_ended_) {
        Core::current().lanes().send(ring->core_, typename SenderRing<T>::Close{ring});
      }
    }
    wake_if_over();
  }
  bool is_over() const noexcept {
    return first_ready_ == nullptr && open_ == 0 && (closed_ || had_senders_);
  }

  void take(Taking<T>& into) {
    check_owner();
    while (into.taken < into.most && first_ready_ != nullptr) take_from_first(into);
  }
  WaitQueue& receivers() noexcept { return receivers_; }
  std::size_t size() const noexcept { return size_; }
  std::size_t senders() const noexcept { return rings_.size(); }

  // The CoreChannel is gone.
  void abandon() noexcept {
    check_owner();
    RT_ASSERT(receivers_.empty());
    abandoned_ = true;
    close();
    discard();
    free_if_last();
  }

 private:
  friend class SenderRing<T>;
  // Values that one sender may give before the next one's turn comes.
  static constexpr std::size_t kInARow = 64;

  void check_owner() const noexcept { receivers_.check_owner("CoreChannel"); }

  void arrived(SenderRing<T>& ring, std::uint64_t end) noexcept {
    size_ += static_cast<std::size_t>(end - ring.end_);
    ring.end_ = end;
    if (ring.head_ != end && !std::exchange(ring.is_ready_, true)) push_ready(ring);
    if (abandoned_) discard();
    while (!receivers_.empty() && first_ready_ != nullptr) {
      take(*static_cast<Taking<T>*>(receivers_.front().slot));
      receivers_.wake_front(WaitQueue::Outcome::granted);
    }
  }
  void ended(SenderRing<T>& ring, std::uint64_t end) noexcept {
    ring.has_ended_ = true;
    --open_;
    arrived(ring, end);
    wake_if_over();
  }
  void left(SenderRing<T>& ring) noexcept {
    ring.has_left_ = true;
    release_if_done(ring);
  }
  void release_if_done(SenderRing<T>& ring) noexcept {
    if (!ring.has_left_ || ring.head_ != ring.end_ || std::exchange(ring.is_released_, true)) {
      return;
    }
    Core::current().lanes().send(ring.core_, typename SenderRing<T>::Release{&ring});
  }
  void free(SenderRing<T>& ring) noexcept {
    std::erase(rings_, &ring);
    std::erase(returning_, &ring);
    delete &ring;
    free_if_last();
  }
  void free_if_last() noexcept {
    if (!abandoned_ || !rings_.empty() || hook_.requested) return;
    Core::current().is_back(*this);
    delete this;
  }
  // The home core ends: nothing runs on any core.
  void destroy() noexcept override {
    for (SenderRing<T>* ring : rings_) {
      // The CoreSender frees it if that is still there.
      if (ring->abandoned_.exchange(true, std::memory_order_acq_rel)) delete ring;
    }
    delete this;
  }

  void take_from_first(Taking<T>& into) {
    SenderRing<T>& ring = *first_ready_;
    const auto there = static_cast<std::size_t>(ring.end_ - ring.head_);
    const std::size_t count = std::min({into.most - into.taken, there, in_a_row_});
    for (std::size_t i = 0; i < count; ++i) {
      T* const value = &ring.slot(ring.head_ + i);
      into.put(std::move(*value));
      std::destroy_at(value);
    }
    ring.head_ += count;
    size_ -= count;
    in_a_row_ -= count;
    if (count == there || in_a_row_ == 0) next_sender(ring);
    give_back(ring);
  }
  void next_sender(SenderRing<T>& ring) noexcept {
    in_a_row_ = kInARow;
    first_ready_ = ring.next_ready_;
    ring.is_ready_ = ring.head_ != ring.end_;
    if (ring.is_ready_) {
      push_ready(ring);
    } else {
      release_if_done(ring);
    }
  }
  void push_ready(SenderRing<T>& ring) noexcept {
    ring.next_ready_ = nullptr;
    (first_ready_ != nullptr ? last_ready_->next_ready_ : first_ready_) = &ring;
    last_ready_ = &ring;
  }
  void give_back(SenderRing<T>& ring) noexcept {
    const std::size_t enough = std::max<std::size_t>(1, capacity_ / 4);
    if (ring.is_returning_ || ring.has_ended_ || ring.head_ - ring.told_back_ < enough) return;
    ring.is_returning_ = true;
    returning_.push_back(&ring);
    Core::current().request_flush(FlushPhase::services, hook_);
  }
  void flush() noexcept {
    for (SenderRing<T>* ring : returning_) {
      ring->is_returning_ = false;
      ring->told_back_ = ring->head_;
      if (ring->has_ended_) continue;
      Core::current().lanes().send(ring->core_, typename SenderRing<T>::Taken{ring, ring->head_});
    }
    returning_.clear();
    free_if_last();
  }
  void discard() noexcept {
    while (first_ready_ != nullptr) {
      Taking<T> dropped;
      take_from_first(dropped);
    }
  }
  void wake_if_over() noexcept {
    if (is_over()) receivers_.wake_all(WaitQueue::Outcome::closed);
  }

  const std::size_t capacity_;
  std::vector<SenderRing<T>*> rings_;
  std::vector<SenderRing<T>*> returning_;  // their senders are told at the end of the turn
  SenderRing<T>* first_ready_ = nullptr;
  SenderRing<T>* last_ready_ = nullptr;
  std::size_t in_a_row_ = kInARow;
  std::size_t size_ = 0;
  std::size_t open_ = 0;  // senders that have not ended
  bool had_senders_ = false;
  bool closed_ = false;
  bool abandoned_ = false;
  WaitQueue receivers_{"channel of all cores, to receive"};
  Core::FlushHook hook_;
};

}  // namespace detail

// Moves between cores; it is used on the core that it was made for, by any coroutines there, and
// destroyed on any core, when nobody waits in send().
template <class T>
class CoreSender {
  using Ring = detail::SenderRing<T>;

 public:
  explicit CoreSender(Ring& ring) noexcept : ring_(&ring) {}
  CoreSender(CoreSender&& other) noexcept : ring_(std::exchange(other.ring_, nullptr)) {}
  CoreSender& operator=(CoreSender&& other) noexcept {
    std::swap(ring_, other.ring_);
    return *this;
  }
  ~CoreSender() {
    if (ring_ != nullptr) ring_->drop_sender();
  }

  class [[nodiscard]] Send {
   public:
    Send(Ring& ring, T&& value) noexcept : ring_(ring), value_(std::move(value)) {}

    class Awaiter {
     public:
      explicit Awaiter(Send& send) noexcept : send_(send) {}
      bool await_ready() noexcept {
        is_sent_ = send_.ring_.pass(send_.value_);
        return is_sent_ || send_.ring_.closed();
      }
      template <class Promise>
      bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
        waiter_.emplace(send_.ring_.waiting(), WaitQueue::OnCancel::wake, &send_.value_);
        return waiter_->await_suspend(handle);
      }
      Result<void> await_resume() const noexcept {
        if (is_sent_) return {};
        if (!waiter_) return fail(ErrorCode::closed);
        switch (waiter_->await_resume()) {
          case WaitQueue::Outcome::granted:
            return {};
          case WaitQueue::Outcome::closed:
            return fail(ErrorCode::closed);
          default:
            return fail(ErrorCode::cancelled);
        }
      }

     private:
      Send& send_;
      bool is_sent_ = false;
      std::optional<WaitQueue::Waiter> waiter_;
    };
    Awaiter operator co_await() && noexcept { return Awaiter(*this); }

   private:
    Ring& ring_;
    T value_;
  };
  // Suspends while the ring is full. Errors: closed, cancelled (the value is lost in both cases).
  Send send(T value) noexcept { return Send(*ring_, std::move(value)); }
  // Without waiting. False: the ring is full, or the channel closed, and `value` is untouched.
  bool try_send(T& value) noexcept { return ring_->pass(value); }

  // For all senders. Behind what this one has sent.
  void close() noexcept { ring_->close_channel(); }
  // As far as this core knows.
  bool closed() const noexcept { return ring_->closed(); }

 private:
  Ring* ring_;
};

template <class T>
class CoreChannel {
  static_assert(std::is_nothrow_move_constructible_v<T>, "values are moved into slots and out");
  using Home = detail::ChannelHome<T>;

 public:
  // `capacity`: slots of each sender. On the home core.
  explicit CoreChannel(std::size_t capacity) : home_(new Home(capacity)) {}
  CoreChannel(const CoreChannel&) = delete;
  CoreChannel& operator=(const CoreChannel&) = delete;
  // On the home core, when nobody waits in receive().
  ~CoreChannel() { home_->abandon(); }

  // A sender for this core: made here, then moved there. Allocates its ring.
  [[nodiscard]] CoreSender<T> sender(CoreId core) { return CoreSender<T>(home_->add_sender(core)); }

  template <bool kIsBatch>
  class [[nodiscard]] Receive {
   public:
    Receive(Home& home, std::vector<T>* many, std::size_t most) noexcept
        : home_(home), many_(many), most_(most) {}

    class Awaiter {
     public:
      explicit Awaiter(const Receive& receive) noexcept : home_(receive.home_) {
        taking_.many = receive.many_;
        taking_.most = receive.most_;
      }
      bool await_ready() {
        if (home_.receivers().empty()) home_.take(taking_);
        return taking_.taken != 0 || home_.is_over();
      }
      template <class Promise>
      bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
        waiter_.emplace(home_.receivers(), WaitQueue::OnCancel::wake, &taking_);
        return waiter_->await_suspend(handle);
      }
      Result<std::conditional_t<kIsBatch, std::size_t, T>> await_resume() noexcept {
        if (taking_.taken != 0) {
          if constexpr (kIsBatch) {
            return taking_.taken;
          } else {
            return std::move(*taking_.one);
          }
        }
        const bool is_cancelled =
            waiter_ && waiter_->await_resume() == WaitQueue::Outcome::cancelled;
        return fail(is_cancelled ? ErrorCode::cancelled : ErrorCode::closed);
      }

     private:
      Home& home_;
      detail::Taking<T> taking_;
      std::optional<WaitQueue::Waiter> waiter_;
    };
    Awaiter operator co_await() const noexcept { return Awaiter(*this); }

   private:
    Home& home_;
    std::vector<T>* many_;
    std::size_t most_;
  };

  // Suspends while there is none. Errors: closed (and nothing is left), cancelled.
  Receive<false> receive() noexcept { return Receive<false>(*home_, nullptr, 1); }
  // Appends to `into` what is there, at most `most` values and at least one: how many. It lives
  // until the co_await ends. Suspends and errors as receive().
  Receive<true> receive_batch(std::vector<T>& into, std::size_t most) noexcept {
    RT_ASSERT(most > 0);
    return Receive<true>(*home_, &into, most);
  }
  // Without waiting: none if nothing is there.
  std::optional<T> try_receive() {
    detail::Taking<T> taking;
    if (home_->receivers().empty()) home_->take(taking);
    return std::move(taking.one);
  }

  // What was sent before the senders hear of it can still be received.
  void close() noexcept { home_->close(); }
  // That have arrived and can be received at once.
  std::size_t size() const noexcept { return home_->size(); }
  // That are there, and that are gone but whose rings are not freed yet: that takes some turns, and
  // until everything in the ring has been received.
  std::size_t senders() const noexcept { return home_->senders(); }

 private:
  Home* home_;
};

}  // namespace corelane::runtime
