// Goal: a core's network keeps its bounds: bytes held while the lanes are congested, streams told
// in one turn, leases on a buffer, the patience with peers that do not read. Method:
// cases that need many streams or much time, in the simulation.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "runtime/await.hpp"
#include "runtime/sim/world.hpp"
#include "tests/support/echo_streams.hpp"
#include "tests/support/on_cores.hpp"
#include "tests/support/stall.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::CountingPeer;
using tests::EchoClient;
using tests::EchoServer;
using tests::loopback;
using tests::run_on_cores;
using tests::tiny;

// --- Congested lanes

struct Noise {
  std::uint64_t nothing = 0;
  void deliver(CoreId) noexcept {}
};

// A turn in which core 0 sends more than a lane of 16 slots takes.
void make_noise(int messages) {
  for (int i = 0; i < messages; ++i) Core::current().lanes().send(1, Noise{});
}

// Congests the lanes of core 0, over a few turns. True: they are congested.
Task<bool> congest() {
  const Lanes& lanes = Core::current().lanes();
  for (int turn = 0; turn < 20 && !lanes.congested(); ++turn) {
    make_noise(1000);
    co_await Yield{};
  }
  EXPECT_TRUE(lanes.congested());
  co_return lanes.congested();
}

TEST(SimNetwork, WhatIsHeldWhileLanesAreCongestedIsBoundedAndThenDelivered) {
  for (const std::uint64_t seed : sim::seeds(1, 20)) {
    SCOPED_TRACE(seed);
    sim::World world(seed, seed == 1 ? sim::Faults::none() : sim::Faults::swarm(seed, false));
    run_on_cores(2, []() -> Task<void> {
      net::Network network(tiny());
      const auto listener = network.listen(loopback(), {}, EchoServer::accept, nullptr);
      std::array<EchoClient, 3> clients;
      for (EchoClient& client : clients) {
        client.number = static_cast<std::uint64_t>(&client - clients.data());
        client.total = client.window = 20'000;
        client.keep_open = true;
        const auto stream =
            co_await network.connect(*network.address_of(*listener), EchoClient::kHandler, &client);
        client.send_more(*network.find(*stream));
      }
      const bool congested = co_await congest();
      if (!congested) co_return co_await network.shutdown();
      const std::uint64_t before = network.counters().bytes_received;
      for (int turn = 0; turn < 2000; ++turn) {
        make_noise(64);
        co_await Yield{};
        EXPECT_TRUE(Core::current().lanes().congested());
      }
      // Bytes already received by the kernel at both ends of the connections: here, as many as fit
      // a completion queue.
      EXPECT_LE(network.counters().bytes_received - before, 8u * 1024);
      for (EchoClient& client : clients) {
        co_await client.all_back();
        EXPECT_FALSE(client.wrong);
      }
      while (Core::current().lanes().backlogged()) co_await Yield{};
      co_await network.shutdown();
    });
    if (HasFailure()) return;
  }
}

// Another event processes the stream during the congestion: here, a send to it.
TEST(SimNetwork, WhatIsHeldWhileLanesAreCongestedStaysHeldWhenItsStreamIsWrittenTo) {
  for (const std::uint64_t seed : sim::seeds(1, 20)) {
    SCOPED_TRACE(seed);
    sim::World world(seed, seed == 1 ? sim::Faults::none() : sim::Faults::swarm(seed, false));
    run_on_cores(2, []() -> Task<void> {
      constexpr std::uint64_t kBytes = 10;
      net::Network network(tiny());
      CountingPeer servers;
      CountingPeer clients;
      co_await CountingPeer::connect(network, servers, clients, 1);
      const bool congested = co_await congest();
      if (!congested) co_return co_await network.shutdown();
      const auto send_to = [&network](const CountingPeer& owner, std::uint64_t bytes) {
        const std::vector<std::byte> data(bytes);
        network.for_each([&](auto, net::Stream& stream) {
          if (stream.owner() != &owner) return;
          EXPECT_TRUE(stream.send_copy(data));
        });
      };
      send_to(clients, kBytes);
      const std::uint64_t before = network.counters().bytes_received;
      std::uint64_t written = 0;
      while (written < 100) {
        make_noise(64);
        if (network.counters().bytes_received > before) {  // the first piece is held
          send_to(servers, 1);
          ++written;
        }
        co_await Yield{};
        EXPECT_TRUE(Core::current().lanes().congested());
        EXPECT_EQ(servers.received, 0u);
        if (HasFailure()) break;
      }
      while (Core::current().lanes().backlogged()) co_await Yield{};
      while (servers.received < kBytes || clients.received < written) {
        co_await sleep_for(kMillisecond);
      }
      EXPECT_EQ(servers.received, kBytes);
      co_await network.shutdown();
    });
    if (HasFailure()) return;
  }
}

