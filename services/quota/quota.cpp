#include "services/quota/quota.hpp"

#include <fmt/format.h>

#include <stdexcept>

#include "net/network.hpp"
#include "net/peer_address.hpp"
#include "runtime/submit.hpp"
#include "services/dispatch/dispatch.hpp"

namespace corelane::services {

using protocol::ErrorCode;
using quota::QuotaScope;
using quota::Source;
using runtime::Nanoseconds;
using runtime::Task;

namespace {

// The key of what has no address: Unix sockets.
constexpr std::string_view kNoAddress = "unix";
// Of peers that have reset their connection before they were looked at.
constexpr std::string_view kGone = "gone";

std::string address_text(Session& session) {
  const runtime::Descriptor socket = session.stream().descriptor();
  RT_ASSERT(!socket.direct);  // Only a descriptor of the process can be asked for its peer.
  const auto peer = runtime::Core::current().ring().peer_address(socket);
  if (!peer) return std::string{kGone};
  const bool has_one = peer->family() == AF_INET || peer->family() == AF_INET6;
  return has_one ? peer->host() : std::string{kNoAddress};
}

void check_count(const quota::Limits& limits, std::string_view of) {
  if (limits.size() <= quota::kLimitsMax) return;
  throw std::invalid_argument(
      fmt::format("quota.{} has {} limits; {} is the most", of, limits.size(), quota::kLimitsMax));
}

void add_use(QuotaReport& report, quota::Line& line, std::int64_t left, Nanoseconds full_in) {
  report.limits.push_back(quota::to_wire(line.limit));
  report.uses.emplace_back(left, line.used, line.exceeded, static_cast<std::uint64_t>(full_in));
}

}  // namespace

Quota::Quota(const QuotaOptions& options)
    : options_(options), core_(runtime::Core::current()), sessions_(UINT32_MAX) {
  check_count(options_.session, "session");
  check_count(options_.address, "address");
  check_count(options_.principal, "principal");
  set_local(ServiceSlot::quota, this);
  Sessions& sessions = Sessions::local();
  sessions.set_quota({.admit = admit, .sent = sent});
  if (!options_.session.empty() || options_.tracks()) sessions.tell_opened(*this);
  sessions.tell_ended(*this);
}

Quota::~Quota() {
  RT_ASSERT(sessions_.count() == 0);
  Sessions::local().set_quota({});
  set_local(ServiceSlot::quota, nullptr);
}

// --- Sessions

SessionQuota& Quota::quota_of(Session& session) {
  SessionExtension& extension = session.extend();
  if (extension.quota == nullptr) {
    const auto made = sessions_.emplace(session, [](runtime::Timer& timer) noexcept {
      local().end_delay(static_cast<SessionQuota::Delay&>(timer).of);
    });
    RT_ASSERT(made.value != nullptr);
    made.value->slot = made.id.slot;
    extension.quota = made.value;
  }
  return *extension.quota;
}

void Quota::session_opened(Session& session) noexcept {
  SessionQuota& of = quota_of(session);
  of.own.set(options_.session, core_.now());
  if (options_.tracks()) {
    const std::string address = address_text(session);
    of.address = attach_share(QuotaScope::address, address);
    const std::string& name = options_.principal_name;
    of.principal = attach_share(QuotaScope::principal, name.empty() ? address : name);
  }
  choose_credit(session, of);
}

void Quota::session_ended(Session& session) noexcept {
  SessionExtension* extension = session.extension();
  if (extension == nullptr || extension->quota == nullptr) return;
  SessionQuota& of = *extension->quota;
  core_.timers().cancel(of.delay);
  detach_share(of.address);
  detach_share(of.principal);
  sessions_.erase(of.slot);
  extension->quota = nullptr;
  extension->credit = &extension->unlimited;
}

void Quota::identify(Session& session, std::string_view principal) {
  if (!options_.tracks()) return;
  SessionQuota& of = quota_of(session);
  quota::Share* earlier = of.principal;
  of.principal = attach_share(QuotaScope::principal, principal);
  detach_share(earlier);
  choose_credit(session, of);
}

// A credit is of one source. Requests of a session with several are looked at one by one.
void Quota::choose_credit(Session& session, SessionQuota& of) noexcept {
  SessionExtension& extension = session.extend();
  unsigned sources = 0;
  bool counts_sent = false;
  extension.credit = &extension.unlimited;
  extension.unlimited = {};
  of.for_each([&](Source& source) {
    extension.credit = ++sources == 1 ? &source.credit() : &no_credit_;
    counts_sent = counts_sent || source.counts_sent();
  });
  session.set_counts_sent(counts_sent);
  // Under other limits its delay may be shorter, or over.
  if (of.delay.queued()) core_.timers().reschedule(of.delay, core_.now());
}

QuotaResult Quota::result_of(Session& session) noexcept {
  SessionExtension* extension = session.extension();
  if (extension == nullptr || extension->quota == nullptr) return {};
  SessionQuota& of = *extension->quota;
  const Nanoseconds now = core_.now();
  const bool is_looked_at = extension->credit->requests == of.requests_left;
  QuotaResult result;
  of.for_each([&](Source& source) {
    result.outcome = QuotaResult::Outcome::passed;
    source.settle(now);
    for (quota::Line& line : source.lines()) {
      if (line.limit.metric != quota::QuotaMetric::requests) continue;
      result.left = std::min(result.left, std::max<std::int64_t>(source.left(line, now), 0));
    }
    source.grant(now);
  });
  if (is_looked_at && of.result.outcome != QuotaResult::Outcome::unlimited) {
    result.outcome = of.result.outcome;
    result.wait = of.result.wait;
  }
  // Asked again, it says the same.
  of.result = result;
  of.requests_left = extension->credit->requests;
  return result;
}

QuotaResult Request::quota_result() const {
  Session* session = Sessions::local().find(session_);
  return session != nullptr ? Quota::local().result_of(*session) : QuotaResult{};
}

// --- Reading and setting

QuotaReport Quota::report_session(Session& session) {
  QuotaReport report{.session = session.uuid()};
  SessionExtension* extension = session.extension();
  if (extension == nullptr || extension->quota == nullptr) return report;
  quota::OwnLimits& own = extension->quota->own;
  const Nanoseconds now = core_.now();
  own.settle(now);
  for (quota::Line& line : own.lines()) {
    add_use(report, line, own.left(line, now), line.bucket.full_in(now));
  }
  own.grant(now);
  return report;
}

QuotaReport Quota::set_session(Session& session, const quota::Limits& limits) {
  SessionQuota& of = quota_of(session);
  of.own.set(limits, core_.now());
  choose_credit(session, of);
  return report_session(session);
}

QuotaReport Quota::report_key(const quota::Key& key, QuotaScope scope) {
  QuotaReport report;
  const Nanoseconds now = core_.now();
  const auto add_all = [&](quota::Pool& pool) {
    for (quota::Line& line : pool.lines()) {
      add_use(report, line, line.bucket.level(now), line.bucket.full_in(now));
    }
  };
  if (const auto found = pools_.find(key); found != pools_.end()) {
    add_all(*found->second);
  } else {
    quota::Pool fresh(scope);
    fresh.set(options_.of(scope), false, now);
    add_all(fresh);
  }
  return report;
}

QuotaReport Quota::set_key(const quota::Key& key, QuotaScope scope, const quota::Limits* limits) {
  if (limits != nullptr && own_pools_ >= kKeysMax && !pools_.contains(key)) {
    return {.code = ErrorCode::limit_exceeded};
  }
  quota::Pool& pool = pool_of(key, scope);
  own_pools_ -= pool.has_own() ? 1U : 0U;
  pool.set(limits != nullptr ? *limits : options_.of(scope), limits != nullptr, core_.now());
  own_pools_ += pool.has_own() ? 1U : 0U;
  for (const quota::Pool::Sharer& sharer : pool.sharers) send_limits(key, pool, sharer);
  linger_if_unused(key, pool);
  return report_key(key, scope);
}

Quota::Located Quota::locate(const QuotaTarget& target) noexcept {
  if (!options_.tracks()) return {.key = {}, .code = ErrorCode::unavailable};
  if (!target.key.empty()) {
    return {.key = key_of(target.scope, target.key), .code = ErrorCode::none};
  }
  Session* session = Sessions::local().find(target.asked_by);
  if (session == nullptr || session->extend().quota == nullptr) {
    return {.key = {}, .code = ErrorCode::unknown_session};
  }
  const SessionQuota& of = *session->extend().quota;
  const quota::Share* share = target.scope == QuotaScope::address ? of.address : of.principal;
  RT_ASSERT(share != nullptr);
  return {.key = share->key(), .code = ErrorCode::none};
}

namespace {

// Runs operation(Session&) on the core of the session that is named; unknown_session if there is
// none.
template <class Operation>
Task<QuotaReport> on_session(QuotaTarget target, Operation operation) {
  Sessions::Named named;
  if (target.session.is_nil()) {
    Session* session = Sessions::local().find(target.asked_by);
    if (session == nullptr) co_return QuotaReport{.code = ErrorCode::unknown_session};
    named = Sessions::parse(session->uuid(), runtime::Core::current().cores());
  } else {
    named = Sessions::parse(target.session, runtime::Core::current().cores());
  }
  if (!named.valid) co_return QuotaReport{.code = ErrorCode::unknown_session};
  auto work = [named, own = std::move(operation)]() mutable -> QuotaReport {
    Session* session = Sessions::local().find(named);
    if (session == nullptr) return {.code = ErrorCode::unknown_session};
    return own(*session);
  };
  co_return co_await runtime::submit_to(named.id.core, std::move(work));
}

}  // namespace

Task<QuotaReport> Quota::get(QuotaTarget target) {
  if (target.scope == QuotaScope::session) {
    const auto read = [](Session& session) { return local().report_session(session); };
    co_return co_await on_session(std::move(target), read);
  }
  const Located located = locate(target);
  if (located.code != ErrorCode::none) co_return QuotaReport{.code = located.code};
  const auto read = [key = located.key, scope = target.scope] {
    return local().report_key(key, scope);
  };
  QuotaReport report = co_await runtime::submit_to(owner_of(located.key), read);
  report.key = std::move(target.key);
  co_return report;
}

Task<QuotaReport> Quota::set(QuotaTarget target, std::unique_ptr<quota::Limits> limits) {
  if (target.scope == QuotaScope::session) {
    auto write = [own = std::move(limits)](Session& session) {
      return local().set_session(session, own ? *own : local().options_.session);
    };
    co_return co_await on_session(std::move(target), std::move(write));
  }
  const Located located = locate(target);
  if (located.code != ErrorCode::none) co_return QuotaReport{.code = located.code};
  auto write = [key = located.key, scope = target.scope, own = std::move(limits)] {
    return local().set_key(key, scope, own.get());
  };
  QuotaReport report = co_await runtime::submit_to(owner_of(located.key), std::move(write));
  report.key = std::move(target.key);
  co_return report;
}

}  // namespace corelane::services
