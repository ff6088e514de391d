// Goal: tasks can be named, stored and collected, and give references; errors pass up in one line;
// durations need a unit. Method: the same program over io_uring and in the simulation, and what
// must not compile as concepts.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "runtime/await.hpp"
#include "runtime/combine.hpp"
#include "runtime/duration.hpp"
#include "runtime/task_group.hpp"
#include "runtime/try.hpp"
#include "tests/support/on_cores.hpp"
#include "tests/support/simulated.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::run_on_cores;

struct Counted {
  explicit Counted(int* living) : living_(living) { ++*living_; }
  Counted(Counted&& other) noexcept : living_(std::exchange(other.living_, nullptr)) {}
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;
  ~Counted() {
    if (living_ != nullptr) --*living_;
  }

 private:
  int* living_;
};

Task<int> gives(int value, [[maybe_unused]] Counted counted, bool waits = false) {
  if (waits) co_await Yield();
  co_return value;
}

TEST(Task, MayBeNamedMovedAndAwaitedLater) {
  run_on_cores(1, []() -> Task<void> {
    int living = 0;
    {
      Task<int> first = gives(1, Counted(&living), true);
      Task<int> second = std::move(first);
      EXPECT_EQ(living, 1);
      EXPECT_EQ(co_await second, 1);
      Task<int> third = gives(3, Counted(&living));
      EXPECT_EQ(living, 2);
      third = gives(4, Counted(&living));
      EXPECT_EQ(living, 2) << "the one that never started is gone";
      EXPECT_EQ(co_await std::move(third), 4);
    }
    EXPECT_EQ(living, 0);
  });
}

TEST(Task, MayBeCollectedAndEachIsDestroyedOnce) {
  run_on_cores(1, []() -> Task<void> {
    int living = 0;
    {
      std::vector<Task<int>> tasks;
      for (int i = 0; i < 20; ++i) tasks.push_back(gives(i, Counted(&living), i % 2 == 0));
      EXPECT_EQ(living, 20);
      tasks.erase(tasks.begin() + 5);
      EXPECT_EQ(living, 19);
      EXPECT_EQ(co_await tasks[4], 4);
      EXPECT_EQ(co_await tasks[5], 6);
      tasks.erase(tasks.begin());
    }
    EXPECT_EQ(living, 0);
  });
}

void awaits_a_moved_task() {
  run_on_cores(1, []() -> Task<void> {
    Task<int> first = []() -> Task<int> { co_return 1; }();
    Task<int> second = std::move(first);
    co_await second;
    co_await first;  // NOLINT(bugprone-use-after-move): the mistake
  });
}

TEST(Task, ThatWasMovedEndsTheProcessWhenItIsAwaited) {
  GTEST_FLAG_SET(death_test_style, tests::kDeathTestStyle);
  EXPECT_DEATH(awaits_a_moved_task(), "assertion failed: state_ == State::fresh");
}

Task<std::string&> finds(std::vector<std::string>& in, std::size_t index, bool waits) {
  if (waits) co_await sleep_for(kMicrosecond);
  co_return in.at(index);
}

TEST(Task, OfAReferenceGivesTheThingItself) {
  run_on_cores(1, []() -> Task<void> {
    std::vector<std::string> texts{"a", "b"};
    std::string& found = co_await finds(texts, 1, false);
    EXPECT_EQ(&found, &texts[1]);
    (co_await finds(texts, 0, true)) = "changed";
    EXPECT_EQ(texts[0], "changed");
    bool threw = false;
    try {
      co_await finds(texts, 2, true);
    } catch (const std::out_of_range&) {
      threw = true;
    }
    EXPECT_TRUE(threw);
    auto [first, second] = co_await when_all(finds(texts, 0, true), finds(texts, 1, false));
    EXPECT_EQ(&first, &texts[0]);
    EXPECT_EQ(&second, &texts[1]);
    const auto any = co_await when_any(finds(texts, 1, false), sleep_for(3600 * kSecond));
    EXPECT_EQ(&std::get<0>(any.values)->get(), &texts[1]);
    const auto in_time = co_await with_timeout(kSecond, finds(texts, 1, true));
    EXPECT_TRUE(in_time && &in_time->get() == &texts[1]);
  });
}

Task<Result<int>> parses(int value) {
  if (value < 0) co_return ErrorCode::invalid_argument;
  co_return value;
}
Task<Result<void>> checks(int value) {
  RT_TRY_VOID(co_await parses(value));
  co_return Result<void>{};
}
Task<Result<std::string>> doubles(int first, int second) {
  RT_TRY(const int a, co_await parses(first));
  RT_TRY(const auto b, co_await parses(second));
  RT_TRY_VOID(co_await checks(a + b));
  co_return std::to_string(a + b);
}
Result<std::string> in_words(Result<int> value) {
  RT_TRY_RETURN(const int number, std::move(value));
  return std::to_string(number);
}

TEST(Try, PassesAnErrorUpAndElseGivesTheValue) {
  run_on_cores(1, []() -> Task<void> {
    const auto good = co_await doubles(3, 4);
    EXPECT_TRUE(good && *good == "7");
    const auto bad = co_await doubles(3, -4);
    EXPECT_TRUE(!bad && bad.error().code == ErrorCode::invalid_argument);
  });
  EXPECT_EQ(*in_words(5), "5");
  EXPECT_EQ(in_words(ErrorCode::closed).error().code, ErrorCode::closed);
}

template <class T>
concept ADuration = std::is_convertible_v<T, Duration>;

static_assert(ADuration<std::chrono::milliseconds> && ADuration<std::chrono::duration<double>>);
static_assert(ADuration<Nanoseconds>);
static_assert(!ADuration<int> && !ADuration<unsigned> && !ADuration<double> && !ADuration<bool>);
static_assert(!ADuration<std::uint64_t>);
static_assert(Duration(std::chrono::milliseconds(3)) == Duration(3 * kMillisecond));
static_assert(Duration(std::chrono::hours(1)) == Duration(3600 * kSecond));
static_assert(Duration(std::chrono::hours::max()) == Duration(kNever));
static_assert(Duration(std::chrono::hours::min()) == Duration(INT64_MIN));
static_assert(Duration(std::chrono::duration<double>(0.5)) == Duration(kSecond / 2));
static_assert(Duration(std::chrono::duration<double>(1e300)) == Duration(kNever));
static_assert(Duration(std::chrono::duration<std::uint64_t>(UINT64_MAX)) == Duration(kNever));

TEST(Duration, OfChronoIsTakenByEveryWait) {
  using namespace std::chrono_literals;
  run_on_cores(1, []() -> Task<void> {
    const Nanoseconds before = Core::current().now();
    EXPECT_TRUE(co_await sleep_for(2ms));
    EXPECT_GE(Core::current().now() - before, 2 * kMillisecond);
    const auto late = co_await with_timeout(1ms, sleep_for(1h));
    EXPECT_FALSE(late);
  });
}

}  // namespace
}  // namespace corelane
