// Goal: a series keeps its last 300 points, the oldest first. Method: more and fewer points than it
// holds.
#include "services/metrics/series.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace corelane {
namespace {

using services::Series;
using services::SeriesPoint;

TEST(Series, KeepsTheLastPointsTheOldestFirst) {
  Series series;
  EXPECT_TRUE(series.last(10).empty());
  for (std::uint64_t i = 1; i <= 2 * Series::kPoints + 7; ++i) {
    series.add({.time_ms = i});
    const std::size_t kept = std::min<std::size_t>(i, Series::kPoints);
    ASSERT_EQ(series.count(), kept);
    const std::vector<SeriesPoint> all = series.last(SIZE_MAX);
    ASSERT_EQ(all.size(), kept);
    ASSERT_EQ(all.back().time_ms, i);
    ASSERT_EQ(all.front().time_ms, i + 1 - kept);
    const std::vector<SeriesPoint> few = series.last(2);
    ASSERT_EQ(few.front().time_ms, i == 1 ? 1 : i - 1);
  }
}

}  // namespace
}  // namespace corelane
