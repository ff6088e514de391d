#include "services/quota/source.hpp"

#include <algorithm>
#include <limits>

namespace corelane::services::quota {

using runtime::Nanoseconds;

namespace {

constexpr std::int64_t kPlenty = std::numeric_limits<std::int64_t>::max() / 4;
constexpr std::uint64_t kFrameSizeBytes = 4;
constexpr std::int64_t kCreditShare = 64;  // of the time that fills a bucket
constexpr Nanoseconds kCreditTimeMax = runtime::kSecond;
// Of its bytes, a credit sets the sizes of its frames aside: at most half.
constexpr std::int64_t kBytesARequestMin = 8;

// 0 for what the server sends.
std::uint64_t amount_of(const Limit& limit, const Cost& cost) noexcept {
  if (limit.metric == QuotaMetric::requests) return 1;
  return limit.metric == QuotaMetric::bytes_in ? cost.bytes : 0;
}

bool is_hard(const Limit& limit) noexcept {
  return limit.action >= QuotaAction::reject;
}

}  // namespace

void Verdict::refuse(const Found& found) noexcept {
  const auto rank = [](const Found& one) {
    const bool ends = one.line->limit.action == QuotaAction::terminate;
    return std::pair{ends, one.wait};
  };
  if (refused.line == nullptr || rank(found) > rank(refused)) refused = found;
}

bool Source::counts_sent() const noexcept {
  return std::any_of(lines_.begin(), lines_.end(),
                     [](const Line& line) { return !line.limit.is_inward(); });
}

void Source::take_counted(Line& line, std::uint64_t count, Nanoseconds now) noexcept {
  if (count == 0) return;
  take(line, count, now);
  line.used += count;
}

void Source::settle(Nanoseconds now) noexcept {
  const auto requests = static_cast<std::uint64_t>(granted_.requests - credit_.requests);
  const auto bytes =
      static_cast<std::uint64_t>(granted_.bytes_in - credit_.bytes_in) + requests * kFrameSizeBytes;
  // All of it was used while the credit was valid; a bucket that was full by now had refilled
  // since.
  const Nanoseconds at = std::min(now, granted_.until);
  forget_credit();
  if (requests == 0) return;
  for (Line& line : lines_) {
    if (line.limit.metric == QuotaMetric::requests) take_counted(line, requests, at);
    if (line.limit.metric == QuotaMetric::bytes_in) take_counted(line, bytes, at);
  }
}

void Source::check(const Cost& cost, Nanoseconds now, Verdict& verdict) noexcept {
  for (Line& line : lines_) {
    if (!is_hard(line.limit) || !line.limit.takes(cost.opcode, cost.opcode_class)) continue;
    const std::uint64_t amount = amount_of(line.limit, cost);
    if (has(line, amount, now)) continue;
    ++line.exceeded;
    verdict.refuse({.line = &line, .scope = scope_, .wait = wait_for(line, amount, now)});
  }
}

void Source::charge(const Cost& cost, Nanoseconds now, Verdict& verdict) noexcept {
  for (Line& line : lines_) {
    if (!line.limit.is_inward() || !line.limit.takes(cost.opcode, cost.opcode_class)) continue;
    const std::uint64_t amount = amount_of(line.limit, cost);
    if (line.limit.action == QuotaAction::delay) {
      take_counted(line, amount, now);
      const Nanoseconds wait = debt_time(line, now);
      if (wait > 0) ++line.exceeded;
      if (wait > verdict.delayed.wait) verdict.delayed = {&line, scope_, wait};
    } else if (has(line, amount, now)) {
      take_counted(line, amount, now);
    } else if (line.limit.action == QuotaAction::warn) {
      ++line.exceeded;
      verdict.warned = {&line, scope_, wait_for(line, amount, now)};
    }
    // A hard one that lacks tokens was counted by check(): permissive mode.
  }
}

void Source::charge_sent(std::uint32_t deliveries, std::uint64_t bytes, Nanoseconds now,
                         Verdict& verdict) noexcept {
  for (Line& line : lines_) {
    if (line.limit.is_inward()) continue;
    const std::uint64_t amount = line.limit.metric == QuotaMetric::deliveries ? deliveries : bytes;
    if (amount == 0) continue;
    const bool fits = has(line, amount, now);
    if (!fits) ++line.exceeded;
    // A debt of a limit that only warns would be warned of for ever.
    if (fits || line.limit.action != QuotaAction::warn) take_counted(line, amount, now);
    if (fits) continue;
    switch (line.limit.action) {
      case QuotaAction::warn:
        verdict.warned = {&line, scope_, wait_for(line, amount, now)};
        break;
      case QuotaAction::delay:
        if (const Nanoseconds wait = debt_time(line, now); wait > verdict.delayed.wait) {
          verdict.delayed = {&line, scope_, wait};
        }
        break;
      case QuotaAction::reject:
        break;  // the next request meets the debt
      case QuotaAction::terminate:
        verdict.refuse({.line = &line, .scope = scope_, .wait = debt_time(line, now)});
        break;
    }
  }
}

Nanoseconds Source::delay_left(Nanoseconds now) noexcept {
  Nanoseconds longest = 0;
  for (Line& line : lines_) {
    if (line.limit.action == QuotaAction::delay) longest = std::max(longest, debt_time(line, now));
  }
  return longest;
}

void Source::grant(Nanoseconds now) noexcept {
  const Nanoseconds lasts = std::min(credit_time(), Bucket::kNever - now);
  QuotaCredit credit{.until = now + lasts, .requests = kPlenty, .bytes_in = kPlenty};
  for (Line& line : lines_) {
    if (!line.limit.takes_every_request()) return;
    const std::int64_t tokens = spare(line, now);
    if (tokens < 0) return;
    if (line.limit.metric == QuotaMetric::requests) {
      credit.requests = std::min(credit.requests, tokens);
    } else if (line.limit.metric == QuotaMetric::bytes_in) {
      credit.bytes_in = std::min(credit.bytes_in, tokens);
    }
  }
  if (credit.bytes_in < kPlenty) {
    credit.requests = std::min(credit.requests, credit.bytes_in / kBytesARequestMin);
    credit.bytes_in -= credit.requests * static_cast<std::int64_t>(kFrameSizeBytes);
  }
  credit_ = granted_ = credit;
}

void OwnLimits::set(const Limits& limits, Nanoseconds now) {
  forget_credit();
  lines_.clear();
  credit_time_ = kCreditTimeMax;
  for (const Limit& limit : limits) {
    lines_.emplace_back(limit, now);
    credit_time_ = std::min(credit_time_, limit.rate.time_of(limit.rate.burst) / kCreditShare);
  }
}

bool OwnLimits::has(Line& line, std::uint64_t count, Nanoseconds now) noexcept {
  const std::int64_t level = line.bucket.level(now);
  return level >= 0 && static_cast<std::uint64_t>(level) >= count;
}

}  // namespace corelane::services::quota
