// Goal: a fan-out to many sessions does not block its core: each turn hands the message to a
// bounded number of sessions, and no later request overtakes it. Method: a node of one core in
// virtual time with a bound of a few sessions, so that requests to its own core go through the own
// lane. The random walks of bookkeeping_test.cpp run with small bounds too, on one to three
// cores.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "runtime/sim/world.hpp"
#include "tests/unit/services/requests.hpp"

namespace corelane {
namespace {

using protocol::Opcode;
using runtime::Core;
using runtime::Task;
using runtime::TaskGroup;
using runtime::sim::Faults;
using runtime::sim::World;
using tests::bytes_of;
using tests::NodeUnderTest;
using tests::ProtocolClient;
using tests::ServerMessage;
using tests::Via;

constexpr std::uint32_t kBound = 4;
constexpr std::size_t kClients = 30;

struct Crowd {
  NodeUnderTest& test;
  std::vector<ProtocolClient*> clients;
};

// All clients are subscribed to "crowd".
void with_crowd(std::uint32_t bound, const std::function<Task<void>(Crowd&)>& body) {
  World world(1, Faults{});
  services::NodeOptions options;
  options.fan_out_max = bound;
  tests::with_node(tests::node_cores(1), options, [&body](NodeUnderTest& test) -> Task<void> {
    Crowd crowd{.test = test, .clients = {}};
    for (std::size_t i = 0; i < kClients; ++i) {
      const Via via = i % 3 == 0 ? Via::tcp : Via::websocket;
      crowd.clients.push_back(co_await test.connect(via));
      co_await subscribe(crowd.clients.back(), "crowd");
    }
    co_await body(crowd);
  });
}

std::uint64_t steps() {
  return services::Sessions::local().fan_outs().steps();
}

// The most sends that one turn begins until all clients have `events` events.
Task<std::uint64_t> most_sends_in_a_turn(Crowd* crowd, std::size_t events) {
  const auto& counters = crowd->test.node().cores()->network().counters();
  std::uint64_t most = 0;
  for (;;) {
    std::size_t have = 0;
    for (ProtocolClient* client : crowd->clients) {
      if (client->events().size() >= events) ++have;
    }
    if (have == crowd->clients.size()) co_return most;
    const std::uint64_t before = counters.sends;
    co_await runtime::Yield{};
    most = std::max(most, counters.sends - before);
  }
}

TEST(FanOutSteps, ATurnHandsAMessageToABoundedNumberOfSessions) {
  with_crowd(kBound, [](Crowd& crowd) -> Task<void> {
    ProtocolClient* from = crowd.clients.front();
    const protocol::Uuid published = from->send(
        protocol::PublishBody{.channel = "crowd", .data = bytes_of("event"), .requires_ack = true});
    const std::uint64_t most_of_publish = co_await most_sends_in_a_turn(&crowd, 1);
    const ServerMessage ack = co_await from->reply(published);
    EXPECT_EQ(ack.delivered, kClients);
    EXPECT_LE(most_of_publish, kBound + 1) << "and the client's own send";
    EXPECT_EQ(steps(), (kClients - 1) / kBound);

    const protocol::Uuid broadcast = from->send(protocol::BroadcastBody{
        .data = bytes_of("all"), .requires_ack = true, .include_self = true});
    const std::uint64_t most_of_broadcast = co_await most_sends_in_a_turn(&crowd, 2);
    const ServerMessage done = co_await from->reply(broadcast);
    EXPECT_EQ(done.delivered, kClients);
    EXPECT_LE(most_of_broadcast, kBound + 1);
    EXPECT_EQ(steps(), 2 * ((kClients - 1) / kBound));
  });
}

TEST(FanOutSteps, AShareOfATurnIsForAllItsMessagesTogether) {
  with_crowd(kClients + kBound, [](Crowd& crowd) -> Task<void> {
    std::vector<std::byte> frames;
    for (int i = 0; i < 4; ++i) {
      protocol::append_frame(
          frames, {},
          protocol::BroadcastBody{
              .data = bytes_of("all"), .requires_ack = false, .include_self = true});
    }
    EXPECT_TRUE(crowd.clients.front()->send_bytes(frames));
    for (ProtocolClient* client : crowd.clients) {
      const bool all = co_await client->has_events(4);
      EXPECT_TRUE(all);
    }
    EXPECT_EQ(steps(), 2u) << "of the second and the fourth, which get what the others leave";
  });
}

// Few are at most a sixteenth of the bound; together their messages pass it.
TEST(FanOutSteps, AMessageToFewSessionsIsNotSplit) {
  constexpr std::uint32_t kShare = services::FanOuts::kFewShare;
  with_crowd(kShare * kClients, [](Crowd& crowd) -> Task<void> {
    constexpr std::size_t kMessages = kShare + 4;
    std::vector<std::byte> frames;
    for (std::size_t i = 0; i < kMessages; ++i) {
      protocol::append_frame(
          frames, {},
          protocol::BroadcastBody{
              .data = bytes_of("all"), .requires_ack = false, .include_self = true});
    }
    EXPECT_TRUE(crowd.clients.front()->send_bytes(frames));
    for (ProtocolClient* client : crowd.clients) {
      const bool all = co_await client->has_events(kMessages);
      EXPECT_TRUE(all);
    }
    EXPECT_EQ(steps(), 0u);
  });
}

// Requests that a client sends together behind a broadcast of many turns.
TEST(FanOutSteps, RequestsBehindKeepTheirOrder) {
  with_crowd(1, [](Crowd& crowd) -> Task<void> {
    ProtocolClient* from = crowd.clients.front();
    ProtocolClient* last = crowd.clients.back();
    const std::string_view names[] = {"crowd"};
    std::vector<std::byte> frames;
    protocol::append_frame(
        frames, {},
        protocol::BroadcastBody{
            .data = bytes_of("1 broadcast"), .requires_ack = false, .include_self = false});
    protocol::append_frame(
        frames, {},
        protocol::SendBody{
            .session = last->uuid(), .data = bytes_of("2 send"), .requires_ack = false});
    protocol::append_frame(
        frames, {},
        protocol::PublishBody{
            .channel = "crowd", .data = bytes_of("3 publish"), .requires_ack = false});
    protocol::append_frame(frames, {}, protocol::UnsubscribeBody{.channels = names});
    protocol::append_frame(
        frames, {},
        protocol::BroadcastBody{
            .data = bytes_of("4 broadcast"), .requires_ack = false, .include_self = false});
    protocol::append_frame(
        frames, {},
        protocol::PublishBody{
            .channel = "crowd", .data = bytes_of("5 publish"), .requires_ack = false});
    EXPECT_TRUE(from->send_bytes(frames));
    const bool all = co_await last->has_events(5);
    EXPECT_TRUE(all);
    std::vector<std::string> by_order;
    std::vector<std::string> published;
    for (const ServerMessage& event : last->events()) {
      (event.opcode == Opcode::Event ? published : by_order).push_back(event.data);
    }
    EXPECT_EQ(by_order, (std::vector<std::string>{"1 broadcast", "2 send", "4 broadcast"}));
    EXPECT_EQ(published, (std::vector<std::string>{"3 publish", "5 publish"}));
    co_await from->settle();
    std::vector<std::string> own;
    for (const ServerMessage& event : from->events()) {
      if (event.opcode == Opcode::Event) own.push_back(event.data);
    }
    EXPECT_EQ(own, std::vector<std::string>{"3 publish"}) << "while it was subscribed";
  });
}

// Ends sessions that have got the message, and sessions that have not.
TEST(FanOutSteps, SessionsThatEndOnTheWayCostNoOtherAnything) {
  for (std::size_t leaves = 1; leaves < kClients; ++leaves) {
    SCOPED_TRACE(leaves);
    with_crowd(kBound, [leaves](Crowd& crowd) -> Task<void> {
      ProtocolClient* from = crowd.clients.front();
      from->send(protocol::PublishBody{
          .channel = "crowd", .data = bytes_of("event"), .requires_ack = false});
      while (steps() < 3) co_await runtime::Yield{};
      const services::SessionId id = services::Sessions::parse(crowd.clients[leaves]->uuid(), 1).id;
      services::Session* session = services::Sessions::local().in_slot(id.slot);
      services::PubSub::local().leave_all(*session);
      for (std::size_t i = 0; i < kClients; ++i) {
        if (i == leaves) continue;
        const bool has_event = co_await crowd.clients[i]->has_events(1);
        EXPECT_TRUE(has_event) << i;
      }
      for (ProtocolClient* client : crowd.clients) {
        co_await client->settle();
        EXPECT_LE(client->events().size(), 1u);
      }
    });
  }
}

}  // namespace
}  // namespace corelane
