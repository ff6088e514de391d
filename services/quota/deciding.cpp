// What becomes of a request whose credit is used up, and of what was sent.

#include <fmt/format.h>

#include <algorithm>

#include "services/config/value.hpp"
#include "services/dispatch/dispatch.hpp"
#include "services/quota/quota.hpp"

namespace corelane::services {

using protocol::ErrorCode;
using protocol::MessageView;
using protocol::Opcode;
using quota::Bucket;
using quota::QuotaAction;
using quota::QuotaClass;
using quota::Source;
using quota::Verdict;
using runtime::Nanoseconds;

namespace {

constexpr std::size_t kFrameSizeBytes = 4;
// A client that is warned more often learns nothing new.
constexpr Nanoseconds kNoticeWindowMin = runtime::kSecond;

QuotaClass class_of(Opcode opcode) noexcept {
  if (protocol::number(opcode) >= protocol::kCustomOpcodeMin) return QuotaClass::application;
  const OpcodeRow& row = Dispatch::local().table().row(opcode);
  if (row.serve == nullptr) return QuotaClass::control;
  switch (row.cost) {
    case CostClass::control:
      break;
    case CostClass::light:
      return QuotaClass::light;
    case CostClass::memory:
      return QuotaClass::memory;
  }
  return QuotaClass::control;
}

std::string text_of(const Verdict::Found& found) {
  return fmt::format("quota of the {} exceeded: {}", quota::name_of(found.scope),
                     quota::format_limit(found.line->limit));
}

std::uint32_t milliseconds(Nanoseconds wait) noexcept {
  const Nanoseconds rounded = wait / runtime::kMillisecond + (wait % runtime::kMillisecond != 0);
  return static_cast<std::uint32_t>(std::clamp<Nanoseconds>(rounded, 1, UINT32_MAX));
}

}  // namespace

bool Quota::admit(Session& session, const MessageView& message, std::size_t bytes) noexcept {
  SessionExtension& extension = session.extend();
  extension.credit->restore(bytes);
  if (extension.quota != nullptr) return local().decide(session, *extension.quota, message, bytes);
  extension.unlimited = {};
  return true;
}

bool Quota::decide(Session& session, SessionQuota& of, const MessageView& message,
                   std::size_t bytes) {
  ++counters_.looks;
  const Nanoseconds now = core_.now();
  const quota::Cost cost{.opcode = message.opcode,
                         .opcode_class = class_of(message.opcode),
                         .bytes = bytes + kFrameSizeBytes};
  Verdict verdict;
  of.for_each([&](Source& source) {
    source.settle(now);
    source.check(cost, now, verdict);
  });
  const bool is_refused = verdict.refused.line != nullptr;
  if (is_refused && options_.permissive) ++counters_.permitted;
  const bool is_served = !is_refused || options_.permissive;
  // A request that one source refuses costs none of them anything.
  if (is_served) of.for_each([&](Source& source) { source.charge(cost, now, verdict); });
  of.for_each([&](Source& source) { source.grant(now); });
  if (!is_served) {
    refuse(session, verdict, message);
    return false;
  }
  of.result = {.outcome = QuotaResult::Outcome::passed};
  if (verdict.warned.line != nullptr) {
    of.result = {.outcome = QuotaResult::Outcome::warned, .wait = verdict.warned.wait};
  }
  if (verdict.delayed.line != nullptr) {
    of.result = {.outcome = QuotaResult::Outcome::delayed, .wait = verdict.delayed.wait};
  }
  if (is_refused) {
    of.result = {.outcome = QuotaResult::Outcome::exceeded, .wait = verdict.refused.wait};
  }
  act_softly(session, of, verdict);
  of.requests_left = session.extend().credit->requests;
  return !session.closing();  // a notice may have been too much for its queue
}

void Quota::refuse(Session& session, const Verdict& verdict, const MessageView& message) {
  const Verdict::Found& found = verdict.refused;
  const bool ends = found.line->limit.action == QuotaAction::terminate;
  ++(ends ? counters_.terminated : counters_.rejected);
  const std::string text = text_of(found);
  if (found.wait == Bucket::kNever) {
    Dispatch::local().refuse(session, message, ErrorCode::rate_limited,
                             text + "; the request takes more than the burst");
  } else {
    Dispatch::local().refuse(session, message, ErrorCode::rate_limited,
                             fmt::format("{}; wait {}", text, config::format_duration(found.wait)),
                             milliseconds(found.wait));
  }
  if (ends) session.close(ws::CloseCode::policy_violation, text);
}

void Quota::act_softly(Session& session, SessionQuota& of, const Verdict& verdict) {
  if (verdict.warned.line != nullptr) {
    ++counters_.warned;
    notice(session, verdict.warned);
  }
  if (verdict.delayed.line != nullptr) {
    ++counters_.delayed;
    if (options_.permissive) return;
    notice(session, verdict.delayed);
    delay(session, of, verdict.delayed.wait);
  }
}

void Quota::notice(Session& session, const Verdict::Found& found) {
  quota::Line& line = *found.line;
  const Nanoseconds now = core_.now();
  if (options_.permissive || now < line.notice_from) return;
  // Ahead of the notice, which may be counted as well.
  line.notice_from = now + std::max(line.limit.rate.period, kNoticeWindowMin);
  const quota::Limit& limit = line.limit;
  session.send(
      {.timestamp = core_.wall_now()},
      protocol::QuotaNoticeBody{
          .scope = found.scope,
          .metric = limit.metric,
          .action = limit.action,
          .opcode = limit.opcode,
          .opcode_class = limit.opcode_class,
          .tokens = limit.rate.tokens,
          .period_ns = static_cast<std::uint64_t>(limit.rate.period),
          .burst = limit.rate.burst,
          .wait_ns = found.wait == Bucket::kNever ? 0 : static_cast<std::uint64_t>(found.wait)});
}

// --- Delays

void Quota::delay(Session& session, SessionQuota& of, Nanoseconds wait) {
  const Nanoseconds now = core_.now();
  const Nanoseconds until = now + std::min(wait, Bucket::kNever - now);
  if (of.delay.queued() && of.delay.deadline_ns >= until) return;
  core_.timers().reschedule(of.delay, until);
  session.hold_receiving(true);
}

void Quota::end_delay(SessionQuota& of) noexcept {
  const Nanoseconds now = core_.now();
  Nanoseconds wait = 0;
  of.for_each([&](Source& source) {
    source.settle(now);
    wait = std::max(wait, source.delay_left(now));
    source.grant(now);
  });
  if (wait > 0) {
    core_.timers().add(of.delay, now + std::min(wait, Bucket::kNever - now));
  } else {
    of.session.hold_receiving(false);
  }
}

// --- What the server sends

void Quota::sent(Session& session, std::uint32_t deliveries, std::size_t bytes) noexcept {
  SessionQuota* of = session.extend().quota;
  if (of == nullptr || session.closing()) return;
  Quota& self = local();
  const Nanoseconds now = self.core_.now();
  Verdict verdict;
  of->for_each([&](Source& source) {
    if (!source.counts_sent()) return;
    source.settle(now);
    source.charge_sent(deliveries, bytes, now, verdict);
    source.grant(now);
  });
  if (verdict.refused.line != nullptr) {
    if (self.options_.permissive) {
      ++self.counters_.permitted;
    } else {
      ++self.counters_.terminated;
      const std::string text = text_of(verdict.refused);
      session.set_counts_sent(false);  // the Error, too, is beyond the limit
      session.send_error({}, Opcode::None, ErrorCode::rate_limited, text);
      session.close(ws::CloseCode::policy_violation, text);
      return;
    }
  }
  self.act_softly(session, *of, verdict);
}

}  // namespace corelane::services
