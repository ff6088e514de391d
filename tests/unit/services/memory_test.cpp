// Goal: near the end of a core's memory budget the node does exactly the documented steps, in their
// order: it refuses new sessions, then requests that need memory, then it closes connections that
// hold most and take least. Method: whole nodes with a small budget. The test itself holds most of
// the budget, so that the levels are exact.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/await.hpp"
#include "tests/support/http_site.hpp"
#include "tests/support/protocol_vectors.hpp"
#include "tests/unit/services/requests.hpp"

namespace corelane {
namespace {

using protocol::ErrorCode;
using protocol::Opcode;
using runtime::Core;
using runtime::MemoryAccount;
using runtime::MemoryKind;
using runtime::MemoryPressure;
using runtime::Task;
using services::Request;
using tests::bytes_of;
using tests::expect_error;
using tests::HttpClient;
using tests::NodeUnderTest;
using tests::ProtocolClient;
using tests::ServerMessage;
using tests::Via;
using tests::with_node;

constexpr std::size_t kBudget = 64 << 20;

runtime::RuntimeOptions with_budget() {
  runtime::RuntimeOptions options = tests::node_cores(1);
  options.memory_bytes_max = kBudget;
  return options;
}

// Holds so much of this core's budget that a level is reached with some room to the next.
class Held {
 public:
  explicit Held(MemoryPressure level) {
    const std::size_t sixteenths[] = {0, 11, 12, 13};
    const std::size_t wanted =
        kBudget / 16 * sixteenths[static_cast<std::size_t>(level)] + kBudget / 64;
    bytes_ = wanted - memory().total();
    memory().add(MemoryKind::queued, bytes_);
    EXPECT_TRUE(memory().reached(level));
  }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;
  ~Held() { memory().remove(MemoryKind::queued, bytes_); }

