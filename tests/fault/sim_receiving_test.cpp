// Goal: what a pause, a congested core or missing buffers hold up is told later, once and in order,
// at no cost to others; and accepting goes on when it can. Method: the orders of completions that a
// kernel may choose, in the simulation, where buffers and time can be looked at.
#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <vector>

#include "runtime/await.hpp"
#include "runtime/sim/kernel.hpp"
#include "runtime/sim/world.hpp"
#include "runtime/task_group.hpp"
#include "tests/support/echo_streams.hpp"
#include "tests/support/on_cores.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::EchoClient;
using tests::EchoServer;
using tests::loopback;
using tests::run_on_cores;
using tests::tiny;

// Takes one piece and pauses, from its first moment on.
struct Pausing {
  std::uint64_t received = 0;
  int ends = 0;
  bool told_while_paused = false;

  static Pausing& of(net::Stream& stream) { return *static_cast<Pausing*>(stream.owner()); }
  static void on_data(net::Stream& stream, const net::Received& received) noexcept {
    Pausing& self = of(stream);
    self.told_while_paused |= stream.receiving_paused();
    self.received += received.bytes.size();
    stream.pause_receiving();
  }
  static void on_end(net::Stream& stream) noexcept {
    Pausing& self = of(stream);
    self.told_while_paused |= stream.receiving_paused();
    ++self.ends;
    stream.close(0);
  }
  static constexpr net::StreamHandler kHandler{
      "pausing", on_data, on_end, EchoServer::on_closed, EchoServer::on_timer, nullptr};
  static bool accept(void* context, net::Stream& stream) noexcept {
    stream.set_handler(kHandler, context);
    stream.pause_receiving();
    return true;
  }
};

// A cancelled receive goes on for longer than what lies in the socket takes to be received.
sim::Faults late_cancels() {
  sim::Faults faults;
  faults.late_cancel = 1000;
  return faults;
}

TEST(SimReceiving, BytesAndTheEndThatComeDuringAPauseAreToldBehindIt) {
  // One piece and the end; several, which are held, and the end.
  for (const std::uint64_t bytes : {10u, 64u, 65u, 300u}) {
    for (const std::uint64_t seed : sim::seeds(1, 25)) {
      SCOPED_TRACE(testing::Message() << bytes << " bytes, seed " << seed);
      sim::World world(seed, late_cancels());
      run_on_cores(1, [bytes]() -> Task<void> {
        net::Network network(tiny());
        Pausing server;
        const auto listener = network.listen(loopback(), {}, Pausing::accept, &server);
        EchoClient client;
        client.total = client.window = bytes;
        const auto stream =
            co_await network.connect(*network.address_of(*listener), EchoClient::kHandler, &client);
        client.send_more(*network.find(*stream));
        network.find(*stream)->close(0);
        // Both lie in the socket before any of it is received.
        while (network.counters().accepted == 0 || !client.closed) co_await sleep_for(kMillisecond);
        co_await sleep_for(10 * kMillisecond);
        for (int i = 0; i < 20 && network.stream_count() > 0; ++i) {
          network.for_each([](auto, net::Stream& each) { each.resume_receiving(); });
          co_await sleep_for(10 * kMillisecond);
        }
        EXPECT_FALSE(server.told_while_paused);
        EXPECT_EQ(server.received, bytes);
        EXPECT_EQ(server.ends, 1);
        EXPECT_EQ(network.stream_count(), 0u) << "the end was never told";
        co_await network.shutdown();
      });
      if (HasFailure()) return;
    }
  }
}

// The peer's end can only come through a receive, which a pause does not arm.
TEST(SimReceiving, AStreamThatLingersFromAPauseOnSeesThePeersEnd) {
  for (const std::uint64_t seed : sim::seeds(1, 25)) {
    SCOPED_TRACE(seed);
    sim::World world(seed, late_cancels());
    run_on_cores(1, []() -> Task<void> {
      net::Network network(tiny());
      Pausing server;
      const auto listener = network.listen(loopback(), {}, Pausing::accept, &server);
      EchoClient client;
      const auto stream =
          co_await network.connect(*network.address_of(*listener), EchoClient::kHandler, &client);
      EXPECT_TRUE(stream);
      while (network.counters().accepted == 0) co_await sleep_for(kMillisecond);
      co_await sleep_for(10 * kMillisecond);  // the cancelled receive has ended
      const Nanoseconds begin = Core::current().now();
      network.for_each([&](auto, net::Stream& each) {
        if (each.owner() == &server) each.close(3600 * kSecond);
      });
      while (network.stream_count() > 0) co_await sleep_for(kMillisecond);  // the client ends, too
      EXPECT_LT(Core::current().now() - begin, kSecond);
      co_await network.shutdown();
    });
    if (HasFailure()) return;
  }
}

