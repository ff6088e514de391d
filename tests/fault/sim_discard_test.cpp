// Goal: a peer that is still sending when its stream is closed gets our last words and no reset;
// what is read for that is bounded, and costs the other streams little. Method: peers that read
// nothing before all of theirs is sent, in the simulation, over seeds.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "runtime/await.hpp"
#include "runtime/sim/kernel.hpp"
#include "runtime/sim/world.hpp"
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

constexpr std::string_view kLastWords = "last words";

// Closes with its last words at the first byte of a peer's; nothing is delivered after that.
struct Parting {
  Nanoseconds linger = 5 * kSecond;
  std::uint64_t heard = 0;
  std::uint64_t gone = 0;

  static Parting& of(net::Stream& stream) { return *static_cast<Parting*>(stream.owner()); }
  static void on_data(net::Stream& stream, const net::Received&) noexcept {
    ++of(stream).heard;
    EXPECT_TRUE(stream.send_copy(std::as_bytes(std::span{kLastWords})));
    stream.close(of(stream).linger);
  }
  static void on_end(net::Stream& stream) noexcept { stream.close(0); }
  static void on_closed(net::Stream& stream, Error) noexcept { ++of(stream).gone; }
  static void on_timer(net::Stream&) noexcept {}
  static constexpr net::StreamHandler kHandler{"parting", on_data,  on_end,
                                               on_closed, on_timer, nullptr};
  static bool accept(void* context, net::Stream& stream) noexcept {
    stream.set_handler(kHandler, context);
    return true;
  }
};

struct Talker {
  net::StreamId id;
  std::string received;
  bool ended = false;
  bool closed = false;
  Error why{};

  static Talker& of(net::Stream& stream) { return *static_cast<Talker*>(stream.owner()); }
  static void on_data(net::Stream& stream, const net::Received& received) noexcept {
    of(stream).received.append(reinterpret_cast<const char*>(received.bytes.data()),
                               received.bytes.size());
  }
  static void on_end(net::Stream& stream) noexcept {
    of(stream).ended = true;
    stream.close(0);
  }
  static void on_closed(net::Stream& stream, Error error) noexcept {
    of(stream).closed = true;
    of(stream).why = error;
  }
  static void on_timer(net::Stream&) noexcept {}
  static constexpr net::StreamHandler kHandler{"talker",  on_data,  on_end,
                                               on_closed, on_timer, nullptr};

  Task<void> begin(net::Network& network, Address address, std::size_t bytes) {
    const auto stream = co_await network.connect(address, kHandler, this);
    EXPECT_TRUE(stream) << describe(stream.error());
    if (!stream) {
      closed = true;
      co_return;
    }
    id = *stream;
    network.find(id)->pause_receiving();
    EXPECT_TRUE(network.find(id)->send_copy(std::vector<std::byte>(bytes)));
  }
  // Reads as soon as everything is sent; true when the stream is gone.
  bool look(net::Network& network) {
    net::Stream* stream = network.find(id);
    if (stream != nullptr && stream->queued_bytes() == 0) stream->resume_receiving();
    return closed;
  }
};

std::size_t in_flight(const char* kind) {
  const std::string all = sim::World::current()->kernel().describe_operations(SIZE_MAX);
  std::size_t count = 0;
  const std::string name = std::string(": ") + kind;
  for (auto at = all.find(name); at != std::string::npos; at = all.find(name, at + 1)) ++count;
  return count;
}

net::NetworkOptions tiny_with_room() {
  net::NetworkOptions options = tiny();
  options.queued_bytes_max = 16 << 20;
  options.write_stall_timeout = 0;  // those that wait for their turn may wait for long
  return options;
}

void expect_told(const Talker& talker) {
  EXPECT_EQ(talker.received, kLastWords);
  EXPECT_TRUE(talker.ended) << "reset instead of closed: " << describe(talker.why);
}

