// Goal: an address has given back what it held when all of its connections have ended, whenever
// they end. Method: visitors whose node is stopped while it still asks whether they may come in, in
// the simulation, over seeds; that nothing is counted any more is asserted when the node goes.
#include <gtest/gtest.h>

#include <array>

#include "runtime/await.hpp"
#include "runtime/sim/world.hpp"
#include "runtime/task_group.hpp"
#include "tests/support/prng.hpp"
#include "tests/unit/services/node_under_test.hpp"

namespace corelane {
namespace {

using runtime::Task;
using runtime::sim::Faults;
using runtime::sim::World;
using tests::NodeUnderTest;
using tests::Prng;
using tests::Via;

// Connects, takes whatever becomes of it, and closes.
Task<void> come_and_go(runtime::Address to) {
  runtime::Ring& ring = runtime::Core::current().ring();
  const auto socket = ring.open_socket(to.family());
  if (!socket) co_return;
  runtime::OperationAwaiter connect(
      [&](runtime::Ring& on, runtime::Token token) { on.connect(*socket, to, token); });
  const auto connected = co_await connect;
  std::array<std::byte, 16> piece{};
  runtime::OperationAwaiter receive(
      [&](runtime::Ring& on, runtime::Token token) { on.receive(*socket, piece, token); });
  if (connected) {
    [[maybe_unused]] const auto end = co_await receive;
  }
  ring.close_now(*socket);
}

// The owner of an address counts it before the connection is served; the answer may find it gone.
TEST(Admission, AnAddressIsGivenBackByConnectionsThatEndBeforeTheyAreAdmitted) {
  for (const std::uint64_t seed : runtime::sim::seeds(4000, 100)) {
    SCOPED_TRACE(seed);
    Faults faults = Faults::swarm(seed, false);
    faults.lane_reorder = 700;  // answers of the owner are late
    World world(seed, faults);
    runtime::RuntimeOptions options = tests::node_cores(3, 16);
    options.seed = seed + 1;
    services::NodeOptions node;
    node.connections_per_ip_max = 1000;
    node.network.direct_descriptors = false;  // it asks for addresses
    tests::run_on_cores(options, [seed, &node]() -> Task<void> {
      NodeUnderTest test(node);
      co_await test.start();
      runtime::TaskGroup group("visitors");
      for (int i = 0; i < 24; ++i) {
        group.spawn("visitor", come_and_go, test.address(i % 2 == 0 ? Via::tcp : Via::websocket));
      }
      Prng prng(seed);
      co_await runtime::sleep_for(static_cast<std::int64_t>(prng.below(300'000)));
      for (runtime::CoreId core = 0; core < runtime::Core::current().cores(); ++core) {
        co_await runtime::submit_to(core,
                                    [&] { return test.node().cores()->network().shutdown(); });
      }
      co_await test.drain(0);
      co_await test.stop_at_once();
      co_await group.join();
    });
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace corelane
