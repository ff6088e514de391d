#pragma once
// CacheCall: an operation on a key that another core owns, on its way there and back. It belongs to
// the core that asks, which takes it from its pool and puts it back when it has come home; between
// the two lane messages only the owner touches it. So in steady state an operation on another core
// allocates nothing, except for keys and values that together pass kBytes.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "runtime/shared_bytes.hpp"
#include "services/cache/types.hpp"
#include "services/reply/reply.hpp"

namespace corelane::services {

enum class CacheOperation : std::uint8_t {
  get,
  set,
  remove,
  touch,
  increment,  // the sent value is a CacheIncrement
  append,
  lease,    // the sent value is a CacheLeaseAsk
  release,  // of a lease whose holder stores nothing
};

// How a lease is asked for, in ns.
struct CacheLeaseAsk {
  runtime::Nanoseconds wait = 0;     // for the value, while another holder computes it
  runtime::Nanoseconds hold = 0;     // how long the lease lasts
  runtime::Nanoseconds refresh = 0;  // a value with less left than this may be computed again
};

// What is asked of the owner.
struct CacheAsk {
  CacheOperation operation = CacheOperation::get;
  CacheCondition condition = CacheCondition::none;  // set
  std::uint64_t version = 0;  // get: newer than; set and remove: the one it must have
  std::uint64_t lease = 0;    // set, release; 0: none
  CacheLifetime lifetime{};
};

// What the owner answers. `bytes` and `block` are loans, valid during a call.
struct CacheAnswer {
  CacheOperation operation = CacheOperation::get;
  protocol::ErrorCode code = protocol::ErrorCode::none;
  bool sliding = false;
  std::uint64_t version = 0;
  std::uint64_t ttl_ms = 0;
  std::int64_t number = 0;  // increment
  std::uint64_t lease = 0;  // lease: granted; 0: not
  std::span<const std::byte> bytes{};
  const runtime::SharedBytes* block = nullptr;
};

// Names one key's place in a multi-get of the asking core.
struct CacheManyPlace {
  static constexpr std::uint32_t kNone = UINT32_MAX;
  std::uint32_t slot = kNone;
  std::uint32_t index = 0;
};

struct CacheCall {
  static constexpr std::size_t kBytes = kCacheInlineBytesMax;

  ReplyTo to;
  CacheManyPlace many;  // in place of `to`
  CacheAsk ask;
  std::uint64_t hash = 0;
  std::uint32_t key_bytes = 0;
  std::uint32_t value_bytes = 0;  // there: of the value to store; back: of the value that was found
  CacheAnswer answer;             // without its loans
  bool has_block = false;
  runtime::SharedBytes::Loan block{};
  std::unique_ptr<std::byte[]> large;  // key and value, if they do not fit in `bytes`
  std::size_t large_bytes = 0;
  std::array<std::byte, kBytes> bytes;  // there: key and value; back: a value without a block

  const std::byte* sent() const noexcept { return large ? large.get() : bytes.data(); }
  CacheKey key() const noexcept {
    return {{reinterpret_cast<const char*>(sent()), key_bytes}, hash};
  }
  std::span<const std::byte> value() const noexcept { return {sent() + key_bytes, value_bytes}; }
};

// The calls of one core: those that are under way, and spare ones.
class CacheCalls {
 public:
  // With a copy of key and value.
  CacheCall& take(const CacheAsk& ask, const CacheKey& key, std::span<const std::byte> value,
                  const ReplyTo& to);
  void put_back(CacheCall& call) noexcept;
  std::size_t under_way() const noexcept { return all_.size() - spare_.size(); }

 private:
  std::vector<std::unique_ptr<CacheCall>> all_;
  std::vector<CacheCall*> spare_;
};

}  // namespace corelane::services
