// Goal: only bytes of messages and bodies that peers have not completed count as unfinished. Past
// the limit, connections are closed that hold most and have sent nothing for longest, small ones
// only if there are no others. A turn closes a bounded number. Method: raw clients of a node in
// virtual time.
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/await.hpp"
#include "services/node/relief.hpp"
#include "tests/support/http_site.hpp"
#include "tests/unit/services/requests.hpp"

namespace corelane {
namespace {

using runtime::Core;
using runtime::kMillisecond;
using runtime::kSecond;
using runtime::MemoryAccount;
using runtime::MemoryKind;
using runtime::Task;
using services::Relief;
using tests::HttpClient;
using tests::NodeUnderTest;
using tests::Via;
using tests::with_node;

constexpr std::size_t kUnfinishedMax = 512 * 1024;
constexpr std::string_view kTold = "overloaded: limits.unfinished_bytes_max";

services::NodeOptions with_limit() {
  services::NodeOptions options;
  options.unfinished_bytes_max = kUnfinishedMax;
  return options;
}

MemoryAccount& memory() {
  return Core::current().memory();
}

Task<bool> becomes(std::function<bool()> condition) {
  for (int look = 0; look < 60'000 && !condition(); ++look) {
    co_await runtime::sleep_for(kMillisecond);
  }
  co_return condition();
}

// Sends a part of a frame or body of 200,000 bytes.
class Sender {
 public:
  explicit Sender(bool is_http) : is_http_(is_http) {}

