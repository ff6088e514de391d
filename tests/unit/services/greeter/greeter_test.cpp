// Goal: a service that is not the server's own is added by its entry alone: its setting is read,
// its opcode and its route are served, and its hooks are called on each core. Method: a node with
// the Greeter.
#include "tests/unit/services/greeter/greeter.hpp"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "services/node/settings.hpp"
#include "tests/support/http_site.hpp"
#include "tests/unit/services/node_under_test.hpp"

namespace corelane::tests {
namespace {

using runtime::Task;
using services::config::ConfigResult;

ConfigResult load(const services::config::SettingTable& table,
                  const std::vector<std::string>& arguments) {
  return services::config::load_config(table, {.command = "greeter"}, arguments, {},
                                       services::config::read_whole_file);
}

TEST(Greeter, ItsSettingIsReadAsThoseOfTheServer) {
  services::ServerOptions server;
  GreeterOptions options;
  server.node.services.push_back(services::service<Greeter>("greeter", options));
  const auto table = services::settings_of(server, services::ServedBy::serve);
  const ConfigResult given = load(table, {"--greeted", "Ada"});
  ASSERT_TRUE(given.ok());
  table.store(given.config);
  EXPECT_EQ(options.name, "Ada");
  const std::string printed = services::config::print_config(given);
  EXPECT_NE(printed.find("[greeter]\n# who is greeted\nname = \"Ada\"  # flag --greeted\n"),
            printed.npos)
      << printed;
  const ConfigResult wrong = load(table, {"--greeter.name", std::string(33, 'a')});
  ASSERT_EQ(wrong.errors.size(), 1u);
  EXPECT_EQ(wrong.errors[0].problem, "is too long");
}

TEST(Greeter, TwoSettingsOfOneNameEndTheStart) {
  services::ServerOptions server;
  GreeterOptions options;
  for (int i = 0; i < 2; ++i) {
    server.node.services.push_back(services::service<Greeter>("greeter", options));
  }
  EXPECT_THROW(services::settings_of(server, services::ServedBy::serve), std::invalid_argument);
}

TEST(Greeter, ItsOpcodeAndItsRouteAreServedOnEveryCore) {
  GreeterOptions options{.name = "Ada"};
  services::NodeOptions node;
  node.services.push_back(services::service<Greeter>("greeter", options));
  with_node(node_cores(2), node, [](NodeUnderTest& test) -> Task<void> {
    for (runtime::CoreId core = 0; core < 2; ++core) {
      ProtocolClient* client = co_await test.connect_on(core);
      const protocol::RawBody body{.kOpcode = Greeter::kOpcode, .payload = {}};
      const ServerMessage reply = co_await client->request(body);
      EXPECT_EQ(reply.opcode, Greeter::kOpcode);
      EXPECT_EQ(reply.data, "hello Ada");
      const std::uint64_t on_core =
          co_await runtime::submit_to(core, [] { return Greeter::local().counters().greetings; });
      EXPECT_EQ(on_core, 1u);
    }
    HttpClient browser;
    co_await browser.connect(test.node().cores()->network(), test.address(Via::websocket));
    browser.send("GET /greeting HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    co_await browser.until_closed();
    EXPECT_NE(browser.received.find("hello Ada"), browser.received.npos) << browser.received;
    const std::uint64_t all = co_await test.total(
        [](services::CoreNode&) { return Greeter::local().counters().greetings; });
    EXPECT_EQ(all, 3u);
  });
}

TEST(Greeter, ItIsToldOfEverySessionThatEnds) {
  GreeterOptions options;
  services::NodeOptions node;
  node.services.push_back(services::service<Greeter>("greeter", options));
  with_node(node_cores(2), node, [](NodeUnderTest& test) -> Task<void> {
    for (const Via via : {Via::websocket, Via::tcp}) {
      ProtocolClient* client = co_await test.connect(via);
      client->close();
      co_await client->closed();
      const bool is_gone = co_await test.sessions_are(0);
      EXPECT_TRUE(is_gone);
      const std::uint64_t ended = co_await test.total(
          [](services::CoreNode&) { return Greeter::local().counters().sessions_ended; });
      EXPECT_EQ(ended, via == Via::websocket ? 1u : 2u);
    }
  });
}

// Writes down what it is called for, on the one core.
struct WitnessOptions {
  std::string name;
  std::vector<std::string>* journal = nullptr;
};
class Witness : public services::Service {
 public:
  explicit Witness(const WitnessOptions& options) : options_(options) {
    services::Sessions::local().tell_ended(*this);
    note("made");
  }
  ~Witness() override { note("gone"); }
  static std::span<const services::OpcodeRow> opcodes() noexcept { return {}; }
  static std::span<const services::config::Row<WitnessOptions>> settings() noexcept { return {}; }

  void drain() noexcept override { note("drains"); }
  void session_ended(services::Session&) noexcept override { note("session ended"); }
  Task<void> stop() override {
    co_await runtime::Yield{};
    note("stopped");
  }

 private:
  void note(const char* what) { options_.journal->push_back(options_.name + " " + what); }
  const WitnessOptions options_;
};

// The options of a node with two witnesses, which write into one journal.
struct TwoWitnesses {
  TwoWitnesses() {
    node.services.push_back(services::service<Witness>("a", first));
    node.services.push_back(services::service<Witness>("b", second));
  }
  TwoWitnesses(const TwoWitnesses&) = delete;
  TwoWitnesses& operator=(const TwoWitnesses&) = delete;

  std::vector<std::string> journal;
  WitnessOptions first{.name = "a", .journal = &journal};
  WitnessOptions second{.name = "b", .journal = &journal};
  services::NodeOptions node;
};

TEST(Services, AreCalledInTheirOrderAndEndInTheOther) {
  const TwoWitnesses witnesses;
  with_node(node_cores(1), witnesses.node,
            [](NodeUnderTest& test) -> Task<void> { co_await test.connect(Via::websocket); });
  EXPECT_EQ(
      witnesses.journal,
      (std::vector<std::string>{"a made", "b made", "a drains", "b drains", "a session ended",
                                "b session ended", "b stopped", "a stopped", "b gone", "a gone"}));
}

TEST(Services, OfThoseThatWereMadeTheLastEndsFirstWhenOneCannotBeMade) {
  TwoWitnesses witnesses;
  witnesses.node.services.push_back(
      {.name = "c",
       .opcodes = {},
       .make = [](const services::ServiceStart&) -> std::unique_ptr<services::Service> {
         throw std::runtime_error("no place for it");
       }});
  run_on_cores(node_cores(1), [&]() -> Task<void> {
    services::Node under_test(witnesses.node);
    const auto failure = co_await under_test.start();
    EXPECT_TRUE(failure && failure->cause == services::Node::StartError::Cause::other);
    EXPECT_EQ(failure ? failure->problem : "", "service c: no place for it");
  });
  EXPECT_EQ(witnesses.journal, (std::vector<std::string>{"a made", "b made", "b gone", "a gone"}));
}

}  // namespace
}  // namespace corelane::tests
