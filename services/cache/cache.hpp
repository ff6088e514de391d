#pragma once
// Cache: values by key, with versions, a time to live and a budget of memory. One a core; each key
// has an owner core, by XXH3 of the key, which alone keeps it, in its CacheTable.
//
//   asking core --CacheCall--> owner: CacheTable --CacheCall--> asking core
//
// An operation on a key of this core completes before its function returns; on one of another core
// it takes one round trip over the lanes. All operations on a key are done by its owner, one after
// the other: they are linearizable, and those of one core take effect in the order in which they
// were called. A wait for the completion can be given up; the operation takes effect all the same.
//
// Memory: a set copies the value into its block once, for another core once more on the way there.
// Readers on every core get a handle of that block; a value of at most kCacheInlineBytesMax bytes
// is copied for each. The budget, eviction and expiry are the table's (services/cache/table.hpp).

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/core.hpp"
#include "runtime/result.hpp"
#include "runtime/slab.hpp"
#include "runtime/task.hpp"
#include "services/cache/calls.hpp"
#include "services/cache/leases.hpp"
#include "services/cache/options.hpp"
#include "services/cache/table.hpp"
#include "services/cache/value.hpp"
#include "services/local.hpp"
#include "services/service.hpp"
#include "services/sessions/sessions.hpp"

namespace corelane::services {

struct CacheSetOptions {
  CacheCondition condition = CacheCondition::none;
  std::uint64_t version = 0;  // if_version
  CacheLifetime lifetime{};
  std::uint64_t lease = 0;  // 0: none; otherwise lease_lost unless it is still held
};

class Cache : public Service, private CacheObserver {
 public:
  // Expired entries are removed in steps of this many, a step a turn: at most about 0.2 ms.
  static constexpr std::uint32_t kExpireSteps = 1024;
  // And at least this long after the step before that has found no more.
  static constexpr runtime::Nanoseconds kExpirePause = 10 * runtime::kMillisecond;
  // The retry hint while readers hold the memory.
  static constexpr std::uint32_t kRetryAfterMs = 100;

  // Of a scan or a deletion by prefix: entries that one call looks at, and keys that it names.
  static constexpr std::uint32_t kWalkSteps = 4096;
  static constexpr std::uint32_t kScanKeysMax = 1000;
  static constexpr std::size_t kScanBytesMax = 256 * 1024;
  static constexpr runtime::Nanoseconds kLeaseDefault = 10 * runtime::kSecond;
  static constexpr runtime::Nanoseconds kLeaseMax = 60 * runtime::kSecond;

  explicit Cache(const CacheServiceOptions& options);
  ~Cache() override;

  static Cache& local() noexcept { return services::local<Cache>(ServiceSlot::cache); }
  static std::span<const OpcodeRow> opcodes() noexcept;
  static std::span<const config::Row<CacheServiceOptions>> settings() noexcept;

  // --- Operations. Views are looked at before they return. They complete with the type beside
  // them, or as the opcode's reply.

  // CacheGot. `newer_than`: not_modified if the key's version is not greater; 0: the value.
  void get(std::string_view key, std::uint64_t newer_than, const ReplyTo& to);
  // CacheStored. Copies the value.
  void set(std::string_view key, std::span<const std::byte> value, const CacheSetOptions& options,
           const ReplyTo& to);
  // CacheStored. `version` 0: whatever it is.
  void remove(std::string_view key, std::uint64_t version, const ReplyTo& to);

  // CacheStored. The version stays.
  void touch(std::string_view key, const CacheLifetime& lifetime, const ReplyTo& to);
  // CacheCounted.
  void increment(std::string_view key, const CacheIncrement& what, const ReplyTo& to);
  // CacheStored. Creates a missing key, with this lifetime.
  void append(std::string_view key, std::span<const std::byte> bytes, const CacheLifetime& lifetime,
              const ReplyTo& to);
  // CacheLeased. `how.hold` 0: kLeaseDefault; at most kLeaseMax, and so is the wait.
  void lease(std::string_view key, const CacheLeaseAsk& how, const ReplyTo& to);
  // Of a lease whose holder stores nothing: another one who waits gets it. Completes nothing.
  void release(std::string_view key, std::uint64_t lease);
  // CacheManyGot. Each key is looked up on its own, at its owner.
  void multi_get(std::span<const std::string_view> keys, const ReplyTo& to);

