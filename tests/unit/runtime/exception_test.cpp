// Goal: an exception goes from a task to the one that awaits it, through every combination of tasks
// and between cores; one that reaches the root of a task is counted and logged with the task's
// name, and nothing else ends. Method: the same program over io_uring and in the simulation.
#include "runtime/exception.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>

#include "runtime/await.hpp"
#include "runtime/combine.hpp"
#include "runtime/sharded.hpp"
#include "runtime/submit.hpp"
#include "runtime/task_group.hpp"
#include "tests/support/on_cores.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::run_on_cores;

Task<int> throws_at_once(const char* text) {
  throw std::runtime_error(text);
  co_return 0;
}
Task<int> throws_later(const char* text, Nanoseconds delay) {
  co_await sleep_for(delay);
  throw std::runtime_error(text);
}
Task<void> throws_nothing_worth(bool later) {
  if (later) co_await sleep_for(kMillisecond);
  throw std::runtime_error("void");
}
Task<int> gives(int value, Nanoseconds delay) {
  co_await sleep_for(delay);
  co_return value;
}

// What awaiting the task ends with.
template <class T>
Task<std::string> text_of(Task<T>&& task) {
  try {
    static_cast<void>(co_await std::move(task));
  } catch (const std::exception& error) {
    co_return std::string(error.what());
  }
  co_return std::string("nothing");
}

