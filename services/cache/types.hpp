#pragma once
// The words of the cache's table (services/cache/table.hpp): keys, conditions, lifetimes, results,
// namespaces, counters, observers. Plain values; they belong to the caller.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "runtime/shared_bytes.hpp"
#include "runtime/types.hpp"

namespace corelane::services {

inline constexpr std::size_t kCacheKeyBytesMax = 1024;
inline constexpr std::size_t kCacheValueBytesMax = 1024 * 1024;
// Values up to this size lie in their entry; a larger one has a shared block of its own.
inline constexpr std::size_t kCacheInlineBytesMax = 1024;

// A key and its hash (CacheTable::hash()), made once for the choice of the owner core and the
// table.
struct CacheKey {
  std::string_view bytes;  // 1 to kCacheKeyBytesMax bytes of any value
  std::uint64_t hash = 0;
};

enum class CacheStatus : std::uint8_t {
  ok,
  missing,           // no such key (or it has expired)
  exists,            // create_only, and it is there
  not_modified,      // get: the version is not newer
  version_mismatch,  // if_version: it has another version, which the result tells
  key_invalid,       // empty, or longer than kCacheKeyBytesMax
  too_large,         // longer than kCacheValueBytesMax, or more than its namespace may hold
  no_memory,         // all memory that could give way is held by readers: later
  not_a_number,      // increment: the value is no decimal 64-bit number
  out_of_bounds,     // increment: the sum is not in [low, high]
};

enum class CacheCondition : std::uint8_t {
  none,
  create_only,   // else `exists`
  replace_only,  // else `missing`
  if_version,    // else `version_mismatch`, or `missing`
};

// Time to live of an entry that is written.
struct CacheLifetime {
  enum class Kind : std::uint8_t {
    of_namespace,  // the default of its namespace
    none,          // until it is deleted or evicted
    span,          // `ms` from now
    keep,          // as the entry had it; of_namespace for a new one
  };
  Kind kind = Kind::of_namespace;
  bool sliding = false;  // span: each get begins it again
  std::uint64_t ms = 0;  // span: 1 to kCacheLifetimeMsMax, larger ones are cut to that
};
inline constexpr std::uint64_t kCacheLifetimeMsMax = std::uint64_t{100} * 365 * 86'400'000;

// What a get finds. `bytes` and `block` point into the table and are valid until its next call.
// To keep or send a value: block->share() (this core) or block->lend() (another core), without a
// copy; without a block it is at most kCacheInlineBytesMax bytes, and copied.
// A block holds the value and behind it zeros up to a multiple of 8 (capacity()), so that it is
// the end of a frame whose last field is the value: only the frame's head is made for each reply.
struct CacheFound {
  CacheStatus status = CacheStatus::missing;
  bool sliding = false;
  std::uint64_t version = 0;  // also for not_modified
  std::uint64_t ttl_ms = 0;   // what is left, at least 1; 0: it does not expire
  std::span<const std::byte> bytes;
  const runtime::SharedBytes* block = nullptr;
};

// What a change made of the key.
struct CacheChanged {
  CacheStatus status = CacheStatus::ok;
  std::uint64_t version = 0;  // ok: the new one; exists, version_mismatch: the one it has
};

struct CacheIncremented {
  CacheStatus status = CacheStatus::ok;
  std::int64_t value = 0;  // ok: the sum; out_of_bounds: the value that stays
  std::uint64_t version = 0;
};

struct CacheIncrement {
  std::int64_t by = 1;
  std::int64_t initial = 0;  // a missing key begins with this, before `by` is added
  bool creates = true;       // false: `missing` if there is no such key
  std::int64_t low = INT64_MIN;
  std::int64_t high = INT64_MAX;
  CacheLifetime lifetime{.kind = CacheLifetime::Kind::keep};
};

// A step of a walk over the keys with a prefix. Start with 0; `next` 0: it has ended.
struct CacheWalk {
  std::uint64_t next = 0;
  std::uint32_t examined = 0;  // entries looked at
  std::uint32_t matched = 0;   // entries visited, or deleted
};

// Why an entry is gone.
enum class CacheChange : std::uint8_t { set, deleted, expired, evicted };

// Is told each change, in order, after it has been made; for `set` and `deleted` also when many are
// changed by one call. It must not call the table. `value` is a loan, empty but for `set`.
struct CacheEvent {
  std::string_view key;
  std::uint64_t hash = 0;
  CacheChange what = CacheChange::set;
  std::uint64_t version = 0;  // set: the new one; deleted: the number that the deletion took from
                              // the same counter; expired, evicted: the one that is gone
  std::span<const std::byte> value;
  const runtime::SharedBytes* block = nullptr;  // as in CacheFound
};
class CacheObserver {
 public:
  virtual void on_change(const CacheEvent& event) noexcept = 0;

 protected:
  ~CacheObserver() = default;
};

// Keys that begin with `prefix`: the longest prefix that fits decides. Namespace 0 has the prefix
// "" and all other keys.
struct CacheNamespaceOptions {
  std::string prefix;
  std::size_t bytes_max = 0;         // on this core; 0: the table's budget
  std::uint64_t default_ttl_ms = 0;  // 0: none
};
inline constexpr std::size_t kCacheNamespacesMax = 64;  // with namespace 0

struct CacheCounters {
  std::uint64_t hits = 0;
  std::uint64_t misses = 0;  // gets that found nothing; not_modified is a hit
  std::uint64_t sets = 0;    // values written, by all operations
  std::uint64_t deletes = 0;
  std::uint64_t expired = 0;
  std::uint64_t evicted_budget = 0;     // for the table's budget
  std::uint64_t evicted_namespace = 0;  // for the namespace's limit
  std::uint64_t refused = 0;            // too_large, no_memory
  // Now:
  std::uint64_t entries = 0;
  std::uint64_t bytes = 0;  // entries and their value blocks, as allocated

  CacheCounters& operator+=(const CacheCounters& other) noexcept {
    hits += other.hits;
    misses += other.misses;
    sets += other.sets;
    deletes += other.deletes;
    expired += other.expired;
    evicted_budget += other.evicted_budget;
    evicted_namespace += other.evicted_namespace;
    refused += other.refused;
    entries += other.entries;
    bytes += other.bytes;
    return *this;
  }
};

struct CacheOptions {
  std::size_t bytes_max = 64 * 1024 * 1024;  // budget of this core, at least kCacheBytesMin
  std::size_t value_bytes_max = kCacheValueBytesMax;  // not more than this
  std::uint64_t hash_seed = 0;      // the same on all cores of a process, different in each
  std::uint64_t first_version = 1;  // wall clock in ns: a later process then has greater versions
  std::span<const CacheNamespaceOptions> namespaces;  // read by the constructor; without number 0
};
inline constexpr std::size_t kCacheBytesMin = 256 * 1024;

}  // namespace corelane::services
