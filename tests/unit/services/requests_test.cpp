// Goal: WhoAmI, Ping and what nobody serves have the replies that protocol/README.md promises, over
// every transport. Method: a whole node with clients on streams of each kind.
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
using tests::kTransports;
using tests::NodeUnderTest;
using tests::ProtocolClient;
using tests::ServerMessage;
using tests::Via;
using tests::with_node;

TEST(Requests, WhoAmINamesSessionCoreTransportAndLimits) {
  services::NodeOptions options;
  options.dispatch.node_name = "n1";
  with_node(tests::node_cores(2), options, [](NodeUnderTest& test) -> Task<void> {
    protocol::Uuid before{};
    for (const Via via : {Via::websocket, Via::tcp, Via::compressed}) {
      ProtocolClient* client = co_await test.connect(via);
      const ServerMessage reply = co_await client->request(protocol::WhoAmIBody{});
      EXPECT_EQ(reply.opcode, Opcode::WhoAmIReply);
      EXPECT_EQ(reply.from, client->uuid()) << "asked twice, the session is the same";
      EXPECT_NE(reply.from, before);
      before = reply.from;
      EXPECT_LT(reply.core, 2);
      EXPECT_EQ(reply.transport,
                via == Via::tcp ? protocol::Transport::tcp : protocol::Transport::websocket);
      EXPECT_EQ(reply.frame_bytes_max, 1u << 20);
      EXPECT_EQ(reply.subscriptions_max, 1000u);
      EXPECT_GT(reply.timestamp, 0u);
    }
  });
}

// With direct descriptors, the default, and with plain ones.
TEST(Requests, WhoAmITellsTheClientsOwnAddress) {
  for (const bool direct : {true, false}) {
    services::NodeOptions options;
    options.network.direct_descriptors = direct;
    for (const char* listen : {"127.0.0.1:0", "[::1]:0"}) {
      SCOPED_TRACE(testing::Message() << listen << (direct ? " direct" : " plain"));
      const runtime::Address address = *runtime::Address::parse(listen);
      options.listeners = {{address, services::Spoken::http}, {address, services::Spoken::tcp}};
      with_node(tests::node_cores(2), options, [](NodeUnderTest& test) -> Task<void> {
        for (const Via via : {Via::websocket, Via::tcp}) {
          ProtocolClient* client = co_await test.connect(via);
          const auto own =
              runtime::Core::current().ring().local_address(client->stream()->descriptor());
          EXPECT_TRUE(own);
          for (int i = 0; i < 2; ++i) {
            const ServerMessage reply = co_await client->request(protocol::WhoAmIBody{});
            EXPECT_EQ(reply.remote_address, own->text());
          }
        }
      });
    }
  }
}

TEST(Requests, WhoAmIKnowsAUnixStream) {
  services::NodeOptions options;
  const std::string name = "unix:@corelane-test-" +
                           std::to_string(testing::UnitTest::GetInstance()->random_seed()) + "-" +
                           std::to_string(reinterpret_cast<std::uintptr_t>(&options));
  options.listeners = {{*runtime::Address::parse(name), services::Spoken::tcp}};
  with_node(tests::node_cores(2), options, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect(Via::tcp);
    const ServerMessage reply = co_await client->request(protocol::WhoAmIBody{});
    EXPECT_EQ(reply.transport, protocol::Transport::unix_stream);
    EXPECT_EQ(reply.remote_address, "");
  });
}

