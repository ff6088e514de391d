// Goal: NodeMetrics and DashboardMetrics answer with what happened on all cores, take what the
// request chooses, and refuse what is no request or one too many. Method: clients on one and two
// cores.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "protocol/verify.hpp"
#include "tests/unit/services/metrics/metrics_replies.hpp"
#include "tests/unit/services/requests.hpp"

namespace corelane {
namespace {

using protocol::ErrorCode;
using protocol::Opcode;
using runtime::CoreId;
using runtime::Task;
using tests::bytes_of;
using tests::dashboard;
using tests::expect_error;
using tests::figure_of;
using tests::find_opcode;
using tests::node_metrics;
using tests::NodeUnderTest;
using tests::ProtocolClient;
using tests::ServerMessage;
using tests::Via;
using tests::with_node;

namespace fbs = protocol::fbs;

void report(CoreId cores, Via via) {
  services::NodeOptions options;
  options.dispatch.node_name = "node-7";
  options.dispatch.server_version = "1.2.3";
  with_node(tests::node_cores(cores), options, [cores, via](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect(via);
    for (int i = 0; i < 10; ++i) {
      const protocol::PingBody ping{.data = bytes_of("12345678")};
      co_await client->request(ping);
    }
    co_await subscribe(client, "news");
    const auto reply = co_await node_metrics(client);
    if (!reply) co_return;
    EXPECT_EQ(reply->node()->string_view(), "node-7");
    EXPECT_EQ(reply->server_version()->string_view(), "1.2.3");
    EXPECT_GT(reply->time(), 0u);
    EXPECT_EQ(reply->cores()->size(), cores);
    std::uint32_t sessions = 0;
    std::uint32_t subscriptions = 0;
    std::uint32_t channels = 0;
    CoreId next = 0;
    for (const fbs::CoreFigures* core : *reply->cores()) {
      EXPECT_EQ(core->core(), next++);
      EXPECT_TRUE(core->up());
      EXPECT_GT(core->turns(), 0u);
      sessions += core->sessions();
      subscriptions += core->subscriptions();
      channels += core->channels();
    }
    EXPECT_EQ(sessions, 1u);
    EXPECT_EQ(subscriptions, 1u);
    EXPECT_EQ(channels, 1u);
    const fbs::OpcodeFigures* ping = find_opcode(reply, "Ping");
    const fbs::OpcodeFigures* pong = find_opcode(reply, "Pong");
    if (ping == nullptr || pong == nullptr) co_return;
    EXPECT_EQ(ping->opcode(), Opcode::Ping);
    EXPECT_EQ(ping->received(), 10u);
    EXPECT_EQ(ping->sent(), 0u);
    EXPECT_EQ(pong->sent(), 10u);
    EXPECT_NE(ping->handler(), nullptr);
    if (ping->handler() != nullptr) {
      EXPECT_EQ(ping->handler()->count(), 10u);
    }
    EXPECT_EQ(figure_of(reply, "pubsub_subscriptions"), 1u);
    EXPECT_EQ(figure_of(reply, "pubsub_channels", "kind=\"owned\""), 1u);
    EXPECT_EQ(figure_of(reply, "sessions"), 1u);
  });
}

TEST(NodeMetrics, TellWhatHappenedOnOneCore) {
  report(1, Via::websocket);
}
TEST(NodeMetrics, TellWhatHappenedOnTwoCores) {
  report(2, Via::websocket);
}
TEST(NodeMetrics, TellWhatHappenedOverTcp) {
  report(2, Via::tcp);
}

TEST(NodeMetrics, HaveTheFiguresThatAreAskedFor) {
  with_node(2, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect(Via::websocket);
    const auto some = co_await node_metrics(client, "pubsub_");
    const auto none = co_await node_metrics(client, "no such figure");
    if (!some || !none) co_return;
    EXPECT_GT(some->figures()->size(), 3u);
    for (const fbs::Figure* one : *some->figures()) {
      EXPECT_TRUE(one->name()->string_view().starts_with("pubsub_")) << one->name()->str();
      EXPECT_EQ(one->values()->size(), 2u);
    }
    EXPECT_EQ(none->figures()->size(), 0u);
    EXPECT_GT(none->opcodes()->size(), 0u);
  });
}

TEST(NodeMetrics, RefuseWhatIsNoRequestAndOneTooMany) {
  with_node(2, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect(Via::websocket);
    for (const Opcode opcode : {Opcode::NodeMetrics, Opcode::DashboardMetrics}) {
      const ServerMessage malformed = co_await client->request(
          protocol::RawBody{.kOpcode = opcode, .payload = bytes_of("no table")});
      expect_error(malformed, ErrorCode::malformed_payload, opcode);
    }
    // All in one message, so that none ends before the last has come.
    constexpr std::size_t kTooMany = services::Metrics::kReadersMax + 3;
    std::vector<std::byte> frames;
    std::vector<protocol::Uuid> ids;
    for (std::size_t i = 0; i < kTooMany; ++i) {
      ids.push_back(client->new_transaction());
      protocol::append_frame(frames, {.transaction_id = ids.back()},
                             protocol::RawBody{.kOpcode = Opcode::NodeMetrics, .payload = {}});
    }
    client->send_bytes(frames);
    std::size_t answered = 0;
    for (const protocol::Uuid& id : ids) {
      const ServerMessage reply = co_await client->reply(id);
      if (reply.opcode == Opcode::NodeMetricsReply) {
        ++answered;
      } else {
        expect_error(reply, ErrorCode::overloaded, Opcode::NodeMetrics);
        EXPECT_GT(reply.retry_after_ms, 0u);
      }
    }
    EXPECT_EQ(answered, services::Metrics::kReadersMax);
  });
}