// --- Timers

struct Ticking {
  std::map<std::uint64_t, std::size_t> told_in_turn;
  std::size_t told = 0;
  static void on_data(net::Stream&, const net::Received&) noexcept {}
  static void on_end(net::Stream& stream) noexcept { stream.close(0); }
  static void on_closed(net::Stream&, Error) noexcept {}
  static void on_timer(net::Stream& stream) noexcept {
    auto& self = *static_cast<Ticking*>(stream.owner());
    ++self.told_in_turn[Core::current().counters().turns];
    ++self.told;
  }
  static constexpr net::StreamHandler kHandler{"ticking", on_data,  on_end,
                                               on_closed, on_timer, nullptr};
};

TEST(SimNetwork, ATurnTellsNoMoreThan1024StreamsThatTheirTimeIsUp) {
  sim::World world(1);
  run_on_cores(1, []() -> Task<void> {
    constexpr std::size_t kStreams = 2500;
    net::NetworkOptions options = tiny();
    options.direct_descriptors = false;
    net::Network network(options);
    const auto listener = network.listen(loopback(), {}, EchoServer::accept, nullptr);
    const Address address = *network.address_of(*listener);
    Ticking ticking;
    std::vector<net::StreamId> streams;
    for (std::size_t i = 0; i < kStreams; ++i) {
      streams.push_back(*co_await network.connect(address, Ticking::kHandler, &ticking));
    }
    for (const net::StreamId id : streams) network.find(id)->set_timer(kSecond);
    while (ticking.told < kStreams) co_await sleep_for(100 * kMillisecond);
    EXPECT_EQ(ticking.told, kStreams);
    for (const auto& [turn, told] : ticking.told_in_turn) EXPECT_LE(told, 1024u);
    co_await network.shutdown();
  });
}

// --- Buffers

// Sends each of its first bytes 70,000 times, in one piece each.
struct Repeating {
  static constexpr std::size_t kTimes = 70'000;
  static void on_data(net::Stream& stream, const net::Received& received) noexcept {
    for (std::size_t i = 0; i < kTimes; ++i) {
      EXPECT_TRUE(stream.send_in_place(received, received.bytes.first(1)));
    }
  }
  static bool accept(void*, net::Stream& stream) noexcept {
    static constexpr net::StreamHandler kHandler{"repeating",          on_data,
                                                 EchoServer::on_end,   EchoServer::on_closed,
                                                 EchoServer::on_timer, nullptr};
    stream.set_handler(kHandler, nullptr);
    return true;
  }
};

// Notes which receive buffers are used.
struct Noting {
  std::set<std::uint16_t> buffers;
  std::uint64_t received = 0;
  static void on_data(net::Stream& stream, const net::Received& received) noexcept {
    auto& self = *static_cast<Noting*>(stream.owner());
    self.buffers.insert(received.buffer.buffer);
    self.received += received.bytes.size();
  }
  static bool accept(void* context, net::Stream& stream) noexcept {
    static constexpr net::StreamHandler kHandler{
        "noting", on_data, EchoServer::on_end, EchoServer::on_closed, EchoServer::on_timer,
        nullptr};
    stream.set_handler(kHandler, context);
    return true;
  }
};

