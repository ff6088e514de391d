// Goal: streams lose, double and reorder nothing whatever the kernel does short of breaking the
// connection, with four buffers, tiny rings and queues. Method: echo in the simulation, over seeds.
#include <gtest/gtest.h>

#include "runtime/sim/world.hpp"
#include "tests/support/echo_streams.hpp"
#include "tests/support/on_cores.hpp"
#include "tests/support/xor_records.hpp"

namespace corelane {
namespace {

using runtime::sim::Faults;
using runtime::sim::World;

std::uint64_t run(std::uint64_t seed, const tests::Wire& wire = tests::kPlainWire) {
  World world(seed, Faults::swarm(seed, false));
  net::NetworkOptions options = tests::tiny();
  if (seed % 3 == 0) options.direct_descriptors = false;
  if (seed % 2 == 0) options.queued_bytes_max = 2048;
  tests::run_on_cores(1, [&options, &wire] {
    return tests::exchange(options, tests::loopback(), 8, 5'000, 1500, &wire);
  });
  return world.trace_hash();
}

TEST(SimStream, EveryByteComesBackOnceInOrderOver200Seeds) {
  for (const std::uint64_t seed : runtime::sim::seeds(1, 200)) {
    SCOPED_TRACE(seed);
    run(seed);
    if (HasFatalFailure() || HasNonfatalFailure()) return;
  }
}

TEST(SimStream, EveryByteComesBackThroughATransformOver200Seeds) {
  for (const std::uint64_t seed : runtime::sim::seeds(1, 200)) {
    SCOPED_TRACE(seed);
    run(seed, tests::kRecordWire);
    if (HasFatalFailure() || HasNonfatalFailure()) return;
  }
}

TEST(SimStream, ASeedReplaysByteForByte) {
  for (const std::uint64_t seed : runtime::sim::seeds(1, 10)) EXPECT_EQ(run(seed), run(seed));
}

}  // namespace
}  // namespace corelane