TEST(DashboardMetrics, HaveASeriesForEachCore) {
  for (const CoreId cores : {CoreId{1}, CoreId{2}}) {
    with_node(cores, [cores](NodeUnderTest& test) -> Task<void> {
      ProtocolClient* client = co_await test.connect(Via::websocket);
      const auto reply = co_await dashboard(client, 0);
      if (!reply) co_return;
      EXPECT_EQ(reply->cores()->size(), cores);
      for (const fbs::CoreSeries* core : *reply->cores()) EXPECT_TRUE(core->up());
    });
  }
}

TEST(DashboardMetrics, NameTheBusiestChannelsWhereTheyMay) {
  for (const bool names : {false, true}) {
    services::NodeOptions options;
    options.metrics.names = names;
    with_node(tests::node_cores(2), options, [names](NodeUnderTest& test) -> Task<void> {
      ProtocolClient* client = co_await test.connect(Via::websocket);
      for (int i = 0; i < 1000; ++i) {
        client->send(protocol::PublishBody{.channel = "busy", .data = bytes_of("x")});
        if (i % 4 == 0)
          client->send(protocol::PublishBody{.channel = "less busy", .data = bytes_of("x")});
      }
      const bool settled = co_await client->settle();
      EXPECT_TRUE(settled);
      co_await publish(client, "busy");
      co_await publish(client, "less busy");
      const auto reply = co_await dashboard(client, 1);
      if (!reply) co_return;
      EXPECT_EQ(reply->busiest() != nullptr, names);
      if (!names) co_return;
      EXPECT_EQ(reply->busiest()->size(), 2u);
      EXPECT_EQ(reply->busiest()->Get(0)->name()->string_view(), "busy");
      EXPECT_EQ(reply->busiest()->Get(1)->name()->string_view(), "less busy");
      EXPECT_GT(reply->busiest()->Get(0)->per_second(), 0u);
    });
  }
}

TEST(DashboardMetrics, DoNotAnswerASessionThatHasGone) {
  with_node(2, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect(Via::tcp);
    client->send(protocol::RawBody{.kOpcode = Opcode::DashboardMetrics, .payload = {}});
    client->send(protocol::RawBody{.kOpcode = Opcode::NodeMetrics, .payload = {}});
    client->abort();
    const bool ended = co_await test.sessions_are(0);
    EXPECT_TRUE(ended);
  });
}

}  // namespace
}  // namespace corelane
