// Goal: opcodes are served by the rows of services and by the application's handlers, which may
// override rows and call the originals; a handler that throws costs its request alone; gates are
// passed in their order. Method: tables by hand, and a whole node with handlers that throw and
// gates that write down what passed.
#include "services/dispatch/opcode_table.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <vector>

#include "services/dispatch/dispatch.hpp"
#include "tests/unit/services/node_under_test.hpp"
#include "tests/unit/services/requests.hpp"

namespace corelane {
namespace {

using protocol::ErrorCode;
using protocol::Opcode;
using runtime::Task;
using services::HandlerTable;
using services::OpcodeRow;
using services::OpcodeTable;
using services::Request;
using services::RequestGates;
using services::Session;
using tests::bytes_of;
using tests::NodeUnderTest;
using tests::ProtocolClient;
using tests::ServerMessage;
using tests::Via;
using tests::with_node;

void serve_nothing(services::Dispatch&, Session&, const protocol::MessageView&) {}

Task<ServerMessage> call(ProtocolClient* client, std::uint16_t opcode, std::string_view payload) {
  const protocol::RawBody body{.kOpcode = static_cast<Opcode>(opcode),
                               .payload = bytes_of(payload)};
  co_return co_await client->request(body);
}

Task<ServerMessage> ping(ProtocolClient* client, std::string_view data) {
  const protocol::PingBody body{.data = bytes_of(data)};
  co_return co_await client->request(body);
}

TEST(OpcodeTable, TakesEachRequestOfClientsOnce) {
  OpcodeTable table;
  const auto row = [](std::uint16_t number) {
    return OpcodeRow{.opcode = static_cast<Opcode>(number), .name = "x", .serve = serve_nothing};
  };
  for (const std::uint16_t number : std::initializer_list<std::uint16_t>{1, 18, 64, 127}) {
    const OpcodeRow rows[] = {row(number)};
    table.add(rows);
    EXPECT_THROW(table.add(rows), std::invalid_argument) << number;
    EXPECT_EQ(table.row(static_cast<Opcode>(number)).serve, serve_nothing);
  }
  for (const std::uint16_t number :
       std::initializer_list<std::uint16_t>{0, 19, 63, 128, 199, 200, 65'535}) {
    const OpcodeRow rows[] = {row(number)};
    EXPECT_THROW(table.add(rows), std::invalid_argument) << number;
    EXPECT_EQ(table.row(static_cast<Opcode>(number)).serve, nullptr);
  }
}

TEST(OpcodeTable, HandlersOverrideRequestsOfClientsAlone) {
  HandlerTable handlers;
  const auto handler = [] {
    return services::CustomHandler{.name = "x", .plain = [](Request&) {}, .coroutine = {}};
  };
  for (const std::uint16_t number :
       std::initializer_list<std::uint16_t>{0, 19, 63, 128, 199, 200}) {
    EXPECT_THROW(handlers.override_built_in(number, handler()), std::invalid_argument) << number;
  }
  handlers.override_built_in(2, handler());
  EXPECT_THROW(handlers.override_built_in(2, handler()), std::invalid_argument);
}

TEST(OpcodeTable, AHandlerThatOverridesABuiltInMayCallTheOriginal) {
  static std::atomic<int> pings;
  pings = 0;
  HandlerTable handlers;
  handlers.override_built_in(2, {.name = "counted ping",
                                 .plain =
                                     [](Request& request) {
                                       ++pings;
                                       EXPECT_TRUE(request.serve_original());
                                     },
                                 .coroutine = {}});
  handlers.override_built_in(
      6, {.name = "late publish", .plain = {}, .coroutine = [](Request request) -> Task<void> {
            co_await runtime::sleep_for(runtime::kMillisecond);
            EXPECT_TRUE(request.serve_original());
          }});
  // The server does not serve this one.
  handlers.override_built_in(12, {.name = "jobs",
                                  .plain =
                                      [](Request& request) {
                                        if (request.payload().empty()) {
                                          request.serve_original();
                                        } else {
                                          request.fail(ErrorCode::unavailable, "not yet");
                                        }
                                      },
                                  .coroutine = {}});
  services::NodeOptions options;
  options.handlers = &handlers;
  with_node(tests::node_cores(2), options, [](NodeUnderTest& test) -> Task<void> {
    for (const Via via : {Via::websocket, Via::tcp}) {
      ProtocolClient* client = co_await test.connect(via);
      const ServerMessage pong = co_await ping(client, "abc");
      EXPECT_EQ(pong.opcode, Opcode::Pong);
      EXPECT_EQ(pong.data, "abc");
      co_await tests::subscribe(client, "late");
      const ServerMessage ack = co_await tests::publish(client, "late", "event");
      EXPECT_EQ(ack.opcode, Opcode::Ack);
      EXPECT_EQ(ack.delivered, via == Via::websocket ? 1u : 2u);
      const ServerMessage event = co_await client->event();
      EXPECT_EQ(event.data, "event");
      const ServerMessage cached = co_await call(client, 12, "key");
      tests::expect_error(cached, ErrorCode::unavailable, Opcode::JobDispatch);
      const ServerMessage refused = co_await call(client, 12, "");
      tests::expect_error(refused, ErrorCode::unsupported_opcode, Opcode::JobDispatch);
    }
    EXPECT_EQ(pings, 2);
  });
}

TEST(OpcodeTable, AHandlerThatThrowsCostsItsRequestAlone) {
  HandlerTable handlers;
  handlers.add(200, {.name = "throws",
                     .plain = [](Request&) { throw std::runtime_error("no"); },
                     .coroutine = {}});
  handlers.add(201,
               {.name = "throws a number", .plain = [](Request&) { throw 7; }, .coroutine = {}});
  handlers.add(202, {.name = "answers and throws",
                     .plain =
                         [](Request& request) {
                           request.reply("first");
                           throw std::runtime_error("");
                         },
                     .coroutine = {}});
  handlers.add(
      203, {.name = "throws at once", .plain = {}, .coroutine = [](Request request) -> Task<void> {
              if (!request.payload().empty()) throw std::runtime_error("early");
              co_return;
            }});
  handlers.add(
      204, {.name = "throws later", .plain = {}, .coroutine = [](Request request) -> Task<void> {
              co_await runtime::sleep_for(runtime::kMillisecond);
              if (!request.payload().empty()) throw std::runtime_error("late");
            }});
  services::NodeOptions options;
  options.handlers = &handlers;
  options.dispatch.handlers_running_max = 1;  // a place that is not given back shows
  with_node(tests::node_cores(1), options, [](NodeUnderTest& test) -> Task<void> {
    for (const Via via : {Via::websocket, Via::tcp}) {
      ProtocolClient* client = co_await test.connect(via);
      for (const std::uint16_t opcode : std::initializer_list<std::uint16_t>{200, 201, 203, 204}) {
        const ServerMessage failed = co_await call(client, opcode, "x");
        tests::expect_error(failed, ErrorCode::internal, static_cast<Opcode>(opcode));
      }
      const ServerMessage first = co_await call(client, 202, "x");
      EXPECT_EQ(first.data, "first");
      const ServerMessage pong = co_await ping(client, "still there");
      EXPECT_EQ(pong.data, "still there");
    }
    EXPECT_EQ(services::Dispatch::local().counters().failures, 10u);
  });
}

// --- Gates

std::vector<std::string> passed;

void note(const char* gate, const OpcodeRow& row) {
  passed.push_back(std::string(gate) + " " + row.name);
}

RequestGates writing_gates() {
  return {.count = [](Session&, const protocol::MessageView&,
                      const OpcodeRow& row) noexcept { note("count", row); },
          .trace = [](Session&, const protocol::MessageView&,
                      const OpcodeRow& row) noexcept { note("trace", row); },
          .right = [](Session&, const protocol::MessageView&,
                      const OpcodeRow& row) -> RequestGates::Refusal {
            note("right", row);
            if (row.right != services::Right::publish) return {};
            return {.code = ErrorCode::unauthorized, .text = "may not publish"};
          },
          .quota = [](Session&, const protocol::MessageView&,
                      const OpcodeRow& row) -> RequestGates::Refusal {
            note("quota", row);
            if (row.right != services::Right::application) return {};
            return {.code = ErrorCode::rate_limited, .text = "too often", .retry_after_ms = 50};
          }};
}

TEST(OpcodeTable, GatesArePassedInTheirOrderByEveryRequestThatIsKnown) {
  HandlerTable handlers;
  handlers.add(
      200,
      {.name = "own", .plain = [](Request& request) { request.reply("own"); }, .coroutine = {}});
  handlers.override_built_in(
      8, {.name = "no broadcast",
          .plain = [](Request& request) { request.fail(ErrorCode::unavailable, "none"); },
          .coroutine = {}});
  // A built-in that no service has a row for.
  handlers.override_built_in(
      protocol::number(Opcode::JobDispatch),
      {.name = "own jobs",
       .plain = [](Request& request) { request.fail(ErrorCode::unavailable, "none"); },
       .coroutine = {}});
  services::NodeOptions options;
  options.handlers = &handlers;
  options.gates = writing_gates();
  with_node(tests::node_cores(1), options, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect(Via::websocket);
    using Names = std::vector<std::string>;
    passed.clear();
    const ServerMessage pong = co_await ping(client, "x");
    EXPECT_EQ(pong.data, "x");
    EXPECT_EQ(passed, (Names{"count Ping", "trace Ping", "right Ping", "quota Ping"}));
    passed.clear();
    const ServerMessage publish = co_await tests::publish(client, "c", "x");
    tests::expect_error(publish, ErrorCode::unauthorized, Opcode::Publish);
    EXPECT_EQ(passed, (Names{"count Publish", "trace Publish", "right Publish"}));
    passed.clear();
    const ServerMessage own = co_await call(client, 200, "x");
    tests::expect_error(own, ErrorCode::rate_limited, static_cast<Opcode>(200));
    EXPECT_EQ(own.retry_after_ms, 50u);
    EXPECT_EQ(passed, (Names{"count own", "trace own", "right own", "quota own"}));
    passed.clear();
    const ServerMessage overridden = co_await call(client, 8, "x");
    tests::expect_error(overridden, ErrorCode::unavailable, Opcode::Broadcast);
    EXPECT_EQ(passed.size(), 4u);
    passed.clear();
    const ServerMessage rowless = co_await call(client, protocol::number(Opcode::JobDispatch), "x");
    tests::expect_error(rowless, ErrorCode::rate_limited, Opcode::JobDispatch);
    EXPECT_EQ(passed,
              (Names{"count own jobs", "trace own jobs", "right own jobs", "quota own jobs"}));
    passed.clear();
    const ServerMessage unknown = co_await call(client, 201, "x");
    tests::expect_error(unknown, ErrorCode::unknown_opcode, static_cast<Opcode>(201));
    EXPECT_TRUE(passed.empty());
  });
}

}  // namespace
}  // namespace corelane
