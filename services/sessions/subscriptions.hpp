#pragma once
// Subscriptions: the channels that a session holds, has asked for or is leaving, as a list without
// order, and where in it a channel stands. Belongs to the session; services/pubsub reads and
// changes it, on the session's core. An empty one has no memory; one subscription more takes 12
// bytes, from the 17th on 20.
//
// Few are looked through. Clients name channels by the ten thousand in a message, of which they may
// hold a thousand, so more than kScanned have a table of their places beside them: open addressing,
// at most half full, by a hash that clients cannot foresee.

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <type_traits>
#include <utility>

#include "runtime/assert.hpp"

namespace corelane::services {

// One session and one channel. A request changes `wanted` at once, so that the next request sees
// it; the owner's answers, which come in the order of the requests, change `position`.
//
//   Subscribe:   wanted, not listed --answer--> wanted, listed
//   Unsubscribe: listed, not wanted --answer--> gone
struct Subscription {
  static constexpr std::uint32_t kNotListed = UINT32_MAX;

  std::uint32_t channel = 0;            // slot in the core's channel table
  std::uint32_t position = kNotListed;  // in the channel's subscribers
  std::uint32_t unanswered : 31 = 0;    // requests on their way to the channel's owner
  std::uint32_t wanted : 1 = 1;         // by the newest request
  bool listed() const noexcept { return position != kNotListed; }
};
static_assert(sizeof(Subscription) == 12);
static_assert(std::is_trivially_copyable_v<Subscription>);

class Subscriptions {
 public:
  static constexpr std::uint32_t kNone = UINT32_MAX;
  static constexpr std::uint32_t kScanned = 16;

  std::size_t size() const noexcept { return count_; }
  bool empty() const noexcept { return count_ == 0; }
  Subscription& operator[](std::size_t index) noexcept {
    RT_DEBUG_ASSERT(index < count_);
    return entries()[index];
  }
  const Subscription& operator[](std::size_t index) const noexcept {
    RT_DEBUG_ASSERT(index < count_);
    return entries()[index];
  }

  // Counts the subscriptions that the session is not leaving. Linear.
  std::size_t count_wanted() const noexcept {
    std::size_t wanted = 0;
    for (std::uint32_t i = 0; i < count_; ++i) wanted += entries()[i].wanted;
    return wanted;
  }
  // The channel's index, or kNone. `seed` is the same in all calls.
  std::uint32_t find(std::uint32_t channel, std::uint64_t seed) const noexcept {
    return look_for(channel, seed).index;
  }
  // How many entries find() looks at, for tests.
  std::uint32_t find_steps(std::uint32_t channel, std::uint64_t seed) const noexcept {
    return look_for(channel, seed).steps;
  }
  // The channel is not among them yet. Its index is the last one.
  void add(const Subscription& subscription, std::uint64_t seed) {
    RT_DEBUG_ASSERT(find(subscription.channel, seed) == kNone);
    if (count_ == room_) grow(seed);
    entries()[count_++] = subscription;
    if (has_places()) note(count_ - 1, seed);
  }
  // The last one takes its index.
  void remove(std::size_t index, std::uint64_t seed) noexcept {
    RT_ASSERT(index < count_);
    const std::uint32_t last = count_ - 1;
    std::uint32_t free_place = 0;
    if (has_places()) {
      free_place = look_for(entries()[index].channel, seed).place;
      places()[look_for(entries()[last].channel, seed).place] = static_cast<std::uint32_t>(index);
    }
    entries()[index] = entries()[last];
    if (has_places()) {
      places()[free_place] = kNone;
      close_gap(free_place, seed);
    }
    --count_;
  }

 private:
  struct Found {
    std::uint32_t index;
    std::uint32_t steps;
    std::uint32_t place;  // in places(), where it is or would be
  };

  Subscription* entries() const noexcept { return reinterpret_cast<Subscription*>(memory_.get()); }
  bool has_places() const noexcept { return room_ > kScanned; }
  // Indices, behind the entries.
  std::uint32_t* places() const noexcept {
    // tidy: allow banned_call: no wire bytes, but memory that operator new has aligned
    return reinterpret_cast<std::uint32_t*>(memory_.get() + room_ * sizeof(Subscription));
  }

  Found look_for(std::uint32_t channel, std::uint64_t seed) const noexcept {
    if (!has_places()) {
      std::uint32_t index = 0;
      while (index < count_ && entries()[index].channel != channel) ++index;
      return {index < count_ ? index : kNone, index, 0};
    }
    std::uint32_t place = home(channel, seed);
    for (std::uint32_t steps = 1;; ++steps) {
      const std::uint32_t index = places()[place];
      if (index == kNone || entries()[index].channel == channel) return {index, steps, place};
      place = next(place);
    }
  }

  std::uint32_t place_count() const noexcept { return 2 * room_; }
  std::uint32_t next(std::uint32_t place) const noexcept {
    return (place + 1) & (place_count() - 1);
  }
  // Two rounds: one leaves slots that share their lower bits close together.
  std::uint32_t home(std::uint32_t channel, std::uint64_t seed) const noexcept {
    constexpr std::uint64_t kGolden = 0x9e37'79b9'7f4a'7c15;
    std::uint64_t hash = (channel ^ seed) * kGolden;
    hash = (hash ^ (hash >> 32)) * kGolden;
    return static_cast<std::uint32_t>(hash >> (64 - std::countr_zero(place_count())));
  }

  void note(std::uint32_t index, std::uint64_t seed) noexcept {
    std::uint32_t place = home(entries()[index].channel, seed);
    while (places()[place] != kNone) place = next(place);
    places()[place] = index;
  }

  // A search ends at the first free place, so what follows one moves up unless that is before its
  // home.
  void close_gap(std::uint32_t gap, std::uint64_t seed) noexcept {
    for (std::uint32_t place = next(gap); places()[place] != kNone; place = next(place)) {
      const std::uint32_t from_home =
          (place - home(entries()[places()[place]].channel, seed)) & (place_count() - 1);
      if (from_home < ((place - gap) & (place_count() - 1))) continue;
      places()[gap] = places()[place];
      places()[place] = kNone;
      gap = place;
    }
  }

  void grow(std::uint64_t seed) {
    room_ = std::max<std::uint32_t>(2 * room_, 1);
    std::size_t bytes = room_ * sizeof(Subscription);
    if (has_places()) bytes += place_count() * sizeof(std::uint32_t);
    auto larger = std::make_unique_for_overwrite<std::byte[]>(bytes);
    if (count_ > 0) std::memcpy(larger.get(), memory_.get(), count_ * sizeof(Subscription));
    memory_ = std::move(larger);
    if (!has_places()) return;
    std::fill_n(places(), place_count(), kNone);
    for (std::uint32_t index = 0; index < count_; ++index) note(index, seed);
  }

  std::unique_ptr<std::byte[]> memory_;  // entries, and places if there is room for > kScanned
  std::uint32_t count_ = 0;
  std::uint32_t room_ = 0;  // a power of two
};
static_assert(sizeof(Subscriptions) <= 16, "a part of what an idle connection costs");

}  // namespace corelane::services
