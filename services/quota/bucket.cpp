#include "services/quota/bucket.hpp"

#include <algorithm>

#include "runtime/assert.hpp"

namespace corelane::services::quota {

runtime::Nanoseconds Rate::time_of(std::uint64_t count) const noexcept {
  __extension__ typedef __int128 Wide;
  const Wide time = static_cast<Wide>(count) * period;
  const auto each = static_cast<Wide>(tokens);
  return static_cast<runtime::Nanoseconds>(
      std::min((time + each - 1) / each, static_cast<Wide>(Bucket::kNever)));
}

Bucket::Bucket(const Rate& rate, runtime::Nanoseconds now) noexcept
    : rate_(rate), filled_at_(now), level_(units(rate.burst)) {
  RT_ASSERT(rate.is_valid());
}

// At most 2^63 ns times 2^50 tokens on top of 2^50 tokens of 2^52 units.
void Bucket::refill(runtime::Nanoseconds now) noexcept {
  if (now <= filled_at_) return;
  // Both may be of either sign: their difference has 64 bits without one.
  const std::uint64_t elapsed =
      static_cast<std::uint64_t>(now) - static_cast<std::uint64_t>(filled_at_);
  const Units added = static_cast<Units>(elapsed) * static_cast<Units>(rate_.tokens);
  level_ = std::min(level_ + added, units(rate_.burst));
  filled_at_ = now;
}

bool Bucket::take(std::uint64_t count, runtime::Nanoseconds now) noexcept {
  refill(now);
  if (count > Rate::kTokensMax || level_ < units(count)) return false;
  level_ -= units(count);
  return true;
}

void Bucket::charge(std::uint64_t count, runtime::Nanoseconds now) noexcept {
  refill(now);
  const Units floor = -units(Rate::kTokensMax);
  level_ = std::max(level_ - units(std::min(count, 2 * Rate::kTokensMax)), floor);
}

void Bucket::give_back(std::uint64_t count, runtime::Nanoseconds now) noexcept {
  refill(now);
  level_ = std::min(level_ + units(std::min(count, 2 * Rate::kTokensMax)), units(rate_.burst));
}

std::int64_t Bucket::level(runtime::Nanoseconds now) noexcept {
  refill(now);
  Units whole = level_ / rate_.period;
  if (level_ < 0 && whole * rate_.period != level_) --whole;
  return static_cast<std::int64_t>(whole);
}

runtime::Nanoseconds Bucket::wait_for(std::uint64_t count, runtime::Nanoseconds now) noexcept {
  refill(now);
  if (count > rate_.burst) return kNever;
  const Units missing = units(count) - level_;
  if (missing <= 0) return 0;
  const auto tokens = static_cast<Units>(rate_.tokens);
  return static_cast<runtime::Nanoseconds>(
      std::min((missing + tokens - 1) / tokens, static_cast<Units>(kNever)));
}

}  // namespace corelane::services::quota
