#include "services/quota/share.hpp"

#include <algorithm>

#include "runtime/assert.hpp"

namespace corelane::services::quota {

using runtime::Nanoseconds;

namespace {

constexpr std::uint64_t kBatchesOfABurst = 16;
constexpr std::uint64_t kLoansOfABurst = 4;
constexpr std::uint64_t kLoanMin = 4;
// A client that is refused because another core has not answered yet.
constexpr Nanoseconds kAnswerWait = runtime::kMillisecond;

}  // namespace

// --- Share

void Share::set(const Limits& limits, std::uint32_t version, Nanoseconds now) {
  forget_credit();
  version_ = version;
  lines_.clear();
  allowances_.clear();
  for (const Limit& limit : limits) {
    lines_.emplace_back(limit, now);
    const std::uint64_t batch = limit.rate.burst / (kBatchesOfABurst * cores_);
    allowances_.push_back({.batch = static_cast<std::int64_t>(std::max<std::uint64_t>(batch, 1))});
  }
}

void Share::take(const GrantTokens& grant, Nanoseconds now) noexcept {
  RT_ASSERT(grant.version == version_);
  RT_ASSERT(grant.line < allowances_.size());
  Allowance& own = allowances_[grant.line];
  RT_ASSERT(own.is_asked);
  own.is_asked = false;
  own.tokens += grant.granted;
  own.none_until = grant.wait == 0 ? 0 : now + std::min(grant.wait, Bucket::kNever - now);
}

void Share::ask_all(Nanoseconds now) noexcept {
  for (const Line& line : lines_) ask_if_low(line, now);
}

// While an answer is on its way.
std::int64_t Share::lends(const Line& line) noexcept {
  if (!allowance(line).is_asked) return 0;
  const std::uint64_t loan = line.limit.rate.burst / (kLoansOfABurst * cores_);
  return static_cast<std::int64_t>(std::max(loan, kLoanMin));
}

bool Share::may_end(Nanoseconds now) noexcept {
  bool may = true;
  for (const Line& line : lines_) {
    const Allowance& own = allowance(line);
    if (own.tokens < 0) ask_if_low(line, now);
    if (own.is_asked || own.tokens < 0 || now < own.none_until) may = false;
  }
  return may;
}

std::int64_t Share::take_all(std::size_t line) noexcept {
  return std::exchange(allowances_[line].tokens, 0);
}

void Share::ask_if_low(const Line& line, Nanoseconds now) noexcept {
  Allowance& own = allowance(line);
  if (own.is_asked || own.tokens > own.batch / 2 || now < own.none_until) return;
  own.is_asked = true;
  asker_.ask({.key = key_,
              .version = version_,
              .line = static_cast<std::uint32_t>(&own - allowances_.data()),
              .wanted = own.batch - own.tokens,
              .needed = std::max<std::int64_t>(1 - own.tokens, 0)});
}

bool Share::has(Line& line, std::uint64_t count, Nanoseconds now) noexcept {
  ask_if_low(line, now);
  const std::int64_t tokens = allowance(line).tokens;
  return count == 0 ? tokens >= -lends(line) : tokens > -lends(line);
}

void Share::take(Line& line, std::uint64_t count, Nanoseconds now) noexcept {
  Allowance& own = allowance(line);
  const auto floor = -static_cast<std::int64_t>(Rate::kTokensMax);
  own.tokens =
      std::max(own.tokens - static_cast<std::int64_t>(std::min(count, Rate::kTokensMax)), floor);
  ask_if_low(line, now);
}

Nanoseconds Share::wait_for(Line& line, std::uint64_t, Nanoseconds now) noexcept {
  const Allowance& own = allowance(line);
  return own.none_until > now ? own.none_until - now : kAnswerWait;
}

Nanoseconds Share::debt_time(Line& line, Nanoseconds now) noexcept {
  return has(line, 0, now) ? 0 : wait_for(line, 0, now);
}

std::int64_t Share::spare(Line& line, Nanoseconds now) noexcept {
  const Allowance& own = allowance(line);
  // The half that is kept back makes it ask in time.
  const bool may_ask = !own.is_asked && now >= own.none_until;
  return may_ask ? own.tokens - own.batch / 2 : own.tokens;
}

std::int64_t Share::left(Line& line, Nanoseconds) noexcept {
  return allowance(line).tokens;
}

// --- Pool

void Pool::set(const Limits& limits, bool is_own, Nanoseconds now) {
  if (is_set_) ++version_;
  is_set_ = true;
  has_own_ = is_own;
  lines_.clear();
  for (const Limit& limit : limits) lines_.emplace_back(limit, now);
}

bool Pool::give(const AskTokens& ask, Nanoseconds now, GrantTokens& grant) noexcept {
  if (ask.version != version_) return false;
  RT_ASSERT(ask.line < lines_.size());
  Line& line = lines_[ask.line];
  const std::int64_t there = std::max<std::int64_t>(line.bucket.level(now), 0);
  grant = {.key = ask.key,
           .version = ask.version,
           .line = ask.line,
           .granted = std::clamp<std::int64_t>(ask.wanted, 0, there),
           .wait = 0};
  line.bucket.charge(static_cast<std::uint64_t>(grant.granted), now);
  line.used += static_cast<std::uint64_t>(grant.granted);
  const std::int64_t missing = ask.needed - grant.granted;
  if (missing > 0) {
    ++line.exceeded;
    // A debt of more than the burst comes in parts.
    grant.wait = line.bucket.wait_for(
        std::min(static_cast<std::uint64_t>(missing), line.limit.rate.burst), now);
  }
  return true;
}

void Pool::take_back(const GiveBackTokens& back, Nanoseconds now) noexcept {
  if (back.version != version_) return;
  RT_ASSERT(back.line < lines_.size());
  Line& line = lines_[back.line];
  if (back.tokens >= 0) {
    const auto count = static_cast<std::uint64_t>(back.tokens);
    line.bucket.give_back(count, now);
    line.used -= std::min(line.used, count);
  } else {
    const auto count = static_cast<std::uint64_t>(-back.tokens);
    line.bucket.charge(count, now);
    line.used += count;
  }
}

bool Pool::is_full(Nanoseconds now) noexcept {
  return std::all_of(lines_.begin(), lines_.end(),
                     [now](Line& line) { return line.bucket.full_in(now) == 0; });
}

}  // namespace corelane::services::quota
