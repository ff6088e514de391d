// Goal: when_all, when_any and try_all take tasks and other awaitables, also any number of tasks;
// the first failure cancels the others where that is asked for; nothing is left running. Groups
// with results keep their order and their bound. Method: the same program over io_uring and in the
// simulation.
#include "runtime/combine.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "runtime/result_group.hpp"
#include "runtime/submit.hpp"
#include "tests/support/on_cores.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::run_on_cores;

constexpr Nanoseconds kLong = 3600 * kSecond;

Task<int> gives(int value, Nanoseconds delay) {
  if (delay != 0) co_await sleep_for(delay);
  co_return value;
}
Task<std::unique_ptr<int>> owns(int value, Nanoseconds delay) {
  co_await sleep_for(delay);
  co_return std::make_unique<int>(value);
}
Task<void> counts(int* count, Nanoseconds delay) {
  const bool slept = co_await sleep_for(delay);
  if (slept) ++*count;
}
Task<Result<int>> gives_or_fails(int value, Nanoseconds delay, int* cancelled) {
  const bool slept = co_await sleep_for(delay);
  if (!slept) {
    ++*cancelled;
    co_return ErrorCode::cancelled;
  }
  if (value < 0) co_return Error{ErrorCode::limit_exceeded, value};
  co_return value;
}
Task<int> throws(Nanoseconds delay) {
  co_await sleep_for(delay);
  throw std::runtime_error("thrown");
}
// Awaits a try_all, and tells what it threw.
template <class Joined>
Task<std::string> text_of(Joined joined) {
  try {
    const auto result = co_await std::move(joined);
    co_return result ? std::string("a value") : describe(result.error());
  } catch (const std::exception& error) {
    co_return std::string(error.what());
  }
}

TEST(WhenAll, OfAVectorGivesAllValuesInOrder) {
  run_on_cores(1, []() -> Task<void> {
    std::vector<Task<int>> tasks;
    for (int i = 0; i < 100; ++i) tasks.push_back(gives(i, (100 - i) % 7 * 10 * kMicrosecond));
    const std::vector<int> values = co_await when_all(std::move(tasks));
    EXPECT_EQ(values.size(), 100u);
    for (int i = 0; i < 100; ++i) EXPECT_EQ(values[static_cast<std::size_t>(i)], i);
    const std::vector<int> none = co_await when_all(std::vector<Task<int>>());
    EXPECT_TRUE(none.empty());
    std::vector<Task<std::unique_ptr<int>>> owners;
    owners.push_back(owns(5, kMicrosecond));
    const auto owned = co_await when_all(std::move(owners));
    EXPECT_EQ(*owned[0], 5);
    int count = 0;
    std::vector<Task<void>> voids;
    for (int i = 0; i < 3; ++i) voids.push_back(counts(&count, kMicrosecond));
    co_await when_all(std::move(voids));
    EXPECT_EQ(count, 3);
  });
}

TEST(WhenAll, TakesWhatIsNoTask) {
  run_on_cores(2, []() -> Task<void> {
    auto [number, slept, there] =
        co_await when_all(gives(1, kMicrosecond), sleep_for(kMillisecond),
                          submit_to(1, [] { return Core::current().id(); }));
    EXPECT_EQ(number, 1);
    EXPECT_TRUE(slept);
    EXPECT_EQ(there, 1);
  });
}

TEST(WhenAll, MayBeNamedAndAwaitedLater) {
  run_on_cores(1, []() -> Task<void> {
    auto both = when_all(gives(1, kMicrosecond), gives(2, 0));
    co_await Yield();
    const auto [a, b] = co_await std::move(both);
    EXPECT_EQ(a, 1);
    EXPECT_EQ(b, 2);
  });
}

TEST(WhenAny, OfAVectorCancelsTheOthers) {
  run_on_cores(1, []() -> Task<void> {
    int count = 0;
    std::vector<Task<void>> tasks;
    for (int i = 0; i < 10; ++i) tasks.push_back(counts(&count, i == 6 ? kMillisecond : kLong));
    const auto any = co_await when_any(std::move(tasks));
    EXPECT_EQ(any.index, 6u);
    EXPECT_EQ(any.values.size(), 10u);
    EXPECT_EQ(count, 1);
  });
}

TEST(WhenAny, OfATaskAndASleepIsADeadline) {
  run_on_cores(1, []() -> Task<void> {
    int cancelled = 0;
    const auto any =
        co_await when_any(gives_or_fails(1, kLong, &cancelled), sleep_for(kMillisecond));
    EXPECT_EQ(any.index, 1u);
    EXPECT_EQ(cancelled, 1);
  });
}

