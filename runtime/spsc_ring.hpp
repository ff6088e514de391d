#pragma once
// SpscRing<T>: a bounded queue from exactly one producer thread to exactly one consumer thread, the
// raw material of lanes. Its owner connects the two, and it must outlive both sides.
//
//        head (consumer)         tail (published)     pending (producer)
//   ...... [ readable by the consumer ] [ pushed, not published ] ......
//
// Indices run freely (they never wrap in practice: 64 bits) and are masked on access. The producer
// writes elements, then makes a whole batch visible with one publish(). Each side keeps its last
// reading of the other's index and looks again only when that one is used up, so that in a steady
// flow the two index lines move between the cores once a batch, not once an element.
//
// Sleep and wake-up without lost signals, for the caller's own "consumer sleeps" word:
//   producer: push..., publish() [tail, seq_cst], then load the sleeping word seq_cst; wake if set.
//   consumer: store the sleeping word seq_cst, then empty_seq_cst() [tail]; sleep only if empty.
// All four are in the one order of seq_cst operations, so at least one side sees the other's store.
// There are no fences, because ThreadSanitizer cannot see them.

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <span>
#include <type_traits>

#include "runtime/assert.hpp"
#include "runtime/cache_line.hpp"

namespace corelane::runtime {

template <class T>
class SpscRing {
  static_assert(std::is_trivially_copyable_v<T>, "elements are copied between cores as bytes");
  static_assert(alignof(T) <= kCacheLine);

 public:
  // capacity: number of elements, a power of two. Allocates here and never again.
  explicit SpscRing(std::size_t capacity)
      : slots_(static_cast<T*>(::operator new(capacity * sizeof(T), std::align_val_t{kCacheLine}))),
        mask_(capacity - 1) {
    RT_ASSERT(std::has_single_bit(capacity));
  }
  SpscRing(const SpscRing&) = delete;
  SpscRing& operator=(const SpscRing&) = delete;
  ~SpscRing() { ::operator delete(slots_, std::align_val_t{kCacheLine}); }

  std::size_t capacity() const noexcept { return mask_ + 1; }

  // Producer only. Appends one element, not yet visible to the consumer; false if the ring is full.
  bool try_push(const T& element) noexcept {
    if (free_slots(1) == 0) [[unlikely]]
      return false;
    slots_[pending_ & mask_] = element;
    ++pending_;
    return true;
  }

  // Producer only. Appends as many of the elements as fit, first ones first, and returns how many.
  std::size_t push(std::span<const T> elements) noexcept {
    const std::size_t count = std::min(elements.size(), free_slots(elements.size()));
    const std::size_t start = pending_ & mask_;
    const std::size_t before_wrap = std::min(count, capacity() - start);
    copy(slots_ + start, elements.data(), before_wrap);
    copy(slots_, elements.data() + before_wrap, count - before_wrap);
    pending_ += count;
    return count;
  }

  // Producer only. Number of elements that can be pushed now. Looks at the consumer's index only
  // when its last reading leaves fewer than `wanted`.
  std::size_t free_slots(std::size_t wanted) noexcept {
    std::size_t free = capacity() - (pending_ - seen_head_);
    if (free < wanted) {
      // Acquire pairs with the release in consume(): the consumer has finished reading the slots.
      seen_head_ = head_.load(std::memory_order_acquire);
      free = capacity() - (pending_ - seen_head_);
    }
    return free;
  }

  // Producer only. Makes everything pushed visible; false if there was nothing new. After true the
  // caller loads the consumer's sleeping word (seq_cst) to decide whether to wake it.
  bool publish() noexcept {
    // Relaxed: this thread is the only one that stores tail_.
    if (pending_ == tail_.load(std::memory_order_relaxed)) return false;
    // As a release it pairs with the acquire in peek() and hands over the elements. As seq_cst it
    // pairs with empty_seq_cst(): it comes before the caller's load of the sleeping word.
    tail_.store(pending_, std::memory_order_seq_cst);
    return true;
  }

  // Producer only. Elements pushed since the last publish().
  std::size_t unpublished() const noexcept {
    // Relaxed: this thread is the only one that stores tail_.
    return pending_ - tail_.load(std::memory_order_relaxed);
  }

  // Producer only. Elements pushed so far, and of these, those given back: the latter moves a line
  // between the cores.
  std::uint64_t pushed() const noexcept { return pending_; }
  std::uint64_t consumed() const noexcept {
    // Acquire pairs with the release in consume().
    return head_.load(std::memory_order_acquire);
  }

  // Consumer only. The oldest readable elements, at most `max`, as far as they lie in one piece;
  // empty if there are none. They belong to the consumer, also for writing, until consume().
  std::span<T> peek(std::size_t max) noexcept {
    // Relaxed: this thread is the only one that stores head_.
    const std::size_t head = head_.load(std::memory_order_relaxed);
    if (head == seen_tail_) {
      // Acquire pairs with the store in publish(): the elements below the index are written.
      seen_tail_ = tail_.load(std::memory_order_acquire);
    }
    const std::size_t start = head & mask_;
    const std::size_t count = std::min({seen_tail_ - head, max, capacity() - start});
    T* const first = slots_ + start;
    prefetch(first, count);
    return {first, count};
  }

  // Consumer only. Gives back the first `count` elements of the last peek().
  void consume(std::size_t count) noexcept {
    // Relaxed: this thread is the only one that stores head_.
    const std::size_t head = head_.load(std::memory_order_relaxed);
    RT_DEBUG_ASSERT(count <= seen_tail_ - head);
    // Release pairs with the acquire in free_slots(): our reads come before the slots are reused.
    head_.store(head + count, std::memory_order_release);
  }

  // Consumer only. The check before sleeping; call it after a seq_cst store to the sleeping word.
  bool empty_seq_cst() noexcept {
    // Relaxed: this thread is the only one that stores head_. The load of tail_ pairs with the
    // store in publish(): either it sees the new tail, or the producer sees that we sleep.
    return head_.load(std::memory_order_relaxed) == tail_.load(std::memory_order_seq_cst);
  }

 private:
  // The other core has just written these lines, so each costs a transfer between the caches.
  // Asking for a few at once lets the transfers overlap with the work on the first element; more
  // would only crowd the fill buffers. (A consumer that merely adds the elements up gains nothing:
  // there the processor overlaps the loads by itself, 6 ns an element with and without.)
  static constexpr std::size_t kPrefetchLines = 4;

  static void prefetch([[maybe_unused]] const T* first, std::size_t count) noexcept {
    const std::size_t bytes = std::min(count * sizeof(T), kPrefetchLines * kCacheLine);
    for (std::size_t at = 0; at < bytes; at += kCacheLine) {
      __builtin_prefetch(reinterpret_cast<const char*>(first) + at);
    }
  }

  static void copy(T* to, const T* from, std::size_t count) noexcept {
    if (count != 0) std::memcpy(static_cast<void*>(to), from, count * sizeof(T));
  }

  // Written once, read by both.
  alignas(kCacheLine) T* const slots_;
  const std::size_t mask_;
  // The producer's own.
  alignas(kCacheLine) std::size_t pending_ = 0;
  std::size_t seen_head_ = 0;
  // Stored by the producer, polled by the consumer.
  alignas(kCacheLine) std::atomic<std::size_t> tail_{0};
  // Stored by the consumer; the producer reads head_ only when the ring seems full, so the
  // consumer's private reading of tail_ can live beside it.
  alignas(kCacheLine) std::atomic<std::size_t> head_{0};
  std::size_t seen_tail_ = 0;
};

}  // namespace corelane::runtime
