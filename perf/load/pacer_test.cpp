// Goal: an open loop's messages are due when the rate says, whatever became of earlier ones.
// Method: times are made up; no clock is read.

#include "perf/load/pacer.hpp"

#include <gtest/gtest.h>

namespace corelane::perf {
namespace {

constexpr runtime::Nanoseconds kStart = 1'000'000;

TEST(Pacer, GivesNothingBeforeItIsDue) {
  Pacer pacer(1000, kStart);
  runtime::Nanoseconds due = 0;
  EXPECT_TRUE(pacer.take(kStart, due));
  EXPECT_EQ(due, kStart);
  EXPECT_FALSE(pacer.take(kStart + runtime::kMillisecond - 1, due));
  EXPECT_TRUE(pacer.take(kStart + runtime::kMillisecond, due));
  EXPECT_EQ(due, kStart + runtime::kMillisecond);
}

TEST(Pacer, CatchesUpAfterAStallWithTheTimesAtWhichMessagesWereDue) {
  Pacer pacer(1000, kStart);
  runtime::Nanoseconds due = 0;
  const runtime::Nanoseconds late = kStart + 10 * runtime::kMillisecond;
  for (int message = 0; message <= 10; ++message) {
    ASSERT_TRUE(pacer.take(late, due)) << message;
    EXPECT_EQ(due, kStart + message * runtime::kMillisecond);
  }
  EXPECT_FALSE(pacer.take(late, due));
  EXPECT_EQ(pacer.taken(), 11U);
  EXPECT_EQ(pacer.next_due(), kStart + 11 * runtime::kMillisecond);
}

TEST(Pacer, DoesNotDriftWhereTheRateDividesNoSecond) {
  constexpr double kRate = 150'007;
  constexpr std::uint64_t kDay = 86'400;
  const Pacer pacer(kRate, 0);
  const auto after_a_day = static_cast<std::uint64_t>(kRate) * kDay;
  EXPECT_NEAR(static_cast<double>(pacer.due_at(after_a_day)),
              static_cast<double>(kDay * static_cast<std::uint64_t>(runtime::kSecond)), 100);
}

}  // namespace
}  // namespace corelane::perf
