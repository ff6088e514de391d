// Goal: coroutine sockets lose, double and reorder nothing through a proxy, whatever the kernel
// does, each direction ends by itself, and a connection that breaks ends every wait and leaves
// nothing. Method: client - proxy of two splices - server, all on one core of the simulation, with
// random kinds of reads and writes, over seeds.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "net/tcp.hpp"
#include "runtime/combine.hpp"
#include "runtime/sim/world.hpp"
#include "runtime/task_group.hpp"
#include "tests/support/on_cores.hpp"
#include "tests/support/stall.hpp"
#include "tests/support/tcp_traffic.hpp"

namespace corelane {
namespace {

using namespace runtime;
using net::TcpListener;
using net::TcpStream;
using tests::loopback;
using tests::read_traffic;
using tests::Traffic;
using tests::write_traffic;

struct Exchange {
  explicit Exchange(std::uint64_t seed) noexcept
      : there{.number = 1, .total = seed * 2'711 % 40'000, .seed = seed},
        back{.number = 2, .total = seed * 7'919 % 40'000, .seed = seed + 1'000} {}
  Traffic there;
  Traffic back;
  bool is_connected = false;
};

Task<void> pipe(TcpStream* from, TcpStream* to) {
  const auto bytes = co_await net::splice(*from, *to);
  if (bytes) co_return;
  // The other direction ends as well.
  from->abort();
  to->abort();
}

Task<void> serve(TcpListener* listener, Exchange* exchange) {
  auto stream = co_await listener->accept();
  if (!stream) co_return;
  TaskGroup group("server");
  group.spawn("read", read_traffic, &*stream, &exchange->there);
  group.spawn("write", write_traffic, &*stream, &exchange->back);
  co_await group.join();
}

Task<void> proxy(TcpListener* listener, Address server) {
  auto client = co_await listener->accept();
  if (!client) co_return;
  auto behind = co_await TcpStream::connect(server);
  if (!behind) co_return;
  TaskGroup group("proxy");
  group.spawn("there", pipe, &*client, &*behind);
  group.spawn("back", pipe, &*behind, &*client);
  co_await group.join();
}

Task<void> ask(Address address, Exchange* exchange) {
  auto stream = co_await TcpStream::connect(address);
  if (!stream) co_return;
  exchange->is_connected = true;
  TaskGroup group("client");
  group.spawn("write", write_traffic, &*stream, &exchange->there);
  group.spawn("read", read_traffic, &*stream, &exchange->back);
  co_await group.join();
}

Task<void> run_exchange(Exchange* exchange) {
  auto at_server = TcpListener::listen(loopback());
  auto at_proxy = TcpListener::listen(loopback());
  const Address server = *at_server->address();
  const Address middle = *at_proxy->address();
  TaskGroup group("exchange");
  group.spawn("server", serve, &*at_server, exchange);
  group.spawn("proxy", proxy, &*at_proxy, server);
  co_await ask(middle, exchange);
  // What has not come by then does not come.
  co_await sleep_for(100 * kMillisecond);
  co_await at_proxy->close();
  co_await at_server->close();
  co_await group.join();
}

std::uint64_t run(std::uint64_t seed, bool breaking, Exchange& exchange,
                  Task<void> (*body)(Exchange*) = run_exchange) {
  sim::World world(seed, sim::Faults::swarm(seed, breaking));
  net::NetworkOptions options = tests::tiny();
  if (seed % 3 == 0) options.direct_descriptors = false;
  if (seed % 2 == 0) options.queued_bytes_max = 2048;
  if (seed % 5 == 0) options = {};
  tests::run_on_cores(1, [&]() -> Task<void> {
    net::Network network(options);
    co_await body(&exchange);
    while (network.stream_count() > 0) co_await sleep_for(kMillisecond);
    EXPECT_EQ(Core::current().memory().held(MemoryKind::queued), 0u);
    EXPECT_EQ(Core::current().memory().held(MemoryKind::messages), 0u);
    EXPECT_EQ(Core::current().memory().held(MemoryKind::shared), 0u);
    co_await network.shutdown();
  });
  return world.trace_hash();
}

TEST(SimTcp, EveryByteGoesThroughAProxyOnceAndInOrderOver200Seeds) {
  for (const std::uint64_t seed : sim::seeds(1, 200)) {
    SCOPED_TRACE(seed);
    Exchange exchange(seed);
    run(seed, false, exchange);
    for (const Traffic& traffic : {exchange.there, exchange.back}) {
      EXPECT_FALSE(traffic.is_wrong);
      EXPECT_EQ(traffic.read, traffic.total);
      EXPECT_FALSE(traffic.why_written);
      EXPECT_EQ(traffic.why_read.value_or(Error{}).code, ErrorCode::end_of_file);
    }
    if (HasFailure()) return;
  }
}

TEST(SimTcp, ABrokenConnectionEndsEveryWaitAndLeavesNothingOver200Seeds) {
  std::size_t broken = 0;
  std::size_t refused = 0;
  for (const std::uint64_t seed : sim::seeds(1, 200)) {
    SCOPED_TRACE(seed);
    Exchange exchange(seed);
    run(seed, true, exchange);
    if (!exchange.is_connected) ++refused;
    for (const Traffic& traffic : {exchange.there, exchange.back}) {
      EXPECT_FALSE(traffic.is_wrong);
      EXPECT_LE(traffic.read, traffic.total);
      if (!traffic.why_read) continue;  // its stream was never there
      if (traffic.why_read->code != ErrorCode::end_of_file) ++broken;
    }
    if (HasFailure()) return;
  }
  EXPECT_GT(broken, 10u);
  EXPECT_GT(refused, 1u);
}

Task<void> run_direct(Exchange* exchange) {
  auto listener = TcpListener::listen(loopback());
  TaskGroup group("exchange");
  group.spawn("server", serve, &*listener, exchange);
  co_await ask(*listener->address(), exchange);
  co_await sleep_for(100 * kMillisecond);
  co_await listener->close();
  co_await group.join();
}

// A reset that cuts a send in the middle takes the error from the receive, which then brings 0.
TEST(SimTcp, AStreamThatIsCutDoesNotLookWholeOver300Seeds) {
  std::size_t broken = 0;
  for (const std::uint64_t seed : sim::seeds(1, 300)) {
    SCOPED_TRACE(seed);
    Exchange exchange(seed);
    run(seed, true, exchange, run_direct);
    for (const Traffic& traffic : {exchange.there, exchange.back}) {
      EXPECT_FALSE(traffic.is_wrong);
      if (!traffic.why_read) continue;
      if (traffic.why_read->code == ErrorCode::end_of_file) {
        EXPECT_EQ(traffic.read, traffic.total);
      } else {
        ++broken;
      }
    }
    if (HasFailure()) return;
  }
  EXPECT_GT(broken, 10u);
}

TEST(SimTcp, ASeedReplaysByteForByte) {
  for (const std::uint64_t seed : sim::seeds(1, 5)) {
    Exchange first(seed);
    Exchange second(seed);
    EXPECT_EQ(run(seed, false, first), run(seed, false, second));
  }
}

// A deadline is not judged while bytes that came in time lie unread.
TEST(SimTcp, WhatHasArrivedUnreadByTheDeadlineIsInTime) {
  sim::World world(1);
  tests::run_on_cores(1, [&world]() -> Task<void> {
    constexpr std::size_t kPairs = 60;  // more than one turn reaps
    net::Network network(tests::tiny());
    {
      std::vector<std::unique_ptr<tests::TcpPair>> pairs;
      TaskGroup group("read");
      std::size_t in_time = 0;
      for (std::size_t i = 0; i < kPairs; ++i) {
        pairs.push_back(std::make_unique<tests::TcpPair>());
        co_await tests::connect_pair(*pairs.back());
        pairs.back()->server.set_deadline(kSecond);
        group.spawn(
            "read",
            [](TcpStream* stream, std::size_t* count) -> Task<void> {
              const auto bytes = co_await stream->read_some();
              if (bytes) ++*count;
            },
            &pairs.back()->server, &in_time);
      }
      for (const auto& pair : pairs) EXPECT_TRUE(co_await pair->client.write_all("in time"));
      tests::lose_cpu(world, 12 * kSecond);
      co_await group.join();
      EXPECT_EQ(in_time, kPairs);
    }
    co_await network.shutdown();
  });
}

TEST(SimTcp, ANetworkThatStopsTakesNoConnection) {
  sim::World world(1);
  tests::run_on_cores(1, []() -> Task<void> {
    net::Network network(tests::tiny());
    auto listener = TcpListener::listen(loopback());
    const Address address = *listener->address();
    TaskGroup group("connect");
    group.spawn(
        "connect",
        [](Address to) -> Task<void> {
          const auto late = co_await TcpStream::connect(to);
          EXPECT_FALSE(late);
        },
        address);
    co_await network.shutdown();
    co_await group.join();
    EXPECT_EQ(network.stream_count(), 0u);
    const auto again = TcpListener::listen(loopback());
    EXPECT_FALSE(again);
    if (!again) {
      EXPECT_EQ(again.error().code, ErrorCode::closed);
    }
    const auto connected = co_await TcpStream::connect(address);
    EXPECT_FALSE(connected);
    if (!connected) {
      EXPECT_EQ(connected.error().code, ErrorCode::closed);
    }
  });
}

TEST(SimTcp, AStallOfAPeerIsCountedOnce) {
  sim::World world(1);
  tests::run_on_cores(1, []() -> Task<void> {
    net::NetworkOptions options = tests::tiny();
    options.write_stall_timeout = kSecond;
    net::Network network(options);
    {
      tests::TcpPair pair;
      co_await tests::connect_pair(pair);
      const auto full =
          co_await with_timeout(20 * kSecond, pair.client.write_all(std::string(20'000'000, 'a')));
      EXPECT_FALSE(full);
      EXPECT_EQ(network.counters().slow_readers, 1u);
    }
    co_await network.shutdown();
  });
}

}  // namespace
}  // namespace corelane
