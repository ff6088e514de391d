// Goal: a wait for another core ends at its deadline and with its group, however long that core
// takes; a task that was submitted is cancelled there; the block of the request is destroyed once,
// on the core that sent it, whichever side ends first. Method: the same program over
// io_uring and in the simulation; there also over seeds.
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <utility>
#include <vector>

#include "runtime/await.hpp"
#include "runtime/combine.hpp"
#include "runtime/submit.hpp"
#include "runtime/task_group.hpp"
#include "tests/support/on_cores.hpp"
#include "tests/support/throws_when_moved.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::run_on_cores;

// Counts the living, and on which core the last one was destroyed.
struct Witness {
  std::atomic<int> living{0};
  std::atomic<int> destroyed_on{-1};
};
class Tracked {
 public:
  explicit Tracked(Witness& witness) : witness_(&witness) { ++witness_->living; }
  Tracked(Tracked&& other) noexcept : witness_(std::exchange(other.witness_, nullptr)) {}
  Tracked(const Tracked&) = delete;
  Tracked& operator=(const Tracked&) = delete;
  ~Tracked() {
    if (witness_ == nullptr) return;
    Core* const core = Core::current_or_null();
    witness_->destroyed_on = core != nullptr ? core->id() : -2;
    --witness_->living;
  }

 private:
  Witness* witness_;
};

// A task that ends when it is cancelled.
Task<int> sleeps_long(std::atomic<int>* state) {
  *state = 1;
  const bool slept = co_await sleep_for(3600 * kSecond);
  *state = slept ? 2 : 3;
  co_return 7;
}

Task<void> until(const std::atomic<int>& living, int value) {
  while (living.load() != value) co_await sleep_for(100 * kMicrosecond);
}

TEST(SubmitTo, OverATaskThatDoesNotEndEndsAtItsDeadlineAndTheTaskIsCancelled) {
  std::atomic<int> state = 0;
  Witness witness;
  run_on_cores(2, [&]() -> Task<void> {
    auto function = [&state, owned = std::make_shared<Tracked>(witness)] {
      return sleeps_long(&state);
    };
    const auto late = co_await with_timeout(kMillisecond, submit_to(1, std::move(function)));
    EXPECT_FALSE(late);
    EXPECT_EQ(late.error().code, ErrorCode::timed_out);
    co_await until(witness.living, 0);
    EXPECT_EQ(state.load(), 3);
    EXPECT_EQ(witness.destroyed_on.load(), 0);
  });
}

TEST(SubmitTo, GivesItsValueWithinTheDeadline) {
  run_on_cores(2, []() -> Task<void> {
    const auto early = co_await with_timeout(3600 * kSecond, submit_to(1, [] { return 5; }));
    EXPECT_TRUE(early && *early == 5);
    const auto nothing = co_await with_timeout(3600 * kSecond, submit_to(1, [] {}));
    EXPECT_TRUE(nothing);
    const auto own = co_await with_timeout(3600 * kSecond, submit_to(0, []() -> Task<int> {
                                             co_await Yield();
                                             co_return 6;
                                           }));
    EXPECT_TRUE(own && *own == 6);
  });
}

Task<void> waits_for(CoreId core, std::atomic<int>* state, ErrorCode* code) {
  const Result<int> result = co_await submit_to(core, [state]() -> Task<Result<int>> {
    const int value = co_await sleeps_long(state);
    co_return value;
  });
  *code = result ? ErrorCode::system : result.error().code;
}
Task<void> waits_and_throws(CoreId core, std::atomic<int>* state, bool* threw) {
  try {
    co_await submit_to(core, [state] { return sleeps_long(state); });
  } catch (const Cancelled&) {
    *threw = true;
    throw;
  }
}

TEST(SubmitTo, EndsWithItsGroup) {
  std::atomic<int> first = 0;
  std::atomic<int> second = 0;
  run_on_cores(2, [&]() -> Task<void> {
    TaskGroup group("group");
    ErrorCode code = ErrorCode::system;
    bool threw = false;
    group.spawn("result", waits_for, CoreId{1}, &first, &code);
    group.spawn("throws", waits_and_throws, CoreId{1}, &second, &threw);
    co_await until(first, 1);
    co_await until(second, 1);
    group.cancel();
    co_await group.join();
    EXPECT_EQ(code, ErrorCode::cancelled);
    EXPECT_TRUE(threw);
    EXPECT_EQ(Core::current().counters().exceptions, 0u);
    co_await until(first, 3);
    co_await until(second, 3);
  });
}