TEST(Requests, PingIsAnsweredByPongWithItsDataAndTheServersClock) {
  with_node(2, [](NodeUnderTest& test) -> Task<void> {
    for (const Via via : kTransports) {
      ProtocolClient* client = co_await test.connect(via);
      std::uint64_t before = 0;
      for (const std::size_t size : {0u, 1u, 4096u, 100'000u}) {
        const std::string data(size, 'p');
        const protocol::PingBody body{.data = bytes_of(data)};
        const ServerMessage pong = co_await client->request(body);
        EXPECT_EQ(pong.opcode, Opcode::Pong);
        EXPECT_EQ(pong.data, data);
        EXPECT_GE(pong.server_time, before);
        before = pong.server_time;
      }
      EXPECT_GT(before, 0u);
    }
  });
}

// A Ping as FlatBuffers' own builder makes it, which lays everything out differently.
std::vector<std::byte> foreign_ping(const protocol::Uuid& id, std::string_view data) {
  using namespace protocol;
  flatbuffers::FlatBufferBuilder inner;
  const auto bytes =
      inner.CreateVector(reinterpret_cast<const std::uint8_t*>(data.data()), data.size());
  inner.Finish(fbs::CreatePingRequest(inner, bytes));
  flatbuffers::FlatBufferBuilder builder;
  const auto payload = builder.CreateVector(inner.GetBufferPointer(), inner.GetSize());
  const fbs::UUID wire_id = to_fbs(id);
  builder.FinishSizePrefixed(fbs::CreateMessage(builder, Opcode::Ping, &wire_id, payload));
  const auto* frame = reinterpret_cast<const std::byte*>(builder.GetBufferPointer());
  return {frame, frame + builder.GetSize()};
}

TEST(Requests, MessagesOfOtherBuildersAreServedInTheirPlaceAmongOurs) {
  with_node(2, [](NodeUnderTest& test) -> Task<void> {
    for (const Via via : {Via::websocket, Via::compressed, Via::tcp}) {
      ProtocolClient* client = co_await test.connect(via);
      std::vector<std::pair<protocol::Uuid, std::string>> sent;
      std::vector<std::byte> batch;
      for (std::size_t i = 0; i < 60; ++i) {
        const auto& [id, data] =
            sent.emplace_back(client->new_transaction(), std::string(i, static_cast<char>(i)));
        std::vector<std::byte> frame;
        if (i % 3 == 0) {
          frame = foreign_ping(id, data);
        } else {
          const protocol::MessageHeader header{.transaction_id = id,
                                               .span_id = i % 3 == 1 ? 0 : std::uint64_t{i}};
          protocol::append_frame(frame, header, protocol::PingBody{.data = bytes_of(data)});
        }
        batch.insert(batch.end(), frame.begin(), frame.end());
      }
      client->send_bytes(batch);
      std::uint64_t before = 0;
      for (const auto& [id, data] : sent) {
        const ServerMessage pong = co_await client->reply(id);
        EXPECT_EQ(pong.opcode, Opcode::Pong);
        EXPECT_EQ(pong.data, data);
        EXPECT_GT(pong.arrival, before);
        before = pong.arrival;
      }
    }
  });
}

TEST(Requests, APongFromAClientIsTakenInSilence) {
  with_node(2, [](NodeUnderTest& test) -> Task<void> {
    for (const Via via : kTransports) {
      ProtocolClient* client = co_await test.connect(via);
      const protocol::Uuid id = client->send(protocol::PongBody{.data = {}, .server_time = 1});
      const bool settled = co_await client->settle();
      EXPECT_TRUE(settled);
      EXPECT_TRUE(client->events().empty());
      // A reply would have come ahead of that to the Ping.
      EXPECT_FALSE(client->has_reply(id));
    }
  });
}

TEST(Requests, OpcodesThatAreNotServedGetTheErrorOfTheirClass) {
  with_node(2, [](NodeUnderTest& test) -> Task<void> {
    for (const Via via : kTransports) {
      ProtocolClient* client = co_await test.connect(via);
      for (std::uint16_t number = 0; number < 300; ++number) {
        if ((number >= 1 && number <= 11) || (number >= 64 && number <= 71)) continue;
        if (number >= 15 && number <= 18) continue;
        SCOPED_TRACE(number);
        const auto opcode = static_cast<Opcode>(number);
        ErrorCode expected = ErrorCode::unknown_opcode;
        if (number >= 12 && number <= 18) expected = ErrorCode::unsupported_opcode;
        if (number >= 19 && number <= 63) expected = ErrorCode::unexpected_opcode;
        if (number >= 128 && number <= 199) expected = ErrorCode::unexpected_opcode;
        const protocol::RawBody body{.kOpcode = opcode, .payload = bytes_of("any")};
        const ServerMessage reply = co_await client->request(body);
        expect_error(reply, expected, opcode);
        EXPECT_EQ(reply.retry_after_ms, 0u);
      }
      const protocol::RawBody last{.kOpcode = static_cast<Opcode>(65'535), .payload = {}};
      const ServerMessage reply = co_await client->request(last);
      expect_error(reply, ErrorCode::unknown_opcode, static_cast<Opcode>(65'535));
    }
  });
}

}  // namespace
}  // namespace corelane
