// Get-or-lease: the cache's side of CacheLeases.

#include <algorithm>

#include "services/cache/cache.hpp"
#include "services/cache/messages.hpp"

namespace corelane::services {

using protocol::ErrorCode;
using runtime::Nanoseconds;

void Cache::lease(std::string_view key, const CacheLeaseAsk& how, const ReplyTo& to) {
  const CacheStatus status = check_key(key, true);
  if (status != CacheStatus::ok) return refuse(CacheOperation::lease, status, to);
  CacheLeaseAsk ask = how;
  if (ask.hold <= 0) ask.hold = kLeaseDefault;
  ask.hold = std::clamp(ask.hold, runtime::kMillisecond, kLeaseMax);
  ask.wait = std::clamp(ask.wait, Nanoseconds{0}, kLeaseMax);
  const CacheKey hashed{key, CacheTable::hash(key, options_.hash_seed)};
  const runtime::CoreId owner = owner_of(hashed.hash);
  if (owner == core_.id()) {
    ++counters_.here;
    CacheAnswer answer;
    if (apply_lease(hashed, ask, {.to = to}, answer)) complete_answer(to, answer);
    return;
  }
  ++counters_.sent;
  CacheCall& call = calls_.take({.operation = CacheOperation::lease}, hashed,
                                std::as_bytes(std::span{&ask, 1}), to);
  core_.lanes().send(owner, CacheCallMessage{&call});
}

// Also on the own core over its lane: an answer may be given where a lease must not be let go.
void Cache::release(std::string_view key, std::uint64_t lease) {
  const CacheKey hashed{key, CacheTable::hash(key, options_.hash_seed)};
  core_.lanes().send(owner_of(hashed.hash),
                     CacheCallMessage{&calls_.take(
                         {.operation = CacheOperation::release, .lease = lease}, hashed, {}, {})});
}

bool Cache::apply_lease(const CacheKey& key, const CacheLeaseAsk& how, const CacheWaiter& waiter,
                        CacheAnswer& answer) {
  const Nanoseconds now = core_.now();
  answer = found(CacheOperation::lease, table_.get(key, now));
  const bool is_there = answer.code == ErrorCode::none;
  const auto left = static_cast<Nanoseconds>(answer.ttl_ms) * runtime::kMillisecond;
  const bool expires_soon = answer.ttl_ms != 0 && left < how.refresh;
  if (is_there && !expires_soon) return true;
  if (leases_.is_free(key.bytes)) {
    if (!leases_.full()) {
      answer.lease = leases_.grant(key.bytes, how.hold);
    } else if (!is_there) {
      answer.code = ErrorCode::overloaded;
    }
    return true;
  }
  if (is_there || how.wait == 0 || leases_.closed()) return true;
  CacheWaiter waits = waiter;
  waits.until = runtime::after(now, how.wait);
  waits.hold = how.hold;
  leases_.wait(key.bytes, waits);
  return false;
}

void Cache::answer_waiter(std::string_view key, const CacheWaiter& waiter,
                          const CacheAnswer& answer) {
  if (waiter.call != nullptr) return send_back(*waiter.call, waiter.from, answer);
  // A receiver that is gone computes nothing.
  if (!complete_answer(waiter.to, answer) && answer.lease != 0) release(key, answer.lease);
}

}  // namespace corelane::services
