// Goal: whatever the order of messages, and whichever holders die while they compute, a missing
// value is computed by one at a time, everybody who stays gets it, and nothing hangs. Method: the
// simulation over seeds, with callers on three cores of which some are cancelled at random times.
#include <gtest/gtest.h>

#include <string>

#include "runtime/sim/world.hpp"
#include "runtime/task_group.hpp"
#include "services/framework.hpp"
#include "tests/support/prng.hpp"
#include "tests/unit/services/cache/cache_requests.hpp"

namespace corelane {
namespace {

using framework::cache;
using protocol::ErrorCode;
using runtime::CoreId;
using runtime::kMillisecond;
using runtime::Task;
using tests::key_of_core;
using tests::NodeUnderTest;

constexpr CoreId kCores = 3;
constexpr int kCallers = 8;  // of a core

// The simulation runs all cores in one thread.
struct Run {
  int running = 0;  // functions at this moment
  int most = 0;
  int finished = 0;  // functions that came to their end
  int right = 0;
  int cancelled = 0;
} run;

struct Running {
  Running() noexcept { run.most = std::max(run.most, ++run.running); }
  ~Running() { --run.running; }
};

struct Compute {
  Task<std::string> operator()() const {
    const Running running;
    const bool in_time = co_await runtime::sleep_for(7 * kMillisecond);
    if (in_time) ++run.finished;
    co_return in_time ? "value" : "cancelled";
  }
};

Task<void> ask(std::string key) {
  const auto got = co_await cache.get_or_compute(key, 0, Compute{});
  if (!got) {
    ++run.cancelled;
  } else if (got->value.text() == "value") {
    ++run.right;
  } else {
    EXPECT_EQ(got->value.text(), "cancelled");
    ++run.cancelled;
  }
}

// Every third caller is given up after a while.
Task<void> callers(std::string key, std::uint64_t seed) {
  tests::Prng random(seed);
  runtime::TaskGroup stay("stay");
  runtime::TaskGroup leave("leave");
  for (int i = 0; i < kCallers; ++i) {
    co_await runtime::sleep_for(static_cast<runtime::Nanoseconds>(random.below(3)) * kMillisecond);
    (i % 3 == 0 ? leave : stay).spawn("ask", ask, key);
  }
  co_await runtime::sleep_for(static_cast<runtime::Nanoseconds>(random.below(10)) * kMillisecond);
  leave.cancel();
  co_await leave.join();
  co_await stay.join();
}

TEST(CacheLeaseSeeds, OneAtATimeComputesAndAllWhoStayGetTheValue) {
  int with_second_holder = 0;
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE(seed);
    run = {};
    runtime::sim::World world(seed);
    tests::with_node(tests::node_cores(kCores), {}, [seed](NodeUnderTest&) -> Task<void> {
      const std::string key = key_of_core(static_cast<CoreId>(seed % kCores));
      const runtime::Nanoseconds begin = runtime::Core::current().now();
      runtime::TaskGroup group("cores");
      for (CoreId core = 0; core < kCores; ++core) {
        group.spawn(
            "core",
            [](CoreId on, std::string of, std::uint64_t with) -> Task<void> {
              auto function = [of, with] { return callers(of, with); };
              co_await runtime::submit_to(on, std::move(function));
            },
            core, key, seed* kCores + core);
      }
      co_await group.join();
      EXPECT_LT(runtime::Core::current().now() - begin, runtime::kSecond) << "a lease was kept";
      const auto there = co_await cache.get(key);
      EXPECT_EQ(there->value.text(), "value");
    });
    EXPECT_EQ(run.most, 1) << "at one time";
    EXPECT_GE(run.finished, 1);
    EXPECT_EQ(run.right + run.cancelled, kCores * kCallers);
    EXPECT_LE(run.cancelled, kCores * (kCallers + 2) / 3);
    if (run.cancelled > 0) ++with_second_holder;
  }
  EXPECT_GT(with_second_holder, 10) << "seeds in which somebody was given up";
}

}  // namespace
}  // namespace corelane
