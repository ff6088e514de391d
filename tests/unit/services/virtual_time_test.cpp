// Goal: deadlines of the services: an unfinished TCP frame, how long a channel's position is kept,
// how long a peer holds a drain. Method: in the simulation, where half a minute passes at once.
#include <gtest/gtest.h>

#include <string>

#include "runtime/sim/world.hpp"
#include "tests/support/raw_socket.hpp"
#include "tests/support/stall.hpp"
#include "tests/unit/services/requests.hpp"

namespace corelane {
namespace {

using protocol::ErrorCode;
using protocol::Opcode;
using runtime::kSecond;
using runtime::Task;
using tests::bytes_of;
using tests::NodeUnderTest;
using tests::ProtocolClient;
using tests::ServerMessage;
using tests::Via;
using tests::with_node;

runtime::Nanoseconds now() {
  return runtime::Core::current().now();
}

std::vector<std::byte> ping(ProtocolClient* client, protocol::Uuid& id) {
  id = client->new_transaction();
  std::vector<std::byte> frame;
  protocol::append_frame(frame, {.transaction_id = id}, protocol::PingBody{.data = bytes_of("p")});
  return frame;
}

TEST(VirtualTime, ATcpFrameMustBeFinishedThirtySecondsAfterItsFirstByte) {
  runtime::sim::World world(1);
  with_node(2, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* idle = co_await test.connect(Via::tcp);
    ProtocolClient* client = co_await test.connect(Via::tcp);
    protocol::Uuid id;
    // In time, byte for byte: served, and the deadline is gone with it.
    const std::vector<std::byte> frame = ping(client, id);
    for (const std::byte byte : frame) {
      client->send_bytes({&byte, 1});
      co_await runtime::sleep_for(28 * kSecond / static_cast<std::int64_t>(frame.size()));
    }
    const ServerMessage pong = co_await client->reply(id);
    EXPECT_EQ(pong.opcode, Opcode::Pong);
    co_await runtime::sleep_for(100 * kSecond);
    EXPECT_TRUE(client->open());

    // Too late, though something comes all the time; a whole frame in front changes nothing.
    std::vector<std::byte> bytes = ping(client, id);
    const std::vector<std::byte> second = ping(client, id);
    bytes.insert(bytes.end(), second.begin(), second.end());
    const runtime::Nanoseconds begin = now();
    client->send_bytes(std::span(bytes).first(second.size() + 5));
    for (std::size_t at = second.size() + 5; client->open() && at < bytes.size() - 1; ++at) {
      co_await runtime::sleep_for(2 * kSecond);
      client->send_bytes(std::span(bytes).subspan(at, 1));
    }
    const bool closed = co_await client->closed();
    EXPECT_TRUE(closed);
    EXPECT_GE(now() - begin, 29 * kSecond);
    EXPECT_LE(now() - begin, 36 * kSecond);
    const ServerMessage error = co_await client->event();
    EXPECT_EQ(error.error, ErrorCode::timed_out);
    // A client that says nothing owes nothing.
    co_await runtime::sleep_for(600 * kSecond);
    EXPECT_TRUE(idle->open());
    const bool settled = co_await idle->settle();
    EXPECT_TRUE(settled);
  });
}

Task<std::uint64_t> paused_streams(NodeUnderTest& test) {
  co_return co_await test.total([](services::CoreNode& node) {
    std::uint64_t paused = 0;
    node.network().for_each(
        [&](auto, net::Stream& stream) { paused += stream.receiving_paused(); });
    return paused;
  });
}

TEST(VirtualTime, ATcpFrameThatHasArrivedUnreadByItsDeadlineIsInTime) {
  runtime::sim::World world(1);
  with_node(1, [&world](NodeUnderTest& test) -> Task<void> {
    constexpr std::size_t kCount = 400;
    std::vector<ProtocolClient*> clients;
    std::vector<protocol::Uuid> ids(kCount);
    std::vector<std::vector<std::byte>> frames;
    for (std::size_t i = 0; i < kCount; ++i) {
      clients.push_back(co_await test.connect(Via::tcp));
      frames.push_back(ping(clients.back(), ids[i]));
    }
    for (std::size_t i = 0; i < kCount; ++i) {
      clients[i]->send_bytes(std::span(frames[i]).first(20));
    }
    co_await runtime::sleep_for(28 * kSecond);
    for (std::size_t i = 0; i < kCount; ++i) {
      clients[i]->send_bytes(std::span(frames[i]).subspan(20));
    }
    tests::lose_cpu(world, 4 * kSecond);
    for (std::size_t i = 0; i < kCount; ++i) {
      const ServerMessage pong = co_await clients[i]->reply(ids[i]);
      EXPECT_EQ(pong.opcode, Opcode::Pong) << i;
    }
  });
}

// The server stops reading while its answers pile up, so the rest of a frame cannot come; once it
// reads again, the time starts over.
TEST(VirtualTime, ATcpFrameIsNotLateWhileTheServerDoesNotReadForItsAnswersToBeTaken) {
  constexpr runtime::Nanoseconds kDeadline = 5 * kSecond;
  runtime::sim::World world(3);
  services::NodeOptions options;
  options.tcp.message_deadline = kDeadline;
  with_node(tests::node_cores(1), options, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect(Via::tcp);
    client->pause_receiving();
    // More than half of the queue's limit and what the sockets take, and no frame ends where a
    // receive does.
    constexpr int kPings = 15;
    const std::string data(63'000, 'x');
    std::vector<protocol::Uuid> ids;
    for (int i = 0; i < kPings; ++i) {
      ids.push_back(client->send(protocol::PingBody{.data = bytes_of(data)}));
    }
    const std::vector<std::byte> last = ping(client, ids.emplace_back());
    client->send_bytes(std::span(last).first(last.size() - 1));
    co_await runtime::sleep_for(3 * kDeadline);
    const std::uint64_t paused = co_await paused_streams(test);
    EXPECT_EQ(paused, 2u) << "the client's, and the server's";
    client->resume_receiving();
    co_await client->reply(ids[0]);
    const ServerMessage whole = co_await client->reply(ids[kPings - 1]);
    EXPECT_EQ(whole.opcode, Opcode::Pong);
    EXPECT_EQ(whole.data.size(), data.size());
    co_await runtime::sleep_for(kDeadline / 2);
    EXPECT_TRUE(client->open());
    client->send_bytes(std::span(last).last(1));
    const ServerMessage pong = co_await client->reply(ids.back());
    EXPECT_EQ(pong.opcode, Opcode::Pong);

    // A frame that was begun before such a pause has its deadline after it, too.
    client->pause_receiving();
    for (int i = 0; i < kPings; ++i) client->send(protocol::PingBody{.data = bytes_of(data)});
    client->send_bytes(std::span(last).first(last.size() - 1));
    co_await runtime::sleep_for(3 * kDeadline);
    client->resume_receiving();
    const runtime::Nanoseconds begin = now();
    const bool closed = co_await client->closed();
    EXPECT_TRUE(closed);
    EXPECT_GE(now() - begin, kDeadline - kSecond);
    EXPECT_LE(now() - begin, 3 * kDeadline);
    const ServerMessage error = co_await client->event();
    EXPECT_EQ(error.error, ErrorCode::timed_out);
  });
}

Task<std::uint64_t> owned(NodeUnderTest& test) {
  co_return co_await test.total(
      [](services::CoreNode&) { return services::PubSub::local().owned_channels(); });
}

TEST(VirtualTime, AChannelKeepsItsPositionForAMinuteAndThenStartsOver) {
  runtime::sim::World world(2);
  with_node(3, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect(Via::websocket);
    for (const std::string_view channel : {"one", "two", "three", "four"}) {
      SCOPED_TRACE(channel);
      const std::string_view names[] = {channel};
      const protocol::SubscribeBody enter{.channels = names};
      const protocol::UnsubscribeBody leave{.channels = names};
      const ServerMessage first = co_await publish(client, channel);
      EXPECT_EQ(first.offset, 1u);
      // Used again and again within a minute, by either side, it goes on.
      for (std::uint64_t i = 2; i < 6; ++i) {
        co_await runtime::sleep_for(50 * kSecond);
        const ServerMessage again = co_await publish(client, channel);
        EXPECT_EQ(again.epoch, first.epoch);
        EXPECT_EQ(again.offset, i);
      }
      // As long as there is a subscriber it stays, however quiet it is.
      co_await client->request(enter);
      co_await runtime::sleep_for(1000 * kSecond);
      co_await client->request(leave);
      co_await runtime::sleep_for(50 * kSecond);
      const ServerMessage kept = co_await client->request(enter);
      EXPECT_EQ(kept.results.at(0).epoch(), first.epoch);
      EXPECT_EQ(kept.results.at(0).offset(), 5u);
      co_await client->request(leave);
      // Unused, it is forgotten; the next position is in a new epoch.
      co_await runtime::sleep_for(125 * kSecond);
      const std::uint64_t left = co_await owned(test);
      EXPECT_EQ(left, 0u);
      const ServerMessage over = co_await client->request(enter);
      EXPECT_NE(over.results.at(0).epoch(), first.epoch);
      EXPECT_NE(over.results.at(0).epoch(), 0u);
      EXPECT_EQ(over.results.at(0).offset(), 0u);
      const ServerMessage next = co_await publish(client, channel);
      EXPECT_EQ(next.offset, 1u);
      EXPECT_EQ(next.delivered, 1u);
      co_await client->request(leave);
      co_await runtime::sleep_for(125 * kSecond);
    }
    const std::uint64_t left = co_await owned(test);
    EXPECT_EQ(left, 0u);
  });
}

