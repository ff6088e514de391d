// Goal: a cancel reaches all that runs for a task, and nothing else: tasks of groups that it joins,
// a task on another core, callbacks and stop tokens; a shielded task it does not reach. Method: the
// same program over io_uring and in the simulation.
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/await.hpp"
#include "runtime/blocking.hpp"
#include "runtime/combine.hpp"
#include "runtime/generator.hpp"
#include "runtime/post.hpp"
#include "runtime/stop_token.hpp"
#include "runtime/submit.hpp"
#include "runtime/task_group.hpp"
#include "runtime/this_task.hpp"
#include "tests/support/on_cores.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::run_on_cores;

constexpr Nanoseconds kLong = 3600 * kSecond;

// 1 while it runs, 2 when it slept to the end, 3 when it was cancelled.
Task<void> sleeps(Nanoseconds duration, std::atomic<int>* state) {
  *state = 1;
  const bool slept = co_await sleep_for(duration);
  *state = slept ? 2 : 3;
}

Task<void> spawns_and_joins(std::atomic<int>* state) {
  TaskGroup group("inner");
  group.spawn("child", sleeps, kLong, state);
  co_await group.join();
}

// Bug D5 of the review: the group ran on for as long as its tasks did.
TEST(Scope, WithTimeoutEndsATaskThatJoinsAGroup) {
  run_on_cores(1, []() -> Task<void> {
    std::atomic<int> state = 0;
    const Nanoseconds before = Core::current().now();
    const auto late = co_await with_timeout(kMillisecond, spawns_and_joins(&state));
    EXPECT_FALSE(late);
    EXPECT_EQ(late.error().code, ErrorCode::timed_out);
    EXPECT_EQ(state.load(), 3);
    EXPECT_LT(Core::current().now() - before, kLong);
  });
}

Task<void> nests(int depth, std::atomic<int>* state) {
  TaskGroup group("nested");
  if (depth == 0) {
    group.spawn("leaf", sleeps, kLong, state);
  } else {
    group.spawn("deeper", nests, depth - 1, state);
  }
  co_await group.join();
}

TEST(Scope, ACancelReachesGroupsInGroups) {
  run_on_cores(1, []() -> Task<void> {
    std::atomic<int> state = 0;
    EXPECT_FALSE(co_await with_timeout(kMillisecond, nests(10, &state)));
    EXPECT_EQ(state.load(), 3);
  });
}

TEST(Scope, AGroupThatIsJoinedInACancelledScopeIsCancelledAtOnce) {
  run_on_cores(1, []() -> Task<void> {
    TaskGroup outer("outer");
    std::atomic<int> state = 0;
    const auto joins_late = [](std::atomic<int>* of) -> Task<void> {
      TaskGroup inner("inner");
      inner.spawn("child", sleeps, kLong, of);
      EXPECT_FALSE(co_await sleep_for(kLong));
      EXPECT_EQ(of->load(), 1) << "nobody joins it yet";
      co_await inner.join();
    };
    outer.spawn("joins late", joins_late, &state);
    outer.cancel();
    co_await outer.join();
    EXPECT_EQ(state.load(), 3);
  });
}

TEST(Scope, AGroupWithoutAParentIsNotCancelledWithItsJoiner) {
  run_on_cores(1, []() -> Task<void> {
    std::atomic<int> state = 0;
    const auto joins = [](std::atomic<int>* of) -> Task<void> {
      TaskGroup group("on its own", nullptr);
      group.spawn("child", sleeps, 2 * kMillisecond, of);
      co_await group.join();
    };
    EXPECT_FALSE(co_await with_timeout(kMillisecond, joins(&state)));
    EXPECT_EQ(state.load(), 2);
  });
}

TEST(Scope, AGroupIsUsableAfterAJoinAndListensToTheNextJoiner) {
  run_on_cores(1, []() -> Task<void> {
    TaskGroup group("group");
    std::atomic<int> state = 0;
    group.spawn("first", sleeps, kMillisecond, &state);
    co_await group.join();
    EXPECT_EQ(state.load(), 2);
    group.spawn("second", sleeps, kLong, &state);
    const auto joins = [](TaskGroup* of) -> Task<void> { co_await of->join(); };
    EXPECT_FALSE(co_await with_timeout(kMillisecond, joins(&group)));
    EXPECT_EQ(state.load(), 3);
  });
}