TEST(SubmitTo, SendsNothingInAScopeThatIsCancelled) {
  std::atomic<int> ran = 0;
  run_on_cores(2, [&ran]() -> Task<void> {
    TaskGroup group("group");
    group.cancel();
    group.spawn(
        "late",
        [](std::atomic<int>* count) -> Task<void> { co_await submit_to(1, [count] { ++*count; }); },
        &ran);
    co_await group.join();
    co_await call_on(1, [] {});
    EXPECT_EQ(ran.load(), 0);
  });
}

TEST(SubmitTo, ALateAnswerReachesNobodyAndTheNextRequestIsNotMistakenForIt) {
  Witness witness;
  run_on_cores(2, [&witness]() -> Task<void> {
    for (int i = 0; i < 100; ++i) {
      // Given up at once, in the turn in which it leaves, or when it is about to come back.
      auto function = [owned = std::make_shared<Tracked>(witness), i] { return i; };
      const auto given_up =
          co_await with_timeout(i * kMicrosecond, submit_to(1, std::move(function)));
      EXPECT_EQ(given_up ? *given_up : i, i);
      EXPECT_EQ(co_await submit_to(1, [i] { return -i; }), -i);
    }
    co_await until(witness.living, 0);
    EXPECT_EQ(witness.destroyed_on.load(), 0);
  });
}

// The value may own something, which then comes home to be destroyed.
TEST(SubmitTo, AValueThatNobodyTakesIsDestroyedAtHome) {
  Witness witness;
  std::atomic<int> state = 0;
  run_on_cores(2, [&]() -> Task<void> {
    const auto given_up =
        co_await with_timeout(kMillisecond, submit_to(1, [&]() -> Task<std::unique_ptr<Tracked>> {
                                co_await sleeps_long(&state);
                                co_return std::make_unique<Tracked>(witness);
                              }));
    EXPECT_FALSE(given_up);
    while (witness.destroyed_on.load() == -1) co_await sleep_for(100 * kMicrosecond);
    EXPECT_EQ(state.load(), 3);
    co_await until(witness.living, 0);
    EXPECT_EQ(witness.destroyed_on.load(), 0);
  });
}

TEST(SubmitTo, WhatIsUnderWayWhenTheRunEndsIsCancelledAndDestroyed) {
  Witness witness;
  std::atomic<int> state = 0;
  run_on_cores(3, [&]() -> Task<void> {
    // Core 1 waits for core 2, and main does not wait for core 1.
    auto function = [&state, owned = std::make_shared<Tracked>(witness)]() -> Task<void> {
      auto inner = [&state, also = owned] { return sleeps_long(&state); };
      co_await submit_to(2, std::move(inner));
    };
    const auto late = co_await with_timeout(kMillisecond, submit_to(1, std::move(function)));
    EXPECT_FALSE(late);
  });
  EXPECT_EQ(witness.living.load(), 0);
}

TEST(SubmitTo, AFunctionThatCannotBeMovedThrowsAtTheCaller) {
  run_on_cores(2, []() -> Task<void> {
    int failures = 0;
    for (bool is_done = false; !is_done; ++failures) {
      tests::ThrowsWhenMoved function(failures);
      try {
        EXPECT_EQ(co_await submit_to(1, std::move(function)), 5);
        is_done = true;
      } catch (const tests::ThrowsWhenMoved::Failure&) {
      }
    }
    EXPECT_GT(failures, 3);
  });
}

TEST(CallOn, CannotBeGivenUpAndLeavesItsFunctionWhereItIs) {
  run_on_cores(2, []() -> Task<void> {
    TaskGroup group("group");
    int local = 0;
    const auto calls = [](int* to) -> Task<void> {
      int mine = 0;
      co_await call_on(1, [&mine]() -> Task<void> {
        co_await sleep_for(kMillisecond);
        mine = 1;
      });
      *to = mine;
    };
    group.spawn("calls", calls, &local);
    group.cancel();
    co_await group.join();
    EXPECT_EQ(local, 1);
  });
}

}  // namespace
}  // namespace corelane
