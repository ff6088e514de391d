// Goal: waits that are given up end at their deadlines, and leave nothing behind, whatever the
// order of lanes, turns and steps of threads that are no cores. Method: seeds; in each the same
// requests with deadlines drawn at random, some of which the other side does not keep.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "runtime/await.hpp"
#include "runtime/blocking.hpp"
#include "runtime/combine.hpp"
#include "runtime/foreign.hpp"
#include "runtime/sim/world.hpp"
#include "runtime/submit.hpp"
#include "runtime/task_group.hpp"
#include "tests/support/on_cores.hpp"

namespace corelane {
namespace {

using namespace runtime;

// They take 0.3 ms each; CORELANE_SEEDS runs more.
constexpr std::size_t kSeeds = 500;
constexpr int kRequests = 40;
// How much later than its deadline a wait may end: the turns and pauses of the core itself.
constexpr Nanoseconds kSlack = 100 * kMillisecond;

struct Counts {
  int kept = 0;
  int timed_out = 0;
  int late = 0;  // ended long after the deadline
  int wrong = 0;
  std::uint64_t hash = 0;
};

Nanoseconds random_span() {
  return static_cast<Nanoseconds>(Core::current().random().below(3000)) * kMicrosecond;
}

void note(Counts& counts, const Result<int>& result, int expected, Nanoseconds begin,
          Nanoseconds deadline) {
  const Nanoseconds took = Core::current().now() - begin;
  if (took > deadline + kSlack) ++counts.late;
  if (result) {
    ++counts.kept;
    if (*result != expected) ++counts.wrong;
  } else {
    ++counts.timed_out;
    if (result.error().code != ErrorCode::timed_out || took < deadline) ++counts.wrong;
  }
}

// --- A core that does not answer: a task over there that sleeps, up to for ever.
Task<void> ask_core(CoreId core, int index, Counts* counts) {
  const Nanoseconds deadline = random_span();
  const Nanoseconds busy = index % 4 == 0 ? 3600 * kSecond : random_span();
  auto function = [busy, owned = std::make_unique<int>(index)]() -> Task<int> {
    const int value = *owned;
    co_await sleep_for(busy);
    co_return value;
  };
  const Nanoseconds begin = Core::current().now();
  const auto result = co_await with_timeout(deadline, submit_to(core, std::move(function)));
  note(*counts, result, index, begin, deadline);
}

Task<void> ask_cores(Counts* counts) {
  TaskGroup group("asks");
  for (int i = 0; i < kRequests; ++i) {
    group.spawn("ask", ask_core, static_cast<CoreId>(i % 3), i, counts);
  }
  co_await group.join();
}

template <class Body>
Counts run_seed(std::uint64_t seed, Body body) {
  Counts counts;
  sim::World world(seed, sim::Faults::swarm(seed, false));
  RuntimeOptions options = tests::small_options(3);
  options.blocking_queue_max = 6;
  Runtime runtime(options);
  const auto code = runtime.run([&]() -> Task<int> {
    co_await body(&counts);
    co_return 0;
  });
  EXPECT_TRUE(code);
  counts.hash = world.trace_hash();
  return counts;
}

template <class Body>
void run_seeds(Body body, const char* what) {
  Counts all;
  for (const std::uint64_t seed : sim::seeds(1, kSeeds)) {
    const Counts counts = run_seed(seed, body);
    EXPECT_EQ(counts.late, 0) << "seed " << seed;
    EXPECT_EQ(counts.wrong, 0) << "seed " << seed;
    EXPECT_EQ(counts.kept + counts.timed_out, kRequests) << "seed " << seed;
    if (seed % 10 == 1) {
      EXPECT_EQ(run_seed(seed, body).hash, counts.hash) << "seed " << seed;
    }
    all.kept += counts.kept;
    all.timed_out += counts.timed_out;
  }
  fmt::print("{}: {} kept, {} given up\n", what, all.kept, all.timed_out);
}

TEST(SimulatedThreads, ACoreThatDoesNotAnswerIsGivenUpAtTheDeadline) {
  run_seeds(ask_cores, "cores");
}

// --- A thread that does not answer: it drops some requests, and answers others late.
struct Question {
  ReplyName answer_to;
  int value;
};
class Moody {
 public:
  using Request = Question;
  void handle(std::span<const Incoming<Question>> batch, ForeignAnswers& answers) {
    for (const ReplyName& name : late_) answers.give<int>(name, -1);
    late_.clear();
    for (const auto& [from, question] : batch) {
      if (question.value % 4 == 0) continue;
      if (question.value % 4 == 1) late_.push_back(question.answer_to);
      if (question.value % 4 != 1) answers.give<int>(question.answer_to, question.value);
    }
  }