 private:
  static MemoryAccount& memory() { return Core::current().memory(); }
  std::size_t bytes_ = 0;
};

Task<std::string> answer_to(NodeUnderTest& test, std::string request) {
  HttpClient client;
  co_await client.connect(test.node().cores()->network(), test.address(Via::websocket));
  client.send(request);
  co_await client.until_closed();
  co_return client.received;
}

std::size_t queues_longer_than(NodeUnderTest& test, std::size_t bytes) {
  std::size_t longer = 0;
  test.node().cores()->network().for_each([&](auto, net::Stream& stream) {
    if (stream.queued_bytes() > bytes) ++longer;
  });
  return longer;
}

Task<bool> becomes(std::function<bool()> condition) {
  for (int look = 0; look < 60'000 && !condition(); ++look) {
    co_await runtime::sleep_for(runtime::kMillisecond);
  }
  co_return condition();
}

constexpr std::string_view kHealth =
    "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
constexpr std::string_view kHandshake =
    "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

TEST(Memory, FirstNoSessionBeginsAndTheOthersGoOn) {
  with_node(with_budget(), {}, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect(Via::websocket);
    {
      const Held held(MemoryPressure::no_sessions);
      const std::string refused = co_await answer_to(test, std::string(kHandshake));
      EXPECT_EQ(refused.substr(0, 12), "HTTP/1.1 503");
      EXPECT_NE(refused.find("Retry-After: "), std::string::npos);
      EXPECT_NE(refused.find("limits.memory_bytes_max"), std::string::npos);
      ProtocolClient* tcp = co_await test.connect(Via::tcp, test.address(Via::tcp));
      EXPECT_FALSE(tcp->open());
      const ServerMessage error = co_await tcp->event();
      EXPECT_EQ(error.error, ErrorCode::overloaded);
      EXPECT_GT(error.retry_after_ms, 0u);
      const std::string health = co_await answer_to(test, std::string(kHealth));
      EXPECT_EQ(health.substr(0, 12), "HTTP/1.1 200");
      const ServerMessage ack = co_await publish(client, "channel", "data");
      EXPECT_EQ(ack.opcode, Opcode::Ack);
    }
    ProtocolClient* fits = co_await test.connect(Via::tcp);
    EXPECT_TRUE(fits->open());
  });
}

std::string http_request(const std::string& line, std::size_t body_bytes) {
  return line + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: " +
         std::to_string(body_bytes) + "\r\n\r\n" + std::string(body_bytes, 'b');
}

// Each sample of each request whose row has CostClass::memory.
TEST(Memory, ThenRequestsThatNeedMemoryAreRefusedWithAHint) {
  services::HandlerTable handlers;
  handlers.add(200, {.name = "answers at once",
                     .plain = [](Request& request) { request.reply("done"); },
                     .coroutine = {}});
  handlers.add(
      201, {.name = "answers later", .plain = {}, .coroutine = [](Request request) -> Task<void> {
              co_await runtime::Yield{};
              request.reply("done");
            }});
  services::NodeOptions options;
  options.handlers = &handlers;
  const auto answer = [](void*, const net::http::Request&, const net::http::RouteMatch&,
                         net::http::Responder& to) {
    EXPECT_TRUE(to.respond(net::http::Status::ok, "text/plain", "plain"));
  };
  const auto coroutine = [](void*, const net::http::OwnedRequest&,
                            net::http::DeferredResponder to) -> Task<void> {
    to.respond(net::http::Status::ok, "text/plain", "coroutine");
    co_return;
  };
  options.http_routes.push_back({"POST", "/plain", {.run = answer}});
  options.http_routes.push_back({"GET", "/coroutine", {.coroutine = coroutine}});
  options.http_routes.push_back(
      {"POST", "/pieces", {.coroutine = coroutine, .streamed_bytes_max = 1 << 20}});
  with_node(with_budget(), options, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect(Via::websocket);
    const services::OpcodeTable& table = services::Dispatch::local().table();
    const protocol::RawBody at_once{.kOpcode = static_cast<Opcode>(200), .payload = {}};
    const protocol::RawBody later{.kOpcode = static_cast<Opcode>(201), .payload = {}};
    {
      const Held held(MemoryPressure::no_memory);
      std::size_t asked = 0;
      for (const tests::ProtocolVector& vector : tests::kProtocolVectors) {
        const services::OpcodeRow& row = table.row(Opcode{vector.opcode});
        if (row.serve == nullptr || row.cost != services::CostClass::memory) continue;
        SCOPED_TRACE(vector.name);
        const auto frame = tests::unhex(vector.hex);
        const auto message = protocol::verify_message(std::span(frame).subspan(4));
        const protocol::RawBody body{.kOpcode = row.opcode, .payload = message.view.payload};
        const ServerMessage overloaded = co_await client->request(body);
        expect_error(overloaded, ErrorCode::overloaded, row.opcode);
        EXPECT_GT(overloaded.retry_after_ms, 0u);
        ++asked;
      }
      EXPECT_GT(asked, 4u);
      const ServerMessage refused = co_await client->request(later);
      expect_error(refused, ErrorCode::overloaded, static_cast<Opcode>(201));
      const std::string large(2000, 'x');
      const protocol::PingBody ping{.data = bytes_of(large)};
      const ServerMessage pong = co_await client->request(ping);
      expect_error(pong, ErrorCode::overloaded, Opcode::Ping);
      // Requests that need no memory, and handlers that keep nothing, are served.
      const ServerMessage answered = co_await client->request(at_once);
      EXPECT_EQ(answered.data, "done");
      const bool works = co_await client->settle();
      EXPECT_TRUE(works);
      const ServerMessage left = co_await unsubscribe(client, "channel");
      EXPECT_EQ(left.opcode, Opcode::UnsubscribeReply);
      const std::string health = co_await answer_to(test, std::string(kHealth));
      EXPECT_EQ(health.substr(0, 12), "HTTP/1.1 200");
      const std::string body = co_await answer_to(
          test, "POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" +
                    std::string(50'000, 'b'));
      EXPECT_EQ(body.substr(0, 12), "HTTP/1.1 503");
      for (const std::string& refused_request :
           {http_request("POST /plain", 5'000), http_request("GET /coroutine", 0),
            http_request("POST /pieces", 5'000)}) {
        const std::string told = co_await answer_to(test, refused_request);
        EXPECT_EQ(told.substr(0, 12), "HTTP/1.1 503") << refused_request;
        EXPECT_NE(told.find(net::kOverMemory), std::string::npos) << told;
      }
      const std::string small = co_await answer_to(test, http_request("POST /plain", 4'000));
      EXPECT_EQ(small.substr(0, 12), "HTTP/1.1 200");
    }
    const std::string served = co_await answer_to(test, http_request("GET /coroutine", 0));
    EXPECT_EQ(served.substr(0, 12), "HTTP/1.1 200");
    const ServerMessage ack = co_await publish(client, "channel", "data");
    EXPECT_EQ(ack.opcode, Opcode::Ack);
    const ServerMessage done = co_await client->request(later);
    EXPECT_EQ(done.data, "done");
  });
}

// The account does not count this body, because it lies in the receive buffer.
TEST(Memory, ABodyThatComesInOneReceiveIsRefusedToo) {
  services::NodeOptions options;
  options.network.receive_buffer_bytes = 16 * 1024;
  options.http_routes.push_back(
      {"POST",
       "/plain",
       {.run = [](void*, const net::http::Request&, const net::http::RouteMatch&,
                  net::http::Responder& to) {
         EXPECT_TRUE(to.respond(net::http::Status::ok, "text/plain", "plain"));
       }}});
  with_node(with_budget(), options, [](NodeUnderTest& test) -> Task<void> {
    HttpClient client;
    co_await client.connect(test.node().cores()->network(), test.address(Via::websocket));
    const std::string request = http_request("POST /plain", 5'000);
    {
      const Held held(MemoryPressure::no_memory);
      EXPECT_TRUE(client.stream()->send_copy(bytes_of(request)));
      co_await client.until_closed();
    }
    EXPECT_EQ(client.received.substr(0, 12), "HTTP/1.1 503");
    EXPECT_NE(client.received.find(net::kOverMemory), std::string::npos);
  });
}

constexpr auto kStore = static_cast<Opcode>(101);
constexpr auto kForget = static_cast<Opcode>(102);

void answer(services::Dispatch&, services::Session& session, const protocol::MessageView& message) {
  session.reply(message.transaction_id,
                protocol::RawBody{.kOpcode = message.opcode, .payload = {}});
}

// A service whose functions do not check the memory themselves.
class Shelf : public services::Service {
 public:
  static constexpr services::OpcodeRow kRows[] = {
      {.opcode = kStore, .name = "Store", .cost = services::CostClass::memory, .serve = answer},
      {.opcode = kForget, .name = "Forget", .cost = services::CostClass::light, .serve = answer}};
};

services::NodeOptions with_shelf() {
  services::NodeOptions options;
  options.services.push_back(
      {.name = "shelf",
       .opcodes = Shelf::kRows,
       .make = [](const services::ServiceStart&) -> std::unique_ptr<services::Service> {
         return std::make_unique<Shelf>();
       }});
  return options;
}

TEST(Memory, ARowThatNeedsItIsRefusedWithoutItsFunctionHavingLooked) {
  services::HandlerTable handlers;
  handlers.override_built_in(
      protocol::number(kStore),
      {.name = "calls the original",
       .plain = [](Request& request) { EXPECT_TRUE(request.serve_original()); },
       .coroutine = {}});
  const auto body = [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect(Via::websocket);
    const protocol::RawBody store{.kOpcode = kStore, .payload = {}};
    const protocol::RawBody forget{.kOpcode = kForget, .payload = {}};
    {
      const Held held(MemoryPressure::no_memory);
      const ServerMessage refused = co_await client->request(store);
      expect_error(refused, ErrorCode::overloaded, kStore);
      EXPECT_GT(refused.retry_after_ms, 0u);
      const ServerMessage forgotten = co_await client->request(forget);
      EXPECT_EQ(forgotten.opcode, kForget);
    }
    const ServerMessage stored = co_await client->request(store);
    EXPECT_EQ(stored.opcode, kStore);
  };
  with_node(with_budget(), with_shelf(), body);
  services::NodeOptions gated = with_shelf();
  gated.gates.count = [](services::Session&, const protocol::MessageView&,
                         const services::OpcodeRow&) noexcept {};
  with_node(with_budget(), gated, body);
  services::NodeOptions overridden = with_shelf();
  overridden.handlers = &handlers;
  with_node(with_budget(), overridden, body);
}

// The peer does not read, so its close frame and all queued memory would wait until the deadline.
TEST(Memory, ThenAConnectionThatIsClosingAlreadyIsCut) {
  with_node(with_budget(), {}, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* deaf = co_await test.connect(Via::websocket);
    deaf->pause_receiving();
    const std::string data(16'000, 'd');
    const protocol::PongBody body{.data = bytes_of(data), .server_time = 1};
    services::CoreNode& node = *test.node().cores();
    while (queues_longer_than(test, 100'000) < 1) {
      node.sessions().for_each([&](services::Session& session) { session.send({}, body); });
      co_await runtime::Yield{};
    }
    node.sessions().for_each([](services::Session& session) {
      session.close(ws::CloseCode::normal, "");
      EXPECT_FALSE(session.stream().closing()) << "it waits for the client's close frame";
    });
    {
      const Held held(MemoryPressure::shedding);
      co_await runtime::Yield{};
    }
    EXPECT_EQ(node.network().counters().memory_short, 1u);
    EXPECT_EQ(queues_longer_than(test, 100'000), 0u);
    deaf->resume_receiving();
    co_await deaf->closed();
    EXPECT_EQ(deaf->close_code(), ws::CloseCode::abnormal);
  });
}

TEST(Memory, ThenConnectionsAreClosedThatHoldMostAndTakeLeast) {
  with_node(with_budget(), {}, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* deaf = co_await test.connect(Via::websocket);
    ProtocolClient* deaf_tcp = co_await test.connect(Via::tcp);
    ProtocolClient* reader = co_await test.connect(Via::websocket);
    for (ProtocolClient* client : {deaf, deaf_tcp}) {
      co_await subscribe(client, "stream");
      client->pause_receiving();
    }
    // Until the kernel takes no more of it.
    const std::string data(16'000, 'd');
    while (queues_longer_than(test, 100'000) < 2) {
      const ServerMessage ack = co_await publish(reader, "stream", data);
      EXPECT_EQ(ack.delivered, 2u);
      if (ack.delivered != 2) co_return;
    }
    {
      const Held held(MemoryPressure::shedding);
      co_await runtime::Yield{};
    }
    EXPECT_EQ(test.node().cores()->network().counters().memory_short, 2u);
    const bool works = co_await reader->settle();
    EXPECT_TRUE(works);
    deaf->resume_receiving();
    const bool ended = co_await deaf->closed();
    EXPECT_TRUE(ended);
    EXPECT_EQ(deaf->close_code(), ws::CloseCode::try_again_later);
    deaf_tcp->resume_receiving();
    const bool ended_too = co_await deaf_tcp->closed();
    EXPECT_TRUE(ended_too);
    EXPECT_FALSE(deaf_tcp->events().empty());
    if (!deaf_tcp->events().empty()) {
      EXPECT_EQ(deaf_tcp->events().back().error, ErrorCode::overloaded);
    }
  });
}

TEST(Memory, ALookThatFindsNoneToEndIsNotRepeatedEveryTurn) {
  with_node(with_budget(), {}, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect(Via::websocket);
    {
      const Held held(MemoryPressure::shedding);
      const runtime::Nanoseconds begin = Core::current().now();
      for (int turn = 0; turn < 50; ++turn) co_await runtime::Yield{};
      // One, and at most one more for each pause that has passed.
      const runtime::Nanoseconds passed = Core::current().now() - begin;
      const auto pauses = static_cast<std::uint64_t>(passed / (10 * runtime::kMillisecond));
      const std::uint64_t passes = test.node().cores()->relief_passes();
      EXPECT_GE(passes, 1u);
      EXPECT_LE(passes, 1 + pauses);
    }
    const bool works = co_await client->settle();
    EXPECT_TRUE(works);
  });
}

// The beginning of a binary message of 100,000 bytes, masked with zeros.
std::string unfinished_message(std::size_t bytes) {
  std::string frame{"\x82\xff\x00\x00\x00\x00\x00\x01\x86\xa0\x00\x00\x00\x00", 14};
  return frame + std::string(bytes, 'm');
}

constexpr std::size_t kUnfinishedMax = 200 * 1024;

TEST(Memory, UnfinishedMessagesHaveABoundOfTheirOwn) {
  services::NodeOptions options;
  options.unfinished_bytes_max = kUnfinishedMax;
  with_node(with_budget(), options, [](NodeUnderTest& test) -> Task<void> {
    MemoryAccount& memory = Core::current().memory();
    std::vector<std::unique_ptr<HttpClient>> clients;
    net::Network& network = test.node().cores()->network();
    for (int i = 0; i < 9; ++i) {
      clients.push_back(std::make_unique<HttpClient>());
      HttpClient& client = *clients.back();
      co_await client.connect(network, test.address(i % 3 == 2 ? Via::tcp : Via::websocket));
      if (i % 3 == 0) {
        client.send(std::string("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n") +
                    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
        co_await client.until_contains("\r\n\r\n");
        client.send(unfinished_message(60'000));
      } else if (i % 3 == 1) {
        client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" +
                    std::string(60'000, 'b'));
      } else {
        client.send(std::string{"\xa0\x86\x01\x00", 4} + std::string(60'000, 't'));
      }
      const std::uint64_t before = network.counters().bytes_received;
      const bool has_come =
          co_await becomes([&] { return network.counters().bytes_received >= before + 60'000; });
      EXPECT_TRUE(has_come) << i;
      co_await runtime::Yield{};
      EXPECT_LE(memory.unfinished(), kUnfinishedMax);
    }
    EXPECT_GT(memory.unfinished(), kUnfinishedMax / 2) << "no more are ended than needed";
    std::size_t told = 0;
    for (auto& client : clients) {
      if (client->received.find(net::kOverUnfinished) != std::string::npos) ++told;
    }
    EXPECT_GE(told, 6u) << "three of 60,000 bytes fit";
    for (auto& client : clients) {
      if (client->stream() != nullptr) client->stream()->abort();
      co_await client->until_closed();
    }
    const bool is_given_back = co_await becomes([&] { return memory.unfinished() == 0; });
    EXPECT_TRUE(is_given_back) << memory.unfinished();
  });
}

}  // namespace
}  // namespace corelane