  // Walks over all cores, one call at a time; on any core. `cursor`: 0 at first, then that of the
  // result; a number that none has given ends the walk early. A key that is there during the whole
  // walk is named once. Error: cancelled.
  static runtime::Task<runtime::Result<CacheScanned>> scan(std::string prefix, std::uint64_t cursor,
                                                           std::uint32_t count);
  static runtime::Task<runtime::Result<CachePrefixRemoved>> remove_prefix(std::string prefix,
                                                                          std::uint64_t cursor);
  // The figures of all cores. Error: cancelled.
  static runtime::Task<runtime::Result<CacheReport>> report();

  // Nobody waits for leases any more.
  void drain() noexcept override { leases_.close(); }
  // Is told all changes of this core's keys, behind the cache itself. It must not call the cache.
  void set_observer(CacheObserver* observer) noexcept { observer_ = observer; }

  const CacheServiceOptions& options() const noexcept { return options_; }
  const CacheTable& table() const noexcept { return table_; }
  runtime::CoreId owner_of(std::string_view key) const noexcept {
    return owner_of(CacheTable::hash(key, options_.hash_seed));
  }

  struct Counters {
    std::uint64_t here = 0;    // operations of this core on keys of its own
    std::uint64_t sent = 0;    // on keys of other cores
    std::uint64_t served = 0;  // of other cores on keys of this one
  };
  const Counters& counters() const noexcept { return counters_; }

 private:
  friend struct CacheCallMessage;
  friend struct CacheAnswerMessage;
  struct ExpireTimer : runtime::Timer {
    explicit ExpireTimer(Cache& owner) noexcept;
    Cache& cache;
  };

  static CacheTable table_of(const CacheServiceOptions& options, runtime::Core& core);
  runtime::CoreId owner_of(std::uint64_t hash) const noexcept {
    // The high bits: the low ones choose the bucket in the table.
    return static_cast<runtime::CoreId>((hash >> 32) * core_.cores() >> 32);
  }
  // At the asking core.
  CacheStatus check_key(std::string_view key, bool creates) const noexcept;
  void run(const CacheAsk& ask, std::string_view key, std::span<const std::byte> value,
           const ReplyTo& to);
  void refuse(CacheOperation operation, CacheStatus status, const ReplyTo& to);
  void come_home(CacheCall& call);
  struct Many {
    ReplyTo to;
    std::size_t left;
    CacheManyGot done;
  };
  void put(const CacheManyPlace& place, CacheGot&& got);
  // At the owner.
  CacheAnswer apply(const CacheAsk& ask, const CacheKey& key, std::span<const std::byte> value);
  CacheAnswer found(CacheOperation operation, const CacheFound& found) const noexcept;
  CacheAnswer apply_set(const CacheAsk& ask, const CacheKey& key, std::span<const std::byte> value);
  // False: the waiter is answered later.
  bool apply_lease(const CacheKey& key, const CacheLeaseAsk& how, const CacheWaiter& waiter,
                   CacheAnswer& answer);
  void serve(CacheCall& call, runtime::CoreId from);
  void send_back(CacheCall& call, runtime::CoreId from, const CacheAnswer& answer);
  void answer_waiter(std::string_view key, const CacheWaiter& waiter, const CacheAnswer& answer);
  void on_change(const CacheEvent& event) noexcept override;
  CacheScanned scan_here(const std::string& prefix, std::uint32_t position, std::uint32_t count);
  void arm_expiry() noexcept;
  void expire() noexcept;

  const CacheServiceOptions options_;
  runtime::Core& core_;
  CacheTable table_;
  CacheCalls calls_;
  CacheLeases leases_;
  CacheObserver* observer_ = nullptr;
  runtime::Slab<Many> many_;
  ExpireTimer expire_timer_;
  Counters counters_;
};

// The options' namespaces, for the table of one of `cores` cores. Throws std::invalid_argument.
std::vector<CacheNamespaceOptions> cache_namespaces(const CacheServiceOptions& options,
                                                    std::size_t cores);

// Gives the answer to `to`, on its core. False: the receiver is gone.
bool complete_answer(const ReplyTo& to, const CacheAnswer& answer) noexcept;
void complete(const ReplyTo& to, CacheManyGot&& done) noexcept;
CacheGot got_of(const CacheAnswer& answer);

}  // namespace corelane::services
