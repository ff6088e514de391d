// Goal: Random is xoshiro256** seeded by splitmix64 on every machine, without bias in ranges.
// Method: published reference values; counts against their expectation; exact edges.
#include "runtime/random.hpp"

#include <gtest/gtest.h>

#include <array>
#include <set>

namespace corelane {
namespace {

TEST(Random, SameSeedGivesSameNumbersForEver) {
  // splitmix64 from 0 gives e220a8397b1dcdaf, 6e789e6aa1b965f4, 06c45d188009454f,
  // f88bb8a8724c81ec (the reference implementation's sequence). The first output of xoshiro256**
  // over them is rotl(6e789e6aa1b965f4 * 5, 7) * 9.
  runtime::Random random(0);
  EXPECT_EQ(random.next(), std::rotl(0x6e789e6aa1b965f4ULL * 5, 7) * 9);
  // The second needs the state after one step: s1 = s1 ^ (s2 ^ s0).
  const std::uint64_t second =
      0x6e789e6aa1b965f4ULL ^ 0x06c45d188009454fULL ^ 0xe220a8397b1dcdafULL;
  EXPECT_EQ(random.next(), std::rotl(second * 5, 7) * 9);
  runtime::Random again(0);
  again.next();
  again.next();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(again.next(), random.next());
}

TEST(Random, CloseSeedsGiveUnrelatedStreams) {
  std::set<std::uint64_t> seen;
  for (std::uint64_t seed = 0; seed < 1000; ++seed) {
    runtime::Random random(seed);
    for (int i = 0; i < 4; ++i) seen.insert(random.next());
  }
  EXPECT_EQ(seen.size(), 4000U);
}

TEST(Random, BelowReachesEveryValueEquallyOften) {
  runtime::Random random(1);
  constexpr std::uint64_t kBound = 10;
  constexpr int kDraws = 100'000;
  std::array<int, kBound> counts{};
  for (int i = 0; i < kDraws; ++i) ++counts.at(random.below(kBound));
  // Expectation 10,000, standard deviation 95: six of them never happen by chance.
  for (const int count : counts) EXPECT_NEAR(count, kDraws / 10, 570);
}

TEST(Random, BelowIsUnbiasedWhereTheRemainderWouldShow) {
  // Of 3 * 2^62 values a plain remainder or product gives one third twice as often as the rest.
  runtime::Random random(2);
  constexpr std::uint64_t kBound = 3ULL << 62;
  int low = 0;
  for (int i = 0; i < 30'000; ++i) low += random.below(kBound) < (1ULL << 62) ? 1 : 0;
  EXPECT_NEAR(low, 10'000, 500);
}

TEST(Random, RangesIncludeTheirEnds) {
  runtime::Random random(3);
  std::set<std::int64_t> seen;
  for (int i = 0; i < 200; ++i) seen.insert(random.between(-1, 1));
  EXPECT_EQ(seen, (std::set<std::int64_t>{-1, 0, 1}));
  for (int i = 0; i < 100; ++i) EXPECT_EQ(random.below(1), 0U);
  EXPECT_EQ(random.between(INT64_MIN, INT64_MIN), INT64_MIN);
  random.between(INT64_MIN, INT64_MAX);
  EXPECT_FALSE(random.chance(0, 5));
  EXPECT_TRUE(random.chance(5, 5));
}

TEST(Random, FillWritesExactlyTheSpan) {
  for (std::size_t size = 0; size < 20; ++size) {
    runtime::Random random(4);
    std::array<std::byte, 24> bytes{};
    std::set<std::byte> seen;
    random.fill(std::span(bytes).subspan(2, size));
    EXPECT_EQ(bytes[1], std::byte{0});
    EXPECT_EQ(bytes[2 + size], std::byte{0});
    for (std::size_t i = 0; i < size; ++i) seen.insert(bytes[2 + i]);
    if (size > 8) {
      EXPECT_GT(seen.size(), 4U);
    }
  }
}

}  // namespace
}  // namespace corelane
