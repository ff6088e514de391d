// Goal: an application's HTTP routes run beside the node's own, and may ask all cores for their
// part of an answer. Method: whole nodes on three cores.
#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <string>
#include <utility>

#include "runtime/sharded.hpp"
#include "runtime/task_group.hpp"
#include "tests/support/http_site.hpp"
#include "tests/unit/services/node_under_test.hpp"

namespace corelane {
namespace {

using namespace net::http;
using namespace runtime;
using namespace tests;

constexpr CoreId kCores = 3;

Task<void> sessions_of(CoreId core, std::uint32_t* into) {
  auto asked = submit_to(core, [] { return services::Sessions::local().count(); });
  *into = co_await std::move(asked);
}

// The sessions of all cores, which are asked at once.
Task<void> count_sessions(void*, const OwnedRequest&, DeferredResponder to) {
  std::array<std::uint32_t, kCores> counts{};
  TaskGroup group("sessions");
  for (CoreId core = 0; core < kCores; ++core) {
    group.spawn("sessions", sessions_of, core, &counts.at(core));
  }
  co_await group.join();
  std::uint32_t sum = 0;
  for (const std::uint32_t count : counts) sum += count;
  to.respond(Status::ok, "text/plain", std::to_string(sum));
}

Task<void> connect(NodeUnderTest& test, HttpClient& client) {
  co_await client.connect(test.node().cores()->network(), test.address(Via::websocket));
}

TEST(HttpRoutes, ARouteAsksAllCores) {
  services::NodeOptions options;
  options.http_routes.push_back({"GET", "/sessions", {.coroutine = count_sessions}});
  with_node(node_cores(kCores), options, [](NodeUnderTest& test) -> Task<void> {
    for (CoreId core = 0; core < kCores; ++core) co_await test.connect_on(core);
    co_await test.close_spare();
    const bool settled = co_await test.sessions_are(kCores);
    EXPECT_TRUE(settled);
    HttpClient client;
    co_await connect(test, client);
    client.send(get("/sessions") + get("/healthz", "Connection: close\r\n"));
    co_await client.until_closed();
    const auto answers = answers_in(client.received);
    EXPECT_EQ(answers.size(), 2u);
    EXPECT_EQ(answers.at(0).body, "3");
    EXPECT_EQ(answers.at(1).body, "ok\n");
  });
}

void serve_own(void*, const Request&, const RouteMatch&, Responder& to) {
  to.respond(Status::ok, "text/plain", "own");
}

// A service with routes that replace routes of the node.
class Pages : public services::Service {
 public:
  void add_routes(Routes& routes) override {
    for (const char* pattern : {"/", "/ws"}) routes.add("GET", pattern, {.run = serve_own});
  }
};

TEST(HttpRoutes, WhatAServiceOrAnApplicationServesTakesThePlaceOfTheNodesOwn) {
  services::NodeOptions options;
  options.services.push_back(
      {.name = "pages",
       .opcodes = {},
       .make = [](const services::ServiceStart&) -> std::unique_ptr<services::Service> {
         return std::make_unique<Pages>();
       }});
  options.http_routes.push_back({"GET", "/rooms/:id", {.run = serve_own}});
  options.websocket_routes.push_back({.pattern = "/rooms/:room", .options = {}, .handler = {}});
  with_node(node_cores(1), options, [](NodeUnderTest& test) -> Task<void> {
    HttpClient client;
    co_await connect(test, client);
    client.send(get("/") + get("/ws") + get("/rooms/7", "Connection: close\r\n"));
    co_await client.until_closed();
    const auto answers = answers_in(client.received);
    EXPECT_EQ(answers.size(), 3u);
    for (const HttpAnswer& answer : answers) EXPECT_EQ(answer.body, "own");
  });
}

TEST(HttpRoutes, ATakenRouteIsAnErrorOfTheStart) {
  run_on_cores(node_cores(1), []() -> Task<void> {
    services::NodeOptions options;
    options.http_routes.push_back({"GET", "/healthz", {}});
    services::Node node(options);
    const auto failure = co_await node.start();
    EXPECT_TRUE(failure && failure->cause == services::Node::StartError::Cause::options);
    if (!failure) co_return co_await node.stop();
    EXPECT_EQ(failure->problem, "route GET /healthz: conflicts with a route before it");
  });
}

}  // namespace
}  // namespace corelane
