// Goal: tasks start lazily, end once, pass values and cancellation; groups join everything; nothing
// leaks. Method: the same program over io_uring and in the simulation.
#include "runtime/task.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "runtime/await.hpp"
#include "runtime/combine.hpp"
#include "runtime/task_group.hpp"
#include "tests/support/on_cores.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::run_on_cores;

Task<int> immediate(int value) {
  co_return value;
}
Task<int> later(int value, Nanoseconds after) {
  co_await sleep_for(after);
  co_return value;
}
Task<std::unique_ptr<int>> move_only() {
  co_return std::make_unique<int>(5);
}

TEST(Task, DoesNotRunBeforeItIsAwaited) {
  run_on_cores(1, []() -> Task<void> {
    bool ran = false;
    auto body = [](bool& flag) -> Task<void> {
      flag = true;
      co_return;
    };
    auto task = body(ran);
    EXPECT_FALSE(ran);
    co_await std::move(task);
    EXPECT_TRUE(ran);
  });
}

TEST(Task, CarriesMoveOnlyValues) {
  run_on_cores(1, []() -> Task<void> {
    const auto value = co_await move_only();
    EXPECT_EQ(*value, 5);
  });
}

TEST(Task, AMillionSynchronousChildrenKeepTheStackFlat) {
  run_on_cores(1, []() -> Task<void> {
    std::int64_t sum = 0;
    for (int i = 0; i < 1'000'000; ++i) sum += co_await immediate(i & 1);
    EXPECT_EQ(sum, 500'000);
  });
}

TEST(Task, FramesComeFromTheFreeListInSteadyState) {
  if (!FramePool::kEnabled) GTEST_SKIP() << "frames come from the allocator under ASan";
  run_on_cores(1, []() -> Task<void> {
    co_await later(1, 0);
    const auto before = FramePool::current()->counters().system_allocations;
    for (int i = 0; i < 100; ++i) co_await later(i, 0);
    EXPECT_EQ(FramePool::current()->counters().system_allocations, before);
  });
}

TEST(WhenAll, GivesAllValuesInOrderOfTheArguments) {
  run_on_cores(1, []() -> Task<void> {
    auto [a, b, c] = co_await when_all(later(1, 2 * kMillisecond), immediate(2), move_only());
    EXPECT_EQ(a, 1);
    EXPECT_EQ(b, 2);
    EXPECT_EQ(*c, 5);
  });
}

TEST(WhenAny, CancelsTheOthersAndWaitsForTheirEnd) {
  run_on_cores(1, []() -> Task<void> {
    const Nanoseconds before = Core::current().now();
    auto any = co_await when_any(later(1, 3600 * kSecond), later(2, kMillisecond));
    EXPECT_EQ(any.index, 1u);
    EXPECT_EQ(std::get<1>(any.values), 2);
    EXPECT_LT(Core::current().now() - before, 1000 * kSecond);
  });
}

Task<Result<int>> cancellable() {
  const bool slept = co_await sleep_for(3600 * kSecond);
  if (!slept) co_return fail(ErrorCode::cancelled);
  co_return 1;
}

TEST(WithTimeout, EndsALateTaskWithTimedOut) {
  run_on_cores(1, []() -> Task<void> {
    const auto late = co_await with_timeout(kMillisecond, cancellable());
    EXPECT_TRUE(!late && late.error().code == ErrorCode::timed_out);
    const auto early = co_await with_timeout(3600 * kSecond, immediate(7));
    EXPECT_TRUE(early && *early == 7);
  });
}

TEST(WithTimeout, PassesACancelFromAboveOnAsCancelled) {
  run_on_cores(1, []() -> Task<void> {
    TaskGroup group("test");
    ErrorCode seen = ErrorCode::system;
    group.spawn(
        "waiter",
        [](ErrorCode* out) -> Task<void> {
          const auto result = co_await with_timeout(1800 * kSecond, cancellable());
          *out = result ? ErrorCode::system : result.error().code;
        },
        &seen);
    group.cancel();
    co_await group.join();
    EXPECT_EQ(seen, ErrorCode::cancelled);
  });
}

TEST(TaskGroup, JoinWaitsForEveryTask) {
  run_on_cores(1, []() -> Task<void> {
    TaskGroup group("test");
    int done = 0;
    for (int i = 0; i < 100; ++i) {
      group.spawn(
          "sleeper",
          [](int n, int* counter) -> Task<void> {
            co_await sleep_for(n % 7 * 100 * kMicrosecond);
            ++*counter;
          },
          i, &done);
    }
    co_await group.join();
    EXPECT_EQ(done, 100);
  });
}

TEST(TaskGroup, CancelReachesEveryDepthAndASleeperWakesAtOnce) {
  run_on_cores(1, []() -> Task<void> {
    TaskGroup group("test");
    int cancelled = 0;
    for (int i = 0; i < 3; ++i) {
      group.spawn(
          "outer",
          [](int* counter) -> Task<void> {
            auto inner = [](int* count) -> Task<void> {
              const bool slept = co_await sleep_for(3600 * kSecond);
              if (!slept) ++*count;
            };
            co_await inner(counter);
          },
          &cancelled);
    }
    group.cancel();
    // A task that starts in a cancelled group finds out at its first wait.
    group.spawn(
        "late",
        [](int* counter) -> Task<void> {
          const bool slept = co_await sleep_for(3600 * kSecond);
          if (!slept) ++*counter;
        },
        &cancelled);
    co_await group.join();
    EXPECT_EQ(cancelled, 4);
  });
}

TEST(SleepUntil, WakesInOrderOfDeadlines) {
  run_on_cores(1, []() -> Task<void> {
    TaskGroup group("test");
    std::vector<int> order;
    const Nanoseconds base = Core::current().now() + kMillisecond;
    for (const int n : {3, 1, 2}) {
      group.spawn(
          "sleeper",
          [](int index, Nanoseconds start, std::vector<int>* out) -> Task<void> {
            co_await sleep_until(start + index * 100 * kMicrosecond);
            EXPECT_GE(Core::current().now(), start + index * 100 * kMicrosecond);
            out->push_back(index);
          },
          n, base, &order);
    }
    co_await group.join();
    EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
  });
}

// Bug 6 of the review: now() + kNever overflowed, and both ended at once.
TEST(SleepUntil, NeverAndWithTimeoutOfNeverDoNotOverflow) {
  run_on_cores(1, []() -> Task<void> {
    TaskGroup group("test");
    bool ended = false;
    group.spawn(
        "sleeper",
        [](bool* end) -> Task<void> {
          EXPECT_FALSE(co_await sleep_for(kNever));
          *end = true;
        },
        &ended);
    const auto value = co_await with_timeout(kNever, later(7, kMillisecond));
    EXPECT_TRUE(value && *value == 7);
    const auto almost = co_await with_timeout(kNever - kSecond, later(8, kMillisecond));
    EXPECT_TRUE(almost && *almost == 8);
    EXPECT_FALSE(ended);
    group.cancel();
    co_await group.join();
    EXPECT_TRUE(ended);
  });
  EXPECT_EQ(after(5, kNever), kNever);
  EXPECT_EQ(after(5, 6), 11);
  EXPECT_EQ(after(-5, INT64_MIN), INT64_MIN);
}

}  // namespace
}  // namespace corelane
