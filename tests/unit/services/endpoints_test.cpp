// Goal: a node speaks its opcode protocol on the paths that it is told, an application's endpoints
// on theirs, and nothing on any other; all of them on one network, and all of them drained. Method:
// clients of ours against a node of two cores, over both rings.
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/http_site.hpp"
#include "tests/unit/services/node_under_test.hpp"
#include "tests/unit/services/raw_listener.hpp"

namespace corelane {
namespace {

using namespace runtime;
using services::NodeOptions;
using tests::NodeUnderTest;
using tests::RawListener;
using tests::status_at;
using tests::with_node;

// An endpoint of an application: says where it was asked, and repeats.
void say_path(ws::Connection& peer, ws::Handshake& asked) noexcept {
  const std::string text = std::string{asked.path} + " " + std::string{asked.parameter("room")};
  peer.send(ws::MessageKind::text, tests::bytes_of(text));
}
void repeat(ws::Connection& peer, ws::Message& message) noexcept {
  peer.echo(message);
}
void forget(ws::Connection&, ws::CloseCode, std::string_view) noexcept {}

NodeOptions with_rooms() {
  NodeOptions options;
  ws::EndpointOptions text;
  text.messages = ws::Messages::text;
  options.websocket_routes.push_back(
      {.pattern = "/rooms/:room", .options = text, .handler = {say_path, repeat, forget}});
  return options;
}

// The clients are on the network of core 0, and gone before it is.
void with_clients(const NodeOptions& options,
                  const std::function<Task<void>(NodeUnderTest&, ws::Endpoint&)>& body) {
  with_node(tests::node_cores(2), options, [&body](NodeUnderTest& test) -> Task<void> {
    ws::Endpoint clients(test.node().cores()->network(), {}, RawListener::kHandler, nullptr);
    co_await body(test, clients);
    if (!test.drained()) co_await test.drain();
    EXPECT_EQ(test.cut_off(), 0u);
  });
}

TEST(Endpoints, EachPathHasItsOwnAndAnyOtherIs404) {
  with_clients(with_rooms(), [](NodeUnderTest& test, ws::Endpoint& clients) -> Task<void> {
    const Address address = test.node().address();
    for (const auto& [target, status] :
         std::vector<std::pair<std::string, int>>{{"/", 101},
                                                  {"/ws", 101},
                                                  {"/?token=1", 101},
                                                  {"/rooms/7", 101},
                                                  {"/rooms", 404},
                                                  {"/ws/", 404},
                                                  {"/chat", 404},
                                                  {"/healthz", 404}}) {
      const int answered = co_await status_at(clients, address, target);
      EXPECT_EQ(answered, status) << target;
    }
    RawListener listener;
    const auto id = co_await clients.connect(address, "a", "/rooms/blue", &listener);
    EXPECT_TRUE(id);
    clients.find(*id)->send(ws::MessageKind::text, tests::bytes_of("hello"));
    co_await listener.until([&listener] { return listener.messages.size() == 2; });
    EXPECT_EQ(listener.messages, (std::vector<std::string>{"/rooms/blue blue", "hello"}));
    const std::uint64_t sessions = co_await test.sessions();
    EXPECT_EQ(sessions, 0u) << "a session belongs to the opcode protocol";
    clients.find(*id)->send(ws::MessageKind::binary, tests::bytes_of("binary"));
    co_await listener.until([&listener] { return listener.code.has_value(); });
    EXPECT_EQ(*listener.code, ws::CloseCode::unsupported_data);
  });
}

TEST(Endpoints, ThePathsOfTheOpcodeProtocolAreAnOption) {
  NodeOptions options;
  options.websocket_paths = {"/api/*rest"};
  with_clients(options, [](NodeUnderTest& test, ws::Endpoint& clients) -> Task<void> {
    const Address address = test.node().address();
    for (const auto& [target, status] : std::vector<std::pair<std::string, int>>{
             {"/api/", 101}, {"/api/v1/x", 101}, {"/", 404}, {"/ws", 404}, {"/api", 404}}) {
      const int answered = co_await status_at(clients, address, target);
      EXPECT_EQ(answered, status) << target;
    }
  });
}

TEST(Endpoints, PlainHttpIsToldWhatIsSpokenThere) {
  NodeOptions options = with_rooms();
  options.http_routes.push_back({"GET", "/ws", {.run = tests::site_routes::hello}});
  with_clients(options, [](NodeUnderTest& test, ws::Endpoint& clients) -> Task<void> {
    tests::HttpClient client;
    co_await client.connect(clients.network(), test.node().address());
    for (const std::string_view path : {"/", "/ws", "/rooms/1", "/rooms"}) {
      client.send("GET " + std::string{path} + " HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    co_await client.until([&client] {
      const auto answers = tests::answers_in(client.received);
      return answers.size() == 4 && answers.back().status != 0;
    });
    const auto answers = tests::answers_in(client.received);
    EXPECT_EQ(answers.at(0).status, 200);
    EXPECT_EQ(answers.at(1).body, "hello") << "of the application";
    EXPECT_EQ(answers.at(2).status, 426);
    EXPECT_EQ(answers.at(2).version_of_websocket, "13");
    EXPECT_EQ(answers.at(3).status, 404);
    client.stream()->abort();
    co_await client.until_closed();
  });
}

TEST(Endpoints, ADrainTellsThemAll) {
  with_clients(with_rooms(), [](NodeUnderTest& test, ws::Endpoint& clients) -> Task<void> {
    std::vector<RawListener> listeners(8);
    for (RawListener& each : listeners) {
      const auto id = co_await clients.connect(test.node().address(), "a", "/rooms/1", &each);
      EXPECT_TRUE(id);
    }
    co_await test.drain();
    EXPECT_EQ(test.cut_off(), 0u);
    for (RawListener& each : listeners) {
      co_await each.until([&each] { return each.code.has_value(); });
      EXPECT_EQ(*each.code, ws::CloseCode::going_away);
    }
  });
}

TEST(Endpoints, AnEndpointThatCannotBeToldApartIsAnErrorOfTheStart) {
  tests::run_on_cores(tests::node_cores(1), []() -> Task<void> {
    NodeOptions options = with_rooms();
    options.websocket_routes.push_back(options.websocket_routes.front());
    services::Node node(options);
    const auto failure = co_await node.start();
    EXPECT_TRUE(failure && failure->cause == services::Node::StartError::Cause::options);
    if (!failure) co_return co_await node.stop();
    EXPECT_EQ(failure->problem,
              "an endpoint at /rooms/:room has the subprotocols of another one there");
  });
}

}  // namespace
}  // namespace corelane