TEST(SimNetwork, TouchesOnlyAsManyBuffersAsItHasBeenShortOf) {
  sim::World world(1);
  RuntimeOptions runtime_options = tests::small_options(1);
  runtime_options.ring = {.entries = 64, .completion_entries = 4096, .direct_descriptors = 0};
  run_on_cores(runtime_options, []() -> Task<void> {
    net::NetworkOptions options;
    options.receive_buffer_bytes = 16;
    options.receive_buffers = 256;
    options.medium_buffers = 0;
    options.large_buffers = 0;
    net::Network network(options);
    Noting noting;
    const auto listener = network.listen(loopback(), {}, Noting::accept, &noting);
    const Address address = *network.address_of(*listener);
    std::vector<std::unique_ptr<EchoClient>> clients;
    std::vector<net::StreamId> streams;
    for (int i = 0; i < 100; ++i) {
      clients.push_back(std::make_unique<EchoClient>());
      streams.push_back(
          *co_await network.connect(address, EchoClient::kHandler, clients.back().get()));
    }
    const auto send = [&](net::StreamId id, std::size_t bytes) {
      EXPECT_TRUE(network.find(id)->send_copy(std::vector<std::byte>(bytes)));
    };
    for (std::uint64_t i = 1; i <= 1000; ++i) {
      send(streams[i % streams.size()], 10);
      while (noting.received < 10 * i) co_await sleep_for(10 * kMicrosecond);
    }
    EXPECT_LE(noting.buffers.size(), 40u);
    EXPECT_EQ(network.counters().buffers_missing, 0u);
    for (const net::StreamId id : streams) send(id, 4000);
    while (noting.received < 10 * 1000 + 4000 * streams.size()) co_await sleep_for(kMillisecond);
    EXPECT_GE(noting.buffers.size(), 64u);
    EXPECT_GT(network.counters().buffers_missing, 0u);
    co_await network.shutdown();
  });
}

TEST(SimNetwork, ABufferMayBeLentToMorePiecesThan16BitsCount) {
  sim::World world(1);
  run_on_cores(1, []() -> Task<void> {
    net::NetworkOptions options = tiny();
    options.queued_bytes_max = 1024 * 1024;
    net::Network network(options);
    const auto listener = network.listen(loopback(), {}, Repeating::accept, nullptr);
    EchoClient client;
    client.total = 1;
    client.keep_open = true;
    const auto stream =
        co_await network.connect(*network.address_of(*listener), EchoClient::kHandler, &client);
    client.send_more(*network.find(*stream));
    while (client.received < Repeating::kTimes) co_await sleep_for(kMillisecond);
    EXPECT_EQ(client.received, Repeating::kTimes);
    co_await network.shutdown();
  });
}

// --- What an aborted stream still says

// Pauses at the first piece; says something and aborts at the second, which was held.
struct Aborting {
  static constexpr net::StreamHandler make(void (*on_data)(net::Stream&,
                                                           const net::Received&) noexcept) {
    return {"aborting",           on_data, EchoServer::on_end, EchoServer::on_closed,
            EchoServer::on_timer, nullptr};
  }
  static void first(net::Stream& stream, const net::Received&) noexcept {
    static constexpr net::StreamHandler kSecond = make(second);
    stream.pause_receiving();
    stream.set_handler(kSecond, nullptr);
  }
  static void second(net::Stream& stream, const net::Received&) noexcept {
    const std::byte last[1]{};
    EXPECT_TRUE(stream.send_copy(last));
    stream.abort();
  }
  static bool accept(void*, net::Stream& stream) noexcept {
    static constexpr net::StreamHandler kFirst = make(first);
    stream.set_handler(kFirst, nullptr);
    return true;
  }
};

TEST(SimNetwork, NothingIsSentOfAStreamThatAbortsWhenWhatWasHeldIsDelivered) {
  for (const std::uint64_t seed : sim::seeds(1, 50)) {
    SCOPED_TRACE(seed);
    sim::World world(seed);
    run_on_cores(1, []() -> Task<void> {
      net::Network network(tiny());
      const auto listener = network.listen(loopback(), {}, Aborting::accept, nullptr);
      EchoClient client;
      client.total = client.window = 2000;
      const auto stream =
          co_await network.connect(*network.address_of(*listener), EchoClient::kHandler, &client);
      client.send_more(*network.find(*stream));
      co_await sleep_for(10 * kMillisecond);
      tests::server_stream(network)->resume_receiving();
      while (!client.closed) co_await sleep_for(kMillisecond);
      EXPECT_EQ(client.received, 0u);
      co_await network.shutdown();
    });
    if (HasFailure()) return;
  }
}

// --- Peers that do not read

struct Patience {
  Nanoseconds ended_after = 0;
  std::uint64_t slow_readers = 0;
};