// A wait in submit_to that is given up throws Cancelled: the winner's value counts all the same.
TEST(WhenAny, KeepsTheWinnersValueWhenALoserThrows) {
  run_on_cores(2, []() -> Task<void> {
    const auto sleeps = []() -> Task<int> {
      co_await sleep_for(kLong);
      co_return 1;
    };
    const auto any = co_await when_any(submit_to(1, sleeps), sleep_for(kMillisecond));
    EXPECT_EQ(any.index, 1u);
    EXPECT_FALSE(std::get<0>(any.values));
    EXPECT_EQ(std::get<1>(any.values), true);
    std::vector<Task<int>> tasks;
    tasks.push_back(throws(kLong));
    tasks.push_back(gives(5, kMicrosecond));
    const auto first = co_await when_any(std::move(tasks));
    EXPECT_EQ(first.index, 1u);
    EXPECT_FALSE(first.values[0]);
    EXPECT_EQ(first.values[1], 5);
  });
}

TEST(TryAll, GivesTheValuesOfAll) {
  run_on_cores(1, []() -> Task<void> {
    int cancelled = 0;
    int count = 0;
    const auto all = co_await try_all(gives_or_fails(1, 2 * kMillisecond, &cancelled),
                                      gives(2, kMicrosecond), counts(&count, kMicrosecond));
    EXPECT_TRUE(all);
    if (!all) co_return;
    EXPECT_EQ(std::get<0>(*all), 1);
    EXPECT_EQ(std::get<1>(*all), 2);
    EXPECT_EQ(count, 1);
    std::vector<Task<Result<int>>> tasks;
    for (int i = 0; i < 5; ++i) tasks.push_back(gives_or_fails(i, i * kMicrosecond, &cancelled));
    const auto values = co_await try_all(std::move(tasks));
    EXPECT_TRUE(values && *values == (std::vector<int>{0, 1, 2, 3, 4}));
    EXPECT_EQ(cancelled, 0);
  });
}

TEST(TryAll, EndsWithTheFirstErrorInTimeAndCancelsTheOthers) {
  run_on_cores(1, []() -> Task<void> {
    int cancelled = 0;
    std::vector<Task<Result<int>>> tasks;
    tasks.push_back(gives_or_fails(0, kLong, &cancelled));
    tasks.push_back(gives_or_fails(-1, kLong, &cancelled));
    tasks.push_back(gives_or_fails(-2, kMillisecond, &cancelled));
    tasks.push_back(gives_or_fails(3, 0, &cancelled));
    const auto values = co_await try_all(std::move(tasks));
    EXPECT_FALSE(values);
    EXPECT_EQ(values.error(), (Error{ErrorCode::limit_exceeded, -2}));
    EXPECT_EQ(cancelled, 2);
  });
}

TEST(TryAll, EndsWithTheFirstExceptionInTimeAndCancelsTheOthers) {
  run_on_cores(1, []() -> Task<void> {
    int cancelled = 0;
    EXPECT_EQ(co_await text_of(try_all(gives_or_fails(0, kLong, &cancelled), throws(kMillisecond))),
              "thrown");
    EXPECT_EQ(cancelled, 1);
    // The failure that came first counts, also when a cancelled task throws afterwards.
    EXPECT_EQ(co_await text_of(try_all(throws(kLong), gives_or_fails(-5, 0, &cancelled))),
              "limit exceeded (-5)");
  });
}

TEST(TryAll, IsCancelledWithItsScope) {
  run_on_cores(1, []() -> Task<void> {
    int cancelled = 0;
    const auto waits = [](int* count) -> Task<Result<void>> {
      const auto all =
          co_await try_all(gives_or_fails(0, kLong, count), gives_or_fails(0, kLong, count));
      if (!all) co_return all.error();
      co_return Result<void>{};
    };
    const auto late = co_await with_timeout(kMillisecond, waits(&cancelled));
    EXPECT_EQ(late.error().code, ErrorCode::timed_out);
    EXPECT_EQ(cancelled, 2);
  });
}

struct Load {
  int running = 0;
  int most = 0;
  int started = 0;
};
Task<Result<int>> loads(Load* load, int value) {
  ++load->started;
  load->most = std::max(load->most, ++load->running);
  const bool slept = co_await sleep_for((value % 3 + 1) * 10 * kMicrosecond);
  --load->running;
  if (!slept) co_return ErrorCode::cancelled;
  if (value == 13) co_return ErrorCode::closed;
  co_return value;
}

TEST(ResultGroup, KeepsTheOrderAndNeverRunsMoreThanItMay) {
  run_on_cores(1, []() -> Task<void> {
    Load load;
    ResultGroup<Result<int>> group("loads", {.running_max = 4});
    for (int i = 20; i < 60; ++i) group.spawn(loads, &load, i);
    EXPECT_EQ(load.started, 4);
    const auto values = values_or_error(co_await group.join());
    EXPECT_TRUE(values);
    if (!values) co_return;
    EXPECT_EQ(values->size(), 40u);
    for (std::size_t i = 0; i < 40; ++i) EXPECT_EQ((*values)[i], static_cast<int>(i) + 20);
    EXPECT_EQ(load.most, 4);
  });
}

