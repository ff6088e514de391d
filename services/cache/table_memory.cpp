// Memory: what makes room for a write, and how entries end.
#include <algorithm>
#include <utility>

#include "services/cache/table.hpp"

namespace corelane::services {

using runtime::kMillisecond;
using runtime::Nanoseconds;
using runtime::SharedBytes;

namespace {

// Free room in slots is given back when it is more than this part of the pages: until then it is
// probably wanted again for entries of the same size.
constexpr std::size_t kFreePart = 16;
constexpr std::size_t kFreeBytesMost = 1024 * 1024;  // so that one write evicts no more for it
// Retired blocks that each write looks at, and one that needs room.
constexpr std::uint32_t kCollectSteps = 8;
constexpr std::uint32_t kCollectStepsForRoom = 64;
// Steps of the wheel before something is evicted though more may have expired: about 50 us.
constexpr std::uint32_t kWheelStepsForRoom = 512;

}  // namespace

// --- The end of entries and blocks

void CacheTable::drop(EntryRef ref, CacheChange why, std::uint64_t version) noexcept {
  CacheEntry& entry = pages_.at(ref);
  const std::uint64_t hash = hash_at(this, ref);
  Space& space = space_at(ref);
  space.queues.erase(pages_, ref);
  index_.erase(hash, ref);
  if (entry.timed) wheel_.erase(ref);
  if (entry.has_block) drop_block(std::move(entry.block()));
  --space.counters.entries;
  if (why == CacheChange::deleted) ++space.counters.deletes;
  if (why == CacheChange::expired) ++space.counters.expired;
  if (observer_ != nullptr) [[unlikely]] {
    observer_->on_change(
        {.key = entry.key(), .hash = hash, .what = why, .version = version, .value = {}});
  }
  pages_.give(ref);
}

// A block of an entry; its readers keep it until they let go, and until then it counts.
void CacheTable::drop_block(SharedBytes block) noexcept {
  const std::size_t bytes = block_memory(block);
  blocks_ -= bytes;
  if (block.is_unique()) return;
  held_ += bytes;
  retired_.push_back({.block = std::move(block), .bytes = bytes});
}

// Looks at some retired blocks; true: memory came back.
bool CacheTable::collect(std::uint32_t steps) noexcept {
  bool any = false;
  for (std::size_t left = std::min<std::size_t>(steps, retired_.size()); left > 0; --left) {
    if (collect_at_ >= retired_.size()) collect_at_ = 0;
    Retired& retired = retired_[collect_at_];
    if (!retired.block.is_unique()) {
      ++collect_at_;
      continue;
    }
    held_ -= retired.bytes;
    any = true;
    std::swap(retired, retired_.back());
    retired_.pop_back();
  }
  return any;
}

bool CacheTable::drop_expired(Nanoseconds now, std::uint32_t& steps) noexcept {
  const auto now_ms = static_cast<std::uint64_t>(now / kMillisecond);
  for (;;) {
    const EntryRef ref = wheel_.next_due(now_ms, steps);
    if (ref == 0) return false;
    const CacheEntry& entry = pages_.at(ref);
    if (entry.timing().expires_ms > now_ms) [[unlikely]] {
      // It was read since, and slides.
      wheel_.erase(ref);
      wheel_.insert(ref);
      continue;
    }
    RT_DEBUG_ASSERT(ref != pinned_);  // it was alive at `now`
    drop(ref, CacheChange::expired, entry.version);
    return true;
  }
}

bool CacheTable::expire(Nanoseconds now, std::uint32_t steps) noexcept {
  std::uint32_t left = steps;
  while (drop_expired(now, left)) {
  }
  collect(steps);
  if (used() > limit_) ghosts_.fit(index_.size());
  while (used() > limit_ && left > 0) {
    --left;
    if (compact()) continue;
    pages_.release_spare();
    if (!evict_for_budget()) break;
  }
  book();
  return wheel_.earliest_ms() <= static_cast<std::uint64_t>(now / kMillisecond) || left == 0;
}

void CacheTable::set_bytes_max(std::size_t bytes) noexcept {
  RT_ASSERT(bytes >= kCacheBytesMin);
  limit_ = bytes;
}

// --- Room

bool CacheTable::can_ever_fit(const Room& room) const noexcept {
  // Beside it stand the index and a page at least.
  const std::size_t rest = index_.bytes() + ghosts_.bytes() + 2 * CachePages::kPageBytes;
  if (room.block_bytes + rest > limit_) return false;
  const std::size_t own = spaces_[room.space].bytes_max;
  return own == 0 || room.entry_after <= own;
}

bool CacheTable::make_room(const Room& room, Nanoseconds now) {
  if (!retired_.empty()) collect(kCollectSteps);
  Space& space = spaces_[room.space];
  std::uint32_t steps = kWheelStepsForRoom;
  if (space.bytes_max != 0) {
    while (space.queues.bytes() + room.entry_after > space.bytes_max + room.entry_before) {
      if (drop_expired(now, steps)) {
        steps = kWheelStepsForRoom;
        continue;
      }
      if (!evict(space.queues, true)) return false;
    }
  }
  for (;;) {
    const std::size_t ghosts = used() > limit_ / 2 ? ghosts_.growth(index_.size() + 1) : 0;
    std::size_t need = room.block_bytes + ghosts;
    if (room.needs_slot) need += pages_.cost(room.size_class) + index_.growth_bytes();
    if (used() + need <= limit_) {
      if (ghosts != 0) ghosts_.fit(index_.size() + 1);
      return true;
    }
    if (collect(kCollectStepsForRoom)) continue;
    if (room.block_bytes + ghosts > 0 && pages_.has_spare()) {
      pages_.release_spare();
      continue;
    }
    if (compact()) continue;
    if (drop_expired(now, steps)) {
      steps = kWheelStepsForRoom;
      continue;
    }
    if (!evict_for_budget()) return false;
  }
}

bool CacheTable::compact() noexcept {
  if (pages_.free_bytes() <= std::min(pages_.bytes() / kFreePart, kFreeBytesMost)) return false;
  return pages_.compact(&CacheTable::moved, this);
}

void CacheTable::moved(void* table, EntryRef from, EntryRef to) {
  auto& self = *static_cast<CacheTable*>(table);
  const CacheEntry& entry = self.pages_.at(to);
  self.index_.replace(hash_at(table, to), from, to);
  self.space_at(to).queues.moved(self.pages_, from, to);
  if (entry.timed) self.wheel_.moved(from, to);
  if (self.pinned_ == from) self.pinned_ = to;
}

bool CacheTable::evict(CacheQueues& queues, bool for_namespace) noexcept {
  const EntryRef ref = queues.victim(pages_, pinned_);
  if (ref == 0) return false;
  const CacheEntry& entry = pages_.at(ref);
  CacheCounters& counters = space_at(ref).counters;
  ++(for_namespace ? counters.evicted_namespace : counters.evicted_budget);
  if (!entry.in_main) ghosts_.add(hash_at(this, ref));
  drop(ref, CacheChange::evicted, entry.version);
  return true;
}

// The namespace that holds most of what it may hold gives way.
bool CacheTable::evict_for_budget() noexcept {
  if (spaces_.size() == 1) [[likely]]
    return evict(spaces_.front().queues, false);
  Space* fullest = nullptr;
  double most = -1;
  for (Space& space : spaces_) {
    if (space.queues.any() == 0) continue;
    const std::size_t limit = space.bytes_max != 0 ? std::min(space.bytes_max, limit_) : limit_;
    const double part = static_cast<double>(space.queues.bytes()) / static_cast<double>(limit);
    if (part > most) {
      most = part;
      fullest = &space;
    }
  }
  if (fullest != nullptr && evict(fullest->queues, false)) return true;
  // That one holds nothing but the entry that is being replaced.
  for (Space& space : spaces_) {
    if (evict(space.queues, false)) return true;
  }
  return false;
}

}  // namespace corelane::services
