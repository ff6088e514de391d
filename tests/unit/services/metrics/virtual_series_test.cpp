// Goal: the series of DashboardMetrics has a point a second with what happened in it, as many as
// are asked for, and at most those of five minutes; a core that does not answer costs a second and
// is said to be down. Method: virtual time.
#include <gtest/gtest.h>

#include <string>

#include "runtime/await.hpp"
#include "runtime/task_group.hpp"

#include "tests/unit/services/metrics/metrics_page.hpp"
#include "tests/unit/services/metrics/metrics_replies.hpp"
#include "tests/unit/services/requests.hpp"

namespace corelane {
namespace {

using runtime::kSecond;
using runtime::Task;
using tests::bytes_of;
using tests::dashboard;
using tests::NodeUnderTest;
using tests::ProtocolClient;
using tests::Via;
using tests::with_node;

namespace fbs = protocol::fbs;

TEST(VirtualSeries, HasAPointASecondWithWhatHappenedInIt) {
  with_node(2, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect_on(1);
    if (client == nullptr) co_return;
    co_await test.close_spare();
    co_await subscribe(client, "news");
    co_await runtime::sleep_for(5 * kSecond);
    for (int second = 0; second < 10; ++second) {
      for (int i = 0; i < 7; ++i) {
        const protocol::PingBody ping{.data = bytes_of("x")};
        co_await client->request(ping);
      }
      co_await runtime::sleep_for(kSecond);
    }
    const auto reply = co_await dashboard(client, 0);
    if (!reply) co_return;
    const fbs::CoreSeries* core = reply->cores()->Get(1);
    EXPECT_GE(core->points()->size(), 14u);
    EXPECT_LE(core->points()->size(), 20u);
    std::uint64_t before = 0;
    std::uint64_t messages = 0;
    for (const fbs::SeriesPoint* point : *core->points()) {
      if (before != 0) {
        EXPECT_GE(point->time_ms(), before + 900);
        EXPECT_LE(point->time_ms(), before + 1600);
        messages += point->messages_in();
      }
      before = point->time_ms();
    }
    // Seven in each of ten seconds; WhoAmI and the like may fall into the first point.
    EXPECT_GE(messages, 60u);
    EXPECT_LE(messages, 80u);
    const fbs::SeriesPoint* last = core->points()->Get(core->points()->size() - 1);
    EXPECT_EQ(last->sessions(), 1u);
    EXPECT_EQ(last->subscriptions(), 1u);
    EXPECT_GE(last->connections(), 1u);
    const auto few = co_await dashboard(client, 3);
    if (few) {
      EXPECT_EQ(few->cores()->Get(0)->points()->size(), 3u);
    }
  });
}

TEST(VirtualSeries, KeepsFiveMinutes) {
  services::NodeOptions options;
  options.websocket.ping_interval = 3600 * kSecond;
  with_node(tests::node_cores(1), options, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect(Via::websocket);
    co_await runtime::sleep_for(400 * kSecond);
    const auto reply = co_await dashboard(client, 0);
    if (reply) {
      EXPECT_EQ(reply->cores()->Get(0)->points()->size(), services::Series::kPoints);
    }
  });
}

// More cores and a small frame: fewer points, and no error.
TEST(VirtualSeries, FitsIntoAFrame) {
  services::NodeOptions options;
  options.dispatch.frame_bytes_max = 16 * 1024;
  options.websocket.ping_interval = 3600 * kSecond;
  with_node(tests::node_cores(2), options, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect(Via::websocket);
    co_await runtime::sleep_for(200 * kSecond);
    const auto reply = co_await dashboard(client, 0);
    if (!reply) co_return;
    EXPECT_GT(reply->cores()->Get(0)->points()->size(), 10u);
    EXPECT_LT(reply->cores()->Get(0)->points()->size(), 100u);
  });
}

constexpr runtime::Nanoseconds kHeld = 4 * kSecond;

Task<void> holds_lanes() {
  co_await runtime::call_on(1, []() -> Task<void> {
    runtime::Core::current().hold_lanes(true);
    co_await runtime::sleep_for(kHeld);
    runtime::Core::current().hold_lanes(false);
  });
}

// Lanes that are held are those of a core that does not come to its messages.
TEST(VirtualSeries, ACoreThatDoesNotAnswerIsLeftOut) {
  with_node(2, [](NodeUnderTest& test) -> Task<void> {
    runtime::TaskGroup group("held");
    group.spawn("held", holds_lanes);
    const runtime::Nanoseconds begin = runtime::Core::current().ring().now();
    std::string page;
    // The requests that core 1 serves itself get no figures at all.
    while (tests::value_of(page, "corelane_core_up{core=\"0\"}") != 1 ||
           tests::value_of(page, "corelane_core_up{core=\"1\"}") != 0) {
      page = co_await tests::http_get(test, "/metrics");
      EXPECT_TRUE(page.starts_with("HTTP/1.1 200 ")) << page;
      if (runtime::Core::current().ring().now() - begin >= kHeld) break;
    }
    EXPECT_LT(runtime::Core::current().ring().now() - begin, kHeld);
    EXPECT_EQ(page.find("corelane_sessions{core=\"1\"}"), std::string::npos);
    EXPECT_NE(page.find("corelane_sessions{core=\"0\"}"), std::string::npos);
    co_await group.join();
  });
}

}  // namespace
}  // namespace corelane