// By its name alone it would listen to nothing before the join.
TEST(Scope, AGroupThatIsMadeHereIsCancelledBeforeItIsJoined) {
  run_on_cores(1, []() -> Task<void> {
    std::atomic<int> state = 0;
    std::atomic<int> cleaning = 0;
    const auto works = [](std::atomic<int>* of, std::atomic<int>* cleans) -> Task<void> {
      TaskGroup group = co_await TaskGroup::here("group");
      group.spawn("child", sleeps, kLong, of);
      EXPECT_TRUE(co_await shield(kSecond, sleeps(2 * kMillisecond, cleans)));
      EXPECT_EQ(of->load(), 3);
      co_await group.join();
    };
    EXPECT_FALSE(co_await with_timeout(kMillisecond, works(&state, &cleaning)));
    EXPECT_EQ(cleaning.load(), 2);
  });
}

TEST(WithTimeout, InACancelledScopeIsCancelledAlsoWhenTheTaskEndsAtOnce) {
  run_on_cores(1, []() -> Task<void> {
    TaskGroup group("group");
    ErrorCode code{};
    const auto waits = [](ErrorCode* out) -> Task<void> {
      const auto slept = co_await with_timeout(kSecond, sleep_for(kMillisecond));
      *out = slept ? ErrorCode{} : slept.error().code;
    };
    group.cancel();
    group.spawn("waits", waits, &code);
    co_await group.join();
    EXPECT_EQ(code, ErrorCode::cancelled);
  });
}

Task<Result<int>> fails_in_group(std::atomic<int>* state) {
  auto body = [state](TaskGroup& group) -> Task<Result<int>> {
    group.spawn("child", sleeps, kLong, state);
    co_return fail(ErrorCode::closed);
  };
  co_return co_await in_group("group", body);
}
Task<int> throws_in_group(std::atomic<int>* state) {
  auto body = [state](TaskGroup& group) -> Task<int> {
    group.spawn("child", sleeps, kLong, state);
    throw std::string("thrown");
    co_return 1;
  };
  co_return co_await in_group("group", body);
}

TEST(InGroup, JoinsOnEveryWayOutAndCancelsOnFailure) {
  run_on_cores(1, []() -> Task<void> {
    std::atomic<int> state = 0;
    const auto failed = co_await fails_in_group(&state);
    EXPECT_EQ(failed.error().code, ErrorCode::closed);
    EXPECT_EQ(state.load(), 3);
    state = 0;
    bool threw = false;
    try {
      co_await throws_in_group(&state);
    } catch (const std::string& text) {
      threw = text == "thrown";
    }
    EXPECT_TRUE(threw);
    EXPECT_EQ(state.load(), 3);
    auto succeeds = [&state](TaskGroup& group) -> Task<void> {
      group.spawn("child", sleeps, kMillisecond, &state);
      co_return;
    };
    co_await in_group("group", succeeds);
    EXPECT_EQ(state.load(), 2);
  });
}

Task<void> looks(std::vector<bool>* seen, std::string* name) {
  *name = co_await this_task::name();
  seen->push_back(co_await this_task::cancelled());
  co_await sleep_for(kLong);
  seen->push_back(co_await this_task::cancelled());
  CancelScope& scope = co_await this_task::scope();
  seen->push_back(scope.cancelled());
}

TEST(ThisTask, KnowsItsNameAndWhetherItIsCancelled) {
  run_on_cores(1, []() -> Task<void> {
    TaskGroup group("group");
    std::vector<bool> seen;
    std::string name;
    group.spawn("looks", looks, &seen, &name);
    group.cancel();
    co_await group.join();
    EXPECT_EQ(name, "looks");
    EXPECT_EQ(seen, (std::vector<bool>{false, true, true}));
    EXPECT_FALSE(co_await this_task::cancelled());
  });
}

