#pragma once
// Bucket: a token bucket, exact. It fills with `tokens` a `period`, up to `burst`, and what is
// taken leaves it at once.
//
// The level is an integer in units of 1/period of a token, so that a nanosecond adds exactly
// `tokens` units: nothing is rounded, whatever the rate and however often it is looked at. 128 bits
// hold every level and every product within the bounds of Rate::is_valid().
//
// A plain value of one core. The time comes in as an argument, in nanoseconds of any clock; a time
// before the last one counts as the last one.

#include <cstdint>
#include <limits>

#include "runtime/types.hpp"

namespace corelane::services::quota {

struct Rate {
  static constexpr std::uint64_t kTokensMax = std::uint64_t{1} << 50;
  static constexpr runtime::Nanoseconds kPeriodMax = std::int64_t{1} << 52;  // 52 days
  static constexpr runtime::Nanoseconds kPeriodMin = 1000;

  std::uint64_t tokens = 0;
  runtime::Nanoseconds period = 0;  // nanoseconds
  std::uint64_t burst = 0;          // tokens

  bool is_valid() const noexcept {
    return tokens >= 1 && tokens <= kTokensMax && burst >= 1 && burst <= kTokensMax &&
           period >= kPeriodMin && period <= kPeriodMax;
  }
  // In how much time `count` tokens come, rounded up; at most 292 years.
  runtime::Nanoseconds time_of(std::uint64_t count) const noexcept;
  friend bool operator==(const Rate&, const Rate&) = default;
};

class Bucket {
 public:
  static constexpr runtime::Nanoseconds kNever = std::numeric_limits<std::int64_t>::max();

  // Full. `rate` is valid.
  Bucket(const Rate& rate, runtime::Nanoseconds now) noexcept;

  const Rate& rate() const noexcept { return rate_; }

  // Takes `count` tokens if all are there. False: none was taken.
  [[nodiscard]] bool take(std::uint64_t count, runtime::Nanoseconds now) noexcept;
  // Takes them all the same: the level may fall below 0, down to -kTokensMax tokens.
  void charge(std::uint64_t count, runtime::Nanoseconds now) noexcept;
  // Gives back what was taken and not used. A full bucket stays full.
  void give_back(std::uint64_t count, runtime::Nanoseconds now) noexcept;

  // Whole tokens, rounded down; negative: a debt.
  std::int64_t level(runtime::Nanoseconds now) noexcept;
  // The least time after which `count` tokens are there if nobody takes any: 0 if they are; kNever
  // if they never are (more than the burst), or not within 292 years.
  runtime::Nanoseconds wait_for(std::uint64_t count, runtime::Nanoseconds now) noexcept;
  runtime::Nanoseconds full_in(runtime::Nanoseconds now) noexcept {
    return wait_for(rate_.burst, now);
  }

 private:
  __extension__ typedef __int128 Units;

  void refill(runtime::Nanoseconds now) noexcept;
  Units units(std::uint64_t count) const noexcept {
    return static_cast<Units>(count) * rate_.period;
  }

  Rate rate_;
  runtime::Nanoseconds filled_at_;
  Units level_;
};

}  // namespace corelane::services::quota