TEST(VirtualTime, AFullCoreTakesNewChannelsOnceItHasForgottenOldOnes) {
  runtime::sim::World world(3);
  services::NodeOptions options;
  options.pubsub.channels_max = 2;
  with_node(tests::node_cores(1), options, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect(Via::websocket);
    const ServerMessage one = co_await publish(client, "one");
    EXPECT_EQ(one.opcode, Opcode::Ack);
    const ServerMessage two = co_await publish(client, "two");
    EXPECT_EQ(two.opcode, Opcode::Ack);
    const ServerMessage three = co_await publish(client, "three");
    EXPECT_EQ(three.error, ErrorCode::limit_exceeded);
    co_await runtime::sleep_for(125 * kSecond);
    const ServerMessage again = co_await publish(client, "three");
    EXPECT_EQ(again.opcode, Opcode::Ack);
    EXPECT_EQ(again.offset, 1u);
  });
}

// Very many channels must not make the core stand still when they are forgotten.
TEST(VirtualTime, ASweepForgetsChannelsInSteps) {
  runtime::sim::World world(4);
  with_node(1, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect(Via::websocket);
    constexpr std::uint64_t kChannels = 5000;
    for (std::uint64_t i = 0; i < kChannels; ++i) {
      const std::string name = std::to_string(i);
      client->send(protocol::PublishBody{.channel = name, .data = {}, .requires_ack = false});
      if (i % 256 == 0) co_await client->settle();
    }
    co_await client->settle();
    std::uint64_t left = co_await owned(test);
    EXPECT_EQ(left, kChannels);
    const runtime::Nanoseconds until = now() + 125 * kSecond;
    std::uint64_t largest_step = 0;
    while (left > 0 && now() < until) {
      // A turn has at most one step, and a pause is longer than this.
      co_await runtime::sleep_for(services::PubSub::kSweepPause / 4);
      const std::uint64_t after = co_await owned(test);
      largest_step = std::max(largest_step, left - after);
      left = after;
    }
    EXPECT_EQ(left, 0u);
    EXPECT_LE(largest_step, services::PubSub::kSweepStep);
    EXPECT_GT(largest_step, 0u);
  });
}

