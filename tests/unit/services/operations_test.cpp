// Goal: what clients ask for by opcodes is there for any code on a core: handlers publish, send and
// broadcast, coroutines receive from channels, and each completion reaches its reply target, or
// none. Method: a whole node whose handlers do so, on several cores.
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "runtime/await.hpp"
#include "runtime/combine.hpp"
#include "services/pubsub/channel_reader.hpp"
#include "services/reply/reply.hpp"
#include "tests/unit/services/node_under_test.hpp"
#include "tests/unit/services/requests.hpp"

namespace corelane {
namespace {

using protocol::ErrorCode;
using runtime::Core;
using runtime::CoreId;
using runtime::Task;
using services::BroadcastDone;
using services::ChannelReader;
using services::completion_of;
using services::Published;
using services::PubSub;
using services::ReplyTo;
using services::Sent;
using services::Sessions;
using tests::bytes_of;
using tests::NodeUnderTest;
using tests::ProtocolClient;
using tests::ServerMessage;
using tests::Via;
using tests::with_node;

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

auto publish_and_wait(std::string_view channel, std::string_view data) {
  return completion_of<Published>([=](const ReplyTo& to) {
    PubSub::local().publish({.channel = channel, .data = bytes_of(data)}, to);
  });
}

Task<void> join(ChannelReader& reader, std::string_view channel) {
  const auto joined = co_await reader.subscribe(channel);
  EXPECT_EQ(joined->code(), ErrorCode::none);
}

// On each core in turn, so that owners and sessions are near and far.
template <class Body>
Task<void> on_each_core(const Body& body) {
  for (CoreId core = 0; core < Core::current().cores(); ++core) {
    co_await runtime::submit_to(core, [&body, core] { return body(core); });
  }
}

TEST(Operations, APublishThatIsAwaitedTellsItsPlaceAndHowManyGotIt) {
  with_node(tests::node_cores(3), {}, [](NodeUnderTest& test) -> Task<void> {
    std::vector<ProtocolClient*> clients;
    for (CoreId core = 0; core < 3; ++core) {
      clients.push_back(co_await test.connect_on(core));
      co_await tests::subscribe(clients.back(), "news");
    }
    std::uint64_t offset = 0;
    co_await on_each_core([&offset](CoreId core) -> Task<void> {
      const auto done = co_await publish_and_wait("news", "n" + std::to_string(core));
      EXPECT_TRUE(done);
      EXPECT_EQ(done->code, ErrorCode::none);
      EXPECT_EQ(done->delivered, 3u);
      EXPECT_EQ(done->offset, ++offset);
      const auto refused = co_await publish_and_wait("", "x");
      EXPECT_EQ(refused->code, ErrorCode::channel_name_invalid);
    });
    for (ProtocolClient* client : clients) {
      for (int core = 0; core < 3; ++core) {
        const ServerMessage event = co_await client->event();
        EXPECT_EQ(event.data, "n" + std::to_string(core));
        EXPECT_EQ(event.from, protocol::kNilUuid);
      }
    }
  });
}

TEST(Operations, SendsAndBroadcastsOfTheServerReachSessionsEverywhere) {
  with_node(tests::node_cores(3), {}, [](NodeUnderTest& test) -> Task<void> {
    std::vector<ProtocolClient*> clients;
    for (CoreId core = 0; core < 3; ++core) clients.push_back(co_await test.connect_on(core));
    co_await test.close_spare();
    const bool all_there = co_await test.sessions_are(3);
    EXPECT_TRUE(all_there);
    co_await on_each_core([&clients](CoreId core) -> Task<void> {
      for (ProtocolClient* client : clients) {
        const protocol::Uuid to = client->uuid();
        const std::string data = "s" + std::to_string(core);
        const auto sent = co_await completion_of<Sent>([&](const ReplyTo& reply) {
          Sessions::local().send({.to = to, .data = bytes_of(data)}, reply);
        });
        EXPECT_EQ(sent->code, ErrorCode::none);
      }
      const auto nobody = co_await completion_of<Sent>([](const ReplyTo& reply) {
        Sessions::local().send({.to = protocol::Uuid{}, .data = {}}, reply);
      });
      EXPECT_EQ(nobody->code, ErrorCode::unknown_session);
      const auto all = co_await completion_of<BroadcastDone>([](const ReplyTo& reply) {
        Sessions::local().broadcast({.data = bytes_of("b")}, reply);
      });
      EXPECT_EQ(all->delivered, 3u);
      // Nobody waits for these.
      Sessions::local().send({.to = protocol::Uuid{}, .data = {}}, {});
      PubSub::local().publish({.channel = "", .data = {}}, {});
    });
    for (ProtocolClient* client : clients) {
      for (int core = 0; core < 3; ++core) {
        const ServerMessage sent = co_await client->event();
        EXPECT_EQ(sent.opcode, protocol::Opcode::DirectMessage);
        EXPECT_EQ(sent.data, "s" + std::to_string(core));
        const ServerMessage all = co_await client->event();
        EXPECT_EQ(all.opcode, protocol::Opcode::BroadcastMessage);
        EXPECT_EQ(all.data, "b");
      }
    }
  });
}

TEST(Operations, ACompletionThatNobodyWaitsForAnyMoreIsDropped) {
  with_node(tests::node_cores(2), {}, [](NodeUnderTest&) -> Task<void> {
    co_await on_each_core([](CoreId) -> Task<void> {
      const auto wait = []() -> Task<runtime::Result<Published>> {
        co_return co_await publish_and_wait("far", "x");
      };
      // Given up in the turn in which it began.
      const auto done = co_await runtime::with_timeout(runtime::Nanoseconds{0}, wait());
      if (!done) {
        EXPECT_EQ(done.error().code, runtime::ErrorCode::timed_out);
      }
      EXPECT_EQ(Core::current().replies_awaited(), 0u);
      const auto next = co_await publish_and_wait("far", "y");
      EXPECT_EQ(next->code, ErrorCode::none);
    });
  });
}

// Each route defers its answer, which comes with the completion of the operation.
services::NodeOptions with_routes() {
  using net::http::Request;
  using net::http::Responder;
  using net::http::RouteMatch;
  services::NodeOptions options;
  options.http_routes.push_back(
      {"GET",
       "/publish/:channel",
       {.run = [](void*, const Request&, const RouteMatch& match, Responder& responder) {
         PubSub::local().publish({.channel = match.parameter("channel"), .data = bytes_of("h")},
                                 ReplyTo::http(responder.defer()));
       }}});
  options.http_routes.push_back(
      {"GET", "/send", {.run = [](void*, const Request&, const RouteMatch&, Responder& responder) {
         Sessions::local().send({.to = protocol::Uuid{}, .data = {}},
                                ReplyTo::http(responder.defer()));
       }}});
  options.http_routes.push_back(
      {"GET",
       "/broadcast",
       {.run = [](void*, const Request&, const RouteMatch&, Responder& responder) {
         Sessions::local().broadcast({.data = bytes_of("h")}, ReplyTo::http(responder.defer()));
       }}});
  return options;
}

Task<std::string> get(NodeUnderTest& test, std::string_view path) {
  ProtocolClient* client = co_await test.connect(Via::bytes, test.address(Via::websocket));
  client->send_bytes(bytes_of("GET " + std::string(path) +
                              " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
  co_await client->closed();
  co_return client->text();
}

TEST(Operations, ACompletionIsTheAnswerOfARequestOverHttp) {
  with_node(tests::node_cores(3), with_routes(), [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect(Via::websocket);
    co_await tests::subscribe(client, "web");
    // Connections are spread over the cores, so owners are near and far.
    for (int i = 1; i <= 8; ++i) {
      const std::string published = co_await get(test, "/publish/web");
      EXPECT_NE(published.find("200 OK"), std::string::npos) << published;
      EXPECT_NE(published.find("\"offset\":" + std::to_string(i) + ",\"delivered\":1}"),
                std::string::npos)
          << published;
    }
    const std::string invalid = co_await get(test, "/publish/%01");
    EXPECT_NE(invalid.find(" 400 "), std::string::npos) << invalid;
    EXPECT_NE(invalid.find(R"({"error":"channel_name_invalid"})"), std::string::npos);
    const std::string nobody = co_await get(test, "/send");
    EXPECT_NE(nobody.find(" 404 "), std::string::npos) << nobody;
    const std::string all = co_await get(test, "/broadcast");
    EXPECT_NE(all.find("200 OK"), std::string::npos) << all;
  });
}

TEST(ChannelReaders, ReceiveTheEventsOfTheirChannelsInOrder) {
  with_node(tests::node_cores(3), {}, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect(Via::websocket);
    co_await on_each_core([client](CoreId) -> Task<void> {
      ChannelReader reader;
      const auto a = co_await reader.subscribe("a");
      const auto b = co_await reader.subscribe("b");
      EXPECT_EQ(a->code(), ErrorCode::none);
      EXPECT_EQ(b->code(), ErrorCode::none);
      const auto again = co_await reader.subscribe("a");
      EXPECT_EQ(again->code(), ErrorCode::already_subscribed);
      for (int i = 0; i < 20; ++i) {
        PubSub::local().publish({.channel = i % 2 == 0 ? "a" : "b",
                                 .data = bytes_of(std::to_string(i)),
                                 .publisher = client->uuid(),
                                 .trace_id = client->uuid(),
                                 .span_id = static_cast<std::uint64_t>(i)},
                                {});
      }
      std::uint64_t at_a = a->offset();
      std::uint64_t at_b = b->offset();
      for (int i = 0; i < 20; ++i) {
        const auto event = co_await reader.next();
        EXPECT_TRUE(event);
        if (!event) co_return;
        const bool is_a = event->channel == "a";
        std::uint64_t& at = is_a ? at_a : at_b;
        EXPECT_EQ(event->offset, ++at);
        EXPECT_EQ(event->epoch, is_a ? a->epoch() : b->epoch());
        EXPECT_EQ(event->span_id, std::stoull(text_of(event->data)));
        EXPECT_EQ(event->publisher, client->uuid());
        EXPECT_EQ(event->trace_id, client->uuid());
        EXPECT_GT(event->timestamp, 0u);
      }
      const auto left = co_await reader.unsubscribe("a");
      EXPECT_EQ(left->offset(), at_a);
      EXPECT_EQ(reader.queued_bytes(), 0u);
    });
    // The end of the node checks that the readers' memory was freed.
  });
}

TEST(ChannelReaders, OneThatIsTooSlowGetsWhatIsQueuedAndThenItsEnd) {
  with_node(tests::node_cores(2), {}, [](NodeUnderTest&) -> Task<void> {
    co_await on_each_core([](CoreId) -> Task<void> {
      ChannelReader slow(64 * 1024);
      ChannelReader quick;
      co_await join(slow, "flood");
      co_await join(quick, "flood");
      const std::string data(10'000, 'x');
      int read = 0;
      for (int i = 0; i < 50; ++i) {
        // The readers are not told before the publish is: the next one fills their queues.
        const auto done = co_await publish_and_wait("flood", data);
        EXPECT_EQ(done->delivered, i < 6 ? 2u : 1u) << i;
        const auto event = co_await quick.next();
        EXPECT_TRUE(event);
        ++read;
      }
      EXPECT_EQ(read, 50);
      int queued = 0;
      for (;;) {
        const auto event = co_await slow.next();
        if (!event) {
          EXPECT_EQ(event.error().code, runtime::ErrorCode::limit_exceeded);
          break;
        }
        EXPECT_EQ(event->data.size(), data.size());
        ++queued;
      }
      EXPECT_EQ(queued, 6);
    });
  });
}

TEST(ChannelReaders, AWaitForAnEventCanBeGivenUp) {
  with_node(tests::node_cores(1), {}, [](NodeUnderTest&) -> Task<void> {
    ChannelReader reader;
    co_await join(reader, "silent");
    const auto nothing = co_await runtime::with_timeout(runtime::kMillisecond, reader.next());
    EXPECT_FALSE(nothing);
    const auto done = co_await publish_and_wait("silent", "now");
    EXPECT_EQ(done->delivered, 1u);
    const auto event = co_await reader.next();
    EXPECT_TRUE(event);
    EXPECT_EQ(text_of(event->data), "now");
  });
}

// Subscribers of sessions and of coroutines hold the same channels and leave them in any order.
TEST(ChannelReaders, ShareChannelsWithSessions) {
  with_node(tests::node_cores(2), {}, [](NodeUnderTest& test) -> Task<void> {
    std::vector<ProtocolClient*> clients;
    for (int i = 0; i < 4; ++i) {
      clients.push_back(co_await test.connect_on(0));
      co_await tests::subscribe(clients.back(), "shared");
    }
    {
      std::optional<ChannelReader> first(std::in_place);
      ChannelReader second;
      co_await join(*first, "other");
      co_await join(*first, "shared");
      co_await join(second, "shared");
      first.reset();
      const std::uint64_t before = co_await test.sessions();
      clients[0]->close();
      co_await clients[0]->closed();
      const bool is_gone = co_await test.sessions_are(before - 1);
      EXPECT_TRUE(is_gone);
      const auto done = co_await publish_and_wait("shared", "x");
      EXPECT_EQ(done->delivered, 4u);
      const auto event = co_await second.next();
      EXPECT_EQ(text_of(event->data), "x");
    }
    const auto done = co_await publish_and_wait("shared", "y");
    EXPECT_EQ(done->delivered, 3u);
  });
}

TEST(Publish, SubscribersGetTheTraceAndSpanOfThePublisher) {
  with_node(tests::node_cores(3), {}, [](NodeUnderTest& test) -> Task<void> {
    for (const Via via : {Via::websocket, Via::compressed, Via::tcp}) {
      for (CoreId core = 0; core < 3; ++core) {
        ProtocolClient* publisher = co_await test.connect_on(core);
        ProtocolClient* subscriber = co_await test.connect(via);
        co_await tests::subscribe(subscriber, "traced");
        const protocol::PublishBody body{
            .channel = "traced", .data = bytes_of("x"), .requires_ack = true};
        const protocol::Uuid trace = subscriber->uuid();
        co_await publisher->request(
            body, {.transaction_id = {}, .timestamp = 1, .trace_id = trace, .span_id = 77});
        const ServerMessage traced = co_await subscriber->event();
        EXPECT_EQ(traced.trace_id, trace);
        EXPECT_EQ(traced.span_id, 77u);
        EXPECT_EQ(traced.data, "x");
        EXPECT_EQ(traced.from, publisher->uuid());
        co_await publisher->request(body);
        const ServerMessage plain = co_await subscriber->event();
        EXPECT_EQ(plain.trace_id, protocol::kNilUuid);
        EXPECT_EQ(plain.span_id, 0u);
        EXPECT_EQ(plain.offset, traced.offset + 1);
      }
    }
  });
}

}  // namespace
}  // namespace corelane
