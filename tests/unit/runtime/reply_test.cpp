// Goal: an answer reaches the coroutine that asked for it, once, from any core and at any time; a
// wait that was given up ends at once, and its late answer reaches nobody. Method: scripted
// coroutines in the simulation; names of waits that are over.
#include "runtime/reply.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <stdexcept>

#include "runtime/await.hpp"
#include "runtime/combine.hpp"
#include "runtime/task_group.hpp"
#include "tests/support/on_cores.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::run_on_cores;

struct AnswerMessage {
  ReplyName to;
  int value;
  void deliver(CoreId) const { EXPECT_TRUE(give<int>(to, value)); }
};

struct AskMessage {
  ReplyName answer_to;
  int value;
  void deliver(CoreId from) const {
    Core::current().lanes().send(from, AnswerMessage{answer_to, 2 * value});
  }
};

TEST(Reply, AnAnswerOfAnotherCoreReachesTheAsker) {
  run_on_cores(2, []() -> Task<void> {
    for (int i = 0; i < 100; ++i) {
      const auto answer = co_await ask<int>(
          [i](ReplyName to) { Core::current().lanes().send(1, AskMessage{to, i}); });
      EXPECT_TRUE(answer);
      EXPECT_EQ(*answer, 2 * i);
    }
    EXPECT_EQ(Core::current().replies_awaited(), 0u);
  });
}

TEST(Reply, AnAnswerMayComeWhileItIsAskedFor) {
  run_on_cores(1, []() -> Task<void> {
    auto answer = co_await ask<std::unique_ptr<int>>(
        [](ReplyName to) { EXPECT_TRUE(give(to, std::make_unique<int>(7))); });
    EXPECT_TRUE(answer);
    EXPECT_EQ(**answer, 7);
  });
}

TEST(Reply, AWaitThatIsGivenUpEndsAtItsDeadlineAndItsLateAnswerReachesNobody) {
  run_on_cores(1, []() -> Task<void> {
    ReplyName late;
    const auto wait = [](ReplyName* name) -> Task<Result<int>> {
      co_return co_await ask<int>([name](ReplyName to) { *name = to; });
    };
    const Nanoseconds before = Core::current().now();
    const auto answer = co_await with_timeout(kMillisecond, wait(&late));
    EXPECT_FALSE(answer);
    EXPECT_EQ(answer.error().code, ErrorCode::timed_out);
    EXPECT_GE(Core::current().now(), before + kMillisecond);
    EXPECT_FALSE(give<int>(late, 1));
    // The next wait has the slot; the old name does not fit it.
    ReplyName next;
    TaskGroup group("test");
    std::optional<Result<int>> second;
    group.spawn(
        "second",
        [](ReplyName* name, std::optional<Result<int>>* result) -> Task<void> {
          result->emplace(co_await ask<int>([name](ReplyName to) { *name = to; }));
        },
        &next, &second);
    EXPECT_EQ(next.slot, late.slot);
    EXPECT_FALSE(give<int>(late, 1));
    EXPECT_TRUE(give<int>(next, 2));
    EXPECT_FALSE(give<int>(next, 3));
    co_await group.join();
    EXPECT_EQ(**second, 2);
  });
}

TEST(Reply, NothingIsAskedInAScopeThatIsCancelled) {
  run_on_cores(1, []() -> Task<void> {
    TaskGroup group("test");
    group.cancel();
    bool asked = false;
    group.spawn(
        "asks",
        [](bool* called) -> Task<void> {
          const auto answer = co_await ask<int>([called](ReplyName) { *called = true; });
          EXPECT_EQ(answer.error().code, ErrorCode::cancelled);
        },
        &asked);
    co_await group.join();
    EXPECT_FALSE(asked);
  });
}

TEST(Reply, AnExceptionWhileItIsAskedForEndsTheWait) {
  run_on_cores(1, []() -> Task<void> {
    ReplyName asked;
    bool threw = false;
    const auto fails = [&asked](ReplyName to) {
      asked = to;
      throw std::runtime_error("not asked");
    };
    try {
      static_cast<void>(co_await ask<int>(fails));
    } catch (const std::runtime_error&) {
      threw = true;
    }
    EXPECT_TRUE(threw);
    EXPECT_EQ(Core::current().replies_awaited(), 0u);
    EXPECT_FALSE(give<int>(asked, 1));
    // The answer has come already, so it counts, and the exception is reported.
    const auto answers = [](ReplyName to) {
      give<int>(to, 2);
      throw std::runtime_error("answered");
    };
    const auto answered = co_await ask<int>(answers);
    EXPECT_TRUE(answered && *answered == 2);
    EXPECT_EQ(Core::current().counters().exceptions, 1u);
  });
}

}  // namespace
}  // namespace corelane
