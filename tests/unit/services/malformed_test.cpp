// Goal: whatever a client sends, it gets the answer that protocol/README.md promises, a WebSocket
// goes on with its next message, a TCP stream that has lost its place ends, and nobody else notices
// anything. Method: bytes that no builder would make, over both transports, beside a client that
// keeps working.
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "protocol/frame.hpp"
#include "tests/support/prng.hpp"
#include "tests/support/protocol_vectors.hpp"
#include "tests/support/seed.hpp"
#include "tests/unit/services/node_under_test.hpp"

namespace corelane {
namespace {

using protocol::ErrorCode;
using protocol::Opcode;
using runtime::Task;
using tests::bytes_of;
using tests::NodeUnderTest;
using tests::ProtocolClient;
using tests::ServerMessage;
using tests::Via;
using tests::with_node;
using Bytes = std::vector<std::byte>;

constexpr std::size_t kFrameBytesMax = 4096;

services::NodeOptions small_frames() {
  services::NodeOptions options;
  options.dispatch.frame_bytes_max = kFrameBytesMax;
  return options;
}

Bytes ping_frame(ProtocolClient& client, protocol::Uuid& id, std::size_t data_bytes = 3) {
  id = client.new_transaction();
  const std::string data(data_bytes, 'x');
  Bytes frame;
  protocol::append_frame(frame, {.transaction_id = id}, protocol::PingBody{.data = bytes_of(data)});
  return frame;
}

Bytes sized(std::uint32_t size, std::size_t bytes_behind) {
  Bytes frame(4 + bytes_behind);
  std::memcpy(frame.data(), &size, sizeof size);
  return frame;
}

void expect_nameless_error(const ServerMessage& error, ErrorCode code) {
  EXPECT_EQ(error.opcode, Opcode::Error);
  EXPECT_EQ(error.error, code) << error.data;
  EXPECT_EQ(error.failed_opcode, Opcode::None);
  EXPECT_EQ(error.transaction_id, protocol::kNilUuid);
}

// A client that has nothing to do with it, and shall not notice.
Task<void> expect_working(ProtocolClient* client) {
  const protocol::PublishBody body{.channel = "bystander", .data = {}, .requires_ack = true};
  const ServerMessage ack = co_await client->request(body);
  EXPECT_EQ(ack.delivered, 1u);
  const ServerMessage event = co_await client->event();
  EXPECT_EQ(event.offset, ack.offset);
}

Task<ProtocolClient*> bystander(NodeUnderTest& test) {
  ProtocolClient* client = co_await test.connect(Via::websocket);
  const std::string_view names[] = {"bystander"};
  const protocol::SubscribeBody body{.channels = names};
  co_await client->request(body);
  co_return client;
}

struct BadFrame {
  const char* name;
  Bytes bytes;
  ErrorCode code;
};

std::vector<BadFrame> bad_sizes() {
  std::vector<BadFrame> all;
  all.push_back({"size 0", sized(0, 0), ErrorCode::malformed_frame});
  all.push_back({"size 11", sized(11, 11), ErrorCode::malformed_frame});
  all.push_back(
      {"size one past the limit", sized(kFrameBytesMax - 3, 0), ErrorCode::frame_too_large});
  all.push_back({"size 2^31", sized(0x8000'0000, 0), ErrorCode::frame_too_large});
  all.push_back({"size 2^32-1", sized(0xffff'ffff, 16), ErrorCode::frame_too_large});
  return all;
}

// --- WebSocket

TEST(Malformed, AWebSocketMessageOfImpossibleFramesCostsThatMessage) {
  with_node(tests::node_cores(2), small_frames(), [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* other = co_await bystander(test);
    for (const Via via : {Via::websocket, Via::compressed}) {
      ProtocolClient* client = co_await test.connect(via);
      std::vector<BadFrame> all = bad_sizes();
      all.push_back({"nothing", {}, ErrorCode::malformed_frame});
      all.push_back({"half a size", Bytes(2), ErrorCode::malformed_frame});
      all.push_back({"cut off", sized(100, 99), ErrorCode::malformed_frame});
      for (BadFrame& bad : all) {
        SCOPED_TRACE(bad.name);
        // A good frame in front is served; what is behind the bad one is lost with it.
        protocol::Uuid first;
        protocol::Uuid lost;
        Bytes message = ping_frame(*client, first);
        const Bytes behind = ping_frame(*client, lost);
        const bool alone = bad.bytes.empty();
        if (alone) message.clear();
        message.insert(message.end(), bad.bytes.begin(), bad.bytes.end());
        const bool cut_off =
            std::strcmp(bad.name, "cut off") == 0 || std::strcmp(bad.name, "half a size") == 0;
        if (!alone && !cut_off) message.insert(message.end(), behind.begin(), behind.end());
        client->send_bytes(message);
        if (!alone) {
          const ServerMessage pong = co_await client->reply(first);
          EXPECT_EQ(pong.opcode, Opcode::Pong);
        }
        const ServerMessage error = co_await client->event();
        expect_nameless_error(error, bad.code);
        const bool settled = co_await client->settle();
        EXPECT_TRUE(settled);
        EXPECT_FALSE(client->has_reply(lost));
        EXPECT_TRUE(client->events().empty()) << "one Error is enough";
        co_await expect_working(other);
      }
    }
  });
}

TEST(Malformed, ATextMessageClosesWith1003) {
  with_node(2, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* other = co_await bystander(test);
    for (const std::string_view text : {"", "hello"}) {
      ProtocolClient* client = co_await test.connect(Via::websocket);
      client->send_text(text);
      client->send(protocol::PingBody{.data = {}});
      const bool closed = co_await client->closed();
      EXPECT_TRUE(closed);
      EXPECT_EQ(client->close_code(), ws::CloseCode::unsupported_data);
      EXPECT_TRUE(client->events().empty());
      co_await expect_working(other);
    }
  });
}

TEST(Malformed, AWebSocketMessagePastTheLimitClosesWith1009) {
  services::NodeOptions options = small_frames();
  options.websocket.reader.message_bytes_max = 2 * kFrameBytesMax;
  with_node(tests::node_cores(2), options, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* other = co_await bystander(test);
    ProtocolClient* client = co_await test.connect(Via::websocket);
    const bool sent = client->send_bytes(Bytes(2 * kFrameBytesMax + 1));
    EXPECT_TRUE(sent);
    co_await client->closed();
    EXPECT_EQ(client->close_code(), ws::CloseCode::message_too_big);
    co_await expect_working(other);
  });
}

// The frames in front fill the client's own outgoing queue with answers, which are larger than
// they.
TEST(Malformed, WhatFollowsTheFrameThatClosedTheSessionTakesNoEffect) {
  services::NodeOptions options;
  options.network.queued_bytes_max = 64 * 1024;
  with_node(tests::node_cores(1), options, [&options](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* other = co_await bystander(test);
    ProtocolClient* client = co_await test.connect(Via::websocket);
    const std::size_t pong_bytes =
        protocol::frame_bytes({.timestamp = 1}, protocol::PongBody{.data = {}, .server_time = 1});
    Bytes message;
    std::size_t answer_bytes = 0;
    while (answer_bytes <= options.network.queued_bytes_max) {
      protocol::append_frame(message, {}, protocol::PingBody{.data = {}});
      answer_bytes += pong_bytes;
    }
    protocol::append_frame(
        message, {},
        protocol::PublishBody{.channel = "bystander", .data = {}, .requires_ack = false});
    EXPECT_LT(message.size(), options.network.queued_bytes_max) << "the client could not send it";
    EXPECT_TRUE(client->send_bytes(message));
    const bool closed = co_await client->closed();
    EXPECT_TRUE(closed);
    EXPECT_EQ(client->close_code(), ws::CloseCode::policy_violation);
    const bool settled = co_await other->settle();
    EXPECT_TRUE(settled);
    EXPECT_TRUE(other->events().empty()) << "a publish of a session that was closed";
  });
}

TEST(Malformed, SeveralFramesInOneMessageAreServedInTheirOrder) {
  with_node(2, [](NodeUnderTest& test) -> Task<void> {
    for (const Via via : {Via::websocket, Via::compressed, Via::tcp}) {
      ProtocolClient* client = co_await test.connect(via);
      std::vector<protocol::Uuid> ids(100);
      Bytes message;
      for (protocol::Uuid& id : ids) {
        const Bytes frame = ping_frame(*client, id);
        message.insert(message.end(), frame.begin(), frame.end());
      }
      client->send_bytes(message);
      std::uint64_t before = 0;
      for (const protocol::Uuid& id : ids) {
        const ServerMessage pong = co_await client->reply(id);
        EXPECT_EQ(pong.opcode, Opcode::Pong);
        EXPECT_GT(pong.arrival, before);
        before = pong.arrival;
      }
    }
  });
}

// --- Both

TEST(Malformed, AFrameAtTheLimitIsServedOnePastItIsRefused) {
  with_node(tests::node_cores(2), small_frames(), [](NodeUnderTest& test) -> Task<void> {
    for (const Via via : {Via::websocket, Via::tcp}) {
      ProtocolClient* client = co_await test.connect(via);
      // An opcode that nobody serves: any payload will do, and the answer shows that it was read.
      Bytes frame;
      const Bytes payload(kFrameBytesMax - 80);
      const protocol::Uuid id = client->new_transaction();
      protocol::append_frame(
          frame, {.transaction_id = id},
          protocol::RawBody{.kOpcode = static_cast<Opcode>(999), .payload = payload});
      EXPECT_LE(frame.size(), kFrameBytesMax);
      frame.resize(kFrameBytesMax);  // what follows the table belongs to nobody
      const auto size = static_cast<std::uint32_t>(frame.size() - 4);
      std::memcpy(frame.data(), &size, sizeof size);
      client->send_bytes(frame);
      const ServerMessage reply = co_await client->reply(id);
      EXPECT_EQ(reply.error, ErrorCode::unknown_opcode);
      frame.resize(kFrameBytesMax + 1);
      const std::uint32_t past = size + 1;
      std::memcpy(frame.data(), &past, sizeof past);
      client->send_bytes(frame);
      const ServerMessage error = co_await client->event();
      expect_nameless_error(error, ErrorCode::frame_too_large);
      if (via == Via::websocket) {
        const bool settled = co_await client->settle();
        EXPECT_TRUE(settled);
      } else {
        const bool closed = co_await client->closed();
        EXPECT_TRUE(closed);
      }
    }
  });
}

TEST(Malformed, AFrameWithoutAMessageIsAnsweredAndTheConnectionGoesOn) {
  const tests::Seed seed = tests::test_seed();
  with_node(2, [&seed](NodeUnderTest& test) -> Task<void> {
    tests::Prng prng = seed.prng();
    ProtocolClient* other = co_await bystander(test);
    for (const Via via : {Via::websocket, Via::tcp}) {
      ProtocolClient* client = co_await test.connect(via);
      for (int round = 0; round < 50; ++round) {
        const auto bytes = static_cast<std::uint32_t>(prng.between(12, 300));
        Bytes frame = sized(bytes, bytes);
        prng.fill(std::span(frame).subspan(4));
        frame[7] = std::byte{0xff};  // the root lies outside
        client->send_bytes(frame);
        const ServerMessage error = co_await client->event();
        expect_nameless_error(error, ErrorCode::malformed_message);
      }
      const bool settled = co_await client->settle();
      EXPECT_TRUE(settled);
    }
    co_await expect_working(other);
  });
}

TEST(Malformed, APayloadThatIsNotOfItsOpcodesTypeIsAnsweredUnderItsTransaction) {
  const tests::Seed seed = tests::test_seed();
  with_node(2, [&seed](NodeUnderTest& test) -> Task<void> {
    tests::Prng prng = seed.prng();
    ProtocolClient* other = co_await bystander(test);
    for (const Via via : {Via::websocket, Via::tcp}) {
      ProtocolClient* client = co_await test.connect(via);
      for (const tests::ProtocolVector& vector : tests::kProtocolVectors) {
        if (!vector.is_request()) continue;
        SCOPED_TRACE(vector.name);
        const Opcode opcode{vector.opcode};
        for (int round = 0; round < 20; ++round) {
          Bytes payload(prng.between(1, 200));
          prng.fill(payload);
          if (payload.size() >= 4) payload[3] = std::byte{0xff};  // the root lies outside
          const protocol::RawBody body{.kOpcode = opcode, .payload = payload};
          const ServerMessage reply = co_await client->request(body);
          EXPECT_EQ(reply.error, ErrorCode::malformed_payload);
          EXPECT_EQ(reply.failed_opcode, opcode);
        }
        // Those without required fields take a payload that is absent; the others do not.
        const protocol::RawBody empty{.kOpcode = opcode, .payload = {}};
        const bool needs_nothing = tests::verifies(vector.table, {});
        if (needs_nothing && opcode != Opcode::WhoAmI && opcode != Opcode::Ping) continue;
        const ServerMessage reply = co_await client->request(empty);
        EXPECT_EQ(reply.error, needs_nothing ? ErrorCode::none : ErrorCode::malformed_payload);
      }
    }
    co_await expect_working(other);
  });
}

// --- TCP

TEST(Malformed, ATcpStreamWithAnImpossibleSizeGetsAnErrorAndEnds) {
  with_node(tests::node_cores(2), small_frames(), [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* other = co_await bystander(test);
    for (const bool at_once : {true, false}) {
      for (BadFrame& bad : bad_sizes()) {
        SCOPED_TRACE(bad.name);
        ProtocolClient* client = co_await test.connect(Via::tcp);
        protocol::Uuid first;
        Bytes bytes = ping_frame(*client, first);
        bytes.insert(bytes.end(), bad.bytes.begin(), bad.bytes.end());
        if (at_once) {
          client->send_bytes(bytes);
        } else {
          for (const std::byte byte : bytes) {
            if (!client->send_bytes({&byte, 1})) break;
            co_await runtime::sleep_for(100 * runtime::kMicrosecond);
          }
        }
        const ServerMessage pong = co_await client->reply(first);
        EXPECT_EQ(pong.opcode, Opcode::Pong);
        const ServerMessage error = co_await client->event();
        expect_nameless_error(error, bad.code);
        const bool closed = co_await client->closed();
        EXPECT_TRUE(closed);
        EXPECT_TRUE(client->events().empty());
        co_await expect_working(other);
      }
    }
  });
}

TEST(Malformed, ATcpStreamIsServedWhereverItIsCut) {
  const tests::Seed seed = tests::test_seed();
  with_node(2, [&seed](NodeUnderTest& test) -> Task<void> {
    tests::Prng prng = seed.prng();
    // Pieces of one byte, and of up to a few frames.
    for (const std::size_t piece_max : {std::size_t{1}, std::size_t{7}, std::size_t{300}}) {
      SCOPED_TRACE(piece_max);
      ProtocolClient* client = co_await test.connect(Via::tcp);
      std::vector<protocol::Uuid> ids(piece_max == 1 ? 3 : 20);
      Bytes stream;
      for (protocol::Uuid& id : ids) {
        const Bytes frame = ping_frame(*client, id, prng.below(100));
        stream.insert(stream.end(), frame.begin(), frame.end());
      }
      for (std::size_t at = 0; at < stream.size();) {
        const std::size_t piece =
            std::min<std::size_t>(prng.between(1, piece_max), stream.size() - at);
        client->send_bytes(std::span(stream).subspan(at, piece));
        at += piece;
        co_await runtime::sleep_for(50 * runtime::kMicrosecond);
      }
      for (const protocol::Uuid& id : ids) {
        const ServerMessage pong = co_await client->reply(id);
        EXPECT_EQ(pong.opcode, Opcode::Pong);
      }
      EXPECT_TRUE(client->open());
    }
  });
}

// Every place of one frame, followed by a whole one.
TEST(Malformed, ATcpFrameMayBeCutAtEveryByte) {
  with_node(1, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect(Via::tcp);
    protocol::Uuid first;
    const std::size_t frame_bytes = ping_frame(*client, first).size();
    for (std::size_t cut = 1; cut < 2 * frame_bytes; ++cut) {
      SCOPED_TRACE(cut);
      Bytes bytes = ping_frame(*client, first);
      protocol::Uuid second;
      const Bytes behind = ping_frame(*client, second);
      bytes.insert(bytes.end(), behind.begin(), behind.end());
      client->send_bytes(std::span(bytes).first(cut));
      co_await runtime::sleep_for(200 * runtime::kMicrosecond);
      client->send_bytes(std::span(bytes).subspan(cut));
      const ServerMessage one = co_await client->reply(first);
      EXPECT_EQ(one.opcode, Opcode::Pong);
      const ServerMessage two = co_await client->reply(second);
      EXPECT_EQ(two.opcode, Opcode::Pong);
    }
  });
}

TEST(Malformed, LargeTcpFramesAreGatheredUpToTheLimit) {
  with_node(2, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect(Via::tcp);
    for (const std::size_t size : {std::size_t{100'000}, std::size_t{1'000'000}}) {
      const std::string data(size, 'l');
      const protocol::PingBody body{.data = bytes_of(data)};
      const ServerMessage pong = co_await client->request(body);
      EXPECT_EQ(pong.data.size(), size);
    }
  });
}

}  // namespace
}  // namespace corelane
