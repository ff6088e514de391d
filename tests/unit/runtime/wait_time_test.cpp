// Goal: a wait lasts as long as it says, however much work its core did in the same turn before.
// Method: a coroutine spins on the ring's clock, which advances in the simulation too, and then
// waits for less time than it spun.
#include <gtest/gtest.h>

#include "runtime/await.hpp"
#include "runtime/combine.hpp"
#include "tests/support/on_cores.hpp"
#include "tests/support/simulated.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::run_on_cores;

constexpr Nanoseconds kWork = 30 * kMillisecond;
constexpr Nanoseconds kWait = 20 * kMillisecond;

Nanoseconds clock_now() {
  return Core::current().ring().now();
}

void work_for(Nanoseconds duration) {
  const Nanoseconds end = clock_now() + duration;
  while (clock_now() < end) {
  }
}

TEST(WaitTime, OfSleepForCountsFromTheWaitAndNotFromTheTurn) {
  run_on_cores(1, []() -> Task<void> {
    co_await Yield();
    work_for(kWork);
    const Nanoseconds before = clock_now();
    EXPECT_TRUE(co_await sleep_for(kWait));
    EXPECT_GE(clock_now() - before, kWait);
  });
}

Task<bool> sleeps(Nanoseconds duration) {
  co_return co_await sleep_for(duration);
}

TEST(WaitTime, OfWithTimeoutCountsFromTheWaitAndNotFromTheTurn) {
  run_on_cores(1, []() -> Task<void> {
    co_await Yield();
    work_for(kWork);
    const Nanoseconds before = clock_now();
    const auto late = co_await with_timeout(kWait, sleeps(3600 * kSecond));
    EXPECT_FALSE(late);
    EXPECT_GE(clock_now() - before, kWait);
  });
}

Task<bool> works_and_sleeps(Nanoseconds work) {
  work_for(work);
  co_return co_await sleep_for(3600 * kSecond);
}

// The time that the task itself works before its first wait belongs to its timeout.
TEST(WaitTime, OfWithTimeoutIncludesTheTasksOwnWork) {
  run_on_cores(1, []() -> Task<void> {
    constexpr Nanoseconds kLongWork = 300 * kMillisecond;
    const Nanoseconds before = clock_now();
    const auto late = co_await with_timeout(kLongWork + kWait, works_and_sleeps(kLongWork));
    EXPECT_FALSE(late);
    EXPECT_GE(clock_now() - before, kLongWork + kWait);
    // A busy machine may take any time from the core.
    if (tests::kIsSimulated) {
      EXPECT_LT(clock_now() - before, kLongWork + kWait + kLongWork);
    }
  });
}

}  // namespace
}  // namespace corelane
