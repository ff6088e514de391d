// Goal: a server that is told to answers /metrics and /debug/tasks, of all cores, in their formats;
// one that is not has no such routes. Method: a whole node and a raw HTTP client.
#include <gtest/gtest.h>

#include <string>

#include "runtime/await.hpp"
#include "runtime/task_group.hpp"
#include "tests/support/http_site.hpp"
#include "tests/unit/services/node_under_test.hpp"

namespace corelane {
namespace {

using runtime::Task;
using tests::HttpClient;
using tests::NodeUnderTest;
using tests::Via;
using tests::with_node;

Task<std::string> get(NodeUnderTest& test, std::string path) {
  HttpClient client;
  co_await client.connect(test.node().cores()->network(), test.address(Via::websocket));
  client.send("GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  co_await client.until_closed();
  co_return client.received;
}

bool has(const std::string& page, const std::string& text) {
  return page.find(text) != std::string::npos;
}

Task<void> sleeps() {
  co_await runtime::sleep_for(3600 * runtime::kSecond);
}

TEST(DebugRoutes, AnswerForAllCoresWhereTheyAreAskedFor) {
  services::NodeOptions options;
  options.debug_routes = true;
  with_node(tests::node_cores(2), options, [](NodeUnderTest& test) -> Task<void> {
    runtime::TaskGroup group("sleepers");
    group.spawn("a sleeper", sleeps);
    const std::string metrics = co_await get(test, "/metrics");
    EXPECT_TRUE(metrics.starts_with("HTTP/1.1 200 OK\r\n")) << metrics;
    EXPECT_TRUE(has(metrics, "Content-Type: text/plain; version=0.0.4"));
    EXPECT_TRUE(has(metrics, "\ncorelane_runtime_turns_total{core=\"1\"} "));
    EXPECT_TRUE(has(metrics, "\n# TYPE corelane_net_connections gauge\n"));
    EXPECT_TRUE(has(metrics, "\ncorelane_net_connections{core=\"0\"} "));
    const std::string tasks = co_await get(test, "/debug/tasks");
    EXPECT_TRUE(tasks.starts_with("HTTP/1.1 200 OK\r\n")) << tasks;
    EXPECT_TRUE(has(tasks, "a sleeper: waits for timer with ")) << tasks;
    EXPECT_TRUE(has(tasks, "core 1: ")) << tasks;
    EXPECT_TRUE(has(tasks, "HTTP handler: waits for core "));  // this page is being made
    group.cancel();
    co_await group.join();
  });
}

TEST(DebugRoutes, AreNotThereUnlessTheyAreAskedFor) {
  with_node(1, [](NodeUnderTest& test) -> Task<void> {
    const std::string metrics = co_await get(test, "/metrics");
    EXPECT_TRUE(metrics.starts_with("HTTP/1.1 404 ")) << metrics;
    const std::string tasks = co_await get(test, "/debug/tasks");
    EXPECT_TRUE(tasks.starts_with("HTTP/1.1 404 ")) << tasks;
  });
}

}  // namespace
}  // namespace corelane