// A server sends 1 MiB to a peer that takes `bytes` every ten seconds.
Patience patience_with_reader_of(std::uint64_t bytes, Nanoseconds timeout) {
  Patience patience;
  sim::World world(1);
  world.checks().time_max = 3600 * kSecond;
  run_on_cores(1, [&]() -> Task<void> {
    net::NetworkOptions options = tiny();
    options.queued_bytes_max = 4 * 1024 * 1024;
    options.write_stall_timeout = timeout;
    net::Network network(options);
    const auto listener = network.listen(loopback(), {}, EchoServer::accept, nullptr);
    EchoClient client;
    const auto id =
        co_await network.connect(*network.address_of(*listener), EchoClient::kHandler, &client);
    while (network.stream_count() < 2) co_await sleep_for(kMillisecond);
    network.find(*id)->pause_receiving();
    tests::server_stream(network)->send_last(std::vector<std::byte>(1024 * 1024));
    const Nanoseconds begun = Core::current().now();
    const auto passed = [begun] { return Core::current().now() - begun; };
    while (network.stream_count() == 2 && passed() < 200 * kSecond) {
      co_await sleep_for(10 * kSecond);
      net::Stream* stream = network.find(*id);
      if (bytes == 0 || stream == nullptr) continue;
      const std::uint64_t had = client.received;
      stream->resume_receiving();
      while (client.received < had + bytes && !client.closed) co_await Yield{};
      if (net::Stream* still = network.find(*id)) still->pause_receiving();
    }
    patience = {passed(), network.counters().slow_readers};
    co_await network.shutdown();
  });
  return patience;
}

TEST(SimNetwork, APeerThatTakesNothingForTheWriteStallTimeoutIsEnded) {
  const Patience patience = patience_with_reader_of(0, 30 * kSecond);
  EXPECT_EQ(patience.slow_readers, 1u);
  EXPECT_GE(patience.ended_after, 30 * kSecond);
  EXPECT_LE(patience.ended_after, 50 * kSecond);
}

// The peer takes far less than a send operation; only the completion tells how much.
TEST(SimNetwork, APeerThatTakesLittleIsNoSlowReader) {
  const Patience patience = patience_with_reader_of(2000, 30 * kSecond);
  EXPECT_EQ(patience.slow_readers, 0u);
  EXPECT_GE(patience.ended_after, 200 * kSecond);
}

TEST(SimNetwork, WithoutAWriteStallTimeoutAPeerMayTakeNothing) {
  const Patience patience = patience_with_reader_of(0, 0);
  EXPECT_EQ(patience.slow_readers, 0u);
  EXPECT_GE(patience.ended_after, 200 * kSecond);
}

// Completions of the time in which the core was descheduled may be unread. The time does not count
// until a turn has taken these completions.
TEST(SimNetwork, AReaderIsNotJudgedByTheTimeThatItsCoreWasDescheduled) {
  sim::Faults faults = sim::Faults::none();
  faults.socket_buffer_bytes = 16 * 1024;
  sim::World world(1, faults);
  run_on_cores(1, [&world]() -> Task<void> {
    const net::NetworkOptions options = tiny();
    net::Network network(options);
    CountingPeer servers;
    CountingPeer clients;
    co_await CountingPeer::connect(network, servers, clients, 1);
    net::Stream* sender = nullptr;
    network.for_each([&](auto, net::Stream& each) {
      if (each.owner() == &servers) {
        sender = &each;
      } else {
        each.pause_receiving();
      }
    });
    constexpr std::size_t kBytes = 10'000;
    const auto block = SharedBytes::copy(std::vector<std::byte>(kBytes));
    const auto send = [&] { return sender->send_shared(block, {block.data(), kBytes}); };
    for (int i = 0; i < 5; ++i) {
      EXPECT_TRUE(send());
      co_await sleep_for(kMillisecond);
    }
    EXPECT_GT(sender->queued_bytes(), options.queued_bytes_max);
    tests::lose_cpu(world, 4 * options.burst_patience);
    co_await sleep_for(kMillisecond);
    EXPECT_TRUE(send()) << "what its peer has taken since is not known yet";
    co_await sleep_for(kMillisecond);
    EXPECT_FALSE(send()) << "it is known to have taken nothing";
    co_await network.shutdown();
  });
}

}  // namespace
}  // namespace corelane