TEST(SimDiscard, PeersThatAreStillSendingGetTheLastWords) {
  for (const std::uint64_t seed : sim::seeds(1, 10)) {
    SCOPED_TRACE(seed);
    sim::World world(seed, seed == 1 ? sim::Faults::none() : sim::Faults::swarm(seed, false));
    run_on_cores(1, []() -> Task<void> {
      net::Network network(tiny_with_room());
      Parting server{.linger = 3600 * kSecond};
      const auto listener = network.listen(loopback(), {}, Parting::accept, &server);
      std::vector<std::unique_ptr<Talker>> talkers;
      for (int i = 0; i < 12; ++i) {
        talkers.push_back(std::make_unique<Talker>());
        co_await talkers.back()->begin(network, *network.address_of(*listener), 200'000);
      }
      for (const auto& talker : talkers) {
        while (!talker->look(network)) co_await sleep_for(kMillisecond);
        expect_told(*talker);
      }
      EXPECT_EQ(server.heard, talkers.size());
      co_await network.shutdown();
    });
    if (testing::Test::HasFailure()) return;
  }
}

TEST(SimDiscard, PastTheLimitNothingIsReadAndThePeerIsGoneAtTheDeadline) {
  sim::World world(1);
  run_on_cores(1, []() -> Task<void> {
    net::NetworkOptions options = tiny_with_room();
    options.discard_bytes_max = 64 * 1024;
    net::Network network(options);
    Parting server;
    const auto listener = network.listen(loopback(), {}, Parting::accept, &server);
    Talker talker;
    const Nanoseconds begun = Core::current().now();
    co_await talker.begin(network, *network.address_of(*listener), 8 << 20);
    while (!talker.look(network)) co_await sleep_for(kMillisecond);
    EXPECT_GE(Core::current().now() - begun, 5 * kSecond);
    EXPECT_LE(Core::current().now() - begun, 6 * kSecond);
    EXPECT_EQ(talker.received, "");
    EXPECT_GT(network.counters().bytes_discarded, options.discard_bytes_max);
    EXPECT_LE(network.counters().bytes_discarded,
              options.discard_bytes_max + options.receive_buffers * options.receive_buffer_bytes);
    co_await network.shutdown();
  });
}

// Many that discard share a few receives, so that a stream which matters finds its buffers.
TEST(SimDiscard, HundredsOfDiscardingStreamsTakeFewReceivesAndBuffersFromTheOthers) {
  sim::World world(1);
  run_on_cores(1, []() -> Task<void> {
    net::NetworkOptions options = tiny_with_room();
    options.receive_buffer_bytes = 512;
    options.medium_buffer_bytes = 1024;
    options.receive_buffers = 64;
    options.medium_buffers = 16;
    net::Network network(options);
    Parting server{.linger = 3600 * kSecond};
    const auto listener = network.listen(loopback(), {}, Parting::accept, &server);
    const auto echo = network.listen(loopback(), {}, EchoServer::accept, nullptr);
    constexpr std::size_t kTalkers = 300;
    std::vector<std::unique_ptr<Talker>> talkers;
    for (std::size_t i = 0; i < kTalkers; ++i) {
      talkers.push_back(std::make_unique<Talker>());
      co_await talkers.back()->begin(network, *network.address_of(*listener), 400'000);
    }
    while (server.heard < kTalkers) co_await sleep_for(kMillisecond);
    const std::uint64_t missing = network.counters().buffers_missing;
    EchoClient client;
    client.total = 50'000;
    client.window = 512;
    TaskGroup group("echo");
    group.spawn(
        "echo",
        [](net::Network* on, Address to, EchoClient* from) -> Task<void> {
          co_await EchoClient::run(*on, to, *from);
        },
        &network, *network.address_of(*echo), &client);
    std::size_t most = 0;
    while (!client.closed) {
      most = std::max(most, in_flight("receive_selected"));
      co_await sleep_for(100 * kMicrosecond);
    }
    co_await group.join();
    EXPECT_EQ(client.received, client.total);
    EXPECT_FALSE(client.wrong);
    EXPECT_GT(most, 0u) << "nothing was discarded";
    EXPECT_LE(most, 8u);
    EXPECT_EQ(network.counters().buffers_missing, missing);
    for (const auto& talker : talkers) {
      while (!talker->look(network)) co_await sleep_for(10 * kMillisecond);
      expect_told(*talker);
    }
    co_await network.shutdown();
  });
}

// Peers that never stop sending and never read are gone at the deadline.
TEST(SimDiscard, ThousandsThatNeverReadAreGoneAtTheDeadline) {
  sim::World world(1);
  world.checks().time_max = 3600 * kSecond;
  run_on_cores(1, []() -> Task<void> {
    net::NetworkOptions options = tiny_with_room();
    options.receive_buffer_bytes = 4096;
    options.receive_buffers = 64;
    options.direct_descriptors = false;
    options.discard_bytes_max = 32 * 1024;
    net::Network network(options);
    Parting server;
    const auto listener = network.listen(loopback(), {}, Parting::accept, &server);
    constexpr std::size_t kTalkers = 500;
    std::vector<std::unique_ptr<Talker>> talkers;
    for (std::size_t i = 0; i < kTalkers; ++i) {
      talkers.push_back(std::make_unique<Talker>());
      co_await talkers.back()->begin(network, *network.address_of(*listener), 400'000);
    }
    while (server.heard < kTalkers) co_await sleep_for(kMillisecond);
    const Nanoseconds all_told = Core::current().now();
    while (server.gone < kTalkers) co_await sleep_for(10 * kMillisecond);
    EXPECT_LE(Core::current().now() - all_told, 6 * kSecond);
    EXPECT_LE(network.counters().bytes_discarded,
              kTalkers * (options.discard_bytes_max + options.receive_buffer_bytes * 64));
    co_await network.shutdown();
  });
}

}  // namespace
}  // namespace corelane