// The number of buffers of all sizes that a core's network holds.
std::uint32_t buffers_held(CoreId core) {
  std::uint32_t held = 0;
  for (const auto& group : sim::World::current()->kernel().ring_of(core)->groups) {
    if (group != nullptr) held += group->held_by_program();
  }
  return held;
}

TEST(SimReceiving, WhatIsHeldForPausedStreamsKeepsNoBuffer) {
  for (const std::uint64_t seed : sim::seeds(1, 25)) {
    SCOPED_TRACE(seed);
    sim::World world(seed, late_cancels());
    run_on_cores(1, []() -> Task<void> {
      net::Network network(tiny());
      Pausing server;
      const auto listener = network.listen(loopback(), {}, Pausing::accept, &server);
      const Address address = *network.address_of(*listener);
      std::array<EchoClient, 3> clients;
      std::vector<net::StreamId> streams;
      for (EchoClient& client : clients) {
        client.total = client.window = 300;
        streams.push_back(*co_await network.connect(address, EchoClient::kHandler, &client));
        client.send_more(*network.find(streams.back()));
      }
      co_await sleep_for(10 * kMillisecond);
      const std::uint64_t before = network.counters().bytes_received;
      network.for_each([](auto, net::Stream& each) { each.resume_receiving(); });
      co_await sleep_for(20 * kMillisecond);
      EXPECT_GT(network.counters().bytes_received - before, server.received) << "nothing is held";
      EXPECT_EQ(buffers_held(0), 0u);
      co_await network.shutdown();
    });
    if (HasFailure()) return;
  }
}

// --- Buffers that run out

// Many more streams than buffers, all with input at the same time. A stream that finds no buffer
// goes on when a buffer is returned; small and medium buffers.
TEST(SimReceiving, StreamsThatFindNoSmallOrMediumBufferGoOnAsSoonAsThereIsOne) {
  for (const std::uint64_t total : {3'000u, 40'000u}) {
    for (const std::uint64_t seed : sim::seeds(1, 10)) {
      SCOPED_TRACE(testing::Message() << total << " bytes, seed " << seed);
      sim::Faults faults;
      faults.no_buffers = 300;
      sim::World world(seed, faults);
      run_on_cores(1, [total]() -> Task<void> {
        net::NetworkOptions options = tiny();
        options.large_buffers = 0;
        net::Network network(options);
        const auto listener = network.listen(loopback(), {}, EchoServer::accept, nullptr);
        const Address address = *network.address_of(*listener);
        std::array<EchoClient, 16> clients;
        TaskGroup group("clients");
        const Nanoseconds begun = Core::current().now();
        for (EchoClient& client : clients) {
          client.number = static_cast<std::uint64_t>(&client - clients.data());
          client.total = total;
          client.window = 2048;
          group.spawn(
              "client",
              [](net::Network* on, Address to, EchoClient* one) -> Task<void> {
                co_await EchoClient::run(*on, to, *one);
              },
              &network, address, &client);
        }
        co_await group.join();
        // No timer helps: it is over long before one of a millisecond a receive would be.
        EXPECT_LT(Core::current().now() - begun, kSecond);
        for (const EchoClient& client : clients) {
          EXPECT_EQ(client.received, client.total);
          EXPECT_FALSE(client.wrong);
        }
        EXPECT_GT(network.counters().buffers_missing, clients.size());
        co_await network.shutdown();
      });
      if (HasFailure()) return;
    }
  }
}

// The one large buffer is out until it has been sent; the others wait for it in turn. If nobody
// told them, a timer would send them to small buffers after a millisecond.
TEST(SimReceiving, AStreamThatWaitsForALargeBufferGetsOneWhenItComesHome) {
  sim::World world(1);
  run_on_cores(1, []() -> Task<void> {
    net::NetworkOptions options = tiny();
    options.receive_buffers = 64;
    options.medium_buffers = 0;
    options.large_buffers = 1;
    net::Network network(options);
    const auto listener = network.listen(loopback(), {}, EchoServer::accept, nullptr);
    const Address address = *network.address_of(*listener);
    std::array<EchoClient, 4> clients;
    TaskGroup group("clients");
    const Nanoseconds begun = Core::current().now();
    for (EchoClient& client : clients) {
      client.total = 200'000;
      client.window = 8192;
      group.spawn(
          "client",
          [](net::Network* on, Address to, EchoClient* one) -> Task<void> {
            co_await EchoClient::run(*on, to, *one);
          },
          &network, address, &client);
    }
    co_await group.join();
    EXPECT_GT(network.counters().buffers_missing, 100u) << "nobody has waited";
    EXPECT_LT(Core::current().now() - begun, 30 * kMillisecond);  // it takes 18
    co_await network.shutdown();
  });
}

