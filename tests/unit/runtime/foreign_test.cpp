// Goal: a thread that is no core gets what the cores send in batches and in order, answers reach
// the core that asked, nothing is lost where lanes are full, and a thread that does not answer
// holds nobody beyond a deadline; functions that block, and functions posted from outside, run
// where they should. Method: the same program over io_uring and in the simulation; there also over
// seeds.
#include "runtime/foreign.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "runtime/await.hpp"
#include "runtime/blocking.hpp"
#include "runtime/combine.hpp"
#include "runtime/post.hpp"
#include "runtime/submit.hpp"
#include "runtime/task_group.hpp"
#include "tests/support/on_cores.hpp"
#include "tests/support/throws_when_moved.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::run_on_cores;

struct Square {
  ReplyName answer_to;
  std::int64_t value;
};

// Answers with squares, of which it knows that those of one core come in order.
class Squares {
 public:
  using Request = Square;
  void handle(std::span<const Incoming<Square>> batch, ForeignAnswers& answers) {
    EXPECT_EQ(Core::current_or_null(), nullptr);
    ++batches;
    largest = std::max(largest, batch.size());
    for (const auto& [from, request] : batch) {
      EXPECT_LT(last[from], request.value);
      last[from] = request.value;
      if (request.value % 7 == 0) {
        answers.give(request.answer_to,
                     std::make_unique<std::int64_t>(request.value * request.value));
      } else {
        answers.give<std::int64_t>(request.answer_to, request.value * request.value);
      }
    }
  }
  std::array<std::int64_t, 4> last{-1, -1, -1, -1};
  std::size_t largest = 0;
  std::uint64_t batches = 0;
};

Task<void> ask_for_squares(Foreign<Squares>* squares, std::int64_t first, std::int64_t step,
                           std::int64_t count, std::int64_t* right) {
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t value = first + i * step;
    const auto make = [value](ReplyName to) { return Square{to, value}; };
    if (value % 7 == 0) {
      const auto boxed = co_await squares->ask<std::unique_ptr<std::int64_t>>(make);
      if (boxed && **boxed == value * value) ++*right;
    } else {
      const auto plain = co_await squares->ask<std::int64_t>(make);
      if (plain && *plain == value * value) ++*right;
    }
  }
}

void answer_in_order_from_all_cores() {
  Squares handler;
  run_on_cores(3, [&handler]() -> Task<void> {
    Foreign<Squares> squares("squares", handler);
    const auto started = co_await squares.start();
    EXPECT_TRUE(started);
    TaskGroup group("cores");
    std::array<std::int64_t, 3> right{};
    for (CoreId core = 0; core < 3; ++core) {
      group.spawn(
          "core",
          [](Foreign<Squares>* of, CoreId on, std::int64_t* count) -> Task<void> {
            *count = co_await call_on(on, [of]() -> Task<std::int64_t> {
              std::int64_t answers = 0;
              co_await ask_for_squares(of, 0, 1, 200, &answers);
              co_return answers;
            });
          },
          &squares, core, &right[core]);
    }
    co_await group.join();
    for (const std::int64_t count : right) EXPECT_EQ(count, 200);
    co_await squares.stop();
  });
}

TEST(Foreign, AnswersEachCoreInOrder) {
  answer_in_order_from_all_cores();
}

// --- Backpressure

struct Number {
  std::uint64_t value;
};
std::atomic<std::uint64_t> numbers_back{0};
struct NumberBack {
  std::uint64_t value;
  void deliver(CoreId) const { EXPECT_EQ(numbers_back.fetch_add(1), value); }
};
class Echo {
 public:
  using Request = Number;
  void handle(std::span<const Incoming<Number>> batch, ForeignAnswers& answers) {
    for (const auto& [from, number] : batch) answers.send(from, NumberBack{number.value});
  }
};

TEST(Foreign, AFullLaneIsBackpressureAndLosesNothingEitherWay) {
  Echo handler;
  numbers_back = 0;
  run_on_cores(1, [&handler]() -> Task<void> {
    Foreign<Echo> echo("echo", handler);
    const auto started = co_await echo.start();
    EXPECT_TRUE(started);
    constexpr std::uint64_t kCount = 20'000;  // lanes have 16 slots
    for (std::uint64_t i = 0; i < kCount; ++i) echo.send({i});
    co_await Yield();
    EXPECT_TRUE(Core::current().lanes().congested());
    while (numbers_back.load() != kCount) co_await sleep_for(100 * kMicrosecond);
    co_await Yield();
    EXPECT_FALSE(Core::current().lanes().congested());
    EXPECT_FALSE(Core::current().lanes().backlogged());
    co_await echo.stop();
  });
}

