#pragma once
// Which entry gives way: S3-FIFO (Yang and others, "FIFO queues are all you need for cache
// eviction", SOSP 2023). New entries pass through a small queue of a tenth of the bytes; those that
// were read in it go on to the main queue, the others leave, and their hashes are remembered for a
// while (CacheGhosts): one that comes back goes to the main queue at once. So a scan of many keys
// passes through the small queue and leaves the main one alone. A read costs at most one store of
// two bits, no list. Private to the cache's table; perf/cache_hits compares the hit ratios.
//
// A namespace has its own CacheQueues, the table one CacheGhosts.

#include <cstddef>
#include <cstdint>
#include <memory>

#include "services/cache/pages.hpp"

namespace corelane::services {

// Keys that left the small queue, as 16 bits of their hash, the oldest forgotten first; two thirds
// to four thirds as many as there are entries, at 2 bytes each. Sets of 8: a new one goes to the
// front of its set.
class CacheGhosts {
 public:
  ~CacheGhosts();
  CacheGhosts() = default;
  CacheGhosts(const CacheGhosts&) = delete;
  CacheGhosts& operator=(const CacheGhosts&) = delete;

  // Takes the hash out if it is there.
  bool take(std::uint64_t hash) noexcept;
  void add(std::uint64_t hash) noexcept;
  // Fits its size to that many entries; what it remembers is lost when the size changes.
  void fit(std::size_t entries);
  // The most that fit() adds to bytes(); 0: its size fits.
  std::size_t growth(std::size_t entries) const noexcept;
  std::size_t bytes() const noexcept { return bytes_; }

 private:
  static constexpr std::size_t kWays = 8;
  static constexpr std::size_t kSetBytes = kWays * sizeof(std::uint16_t);

  static std::size_t sets_for(std::size_t entries) noexcept;
  std::uint16_t* set_of(std::uint64_t hash) noexcept {
    return sets_ + (hash & (count_ - 1)) * kWays;
  }
  // 0: a free place.
  static std::uint16_t mark_of(std::uint64_t hash) noexcept {
    const auto mark = static_cast<std::uint16_t>(hash >> 40);
    return mark == 0 ? std::uint16_t{1} : mark;
  }

  std::uint16_t* sets_ = nullptr;
  std::size_t count_ = 0;  // sets, a power of two
  std::size_t bytes_ = 0;
};

class CacheQueues {
 public:
  // New entries are taken for entries of the main queue if the ghosts knew them.
  void insert(CachePages& pages, EntryRef ref, bool is_known) noexcept;
  void erase(CachePages& pages, EntryRef ref) noexcept;
  // The entry was copied from `from` to `to`, whose links are those of `from`.
  void moved(CachePages& pages, EntryRef from, EntryRef to) noexcept;
  // An entry's bytes changed by that much (it is in a queue of this).
  void resized(const CacheEntry& entry, std::size_t before, std::size_t after) noexcept;

  // The entry to evict next, still in its queue; never `pinned`. 0: there is no other one. Entries
  // that were read are moved on while looking for it, at most kStepsMax; then the oldest goes.
  EntryRef victim(CachePages& pages, EntryRef pinned) noexcept;

  std::size_t bytes() const noexcept { return small_.bytes + main_.bytes; }
  // Some entry; 0: there is none.
  EntryRef any() const noexcept { return small_.oldest != 0 ? small_.oldest : main_.oldest; }

 private:
  static constexpr unsigned kStepsMax = 64;

  struct Queue {
    EntryRef newest = 0;
    EntryRef oldest = 0;
    std::size_t bytes = 0;
  };
  Queue& queue_of(const CacheEntry& entry) noexcept { return entry.in_main ? main_ : small_; }
  static void push(CachePages& pages, Queue& queue, EntryRef ref) noexcept;
  static void unlink(CachePages& pages, Queue& queue, EntryRef ref) noexcept;

  Queue small_;
  Queue main_;
};

// The part of an allocator's memory that is in no block, while sizes from 1 to 256 KiB are written
// and freed: mimalloc 2.0.9 then holds 10 to 12 % more than its blocks (corelane-cache storm).
constexpr std::size_t with_fragments(std::size_t bytes) noexcept {
  return bytes + bytes / 8;
}
// What a large value's block counts.
inline std::size_t block_memory(const runtime::SharedBytes& block) noexcept {
  return with_fragments(block.memory_bytes());
}
// What an entry holds: its slot, and its block.
std::size_t entry_memory(const CachePages& pages, EntryRef ref) noexcept;

}  // namespace corelane::services
