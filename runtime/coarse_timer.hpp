#pragma once
// CoarseTimer: one wheel of deadlines for very many objects of one kind, where an eighth of a
// second more or less does not matter: pings, idle and header deadlines of connections. 12 bytes an
// object, O(1) to add and cancel, nothing allocated after construction.
//
// Owned and used by one core. Objects are u32 slots (runtime/slab.hpp); their links live in the
// objects and are reached through Links, a function object: CoarseLink& operator()(u32 slot).
// A timer never fires early, and at most one granularity late. Those farther away than one
// revolution stay in their bucket and are looked at once a revolution. Order is deterministic: by
// tick, and within a tick in the order in which they were queued.

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "runtime/assert.hpp"

namespace corelane::runtime {

// Embedded in the object. A slot must be cancelled before its object goes.
struct CoarseLink {
  static constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();
  static constexpr std::uint32_t kNotQueued = kNone - 1;

  std::uint32_t previous = kNotQueued;
  std::uint32_t next = kNone;
  std::uint32_t due_tick = 0;

  bool queued() const noexcept { return previous != kNotQueued; }
};
static_assert(sizeof(CoarseLink) == 12);

template <class Links>
class CoarseTimer {
 public:
  static constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

  struct Options {
    std::int64_t granularity_ns = 125'000'000;
    std::uint32_t buckets = 512;  // a power of two, at least 64; 512 of 125 ms make 64 s
  };

  // start_ns: the present, in nanoseconds of the clock that all later times are of.
  CoarseTimer(Options options, std::int64_t start_ns, Links links = {})
      : granularity_ns_(options.granularity_ns),
        start_ns_(start_ns),
        buckets_(options.buckets),
        occupied_(options.buckets / 64),
        links_(std::move(links)) {
    RT_ASSERT(options.granularity_ns > 0);
    RT_ASSERT(std::has_single_bit(options.buckets));
    RT_ASSERT(options.buckets >= 64);
  }
  CoarseTimer(const CoarseTimer&) = delete;
  CoarseTimer& operator=(const CoarseTimer&) = delete;
  ~CoarseTimer() { RT_ASSERT(count_ == 0); }

  // Queues a slot that is not queued. A deadline that has passed fires at the next tick. It lies at
  // most 2^31 ticks ahead (8 years of 125 ms).
  void add(std::uint32_t slot, std::int64_t deadline_ns) noexcept {
    CoarseLink& link = links_(slot);
    RT_ASSERT(!link.queued());
    RT_ASSERT(slot < CoarseLink::kNotQueued);
    const std::uint64_t tick = std::max(tick_at_or_after(deadline_ns), tick_ + 1);
    RT_ASSERT(tick - tick_ < std::uint64_t{1} << 31);
    link.due_tick = static_cast<std::uint32_t>(tick);
    append(link, slot);
    ++count_;
  }

  // False if it was not queued.
  bool cancel(std::uint32_t slot) noexcept {
    CoarseLink& link = links_(slot);
    if (!link.queued()) return false;
    unlink(link, slot);
    return true;
  }

  void reschedule(std::uint32_t slot, std::int64_t deadline_ns) noexcept {
    cancel(slot);
    add(slot, deadline_ns);
  }

  // Calls fire(slot), with the slot no longer queued, for what is due at now_ns. fire may add and
  // cancel any slot and destroy any object. Looks at `max` slots at most, fired or not, and returns
  // how many; when it stopped early, next_due() is not after now_ns, and the next call goes on from
  // there.
  template <class Fire>
  std::size_t advance(std::int64_t now_ns, std::size_t max, Fire&& fire) {
    const std::uint64_t now_tick = tick_at_or_before(now_ns);
    std::size_t looked_at = 0;
    for (;;) {
      while (cursor_ != CoarseLink::kNone) {
        if (looked_at == max) return looked_at;
        ++looked_at;
        const std::uint32_t slot = cursor_;
        CoarseLink& link = links_(slot);
        // unlink() moves the cursor on as well.
        if (link.due_tick != static_cast<std::uint32_t>(tick_)) {
          cursor_ = link.next;
        } else {
          unlink(link, slot);
          fire(slot);
        }
      }
      if (tick_ >= now_tick) return looked_at;
      const std::uint64_t next = next_occupied_tick();
      if (next > now_tick) {
        tick_ = now_tick;
        return looked_at;
      }
      tick_ = next;
      cursor_ = bucket_of(tick_).first;
    }
  }

