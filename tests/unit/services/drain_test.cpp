// Goal: a node that drains tells every client, hands over what it has taken in before, ends in
// time whatever clients do, and leaves nothing. Method: whole nodes with clients of every kind, of
// which some never answer.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "runtime/task_group.hpp"
#include "tests/support/raw_socket.hpp"
#include "tests/unit/services/node_under_test.hpp"

namespace corelane {
namespace {

using protocol::ErrorCode;
using protocol::Opcode;
using runtime::CoreId;
using runtime::Task;
using tests::bytes_of;
using tests::NodeUnderTest;
using tests::ProtocolClient;
using tests::ServerMessage;
using tests::Via;
using tests::with_node;

Task<ServerMessage> subscribe(ProtocolClient* client, std::span<const std::string_view> channels) {
  const protocol::SubscribeBody body{.channels = channels};
  co_return co_await client->request(body);
}

constexpr std::string_view kHandshake =
    "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";

constexpr std::string_view kChannels[] = {"a", "b", "c", "d", "e", "f"};

TEST(Drain, TellsEveryClientBehindWhatWasPublishedBefore) {
  with_node(3, [](NodeUnderTest& test) -> Task<void> {
    std::vector<ProtocolClient*> clients;
    for (CoreId core = 0; core < 3; ++core) {
      for (const Via via : {Via::websocket, Via::compressed, Via::tcp}) {
        clients.push_back(co_await test.connect_on(core, via));
        co_await subscribe(clients.back(), kChannels);
      }
    }
    ProtocolClient* publisher = co_await test.connect_on(1);
    for (int i = 0; i < 20; ++i) {
      for (const std::string_view channel : kChannels) {
        publisher->send(
            protocol::PublishBody{.channel = channel, .data = {}, .requires_ack = false});
      }
    }
    co_await publisher->settle();  // the server has taken all in
    const runtime::Nanoseconds begin = runtime::Core::current().now();
    co_await test.drain(3600 * runtime::kSecond);
    EXPECT_EQ(test.cut_off(), 0u);
    EXPECT_LT(runtime::Core::current().now() - begin, 1800 * runtime::kSecond);
    for (ProtocolClient* client : clients) {
      EXPECT_FALSE(client->open());
      std::size_t events = 0;
      for (const ServerMessage& message : client->events()) {
        events += message.opcode == Opcode::Event ? 1 : 0;
      }
      EXPECT_EQ(events, 20 * std::size(kChannels));
      if (client->via() == Via::tcp) {
        EXPECT_EQ(client->events().back().error, ErrorCode::draining);
        EXPECT_EQ(client->events().back().transaction_id, protocol::kNilUuid);
      } else {
        EXPECT_EQ(client->close_code(), ws::CloseCode::going_away);
      }
    }
    // And nobody gets in any more.
    for (const Via via : {Via::websocket, Via::tcp}) {
      ProtocolClient* late = co_await test.connect(via, test.address(via));
      EXPECT_FALSE(late->open());
    }
  });
}

// Closing very many sessions in one turn held a core for 30 ms.
TEST(Drain, ATurnTellsABoundedNumberOfSessions) {
  static constexpr std::size_t kClients = 2 * services::CoreNode::kEndedInATurn + 50;
  runtime::RuntimeOptions options = tests::node_cores(1);
  options.ring.direct_descriptors = 2048;
  with_node(options, {}, [](NodeUnderTest& test) -> Task<void> {
    for (std::size_t i = 0; i < kClients; ++i) co_await test.connect(Via::tcp);
    const auto untold = [&test] {
      std::size_t count = 0;
      test.node().cores()->sessions().for_each(
          [&count](services::Session& session) { count += session.closing() ? 0u : 1u; });
      return count;
    };
    std::size_t before = untold();
    EXPECT_EQ(before, kClients);
    runtime::TaskGroup group("drain");
    group.spawn("drain", [](NodeUnderTest* node) { return node->drain(); }, &test);
    while (before > 0) {
      co_await runtime::Yield{};
      const std::size_t now = untold();
      EXPECT_LE(before - now, services::CoreNode::kEndedInATurn);
      before = now;
    }
    co_await group.join();
    EXPECT_EQ(test.cut_off(), 0u);
  });
}

TEST(Drain, AClientThatNeverAnswersTheCloseIsCutAtTheDeadline) {
  services::NodeOptions options;
  options.websocket.close_timeout = 3600 * runtime::kSecond;  // does not end it first
  with_node(tests::node_cores(2), options, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* polite = co_await test.connect(Via::websocket);
    ProtocolClient* deaf = co_await test.connect(Via::bytes, test.address(Via::websocket));
    deaf->send_bytes(bytes_of(kHandshake));
    const bool upgraded = co_await deaf->wait_until(
        [deaf] { return deaf->text().find("\r\n\r\n") != std::string::npos; });
    EXPECT_TRUE(upgraded);
    EXPECT_EQ(deaf->text().substr(0, 12), "HTTP/1.1 101");
    const runtime::Nanoseconds begin = runtime::Core::current().now();
    co_await test.drain(300 * runtime::kMillisecond);
    const runtime::Nanoseconds took = runtime::Core::current().now() - begin;
    EXPECT_GE(took, 300 * runtime::kMillisecond);
    EXPECT_LT(took, 1800 * runtime::kSecond);
    EXPECT_GE(test.cut_off(), 1u);
    EXPECT_EQ(polite->close_code(), ws::CloseCode::going_away);
    EXPECT_NE(deaf->text().find("\x03\xe9"), std::string::npos) << "1001 was said";
    EXPECT_FALSE(deaf->open());
  });
}

std::string half_frame() {
  std::vector<std::byte> frame;
  protocol::append_frame(frame, {}, protocol::PingBody{.data = bytes_of("ping")});
  return {reinterpret_cast<const char*>(frame.data()), frame.size() - 3};
}

// Peers that send the beginning of something, and then neither read nor end their direction.
struct Stuck {
  Via via;
  std::string text;
  runtime::Descriptor socket{};
};
Task<void> begin(NodeUnderTest& test, std::span<Stuck> peers) {
  const auto received = [&test] {
    return test.node().cores()->network().counters().bytes_received;
  };
  for (Stuck& peer : peers) {
    peer.socket = co_await tests::connect_raw(test.address(peer.via));
    const std::uint64_t expected = received() + peer.text.size();
    if (peer.text.empty()) continue;
    const bool sent = co_await tests::send_raw(peer.socket, peer.text);
    EXPECT_TRUE(sent);
    while (received() < expected) co_await runtime::Yield{};
  }
  const auto count = static_cast<std::uint32_t>(peers.size());
  while (test.node().cores()->network().stream_count() < count) co_await runtime::Yield{};
}

// Drains with all the time there is; what it took.
Task<runtime::Nanoseconds> timed_drain(NodeUnderTest& test) {
  const runtime::Nanoseconds start = runtime::Core::current().now();
  co_await test.drain(3600 * runtime::kSecond);
  co_return runtime::Core::current().now() - start;
}

// Half a head once held a drain until its deadline.
TEST(Drain, UnfinishedInputIsLetGoAtOnce) {
  services::NodeOptions options;
  options.websocket.close_timeout = options.tcp.close_timeout = options.http.linger =
      3600 * runtime::kSecond;
  with_node(tests::node_cores(1), options, [](NodeUnderTest& test) -> Task<void> {
    const std::string handshake{kHandshake};
    Stuck peers[] = {
        {.via = Via::websocket, .text = ""},
        {.via = Via::websocket, .text = "GET /healthz HTTP/1.1\r\nHost: x\r\n"},
        {.via = Via::websocket, .text = handshake.substr(0, handshake.size() - 2)},
        {.via = Via::websocket, .text = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"},
        {.via = Via::tcp, .text = half_frame()},
        {.via = Via::tcp, .text = half_frame().substr(0, 2)},
    };
    co_await begin(test, peers);
    const runtime::Nanoseconds took = co_await timed_drain(test);
    EXPECT_LT(took, 1800 * runtime::kSecond);  // the close timeout would be an hour
    constexpr std::string_view kAnswers[] = {"", "HTTP/1.1 503", "HTTP/1.1 503", "HTTP/1.1 200"};
    for (std::size_t i = 0; i < std::size(kAnswers); ++i) {
      const std::string answer = co_await tests::receive_raw(peers[i].socket);
      EXPECT_EQ(answer.substr(0, 12), kAnswers[i]);
    }
    for (const Stuck& peer : peers) tests::close_raw(peer.socket);
  });
}

// Whatever it is that a peer does not do.
TEST(Drain, NoPeerHoldsItBeyondTheCloseTimeout) {
  services::NodeOptions options;
  options.websocket.close_timeout = options.tcp.close_timeout = options.http.linger =
      500 * runtime::kMillisecond;
  const std::string handshake{kHandshake};
  const std::string head = "POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n";
  Stuck all[] = {
      {.via = Via::websocket, .text = handshake},                    // answers no close
      {.via = Via::websocket, .text = handshake + "\x82\xfe\x10"},   // half a frame's header
      {.via = Via::websocket, .text = handshake + "\x02\x81 key?"},  // an unfinished message
      {.via = Via::websocket, .text = head + "12345678"},            // half a body
      {.via = Via::tcp, .text = ""},                                 // does not end its direction
  };
  for (Stuck& peer : all) {
    SCOPED_TRACE(peer.text);
    with_node(tests::node_cores(1), options, [&peer](NodeUnderTest& test) -> Task<void> {
      co_await begin(test, {&peer, 1});
      const runtime::Nanoseconds took = co_await timed_drain(test);
      EXPECT_GE(took, 400 * runtime::kMillisecond);
      EXPECT_LT(took, 60 * runtime::kSecond);
      tests::close_raw(peer.socket);
    });
  }
}

TEST(Drain, NothingIsLeftOfSubscriptionsThatEndWithTheNode) {
  with_node(3, [](NodeUnderTest& test) -> Task<void> {
    for (int i = 0; i < 10; ++i) {
      ProtocolClient* client = co_await test.connect(i % 2 == 0 ? Via::websocket : Via::tcp);
      co_await subscribe(client, kChannels);
      client->pause_receiving();  // never sees the close
    }
    co_await test.drain(0);
    EXPECT_EQ(test.cut_off() > 0, true);
    const std::uint64_t left = co_await test.sessions();
    EXPECT_EQ(left, 0u);
  });
}

}  // namespace
}  // namespace corelane
