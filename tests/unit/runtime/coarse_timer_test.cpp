// Goal: no coarse timer fires early or more than one tick late, whatever its distance, and a call
// is bounded. Method: a map of deadlines as model, a small wheel of 64 buckets so that several
// revolutions are ordinary, random additions and cancels, also from inside the callback.
#include "runtime/coarse_timer.hpp"

#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "runtime/random.hpp"

namespace corelane {
namespace {

using Links = std::vector<runtime::CoarseLink>;
struct Access {
  Links* links;
  runtime::CoarseLink& operator()(std::uint32_t slot) const { return (*links)[slot]; }
};
using Wheel = runtime::CoarseTimer<Access>;

constexpr Wheel::Options kSmall{.granularity_ns = 100, .buckets = 64};
constexpr std::size_t kAll = 1'000'000;

TEST(CoarseTimer, FiresInTheTickAtOrAfterItsDeadline) {
  Links links(3);
  Wheel wheel(kSmall, 1000, {&links});
  wheel.add(0, 1250);
  wheel.add(1, 1300);
  wheel.add(2, 0);
  std::vector<std::uint32_t> fired;
  const auto record = [&](std::uint32_t slot) { fired.push_back(slot); };
  wheel.advance(1099, kAll, record);
  EXPECT_TRUE(fired.empty());
  EXPECT_EQ(wheel.next_due(), 1100);
  wheel.advance(1299, kAll, record);
  EXPECT_EQ(fired, (std::vector<std::uint32_t>{2}));
  EXPECT_EQ(wheel.next_due(), 1300);
  wheel.advance(1300, kAll, record);
  EXPECT_EQ(fired, (std::vector<std::uint32_t>{2, 0, 1}));
  EXPECT_EQ(wheel.next_due(), Wheel::kNever);
}

TEST(CoarseTimer, AnEmptyWheelNeverWakesItsCore) {
  Links links(1);
  Wheel wheel(kSmall, 0, {&links});
  EXPECT_EQ(wheel.next_due(), Wheel::kNever);
  wheel.add(0, 500);
  EXPECT_TRUE(wheel.cancel(0));
  EXPECT_FALSE(wheel.cancel(0));
  EXPECT_EQ(wheel.next_due(), Wheel::kNever);
  EXPECT_EQ(wheel.advance(1'000'000'000'000, kAll, [](std::uint32_t) { FAIL(); }), 0U);
  wheel.add(0, 0);
  EXPECT_EQ(wheel.next_due(), 1'000'000'000'100);
  wheel.cancel(0);
}

TEST(CoarseTimer, StopsAtTheGivenNumberAndGoesOnWhereItStopped) {
  Links links(10);
  Wheel wheel(kSmall, 0, {&links});
  for (std::uint32_t slot = 0; slot < 10; ++slot) wheel.add(slot, 100);
  std::vector<std::uint32_t> fired;
  const auto record = [&](std::uint32_t slot) { fired.push_back(slot); };
  EXPECT_EQ(wheel.advance(100, 4, record), 4U);
  EXPECT_LE(wheel.next_due(), 100);
  // The next one to be looked at goes, and a fired one comes again.
  EXPECT_TRUE(wheel.cancel(4));
  wheel.add(0, 200);
  EXPECT_EQ(wheel.advance(100, 4, record), 4U);
  EXPECT_EQ(wheel.advance(100, 4, record), 1U);
  EXPECT_EQ(fired, (std::vector<std::uint32_t>{0, 1, 2, 3, 5, 6, 7, 8, 9}));
  EXPECT_EQ(wheel.next_due(), 200);
  wheel.cancel(0);
}

TEST(CoarseTimer, ACallbackMayChangeAnySlot) {
  Links links(4);
  Wheel wheel(kSmall, 0, {&links});
  for (std::uint32_t slot = 0; slot < 4; ++slot) wheel.add(slot, 100);
  std::vector<std::uint32_t> fired;
  wheel.advance(100, kAll, [&](std::uint32_t slot) {
    fired.push_back(slot);
    if (slot == 0) {
      wheel.cancel(1);               // would be next
      wheel.add(0, 100 + 64 * 100);  // the same bucket, a revolution on
      wheel.reschedule(3, 100);      // has passed: the next tick
    }
  });
  EXPECT_EQ(fired, (std::vector<std::uint32_t>{0, 2}));
  fired.clear();
  wheel.advance(64 * 100, kAll, [&](std::uint32_t slot) { fired.push_back(slot); });
  EXPECT_EQ(fired, (std::vector<std::uint32_t>{3}));
  wheel.advance(65 * 100, kAll, [&](std::uint32_t slot) { fired.push_back(slot); });
  EXPECT_EQ(fired, (std::vector<std::uint32_t>{3, 0}));
}

TEST(CoarseTimer, FiresEverySlotOnceWithinOneTickOfItsDeadline) {
  constexpr std::uint64_t kSeed = 31337;
  runtime::Random random(kSeed);
  Links links(2000);
  Wheel wheel(kSmall, 0, {&links});
  struct Window {
    std::int64_t earliest;  // the deadline
    std::int64_t latest;    // fires in the first tick at or after this
  };
  std::map<std::uint32_t, Window> deadlines;
  std::int64_t now = 0;
  std::int64_t last_tick = 0;  // all ticks up to this one were completed
  for (int step = 0; step < 50'000; ++step) {
    SCOPED_TRACE(testing::Message() << "seed " << kSeed << " step " << step);
    const auto slot = static_cast<std::uint32_t>(random.below(links.size()));
    if (random.chance(1, 6)) {
      now += random.between(0, random.chance(1, 50) ? 20'000 : 150);
      const std::size_t max = random.chance(1, 2) ? kAll : random.below(10);
      std::int64_t previous_tick = 0;
      const std::size_t looked_at = wheel.advance(now, max, [&](std::uint32_t fired) {
        const auto known = deadlines.find(fired);
        ASSERT_NE(known, deadlines.end());
        ASSERT_LE(known->second.earliest, now);
        ASSERT_FALSE(links[fired].queued());
        ASSERT_GE(links[fired].due_tick, previous_tick);
        previous_tick = links[fired].due_tick;
        deadlines.erase(known);
        if (random.chance(1, 4)) {
          const auto other = static_cast<std::uint32_t>(random.below(links.size()));
          ASSERT_EQ(wheel.cancel(other), deadlines.erase(other) == 1);
        }
      });
      ASSERT_LE(looked_at, max);
      if (looked_at < max) last_tick = now / 100 * 100;
    } else if (random.chance(1, 3)) {
      ASSERT_EQ(wheel.cancel(slot), deadlines.erase(slot) == 1);
    } else {
      // Up to four revolutions ahead, sometimes in the past.
      const std::int64_t deadline = now + random.between(-200, 4 * 64 * 100);
      wheel.reschedule(slot, deadline);
      // What has passed, or is due in a tick that is under way, fires in the next one.
      deadlines[slot] = {deadline, std::max(deadline, now + 1)};
    }
    ASSERT_EQ(wheel.count(), deadlines.size());
    if (step % 64 != 0) continue;
    std::int64_t earliest = Wheel::kNever;
    for (const auto& [number, window] : deadlines) {
      ASSERT_GT(window.latest, last_tick) << "slot " << number << " is late";
      earliest = std::min(earliest, window.latest);
    }
    // A lower bound, rounded up to the tick in which the earliest fires.
    if (earliest == Wheel::kNever) {
      ASSERT_EQ(wheel.next_due(), Wheel::kNever);
    } else {
      ASSERT_LT(wheel.next_due(), earliest + 100);
    }
  }
  for (std::uint32_t slot = 0; slot < links.size(); ++slot) wheel.cancel(slot);
}

TEST(CoarseTimer, LooksAtAFarSlotOncePerRevolutionOnly) {
  Links links(1);
  Wheel wheel(kSmall, 0, {&links});
  wheel.add(0, 10 * 64 * 100);
  std::size_t looked_at = 0;
  int fired = 0;
  for (std::int64_t now = 0; now <= 10 * 64 * 100; now += 100) {
    looked_at += wheel.advance(now, kAll, [&](std::uint32_t) { ++fired; });
  }
  EXPECT_EQ(looked_at, 10U);
  EXPECT_EQ(fired, 1);
}

}  // namespace
}  // namespace corelane
