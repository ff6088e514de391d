// Goal: /metrics, /healthz and /readyz answer, also near the end of the memory and when there is no
// room for another client; a listener for operators takes /metrics off the others; /debug/tasks is
// there only where it is asked for. Method: whole nodes and raw HTTP clients.
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "runtime/await.hpp"
#include "runtime/combine.hpp"
#include "runtime/task_group.hpp"
#include "services/metrics/metrics.hpp"
#include "tests/unit/services/metrics/metrics_page.hpp"

namespace corelane {
namespace {

using runtime::Core;
using runtime::MemoryKind;
using runtime::Task;
using services::Heartbeats;
using services::Spoken;
using tests::http_get;
using tests::NodeUnderTest;
using tests::ProtocolClient;
using tests::Via;
using tests::with_node;

bool has(const std::string& page, const std::string& text) {
  return page.find(text) != std::string::npos;
}

const std::string kOpenMetrics = "Accept: application/openmetrics-text\r\n";

bool is_ok(const std::string& answer) {
  return answer.starts_with("HTTP/1.1 200 ");
}

Task<void> sleeps() {
  co_await runtime::sleep_for(3600 * runtime::kSecond);
}

TEST(OperatorRoutes, ListTasksOfAllCoresWhereTheyAreAskedFor) {
  services::NodeOptions options;
  options.debug_routes = true;
  with_node(tests::node_cores(2), options, [](NodeUnderTest& test) -> Task<void> {
    runtime::TaskGroup group("sleepers");
    group.spawn("a sleeper", sleeps);
    const std::string tasks = co_await http_get(test, "/debug/tasks");
    EXPECT_TRUE(is_ok(tasks)) << tasks;
    EXPECT_TRUE(has(tasks, "a sleeper: waits for timer with ")) << tasks;
    EXPECT_TRUE(has(tasks, "core 1: ")) << tasks;
    EXPECT_TRUE(has(tasks, "HTTP handler: waits for core "));  // this page is being made
    group.cancel();
    co_await group.join();
  });
}

TEST(OperatorRoutes, ListNoTasksUnlessTheyAreAskedFor) {
  with_node(1, [](NodeUnderTest& test) -> Task<void> {
    const std::string tasks = co_await http_get(test, "/debug/tasks");
    EXPECT_TRUE(tasks.starts_with("HTTP/1.1 404 ")) << tasks;
    const std::string metrics = co_await http_get(test, "/metrics");
    EXPECT_TRUE(is_ok(metrics));
  });
}

TEST(OperatorRoutes, AnswerNearTheEndOfTheMemoryButForReadiness) {
  runtime::RuntimeOptions cores = tests::node_cores(1);
  cores.memory_bytes_max = 64 << 20;
  with_node(cores, {}, [](NodeUnderTest& test) -> Task<void> {
    const std::string ready = co_await http_get(test, "/readyz");
    EXPECT_TRUE(is_ok(ready)) << ready;
    const std::size_t held = (64 << 20) / 16 * 12 + (1 << 20) - Core::current().memory().total();
    Core::current().memory().add(MemoryKind::queued, held);
    const std::string health = co_await http_get(test, "/healthz");
    EXPECT_TRUE(is_ok(health)) << health;
    const std::string metrics = co_await http_get(test, "/metrics");
    EXPECT_TRUE(is_ok(metrics)) << metrics;
    const std::string unready = co_await http_get(test, "/readyz");
    EXPECT_TRUE(unready.starts_with("HTTP/1.1 503 ")) << unready;
    EXPECT_TRUE(has(unready, "limits.memory_bytes_max")) << unready;
    Core::current().memory().remove(MemoryKind::queued, held);
    const std::string again = co_await http_get(test, "/readyz");
    EXPECT_TRUE(is_ok(again)) << again;
  });
}

// Coroutine handlers are refused beyond their limit, here none; the page is none of them.
TEST(OperatorRoutes, AnswerWhenNoHandlerMayRun) {
  services::NodeOptions options;
  options.debug_routes = true;
  options.http.handlers_max = 0;
  with_node(tests::node_cores(1), options, [](NodeUnderTest& test) -> Task<void> {
    const std::string tasks = co_await http_get(test, "/debug/tasks");
    EXPECT_TRUE(tasks.starts_with("HTTP/1.1 503 ")) << tasks;
    const std::string metrics = co_await http_get(test, "/metrics");
    EXPECT_TRUE(is_ok(metrics)) << metrics;
  });
}

// More than one reading of the cores serves; the second begins when the first has ended.
TEST(OperatorRoutes, AnswerAllWhoAskAtOnce) {
  with_node(tests::node_cores(2), {}, [](NodeUnderTest& test) -> Task<void> {
    std::vector<Task<std::string>> readers;
    for (int i = 0; i < 20; ++i) {
      readers.push_back(http_get(test, "/metrics", i % 2 == 0 ? "" : kOpenMetrics));
    }
    const std::vector<std::string> pages = co_await runtime::when_all(std::move(readers));
    EXPECT_EQ(pages.size(), 20u);
    for (std::size_t i = 0; i < pages.size(); ++i) {
      EXPECT_TRUE(is_ok(pages[i])) << pages[i];
      EXPECT_EQ(pages[i].ends_with("# EOF\n"), i % 2 != 0);
    }
  });
}

runtime::Address operators_address(NodeUnderTest& test) {
  return test.node().address(Spoken::operators);
}

TEST(OperatorRoutes, HaveAListenerOfTheirOwnWhereOneIsGiven) {
  services::NodeOptions options;
  options.debug_routes = true;
  options.connections_max = 20;
  options.listeners.push_back(
      {.address = *runtime::Address::parse("127.0.0.1:0"), .spoken = Spoken::operators});
  with_node(tests::node_cores(1), options, [](NodeUnderTest& test) -> Task<void> {
    const std::string away = co_await http_get(test, "/metrics");
    EXPECT_TRUE(away.starts_with("HTTP/1.1 404 ")) << away;
    const std::string tasks = co_await http_get(test, "/debug/tasks");
    EXPECT_TRUE(tasks.starts_with("HTTP/1.1 404 ")) << tasks;
    const std::string health = co_await http_get(test, "/healthz");
    EXPECT_TRUE(is_ok(health)) << health;
    // All places of clients are taken.
    bool has_room = true;
    for (int i = 0; i < 20 && has_room; ++i) {
      const ProtocolClient* client =
          co_await test.connect(Via::websocket, test.address(Via::websocket));
      has_room = client->open();
    }
    EXPECT_FALSE(has_room);
    const std::string full = co_await http_get(test, "/healthz");
    EXPECT_TRUE(full.starts_with("HTTP/1.1 503 ")) << full;
    for (const char* path : {"/metrics", "/healthz", "/readyz", "/debug/tasks"}) {
      const std::string answer = co_await http_get(test, operators_address(test), path);
      EXPECT_TRUE(is_ok(answer)) << path << answer;
    }
    const std::string none = co_await http_get(test, operators_address(test), "/");
    EXPECT_TRUE(none.starts_with("HTTP/1.1 404 ")) << none;
  });
}

TEST(OperatorRoutes, TellWhichCoreHasNotTurned) {
  services::NodeOptions options;
  options.metrics.beat_every = 3600 * runtime::kSecond;  // what is stored below stays
  with_node(tests::node_cores(2), options, [](NodeUnderTest& test) -> Task<void> {
    co_await runtime::call_on(1, [] {
      const runtime::Nanoseconds now = Core::current().ring().now();
      auto& beats = services::Metrics::local().heartbeats();
      beats.beat(0, now);
      beats.beat(1, now - Heartbeats::kAliveWithin - runtime::kSecond);
    });
    const std::string late = co_await http_get(test, "/healthz");
    EXPECT_TRUE(late.starts_with("HTTP/1.1 503 ")) << late;
    EXPECT_TRUE(has(late, "core 1 has not turned for more than 2 s")) << late;
    co_await runtime::call_on(1, [] {
      const runtime::Nanoseconds now = Core::current().ring().now();
      services::Metrics::local().heartbeats().beat(0, now);
      services::Metrics::local().heartbeats().beat(1, now);
    });
    const std::string health = co_await http_get(test, "/healthz");
    EXPECT_TRUE(is_ok(health)) << health;
  });
}

TEST(OperatorRoutes, GiveWayToTheApplicationsOwn) {
  services::NodeOptions options;
  const auto own = [](void*, const net::http::Request&, const net::http::RouteMatch&,
                      net::http::Responder& to) {
    EXPECT_TRUE(to.respond(net::http::Status::ok, "text/plain", "its own\n"));
  };
  options.http_routes = {{"GET", "/metrics", {.run = own}}, {"GET", "/readyz", {.run = own}}};
  with_node(tests::node_cores(1), options, [](NodeUnderTest& test) -> Task<void> {
    for (const char* path : {"/metrics", "/readyz"}) {
      const std::string answer = co_await http_get(test, path);
      EXPECT_TRUE(has(answer, "its own\n")) << answer;
    }
  });
}

}  // namespace
}  // namespace corelane