  Task<void> begin(NodeUnderTest& test, Via via) {
    co_await client_.connect(test.node().cores()->network(), test.address(via));
    if (via == Via::tcp) {
      client_.send(std::string{"\x40\x0d\x03\x00", 4});
    } else if (is_http_) {
      client_.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n");
    } else {
      client_.send(
          "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
          "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
      co_await client_.until_contains("\r\n\r\n");
      client_.send(std::string{"\x82\xff\0\0\0\0\0\x03\x0d\x40\0\0\0\0", 14});
    }
  }
  void send(std::size_t bytes) { client_.send(std::string(bytes, 'u')); }
  bool is_told() const { return client_.received.find(kTold) != std::string::npos; }
  HttpClient& client() { return client_; }

 private:
  HttpClient client_;
  bool is_http_;
};

Task<void> end(HttpClient& client) {
  if (client.stream() != nullptr) client.stream()->abort();
  co_await client.until_closed();
}

TEST(Unfinished, APeerThatSendsOnOutlivesOneThatHasStopped) {
  struct Case {
    Via via;
    bool is_http;
  };
  for (const Case& at :
       {Case{Via::tcp, false}, Case{Via::websocket, true}, Case{Via::websocket, false}}) {
    with_node(tests::node_cores(1), with_limit(), [&at](NodeUnderTest& test) -> Task<void> {
      Sender steady(at.is_http);
      Sender stopped(at.is_http);
      co_await steady.begin(test, at.via);
      co_await stopped.begin(test, at.via);
      for (int second = 0; second < 20; ++second) {
        steady.send(3'000);
        if (second == 14) stopped.send(150'000);
        co_await runtime::sleep_for(kSecond);
      }
      EXPECT_FALSE(steady.is_told());
      EXPECT_FALSE(stopped.is_told()) << "all of that fits";
      std::vector<std::unique_ptr<Sender>> fresh;
      while (fresh.size() < 30 && !stopped.is_told()) {
        fresh.push_back(std::make_unique<Sender>(at.is_http));
        co_await fresh.back()->begin(test, at.via);
        fresh.back()->send(20'000);
        co_await runtime::sleep_for(kMillisecond);
      }
      EXPECT_TRUE(stopped.is_told()) << memory().unfinished();
      EXPECT_FALSE(steady.is_told());
      for (auto& sender : fresh) {
        EXPECT_FALSE(sender->is_told());
        co_await end(sender->client());
      }
      co_await end(steady.client());
      co_await end(stopped.client());
    });
  }
}

TEST(Unfinished, WhatAnIdleTcpSessionKeepsIsNotUnfinished) {
  with_node(tests::node_cores(1), {}, [](NodeUnderTest& test) -> Task<void> {
    tests::ProtocolClient* probe = co_await test.connect(Via::tcp);
    HttpClient client;
    co_await client.connect(test.node().cores()->network(), test.address(Via::tcp));
    // A frame of 2,000 bytes that is no message; the answer does not matter here.
    client.send(std::string{"\xd0\x07\x00\x00", 4} + std::string(1'000, '\0'));
    const bool counts = co_await becomes([] { return memory().unfinished() >= 1'000; });
    EXPECT_TRUE(counts);
    client.send(std::string(1'000, '\0'));
    const bool is_served = co_await becomes([] { return memory().unfinished() == 0; });
    EXPECT_TRUE(is_served) << memory().unfinished();
    const bool works = co_await probe->settle();
    EXPECT_TRUE(works);
    co_await end(client);
  });
}

// A session that closes lives until its peer has ended, or for its timeout; the frame does not.
TEST(Unfinished, AFrameThatIsGivenUpGivesItsMemoryBackAtOnce) {
  constexpr std::uint16_t kCloses = 302;
  services::HandlerTable handlers;
  handlers.add(kCloses, {.name = "closes",
                         .plain =
                             [](services::Request& request) {
                               services::Session* from =
                                   services::Sessions::local().find(request.session());
                               from->close(ws::CloseCode::policy_violation, "no more");
                             },
                         .coroutine = {}});
  services::NodeOptions options;
  options.handlers = &handlers;
  const std::string payload(20'000, 'p');
  std::vector<std::byte> bytes;
  protocol::append_frame(bytes, {},
                         protocol::RawBody{.kOpcode = static_cast<protocol::Opcode>(kCloses),
                                           .payload = tests::bytes_of(payload)});
  const std::string served{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  const std::string too_large(4, '\xff');
  for (const std::string& frame : {served, too_large}) {
    with_node(tests::node_cores(1), options, [&frame](NodeUnderTest& test) -> Task<void> {
      const std::size_t half = frame.size() / 2;
      HttpClient client;
      co_await client.connect(test.node().cores()->network(), test.address(Via::tcp));
      client.send(frame.substr(0, half));
      const bool has_come = co_await becomes([&] { return memory().unfinished() >= half; });
      EXPECT_TRUE(has_come) << memory().unfinished();
      client.send(frame.substr(half));
      while (memory().unfinished() > 0) co_await runtime::Yield{};
      EXPECT_EQ(memory().held(MemoryKind::messages), 0u);
      EXPECT_EQ(services::Sessions::local().count(), 1u) << "its end has not come yet";
      co_await end(client);
    });
  }
}

Task<void> begin_bodies(NodeUnderTest& test, std::vector<std::unique_ptr<HttpClient>>& clients,
                        std::size_t count, std::size_t bytes) {
  for (std::size_t i = 0; i < count; ++i) {
    clients.push_back(std::make_unique<HttpClient>());
    HttpClient& client = *clients.back();
    co_await client.connect(test.node().cores()->network(), test.address(Via::websocket));
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(bytes) +
                "\r\n\r\n" + std::string(bytes - 1, 'b'));
  }
}

TEST(Unfinished, SmallOnesAreEndedIfThereAreNoOthers) {
  with_node(tests::node_cores(1), with_limit(), [](NodeUnderTest& test) -> Task<void> {
    std::vector<std::unique_ptr<HttpClient>> clients;
    co_await begin_bodies(test, clients, 300, 2'000);
    const net::Network& network = test.node().cores()->network();
    const bool is_relieved = co_await becomes([&] {
      return network.counters().memory_short > 0 && memory().unfinished() <= kUnfinishedMax;
    });
    EXPECT_TRUE(is_relieved) << memory().unfinished();
    co_await runtime::sleep_for(kSecond);
    EXPECT_GT(memory().unfinished(), kUnfinishedMax / 2) << "no more are ended than needed";
    for (auto& client : clients) co_await end(*client);
  });
}

// A pass goes on in later turns until enough memory is given back.
TEST(Unfinished, FewAreEndedInOneTurnAndTheOthersInTheNextOnes) {
  services::NodeOptions options;
  options.unfinished_bytes_max = 8 << 20;
  with_node(tests::node_cores(1), options, [](NodeUnderTest& test) -> Task<void> {
    constexpr std::size_t kClients = 200;
    std::vector<std::unique_ptr<HttpClient>> clients;
    co_await begin_bodies(test, clients, kClients, 5'000);
    const bool has_come =
        co_await becomes([] { return memory().unfinished() >= kClients * 5'045; });
    EXPECT_TRUE(has_come) << memory().unfinished();
    const net::Network& network = test.node().cores()->network();
    EXPECT_EQ(network.counters().memory_short, 0u);
    const std::uint64_t passes = test.node().cores()->relief_passes();
    // The memory to give back is more than all clients hold.
    memory().add_unfinished(8 << 20);
    const std::uint64_t begin = Core::current().counters().turns;
    std::uint64_t ended = 0;
    std::uint64_t turns = 0;
    while (ended < kClients && turns < 1'000) {
      co_await runtime::Yield{};
      turns = Core::current().counters().turns - begin;
      ended = network.counters().memory_short;
      // The first portion ends with the first turn, the next one at the start of the second turn.
      EXPECT_LE(ended, (turns + 1) * Relief::kEndedInATurn);
    }
    EXPECT_EQ(ended, kClients);
    EXPECT_EQ(test.node().cores()->relief_passes(), passes + 1);
    memory().remove_unfinished(8 << 20);
    for (auto& client : clients) co_await end(*client);
  });
}

}  // namespace
}  // namespace corelane
