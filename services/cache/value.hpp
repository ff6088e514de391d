#pragma once
// CacheValue: a value of the cache that somebody on this core holds, and what the operations of the
// cache complete with. A value is immutable: a later set makes another one.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocol/opcode.hpp"
#include "runtime/shared_bytes.hpp"
#include "services/cache/types.hpp"

namespace corelane::services {

// A handle: of the block that the set has written, however large, or of a copy of a small value.
// Belongs to the core that has it. While it is held, the block counts in the cache's memory.
class CacheValue {
 public:
  CacheValue() = default;
  CacheValue(runtime::SharedBytes block, std::size_t bytes) noexcept
      : block_(std::move(block)), bytes_(bytes) {}

  std::span<const std::byte> bytes() const noexcept {
    return block_ ? std::span<const std::byte>{block_.data(), bytes_}
                  : std::span<const std::byte>{};
  }
  std::string_view text() const noexcept {
    return {reinterpret_cast<const char*>(bytes().data()), bytes_};
  }

 private:
  runtime::SharedBytes block_;
  std::size_t bytes_ = 0;
};

// `code` of the completions:
//
//   none               it was found, stored, deleted
//   key_missing        there is no such key
//   key_exists         create_only, and it is there
//   not_modified       get: the key still has the version
//   version_mismatch   the key has another version, which the completion tells
//   not_a_number, out_of_bounds     increment
//   lease_lost         set: the lease has ended, or the key was set or deleted since
//   key_invalid        the key has no bytes, or too many, or is not UTF-8
//   payload_too_large  the value can never be stored
//   overloaded         no memory for now: readers hold what could give way
struct CacheGot {
  protocol::ErrorCode code = protocol::ErrorCode::none;
  bool sliding = false;
  std::uint64_t version = 0;
  std::uint64_t ttl_left_ms = 0;  // 0: it does not expire
  CacheValue value;
};

// `version`: none: the new one, of a deletion a number above those of the key before; version_
// mismatch, key_exists: the current one.
struct CacheStored {
  protocol::ErrorCode code = protocol::ErrorCode::none;
  std::uint64_t version = 0;
};

struct CacheCounted {
  protocol::ErrorCode code = protocol::ErrorCode::none;
  std::uint64_t version = 0;
  std::int64_t number = 0;  // the sum; out_of_bounds: the value that stays
};

// A get for a value that is computed when it is missing. `lease` not 0: the receiver is to compute
// it, and to set it with this lease; `got` may have a value all the same, that expires soon.
// Otherwise `got` has the value, or key_missing: another holder has not set it in time.
struct CacheLeased {
  CacheGot got;
  std::uint64_t lease = 0;
};

struct CacheManyGot {
  std::vector<CacheGot> got;  // in the order of the keys
};

struct CacheKeyFound {
  std::string key;
  std::uint64_t version = 0;
  std::uint64_t ttl_left_ms = 0;
  std::size_t value_bytes = 0;
  bool sliding = false;
};
struct CacheScanned {
  std::uint64_t cursor = 0;  // for the next scan; 0: the end
  std::vector<CacheKeyFound> keys;
};
struct CachePrefixRemoved {
  std::uint64_t cursor = 0;
  std::uint64_t removed = 0;
};

struct CacheReport {
  std::uint64_t memory_used = 0;
  std::uint64_t memory_max = 0;
  struct Space {
    std::string prefix;
    CacheCounters counters;
  };
  std::vector<Space> spaces;  // number 0 has all keys without a namespace
};

inline constexpr std::uint16_t kCacheSlidingFlag = 1;  // in the replies' flags

protocol::ErrorCode code_of(CacheStatus status) noexcept;

}  // namespace corelane::services
