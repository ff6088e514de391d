#include "net/http/client_pool.hpp"

#include <algorithm>

#include "net/connect.hpp"
#include "net/http/client_exchange.hpp"
#include "runtime/core.hpp"

namespace corelane::net::http::detail {

using runtime::ErrorCode;
using runtime::Result;
using runtime::Task;
using runtime::WaitQueue;

namespace {

// Nothing has come that no request asked for, and the server has not ended it.
bool is_usable(TcpStream& stream) noexcept {
  return stream.is_live() && stream.unread_bytes() == 0;
}

}  // namespace

// --- A lease

ClientPool::Lease& ClientPool::Lease::operator=(Lease&& other) noexcept {
  if (this == &other) return *this;
  drop();
  stream = std::move(other.stream);
  is_kept = other.is_kept;
  pool_ = std::exchange(other.pool_, nullptr);
  site_ = other.site_;
  return *this;
}

Task<Result<void>> ClientPool::Lease::connect(const Url& url) {
  stream = {};
  is_kept = false;
  if (url.address) {
    auto made = co_await TcpStream::connect(*url.address);
    if (!made) co_return made.error();
    stream = std::move(*made);
  } else {
    auto made = co_await net::connect(url.name, url.port, pool_->client_.options_.resolver);
    if (!made) co_return made.error();
    stream = std::move(*made);
  }
  ++pool_->client_.counters_.connections;
  co_return Result<void>{};
}

void ClientPool::Lease::keep() noexcept {
  if (!is_usable(stream)) return close();
  stream.set_deadline(0 * runtime::kSecond);
  std::exchange(pool_, nullptr)->give_back(*site_, std::move(stream));
}

void ClientPool::Lease::drop() noexcept {
  stream.abort();
  close();
}

void ClientPool::Lease::close() noexcept {
  stream = {};
  if (pool_ != nullptr) std::exchange(pool_, nullptr)->give_up_place(*site_);
}

// --- The pool

ClientPool::ClientPool(HttpClient& client)
    : client_(client), core_(runtime::Core::current()), sweep_timer_(*this) {}

ClientPool::~ClientPool() {
  close_idle();
  core_.timers().cancel(sweep_timer_);
  RT_ASSERT(open_ == 0);  // an answer or an upload outlives its client
  RT_ASSERT(waiting_ == 0);
}

ClientPool::Site& ClientPool::site_of(const Url& url) {
  const auto found = sites_.find(url.site);
  if (found != sites_.end()) return *found->second;
  auto site = std::make_unique<Site>();
  site->name = url.site;
  return *sites_.emplace(site->name, std::move(site)).first->second;
}

Task<Result<ClientPool::Lease>> ClientPool::acquire(const Url& url) {
  Site& site = site_of(url);
  Lease lease;
  if (site.waiting.empty() && take_idle(site, lease)) co_return std::move(lease);
  if (site.open < client_.options_.connections_per_host) {
    ++site.open;
    ++open_;
    co_return Lease(*this, site);
  }
  if (site.waiting.size() >= client_.options_.waiting_max) {
    co_return error_of(ErrorCode::limit_exceeded, ClientFault::too_many_waiting);
  }
  ++waiting_;
  WaitQueue::Waiter waiter{site.waiting, WaitQueue::OnCancel::wake, &lease};
  const WaitQueue::Outcome outcome = co_await waiter;
  --waiting_;
  // The site may be gone: nothing of it is left but by the lease.
  if (outcome == WaitQueue::Outcome::cancelled) co_return runtime::fail(ErrorCode::cancelled);
  co_return std::move(lease);
}

bool ClientPool::take_idle(Site& site, Lease& lease) noexcept {
  while (!site.idle.empty()) {
    TcpStream stream = std::move(site.idle.back().stream);
    site.idle.pop_back();
    --idle_;
    if (!is_usable(stream)) {
      --site.open;
      --open_;
      continue;
    }
    lease = Lease(*this, site);
    lease.stream = std::move(stream);
    lease.is_kept = true;
    return true;
  }
  return false;
}

void ClientPool::give_back(Site& site, TcpStream stream) noexcept {
  if (!site.waiting.empty()) {
    auto& lease = *static_cast<Lease*>(site.waiting.front().slot);
    lease = Lease(*this, site);
    lease.stream = std::move(stream);
    lease.is_kept = true;
    return site.waiting.wake_front(WaitQueue::Outcome::granted);
  }
  if (client_.options_.idle_max == 0) {
    stream = {};
    return give_up_place(site);
  }
  if (idle_ >= client_.options_.idle_max) remove_oldest();
  site.idle.push_back({std::move(stream), core_.now()});
  ++idle_;
  arm_sweep();
}

void ClientPool::give_up_place(Site& site) noexcept {
  if (!site.waiting.empty()) {
    *static_cast<Lease*>(site.waiting.front().slot) = Lease(*this, site);
    return site.waiting.wake_front(WaitQueue::Outcome::granted);
  }
  --open_;
  if (--site.open == 0) sites_.erase(sites_.find(site.name));
}

// --- Idle connections

void ClientPool::remove_idle(Site& site, std::size_t index) noexcept {
  site.idle.erase(site.idle.begin() + static_cast<std::ptrdiff_t>(index));
  --idle_;
  give_up_place(site);
}

void ClientPool::remove_oldest() noexcept {
  Site* oldest = nullptr;
  for (const auto& [name, site] : sites_) {
    if (site->idle.empty()) continue;
    if (oldest == nullptr || site->idle.front().since < oldest->idle.front().since) {
      oldest = site.get();
    }
  }
  remove_idle(*oldest, 0);
}

void ClientPool::close_idle() noexcept {
  while (idle_ > 0) remove_oldest();
}

void ClientPool::sweep() noexcept {
  const runtime::Nanoseconds now = core_.now();
  for (auto at = sites_.begin(); at != sites_.end();) {
    Site& site = *(at++)->second;  // which may be erased with its last connection
    for (std::size_t i = site.idle.size(); i > 0; --i) {
      Idle& idle = site.idle[i - 1];
      const bool is_over = now - idle.since >= client_.options_.idle_timeout;
      if (!is_over && is_usable(idle.stream)) continue;
      const bool is_last = site.open == 1;
      remove_idle(site, i - 1);
      if (is_last) break;
    }
  }
  arm_sweep();
}

void ClientPool::arm_sweep() noexcept {
  if (idle_ == 0 || sweep_timer_.queued()) return;
  const runtime::Nanoseconds patience = client_.options_.idle_timeout;
  core_.timers().add(sweep_timer_, core_.now() + std::min(patience, kSweepInterval));
}

// --- Spare exchanges

std::unique_ptr<Exchange> ClientPool::take_spare() noexcept {
  if (spares_.empty()) return nullptr;
  std::unique_ptr<Exchange> spare = std::move(spares_.back());
  spares_.pop_back();
  return spare;
}

void ClientPool::keep_spare(std::unique_ptr<Exchange> exchange) noexcept {
  if (spares_.size() < kSparesMax) spares_.push_back(std::move(exchange));
}

}  // namespace corelane::net::http::detail
