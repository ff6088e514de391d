// Goal: a drain waits for the answers of an application's HTTP routes, within its deadline. Method:
// whole nodes on three cores in virtual time, with routes that wait.
#include <gtest/gtest.h>

#include <atomic>
#include <string>

#include "runtime/await.hpp"
#include "tests/support/http_site.hpp"
#include "tests/unit/services/node_under_test.hpp"

namespace corelane {
namespace {

using namespace net::http;
using namespace runtime;
using namespace tests;

constexpr CoreId kCores = 3;

// Handlers that have begun, on any core.
std::atomic<int> begun;

Task<void> until_begun(int count) {
  while (begun.load() < count) co_await sleep_for(kMillisecond);
}

// Answers when the drain has been waiting for a while.
Task<void> slow(void*, const OwnedRequest&, DeferredResponder to) {
  ++begun;
  while (!to.draining()) co_await sleep_for(kMillisecond);
  const bool slept = co_await sleep_for(150 * kMillisecond);
  EXPECT_TRUE(slept);
  EXPECT_EQ(to.respond(Status::ok, "text/plain", "slow"), Delivery::queued);
}
Task<void> never(void*, const OwnedRequest&, DeferredResponder to) {
  ++begun;
  const bool slept = co_await sleep_for(3600 * kSecond);
  EXPECT_FALSE(slept) << "it is cancelled";
  EXPECT_EQ(to.respond(Status::ok, "text/plain", "late"), Delivery::gone);
}

services::NodeOptions with_routes() {
  services::NodeOptions options;
  // Shorter than what the drain is to wait.
  options.websocket.close_timeout = 50 * kMillisecond;
  options.tcp.close_timeout = 50 * kMillisecond;
  options.http.linger = 50 * kMillisecond;
  options.http_routes.push_back({"GET", "/slow", {.coroutine = slow}});
  options.http_routes.push_back({"GET", "/never", {.coroutine = never}});
  return options;
}

Task<void> connect(NodeUnderTest& test, HttpClient& client) {
  co_await client.connect(test.node().cores()->network(), test.address(Via::websocket));
}

TEST(HttpRoutesDrain, ADrainWaitsForAnswersThatAreOnTheirWay) {
  begun = 0;
  HttpClient client;
  with_node(node_cores(kCores), with_routes(), [&](NodeUnderTest& test) {
    return [](NodeUnderTest& of, HttpClient& from) -> Task<void> {
      co_await connect(of, from);
      from.send(get("/slow"));
      co_await until_begun(1);
      co_await of.drain(600 * kSecond);
      EXPECT_EQ(of.cut_off(), 0u);
    }(test, client);
  });
  const auto answers = answers_in(client.received);
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].body, "slow");
  EXPECT_FALSE(answers[0].keep_alive);
}

TEST(HttpRoutesDrain, ADrainWaitsNoLongerThanItMay) {
  begun = 0;
  HttpClient client;
  with_node(node_cores(kCores), with_routes(), [&](NodeUnderTest& test) {
    return [](NodeUnderTest& of, HttpClient& from) -> Task<void> {
      co_await connect(of, from);
      from.send(get("/never"));
      co_await until_begun(1);
      const Nanoseconds start = Core::current().now();
      co_await of.drain(kSecond);
      const Nanoseconds taken = Core::current().now() - start;
      EXPECT_GE(taken, kSecond);
      // The rest is the virtual time in which the network and the handlers end.
      EXPECT_LE(taken, kSecond + 100 * kMillisecond);
      EXPECT_GE(of.cut_off(), 1u);
    }(test, client);
  });
  EXPECT_EQ(client.received, "");
}

}  // namespace
}  // namespace corelane
