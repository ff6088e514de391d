// Goal: every byte arrives once and in order, however small the buffers and rings, and a stream's
// end is told once. Method: an echo server and checking clients on one core, over both rings.
#include "net/stream.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "net/network.hpp"
#include "runtime/await.hpp"
#include "runtime/sharded.hpp"
#include "runtime/task_group.hpp"
#include "tests/support/echo_streams.hpp"
#include "tests/support/on_cores.hpp"
#include "tests/support/xor_records.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::EchoClient;
using tests::EchoServer;
using tests::exchange;
using tests::loopback;
using tests::run_on_cores;
using tests::tiny;

// Whether the echo's side has stopped reading, as it does while its peer reads nothing.
bool server_paused(net::Network& network) {
  const net::Stream* const stream = tests::server_stream(network);
  return stream != nullptr && stream->receiving_paused();
}

// As the bytes are, and in records of a transform.
class StreamOver : public ::testing::TestWithParam<const tests::Wire*> {
 protected:
  void echo(const net::NetworkOptions& options, const Address& address, std::size_t clients,
            std::uint64_t total, std::uint64_t window) {
    run_on_cores(1, [&] { return exchange(options, address, clients, total, window, GetParam()); });
  }
};
INSTANTIATE_TEST_SUITE_P(Wires, StreamOver,
                         ::testing::Values(&tests::kPlainWire, &tests::kRecordWire),
                         [](const auto& wire) {
                           return wire.param == &tests::kPlainWire ? "Plain" : "Records";
                         });

