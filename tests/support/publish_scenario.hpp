#pragma once
// The main job as a test: subscribers on one channel, spread over all cores, and publishers, all
// over WebSocket against a services::Node in the same runtime. Every subscriber must have every
// event once, in one order. Runs over either ring: with threads and io_uring, or in the simulation.

#include <cstdint>
#include <string>

#include "runtime/task.hpp"
#include "services/node/node.hpp"

namespace corelane::tests {

struct PublishScenario {
  std::uint32_t subscribers = 200;
  std::uint32_t publishers = 4;
  std::uint32_t publishes = 10'000;  // of all publishers together
  std::uint32_t window = 16;         // publishes a publisher has not got an Ack for
  std::uint32_t data_bytes = 40;     // at least 16
  // Connections may break: then a subscriber must have an unbroken part from its beginning, and a
  // publish without an Ack may be missing.
  bool breaking = false;
  services::NodeOptions node{};
};

struct PublishOutcome {
  std::string problem;          // empty: everything held
  std::uint32_t complete = 0;   // subscribers that have all events
  std::uint32_t broken = 0;     // subscribers whose connection ended early
  std::uint64_t ordered = 0;    // events that the channel's owner stamped
  std::uint64_t delivered = 0;  // to all subscribers
  std::uint64_t acked = 0;      // publishes
  std::uint32_t sessions_a_core[runtime::kCoresMax] = {};  // subscribers and publishers
};

// On core 0 of a runtime, inside its main task.
runtime::Task<void> run_publish_scenario(const PublishScenario& scenario, PublishOutcome& outcome);

}  // namespace corelane::tests
