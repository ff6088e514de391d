#include "services/cache/leases.hpp"

#include <algorithm>
#include <vector>

#include "services/cache/table.hpp"

namespace corelane::services {

using protocol::ErrorCode;
using runtime::Nanoseconds;

namespace {

constexpr std::size_t kFiredMax = 256;  // leases looked at in a turn

CacheAnswer lease_answer(ErrorCode code, std::uint64_t lease) noexcept {
  return {.operation = CacheOperation::lease, .code = code, .lease = lease};
}

}  // namespace

std::size_t CacheLeases::SeededHash::operator()(std::string_view key) const noexcept {
  return CacheTable::hash(key, seed);
}

CacheLeases::DueTimer::DueTimer(CacheLeases& owner) noexcept
    : Timer([](runtime::Timer& timer) noexcept { static_cast<DueTimer&>(timer).leases.fire(); }),
      leases(owner) {}

CacheLeases::CacheLeases(runtime::Core& core, std::uint64_t hash_seed, Answer answer, void* cache)
    : core_(core),
      answer_(answer),
      cache_(cache),
      leases_(0, SeededHash{hash_seed}),
      timer_(*this) {}

CacheLeases::~CacheLeases() {
  core_.timers().cancel(timer_);
}

CacheLeases::Lease* CacheLeases::find(std::string_view key) const {
  if (leases_.empty()) return nullptr;
  const auto found = leases_.find(key);
  return found == leases_.end() ? nullptr : found->second.get();
}

bool CacheLeases::is_free(std::string_view key) const {
  return find(key) == nullptr;
}

bool CacheLeases::holds(std::string_view key, std::uint64_t lease) const {
  const Lease* found = find(key);
  return found != nullptr && found->number == lease && core_.now() < found->until;
}

std::uint64_t CacheLeases::grant(std::string_view key, Nanoseconds hold) {
  RT_ASSERT(is_free(key));
  auto made = std::make_unique<Lease>();
  Lease& lease = *made;
  lease.key = key;
  lease.number = core_.random().next() | 1;  // not to be guessed, and not 0
  lease.until = runtime::after(core_.now(), hold);
  leases_.emplace(lease.key, std::move(made));
  lease.due = lease.until;
  due_.emplace(lease.due, &lease);
  arm();
  return lease.number;
}

void CacheLeases::wait(std::string_view key, const CacheWaiter& waiter) {
  Lease* lease = find(key);
  RT_ASSERT(lease != nullptr);
  RT_ASSERT(!closed_);
  lease->waiters.push_back(waiter);
  if (waiter.until < lease->due) set_due(*lease, waiter.until);
}

void CacheLeases::set_due(Lease& lease) {
  Nanoseconds due = lease.until;
  for (const CacheWaiter& waiter : lease.waiters) due = std::min(due, waiter.until);
  set_due(lease, due);
}

void CacheLeases::set_due(Lease& lease, Nanoseconds due) {
  if (due == lease.due) return;
  due_.erase({lease.due, &lease});
  lease.due = due;
  due_.emplace(due, &lease);
  arm();
}

void CacheLeases::erase(Lease& lease) {
  due_.erase({lease.due, &lease});
  const std::string key = lease.key;  // the map's entry holds the lease
  leases_.erase(key);
}

void CacheLeases::end(std::string_view key, const CacheAnswer& answer) {
  Lease* lease = find(key);
  if (lease == nullptr) return;
  const std::deque<CacheWaiter> waiters = std::move(lease->waiters);
  erase(*lease);
  for (const CacheWaiter& waiter : waiters) answer_(cache_, key, waiter, answer);
}

void CacheLeases::let_go(std::string_view key) {
  if (Lease* lease = find(key)) pass_on(*lease);
}

void CacheLeases::let_go_prefix(std::string_view prefix) {
  std::vector<std::string> keys;
  for (const auto& [key, lease] : leases_) {
    if (key.starts_with(prefix)) keys.push_back(key);
  }
  for (const std::string& key : keys) let_go(key);
}

void CacheLeases::pass_on(Lease& lease) {
  if (lease.waiters.empty()) return erase(lease);
  const CacheWaiter next = lease.waiters.front();
  lease.waiters.pop_front();
  lease.number = core_.random().next() | 1;
  lease.until = runtime::after(core_.now(), next.hold);
  set_due(lease);
  answer_(cache_, lease.key, next, lease_answer(ErrorCode::key_missing, lease.number));
}

// Waits that have been long enough end; a lease whose time has passed goes to the next one.
void CacheLeases::look(Lease& lease, Nanoseconds now) {
  std::deque<CacheWaiter> late;
  std::erase_if(lease.waiters, [&](const CacheWaiter& waiter) {
    if (waiter.until > now) return false;
    late.push_back(waiter);
    return true;
  });
  const bool over = lease.until <= now;
  if (over) {
    pass_on(lease);
  } else {
    set_due(lease);
  }
  for (const CacheWaiter& waiter : late) {
    answer_(cache_, {}, waiter, lease_answer(ErrorCode::key_missing, 0));
  }
}

void CacheLeases::close() {
  closed_ = true;
  for (auto found = leases_.begin(); found != leases_.end(); ++found) {
    Lease& lease = *found.value();
    const std::deque<CacheWaiter> waiters = std::move(lease.waiters);
    lease.waiters.clear();
    set_due(lease);
    for (const CacheWaiter& waiter : waiters) {
      answer_(cache_, lease.key, waiter, lease_answer(ErrorCode::unavailable, 0));
    }
  }
}

void CacheLeases::arm() {
  if (due_.empty()) {
    core_.timers().cancel(timer_);
  } else if (!timer_.queued() || timer_.deadline_ns != due_.begin()->first) {
    // In a later turn than this one, as each takes kFiredMax at most.
    core_.timers().reschedule(timer_, std::max(due_.begin()->first, core_.now() + 1));
  }
}

void CacheLeases::fire() noexcept {
  const Nanoseconds now = core_.now();
  for (std::size_t i = 0; i < kFiredMax && !due_.empty(); ++i) {
    if (due_.begin()->first > now) break;
    look(*due_.begin()->second, now);
  }
  arm();
}

}  // namespace corelane::services