TEST(Foreign, WhatWasSentBeforeStopIsHandled) {
  Echo handler;
  numbers_back = 0;
  run_on_cores(2, [&handler]() -> Task<void> {
    for (int round = 0; round < 3; ++round) {  // started again after each
      numbers_back = 0;
      Foreign<Echo> echo("echo", handler);
      const auto started = co_await echo.start();
      EXPECT_TRUE(started);
      for (std::uint64_t i = 0; i < 1000; ++i) echo.send({i});
      co_await echo.stop();
      EXPECT_EQ(numbers_back.load(), 1000u);
    }
  });
}

TEST(Foreign, NoMoreThreadsThanConfigured) {
  RuntimeOptions options = tests::small_options(2);
  options.threads_max = 1;
  Echo handler;
  run_on_cores(options, [&handler]() -> Task<void> {
    Foreign<Echo> one("one", handler);
    Foreign<Echo> other("other", handler);
    const auto first = co_await one.start();
    EXPECT_TRUE(first);
    const auto second = co_await other.start();
    EXPECT_FALSE(second);
    EXPECT_EQ(second.error(), (Error{ErrorCode::limit_exceeded, 1}));
    co_await one.stop();
    const auto third = co_await other.start();
    EXPECT_TRUE(third);
    co_await other.stop();
  });
}

// --- Deadlines

// Keeps its requests and answers them when it is told to.
struct Keep {
  ReplyName answer_to;
  bool answer_all;
};
class Keeper {
 public:
  using Request = Keep;
  void handle(std::span<const Incoming<Keep>> batch, ForeignAnswers& answers) {
    for (const auto& [from, request] : batch) {
      if (request.answer_all) {
        for (const ReplyName& name : kept_) answers.give<int>(name, 1);
        kept_.clear();
        answers.give<int>(request.answer_to, 2);
      } else {
        kept_.push_back(request.answer_to);
      }
    }
  }

 private:
  std::vector<ReplyName> kept_;
};

Task<Result<int>> ask_keeper(Foreign<Keeper>* keeper, bool answer_all) {
  const auto make = [answer_all](ReplyName to) { return Keep{to, answer_all}; };
  co_return co_await keeper->ask<int>(make);
}

void give_up_one_that_does_not_answer() {
  Keeper handler;
  run_on_cores(1, [&handler]() -> Task<void> {
    Foreign<Keeper> keeper("keeper", handler);
    const auto started = co_await keeper.start();
    EXPECT_TRUE(started);
    const Nanoseconds before = Core::current().now();
    const auto late = co_await with_timeout(kMillisecond, ask_keeper(&keeper, false));
    EXPECT_FALSE(late);
    EXPECT_EQ(late.error().code, ErrorCode::timed_out);
    EXPECT_GE(Core::current().now(), before + kMillisecond);
    EXPECT_EQ(Core::current().replies_awaited(), 0u);
    // Its late answer is dropped, and the next wait, in the same slot, is not taken for it.
    const auto answer = co_await ask_keeper(&keeper, true);
    EXPECT_TRUE(answer);
    EXPECT_EQ(*answer, 2);
    co_await keeper.stop();
  });
}

TEST(Foreign, OneThatDoesNotAnswerIsGivenUpAtTheDeadline) {
  give_up_one_that_does_not_answer();
}

class Clumsy {
 public:
  using Request = Square;
  void handle(std::span<const Incoming<Square>> batch, ForeignAnswers& answers) {
    for (const auto& [from, request] : batch) {
      if (request.value < 0) throw std::runtime_error("negative");
      answers.give<std::int64_t>(request.answer_to, request.value);
    }
  }
};

Task<Result<std::int64_t>> ask_clumsy(Foreign<Clumsy>* clumsy) {
  const auto make = [](ReplyName to) { return Square{to, 4}; };
  co_return co_await clumsy->ask<std::int64_t>(make);
}

TEST(Foreign, AnExceptionOfTheHandlerIsLoggedAndTheThreadGoesOn) {
  Clumsy handler;
  ::testing::internal::CaptureStderr();
  run_on_cores(1, [&handler]() -> Task<void> {
    Foreign<Clumsy> clumsy("clumsy", handler);
    const auto started = co_await clumsy.start();
    EXPECT_TRUE(started);
    clumsy.send({{}, -1});
    // One that came in the same batch is not answered.
    Nanoseconds patience = 10 * kMillisecond;
    for (bool answered = false; !answered; patience *= 2) {
      const auto answer = co_await with_timeout(patience, ask_clumsy(&clumsy));
      answered = answer && *answer == 4;
    }
    co_await clumsy.stop();
  });
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(log.find("clumsy ended with an exception: negative"), std::string::npos) << log;
}

// --- blocking

