// Goal: a bucket is exact: it never differs from rational arithmetic by a unit, however often and
// in whichever steps it is looked at, and no number within its bounds overflows. Method: random
// walks beside a model of exact fractions (Boost.Multiprecision), and the corners by hand.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <boost/multiprecision/cpp_int.hpp>

#include "services/quota/bucket.hpp"
#include "tests/support/prng.hpp"
#include "tests/support/seed.hpp"

namespace corelane {
namespace {

using boost::multiprecision::cpp_int;
using boost::multiprecision::cpp_rational;
using runtime::kMillisecond;
using runtime::kSecond;
using runtime::Nanoseconds;
using services::quota::Bucket;
using services::quota::Rate;
using tests::Prng;

class Model {
 public:
  Model(const Rate& rate, Nanoseconds now) : rate_(rate), at_(now), level_(rate.burst) {}

  bool take(std::uint64_t count, Nanoseconds now) {
    pass(now);
    if (level_ < count) return false;
    level_ -= count;
    return true;
  }
  void charge(std::uint64_t count, Nanoseconds now) {
    pass(now);
    level_ = std::max<cpp_rational>(level_ - count, -cpp_rational(Rate::kTokensMax));
  }
  void give_back(std::uint64_t count, Nanoseconds now) {
    pass(now);
    level_ = std::min<cpp_rational>(level_ + count, rate_.burst);
  }
  std::int64_t level(Nanoseconds now) {
    pass(now);
    cpp_int whole = numerator(level_) / denominator(level_);
    if (level_ < 0 && cpp_rational(whole) != level_) --whole;
    return static_cast<std::int64_t>(whole);
  }
  Nanoseconds wait_for(std::uint64_t count, Nanoseconds now) {
    pass(now);
    if (count > rate_.burst) return Bucket::kNever;
    const cpp_rational missing = count - level_;
    if (missing <= 0) return 0;
    const cpp_rational time = missing * rate_.period / rate_.tokens;
    cpp_int whole = numerator(time) / denominator(time);
    if (cpp_rational(whole) != time) ++whole;
    return whole > Bucket::kNever ? Bucket::kNever : static_cast<Nanoseconds>(whole);
  }

 private:
  void pass(Nanoseconds now) {
    if (now <= at_) return;
    const cpp_int elapsed = cpp_int(now) - at_;
    level_ = std::min<cpp_rational>(level_ + cpp_rational(elapsed) * rate_.tokens / rate_.period,
                                    rate_.burst);
    at_ = now;
  }

