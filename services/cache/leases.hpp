#pragma once
// CacheLeases: who computes a missing value. Of all who ask for a key that is missing, one gets a
// lease, a number that lets it store the value; the others wait for the value, or for the lease
// when its holder has let it go or its time has passed. One a core, for the keys that it owns;
// belongs to Cache.

#include <tsl/robin_map.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/core.hpp"
#include "services/cache/calls.hpp"

namespace corelane::services {

// Where the answer to one who waits goes: a call of another core, or a target on this one.
struct CacheWaiter {
  CacheCall* call = nullptr;  // null: `to`
  runtime::CoreId from = runtime::kNoCore;
  ReplyTo to{};
  runtime::Nanoseconds until = 0;
  runtime::Nanoseconds hold = 0;
};

class CacheLeases {
 public:
  // Leases on a core; one more is not granted, and the one who asks is told `overloaded`.
  static constexpr std::size_t kLeasesMax = 100'000;

  // Called for each waiter that is answered; must not call this object.
  using Answer = void (*)(void* cache, std::string_view key, const CacheWaiter& waiter,
                          const CacheAnswer& answer);
  CacheLeases(runtime::Core& core, std::uint64_t hash_seed, Answer answer, void* cache);
  ~CacheLeases();

  bool empty() const noexcept { return leases_.empty(); }
  std::size_t count() const noexcept { return leases_.size(); }
  bool full() const noexcept { return leases_.size() >= kLeasesMax; }
  // True: nobody has a lease for the key.
  bool is_free(std::string_view key) const;
  // The key's lease, which is free.
  std::uint64_t grant(std::string_view key, runtime::Nanoseconds hold);
  // The key has a lease. The waiter is answered later.
  void wait(std::string_view key, const CacheWaiter& waiter);
  bool holds(std::string_view key, std::uint64_t lease) const;
  // The key was set: all who wait get `answer`.
  void end(std::string_view key, const CacheAnswer& answer);
  // The holder stores nothing, or the key was deleted: the next one who waits gets the lease.
  void let_go(std::string_view key);
  // The same for all keys that begin so.
  void let_go_prefix(std::string_view prefix);
  // From now on nobody waits: all are answered with `unavailable`.
  void close();
  bool closed() const noexcept { return closed_; }

 private:
  struct Lease {
    std::string key;
    std::uint64_t number = 0;
    runtime::Nanoseconds until = 0;
    runtime::Nanoseconds due = 0;  // its place in due_
    std::deque<CacheWaiter> waiters;
  };
  struct DueTimer : runtime::Timer {
    explicit DueTimer(CacheLeases& owner) noexcept;
    CacheLeases& leases;
  };
  // Clients choose the keys: a hash without a seed could be made to collide.
  struct SeededHash {
    std::uint64_t seed;
    std::size_t operator()(std::string_view key) const noexcept;
  };
  using Map = tsl::robin_map<std::string, std::unique_ptr<Lease>, SeededHash, std::equal_to<>>;

  Lease* find(std::string_view key) const;
  void set_due(Lease& lease);
  void set_due(Lease& lease, runtime::Nanoseconds due);
  void pass_on(Lease& lease);
  void erase(Lease& lease);
  void look(Lease& lease, runtime::Nanoseconds now);
  void arm();
  void fire() noexcept;

  runtime::Core& core_;
  const Answer answer_;
  void* const cache_;
  bool closed_ = false;
  Map leases_;
  std::set<std::pair<runtime::Nanoseconds, Lease*>> due_;
  DueTimer timer_;
};

}  // namespace corelane::services
