#include "services/cache/queues.hpp"

#include <malloc.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace corelane::services {

// --- CacheGhosts

std::size_t CacheGhosts::sets_for(std::size_t entries) noexcept {
  return std::bit_ceil(entries * 2 / 3 / kWays + 1);
}

CacheGhosts::~CacheGhosts() {
  std::free(sets_);
}

bool CacheGhosts::take(std::uint64_t hash) noexcept {
  if (count_ == 0) return false;
  std::uint16_t* const begin = set_of(hash);
  std::uint16_t* const end = begin + kWays;
  std::uint16_t* const found = std::find(begin, end, mark_of(hash));
  if (found == end) return false;
  // The others move up, so that free places stay at the end.
  std::copy(found + 1, end, found);
  *(end - 1) = 0;
  return true;
}

void CacheGhosts::add(std::uint64_t hash) noexcept {
  if (count_ == 0) return;
  std::uint16_t* const set = set_of(hash);
  std::copy_backward(set, set + kWays - 1, set + kWays);
  *set = mark_of(hash);
}

std::size_t CacheGhosts::growth(std::size_t entries) const noexcept {
  const std::size_t count = sets_for(entries);
  // Allocators round up.
  return count > count_ ? count * kSetBytes + count * kSetBytes / 8 + 64 : 0;
}

void CacheGhosts::fit(std::size_t entries) {
  const std::size_t count = sets_for(entries);
  if (count > count_ || count < count_ / 2) {
    std::free(sets_);
    // Zeros from the kernel: a large one costs nothing until it is used.
    sets_ = static_cast<std::uint16_t*>(std::calloc(count, kSetBytes));
    RT_ASSERT(sets_ != nullptr);
    count_ = count;
    bytes_ = ::malloc_usable_size(sets_);
  }
}

// --- CacheQueues

std::size_t entry_memory(const CachePages& pages, EntryRef ref) noexcept {
  const CacheEntry& entry = pages.at(ref);
  return pages.slot_bytes(ref) + (entry.has_block ? block_memory(entry.block()) : 0);
}

void CacheQueues::push(CachePages& pages, Queue& queue, EntryRef ref) noexcept {
  CacheEntry& entry = pages.at(ref);
  entry.newer = 0;
  entry.older = queue.newest;
  if (queue.newest != 0) {
    pages.at(queue.newest).newer = ref;
  } else {
    queue.oldest = ref;
  }
  queue.newest = ref;
  queue.bytes += entry_memory(pages, ref);
}

void CacheQueues::unlink(CachePages& pages, Queue& queue, EntryRef ref) noexcept {
  const CacheEntry& entry = pages.at(ref);
  (entry.newer != 0 ? pages.at(entry.newer).older : queue.newest) = entry.older;
  (entry.older != 0 ? pages.at(entry.older).newer : queue.oldest) = entry.newer;
  queue.bytes -= entry_memory(pages, ref);
}

void CacheQueues::insert(CachePages& pages, EntryRef ref, bool is_known) noexcept {
  CacheEntry& entry = pages.at(ref);
  entry.in_main = is_known;
  entry.frequency = 0;
  push(pages, queue_of(entry), ref);
}

void CacheQueues::erase(CachePages& pages, EntryRef ref) noexcept {
  unlink(pages, queue_of(pages.at(ref)), ref);
}

void CacheQueues::moved(CachePages& pages, EntryRef from, EntryRef to) noexcept {
  const CacheEntry& entry = pages.at(to);
  Queue& queue = queue_of(entry);
  EntryRef& before = entry.newer != 0 ? pages.at(entry.newer).older : queue.newest;
  EntryRef& behind = entry.older != 0 ? pages.at(entry.older).newer : queue.oldest;
  RT_DEBUG_ASSERT(before == from);
  RT_DEBUG_ASSERT(behind == from);
  before = to;
  behind = to;
}

void CacheQueues::resized(const CacheEntry& entry, std::size_t before, std::size_t after) noexcept {
  Queue& queue = queue_of(entry);
  queue.bytes += after;
  queue.bytes -= before;
}

EntryRef CacheQueues::victim(CachePages& pages, EntryRef pinned) noexcept {
  for (unsigned step = 0;; ++step) {
    const bool from_small =
        main_.oldest == 0 || (small_.oldest != 0 && small_.bytes * 10 >= bytes());
    Queue& queue = from_small ? small_ : main_;
    const EntryRef ref = queue.oldest;
    if (ref == 0) return 0;
    CacheEntry& entry = pages.at(ref);
    if (ref == pinned) {
      // It goes to the end of the main queue. Alone in its queue, it leaves the other's oldest.
      if (entry.newer == 0) return (from_small ? main_ : small_).oldest;
      unlink(pages, queue, ref);
      entry.in_main = true;
      push(pages, main_, ref);
      continue;
    }
    const bool stays = from_small ? entry.frequency > 1 : entry.frequency > 0;
    if (!stays || step >= kStepsMax) return ref;
    unlink(pages, queue, ref);
    if (from_small) {
      entry.frequency = 0;
      entry.in_main = true;
    } else {
      --entry.frequency;
    }
    push(pages, main_, ref);
  }
}

}  // namespace corelane::services
