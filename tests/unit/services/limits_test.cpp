// Goal: the limits of the services hold exactly: at the limit everything works, one past it is
// refused with its code and costs nobody else anything, and room that was given back can be taken
// again. Method: whole nodes with small limits.
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <vector>

#include "runtime/await.hpp"
#include "services/node/ip_limit.hpp"
#include "tests/unit/services/requests.hpp"

namespace corelane {
namespace {

using protocol::ErrorCode;
using protocol::Opcode;
using runtime::CoreId;
using runtime::Task;
using services::Request;
using tests::bytes_of;
using tests::NodeUnderTest;
using tests::ProtocolClient;
using tests::ServerMessage;
using tests::Via;
using tests::with_node;

constexpr std::size_t kChannelsMax = 3;

services::NodeOptions few_channels() {
  services::NodeOptions options;
  options.pubsub.channels_max = kChannelsMax;
  return options;
}

Task<ErrorCode> subscribe_code(ProtocolClient* client, std::string_view channel) {
  const ServerMessage reply = co_await subscribe(client, channel);
  EXPECT_EQ(reply.opcode, Opcode::SubscribeReply);
  co_return reply.results.at(0).code();
}

Task<ErrorCode> unsubscribe_code(ProtocolClient* client, std::string_view channel) {
  const ServerMessage reply = co_await unsubscribe(client, channel);
  co_return reply.results.at(0).code();
}

// --- Channels

// Which core owns a name is the server's affair, but how many channels all cores own is known.
TEST(Limits, APublishToOneChannelMoreThanACoreOwnsIsRefusedWithAHint) {
  for (const CoreId cores : {CoreId{1}, CoreId{3}}) {
    with_node(tests::node_cores(cores), few_channels(), [cores](NodeUnderTest& test) -> Task<void> {
      ProtocolClient* client = co_await test.connect(Via::websocket);
      std::vector<std::string> taken;
      std::vector<std::string> refused;
      for (int i = 0; i < 100; ++i) {
        const std::string name = "channel-" + std::to_string(i);
        const ServerMessage reply = co_await publish(client, name);
        (reply.opcode == Opcode::Ack ? taken : refused).push_back(name);
        if (reply.opcode == Opcode::Ack) continue;
        EXPECT_EQ(reply.error, ErrorCode::limit_exceeded);
        EXPECT_EQ(reply.failed_opcode, Opcode::Publish);
        EXPECT_GT(reply.retry_after_ms, 0u);
      }
      EXPECT_EQ(taken.size(), kChannelsMax * cores);
      for (const std::string& name : taken) {
        const ServerMessage ack = co_await publish(client, name);
        EXPECT_EQ(ack.opcode, Opcode::Ack);
        EXPECT_EQ(ack.offset, 2u);
      }
      // A publisher that wants no Ack also learns that its event is lost.
      for (std::size_t i = 0; i < refused.size(); i += 10) {
        const ServerMessage reply = co_await publish(client, refused[i], "", false);
        EXPECT_EQ(reply.error, ErrorCode::limit_exceeded);
      }
    });
  }
}

TEST(Limits, ASubscribeToOneChannelMoreThanACoreHoldsIsRefusedForThatChannel) {
  with_node(tests::node_cores(1), few_channels(), [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect(Via::websocket);
    const std::string_view names[] = {"a", "b", "c", "d", "e"};
    const protocol::SubscribeBody body{.channels = names};
    const ServerMessage reply = co_await client->request(body);
    EXPECT_EQ(reply.results.size(), 5u);
    for (std::size_t i = 0; i < reply.results.size(); ++i) {
      const bool fits = i < kChannelsMax;
      EXPECT_EQ(reply.results[i].code(), fits ? ErrorCode::none : ErrorCode::limit_exceeded);
      EXPECT_EQ(reply.results[i].epoch() != 0, fits);
    }
    // No session holds a refused channel. Any session can subscribe to a channel that exists.
    const ErrorCode not_held = co_await unsubscribe_code(client, "d");
    EXPECT_EQ(not_held, ErrorCode::not_subscribed);
    ProtocolClient* other = co_await test.connect(Via::tcp);
    EXPECT_EQ(co_await subscribe_code(other, "a"), ErrorCode::none);
    EXPECT_EQ(co_await subscribe_code(other, "d"), ErrorCode::limit_exceeded);
    const ServerMessage ack = co_await publish(client, "a");
    EXPECT_EQ(ack.delivered, 2u);
  });
}

// The owner refuses, and the core that asked takes the subscription back.
TEST(Limits, AnOwnerOnAnotherCoreRefusesOneChannelMoreThanItMayOwn) {
  with_node(tests::node_cores(2), few_channels(), [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* publisher = co_await test.connect_on(0);
    // Both cores own as many as they may.
    std::vector<std::string> owned;
    for (int i = 0; i < 100; ++i) {
      const std::string name = "owned-" + std::to_string(i);
      const ServerMessage reply = co_await publish(publisher, name);
      if (reply.opcode == Opcode::Ack) owned.push_back(name);
    }
    EXPECT_EQ(owned.size(), 2 * kChannelsMax);
    for (CoreId core = 0; core < 2; ++core) {
      SCOPED_TRACE(core);
      ProtocolClient* client = co_await test.connect_on(core);
      for (int i = 0; i < 20; ++i) {
        const std::string name = "new-" + std::to_string(i);
        EXPECT_EQ(co_await subscribe_code(client, name), ErrorCode::limit_exceeded);
        EXPECT_EQ(co_await unsubscribe_code(client, name), ErrorCode::not_subscribed);
      }
      // None of those has taken up room of this core.
      for (std::size_t i = 0; i < kChannelsMax; ++i) {
        EXPECT_EQ(co_await subscribe_code(client, owned[i]), ErrorCode::none);
      }
      EXPECT_EQ(co_await subscribe_code(client, owned[kChannelsMax]), ErrorCode::limit_exceeded);
      const ServerMessage ack = co_await publish(publisher, owned[0]);
      EXPECT_EQ(ack.delivered, core + 1u);
      // Room for a channel that the session gives back is there at once: its owner has it still.
      EXPECT_EQ(co_await unsubscribe_code(client, owned[1]), ErrorCode::none);
      EXPECT_EQ(co_await subscribe_code(client, owned[kChannelsMax]), ErrorCode::none);
    }
  });
}

// Requests that are under way when the session ends leave nothing behind (the node checks it).
TEST(Limits, ARefusedSubscribeOfASessionThatIsGoneIsNoTrouble) {
  with_node(tests::node_cores(3), few_channels(), [](NodeUnderTest& test) -> Task<void> {
    for (int i = 0; i < 30; ++i) {
      ProtocolClient* client = co_await test.connect(i % 2 == 0 ? Via::tcp : Via::websocket);
      for (int channel = 0; channel < 10; ++channel) {
        const std::string name = std::to_string(i) + "-" + std::to_string(channel);
        const std::string_view names[] = {name};
        client->send(protocol::SubscribeBody{.channels = names});
        if (channel % 3 == 0) client->send(protocol::UnsubscribeBody{.channels = names});
      }
      if (i % 3 == 0) {
        client->abort();
      } else {
        client->close();
      }
    }
    const bool gone = co_await test.sessions_are(0);
    EXPECT_TRUE(gone);
  });
}

// --- Connections

TEST(Limits, ACoreTakesItsShareOfConnectionsAndTellsOneMoreThatThereIsNoRoom) {
  services::NodeOptions options;
  // The clients of this test are streams of the server's core as well: there is room for two with
  // their sessions.
  options.connections_max = 4;
  with_node(tests::node_cores(1), options, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* first = co_await test.connect(Via::tcp);
    ProtocolClient* second = co_await test.connect(Via::tcp);
    ProtocolClient* third = co_await test.connect(Via::tcp, test.address(Via::tcp));
    EXPECT_FALSE(third->open());
    const ServerMessage error = co_await third->event();
    EXPECT_EQ(error.error, ErrorCode::overloaded);
    EXPECT_GT(error.retry_after_ms, 0u);
    ProtocolClient* http = co_await test.connect(Via::bytes, test.address(Via::websocket));
    const bool answered = co_await http->closed();
    EXPECT_TRUE(answered);
    EXPECT_EQ(http->text().substr(0, 12), "HTTP/1.1 503");
    const bool refused = co_await test.sessions_are(2);
    EXPECT_TRUE(refused);
    const bool works = co_await first->settle();
    EXPECT_TRUE(works);
    second->close();
    co_await second->closed();
    while (test.node().cores()->network().stream_count() > 2) co_await runtime::Yield{};
    ProtocolClient* fits = co_await test.connect(Via::websocket);
    const bool works_too = co_await fits->settle();
    EXPECT_TRUE(works_too);
  });
}

TEST(Limits, AnAddressHasItsConnectionsOnAllCoresTogetherAndNotOneMore) {
  services::NodeOptions options;
  options.connections_per_ip_max = 3;
  options.network.direct_descriptors = false;
  for (const CoreId cores : {CoreId{1}, CoreId{3}}) {
    with_node(tests::node_cores(cores), options, [](NodeUnderTest& test) -> Task<void> {
      std::vector<ProtocolClient*> clients;
      for (const Via via : {Via::websocket, Via::tcp, Via::websocket}) {
        clients.push_back(co_await test.connect(via));
      }
      for (int round = 0; round < 5; ++round) {
        const Via via = round % 2 == 0 ? Via::tcp : Via::websocket;
        ProtocolClient* refused = co_await test.connect(via, test.address(via));
        EXPECT_FALSE(refused->open());
        // A place that is given back can be taken again, once it is counted.
        clients.front()->close();
        co_await clients.front()->closed();
        clients.erase(clients.begin());
        const bool left = co_await test.sessions_are(2);
        EXPECT_TRUE(left);
        ProtocolClient* fits = nullptr;
        for (int attempt = 0; attempt < 60'000; ++attempt) {
          fits = co_await test.connect(via, test.address(via));
          if (fits->open()) break;
          co_await runtime::sleep_for(runtime::kMillisecond);
        }
        EXPECT_TRUE(fits->open());
        clients.push_back(fits);
      }
      for (ProtocolClient* client : clients) {
        const bool works = co_await client->settle();
        EXPECT_TRUE(works);
      }
    });
  }
}

// A client that may choose its address (a /64 of IPv6) must not be able to compute which addresses
// meet in the table.
TEST(Limits, TheTableOfAddressesIsSeeded) {
  using services::IpLimit;
  IpLimit::Key key{};
  std::size_t same = 0;
  for (std::uint8_t last = 0; last < 100; ++last) {
    key[15] = last;
    same += (IpLimit::KeyHash{1}(key) & 0xff) == (IpLimit::KeyHash{2}(key) & 0xff) ? 1u : 0u;
  }
  EXPECT_LE(same, 5u);
}

// --- Handlers

// A coroutine that answers, and waits to be let go.
struct Waiting {
  std::atomic<bool> let_go = false;
  services::HandlerTable handlers;

