#include "services/cache/wheel.hpp"

#include <algorithm>

namespace corelane::services {

void CacheWheel::insert(EntryRef ref) noexcept {
  CacheEntry::Timing& timing = pages_.at(ref).timing();
  const std::uint64_t at = std::min(std::max(timing.expires_ms, time_ms_), kMsMax);
  const std::uint64_t differs = at ^ time_ms_;
  const auto level =
      differs == 0 ? 0u : (63u - static_cast<unsigned>(std::countl_zero(differs))) / kDigit;
  const std::size_t digit = at >> (kDigit * level) & (kSlots - 1);
  const std::size_t slot = level * kSlots + digit;
  timing.previous = static_cast<EntryRef>(slot + 1);
  timing.next = first_[slot];
  if (timing.next != 0) pages_.at(timing.next).timing().previous = ref;
  first_[slot] = ref;
  occupied_[level] |= std::uint64_t{1} << digit;
}

void CacheWheel::erase(EntryRef ref) noexcept {
  const CacheEntry::Timing& timing = pages_.at(ref).timing();
  if (timing.next != 0) pages_.at(timing.next).timing().previous = timing.previous;
  if (timing.previous >= kEntryRefMin) {
    pages_.at(timing.previous).timing().next = timing.next;
    return;
  }
  const std::size_t slot = timing.previous - 1;
  RT_DEBUG_ASSERT(first_[slot] == ref);
  first_[slot] = timing.next;
  if (timing.next == 0) occupied_[slot / kSlots] &= ~(std::uint64_t{1} << slot % kSlots);
}

void CacheWheel::moved(EntryRef from, EntryRef to) noexcept {
  const CacheEntry::Timing& timing = pages_.at(to).timing();
  if (timing.next != 0) pages_.at(timing.next).timing().previous = to;
  if (timing.previous >= kEntryRefMin) {
    pages_.at(timing.previous).timing().next = to;
  } else {
    RT_DEBUG_ASSERT(first_[timing.previous - 1] == from);
    first_[timing.previous - 1] = to;
  }
}

// Of several levels, because a slot that next_due() has begun to take down is still in its own.
CacheWheel::Due CacheWheel::earliest() const noexcept {
  Due earliest;
  for (std::size_t level = 0; level < kLevels; ++level) {
    if (occupied_[level] == 0) continue;
    const auto digit = static_cast<std::size_t>(std::countr_zero(occupied_[level]));
    const unsigned shift = kDigit * static_cast<unsigned>(level);
    RT_DEBUG_ASSERT(digit >= (time_ms_ >> shift & (kSlots - 1)));
    const std::uint64_t above = time_ms_ >> shift >> kDigit << kDigit << shift;
    const std::uint64_t ms = above | std::uint64_t{digit} << shift;
    if (ms < earliest.ms) earliest = {.slot = level * kSlots + digit, .ms = ms};
  }
  return earliest;
}

std::uint64_t CacheWheel::earliest_ms() const noexcept {
  return earliest().ms;
}

EntryRef CacheWheel::next_due(std::uint64_t now_ms, std::uint32_t& steps) noexcept {
  for (;;) {
    const Due due = earliest();
    if (due.ms > now_ms) {
      // The wheel may turn as far as nothing is passed by.
      time_ms_ = std::max(time_ms_, now_ms);
      return 0;
    }
    if (steps == 0) return 0;
    --steps;
    time_ms_ = std::max(time_ms_, due.ms);
    const EntryRef ref = first_[due.slot];
    if (due.slot < kSlots) return ref;
    erase(ref);
    insert(ref);  // into a lower level
  }
}

}  // namespace corelane::services