  Rate rate_;
  Nanoseconds at_;
  cpp_rational level_;
};

// From 1 to `max`, small ones and large ones alike.
std::uint64_t any_size(Prng& prng, std::uint64_t max) {
  const std::uint64_t bound = max >> prng.below(50);
  return 1 + prng.below(std::max<std::uint64_t>(bound, 1));
}

Rate any_rate(Prng& prng) {
  constexpr std::array<Nanoseconds, 5> kPeriods{Rate::kPeriodMin, kMillisecond, kSecond,
                                                60 * kSecond, Rate::kPeriodMax};
  const Nanoseconds period =
      prng.below(2) == 0
          ? kPeriods[prng.below(kPeriods.size())]
          : Rate::kPeriodMin +
                static_cast<Nanoseconds>(prng.below(std::uint64_t{Rate::kPeriodMax} - 2000));
  return {.tokens = any_size(prng, Rate::kTokensMax),
          .period = period,
          .burst = any_size(prng, Rate::kTokensMax)};
}

void expect_same(Bucket& bucket, Model& model, Prng& prng, Nanoseconds now) {
  ASSERT_EQ(bucket.level(now), model.level(now));
  ASSERT_EQ(bucket.full_in(now), model.wait_for(bucket.rate().burst, now));
  const std::uint64_t asked = any_size(prng, 2 * bucket.rate().burst);
  ASSERT_EQ(bucket.wait_for(asked, now), model.wait_for(asked, now));
}

TEST(Bucket, NeverDiffersFromExactFractions) {
  const tests::Seed seed = tests::test_seed();
  Prng prng = seed.prng();
  for (int walk = 0; walk < 300; ++walk) {
    const Rate rate = any_rate(prng);
    ASSERT_TRUE(rate.is_valid());
    Nanoseconds now =
        static_cast<Nanoseconds>(prng.below(std::uint64_t{1} << 60)) - (Nanoseconds{1} << 59);
    Bucket bucket(rate, now);
    Model model(rate, now);
    for (int step = 0; step < 60; ++step) {
      const auto longest = static_cast<std::uint64_t>(rate.period) * 4;
      // Forwards, not at all, or backwards.
      if (const auto turn = prng.below(10); turn < 8) {
        now += static_cast<Nanoseconds>(any_size(prng, longest) / rate.tokens * (turn % 2) +
                                        any_size(prng, longest) % 1000);
      } else if (turn == 9) {
        now -= static_cast<Nanoseconds>(prng.below(1000));
      }
      const std::uint64_t count = any_size(prng, rate.burst + rate.burst / 4 + 1);
      switch (prng.below(4)) {
        case 0:
          bucket.charge(count, now);
          model.charge(count, now);
          break;
        case 1:
          bucket.give_back(count, now);
          model.give_back(count, now);
          break;
        default:
          ASSERT_EQ(bucket.take(count, now), model.take(count, now)) << "step " << step;
      }
      ASSERT_NO_FATAL_FAILURE(expect_same(bucket, model, prng, now));
    }
  }
}

// 7 a day: neither a token nor a nanosecond has a finite fraction of the other.
TEST(Bucket, DoesNotDriftHoweverOftenItIsLookedAt) {
  constexpr Nanoseconds kDay = 86'400 * kSecond;
  Bucket often({.tokens = 7, .period = kDay, .burst = 7}, 0);
  Bucket once({.tokens = 7, .period = kDay, .burst = 7}, 0);
  often.charge(7, 0);
  once.charge(7, 0);
  Prng prng(1);
  for (Nanoseconds now = 0; now < kDay / 2;) {
    now += static_cast<Nanoseconds>(1 + prng.below(kSecond));
    ASSERT_EQ(often.level(now), static_cast<std::int64_t>(cpp_int(now) * 7 / kDay));
    ASSERT_EQ(now + often.full_in(now), kDay);
  }
  EXPECT_EQ(often.level(kDay - 1), 6);
  EXPECT_EQ(once.level(kDay - 1), 6);
  EXPECT_EQ(often.level(kDay), 7);
  EXPECT_EQ(once.level(kDay), 7);
}

TEST(Bucket, HasTheTokensAfterExactlyTheTimeThatItTells) {
  for (const std::uint64_t tokens : {1u, 3u, 7u, 1000u, 999'999'937u}) {
    Bucket bucket({.tokens = tokens, .period = kSecond, .burst = 5}, 0);
    bucket.charge(5, 0);
    for (std::uint64_t count = 1; count <= 5; ++count) {
      const Nanoseconds wait = bucket.wait_for(count, 0);
      ASSERT_GT(wait, 0);
      Bucket early = bucket;
      EXPECT_FALSE(early.take(count, wait - 1));
      Bucket in_time = bucket;
      EXPECT_TRUE(in_time.take(count, wait));
    }
    EXPECT_EQ(bucket.wait_for(6, 0), Bucket::kNever);
  }
}

TEST(Bucket, HoldsAtItsBounds) {
  constexpr Rate kLargest{
      .tokens = Rate::kTokensMax, .period = Rate::kPeriodMax, .burst = Rate::kTokensMax};
  constexpr Nanoseconds kFirst = std::numeric_limits<Nanoseconds>::min();
  constexpr Nanoseconds kLast = std::numeric_limits<Nanoseconds>::max();
  Bucket bucket(kLargest, kFirst);
  bucket.charge(UINT64_MAX, kFirst);
  EXPECT_EQ(bucket.level(kFirst), -static_cast<std::int64_t>(Rate::kTokensMax));
  bucket.charge(UINT64_MAX, kFirst);
  EXPECT_EQ(bucket.level(kFirst), -static_cast<std::int64_t>(Rate::kTokensMax));
  EXPECT_EQ(bucket.full_in(kFirst), 2 * Rate::kPeriodMax);
  EXPECT_FALSE(bucket.take(UINT64_MAX, kFirst));
  // All of the time that there is, at once.
  EXPECT_EQ(bucket.level(kLast), static_cast<std::int64_t>(Rate::kTokensMax));
  EXPECT_EQ(bucket.full_in(kLast), 0);
  bucket.give_back(UINT64_MAX, kLast);
  EXPECT_EQ(bucket.level(kLast), static_cast<std::int64_t>(Rate::kTokensMax));
  // The slowest, with the deepest debt: longer than there is time.
  Bucket slow({.tokens = 1, .period = Rate::kPeriodMax, .burst = 1}, 0);
  slow.charge(UINT64_MAX, 0);
  EXPECT_EQ(slow.wait_for(1, 0), Bucket::kNever);
  EXPECT_EQ(slow.level(kLast), slow.level(kLast - 1));
}

TEST(Bucket, RatesAreBounded) {
  const Rate usual{.tokens = 1, .period = kSecond, .burst = 1};
  EXPECT_TRUE(usual.is_valid());
  const auto with = [&](auto change) {
    Rate rate = usual;
    change(rate);
    return rate.is_valid();
  };
  EXPECT_FALSE(with([](Rate& rate) { rate.tokens = 0; }));
  EXPECT_FALSE(with([](Rate& rate) { rate.burst = 0; }));
  EXPECT_FALSE(with([](Rate& rate) { rate.period = 0; }));
  EXPECT_FALSE(with([](Rate& rate) { rate.period = Rate::kPeriodMin - 1; }));
  EXPECT_TRUE(with([](Rate& rate) { rate.period = Rate::kPeriodMin; }));
  EXPECT_TRUE(with([](Rate& rate) { rate.period = Rate::kPeriodMax; }));
  EXPECT_FALSE(with([](Rate& rate) { rate.period = Rate::kPeriodMax + 1; }));
  EXPECT_TRUE(with([](Rate& rate) { rate.tokens = Rate::kTokensMax; }));
  EXPECT_FALSE(with([](Rate& rate) { rate.tokens = Rate::kTokensMax + 1; }));
  EXPECT_TRUE(with([](Rate& rate) { rate.burst = Rate::kTokensMax; }));
  EXPECT_FALSE(with([](Rate& rate) { rate.burst = Rate::kTokensMax + 1; }));
}

TEST(Bucket, TimeThatGoesBackAddsNothing) {
  Bucket bucket({.tokens = 1, .period = kSecond, .burst = 10}, 10 * kSecond);
  bucket.charge(10, 10 * kSecond);
  EXPECT_EQ(bucket.level(15 * kSecond), 5);
  EXPECT_EQ(bucket.level(12 * kSecond), 5);
  EXPECT_EQ(bucket.level(15 * kSecond), 5);
  EXPECT_EQ(bucket.level(16 * kSecond), 6);
}

}  // namespace
}  // namespace corelane
