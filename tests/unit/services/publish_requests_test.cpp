// Goal: a Publish has the effect and the reply that protocol/README.md promises, between any two
// cores and over every transport. Method: a whole node with clients whose sessions lie on chosen
// cores, found by WhoAmI.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/services/requests.hpp"

namespace corelane {
namespace {

using protocol::ErrorCode;
using protocol::Opcode;
using runtime::Task;
using tests::bytes_of;
using tests::expect_error;
using tests::for_every_pair;
using tests::NodeUnderTest;
using tests::ProtocolClient;
using tests::ServerMessage;
using tests::Via;
using tests::with_node;

TEST(PublishRequests, APublishReachesSubscribersOnAnyCoreWithItsPosition) {
  for_every_pair([](NodeUnderTest&, ProtocolClient* from, ProtocolClient* to) -> Task<void> {
    // Several names, so that every core owns one of them.
    for (int i = 0; i < 8; ++i) {
      const std::string channel = "channel-" + std::to_string(from->core()) +
                                  std::to_string(to->core()) + "-" + std::to_string(i);
      const ServerMessage nobody = co_await publish(from, channel, "to nobody");
      EXPECT_EQ(nobody.opcode, Opcode::Ack);
      EXPECT_EQ(nobody.delivered, 0u);
      EXPECT_EQ(nobody.offset, 1u);
      const ServerMessage held = co_await subscribe(to, channel);
      EXPECT_EQ(held.results.at(0).epoch(), nobody.epoch);
      EXPECT_EQ(held.results.at(0).offset(), 1u);

      const ServerMessage ack = co_await publish(from, channel, "first");
      EXPECT_EQ(ack.delivered, 1u);
      EXPECT_EQ(ack.offset, 2u);
      EXPECT_EQ(ack.epoch, nobody.epoch);
      const ServerMessage event = co_await to->event();
      EXPECT_EQ(event.opcode, Opcode::Event);
      EXPECT_EQ(event.channel, channel);
      EXPECT_EQ(event.data, "first");
      EXPECT_EQ(event.epoch, ack.epoch);
      EXPECT_EQ(event.offset, ack.offset);
      EXPECT_EQ(event.from, from->uuid());
      EXPECT_GT(event.timestamp, 0u);

      // The publisher is a subscriber as well.
      co_await subscribe(from, channel);
      const ServerMessage both = co_await publish(from, channel, "");
      EXPECT_EQ(both.delivered, 2u);
      const ServerMessage own = co_await from->event();
      EXPECT_EQ(own.offset, 3u);
      EXPECT_EQ(own.data, "");
      const ServerMessage theirs = co_await to->event();
      EXPECT_EQ(theirs.offset, 3u);
    }
    from->close();
    to->close();
    co_await from->closed();
    co_await to->closed();
  });
}

TEST(PublishRequests, APublishWithoutAckIsAnsweredByNothing) {
  for_every_pair([](NodeUnderTest&, ProtocolClient* from, ProtocolClient* to) -> Task<void> {
    co_await subscribe(to, "quiet");
    const protocol::Uuid id = from->send(
        protocol::PublishBody{.channel = "quiet", .data = bytes_of("data"), .requires_ack = false});
    const ServerMessage event = co_await to->event();
    EXPECT_EQ(event.data, "data");
    const ServerMessage ack = co_await publish(from, "quiet", "with ack");
    EXPECT_EQ(ack.offset, event.offset + 1);
    EXPECT_FALSE(from->has_reply(id));
    co_await to->event();
    co_await unsubscribe(to, "quiet");
  });
}

TEST(PublishRequests, APublishToAnInvalidNameIsRefusedWithAndWithoutAck) {
  with_node(2, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect(Via::websocket);
    const std::string too_long(256, 'x');
    for (const std::string_view name : {std::string_view{}, std::string_view{too_long},
                                        std::string_view{"a\nb"}, std::string_view{"\xc0\x80"}}) {
      for (const bool requires_ack : {true, false}) {
        const protocol::PublishBody body{.channel = name, .data = {}, .requires_ack = requires_ack};
        const ServerMessage reply = co_await client->request(body);
        expect_error(reply, ErrorCode::channel_name_invalid, Opcode::Publish);
      }
    }
    const ServerMessage longest = co_await publish(client, std::string(255, 'x'), "");
    EXPECT_EQ(longest.opcode, Opcode::Ack);
  });
}

TEST(PublishRequests, AnAckCountsTheSessionsExactly) {
  with_node(3, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* publisher = co_await test.connect(Via::tcp);
    std::vector<ProtocolClient*> subscribers;
    for (std::uint32_t i = 0; i < 30; ++i) {
      constexpr Via kAll[] = {Via::websocket, Via::tcp, Via::compressed};
      subscribers.push_back(co_await test.connect(kAll[i % 3]));
      co_await subscribe(subscribers.back(), "counted");
      const ServerMessage ack = co_await publish(publisher, "counted", "x");
      EXPECT_EQ(ack.delivered, i + 1);
      EXPECT_EQ(ack.offset, i + 1);
    }
    for (std::uint32_t i = 0; i < 30; ++i) {
      const bool all = co_await subscribers[i]->has_events(30 - i);
      EXPECT_TRUE(all);
      co_await unsubscribe(subscribers[i], "counted");
      const ServerMessage ack = co_await publish(publisher, "counted", "y");
      EXPECT_EQ(ack.delivered, 29 - i);
    }
  });
}

// Data that a client may publish must fit, as an event, into every subscriber's queue.
TEST(PublishRequests, DataThatWouldNotFitAnyonesQueueIsRefusedAndCostsNobodyTheConnection) {
  for_every_pair([](NodeUnderTest&, ProtocolClient* from, ProtocolClient* to) -> Task<void> {
    co_await subscribe(to, "large");
    std::string data((1 << 20) - 132, 'd');  // a frame of about 1 MiB, which the server takes
    const ServerMessage publish_reply = co_await publish(from, "large", data);
    expect_error(publish_reply, ErrorCode::payload_too_large, Opcode::Publish);
    const protocol::PingBody ping{.data = bytes_of(data)};
    const ServerMessage pong = co_await from->request(ping);
    EXPECT_EQ(pong.opcode, Opcode::Pong) << "a Ping and its Pong are of the same size";
    data.resize(data.size() - 400);
    const ServerMessage ack = co_await publish(from, "large", data);
    EXPECT_EQ(ack.delivered, 1u);
    const ServerMessage event = co_await to->event();
    EXPECT_EQ(event.data.size(), data.size());
    const protocol::SendBody send{
        .session = to->uuid(), .data = bytes_of(data), .requires_ack = true};
    const ServerMessage sent = co_await from->request(send);
    EXPECT_EQ(sent.delivered, 1u);
    const ServerMessage direct = co_await to->event();
    EXPECT_EQ(direct.data.size(), data.size());
    EXPECT_TRUE(to->open());
    EXPECT_TRUE(from->open());
    co_await unsubscribe(to, "large");
  });
}

}  // namespace
}  // namespace corelane
