// Goal: the page of metrics counts what happened, exactly where that can be said: messages by
// opcode and direction, bytes, errors, closes; times of handlers and answers are measured; both
// formats have their form. Method: clients with known requests on one and two cores.
#include <gtest/gtest.h>

#include <string>

#include "tests/unit/services/metrics/metrics_page.hpp"
#include "tests/unit/services/requests.hpp"

namespace corelane {
namespace {

using protocol::Opcode;
using runtime::CoreId;
using runtime::Task;
using tests::bytes_of;
using tests::http_get;
using tests::NodeUnderTest;
using tests::ProtocolClient;
using tests::ServerMessage;
using tests::sum_of;
using tests::value_of;
using tests::Via;
using tests::with_node;

constexpr int kPings = 100;

std::string opcode(const std::string& name) {
  return "opcode=\"" + name + "\"";
}

// What one client does on a node of so many cores, and what the page says of it.
void count_traffic(CoreId cores, Via via) {
  with_node(tests::node_cores(cores), {}, [cores, via](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect(via);
    std::size_t ping_bytes = 0;
    std::size_t pong_bytes = 0;
    for (int i = 0; i < kPings; ++i) {
      const protocol::PingBody ping{.data = bytes_of("12345678")};
      const ServerMessage pong = co_await client->request(ping);
      EXPECT_EQ(pong.opcode, Opcode::Pong);
      protocol::MessageHeader header;
      header.transaction_id = pong.transaction_id;
      ping_bytes += protocol::frame_bytes(header, ping);
      header.timestamp = pong.timestamp;
      pong_bytes += protocol::frame_bytes(
          header, protocol::PongBody{.data = ping.data, .server_time = pong.server_time});
    }
    const ServerMessage subscribed = co_await subscribe(client, "news");
    EXPECT_EQ(subscribed.opcode, Opcode::SubscribeReply);
    const ServerMessage ack = co_await publish(client, "news", "hello");
    EXPECT_EQ(ack.opcode, Opcode::Ack);
    const ServerMessage event = co_await client->event();
    EXPECT_EQ(event.opcode, Opcode::Event);
    const ServerMessage refused = co_await publish(client, "", "hello");
    EXPECT_EQ(refused.opcode, Opcode::Error);
    const ServerMessage unknown = co_await client->request(
        protocol::RawBody{.kOpcode = static_cast<Opcode>(4711), .payload = {}});
    EXPECT_EQ(unknown.opcode, Opcode::Error);

    const std::string page = co_await http_get(test, "/metrics");
    const auto sum = [&](const std::string& name, const std::string& labels) {
      return sum_of(page, "corelane_" + name, labels, cores);
    };
    EXPECT_EQ(sum("messages_received_total", opcode("Ping")), kPings);
    EXPECT_EQ(sum("messages_sent_total", opcode("Pong")), kPings);
    EXPECT_EQ(sum("messages_received_bytes_total", opcode("Ping")), ping_bytes);
    EXPECT_EQ(sum("messages_sent_bytes_total", opcode("Pong")), pong_bytes);
    EXPECT_EQ(sum("messages_received_total", opcode("Publish")), 2);
    EXPECT_EQ(sum("messages_received_total", opcode("other")), 1);
    EXPECT_EQ(sum("messages_sent_total", opcode("Event")), 1);
    EXPECT_EQ(sum("messages_sent_total", opcode("Ack")), 1);
    EXPECT_EQ(sum("messages_sent_total", opcode("Error")), 2);
    EXPECT_EQ(sum("errors_sent_total", "code=\"channel_name_invalid\""), 1);
    EXPECT_EQ(sum("errors_sent_total", "code=\"unknown_opcode\""), 1);
    EXPECT_EQ(sum("pubsub_subscriptions", ""), 1);
    EXPECT_EQ(sum("pubsub_channels", "kind=\"owned\""), 1);
    EXPECT_EQ(sum("sessions", ""), 1);
    // The first 64 of an opcode are measured, and some of the others.
    const std::string ping = "{" + opcode("Ping") + "}";
    EXPECT_GE(value_of(page, "corelane_handler_seconds_count" + ping).value_or(0), 64);
    EXPECT_LE(value_of(page, "corelane_handler_seconds_count" + ping).value_or(0), kPings);
    EXPECT_EQ(value_of(page, "corelane_reply_seconds_count" + ping),
              value_of(page, "corelane_handler_seconds_count" + ping));
    // Answered later, by the channel's owner; the refused one at once.
    EXPECT_EQ(value_of(page, "corelane_reply_seconds_count{" + opcode("Publish") + "}"), 2);
    EXPECT_EQ(value_of(page, "corelane_reply_seconds_count{" + opcode("ClientSubscribe") + "}"), 1);
    client->close();
    co_await client->closed();
    const bool ended = co_await test.sessions_are(0);
    EXPECT_TRUE(ended);
    const std::string after = co_await http_get(test, "/metrics");
    if (via == Via::tcp) {
      EXPECT_EQ(sum_of(after, "corelane_tcp_session_ends_total", "reason=\"left\"", cores), 1);
    } else {
      EXPECT_EQ(sum_of(after, "corelane_websocket_closes_total", "code=\"1000\"", cores), 1);
    }
    EXPECT_EQ(sum_of(after, "corelane_pubsub_subscriptions", "", cores), 0);
  });
}

TEST(MetricsPage, CountsWhatAClientDoesOnOneCore) {
  count_traffic(1, Via::websocket);
}
TEST(MetricsPage, CountsWhatAClientDoesOnTwoCores) {
  count_traffic(2, Via::websocket);
}
TEST(MetricsPage, CountsWhatAClientDoesOverTcp) {
  count_traffic(2, Via::tcp);
}

// A publish without an acknowledgement has no answer: no time of one is told, and what is measured
// later is not hindered by it.
TEST(MetricsPage, ARequestWithoutAnswerHasNoTimeOfOne) {
  with_node(1, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect(Via::websocket);
    for (int i = 0; i < 20; ++i) {
      client->send(protocol::PublishBody{.channel = "news", .data = bytes_of("x")});
    }
    const bool settled = co_await client->settle();
    EXPECT_TRUE(settled);
    const std::string page = co_await http_get(test, "/metrics");
    const std::string publish = "{" + opcode("Publish") + "}";
    EXPECT_EQ(value_of(page, "corelane_handler_seconds_count" + publish), 20);
    EXPECT_EQ(value_of(page, "corelane_reply_seconds_count" + publish), std::nullopt);
    const std::string who = "{" + opcode("WhoAmI") + "}";
    EXPECT_EQ(value_of(page, "corelane_reply_seconds_count" + who), 1);
  });
}

TEST(MetricsPage, HandlersOfAnApplicationAreCountedByTheirNumber) {
  services::HandlerTable handlers;
  const auto answer = [](services::Request& request) { request.reply("done"); };
  handlers.add(200, {.name = "one", .plain = answer, .coroutine = {}});
  handlers.add(65'535, {.name = "one", .plain = answer, .coroutine = {}});
  services::NodeOptions options;
  options.handlers = &handlers;
  with_node(tests::node_cores(1), options, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect(Via::websocket);
    for (const int number : {200, 65'535, 65'535, 300}) {
      co_await client->request(
          protocol::RawBody{.kOpcode = static_cast<Opcode>(number), .payload = {}});
    }
    const std::string page = co_await http_get(test, "/metrics");
    for (const auto& [name, count] : {std::pair{"200", 1}, {"65535", 2}}) {
      EXPECT_EQ(sum_of(page, "corelane_messages_received_total", opcode(name), 1), count);
      EXPECT_EQ(sum_of(page, "corelane_messages_sent_total", opcode(name), 1), count);
    }
    EXPECT_EQ(sum_of(page, "corelane_messages_received_total", opcode("other"), 1), 1);
  });
}

TEST(MetricsPage, HasTheFormThatTheReaderAsksFor) {
  with_node(2, [](NodeUnderTest& test) -> Task<void> {
    const std::string text = co_await http_get(test, "/metrics");
    EXPECT_NE(text.find("Content-Type: text/plain; version=0.0.4"), std::string::npos);
    EXPECT_NE(text.find("\n# TYPE corelane_sessions_opened_total counter\n"), std::string::npos);
    EXPECT_EQ(text.find("# EOF"), std::string::npos);
    EXPECT_EQ(value_of(text, "corelane_core_up{core=\"1\"}"), 1);
    EXPECT_GT(value_of(text, "corelane_runtime_turns_total{core=\"1\"}").value_or(0), 0);
    const std::string open = co_await http_get(
        test, "/metrics",
        "Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;"
        "q=0.3\r\n");
    EXPECT_NE(open.find("Content-Type: application/openmetrics-text; version=1.0.0"),
              std::string::npos);
    EXPECT_NE(open.find("\n# TYPE corelane_sessions_opened counter\n"), std::string::npos);
    EXPECT_NE(open.find("\ncorelane_sessions_opened_total{core=\"0\"} "), std::string::npos);
    EXPECT_TRUE(open.ends_with("\n# EOF\n"));
  });
}

TEST(MetricsPage, TakesTheFormOfTheGreaterWeight) {
  using services::Metrics;
  constexpr auto kText = runtime::MetricsFormat::prometheus;
  constexpr auto kOpen = runtime::MetricsFormat::open_metrics;
  EXPECT_EQ(Metrics::format_for(""), kText);
  EXPECT_EQ(Metrics::format_for("*/*"), kText);
  EXPECT_EQ(Metrics::format_for("text/html, text/plain"), kText);
  EXPECT_EQ(Metrics::format_for("application/openmetrics-text"), kOpen);
  EXPECT_EQ(Metrics::format_for("application/openmetrics-text;q=0"), kText);
  EXPECT_EQ(Metrics::format_for("application/openmetrics-text;q=0.0"), kText);
  EXPECT_EQ(Metrics::format_for("text/plain;q=0.75,application/openmetrics-text;q=0.5"), kText);
  EXPECT_EQ(Metrics::format_for("text/plain;q=0.25,application/openmetrics-text;q=0.5"), kOpen);
}

}  // namespace
}  // namespace corelane