TEST(ResultGroup, CancelsAllOnAFailureAndStartsNoMore) {
  run_on_cores(1, []() -> Task<void> {
    Load load;
    ResultGroup<Result<int>> group("loads", {.running_max = 2});
    for (int i = 12; i < 60; ++i) group.spawn(loads, &load, i);
    const auto values = values_or_error(co_await group.join());
    EXPECT_FALSE(values);
    EXPECT_EQ(values.error().code, ErrorCode::closed);
    EXPECT_LT(load.started, 10);
    EXPECT_EQ(load.running, 0);
  });
}

TEST(ResultGroup, CollectsAllWhenAFailureCancelsNothing) {
  run_on_cores(1, []() -> Task<void> {
    Load load;
    ResultGroup<Result<int>> group("loads", {.running_max = 2, .cancel_on_failure = false});
    for (int i = 10; i < 20; ++i) group.spawn(loads, &load, i);
    const auto results = co_await group.join();
    EXPECT_EQ(results.size(), 10u);
    for (std::size_t i = 0; i < 10; ++i) EXPECT_EQ(results[i].has_value(), i != 3);
  });
}

TEST(ResultGroup, StartsNoMoreWhenItIsCancelledFromOutside) {
  run_on_cores(1, []() -> Task<void> {
    int cancelled = 0;
    const auto collects = [](int* count, std::size_t* results) -> Task<void> {
      ResultGroup<Result<int>> group("collects", {.running_max = 1, .cancel_on_failure = false});
      for (int i = 0; i < 10; ++i) group.spawn(gives_or_fails, i, kLong, count);
      const auto all = co_await group.join();
      for (const auto& one : all) *results += one.error().code == ErrorCode::cancelled ? 1U : 0U;
      group.spawn(gives_or_fails, 10, kLong, count);
      const auto later = co_await group.join();
      *results += later.size() == 1 && later[0].error().code == ErrorCode::cancelled ? 1U : 0U;
    };
    std::size_t results = 0;
    EXPECT_FALSE(co_await with_timeout(kMillisecond, collects(&cancelled, &results)));
    EXPECT_EQ(cancelled, 1) << "one ran when the deadline passed, and no other one has started";
    EXPECT_EQ(results, 11u);
  });
}

TEST(ResultGroup, InGroupJoinsOnEveryWayOut) {
  run_on_cores(1, []() -> Task<void> {
    auto spawns = [](ResultGroup<int>& group) -> Task<void> {
      for (int i = 0; i < 5; ++i) group.spawn(gives, i, 10 * kMicrosecond);
      co_await Yield();
    };
    const auto values = co_await in_group<int>("values", {.running_max = 2}, spawns);
    EXPECT_EQ(values, (std::vector<int>{0, 1, 2, 3, 4}));
    int cancelled = 0;
    auto throws_early = [&cancelled](ResultGroup<Result<int>>& group) -> Task<void> {
      group.spawn(gives_or_fails, 1, kLong, &cancelled);
      co_await Yield();
      throw std::runtime_error("early");
    };
    bool threw = false;
    try {
      co_await in_group<Result<int>>("throws", {}, throws_early);
    } catch (const std::runtime_error& error) {
      threw = std::string(error.what()) == "early";
    }
    EXPECT_TRUE(threw);
    EXPECT_EQ(cancelled, 1);
    // The group belongs to the scope that it is made in: a cancel reaches it during the body.
    auto waits = [&cancelled](ResultGroup<Result<int>>& group) -> Task<void> {
      group.spawn(gives_or_fails, 1, kLong, &cancelled);
      EXPECT_TRUE(co_await shield(kSecond, counts(&cancelled, 2 * kMillisecond)));
      EXPECT_TRUE(group.cancelled());
      EXPECT_EQ(group.running(), 0u);
    };
    EXPECT_FALSE(co_await with_timeout(kMillisecond, in_group<Result<int>>("waits", {}, waits)));
    EXPECT_EQ(cancelled, 3);
  });
}

// 100,000 tasks that end at once, one after the other: the stack stays flat.
TEST(ResultGroup, OfTasksThatEndAtOnceNeedsNoStack) {
  run_on_cores(1, []() -> Task<void> {
    ResultGroup<int> group("immediate", {.running_max = 1});
    group.spawn(gives, -1, kMillisecond);
    for (int i = 0; i < 100'000; ++i) group.spawn(gives, i, Nanoseconds{0});
    const auto values = co_await group.join();
    EXPECT_EQ(values.size(), 100'001u);
    EXPECT_EQ(values.back(), 99'999);
  });
}

TEST(ResultGroup, ThrowsWhatATaskThrewAndIsEmptyThen) {
  run_on_cores(1, []() -> Task<void> {
    ResultGroup<int> group("throws");
    group.spawn(throws, kMillisecond);
    group.spawn(gives, 1, Nanoseconds{0});
    bool threw = false;
    try {
      co_await group.join();
    } catch (const std::runtime_error&) {
      threw = true;
    }
    EXPECT_TRUE(threw);
    const auto values = co_await group.join();
    EXPECT_TRUE(values.empty());
  });
}

}  // namespace
}  // namespace corelane
