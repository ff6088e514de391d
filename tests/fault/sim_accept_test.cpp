// Goal: every connection is served, at once or when there is room, at every limit of descriptors
// and streams. Method: more visitors than there is room for, in the simulation, whose kernel loses
// a connection that it has accepted without a slot for it, over seeds.
#include <gtest/gtest.h>

#include <span>
#include <string>
#include <vector>

#include "runtime/await.hpp"
#include "runtime/sim/world.hpp"
#include "runtime/task_group.hpp"
#include "tests/support/echo_streams.hpp"
#include "tests/support/on_cores.hpp"
#include "tests/support/raw_socket.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::close_raw;
using tests::connect_raw;
using tests::EchoClient;
using tests::EchoServer;
using tests::loopback;
using tests::receive_raw;
using tests::run_on_cores;
using tests::send_raw;
using tests::tiny;

// One byte there and back, and the connection is held for a while.
struct Visitor {
  bool served = false;
  static Task<void> visit(Visitor* self, Address address) {
    const Descriptor socket = co_await connect_raw(address);
    const bool sent = co_await send_raw(socket, "x");
    const std::string received = co_await receive_raw(socket);
    self->served = sent && received == "x";
    co_await sleep_for(kMillisecond);
    close_raw(socket);
  }
};

// All at once, to one listener after the other; until all have been there.
Task<void> visit_all(std::vector<Visitor>& visitors, std::span<const Address> addresses) {
  TaskGroup group("visitors");
  for (std::size_t i = 0; i < visitors.size(); ++i) {
    group.spawn("visitor", Visitor::visit, &visitors[i], addresses[i % addresses.size()]);
  }
  co_await group.join();
}

struct Limits {
  std::uint32_t streams_max = 1'000'000;
  std::uint32_t direct_descriptors = 0;  // 0: plain ones
  std::size_t listeners = 1;
};

// More visitors than there is room for: all are served, and never more at once than that.
void serve_visitors(const Limits& limits, std::size_t count) {
  RuntimeOptions runtime_options = tests::small_options(1);
  runtime_options.ring.direct_descriptors = limits.direct_descriptors;
  run_on_cores(runtime_options, [&limits, count]() -> Task<void> {
    net::NetworkOptions options = tiny();
    options.streams_max = limits.streams_max;
    net::Network network(options);
    std::vector<Address> addresses;
    for (std::size_t i = 0; i < limits.listeners; ++i) {
      const auto listener = network.listen(loopback(), {}, EchoServer::accept, nullptr);
      addresses.push_back(*network.address_of(*listener));
    }
    std::vector<Visitor> visitors(count);
    const Nanoseconds begin = Core::current().now();
    co_await visit_all(visitors, addresses);
    for (const Visitor& visitor : visitors) EXPECT_TRUE(visitor.served);
    EXPECT_EQ(network.counters().accepted, count);
    EXPECT_EQ(network.counters().refused, 0u);
    // Each visitor stays for some milliseconds; no visitor waits for a timer to find a free place.
    EXPECT_LT(Core::current().now() - begin, static_cast<Nanoseconds>(count) * 60 * kMillisecond);
    co_await network.shutdown();
  });
}

// At the limit of direct descriptors the kernel once reset a few of those that waited.
TEST(SimAccept, AConnectionAtTheLimitOfDirectDescriptorsOrStreamsWaitsAndIsServed) {
  for (const std::uint64_t seed : sim::seeds(1, 30)) {
    for (const std::uint32_t most : {1u, 3u, 20u, 40u, 100u}) {
      for (const std::size_t listeners : {std::size_t{1}, std::size_t{3}}) {
        if (most < listeners) continue;
        for (const bool of_streams : {false, true}) {
          SCOPED_TRACE(testing::Message() << seed << ", " << most << " places, " << listeners
                                          << " listeners" << (of_streams ? ", streams" : ""));
          sim::World world(seed, seed == 1 ? sim::Faults::none() : sim::Faults::swarm(seed, false));
          Limits limits{.direct_descriptors = of_streams ? 1024 : most, .listeners = listeners};
          if (of_streams) limits.streams_max = most;
          serve_visitors(limits, 120);
          if (HasFailure()) return;
        }
      }
    }
  }
}

TEST(SimAccept, AConnectionAtTheLimitOfTheProcessWaitsAndIsServed) {
  for (const std::uint64_t seed : sim::seeds(1, 30)) {
    SCOPED_TRACE(seed);
    sim::Faults faults = seed == 1 ? sim::Faults::none() : sim::Faults::swarm(seed, false);
    faults.descriptors_max = 66;  // the visitors' own, the listeners' and three more
    sim::World world(seed, faults);
    serve_visitors({.listeners = 3}, 60);
    if (HasFailure()) return;
  }
}

TEST(SimAccept, ReachesItsLimitOfStreamsExactly) {
  for (const std::uint32_t streams_max : {1u, 2u, 3u, 4u, 30u, 1000u}) {
    SCOPED_TRACE(streams_max);
    sim::World world(1);
    RuntimeOptions runtime_options = tests::small_options(1);
    runtime_options.ring.direct_descriptors = streams_max;
    run_on_cores(runtime_options, [streams_max]() -> Task<void> {
      net::NetworkOptions options = tiny();
      options.streams_max = streams_max;
      net::Network network(options);
      const auto listener = network.listen(loopback(), {}, EchoServer::accept, nullptr);
      const Address address = *network.address_of(*listener);
      std::vector<Descriptor> sockets;
      for (std::uint32_t i = 0; i < streams_max + 3; ++i) {
        sockets.push_back(co_await connect_raw(address));
      }
      co_await sleep_for(kSecond);
      EXPECT_EQ(network.stream_count(), streams_max);
      EXPECT_EQ(network.counters().accepted, streams_max);
      EXPECT_EQ(network.counters().accept_pauses, 1u);
      for (const Descriptor socket : sockets) close_raw(socket);
      while (network.counters().accepted < streams_max + 3) co_await sleep_for(kMillisecond);
      while (network.stream_count() > 0) co_await sleep_for(kMillisecond);
      EXPECT_EQ(network.counters().refused, 0u);
      co_await network.shutdown();
    });
  }
}

// A client of ours that takes the last place would have the next connection reset.
TEST(SimAccept, APlaceThatIsKeptForAListenerIsNoClients) {
  sim::World world(1);
  run_on_cores(1, []() -> Task<void> {
    net::NetworkOptions options = tiny();
    options.streams_max = 3;
    net::Network network(options);
    const auto listener = network.listen(loopback(), {}, EchoServer::accept, nullptr);
    const Address address = *network.address_of(*listener);
    EchoClient client;
    client.total = 10;
    client.keep_open = true;
    co_await EchoClient::run(network, address, client);  // both ends of it
    // Another server's address: the client alone would take the third place.
    Ring& ring = Core::current().ring();
    const Descriptor other = *ring.listen(loopback(), {});
    EchoClient second;
    const auto connected =
        co_await network.connect(*ring.local_address(other), EchoClient::kHandler, &second);
    EXPECT_FALSE(connected);
    if (!connected) {
      EXPECT_EQ(connected.error().code, ErrorCode::limit_exceeded);
    }
    std::vector<Visitor> visitors(1);
    co_await visit_all(visitors, {&address, 1});
    EXPECT_TRUE(visitors[0].served);
    EXPECT_EQ(client.received, 10u);
    EXPECT_EQ(network.counters().refused, 0u);
    ring.close_now(other);
    co_await network.shutdown();
  });
}

}  // namespace
}  // namespace corelane
