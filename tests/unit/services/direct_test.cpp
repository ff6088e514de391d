// Goal: Send and Broadcast reach the sessions they name, on any core, and answer as
// protocol/README.md promises. Method: a whole node with clients whose sessions lie on chosen
// cores.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/services/requests.hpp"

namespace corelane {
namespace {

using protocol::ErrorCode;
using protocol::Opcode;
using runtime::CoreId;
using runtime::Task;
using tests::bytes_of;
using tests::expect_error;
using tests::for_every_pair;
using tests::kTransports;
using tests::NodeUnderTest;
using tests::ProtocolClient;
using tests::ServerMessage;
using tests::Via;
using tests::with_node;

// --- Send

TEST(Direct, ASendReachesItsSessionOnAnyCore) {
  for_every_pair([](NodeUnderTest&, ProtocolClient* from, ProtocolClient* to) -> Task<void> {
    for (const bool requires_ack : {true, false}) {
      const protocol::MessageHeader header{
          .transaction_id = {}, .timestamp = 5, .trace_id = from->uuid(), .span_id = 77};
      const protocol::SendBody body{
          .session = to->uuid(), .data = bytes_of("direct"), .requires_ack = requires_ack};
      const protocol::Uuid id = from->send(body, header);
      const ServerMessage message = co_await to->event();
      EXPECT_EQ(message.opcode, Opcode::DirectMessage);
      EXPECT_EQ(message.data, "direct");
      EXPECT_EQ(message.from, from->uuid());
      EXPECT_EQ(message.trace_id, from->uuid());
      EXPECT_EQ(message.span_id, 77u);
      EXPECT_GT(message.timestamp, 5u) << "the server's clock, not the sender's";
      if (requires_ack) {
        const ServerMessage ack = co_await from->reply(id);
        EXPECT_EQ(ack.opcode, Opcode::Ack);
        EXPECT_EQ(ack.delivered, 1u);
        EXPECT_EQ(ack.epoch, 0u);
        EXPECT_EQ(ack.offset, 0u);
      } else {
        // The answer to a Send that needs one would come behind.
        const protocol::SendBody last{.session = to->uuid(), .data = {}, .requires_ack = true};
        co_await from->request(last);
        EXPECT_FALSE(from->has_reply(id));
        co_await to->event();
      }
    }
  });
}

TEST(Direct, ASessionSendsToItself) {
  with_node(2, [](NodeUnderTest& test) -> Task<void> {
    for (const Via via : kTransports) {
      ProtocolClient* client = co_await test.connect(via);
      const protocol::SendBody body{
          .session = client->uuid(), .data = bytes_of("me"), .requires_ack = true};
      const ServerMessage ack = co_await client->request(body);
      EXPECT_EQ(ack.delivered, 1u);
      const ServerMessage message = co_await client->event();
      EXPECT_EQ(message.data, "me");
      EXPECT_EQ(message.from, client->uuid());
    }
  });
}

Task<void> expect_unknown(ProtocolClient* from, protocol::Uuid target) {
  for (const bool requires_ack : {true, false}) {
    const protocol::SendBody body{
        .session = target, .data = bytes_of("x"), .requires_ack = requires_ack};
    const ServerMessage reply = co_await from->request(body);
    expect_error(reply, ErrorCode::unknown_session, Opcode::Send);
  }
}

TEST(Direct, ForgedSessionIdsAreUnknownSessions) {
  for_every_pair([](NodeUnderTest&, ProtocolClient* from, ProtocolClient* to) -> Task<void> {
    co_await expect_unknown(from, protocol::kNilUuid);
    // Every bit counts: slot, core, version, generation, variant and secret.
    for (std::size_t bit = 0; bit < 128; ++bit) {
      SCOPED_TRACE(bit);
      protocol::Uuid forged = to->uuid();
      forged.data[bit / 8] = static_cast<std::uint8_t>(forged.data[bit / 8] ^ 1u << bit % 8);
      co_await expect_unknown(from, forged);
    }
    EXPECT_TRUE(to->events().empty());
    EXPECT_TRUE(from->events().empty());
  });
}

TEST(Direct, AClosedSessionIsUnknownAlsoWhenItsSlotHasANewOne) {
  for_every_pair([](NodeUnderTest& test, ProtocolClient* from, ProtocolClient* to) -> Task<void> {
    const protocol::Uuid gone = to->uuid();
    const CoreId core = to->core();
    co_await test.close_spare();
    const std::uint64_t sessions = co_await test.sessions();
    to->close();
    co_await to->closed();
    const bool ended = co_await test.sessions_are(sessions - 1);
    EXPECT_TRUE(ended);
    co_await expect_unknown(from, gone);
    ProtocolClient* next = co_await test.connect_on(core);
    EXPECT_NE(next->uuid(), gone);
    co_await expect_unknown(from, gone);
    EXPECT_TRUE(next->events().empty());
  });
}

// --- Broadcast

TEST(Direct, ABroadcastReachesEverySessionOfEveryCoreAndCountsThem) {
  with_node(3, [](NodeUnderTest& test) -> Task<void> {
    std::vector<ProtocolClient*> clients;
    for (CoreId core = 0; core < 3; ++core) {
      for (const Via via : {Via::websocket, Via::tcp, Via::compressed}) {
        clients.push_back(co_await test.connect_on(core, via));
      }
    }
    co_await test.close_spare();
    const auto all = static_cast<std::uint32_t>(clients.size());
    const bool counted = co_await test.sessions_are(all);
    EXPECT_TRUE(counted);
    for (ProtocolClient* from : clients) {
      for (const bool include_self : {true, false}) {
        const protocol::BroadcastBody body{
            .data = bytes_of("all"), .requires_ack = true, .include_self = include_self};
        const ServerMessage ack = co_await from->request(body);
        EXPECT_EQ(ack.opcode, Opcode::Ack);
        EXPECT_EQ(ack.delivered, include_self ? all : all - 1);
        EXPECT_EQ(ack.offset, 0u);
        for (ProtocolClient* client : clients) {
          if (client == from && !include_self) continue;
          const ServerMessage message = co_await client->event();
          EXPECT_EQ(message.opcode, Opcode::BroadcastMessage);
          EXPECT_EQ(message.data, "all");
          EXPECT_EQ(message.from, from->uuid());
        }
      }
      const protocol::Uuid quiet = from->send(protocol::BroadcastBody{
          .data = bytes_of("quiet"), .requires_ack = false, .include_self = true});
      for (ProtocolClient* client : clients) {
        const ServerMessage message = co_await client->event();
        EXPECT_EQ(message.data, "quiet");
      }
      co_await from->settle();
      EXPECT_FALSE(from->has_reply(quiet));
    }
    for (ProtocolClient* client : clients) EXPECT_TRUE(client->events().empty());
  });
}

TEST(Direct, ASendDoesNotOvertakeTheBroadcastBeforeIt) {
  for_every_pair([](NodeUnderTest&, ProtocolClient* from, ProtocolClient* to) -> Task<void> {
    for (int round = 0; round < 20; ++round) {
      const bool requires_ack = round % 2 == 0;
      // In one message, so that the server looks at both in one go.
      std::vector<std::byte> frames;
      protocol::append_frame(
          frames, {},
          protocol::BroadcastBody{
              .data = bytes_of("first"), .requires_ack = requires_ack, .include_self = false});
      protocol::append_frame(
          frames, {},
          protocol::SendBody{
              .session = to->uuid(), .data = bytes_of("second"), .requires_ack = requires_ack});
      EXPECT_TRUE(from->send_bytes(frames));
      ServerMessage first = co_await to->event();
      // What an earlier pair broadcast has reached this one, too.
      while (first.from != from->uuid() && to->open()) first = co_await to->event();
      EXPECT_EQ(first.opcode, Opcode::BroadcastMessage);
      EXPECT_EQ(first.data, "first");
      const ServerMessage second = co_await to->event();
      EXPECT_EQ(second.opcode, Opcode::DirectMessage);
      EXPECT_EQ(second.data, "second");
    }
    from->close();
    to->close();
  });
}

TEST(Direct, ABroadcasterThatIsGoneIsNoTrouble) {
  with_node(3, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* stays = co_await test.connect(Via::websocket);
    for (int i = 0; i < 20; ++i) {
      ProtocolClient* leaves = co_await test.connect(i % 2 == 0 ? Via::tcp : Via::websocket);
      leaves->send(protocol::BroadcastBody{
          .data = bytes_of("bye"), .requires_ack = true, .include_self = false});
      leaves->send(protocol::SendBody{
          .session = stays->uuid(), .data = bytes_of("direct"), .requires_ack = true});
      leaves->send(protocol::PublishBody{.channel = "c", .data = {}, .requires_ack = true});
      leaves->close();
    }
    const bool heard = co_await stays->has_events(40);
    EXPECT_TRUE(heard);
  });
}

}  // namespace
}  // namespace corelane
