// Goal: what a channel promises holds whatever the network, the kernel and the order of the cores
// do: every event once, in one order, no gap that is not a broken connection. Method: whole nodes
// of two and three cores with their clients in the simulation, over seeds; a seed replays byte for
// byte.
#include <gtest/gtest.h>

#include "runtime/sim/world.hpp"
#include "tests/support/on_cores.hpp"
#include "tests/support/publish_scenario.hpp"

namespace corelane {
namespace {

using runtime::sim::Faults;
using runtime::sim::World;

struct Result {
  tests::PublishOutcome outcome;
  std::uint64_t trace_hash = 0;
};

Result run(std::uint64_t seed, bool breaking, runtime::CoreId cores, std::uint32_t publishes) {
  tests::PublishScenario scenario{.subscribers = 12, .publishers = 3, .publishes = publishes};
  scenario.breaking = breaking;
  scenario.node.network.receive_buffer_bytes = 512;
  scenario.node.network.receive_buffers = 8;
  scenario.node.network.medium_buffer_bytes = 1024;
  scenario.node.network.medium_buffers = 2;
  scenario.node.network.large_buffer_bytes = 4096;
  scenario.node.network.large_buffers = 2;
  runtime::RuntimeOptions options = tests::small_options(cores);
  options.ring.direct_descriptors = 256;
  options.seed = seed + 1;
  Result result;
  World world(seed, Faults::swarm(seed, breaking));
  tests::run_on_cores(options,
                      [&] { return tests::run_publish_scenario(scenario, result.outcome); });
  result.trace_hash = world.trace_hash();
  return result;
}

TEST(SimPublish, EverySubscriberHasAllEventsOnceInOneOrderOver200Seeds) {
  for (const std::uint64_t seed : runtime::sim::seeds(1, 200)) {
    SCOPED_TRACE(seed);
    const Result result = run(seed, false, static_cast<runtime::CoreId>(2 + seed % 2), 120);
    ASSERT_EQ(result.outcome.problem, "");
    ASSERT_EQ(result.outcome.complete, 12u);
    ASSERT_EQ(result.outcome.delivered, 12u * 120u);
  }
}

TEST(SimPublish, BrokenConnectionsCostOnlyThemselvesOver200Seeds) {
  std::uint64_t broken = 0;
  std::uint64_t complete = 0;
  const auto seeds = runtime::sim::seeds(1, 200);
  for (const std::uint64_t seed : seeds) {
    SCOPED_TRACE(seed);
    const Result result = run(seed + 1'000'000, true, 2, 120);
    ASSERT_EQ(result.outcome.problem, "");
    broken += result.outcome.broken;
    complete += result.outcome.complete;
  }
  if (seeds.size() > 100) {
    EXPECT_GT(broken, 0u) << "no seed broke a connection: the test tests nothing";
    EXPECT_GT(complete, 0u);
  }
}

TEST(SimPublish, ASeedReplaysByteForByte) {
  for (const std::uint64_t seed : {std::uint64_t{3}, std::uint64_t{17}}) {
    EXPECT_EQ(run(seed, true, 2, 60).trace_hash, run(seed, true, 2, 60).trace_hash);
  }
  EXPECT_NE(run(3, true, 2, 60).trace_hash, run(4, true, 2, 60).trace_hash);
}

}  // namespace
}  // namespace corelane