TEST(ThisTask, OnCancelCallsOnceAndOnlyWhileItIsRegistered) {
  run_on_cores(1, []() -> Task<void> {
    TaskGroup group("group");
    int first = 0;
    int second = 0;
    int third = 0;
    const auto registers = [](int* one, int* two, int* three) -> Task<void> {
      const auto kept = co_await this_task::on_cancel([one] { ++*one; });
      {
        const auto dropped = co_await this_task::on_cancel([two] { ++*two; });
      }
      co_await sleep_for(kLong);
      // In a scope that is cancelled already it is called at once.
      const auto late = co_await this_task::on_cancel([three] { ++*three; });
      EXPECT_EQ(*three, 1);
    };
    group.spawn("registers", registers, &first, &second, &third);
    EXPECT_EQ(first, 0);
    group.cancel();
    EXPECT_EQ(first, 1) << "before the task is resumed";
    group.cancel();
    co_await group.join();
    EXPECT_EQ(first, 1);
    EXPECT_EQ(second, 0);
    EXPECT_EQ(third, 1);
  });
}

TEST(ThisTask, AnOnCancelFunctionMayDestroyItsRegistration) {
  run_on_cores(1, []() -> Task<void> {
    const auto owned = std::make_shared<int>(5);
    CancelScope scope;
    struct Function {
      std::optional<OnCancel<Function>>* registration;
      std::shared_ptr<int> owns;
      long* owners;
      void operator()() const {
        registration->reset();
        *owners = owns.use_count();
      }
    };
    std::optional<OnCancel<Function>> registration;
    long owners = 0;
    Function function{&registration, owned, &owners};
    registration.emplace(scope, std::move(function));
    scope.cancel();
    EXPECT_FALSE(registration);
    EXPECT_EQ(owners, 2) << "what the function owns lives until it returns";
    EXPECT_EQ(owned.use_count(), 1);
    co_return;
  });
}

AsyncGenerator<bool> tells_whether_it_is_cancelled() {
  for (;;) co_yield co_await this_task::cancelled();
}

// Each next() is in a scope of its own, which is gone at the next one.
TEST(ThisTask, CancelledInAGeneratorIsOfTheCurrentNext) {
  run_on_cores(1, []() -> Task<void> {
    auto source = tells_whether_it_is_cancelled();
    const auto asks = [](AsyncGenerator<bool>* from, bool* seen) -> Task<void> {
      co_await sleep_for(kLong);
      *seen = *co_await from->next();
    };
    bool seen = false;
    EXPECT_FALSE(co_await with_timeout(kMillisecond, asks(&source, &seen)));
    EXPECT_TRUE(seen);
    const auto here = co_await source.next();
    EXPECT_EQ(here, false);
  });
}

// Bug D13 of the review. The other core's task sees its own scope cancelled, and so does what it
// spawned there.
TEST(Scope, ACancelCrossesToTheTasksThatAGroupHasOnAnotherCore) {
  std::atomic<int> state = 0;
  std::atomic<int> callbacks = 0;
  run_on_cores(2, [&]() -> Task<void> {
    auto function = [&state, &callbacks]() -> Task<void> {
      const auto told = co_await this_task::on_cancel([&callbacks] { ++callbacks; });
      TaskGroup group("over there");
      group.spawn("child", sleeps, kLong, &state);
      co_await group.join();
    };
    const auto late = co_await with_timeout(kMillisecond, submit_to(1, function));
    EXPECT_FALSE(late);
    EXPECT_EQ(late.error().code, ErrorCode::timed_out);
    while (state.load() != 3) co_await sleep_for(100 * kMicrosecond);
    EXPECT_EQ(callbacks.load(), 1);
  });
}

Task<void> cleans_up(Duration bound, Nanoseconds work, std::atomic<int>* state,
                     std::atomic<int>* ended) {
  EXPECT_FALSE(co_await sleep_for(kLong));
  const auto cleaned = co_await shield(bound, sleeps(work, state));
  *ended = cleaned ? 1 : 2;
  if (!cleaned) {
    EXPECT_EQ(cleaned.error().code, ErrorCode::timed_out);
  }
  EXPECT_TRUE(co_await this_task::cancelled());
}