// No timer of the connection's own ends it: an answer is on its way and is not taken.
TEST(VirtualTime, APeerThatTakesNoAnswerHoldsADrainForTheCloseTimeoutAlone) {
  runtime::sim::Faults faults;
  faults.socket_buffer_bytes = 4096;
  runtime::sim::World world(1, faults);
  services::NodeOptions options;
  options.websocket.close_timeout = options.tcp.close_timeout = options.http.linger = kSecond;
  options.network.write_stall_timeout = 0;
  options.network.queued_bytes_max = 16 * 1024;
  with_node(tests::node_cores(1), options, [](NodeUnderTest& test) -> Task<void> {
    const runtime::Descriptor peer = co_await tests::connect_raw(test.address(Via::websocket));
    std::string requests;
    for (int i = 0; i < 250; ++i) requests += "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    const bool sent = co_await tests::send_raw(peer, requests);
    EXPECT_TRUE(sent);
    std::uint64_t paused = 0;
    while (paused == 0) {
      co_await runtime::sleep_for(runtime::kMillisecond);
      paused = co_await paused_streams(test);
    }
    const runtime::Nanoseconds begin = now();
    co_await test.drain(3600 * kSecond);
    EXPECT_EQ(test.cut_off(), 1u);
    EXPECT_GE(now() - begin, kSecond);
    EXPECT_LE(now() - begin, 2 * kSecond);
    tests::close_raw(peer);
  });
}

}  // namespace
}  // namespace corelane