  Waiting() {
    handlers.add(300, {.name = "waiting", .plain = {}, .coroutine = [this](Request request) {
                         return wait(&let_go, std::move(request));
                       }});
  }
  static Task<void> wait(std::atomic<bool>* let_go, Request request) {
    request.reply("begun");
    while (!*let_go) {
      const auto slept = co_await runtime::sleep_for(runtime::kMillisecond);
      if (!slept) co_return;
    }
    request.reply("done");
  }
};

protocol::Uuid call(ProtocolClient* client, std::size_t payload_bytes) {
  const std::string payload(payload_bytes, 'x');
  return client->send(
      protocol::RawBody{.kOpcode = static_cast<Opcode>(300), .payload = bytes_of(payload)});
}

Task<void> expect_begun(ProtocolClient* client, protocol::Uuid id) {
  const ServerMessage reply = co_await client->reply(id);
  EXPECT_EQ(reply.data, "begun");
}

Task<void> expect_refused(ProtocolClient* client, protocol::Uuid id, ErrorCode code) {
  const ServerMessage reply = co_await client->reply(id);
  EXPECT_EQ(reply.error, code) << reply.data;
  EXPECT_EQ(reply.failed_opcode, static_cast<Opcode>(300));
  EXPECT_GT(reply.retry_after_ms, 0u);
}

TEST(Limits, ASessionsHandlersAreBoundedAndItsNeighboursAreNot) {
  Waiting waiting;
  services::NodeOptions options;
  options.handlers = &waiting.handlers;
  options.dispatch.handlers_per_session_max = 2;
  with_node(tests::node_cores(1), options, [&](NodeUnderTest& test) -> Task<void> {
    for (const Via via : {Via::websocket, Via::tcp}) {
      waiting.let_go = false;
      ProtocolClient* client = co_await test.connect(via);
      ProtocolClient* other = co_await test.connect(via);
      const protocol::Uuid first = call(client, 10);
      const protocol::Uuid second = call(client, 10);
      co_await expect_begun(client, first);
      co_await expect_begun(client, second);
      co_await expect_refused(client, call(client, 0), ErrorCode::limit_exceeded);
      const protocol::Uuid others = call(other, 10);
      co_await expect_begun(other, others);
      const bool settled = co_await client->settle();
      EXPECT_TRUE(settled) << "built-ins are served";
      waiting.let_go = true;
      const ServerMessage done = co_await client->reply(first);
      EXPECT_EQ(done.data, "done");
      co_await client->reply(second);
      co_await client->settle();
      co_await expect_begun(client, call(client, 10));
    }
  });
}

TEST(Limits, PayloadsOfRunningHandlersAreBoundedInBytes) {
  Waiting waiting;
  services::NodeOptions options;
  options.handlers = &waiting.handlers;
  options.dispatch.handler_bytes_max = 10'000;
  options.tcp.close_timeout = 100 * runtime::kMillisecond;  // a handler outlives its client
  with_node(tests::node_cores(1), options, [&](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect(Via::websocket);
    ProtocolClient* other = co_await test.connect(Via::tcp);
    const protocol::Uuid first = call(client, 6000);
    co_await expect_begun(client, first);
    co_await expect_refused(other, call(other, 4001), ErrorCode::overloaded);
    // To the limit, and nothing more but what has no payload.
    const protocol::Uuid fits = call(other, 4000);
    co_await expect_begun(other, fits);
    co_await expect_refused(client, call(client, 1), ErrorCode::overloaded);
    const protocol::Uuid empty = call(client, 0);
    co_await expect_begun(client, empty);
    waiting.let_go = true;
    for (const protocol::Uuid& id : {first, empty}) {
      const ServerMessage done = co_await client->reply(id);
      EXPECT_EQ(done.data, "done");
    }
    co_await other->reply(fits);
    co_await client->settle();
    co_await other->settle();
    // All of it was given back, also by those whose client has gone.
    waiting.let_go = false;
    ProtocolClient* leaves = co_await test.connect(Via::tcp);
    co_await expect_begun(leaves, call(leaves, 10'000));
    leaves->abort();
    const bool gone = co_await test.sessions_are(2);
    EXPECT_TRUE(gone);
    co_await expect_refused(client, call(client, 1), ErrorCode::overloaded);
    waiting.let_go = true;
    bool begun = false;
    for (int attempt = 0; attempt < 60'000 && !begun; ++attempt) {
      const ServerMessage reply = co_await client->reply(call(client, 10'000));
      begun = reply.error == ErrorCode::none;
      if (!begun) co_await runtime::sleep_for(runtime::kMillisecond);
    }
    EXPECT_TRUE(begun);
  });
}

}  // namespace
}  // namespace corelane