TEST(Shield, KeepsACancelFromATaskUntilItsTimeIsOver) {
  run_on_cores(1, []() -> Task<void> {
    TaskGroup group("group");
    std::atomic<int> quick = 0;
    std::atomic<int> slow = 0;
    std::atomic<int> quick_ended = 0;
    std::atomic<int> slow_ended = 0;
    group.spawn("quick", cleans_up, Duration(kLong), kMillisecond, &quick, &quick_ended);
    group.spawn("slow", cleans_up, Duration(kMillisecond), kLong, &slow, &slow_ended);
    group.cancel();
    co_await group.join();
    EXPECT_EQ(quick.load(), 2);
    EXPECT_EQ(quick_ended.load(), 1);
    EXPECT_EQ(slow.load(), 3);
    EXPECT_EQ(slow_ended.load(), 2);
  });
}

TEST(StopToken, IsAskedToStopWhenItsScopeIsCancelled) {
  run_on_cores(1, []() -> Task<void> {
    TaskGroup group("group");
    std::stop_token token;
    const auto waits = [](std::stop_token* out) -> Task<void> {
      StopOnCancel stop(co_await this_task::scope());
      *out = stop.token();
      co_await sleep_for(kLong);
    };
    group.spawn("waits", waits, &token);
    EXPECT_FALSE(token.stop_requested());
    group.cancel();
    EXPECT_TRUE(token.stop_requested());
    co_await group.join();
    group.spawn("late", waits, &token);
    EXPECT_TRUE(token.stop_requested());
    co_await group.join();
  });
}

TEST(StopToken, CancelsAScopeFromItsCoreAndFromAnother) {
  run_on_cores(2, []() -> Task<void> {
    for (const CoreId core : {CoreId{0}, CoreId{1}}) {
      std::stop_source source;
      TaskGroup group("group");
      std::atomic<int> state = 0;
      group.spawn("sleeps", sleeps, kLong, &state);
      CancelOnStop cancel(group.scope(), source.get_token());
      co_await call_on(core, [&source] { source.request_stop(); });
      co_await group.join();
      EXPECT_EQ(state.load(), 3);
      CancelOnStop again(group.scope(), source.get_token());
      CancelOnStop never(group.scope(), std::stop_source().get_token());
    }
  });
}

// A request from a thread that is no core, made while this core does nothing else: it waits in the
// core's inbox when this returns.
void request_from_a_thread(std::stop_source& source) {
  std::thread([&source] { source.request_stop(); }).join();
}

TEST(StopToken, OfARequestThatComesTooLateCancelsNothing) {
  run_on_cores(1, []() -> Task<void> {
    const Inbox& inbox = Core::current().runtime().inbox(0);
    std::stop_source source;
    CancelScope scope;
    {
      CancelOnStop cancel(scope, source.get_token());
      request_from_a_thread(source);
      EXPECT_EQ(inbox.waiting(), 1u) << "it comes behind the end of the registration";
    }
    // Takes the place of the one that is gone.
    CancelScope other;
    CancelOnStop next(other, std::stop_source().get_token());
    while (inbox.waiting() != 0) co_await sleep_for(kMicrosecond);
    co_await Yield();
    EXPECT_FALSE(scope.cancelled());
    EXPECT_FALSE(other.cancelled());
  });
}

TEST(StopToken, OfARequestThatMeetsAFullInboxCancelsAllTheSame) {
  run_on_cores(1, []() -> Task<void> {
    std::stop_source source;
    TaskGroup group("group");
    std::atomic<int> state = 0;
    group.spawn("sleeps", sleeps, kLong, &state);
    CancelOnStop cancel(group.scope(), source.get_token());
    while (post(0, [] {})) {
    }
    request_from_a_thread(source);
    EXPECT_EQ(state.load(), 1) << "a turn later";
    co_await group.join();
    EXPECT_EQ(state.load(), 3);
  });
}

}  // namespace
}  // namespace corelane
