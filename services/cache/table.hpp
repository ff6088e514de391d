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
// keys. When it is full, a write makes room: by expired entries (as
// far as 512 steps of the wheel reach them), then by evicted ones.
//
// Large values' blocks count an eighth more than they take, for the allocator's fragments.
//
// Costs: get 2 cache misses and no allocation; a set of a small value no allocation but for a page
// of 16 KiB when the table grows; of a large one, its block. A write evicts as many entries as it
// needs room for. Other work is bounded by the arguments `steps`.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/accounted_size.hpp"
#include "runtime/shared_bytes.hpp"
#include "runtime/types.hpp"
#include "services/cache/index.hpp"
#include "services/cache/pages.hpp"
#include "services/cache/queues.hpp"
#include "services/cache/types.hpp"
#include "services/cache/wheel.hpp"

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
  // Copies `value` (once), which must not lie in the table. On an error the old value stays.
  CacheChanged set(const CacheKey& key, std::span<const std::byte> value, const SetOptions& options,
                   runtime::Nanoseconds now);
  // ok or missing; `version` 0: whatever it is. CacheChanged::version of ok: the deletion's own.
  CacheChanged remove(const CacheKey& key, std::uint64_t version,
                      runtime::Nanoseconds now) noexcept;
  // Gives it another lifetime (`keep`: begins a sliding one again); the version stays.
  CacheChanged touch(const CacheKey& key, const CacheLifetime& lifetime, runtime::Nanoseconds now);
  CacheIncremented increment(const CacheKey& key, const CacheIncrement& what,
                             runtime::Nanoseconds now);
  // Creates a missing key. Costs a copy of the whole value. `bytes` as in set().
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

  // Removes entries that have expired, with at most `steps` steps of work (one entry each: 0.1 us
  // in a warm table, 0.7 us in one of a million keys; 1,000 steps a turn are plenty). True: there
  // may be more, call again in the next turn.
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

  std::size_t namespaces() const noexcept { return spaces_.size(); }
  std::string_view namespace_prefix(std::size_t index) const noexcept;
  CacheCounters counters(std::size_t index) const noexcept;  // of one namespace
  CacheCounters counters() const noexcept;                   // of all
  // Entries, expired ones that were not removed included.
  std::size_t size() const noexcept { return index_.size(); }
  std::uint64_t last_version() const noexcept { return last_version_; }

 private:
  // A namespace.
  struct Space {
    std::string prefix;
    std::size_t bytes_max = 0;  // 0: the budget
    std::uint64_t default_ttl_ms = 0;
    CacheQueues queues;
    CacheCounters counters;
  };
  // A lifetime, once it is known when it ends.
  struct Life {
    bool timed = false;
    bool sliding = false;
    std::uint64_t expires_ms = 0;
    std::uint64_t span_ms = 0;
  };
  // What write() makes: the old value, if it is kept, and behind it `added`.
  struct Draft {
    EntryRef ref = 0;  // 0: a new entry
    bool keeps_old = false;
    bool new_version = true;
    std::span<const std::byte> added;
    Life life;
  };
  // A block that was replaced, or whose entry is gone, while readers hold it.
  struct Retired {
    runtime::SharedBytes block;
    std::size_t bytes;
  };
  // What a write needs room for.
  struct Room {
    std::uint8_t space = 0;
    bool needs_slot = false;
    CachePages::SizeClass size_class = 0;
    std::size_t block_bytes = 0;
    std::size_t entry_before = 0;  // memory of the entry that is replaced
    std::size_t entry_after = 0;
  };

  // Lookups (table.cpp).
  static std::uint64_t hash_at(const void* table, EntryRef ref) noexcept;
  EntryRef find(const CacheKey& key) const noexcept;
  EntryRef find_live(const CacheKey& key, runtime::Nanoseconds now) noexcept;
  bool is_expired(const CacheEntry& entry, runtime::Nanoseconds now) const noexcept;
  std::uint8_t space_of(std::string_view key) const noexcept;
  Space& space_at(EntryRef ref) noexcept { return spaces_[pages_.at(ref).space]; }
  CacheFound found(const CacheEntry& entry, runtime::Nanoseconds now) const noexcept;
  template <class Each>
  CacheWalk walk(std::string_view prefix, std::uint64_t cursor, std::uint32_t steps,
                 runtime::Nanoseconds now, Each&& each);

  // Writes (table_write.cpp).
  Life life_of(const CacheLifetime& lifetime, EntryRef ref, std::uint8_t space,
               runtime::Nanoseconds now) const noexcept;
  CacheChanged write(const CacheKey& key, const Draft& draft, runtime::Nanoseconds now);
  runtime::SharedBytes make_block(const Draft& draft, std::size_t bytes) const;
  void rewrite(const Draft& draft, runtime::SharedBytes block);
  EntryRef build(const CacheKey& key, const Draft& draft, std::uint8_t space,
                 const EntryShape& shape, runtime::SharedBytes block);
  void take_place(EntryRef from, EntryRef to, std::size_t before, const CacheKey& key) noexcept;
  void schedule(EntryRef ref, const Life& life) noexcept;

  // Memory (table_memory.cpp).
  std::size_t used() const noexcept {
    return pages_.bytes() + blocks_ + held_ + retired_.capacity() * sizeof(Retired) +
           index_.bytes() + ghosts_.bytes();
  }
  bool can_ever_fit(const Room& room) const noexcept;
  bool make_room(const Room& room, runtime::Nanoseconds now);
  bool evict(CacheQueues& queues, bool for_namespace) noexcept;
  bool evict_for_budget() noexcept;
  bool drop_expired(runtime::Nanoseconds now, std::uint32_t& steps) noexcept;
  void drop(EntryRef ref, CacheChange why, std::uint64_t version) noexcept;
  void drop_block(runtime::SharedBytes block) noexcept;
  bool collect(std::uint32_t steps) noexcept;
  bool compact() noexcept;
  static void moved(void* table, EntryRef from, EntryRef to);
  void book() noexcept { account_.set(pages_.bytes() + index_.bytes() + ghosts_.bytes(), 0); }

  std::uint64_t seed_;
  std::uint64_t last_version_;
  std::size_t limit_;
  std::size_t value_bytes_max_;
  CacheObserver* observer_ = nullptr;
  CachePages pages_;
  CacheIndex index_;
  CacheWheel wheel_;
  CacheGhosts ghosts_;
  std::vector<Space> spaces_;            // in the order of their numbers
  std::vector<std::uint8_t> by_length_;  // those with a prefix, the longest first
  std::vector<Retired> retired_;
  std::size_t collect_at_ = 0;    // the next of retired_ to look at
  std::size_t blocks_ = 0;        // bytes of blocks in entries
  std::size_t held_ = 0;          // and of those in retired_
  EntryRef pinned_ = 0;           // the entry that is being replaced: it is not evicted
  std::vector<EntryRef> walked_;  // of one bucket
  runtime::AccountedSize<runtime::MemoryKind::cache> account_;
};

}  // namespace corelane::services