TEST_P(StreamOver, EchoesEveryByteThroughFourBuffersOf64Bytes) {
  echo(tiny(), loopback(), 10, 20'000, 4096);
}

TEST_P(StreamOver, EchoesThroughLargeBuffersWhenMuchComes) {
  net::NetworkOptions options;
  options.receive_buffers = 16;
  options.large_buffer_bytes = 64 * 1024;
  options.large_buffers = 2;
  echo(options, loopback(), 4, 2'000'000, 256 * 1024);
}

TEST_P(StreamOver, WorksOverIpv6) {
  echo({}, *Address::parse("[::1]:0"), 2, 10'000, 4096);
}

TEST_P(StreamOver, WorksOverUnixSockets) {
  echo({}, *Address::parse("unix:" + ::testing::TempDir() + "corelane_stream_test"), 2, 100'000,
       4096);
}

TEST_P(StreamOver, WorksWithPlainDescriptors) {
  net::NetworkOptions options = tiny();
  options.direct_descriptors = false;
  echo(options, loopback(), 4, 10'000, 1024);
}

TEST(Stream, AClientThatFindsNobodyLearnsWhy) {
  run_on_cores(1, []() -> Task<void> {
    net::Network network({});
    EchoClient client;
    // Port 1 on loopback: nobody listens there, and binding it would need privileges.
    co_await EchoClient::run(network, *Address::parse("127.0.0.1:1"), client);
    EXPECT_EQ(client.why, Error::from_errno(ECONNREFUSED));
    co_await network.shutdown();
  });
}

// What is held for it: SimReceiving.WhatIsHeldForPausedStreamsKeepsNoBuffer.
TEST(Stream, AStreamWhosePeerReadsNothingLeavesOthersABuffer) {
  run_on_cores(1, []() -> Task<void> {
    net::Network network(tiny());
    const auto listener = network.listen(loopback(), {}, EchoServer::accept, nullptr);
    const Address address = *network.address_of(*listener);
    // Sends far more than its echo's queue may hold, and reads none of it.
    EchoClient greedy;
    greedy.total = greedy.window = 64 * 1024 * 1024;
    const auto stream = co_await network.connect(address, EchoClient::kHandler, &greedy);
    network.find(*stream)->pause_receiving();
    greedy.send_more(*network.find(*stream));
    // Its server side pauses once the kernel's buffers and the queue are full.
    while (!server_paused(network)) {
      co_await Yield{};
      greedy.send_more(*network.find(*stream));
    }
    EchoClient modest;
    modest.number = 1;
    modest.total = 10'000;
    co_await EchoClient::run(network, address, modest);
    EXPECT_EQ(modest.received, modest.total);
    co_await network.shutdown();
  });
}

// Takes what comes, and tells what the last of it came in.
struct Measuring {
  std::uint64_t received = 0;
  std::size_t bytes = 0;
  std::uint16_t group = 0;

  static void on_data(net::Stream& stream, const net::Received& received) noexcept {
    auto& self = *static_cast<Measuring*>(stream.owner());
    self.received += received.bytes.size();
    self.bytes = received.bytes.size();
    self.group = received.buffer.group;
  }
  static void on_end(net::Stream& stream) noexcept { stream.close(0); }
  static void on_closed(net::Stream&, Error) noexcept {}
  static void on_timer(net::Stream&) noexcept {}
  static constexpr net::StreamHandler kHandler{"measuring", on_data,  on_end,
                                               on_closed,   on_timer, nullptr};
  static bool accept(void* context, net::Stream& stream) noexcept {
    stream.set_handler(kHandler, context);
    return true;
  }
};

TEST(Stream, ReceivesIntoBuffersThatFitWhatComesUpAndDownAgain) {
  run_on_cores(1, []() -> Task<void> {
    const net::NetworkOptions options;
    net::Network network(options);
    Measuring server;
    const auto listener = network.listen(loopback(), {}, Measuring::accept, &server);
    EchoClient client;
    const auto stream =
        co_await network.connect(*network.address_of(*listener), EchoClient::kHandler, &client);
    std::uint64_t sent = 0;
    // Messages of one size, one at a time, until one has come in such a buffer.
    const auto send_until = [&](std::size_t bytes, auto arrived) -> Task<void> {
      const std::vector<std::byte> message(bytes);
      for (int i = 0; i < 200 && !arrived(); ++i) {
        EXPECT_TRUE(network.find(*stream)->send_copy(message));
        sent += bytes;
        while (server.received < sent) co_await Yield{};
      }
      EXPECT_TRUE(arrived()) << bytes << " bytes: the last came as " << server.bytes;
    };
    co_await send_until(1, [&] { return server.bytes == 1; });
    const std::uint16_t small = server.group;
    co_await send_until(16'000, [&] { return server.bytes > options.receive_buffer_bytes; });
    const std::uint16_t medium = server.group;
    EXPECT_NE(medium, small);
    co_await send_until(200'000, [&] { return server.bytes > options.medium_buffer_bytes; });
    EXPECT_NE(server.group, medium);
    co_await send_until(16'000, [&] { return server.group == medium; });
    co_await send_until(1, [&] { return server.group == small; });
    network.find(*stream)->close(0);
    co_await network.shutdown();
  });
}

// Takes messages of one size, each with its number in all of its bytes, and says where the next
// receive is to end.
struct Expecting {
  static constexpr std::size_t kMessageBytes = 20'000;
  std::uint64_t received = 0;
  std::uint64_t wrong = 0;
  std::size_t allowed = 0;  // of the receive that is armed, 0: anything
  std::size_t filled = 0;   // receives that brought all they were allowed
  bool passed = false;      // one brought more

  static void on_data(net::Stream& stream, const net::Received& received) noexcept {
    auto& self = *static_cast<Expecting*>(stream.owner());
    for (const std::byte byte : received.bytes) {
      self.wrong += byte != static_cast<std::byte>(self.received++ / kMessageBytes);
    }
    if (self.allowed != 0 && received.bytes.size() > self.allowed) self.passed = true;
    if (self.allowed != 0 && received.bytes.size() == self.allowed) ++self.filled;
    self.allowed = 0;
    if (!stream.receives_large()) return;
    const std::size_t missing = (kMessageBytes - self.received % kMessageBytes) % kMessageBytes;
    stream.end_receives_at(missing, kMessageBytes);
    const std::size_t room = stream.network().options().large_buffer_bytes;
    self.allowed = missing + (room - missing) / kMessageBytes * kMessageBytes;
  }
  static void on_end(net::Stream& stream) noexcept { stream.close(0); }
  static void on_closed(net::Stream&, Error) noexcept {}
  static void on_timer(net::Stream&) noexcept {}
  static constexpr net::StreamHandler kHandler{"expecting", on_data,  on_end,
                                               on_closed,   on_timer, nullptr};
  static bool accept(void* context, net::Stream& stream) noexcept {
    stream.set_handler(kHandler, context);
    return true;
  }
};

TEST(Stream, ALargeReceiveEndsWhereTheHandlerExpectsAMessageToEnd) {
  run_on_cores(1, []() -> Task<void> {
    net::NetworkOptions options;
    options.medium_buffers = 0;
    options.large_buffer_bytes = 64 * 1024;
    net::Network network(options);
    Expecting server;
    const auto listener = network.listen(loopback(), {}, Expecting::accept, &server);
    EchoClient client;
    const auto stream =
        co_await network.connect(*network.address_of(*listener), EchoClient::kHandler, &client);
    constexpr std::uint64_t kMessages = 250;
    std::uint64_t sent = 0;
    while (server.received < kMessages * Expecting::kMessageBytes) {
      net::Stream& here = *network.find(*stream);
      while (sent < kMessages && here.queued_bytes() < 500'000) {
        const std::vector<std::byte> message(Expecting::kMessageBytes,
                                             static_cast<std::byte>(sent));
        EXPECT_TRUE(here.send_copy(message));
        ++sent;
      }
      co_await Yield{};
    }
    EXPECT_EQ(server.wrong, 0u);
    EXPECT_FALSE(server.passed);
    EXPECT_GT(server.filled, 0u) << "the socket is never empty for long";
    network.find(*stream)->close(0);
    co_await network.shutdown();
  });
}

TEST(Stream, PeersThatDoNotReadMayHoldEveryLargeBufferWithoutStoppingOthers) {
  run_on_cores(1, []() -> Task<void> {
    net::NetworkOptions options;
    options.receive_buffers = 64;
    options.large_buffer_bytes = 32 * 1024;
    options.large_buffers = 1;
    options.queued_bytes_max = 256 * 1024;
    net::Network network(options);
    const auto listener = network.listen(loopback(), {}, EchoServer::accept, nullptr);
    const Address address = *network.address_of(*listener);
    EchoClient greedy;
    greedy.total = greedy.window = 64 * 1024 * 1024;
    const auto stream = co_await network.connect(address, EchoClient::kHandler, &greedy);
    network.find(*stream)->pause_receiving();
    while (!server_paused(network)) {
      greedy.send_more(*network.find(*stream));
      co_await Yield{};
    }
    EchoClient modest;
    modest.number = 1;
    modest.total = 2'000'000;
    modest.window = 128 * 1024;
    co_await EchoClient::run(network, address, modest);
    EXPECT_EQ(modest.received, modest.total);
    EXPECT_FALSE(modest.wrong);
    EXPECT_GT(network.counters().buffers_missing, 0u);
    co_await network.shutdown();
  });
}

// A peer that never reads: the server's queue stops at its limit.
struct Flood {
  bool refused = false;
  std::size_t most = 0;
  static void on_data(net::Stream& stream, const net::Received&) noexcept {
    auto& self = *static_cast<Flood*>(stream.owner());
    std::byte chunk[1000] = {};
    while (stream.send_copy(chunk)) self.most = std::max(self.most, stream.queued_bytes());
    self.refused = true;
    stream.send_control(net::ControlKind::pong, std::span{chunk}.first(10));
    stream.abort();
  }
  static void on_end(net::Stream& stream) noexcept { stream.close(0); }
  static void on_closed(net::Stream&, Error) noexcept {}
  static void on_timer(net::Stream&) noexcept {}
  static constexpr net::StreamHandler kHandler{"flood",   on_data,  on_end,
                                               on_closed, on_timer, nullptr};
};

TEST(Stream, TheOutgoingQueueNeverPassesItsLimit) {
  run_on_cores(1, []() -> Task<void> {
    net::Network network(tiny());
    Flood flood;
    const auto listener = network.listen(
        loopback(), {},
        [](void* context, net::Stream& stream) noexcept {
          stream.set_handler(Flood::kHandler, context);
          return true;
        },
        &flood);
    EchoClient client;
    client.total = 10;
    co_await EchoClient::run(network, *network.address_of(*listener), client);
    EXPECT_TRUE(flood.refused);
    EXPECT_LE(flood.most, tiny().queued_bytes_max);
    EXPECT_GT(flood.most, tiny().queued_bytes_max - 1000);
    co_await network.shutdown();
  });
}

TEST(Stream, TheOutgoingQueueTakesCopiesUpToItsLimitAndNotAByteMore) {
  run_on_cores(1, []() -> Task<void> {
    net::Network network(tiny());
    const auto listener = network.listen(loopback(), {}, EchoServer::accept, nullptr);
    EchoClient client;
    const auto connected =
        co_await network.connect(*network.address_of(*listener), EchoClient::kHandler, &client);
    EXPECT_TRUE(connected);
    while (network.stream_count() < 2) co_await Yield{};
    const std::size_t limit = tiny().queued_bytes_max;
    const std::vector<std::byte> bytes(limit + 1);
    net::Stream& stream = *tests::server_stream(network);
    EXPECT_FALSE(stream.send_copy(bytes));
    EXPECT_TRUE(stream.send_copy(std::span{bytes}.first(limit - 1)));
    EXPECT_TRUE(stream.send_copy(std::span{bytes}.first(1)));
    EXPECT_FALSE(stream.send_copy(std::span{bytes}.first(1)));
    EXPECT_EQ(stream.queued_bytes(), limit);
    co_await network.shutdown();
  });
}

// One that reads a little is in tests/fault: how long it takes here is the machine's affair.
TEST(Stream, APeerThatReadsNothingIsASlowReader) {
  run_on_cores(1, []() -> Task<void> {
    net::NetworkOptions options = tiny();
    options.queued_bytes_max = 16 * 1024 * 1024;
    options.write_stall_timeout = kSecond;
    net::Network network(options);
    const auto listener = network.listen(loopback(), {}, EchoServer::accept, nullptr);
    EchoClient client;
    const auto stream =
        co_await network.connect(*network.address_of(*listener), EchoClient::kHandler, &client);
    while (network.stream_count() < 2) co_await Yield{};
    network.find(*stream)->pause_receiving();
    tests::server_stream(network)->send_last(std::vector<std::byte>(12 * 1024 * 1024));
    while (network.stream_count() > 1) co_await sleep_for(10 * kMillisecond);
    EXPECT_EQ(network.counters().slow_readers, 1u);
    co_await network.shutdown();
  });
}

}  // namespace
}  // namespace corelane