// --- Writable again

struct Filling {
  std::vector<std::size_t> writable_at;
  static void on_writable(net::Stream& stream) noexcept {
    static_cast<Filling*>(stream.owner())->writable_at.push_back(stream.queued_bytes());
  }
  static void on_data(net::Stream&, const net::Received&) noexcept {}
  static constexpr net::StreamHandler kHandler{
      "filling",  on_data, EchoServer::on_end, EchoServer::on_closed, EchoServer::on_timer,
      on_writable};
};

TEST(SimReceiving, ASourceIsAskedForMoreWhileItsQueueStillHoldsSome) {
  sim::World world(1);
  run_on_cores(1, []() -> Task<void> {
    const net::NetworkOptions options = tiny();
    net::Network network(options);
    const auto listener = network.listen(loopback(), {}, EchoServer::accept, nullptr);
    Filling filling;
    const auto stream =
        co_await network.connect(*network.address_of(*listener), Filling::kHandler, &filling);
    // The first part is in flight when the rest comes, and leaves as an operation of its own.
    const std::vector<std::byte> part(options.queued_bytes_max / 2);
    EXPECT_TRUE(network.find(*stream)->send_copy(part));
    co_await Yield{};
    EXPECT_TRUE(network.find(*stream)->send_copy(part));
    EXPECT_FALSE(network.find(*stream)->writable());
    co_await sleep_for(kSecond);
    EXPECT_EQ(filling.writable_at, std::vector<std::size_t>{part.size()});
    co_await network.shutdown();
  });
}

// --- Accepting

// Connects and waits until `count` of its own streams are served.
struct Crowd {
  std::vector<std::unique_ptr<EchoClient>> clients;
  TaskGroup group{"crowd"};

  void join_in(net::Network& network, Address address, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      clients.push_back(std::make_unique<EchoClient>());
      clients.back()->total = 100;
      clients.back()->keep_open = true;
      group.spawn(
          "client",
          [](net::Network* on, Address to, EchoClient* client) -> Task<void> {
            co_await EchoClient::run(*on, to, *client);
          },
          &network, address, clients.back().get());
    }
  }
  std::size_t served() const {
    std::size_t count = 0;
    for (const auto& client : clients) count += client->received == client->total ? 1u : 0u;
    return count;
  }
};

// A retry by time would come 100 ms after the pause.
TEST(SimReceiving, AStreamThatClosesLetsTheNextOneInAtOnce) {
  sim::World world(1);
  RuntimeOptions runtime_options = tests::small_options(1);
  runtime_options.ring.completion_entries = 4096;
  run_on_cores(runtime_options, []() -> Task<void> {  // 64 direct descriptors
    net::Network network(tiny());
    const auto listener = network.listen(loopback(), {}, EchoServer::accept, nullptr);
    Crowd crowd;
    crowd.join_in(network, *network.address_of(*listener), 80);
    while (network.counters().accept_pauses == 0) co_await sleep_for(50 * kMicrosecond);
    const std::uint64_t accepted = network.counters().accepted;
    co_await sleep_for(5 * kMillisecond);
    network.for_each([](auto, net::Stream& stream) { stream.abort(); });
    const Nanoseconds begun = Core::current().now();
    while (network.counters().accepted == accepted && Core::current().now() - begun < kSecond) {
      co_await sleep_for(100 * kMicrosecond);
    }
    EXPECT_LT(Core::current().now() - begun, 20 * kMillisecond);
    co_await network.shutdown();
    co_await crowd.group.join();
  });
}

TEST(SimReceiving, AcceptingIsTriedAgainByTimeAlone) {
  sim::Faults failing;
  failing.accept_failure = 1000;
  sim::World world(1, failing);
  run_on_cores(1, [&world]() -> Task<void> {
    net::Network network(tiny());
    const auto listener = network.listen(loopback(), {}, EchoServer::accept, nullptr);
    Crowd crowd;
    crowd.join_in(network, *network.address_of(*listener), 3);
    while (network.counters().accept_pauses == 0) co_await sleep_for(kMillisecond);
    EXPECT_EQ(network.counters().accepted, 0u);
    world.set_faults(sim::Faults::none());
    co_await sleep_for(kSecond);
    EXPECT_GT(network.counters().accepted, 0u);
    EXPECT_EQ(crowd.served(), network.counters().accepted);
    co_await network.shutdown();
    co_await crowd.group.join();
  });
}

}  // namespace
}  // namespace corelane