  // A time before which nothing is due; kNever if nothing is queued, so an idle core sleeps. With
  // something queued farther away than a revolution it may be early by whole revolutions.
  std::int64_t next_due() const noexcept {
    if (count_ == 0) return kNever;
    return time_of(cursor_ != CoarseLink::kNone ? tick_ : next_occupied_tick());
  }

  std::uint32_t count() const noexcept { return count_; }

 private:
  struct Bucket {
    std::uint32_t first = CoarseLink::kNone;
    std::uint32_t last = CoarseLink::kNone;
  };

  std::uint64_t mask() const noexcept { return buckets_.size() - 1; }
  Bucket& bucket_of(std::uint64_t tick) noexcept { return buckets_[tick & mask()]; }
  std::int64_t time_of(std::uint64_t tick) const noexcept {
    return start_ns_ + static_cast<std::int64_t>(tick) * granularity_ns_;
  }
  std::uint64_t tick_at_or_before(std::int64_t time_ns) const noexcept {
    return time_ns <= start_ns_
               ? 0
               : static_cast<std::uint64_t>((time_ns - start_ns_) / granularity_ns_);
  }
  std::uint64_t tick_at_or_after(std::int64_t time_ns) const noexcept {
    const std::uint64_t before = tick_at_or_before(time_ns);
    return time_of(before) < time_ns ? before + 1 : before;
  }

  void append(CoarseLink& link, std::uint32_t slot) noexcept {
    const std::uint64_t index = link.due_tick & mask();
    Bucket& bucket = buckets_[index];
    link.previous = bucket.last;
    link.next = CoarseLink::kNone;
    if (bucket.last == CoarseLink::kNone) {
      bucket.first = slot;
      occupied_[index / 64] |= std::uint64_t{1} << (index % 64);
    } else {
      links_(bucket.last).next = slot;
    }
    bucket.last = slot;
  }

  void unlink(CoarseLink& link, std::uint32_t slot) noexcept {
    const std::uint64_t index = link.due_tick & mask();
    Bucket& bucket = buckets_[index];
    if (cursor_ == slot) cursor_ = link.next;
    (link.previous == CoarseLink::kNone ? bucket.first : links_(link.previous).next) = link.next;
    (link.next == CoarseLink::kNone ? bucket.last : links_(link.next).previous) = link.previous;
    if (bucket.first == CoarseLink::kNone) {
      occupied_[index / 64] &= ~(std::uint64_t{1} << (index % 64));
    }
    link.previous = CoarseLink::kNotQueued;
    link.next = CoarseLink::kNone;
    --count_;
  }

  // The first tick after the present one whose bucket holds anything; at most one revolution away,
  // or the greatest number if nothing is queued.
  std::uint64_t next_occupied_tick() const noexcept {
    const std::uint64_t from = (tick_ + 1) & mask();
    const std::size_t words = occupied_.size();
    // The word of `from` comes twice: its high part first, its low part, a revolution on, last.
    for (std::size_t step = 0; step <= words; ++step) {
      const std::size_t word = (from / 64 + step) % words;
      std::uint64_t bits = occupied_[word];
      if (step == 0) bits &= ~std::uint64_t{0} << (from % 64);
      if (bits == 0) continue;
      const std::uint64_t index = word * 64 + static_cast<std::uint64_t>(std::countr_zero(bits));
      return tick_ + 1 + ((index - from) & mask());
    }
    return std::numeric_limits<std::uint64_t>::max();
  }

  const std::int64_t granularity_ns_;
  const std::int64_t start_ns_;
  std::uint64_t tick_ = 0;  // all buckets up to this tick are done, but for the rest at cursor_
  std::uint32_t cursor_ = CoarseLink::kNone;  // next slot to look at in the bucket of tick_
  std::uint32_t count_ = 0;
  std::vector<Bucket> buckets_;
  std::vector<std::uint64_t> occupied_;  // a bit for each bucket that holds anything
  [[no_unique_address]] Links links_;
};

}  // namespace corelane::runtime
