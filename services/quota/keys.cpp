// The limits of addresses and principals: shares on the cores of their sessions, pools on the core
// that owns the key.

#include <xxhash.h>

#include <algorithm>
#include <cstring>

#include "runtime/address.hpp"
#include "services/quota/quota.hpp"

namespace corelane::services {

using quota::Key;
using quota::Limits;
using quota::Pool;
using quota::QuotaScope;
using quota::Share;
using runtime::Core;
using runtime::CoreId;
using runtime::SharedBytes;

namespace {

// Shares without sessions that are looked at when a session begins or ends: more than one session
// adds, so the list gets shorter.
constexpr unsigned kIdleLooks = 3;

}  // namespace

// --- Messages between a share and its owner

struct Quota::AttachMessage {
  Key key;
  QuotaScope scope;
  std::uint32_t life;
  void deliver(CoreId from) const {
    Quota::local().attach(key, scope, {.core = from, .life = life});
  }
};

struct Quota::DetachMessage {
  Key key;
  void deliver(CoreId from) const { Quota::local().detach(key, from); }
};

struct Quota::GrantMessage {
  quota::GrantTokens grant;
  void deliver(CoreId) const { Quota::local().take_grant(grant); }
};

struct Quota::AskMessage {
  quota::AskTokens ask;
  void deliver(CoreId from) const {
    Quota& self = Quota::local();
    quota::GrantTokens grant{};
    const auto found = self.pools_.find(ask.key);
    RT_ASSERT(found != self.pools_.end());  // its core is attached
    if (!found.value()->give(ask, self.core_.now(), grant)) return;
    self.core_.lanes().send(from, GrantMessage{grant});
  }
};

struct Quota::GiveBackMessage {
  quota::GiveBackTokens back;
  void deliver(CoreId) const {
    Quota& self = Quota::local();
    const auto found = self.pools_.find(back.key);
    RT_ASSERT(found != self.pools_.end());
    found.value()->take_back(back, self.core_.now());
  }
};

struct Quota::LimitsMessage {
  Key key;
  SharedBytes::Loan block;
  std::uint32_t life;
  std::uint32_t version;
  std::uint32_t count;
  std::size_t lane_bytes() const noexcept { return block.capacity(); }
  void deliver(CoreId) const {
    const SharedBytes held = SharedBytes::adopt(block);
    Limits limits(count);
    if (count > 0) std::memcpy(limits.data(), held.data(), count * sizeof(quota::Limit));
    Quota::local().take_limits(key, life, limits, version);
  }
};
static_assert(std::is_trivially_copyable_v<quota::Limit>);

// --- Names

Key Quota::key_of(QuotaScope scope, std::string_view name) const noexcept {
  std::string text{name};
  if (scope == QuotaScope::address) {
    // In the spelling of a peer's address.
    auto address = runtime::Address::parse(text + ":0");
    if (!address) address = runtime::Address::parse("[" + text + "]:0");
    if (address) text = address->host();
  }
  text.push_back(scope == QuotaScope::address ? 'a' : 'p');
  const XXH128_hash_t hash = XXH3_128bits_withSeed(text.data(), text.size(), options_.hash_seed);
  return {.low = hash.low64, .high = hash.high64};
}

CoreId Quota::owner_of(const Key& key) const noexcept {
  return static_cast<CoreId>(key.low % core_.cores());
}

// --- The cores of its sessions

Share* Quota::attach_share(QuotaScope scope, std::string_view name) {
  const Key key = key_of(scope, name);
  const CoreId owner = owner_of(key);
  std::unique_ptr<Share>& share = shares_[key];
  if (share == nullptr) {
    quota::Asker& asker = *this;
    share = std::make_unique<Share>(scope, key, ++share_lives_, core_.cores(), asker);
    // What it has unless the owner tells otherwise.
    share->set(options_.of(scope), 0, core_.now());
    Share* const made = share.get();
    ++made->sessions;
    const AttachMessage message{.key = key, .scope = scope, .life = made->life()};
    if (owner == core_.id()) {
      message.deliver(owner);
    } else {
      core_.lanes().send(owner, message);
    }
    made->ask_all(core_.now());
    return made;
  }
  ++share->sessions;
  return share.get();
}

void Quota::detach_share(Share* share) noexcept {
  if (share == nullptr) return;
  RT_ASSERT(share->sessions > 0);
  if (--share->sessions == 0) end_or_keep(*share);
  look_at_idle_shares();
}

// Of a share without sessions.
void Quota::end_or_keep(Share& share) noexcept {
  RT_ASSERT(share.sessions == 0);
  share.settle(core_.now());
  if (share.may_end(core_.now())) return end_share(share);
  if (share.is_listed) return;
  share.is_listed = true;
  idle_shares_.push_back(share.key());
}

void Quota::end_share(Share& share) noexcept {
  const Key key = share.key();
  const CoreId owner = owner_of(key);
  for (std::size_t i = 0; i < share.lines().size(); ++i) {
    const std::int64_t tokens = share.take_all(i);
    if (tokens == 0) continue;
    const GiveBackMessage message{{.key = key,
                                   .version = share.version(),
                                   .line = static_cast<std::uint32_t>(i),
                                   .tokens = tokens}};
    if (owner == core_.id()) {
      message.deliver(owner);
    } else {
      core_.lanes().send(owner, message);
    }
  }
  shares_.erase(key);
  if (owner == core_.id()) {
    detach(key, owner);
  } else {
    core_.lanes().send(owner, DetachMessage{.key = key});
  }
}

void Quota::look_at_idle_shares() noexcept {
  for (unsigned looks = 0; looks < kIdleLooks && !idle_shares_.empty(); ++looks) {
    const auto found = shares_.find(idle_shares_.front());
    idle_shares_.pop_front();
    if (found == shares_.end()) continue;  // it has ended since
    Share& share = *found.value();
    share.is_listed = false;
    if (share.sessions > 0) continue;
    if (idle_shares_.size() >= kKeysMax) {
      end_share(share);
    } else {
      end_or_keep(share);
    }
  }
}

void Quota::ask(const quota::AskTokens& ask) noexcept {
  ++counters_.asks;
  const CoreId owner = owner_of(ask.key);
  if (owner != core_.id()) return core_.lanes().send(owner, AskMessage{ask});
  quota::GrantTokens grant{};
  const auto pool = pools_.find(ask.key);
  RT_ASSERT(pool != pools_.end());
  const bool is_known = pool.value()->give(ask, core_.now(), grant);
  RT_ASSERT(is_known);  // a share learns of new limits at once
  const auto share = shares_.find(ask.key);
  RT_ASSERT(share != shares_.end());
  share.value()->take(grant, core_.now());
}

void Quota::take_grant(const quota::GrantTokens& grant) noexcept {
  const auto found = shares_.find(grant.key);
  // Limits have changed since: its tokens were of a bucket that is gone.
  if (found == shares_.end() || found.value()->version() != grant.version) return;
  Share& share = *found.value();
  share.take(grant, core_.now());
  if (share.sessions == 0) end_or_keep(share);
}

void Quota::take_limits(const Key& key, std::uint32_t life, const Limits& limits,
                        std::uint32_t version) {
  const auto found = shares_.find(key);
  // One that came after it has been told, or will be, by the answer to its own attachment.
  if (found == shares_.end() || found.value()->life() != life) return;
  Share& share = *found.value();
  share.set(limits, version, core_.now());
  share.ask_all(core_.now());
  sessions_.for_each([&](auto, SessionQuota& of) {
    if (of.address == &share || of.principal == &share) choose_credit(of.session, of);
  });
  // One without sessions is in the list of those, and ends from there.
}

// --- The owner

Pool& Quota::pool_of(const Key& key, QuotaScope scope) {
  std::unique_ptr<Pool>& pool = pools_[key];
  if (pool == nullptr) {
    pool = std::make_unique<Pool>(scope);
    pool->set(options_.of(scope), false, core_.now());
  }
  return *pool;
}

void Quota::attach(const Key& key, QuotaScope scope, const Pool::Sharer& sharer) {
  forget_lingering();
  Pool& pool = pool_of(key, scope);
  pool.sharers.push_back(sharer);
  if (pool.version() != 0) send_limits(key, pool, sharer);
}

void Quota::detach(const Key& key, CoreId from) noexcept {
  const auto found = pools_.find(key);
  RT_ASSERT(found != pools_.end());
  Pool& pool = *found.value();
  const std::size_t erased =
      std::erase_if(pool.sharers, [from](const Pool::Sharer& one) { return one.core == from; });
  RT_ASSERT(erased == 1);
  linger_if_unused(key, pool);
}

void Quota::send_limits(const Key& key, Pool& pool, const Pool::Sharer& to) {
  Limits limits;
  for (const quota::Line& line : pool.lines()) limits.push_back(line.limit);
  if (to.core == core_.id()) return take_limits(key, to.life, limits, pool.version());
  const std::size_t bytes = limits.size() * sizeof(quota::Limit);
  SharedBytes block = SharedBytes::allocate(std::max<std::size_t>(bytes, 1));
  if (bytes > 0) std::memcpy(block.data(), limits.data(), bytes);
  core_.lanes().send(to.core, LimitsMessage{.key = key,
                                            .block = block.lend(),
                                            .life = to.life,
                                            .version = pool.version(),
                                            .count = static_cast<std::uint32_t>(limits.size())});
}

// A key without sessions is kept until its buckets are full: a client that comes again at once must
// not find a fresh one.
void Quota::linger_if_unused(const Key& key, Pool& pool) noexcept {
  if (!pool.sharers.empty() || pool.has_own() || pool.lingers) return;
  pool.lingers = true;
  lingering_.push_back(key);
  forget_lingering();
}

void Quota::forget_lingering() noexcept {
  while (!lingering_.empty()) {
    const auto found = pools_.find(lingering_.front());
    RT_ASSERT(found != pools_.end());
    Pool& pool = *found.value();
    const bool is_used = !pool.sharers.empty() || pool.has_own();
    if (!is_used && !pool.is_full(core_.now()) && lingering_.size() <= kKeysMax) return;
    pool.lingers = false;
    lingering_.pop_front();
    if (!is_used) pools_.erase(found);
  }
}

}  // namespace corelane::services
