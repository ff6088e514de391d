// Goal: 200 subscribers of one channel, spread over both cores, and 10,000 publishes from 4
// publishers: every subscriber has all of them, once, in one order. Method: a whole node on threads
// and io_uring, with its clients in the same runtime.
#include <gtest/gtest.h>

#include "tests/support/on_cores.hpp"
#include "tests/support/publish_scenario.hpp"

namespace corelane {
namespace {

void expect_all(const tests::PublishScenario& scenario, runtime::RuntimeOptions options) {
  tests::PublishOutcome outcome;
  tests::run_on_cores(options, [&] { return tests::run_publish_scenario(scenario, outcome); });
  EXPECT_EQ(outcome.problem, "");
  EXPECT_EQ(outcome.complete, scenario.subscribers);
  EXPECT_EQ(outcome.ordered, scenario.publishes);
  EXPECT_EQ(outcome.delivered, std::uint64_t{scenario.publishes} * scenario.subscribers);
  std::uint32_t sessions = 0;
  for (runtime::CoreId core = 0; core < options.cores; ++core) {
    EXPECT_GT(outcome.sessions_a_core[core], 0u) << "no client on core " << core;
    sessions += outcome.sessions_a_core[core];
  }
  EXPECT_EQ(sessions, scenario.subscribers + scenario.publishers);
}

runtime::RuntimeOptions two_cores() {
  runtime::RuntimeOptions options;
  options.cores = 2;
  options.ring.direct_descriptors = 4096;
  options.stall_threshold = 0;
  return options;
}

TEST(Publish, TenThousandEventsReachTwoHundredSubscribersOnBothCoresInOneOrder) {
  expect_all({}, two_cores());
}

TEST(Publish, HoldsWithTinyRingsBuffersAndLanes) {
  tests::PublishScenario scenario{.subscribers = 20, .publishes = 500};
  scenario.node.network.receive_buffer_bytes = 256;
  scenario.node.network.receive_buffers = 4;
  scenario.node.network.medium_buffers = 0;
  scenario.node.network.large_buffers = 0;
  runtime::RuntimeOptions options = tests::small_options(2);
  options.ring.direct_descriptors = 256;
  expect_all(scenario, options);
}

TEST(Publish, HoldsForEventsLargerThanAReceiveBuffer) {
  expect_all({.subscribers = 20, .publishes = 200, .window = 4, .data_bytes = 30'000}, two_cores());
}

}  // namespace
}  // namespace corelane
