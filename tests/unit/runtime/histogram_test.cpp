// Goal: a histogram tells percentiles within the 1 % that it promises, joins several exactly, and
// its steps count what lies below powers of two. Method: edges of buckets are walked; everything
// else is compared with the sorted values.

#include "runtime/histogram.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "runtime/random.hpp"

namespace corelane::runtime {
namespace {

TEST(Histogram, BucketsFollowEachOtherWithoutGapOrOverlap) {
  for (std::size_t bucket = 0; bucket + 1 < Histogram::kBuckets; ++bucket) {
    const std::uint64_t next = Histogram::bucket_begin(bucket + 1);
    ASSERT_EQ(Histogram::bucket_of(next), bucket + 1);
    ASSERT_EQ(Histogram::bucket_of(next - 1), bucket);
  }
  EXPECT_EQ(Histogram::bucket_of(UINT64_MAX), Histogram::kBuckets - 1);
}

std::vector<std::uint64_t> random_values(std::uint64_t seed) {
  Random random(seed);
  std::vector<std::uint64_t> values;
  for (int i = 0; i < 50'000; ++i) {
    values.push_back(random.next() >> (64 - Histogram::kValueBits + random.below(30)));
  }
  return values;
}

TEST(Histogram, PercentilesAreWithinOnePercentOfTheSortedValues) {
  std::vector<std::uint64_t> values = random_values(7);
  Histogram histogram;
  for (const std::uint64_t value : values) histogram.record(value);
  std::ranges::sort(values);
  for (const double percent : {0.01, 1.0, 25.0, 50.0, 90.0, 99.0, 99.9, 99.99, 100.0}) {
    const auto rank =
        static_cast<std::size_t>(std::ceil(static_cast<double>(values.size()) * percent / 100));
    const auto exact = static_cast<double>(values[rank - 1]);
    const auto told = static_cast<double>(histogram.percentile(percent));
    EXPECT_LE(std::abs(told - exact), exact * 0.01) << percent << " %: " << told << ", " << exact;
  }
  EXPECT_EQ(histogram.max(), values.back());
  EXPECT_EQ(histogram.count(), values.size());
}

TEST(Histogram, JoinedOnesAreAsOneThatRecordedEverything) {
  Histogram both;
  Histogram one;
  Histogram other;
  for (const std::uint64_t value : random_values(1)) {
    one.record(value);
    both.record(value);
  }
  for (const std::uint64_t value : random_values(2)) {
    other.record(value);
    both.record(value);
  }
  one.add(other);
  EXPECT_EQ(one.count(), both.count());
  EXPECT_EQ(one.sum(), both.sum());
  EXPECT_EQ(one.max(), both.max());
  for (double percent = 1; percent <= 100; percent += 1) {
    EXPECT_EQ(one.percentile(percent), both.percentile(percent)) << percent;
  }
}

TEST(Histogram, StepsCountWhatLiesBelowPowersOfTwo) {
  Histogram histogram;
  std::vector<std::uint64_t> values{
      0, 1, 255, 256, 257, (1u << 20), (1u << 20) - 1, 1ull << 34, 1ull << 40, UINT64_MAX};
  for (const std::uint64_t value : values) histogram.record(value);
  const HistogramSteps steps(histogram);
  EXPECT_EQ(steps.count, values.size());
  for (unsigned bits = HistogramSteps::kFirst; bits <= HistogramSteps::kLast; ++bits) {
    const auto below = static_cast<std::uint64_t>(std::ranges::count_if(
        values, [bits](std::uint64_t value) { return value < std::uint64_t{1} << bits; }));
    EXPECT_EQ(steps.below[bits - HistogramSteps::kFirst], below) << bits;
  }
}

TEST(Histogram, AnEmptyOneHasPercentilesOfZero) {
  EXPECT_EQ(Histogram{}.percentile(50), 0u);
  EXPECT_EQ(Histogram{}.percentile(100), 0u);
}

}  // namespace
}  // namespace corelane::runtime