 private:
  std::vector<ReplyName> late_;
};

Task<Result<int>> ask_moody(Foreign<Moody>* moody, int value) {
  const auto make = [value](ReplyName to) { return Question{to, value}; };
  auto answer = co_await moody->ask<int>(make);
  // Late ones answer -1.
  if (answer && *answer == -1 && value % 4 == 1) co_return value;
  co_return answer;
}

Task<void> ask_thread(Foreign<Moody>* moody, int index, Counts* counts) {
  const Nanoseconds deadline = random_span();
  const Nanoseconds begin = Core::current().now();
  const auto result = co_await with_timeout(deadline, ask_moody(moody, index));
  note(*counts, result, index, begin, deadline);
}

Task<void> ask_threads(Counts* counts) {
  Moody handler;
  Foreign<Moody> moody("moody", handler);
  const auto started = co_await moody.start();
  EXPECT_TRUE(started);
  TaskGroup group("asks");
  for (int i = 0; i < kRequests; ++i) {
    group.spawn("ask", ask_thread, &moody, i, counts);
    co_await sleep_for(random_span() / 10);
  }
  co_await group.join();
  EXPECT_EQ(Core::current().replies_awaited(), 0u);
  co_await moody.stop();
}

TEST(SimulatedThreads, AThreadThatDoesNotAnswerIsGivenUpAtTheDeadline) {
  run_seeds(ask_threads, "threads");
}

Task<void> block(int index, Counts* counts) {
  const Nanoseconds deadline = random_span() / 30;
  const Nanoseconds begin = Core::current().now();
  auto function = [owned = std::make_unique<int>(index)] { return *owned; };
  const auto result = co_await with_timeout(deadline, blocking(std::move(function)));
  note(*counts, result, index, begin, deadline);
}

Task<void> block_often(Counts* counts) {
  TaskGroup group("blocks");
  for (int i = 0; i < kRequests; ++i) group.spawn("block", block, i, counts);
  co_await group.join();
}

TEST(SimulatedThreads, ABlockingCallIsGivenUpAtTheDeadline) {
  run_seeds(block_often, "blocking");
}

// --- Lanes to cores that have ended

struct Flood {
  CoreId to;
  void deliver(CoreId) const {
    struct Drop {
      void deliver(CoreId) const {}
    };
    for (int i = 0; i < 5000; ++i) Core::current().lanes().send(to, Drop{});
  }
};

// Bug 10 of the review: main ends while core 1 has more for core 2 than the lane holds, and core 2
// has left its loop.
TEST(SimulatedThreads, AFullLaneToACoreThatHasEndedDoesNotHoldTheExit) {
  for (const std::uint64_t seed : sim::seeds(1, 60)) {
    sim::Checks checks;
    checks.turns_max = 200'000;
    sim::World world(seed, sim::Faults::swarm(seed, false), checks);
    Runtime runtime(tests::small_options(3));
    const auto code = runtime.run([]() -> Task<int> {
      Core::current().lanes().send(1, Flood{.to = 2});
      co_return 0;
    });
    EXPECT_TRUE(code) << "seed " << seed;
  }
}

}  // namespace
}  // namespace corelane
