// Goal: options that cannot do what they say are refused before anything starts, and settings win
// over options; what functions of an endpoint throw costs their connection alone. Method: run() of
// an app that returns at once; a node that serves the endpoint.
#include "services/framework.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "services/framework_route.hpp"
#include "tests/unit/services/greeter/greeter.hpp"
#include "tests/unit/services/node_under_test.hpp"
#include "tests/unit/services/raw_listener.hpp"

namespace corelane {
namespace {

TEST(Framework, AnOriginThatNoBrowserSendsIsRefused) {
  for (const char* origin : {"https://example.org/", "wss://example.org", "example.org", "null "}) {
    framework::options settings;
    settings.listen = {"127.0.0.1:0"};
    settings.origins = {"https://example.org", origin};
    framework::app app(std::move(settings));
    EXPECT_EQ(app.run(), 2) << origin;
  }
}

TEST(Framework, AnOptionThatCannotBeUsedIsToldLikeASetting) {
  framework::options settings;
  settings.listen = {"localhost:80"};
  settings.message_bytes_max = 0;
  framework::app app(std::move(settings));
  testing::internal::CaptureStderr();
  EXPECT_EQ(app.run(), 2);
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_NE(
      text.find("framework::options: listen = [\"localhost:80\"]: \"localhost:80\" is a name; "
                "write the address"),
      text.npos)
      << text;
  EXPECT_NE(
      text.find("framework::options: message_bytes_max = 0: is too small; allowed: 1 to 1GiB"),
      text.npos)
      << text;
}

TEST(Framework, FlagsAndVariablesWinOverOptionsAndTheseOverDefaults) {
  framework::options settings;
  settings.cores = 2;
  settings.channels_max = 7;
  settings.handlers_max = 5;
  settings.message_bytes_max = 3'000'000;
  framework::app app(std::move(settings));
  const char* arguments[] = {"my-server", "--cores", "3", "--print-config"};
  ASSERT_EQ(setenv("CORELANE_LIMITS_HANDLERS_MAX", "6", 1), 0);
  testing::internal::CaptureStdout();
  EXPECT_EQ(app.run(4, arguments), 0);
  ASSERT_EQ(unsetenv("CORELANE_LIMITS_HANDLERS_MAX"), 0);
  const std::string text = testing::internal::GetCapturedStdout();
  for (const char* line : {
           "cores = 3  # flag --cores\n",
           "channels_max = 7  # framework::options\n",
           "handlers_max = 6  # environment CORELANE_LIMITS_HANDLERS_MAX\n",
           "message_bytes_max = 3000000  # framework::options\n",
           "outgoing_queue_bytes_max = 3000000  # framework::options\n",
           "handlers_per_session_max = 1000  # default\n",
           "listen = [\"127.0.0.1:8080\"]  # default\n",
       }) {
    EXPECT_NE(text.find(line), text.npos) << line << text;
  }
}

// Bug D2 of the review: a plain handler's task was dropped, and the client got no answer.
constexpr auto kPlain = [](framework::request&) {};
constexpr auto kReturnsATask = [](framework::request&) -> framework::task<> { co_return; };
constexpr auto kReturnsANumber = [](framework::request&) { return 1; };
static_assert(framework::detail::is_plain_handler<decltype(kPlain)>);
static_assert(!framework::detail::is_plain_handler<decltype(kReturnsATask)>);
static_assert(!framework::detail::is_plain_handler<decltype(kReturnsANumber)>);

TEST(Framework, HelpBearsTheNameOfTheProgram) {
  framework::app app;
  const char* arguments[] = {"my-server", "--help"};
  testing::internal::CaptureStdout();
  EXPECT_EQ(app.run(2, arguments), 0);
  const std::string text = testing::internal::GetCapturedStdout();
  EXPECT_NE(text.find("Usage: my-server [FLAGS]"), text.npos);
  EXPECT_NE(text.find("--max-handlers"), text.npos);
}

// --- Conflicts between routes and services

struct Ran {
  int exit_code;
  std::string log;
};

Ran run(framework::app& app) {
  testing::internal::CaptureStderr();
  const int exit_code = app.run();
  return {exit_code, testing::internal::GetCapturedStderr()};
}

framework::options on_one_core() {
  framework::options settings;
  settings.listen = {"127.0.0.1:0"};
  settings.cores = 1;
  return settings;
}

framework::task<> answer_nothing(const framework::http_request&, framework::http_responder) {
  co_return;
}

TEST(Framework, RoutesThatClashEndTheStartAndNameTheRouteAndNoLimitOfTheHost) {
  framework::app app(on_one_core());
  app.on_http("GET", "/a/:b", answer_nothing).on_http("GET", "/a/:c", answer_nothing);
  const Ran ran = run(app);
  EXPECT_EQ(ran.exit_code, 2);
  EXPECT_NE(ran.log.find("cannot start: route GET /a/:c: conflicts with a route before it\n"),
            ran.log.npos)
      << ran.log;
  EXPECT_THROW(app.on_http("GET", "no-slash", answer_nothing), std::invalid_argument);
  EXPECT_THROW(app.on_http("GET IT", "/", answer_nothing), std::invalid_argument);
}

// The Greeter with other settings.
struct SilentGreeter : tests::Greeter {
  using Greeter::Greeter;
  static std::span<const services::config::Row<tests::GreeterOptions>> settings() noexcept {
    return {};
  }
};

TEST(Framework, TwoServicesThatServeOneOpcodeEndTheStart) {
  tests::GreeterOptions greeter;
  framework::app app(on_one_core());
  app.service<tests::Greeter>("greeter", greeter).service<SilentGreeter>("silent", greeter);
  const Ran ran = run(app);
  EXPECT_EQ(ran.exit_code, 2);
  EXPECT_NE(ran.log.find("cannot start: service silent: opcode 100 is Greet and Greet\n"),
            ran.log.npos)
      << ran.log;
}

class HomelessGreeter : public tests::Greeter {
 public:
  explicit HomelessGreeter(const tests::GreeterOptions& options) : Greeter(options) {
    throw std::runtime_error("no place for it");
  }
};

TEST(Framework, WhatAServiceThrowsAtTheStartIsToldAsItIs) {
  tests::GreeterOptions greeter;
  framework::app app(on_one_core());
  app.service<HomelessGreeter>("greeter", greeter);
  const Ran ran = run(app);
  EXPECT_EQ(ran.exit_code, 1);
  EXPECT_NE(ran.log.find("cannot start: service greeter: no place for it\n"), ran.log.npos)
      << ran.log;
}

TEST(Framework, TwoServicesWithOneSettingEndTheStart) {
  tests::GreeterOptions greeter;
  framework::app app(on_one_core());
  app.service<tests::Greeter>("greeter", greeter).service<tests::Greeter>("again", greeter);
  const Ran ran = run(app);
  EXPECT_EQ(ran.exit_code, 2);
  EXPECT_NE(ran.log.find("cannot start: "), ran.log.npos) << ran.log;
}

TEST(Framework, AServicesSettingsAreReadWithTheOthers) {
  tests::GreeterOptions greeter;
  framework::app app(on_one_core());
  app.service<tests::Greeter>("greeter", greeter);
  const char* arguments[] = {"my-server", "--greeted", "Ada", "--print-config"};
  testing::internal::CaptureStdout();
  EXPECT_EQ(app.run(4, arguments), 0);
  const std::string text = testing::internal::GetCapturedStdout();
  EXPECT_NE(text.find("name = \"Ada\"  # flag --greeted\n"), text.npos) << text;
}

// --- WebSocket endpoints

framework::websocket_endpoint throwing_endpoint() {
  return {.subprotocols = {"v1"},
          .subprotocol_required = true,
          .admit = [](const framework::handshake& asked) -> framework::task<framework::admission> {
            if (asked.query == "throw") throw std::runtime_error("admit");
            if (asked.query == "refuse") {
              co_return framework::admission::refuse(framework::http_status::forbidden);
            }
            co_return framework::admission::admit();
          },
          .on_open =
              [](framework::websocket& peer, framework::handshake& asked) {
                if (asked.query == "open") throw std::runtime_error("on_open");
                framework::send_text(peer, asked.subprotocol);
              },
          .on_text =
              [](framework::websocket& peer, std::string_view text) {
                if (text == "throw") throw std::runtime_error("on_text");
                framework::send_text(peer, text);
              }};
}

TEST(Framework, WhatAFunctionOfAnEndpointThrowsCostsItsConnectionAlone) {
  framework::websocket_endpoint endpoint = throwing_endpoint();
  services::NodeOptions options;
  options.websocket_routes.push_back(framework::detail::route_of("/app", endpoint, {}));
  tests::with_node(
      tests::node_cores(2), options, [](tests::NodeUnderTest& test) -> framework::task<> {
        ws::EndpointOptions offers;
        offers.handshake.subprotocols = {"v1"};
        ws::Endpoint clients(test.node().cores()->network(), offers, tests::RawListener::kHandler,
                             nullptr);
        const runtime::Address address = test.node().address();
        const int thrown = co_await tests::status_at(clients, address, "/app?throw");
        EXPECT_EQ(thrown, 500);
        const int refused = co_await tests::status_at(clients, address, "/app?refuse");
        EXPECT_EQ(refused, 403);
        for (const bool in_open : {true, false}) {
          tests::RawListener listener;
          const auto id =
              co_await clients.connect(address, "a", in_open ? "/app?open" : "/app", &listener);
          EXPECT_TRUE(id);
          if (!in_open) {
            ws::Connection& client = *clients.find(*id);
            client.send(ws::MessageKind::text, tests::bytes_of("fine"));
            client.send(ws::MessageKind::text, tests::bytes_of("throw"));
            client.send(ws::MessageKind::text, tests::bytes_of("not read"));
          }
          co_await listener.until([&listener] { return listener.code.has_value(); });
          EXPECT_EQ(*listener.code, ws::CloseCode::internal_error);
          const std::vector<std::string> expected{"v1", "fine"};
          EXPECT_EQ(listener.messages, in_open ? std::vector<std::string>{} : expected);
        }
        tests::RawListener listener;
        const auto id = co_await clients.connect(address, "a", "/app", &listener);
        EXPECT_TRUE(id);
        clients.find(*id)->send(ws::MessageKind::binary, tests::bytes_of("binary"));
        co_await listener.until([&listener] { return listener.code.has_value(); });
        EXPECT_EQ(*listener.code, ws::CloseCode::unsupported_data);
        co_await test.drain();
      });
}

TEST(Framework, AnEndpointThatCouldTakeNothingIsRefused) {
  framework::app app;
  EXPECT_THROW(app.on_websocket("/nothing", {}), std::invalid_argument);
  EXPECT_THROW(app.on_websocket("no-slash", throwing_endpoint()), std::invalid_argument);
}

TEST(Framework, AnEndpointWhoseSubprotocolsNobodyCanOfferIsRefused) {
  const auto add = [](std::vector<std::string> subprotocols) {
    framework::websocket_endpoint endpoint = throwing_endpoint();
    endpoint.subprotocols = std::move(subprotocols);
    framework::app app;
    app.on_websocket("/app", endpoint);
  };
  EXPECT_THROW(add({}), std::invalid_argument) << "one is required";
  for (const char* text : {"", "two words", "a,b", "v\xc3\xa4"}) {
    EXPECT_THROW(add({"v1", text}), std::invalid_argument) << text;
  }
  EXPECT_THROW(add({"v1", "v2", "v1"}), std::invalid_argument) << "twice";
  EXPECT_NO_THROW(add({"v1", "mqtt.v2+json"}));
}

}  // namespace
}  // namespace corelane