Task<std::string> blocking_text(bool throws) {
  try {
    co_return co_await blocking([throws] {
      EXPECT_EQ(Core::current_or_null(), nullptr);
      if (throws) throw std::runtime_error("thrown there");
      return std::string("returned there");
    });
  } catch (const std::exception& error) {
    co_return std::string(error.what());
  }
}

void run_blocking_calls() {
  run_on_cores(2, []() -> Task<void> {
    EXPECT_EQ(co_await blocking_text(false), "returned there");
    EXPECT_EQ(co_await blocking_text(true), "thrown there");
    co_await blocking([] {});
    const CoreId on = co_await call_on(1, []() -> Task<CoreId> {
      co_await blocking([] {});
      co_return Core::current().id();
    });
    EXPECT_EQ(on, 1);
    // More than there may be at once: each core's further ones wait.
    TaskGroup group("many");
    int sum = 0;
    for (int i = 0; i < 3000; ++i) {
      group.spawn(
          "one",
          [](int value, int* to) -> Task<void> {
            *to += co_await blocking([value] { return value; });
          },
          i, &sum);
    }
    co_await group.join();
    EXPECT_EQ(sum, 2999 * 3000 / 2);
  });
}

TEST(Blocking, ResultsAndExceptionsComeBackToTheCoreThatAsked) {
  run_blocking_calls();
}

TEST(Blocking, AWaitThatIsGivenUpEndsAndTheFunctionOwnsWhatItUses) {
  auto owned = std::make_shared<int>(3);
  const std::weak_ptr<int> living = owned;
  run_on_cores(1, [&]() -> Task<void> {
    TaskGroup group("group");
    group.cancel();
    group.spawn(
        "late",
        [](std::shared_ptr<int> value) -> Task<void> {
          co_await blocking([value] { return *value; });
        },
        owned);
    co_await group.join();
    auto function = [value = std::move(owned)] { return *value; };
    const auto result = co_await with_timeout(Nanoseconds{0}, blocking(std::move(function)));
    EXPECT_TRUE(result || result.error().code == ErrorCode::timed_out);
    while (!living.expired()) co_await sleep_for(100 * kMicrosecond);
  });
}

TEST(Blocking, AFunctionThatCannotBeMovedThrowsAndKeepsNoPlaceInTheQueue) {
  RuntimeOptions options = tests::small_options(1);
  options.blocking_queue_max = 1;
  run_on_cores(options, []() -> Task<void> {
    int failures = 0;
    for (bool is_done = false; !is_done; ++failures) {
      tests::ThrowsWhenMoved function(failures);
      try {
        EXPECT_EQ(co_await blocking(std::move(function)), 5);
        is_done = true;
      } catch (const tests::ThrowsWhenMoved::Failure&) {
      }
    }
    EXPECT_GT(failures, 2);
  });
}

// --- post

TEST(Post, RunsInOrderOnTheCoreThatIsNamed) {
  std::vector<int> order;
  run_on_cores(2, [&order]() -> Task<void> {
    for (int i = 0; i < 100; ++i) {
      EXPECT_TRUE(post(1, [i, &order] {
        EXPECT_EQ(Core::current().id(), 1);
        order.push_back(i);
      }));
    }
    post(1, [] { throw std::runtime_error("posted"); });
    while (co_await call_on(1, [&order] { return order.size(); }) != 100) {
      co_await sleep_for(10 * kMicrosecond);
    }
    while (co_await call_on(1, [] { return Core::current().counters().exceptions; }) != 1) {
      co_await sleep_for(10 * kMicrosecond);
    }
  });
  for (int i = 0; i < 100; ++i) EXPECT_EQ(order[static_cast<std::size_t>(i)], i);
}

TEST(Post, BeforeTheCoresAreThereIsKeptAndAfterTheyHaveEndedIsRefused) {
  Runtime runtime(tests::small_options(2));
  int ran = 0;
  EXPECT_TRUE(post(runtime, 0, [&ran] { ++ran; }));
  const auto code = runtime.run([&ran]() -> Task<int> {
    while (ran == 0) co_await sleep_for(10 * kMicrosecond);
    co_return 0;
  });
  ASSERT_TRUE(code);
  EXPECT_EQ(ran, 1);
  EXPECT_FALSE(post(runtime, 0, [&ran] { ++ran; }));
  EXPECT_FALSE(post(runtime, 1, [&ran] { ++ran; }));
  EXPECT_EQ(ran, 1);
}

TEST(Post, IsTheWayInForBlockingFunctions) {
  int ran = 0;
  run_on_cores(1, [&ran]() -> Task<void> {
    co_await blocking([&ran] { EXPECT_TRUE(post(0, [&ran] { ++ran; })); });
    while (ran == 0) co_await sleep_for(10 * kMicrosecond);
  });
  EXPECT_EQ(ran, 1);
}

}  // namespace
}  // namespace corelane
