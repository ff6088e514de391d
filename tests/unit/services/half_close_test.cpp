// Goal: a TCP client that ends its direction after its last request still gets every answer, also
// answers of other cores and late answers of a handler, and then the end. The wait for missing
// answers is bounded. Method: a bare socket on the ring, beside clients on chosen
// cores.
#include <gtest/gtest.h>

#include <sys/socket.h>

#include <map>
#include <string>
#include <vector>

#include "protocol/frame.hpp"
#include "runtime/await.hpp"
#include "tests/unit/services/node_under_test.hpp"

namespace corelane {
namespace {

using protocol::ErrorCode;
using protocol::Opcode;
using runtime::Core;
using runtime::CoreId;
using runtime::Task;
using services::Request;
using tests::bytes_of;
using tests::NodeUnderTest;
using tests::ProtocolClient;
using tests::Via;
using tests::with_node;

using Bytes = std::vector<std::byte>;

// Sends all of it, ends its direction, and returns what comes until the server's end.
Task<Bytes> exchange(runtime::Address to, Bytes request) {
  runtime::Ring& ring = Core::current().ring();
  const auto socket = ring.open_socket(to.family());
  EXPECT_TRUE(socket);
  Bytes answers;
  if (!socket) co_return answers;
  runtime::OperationAwaiter connect(
      [&](runtime::Ring& on, runtime::Token token) { on.connect(*socket, to, token); });
  const auto connected = co_await connect;
  EXPECT_TRUE(connected);
  for (std::size_t at = 0; at < request.size();) {
    runtime::OperationAwaiter send([&](runtime::Ring& on, runtime::Token token) {
      on.send(*socket, std::span(request).subspan(at), token);
    });
    const auto sent = co_await send;
    EXPECT_TRUE(sent);
    if (!sent) break;
    at += *sent;
  }
  runtime::OperationAwaiter end(
      [&](runtime::Ring& on, runtime::Token token) { on.shutdown(*socket, SHUT_WR, token); });
  const auto ended = co_await end;
  EXPECT_TRUE(ended);
  Bytes piece(4096);
  for (;;) {
    runtime::OperationAwaiter receive([&](runtime::Ring& on, runtime::Token token) {
      on.receive(*socket, std::span(piece), token);
    });
    const auto received = co_await receive;
    EXPECT_TRUE(received) << describe(received.error());
    if (!received || *received == 0) break;
    answers.insert(answers.end(), piece.begin(), piece.begin() + *received);
  }
  ring.close_now(*socket);
  co_return answers;
}

// How many messages of each opcode.
std::map<Opcode, int> count(const Bytes& answers) {
  std::map<Opcode, int> counts;
  for (protocol::FrameCursor cursor(answers, 1 << 20); !cursor.at_end();) {
    const protocol::Frame frame = cursor.next();
    EXPECT_EQ(frame.status, protocol::FrameStatus::complete);
    if (frame.status != protocol::FrameStatus::complete) break;
    const auto message = protocol::verify_message(frame.message);
    EXPECT_TRUE(message.ok);
    ++counts[message.view.opcode];
  }
  return counts;
}

template <class Body>
void ask(Bytes& request, const Body& body) {
  protocol::MessageHeader header;
  header.transaction_id.data[0] = 1;
  protocol::append_frame(request, header, body);
}

// An id that no session has, on the core of one that lives.
protocol::Uuid forged(const ProtocolClient& client) {
  protocol::Uuid id = client.uuid();
  id.data[15] = static_cast<std::uint8_t>(id.data[15] ^ 1u);
  return id;
}

void ask_nobody(Bytes& request, const ProtocolClient& client) {
  ask(request,
      protocol::SendBody{.session = forged(client), .data = bytes_of("x"), .requires_ack = false});
}

void expect_every_answer_before_the_end(std::uint32_t fan_out_max) {
  services::NodeOptions options;
  options.fan_out_max = fan_out_max;
  options.tcp.close_timeout = 3600 * runtime::kSecond;  // not what ends it
  with_node(tests::node_cores(3), options, [](NodeUnderTest& test) -> Task<void> {
    std::vector<ProtocolClient*> others;
    for (CoreId core = 0; core < 3; ++core) others.push_back(co_await test.connect_on(core));
    // The server's core is chosen by the kernel: often enough for each of them.
    for (int round = 0; round < 20; ++round) {
      SCOPED_TRACE(round);
      Bytes request;
      for (int i = 0; i < 10; ++i) {
        const std::string name = "half-" + std::to_string(round) + "-" + std::to_string(i);
        ask(request, protocol::PublishBody{.channel = name, .data = {}, .requires_ack = true});
      }
      for (ProtocolClient* other : others) {
        ask(request, protocol::SendBody{
                         .session = other->uuid(), .data = bytes_of("x"), .requires_ack = true});
        ask_nobody(request, *other);
      }
      ask(request, protocol::BroadcastBody{
                       .data = bytes_of("all"), .requires_ack = true, .include_self = false});
      const std::string_view names[] = {"one", "two", "three", "four", "five"};
      ask(request, protocol::SubscribeBody{.channels = names});
      const runtime::Nanoseconds begin = Core::current().now();
      const Bytes answers = co_await exchange(test.address(Via::tcp), request);
      EXPECT_LT(Core::current().now() - begin, 1800 * runtime::kSecond);
      std::map<Opcode, int> counts = count(answers);
      EXPECT_EQ(counts[Opcode::Ack], 10 + 3 + 1);
      EXPECT_EQ(counts[Opcode::Error], 3);
      EXPECT_EQ(counts[Opcode::SubscribeReply], 1);
    }
  });
}

TEST(HalfClose, EveryAnswerFromEveryCoreComesBeforeTheEnd) {
  expect_every_answer_before_the_end(services::FanOuts::kTurnMax);
}

TEST(HalfClose, EveryAnswerFromEveryCoreComesBeforeTheEndBehindALongBroadcast) {
  expect_every_answer_before_the_end(1);
}

// With one core, no answers of other cores delay the end until the Error has come.
TEST(HalfClose, AnErrorInTheOwnLaneBehindALongBroadcastComesBeforeTheEnd) {
  services::NodeOptions options;
  options.fan_out_max = 1;
  with_node(tests::node_cores(1), options, [](NodeUnderTest& test) -> Task<void> {
    std::vector<ProtocolClient*> others;
    for (int i = 0; i < 5; ++i) others.push_back(co_await test.connect(Via::websocket));
    for (int round = 0; round < 20; ++round) {
      SCOPED_TRACE(round);
      Bytes request;
      ask(request, protocol::BroadcastBody{
                       .data = bytes_of("all"), .requires_ack = false, .include_self = false});
      ask_nobody(request, *others.front());
      const Bytes answers = co_await exchange(test.address(Via::tcp), request);
      EXPECT_EQ(count(answers)[Opcode::Error], 1);
    }
  });
}

// Nothing behind them asks for an answer, so nothing but the end itself waits for the other cores.
TEST(HalfClose, ErrorsOfSendsThatAskForNoAckComeBeforeTheEnd) {
  with_node(3, [](NodeUnderTest& test) -> Task<void> {
    std::vector<ProtocolClient*> others;
    for (CoreId core = 0; core < 3; ++core) others.push_back(co_await test.connect_on(core));
    for (int round = 0; round < 20; ++round) {
      SCOPED_TRACE(round);
      Bytes request;
      for (const ProtocolClient* other : others) ask_nobody(request, *other);
      const Bytes answers = co_await exchange(test.address(Via::tcp), request);
      EXPECT_EQ(count(answers)[Opcode::Error], 3);
    }
  });
}

TEST(HalfClose, AHandlersAnswerComesBeforeTheEnd) {
  services::HandlerTable handlers;
  handlers.add(300, {.name = "late", .plain = {}, .coroutine = [](Request request) -> Task<void> {
                       co_await runtime::sleep_for(20 * runtime::kMillisecond);
                       request.reply("late");
                     }});
  services::NodeOptions options;
  options.handlers = &handlers;
  with_node(tests::node_cores(1), options, [](NodeUnderTest& test) -> Task<void> {
    Bytes request;
    for (int i = 0; i < 3; ++i) {
      ask(request, protocol::RawBody{.kOpcode = static_cast<Opcode>(300), .payload = {}});
    }
    const Bytes answers = co_await exchange(test.address(Via::tcp), request);
    std::map<Opcode, int> counts = count(answers);
    EXPECT_EQ(counts[static_cast<Opcode>(300)], 3);
  });
}

TEST(HalfClose, AnAnswerThatDoesNotComeIsWaitedForUntilTheCloseTimeout) {
  services::HandlerTable handlers;
  handlers.add(301, {.name = "endless", .plain = {}, .coroutine = [](Request) -> Task<void> {
                       co_await runtime::sleep_for(3600 * runtime::kSecond);
                     }});
  services::NodeOptions options;
  options.handlers = &handlers;
  options.tcp.close_timeout = runtime::kSecond;
  with_node(tests::node_cores(1), options, [](NodeUnderTest& test) -> Task<void> {
    Bytes request;
    ask(request, protocol::PingBody{.data = {}});
    ask(request, protocol::RawBody{.kOpcode = static_cast<Opcode>(301), .payload = {}});
    const runtime::Nanoseconds begin = Core::current().now();
    const Bytes answers = co_await exchange(test.address(Via::tcp), request);
    const runtime::Nanoseconds took = Core::current().now() - begin;
    std::map<Opcode, int> counts = count(answers);
    EXPECT_EQ(counts[Opcode::Pong], 1);
    EXPECT_GE(took, 800 * runtime::kMillisecond);
    EXPECT_LE(took, 1800 * runtime::kSecond);  // the handler takes twice as long
  });
}

// Half of a frame will never be a whole one.
TEST(HalfClose, AClientThatEndsInsideAFrameGetsItsAnswersAndTheEndAtOnce) {
  services::NodeOptions options;
  options.tcp.close_timeout = 3600 * runtime::kSecond;
  with_node(tests::node_cores(2), options, [](NodeUnderTest& test) -> Task<void> {
    Bytes request;
    ask(request, protocol::PublishBody{.channel = "c", .data = {}, .requires_ack = true});
    const std::size_t whole = request.size();
    ask(request, protocol::PublishBody{.channel = "c", .data = {}, .requires_ack = true});
    request.resize(whole + (request.size() - whole) / 2);
    const runtime::Nanoseconds begin = Core::current().now();
    const Bytes answers = co_await exchange(test.address(Via::tcp), request);
    EXPECT_LE(Core::current().now() - begin, 1800 * runtime::kSecond);
    std::map<Opcode, int> counts = count(answers);
    EXPECT_EQ(counts[Opcode::Ack], 1);
  });
}

}  // namespace
}  // namespace corelane
