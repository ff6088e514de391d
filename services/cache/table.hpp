#pragma once
// CacheTable: the values that one core owns: a hash table of versioned, expiring, evictable values
// within a budget of bytes. Plain functions, no lanes, no coroutines, no I/O; nothing suspends.
// Belongs to one core (blocks are SharedBytes of it and count in its memory account).
//
// Time comes with each call: `now` in ns of the core's clock (Core::now()), never going back. An
// expired entry is missing from that moment on, whether expire() has reached it or not.
//
// Versions come from one counter of the table, so those of a key only grow, also over its deletion
// and eviction. They are never used twice in a process; see CacheOptions::first_version.
//
// Memory: memory().used never exceeds the budget: pages of entries, value blocks (also those that
// have been replaced or evicted and are still held by readers), the index, the ghosts of evicted
// keys. When it is full, a write makes room: expired entries first, then evicted ones.
//
// Costs: get 2 cache misses and no allocation; a set of a small value no allocation but for a page
// of 16 KiB when the table grows; of a large one, its block. A write evicts as many entries as it
// needs room for. Other work is bounded by the arguments `steps`.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "runtime/shared_bytes.hpp"
#include "runtime/types.hpp"
#include "services/cache/types.hpp"

namespace corelane::services {

class CacheTable {
 public:
  // On the core that uses it.
  explicit CacheTable(const CacheOptions& options);
  ~CacheTable();
  CacheTable(const CacheTable&) = delete;
  CacheTable& operator=(const CacheTable&) = delete;

  // The hash of a key, of any core's table with the same seed. The owner core comes from its high
  // 32 bits as in pubsub: (hash >> 32) * cores >> 32; the table uses the low bits.
  static std::uint64_t hash(std::string_view key, std::uint64_t seed) noexcept;
  CacheKey key(std::string_view bytes) const noexcept { return {bytes, hash(bytes, seed_)}; }
  // Asks for the memory that an operation on that key will read first; for many keys at once.
  void prefetch(const CacheKey& key) const noexcept;

  // `newer_than`: not_modified if its version is not greater. Counts a hit or a miss.
  CacheFound get(const CacheKey& key, runtime::Nanoseconds now,
                 std::uint64_t newer_than = 0) noexcept;
  // The same without being noticed: neither counts, nor slides, nor makes it more recent.
  CacheFound peek(const CacheKey& key, runtime::Nanoseconds now) noexcept;

  struct SetOptions {
    CacheCondition condition = CacheCondition::none;
    std::uint64_t version = 0;  // if_version
    CacheLifetime lifetime;
  };
  // Copies `value` (once). On an error the old value stays. `value` may lie in the table.
  CacheChanged set(const CacheKey& key, std::span<const std::byte> value, const SetOptions& options,
                   runtime::Nanoseconds now);
  // ok or missing; `version` 0: whatever it is. CacheChanged::version of ok: the deletion's own.
  CacheChanged remove(const CacheKey& key, std::uint64_t version,
                      runtime::Nanoseconds now) noexcept;
  // Gives it another lifetime (`keep`: begins a sliding one again); the version stays.
  CacheChanged touch(const CacheKey& key, const CacheLifetime& lifetime, runtime::Nanoseconds now);
  CacheIncremented increment(const CacheKey& key, const CacheIncrement& what,
                             runtime::Nanoseconds now);
  // Creates a missing key. Costs a copy of the whole value. `bytes` may lie in the table.
  CacheChanged append(const CacheKey& key, std::span<const std::byte> bytes,
                      const CacheLifetime& lifetime, runtime::Nanoseconds now);

  // Visits keys with the prefix, from `cursor` on (0 at first, then CacheWalk::next), until `steps`
  // entries were examined; a bucket is finished (about 10 entries more). A key that exists
  // throughout the walk is visited exactly once, whatever else changes in between and however the
  // table grows; one that is set or deleted while it runs is visited at most once. The order is
  // that of the hashes.
  // visit(void* context, std::string_view key, const CacheFound& found): must not call the table.
  using Visit = void (*)(void* context, std::string_view key, const CacheFound& found);
  CacheWalk scan(std::string_view prefix, std::uint64_t cursor, std::uint32_t steps,
                 runtime::Nanoseconds now, Visit visit, void* context);
  // The same, deleting. A key that is set behind the cursor stays.
  CacheWalk remove_prefix(std::string_view prefix, std::uint64_t cursor, std::uint32_t steps,
                          runtime::Nanoseconds now) noexcept;

  // Removes entries that have expired, with at most `steps` steps of work (one entry each, about
  // 0.2 us); true: there may be more, call again in the next turn.
  bool expire(runtime::Nanoseconds now, std::uint32_t steps) noexcept;
  // When to call expire() next: no entry expires earlier. kNever: nothing expires.
  runtime::Nanoseconds next_expiry() const noexcept;

  // Null: nobody (a branch for each change).
  void set_observer(CacheObserver* observer) noexcept { observer_ = observer; }

  struct Memory {
    std::size_t used = 0;    // all of the following; at most `limit`
    std::size_t limit = 0;   // the budget
    std::size_t pages = 0;   // entries with their keys and small values, and free room for them
    std::size_t blocks = 0;  // large values
    std::size_t held = 0;    // large values that are gone and still held by readers
    std::size_t index = 0;   // the hash table
    std::size_t ghosts = 0;  // hashes of evicted keys
  };
  Memory memory() const noexcept;
  // A smaller budget gives way in the writes and calls of expire() that follow.
  void set_bytes_max(std::size_t bytes) noexcept;

  std::size_t namespaces() const noexcept;
  std::string_view namespace_prefix(std::size_t index) const noexcept;
  const CacheCounters& counters(std::size_t index) const noexcept;  // of one namespace
  CacheCounters counters() const noexcept;                          // of all
  std::size_t size() const noexcept;  // entries, expired ones that were not removed included
  std::uint64_t last_version() const noexcept { return last_version_; }

 private:
  std::uint64_t seed_;
  std::uint64_t last_version_;
  CacheObserver* observer_ = nullptr;
};

}  // namespace corelane::services