struct Counted {
  explicit Counted(int* living) : living_(living) { ++*living_; }
  ~Counted() { --*living_; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

 private:
  int* living_;
};

TEST(Exception, CrossesCoAwaitAtOnceAndLater) {
  run_on_cores(1, []() -> Task<void> {
    EXPECT_EQ(co_await text_of(throws_at_once("at once")), "at once");
    EXPECT_EQ(co_await text_of(throws_later("later", kMillisecond)), "later");
    EXPECT_EQ(co_await text_of(throws_nothing_worth(false)), "void");
    EXPECT_EQ(co_await text_of(throws_nothing_worth(true)), "void");
    EXPECT_EQ(co_await text_of(gives(1, 0)), "nothing");
  });
}

Task<int> deep(int depth, int* living) {
  const Counted here(living);
  if (depth == 0) {
    co_await sleep_for(kMicrosecond);
    throw std::logic_error("from below");
  }
  co_return co_await deep(depth - 1, living);
}

TEST(Exception, DestroysTheLocalsOfEveryTaskOnItsWay) {
  run_on_cores(1, []() -> Task<void> {
    int living = 0;
    EXPECT_EQ(co_await text_of(deep(50, &living)), "from below");
    EXPECT_EQ(living, 0);
  });
}

Task<std::unique_ptr<int>> unique_or_throw(bool throws) {
  if (throws) throw std::bad_alloc();
  co_return std::make_unique<int>(3);
}

TEST(Exception, OutOfMemoryIsOneLikeAnyOther) {
  run_on_cores(1, []() -> Task<void> {
    EXPECT_EQ(co_await text_of(unique_or_throw(true)), std::bad_alloc().what());
    const auto value = co_await unique_or_throw(false);
    EXPECT_EQ(*value, 3);
  });
}

struct ThrowsWhenMoved {
  ThrowsWhenMoved() = default;
  ThrowsWhenMoved(ThrowsWhenMoved&&) { throw std::runtime_error("moved"); }
};
Task<ThrowsWhenMoved> returns_what_throws() {
  co_return ThrowsWhenMoved{};
}

TEST(Exception, OfTheValueThatIsReturnedIsThrownToo) {
  run_on_cores(1,
               []() -> Task<void> { EXPECT_EQ(co_await text_of(returns_what_throws()), "moved"); });
}

Task<std::string> all_of(Nanoseconds first, Nanoseconds second, bool* third_ended) {
  const auto third = [](bool* ended) -> Task<void> {
    co_await sleep_for(3 * kMillisecond);
    *ended = true;
  };
  try {
    co_await when_all(throws_later("first", first), throws_later("second", second),
                      third(third_ended));
  } catch (const std::exception& error) {
    co_return std::string(error.what());
  }
  co_return std::string("nothing");
}

TEST(Exception, OfWhenAllIsTheFirstInOrderAndComesWhenAllHaveEnded) {
  run_on_cores(1, []() -> Task<void> {
    bool ended = false;
    EXPECT_EQ(co_await all_of(2 * kMillisecond, kMillisecond, &ended), "first");
    EXPECT_TRUE(ended);
  });
}

Task<std::string> any_of(Task<int>&& first, Task<int>&& second) {
  try {
    const auto any = co_await when_any(std::move(first), std::move(second));
    co_return "index " + std::to_string(any.index);
  } catch (const std::exception& error) {
    co_return std::string(error.what());
  }
}

TEST(Exception, OfWhenAnyIsTheWinnersAndALosersIsDropped) {
  run_on_cores(1, []() -> Task<void> {
    EXPECT_EQ(co_await any_of(throws_later("loser", 3600 * kSecond), throws_later("winner", 1)),
              "winner");
    EXPECT_EQ(co_await any_of(gives(1, 1), throws_later("loser", 3600 * kSecond)), "index 0");
    EXPECT_EQ(co_await any_of(gives(1, 1), gives(2, 3600 * kSecond)), "index 0");
  });
}

Task<int> gives_up() {
  co_await sleep_for(3600 * kSecond);
  throw Cancelled();
}

TEST(Exception, PassesWithTimeoutWhichMakesAnErrorOfCancelledAlone) {
  run_on_cores(1, []() -> Task<void> {
    const std::string early = co_await text_of(with_timeout(kSecond, throws_at_once("early")));
    EXPECT_EQ(early, "early");
    const std::string late =
        co_await text_of(with_timeout(kMillisecond, throws_later("late", 3600 * kSecond)));
    EXPECT_EQ(late, "late");
    const auto given_up = co_await with_timeout(kMillisecond, gives_up());
    EXPECT_FALSE(given_up);
    EXPECT_EQ(given_up.error().code, ErrorCode::timed_out);
  });
}

Task<std::string> far_away(bool task, bool may_be_given_up) {
  const auto plain = []() -> int { throw std::runtime_error("plain, over there"); };
  const auto coroutine = []() -> Task<int> {
    return throws_later("task, over there", kMicrosecond);
  };
  try {
    if (task) {
      if (may_be_given_up) {
        co_await submit_to(1, coroutine);
      } else {
        co_await call_on(1, coroutine);
      }
    } else if (may_be_given_up) {
      co_await submit_to(1, plain);
    } else {
      co_await call_on(1, plain);
    }
  } catch (const std::exception& error) {
    co_return std::string(error.what());
  }
  co_return std::string("nothing");
}

TEST(Exception, CrossesCores) {
  run_on_cores(2, []() -> Task<void> {
    for (const bool may_be_given_up : {false, true}) {
      EXPECT_EQ(co_await far_away(false, may_be_given_up), "plain, over there");
      EXPECT_EQ(co_await far_away(true, may_be_given_up), "task, over there");
    }
  });
}

TEST(Exception, AtTheRootOfASpawnedTaskIsCountedAndLoggedWithItsName) {
  ::testing::internal::CaptureStderr();
  run_on_cores(1, []() -> Task<void> {
    TaskGroup group("group");
    const std::uint64_t before = Core::current().counters().exceptions;
    int others = 0;
    for (int i = 0; i < 100; ++i) {
      group.spawn("clumsy", []() -> Task<void> {
        co_await sleep_for(kMicrosecond);
        throw std::runtime_error("it fell");
      });
    }
    group.spawn("no task", [](int) -> Task<void> { throw 5; }, 1);
    group.spawn(
        "another",
        [](int* count) -> Task<void> {
          co_await sleep_for(kMillisecond);
          ++*count;
        },
        &others);
    co_await group.join();
    EXPECT_EQ(others, 1);
    EXPECT_EQ(Core::current().counters().exceptions - before, 101u);
  });
  const std::string log = ::testing::internal::GetCapturedStderr();
  // Repeated within a second, all of it may be left out.
  static bool is_first = true;
  if (std::exchange(is_first, false)) {
    EXPECT_NE(log.find("error: task clumsy ended with an exception: it fell"), std::string::npos)
        << log;
  }
  EXPECT_LT(std::count(log.begin(), log.end(), '\n'), 25) << "limited by its reason: " << log;
}

TEST(Exception, CancelledIsNoneForATaskThatWasAskedToStop) {
  run_on_cores(1, []() -> Task<void> {
    const std::uint64_t before = Core::current().counters().exceptions;
    TaskGroup group("group");
    const auto waits = []() -> Task<void> { co_await gives_up(); };
    group.spawn("waits", waits);
    group.cancel();
    co_await group.join();
    EXPECT_EQ(Core::current().counters().exceptions, before);
    group.spawn("throws another one", []() -> Task<void> { throw std::runtime_error("other"); });
    co_await group.join();
    EXPECT_EQ(Core::current().counters().exceptions, before + 1);
  });
}

TEST(Exception, OfTheMainTaskEndsTheRunWithItsOwnExitCode) {
  Runtime runtime(tests::small_options(2));
  ::testing::internal::CaptureStderr();
  const auto code =
      runtime.run([]() -> Task<int> { return throws_later("in main", kMillisecond); });
  const std::string log = ::testing::internal::GetCapturedStderr();
  ASSERT_TRUE(code);
  EXPECT_EQ(*code, kMainThrew);
  EXPECT_NE(log.find("the main task ended with an exception: in main"), std::string::npos) << log;
}

struct MadeOnAllBut {
  MadeOnAllBut(CoreId bad, std::atomic<int>* count) : living(count) {
    if (Core::current().id() == bad) throw std::runtime_error("not here");
    ++*living;
  }
  ~MadeOnAllBut() { --*living; }
  MadeOnAllBut(const MadeOnAllBut&) = delete;
  MadeOnAllBut& operator=(const MadeOnAllBut&) = delete;
  std::atomic<int>* living;
};

TEST(Exception, OfAShardsConstructorUndoesTheOthersAndIsThrown) {
  std::atomic<int> living = 0;
  run_on_cores(3, [&living]() -> Task<void> {
    Sharded<MadeOnAllBut> shards;
    EXPECT_EQ(co_await text_of(shards.start(CoreId{2}, &living)), "not here");
    EXPECT_EQ(living.load(), 0);
    co_await shards.start(kNoCore, &living);
    EXPECT_EQ(living.load(), 3);
    co_await shards.stop();
    EXPECT_EQ(living.load(), 0);
  });
}

}  // namespace
}  // namespace corelane
