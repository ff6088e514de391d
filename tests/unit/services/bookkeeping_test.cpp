// Goal: whatever many sessions do at once, and in whatever order cores and the network act, every
// answer is the one a plain model gives, positions are consistent, Acks add up to what was handed
// over and to what clients saw, and at the end nothing is left on any core. Method: random requests
// of many clients that do not wait for answers, in the simulation, over seeds and faults; and nodes
// that are drained and destroyed in the middle of it.
#include <gtest/gtest.h>

#include <array>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "runtime/sim/world.hpp"
#include "tests/support/prng.hpp"
#include "tests/unit/services/node_under_test.hpp"

namespace corelane {
namespace {

using protocol::ErrorCode;
using protocol::Opcode;
using runtime::CoreId;
using runtime::Task;
using runtime::sim::Faults;
using runtime::sim::World;
using tests::bytes_of;
using tests::NodeUnderTest;
using tests::Prng;
using tests::ProtocolClient;
using tests::ServerMessage;
using tests::Via;

constexpr std::size_t kSubscriptionsMax = 4;
const std::array<std::string, 7> kChannels = {"a", "b", "c", "d", "e", "f", ""};

struct Asked {
  protocol::Uuid id;
  bool subscribe;
  std::vector<std::size_t> channels;
  std::vector<ErrorCode> expected;
};

// A client and what it must hold after all it has asked for.
struct Model {
  ProtocolClient* client = nullptr;
  std::map<std::size_t, bool> holds;
  std::vector<Asked> asked;

  std::size_t held() const {
    return static_cast<std::size_t>(
        std::count_if(holds.begin(), holds.end(), [](const auto& one) { return one.second; }));
  }
  ErrorCode apply(bool subscribe, std::size_t channel) {
    if (kChannels[channel].empty()) return ErrorCode::channel_name_invalid;
    if (!subscribe) {
      if (!holds[channel]) return ErrorCode::not_subscribed;
      holds[channel] = false;
      return ErrorCode::none;
    }
    if (holds[channel]) return ErrorCode::already_subscribed;
    if (held() >= kSubscriptionsMax) return ErrorCode::too_many_subscriptions;
    holds[channel] = true;
    return ErrorCode::none;
  }
  void ask(bool subscribe, Prng& prng) {
    Asked request{.id = {}, .subscribe = subscribe, .channels = {}, .expected = {}};
    std::vector<std::string_view> names;
    for (std::uint64_t i = prng.between(1, 3); i > 0; --i) {
      request.channels.push_back(prng.below(kChannels.size()));
      names.push_back(kChannels[request.channels.back()]);
      request.expected.push_back(apply(subscribe, request.channels.back()));
    }
    if (subscribe) {
      request.id = client->send(protocol::SubscribeBody{.channels = names});
    } else {
      request.id = client->send(protocol::UnsubscribeBody{.channels = names});
    }
    asked.push_back(std::move(request));
  }
};

struct Walk {
  NodeUnderTest& test;
  Prng prng;
  std::vector<Model> models;
  ProtocolClient* publisher = nullptr;
  std::vector<protocol::Uuid> publishes;
  std::vector<ProtocolClient*> all;  // also those that have left
  bool closes = false;
  bool closed_any = false;
};

Task<void> step(Walk& walk) {
  constexpr Via kAll[] = {Via::websocket, Via::tcp, Via::compressed};
  Prng& prng = walk.prng;
  const std::uint64_t kind = prng.below(100);
  if (walk.models.size() < 3 || (kind < 8 && walk.models.size() < 20)) {
    ProtocolClient* client = co_await walk.test.connect(kAll[prng.below(3)]);
    walk.all.push_back(client);
    walk.models.push_back(Model{.client = client, .holds = {}, .asked = {}});
    co_return;
  }
  const std::size_t which = prng.below(walk.models.size());
  if (kind < 40) {
    walk.publishes.push_back(walk.publisher->send(
        protocol::PublishBody{.channel = kChannels[prng.below(kChannels.size() - 1)],
                              .data = bytes_of("some data"),
                              .requires_ack = true}));
  } else if (kind < 65) {
    walk.models[which].ask(true, prng);
  } else if (kind < 85) {
    walk.models[which].ask(false, prng);
  } else if (kind < 92) {
    co_await runtime::sleep_for(static_cast<std::int64_t>(prng.below(500'000)));
  } else if (kind < 96 && walk.closes) {
    walk.closed_any = true;
    if (prng.chance(1, 2)) {
      walk.models[which].client->abort();
    } else {
      walk.models[which].client->close();
    }
    walk.models.erase(walk.models.begin() + static_cast<std::ptrdiff_t>(which));
  }
}

// One channel's result in a reply.
struct Outcome {
  ServerMessage reply;
  std::size_t index;
  std::uint64_t epoch() const { return reply.results[index].epoch(); }
  std::uint64_t offset() const { return reply.results[index].offset(); }
};

// The events of a subscription from offset n to m: n + 1, n + 2, ... m, all of them, behind the
// reply that said n and ahead of the one that said m; without end if it still stands. (The reply to
// a subscribe of several channels waits for all their owners: events of the first to answer may
// come ahead of it.) Returns how many they are.
std::size_t expect_events(const Model& model, std::size_t channel, const Outcome& from,
                          const Outcome* to) {
  std::uint64_t expected = from.offset() + 1;
  for (const ServerMessage& event : model.client->events()) {
    if (event.channel != kChannels[channel] || event.offset <= from.offset()) continue;
    if (to != nullptr && event.offset > to->offset()) continue;
    EXPECT_EQ(event.epoch, from.epoch());
    EXPECT_EQ(event.offset, expected++);
    if (from.reply.results.size() == 1) {
      EXPECT_GT(event.arrival, from.reply.arrival);
    }
    if (to != nullptr) {
      EXPECT_LT(event.arrival, to->reply.arrival);
    }
  }
  if (to != nullptr) {
    EXPECT_EQ(to->epoch(), from.epoch());
    EXPECT_EQ(expected, to->offset() + 1);
  }
  return expected - from.offset() - 1;
}

Task<void> check_replies(Model& model) {
  std::map<std::size_t, Outcome> standing;
  std::size_t events = 0;
  for (Asked& asked : model.asked) {
    const ServerMessage reply = co_await model.client->reply(asked.id);
    EXPECT_EQ(reply.opcode, asked.subscribe ? Opcode::SubscribeReply : Opcode::UnsubscribeReply);
    EXPECT_EQ(reply.results.size(), asked.expected.size());
    if (reply.results.size() != asked.expected.size()) co_return;
    for (std::size_t i = 0; i < asked.expected.size(); ++i) {
      EXPECT_EQ(reply.results[i].code(), asked.expected[i]);
      if (asked.expected[i] != ErrorCode::none) continue;
      const Outcome outcome{.reply = reply, .index = i};
      if (asked.subscribe) {
        standing.emplace(asked.channels[i], outcome);
        continue;
      }
      const auto held = standing.find(asked.channels[i]);
      EXPECT_NE(held, standing.end());
      if (held == standing.end()) co_return;
      events += expect_events(model, asked.channels[i], held->second, &outcome);
      standing.erase(held);
    }
  }
  // One order, nothing twice, whatever was subscribed when.
  std::map<std::string, std::uint64_t> last;
  for (const ServerMessage& event : model.client->events()) {
    EXPECT_GT(event.offset, last[event.channel]);
    last[event.channel] = event.offset;
  }
  for (const auto& [channel, from] : standing) {
    events += expect_events(model, channel, from, nullptr);
  }
  EXPECT_EQ(events, model.client->events().size());  // and none of any other time
}

// Finds the subscribers of each channel by a last event, and compares them with the model.
Task<void> check_holders(Walk& walk) {
  for (std::size_t channel = 0; channel + 1 < kChannels.size(); ++channel) {
    const protocol::PublishBody body{
        .channel = kChannels[channel], .data = bytes_of("last"), .requires_ack = true};
    walk.publishes.push_back(walk.publisher->send(body));
  }
  std::array<std::uint32_t, kChannels.size()> holders{};
  for (Model& model : walk.models) {
    std::size_t held = 0;
    for (const auto& [channel, holds] : model.holds) {
      holders[channel] += holds ? 1 : 0;
      held += holds ? 1 : 0;
    }
    const auto count_last = [&model] {
      return static_cast<std::size_t>(
          std::count_if(model.client->events().begin(), model.client->events().end(),
                        [](const ServerMessage& event) { return event.data == "last"; }));
    };
    const bool all = co_await model.client->wait_until([&] { return count_last() >= held; });
    EXPECT_TRUE(all);
    EXPECT_EQ(count_last(), held);
  }
  std::uint64_t acked = 0;
  for (std::size_t i = 0; i < walk.publishes.size(); ++i) {
    const ServerMessage ack = co_await walk.publisher->reply(walk.publishes[i]);
    EXPECT_EQ(ack.opcode, Opcode::Ack);
    acked += ack.delivered;
    const std::size_t from_end = walk.publishes.size() - i;
    if (from_end < kChannels.size()) {
      EXPECT_EQ(ack.delivered, holders[kChannels.size() - 1 - from_end]);
    }
  }
  const std::uint64_t delivered = co_await walk.test.total(
      [](services::CoreNode&) { return services::PubSub::local().counters().delivered; });
  const std::uint64_t not_delivered = co_await walk.test.total(
      [](services::CoreNode&) { return services::PubSub::local().counters().not_delivered; });
  const std::uint64_t published = co_await walk.test.total(
      [](services::CoreNode&) { return services::PubSub::local().counters().published; });
  EXPECT_EQ(published, walk.publishes.size());
  EXPECT_EQ(acked, delivered);
  std::uint64_t seen = 0;
  for (const ProtocolClient* client : walk.all) {
    seen += const_cast<ProtocolClient*>(client)->events().size();
    EXPECT_EQ(client->problem(), "");
  }
  if (walk.closed_any) {
    EXPECT_LE(seen, delivered);
  } else {
    EXPECT_EQ(seen, delivered);
    EXPECT_EQ(not_delivered, 0u);
  }
}

Task<void> random_walk(NodeUnderTest& test, std::uint64_t seed, bool closes) {
  Walk walk{.test = test,
            .prng = Prng(seed),
            .models = {},
            .publisher = nullptr,
            .publishes = {},
            .all = {},
            .closes = closes,
            .closed_any = false};
  walk.publisher = co_await test.connect(Via::websocket);
  for (int i = 0; i < 150; ++i) co_await step(walk);
  for (Model& model : walk.models) co_await check_replies(model);
  // The closed ones are gone when only the models and the publisher are left.
  const bool counted = co_await test.sessions_are(walk.models.size() + 1);
  EXPECT_TRUE(counted);
  co_await check_holders(walk);
  // One half leaves by request, the other by closing.
  for (std::size_t i = 0; i < walk.models.size(); ++i) {
    Model& model = walk.models[i];
    if (i % 2 == 0) {
      model.client->close();
      continue;
    }
    for (const auto& [channel, holds] : model.holds) {
      const std::string_view names[] = {kChannels[channel]};
      if (holds) model.client->send(protocol::UnsubscribeBody{.channels = names});
    }
    co_await model.client->settle();
  }
  const bool left = co_await test.sessions_are((walk.models.size() / 2) + 1);
  EXPECT_TRUE(left);
  const std::uint64_t local = co_await test.total(
      [](services::CoreNode&) { return services::PubSub::local().local_channels(); });
  EXPECT_EQ(local, 0u);
  co_await runtime::sleep_for(2 * services::PubSub::kRetention + 5 * runtime::kSecond);
  const std::uint64_t owned = co_await test.total(
      [](services::CoreNode&) { return services::PubSub::local().owned_channels(); });
  EXPECT_EQ(owned, 0u);
}

// With every second seed, fan-outs take several turns.
services::NodeOptions small_node(std::uint64_t seed) {
  services::NodeOptions options;
  options.pubsub.subscriptions_per_session_max = kSubscriptionsMax;
  options.network.receive_buffer_bytes = 512;
  options.network.receive_buffers = 16;
  options.network.medium_buffer_bytes = 1024;
  options.network.medium_buffers = 2;
  options.network.large_buffer_bytes = 4096;
  options.network.large_buffers = 2;
  if (seed % 2 == 0) options.fan_out_max = static_cast<std::uint32_t>(1 + seed / 2 % 3);
  return options;
}

void walk_over_seeds(std::uint64_t first, bool closes) {
  for (const std::uint64_t seed : runtime::sim::seeds(first, 100)) {
    SCOPED_TRACE(seed);
    World world(seed, Faults::swarm(seed, false));
    runtime::RuntimeOptions options = tests::node_cores(static_cast<CoreId>(1 + seed % 3), 16);
    options.seed = seed + 1;
    tests::with_node(options, small_node(seed), [seed, closes](NodeUnderTest& test) {
      return random_walk(test, seed, closes);
    });
    if (testing::Test::HasFailure()) return;
  }
}

TEST(Bookkeeping, AgreesWithAPlainModelAndAcksAddUpToWhatClientsSaw) {
  walk_over_seeds(1, false);
}

TEST(Bookkeeping, AgreesWithAPlainModelWhileSessionsClose) {
  walk_over_seeds(1000, true);
}

// --- Draining in the middle of it

TEST(Bookkeeping, ANodeIsDrainedAndDestroyedWhateverIsUnderWay) {
  for (const std::uint64_t seed : runtime::sim::seeds(2000, 200)) {
    SCOPED_TRACE(seed);
    World world(seed, Faults::swarm(seed, true));
    runtime::RuntimeOptions options = tests::node_cores(3, 16);
    options.seed = seed + 1;
    tests::run_on_cores(options, [seed]() -> Task<void> {
      NodeUnderTest test(small_node(seed));
      co_await test.start();
      Prng prng(seed);
      std::vector<Model> models;
      for (int i = 0; i < 8; ++i) {
        const Via via = i % 2 == 0 ? Via::websocket : Via::tcp;
        ProtocolClient* client = co_await test.connect(via, test.address(via));
        if (client->open()) models.push_back({.client = client, .holds = {}, .asked = {}});
      }
      for (int i = 0; i < 60 && !models.empty(); ++i) {
        Model& model = models[prng.below(models.size())];
        if (prng.chance(1, 2)) {
          model.ask(prng.chance(2, 3), prng);
        } else if (prng.chance(1, 2)) {
          model.client->send(protocol::PublishBody{
              .channel = kChannels[prng.below(6)], .data = {}, .requires_ack = true});
        } else {
          model.client->send(
              protocol::BroadcastBody{.data = {}, .requires_ack = true, .include_self = true});
        }
        if (prng.chance(1, 20)) model.client->pause_receiving();
      }
      co_await test.drain(static_cast<std::int64_t>(prng.below(20'000'000)));
      co_await test.stop_at_once();
    });
    if (testing::Test::HasFailure()) return;
  }
}

TEST(Bookkeeping, WhatWasTakenInBeforeADrainArrives) {
  for (const std::uint64_t seed : runtime::sim::seeds(3000, 100)) {
    SCOPED_TRACE(seed);
    World world(seed, Faults::swarm(seed, false));
    runtime::RuntimeOptions options = tests::node_cores(3, 16);
    options.seed = seed + 1;
    services::NodeOptions node = small_node(seed);
    node.pubsub.subscriptions_per_session_max = 10;
    tests::with_node(options, node, [](NodeUnderTest& test) -> Task<void> {
      std::vector<ProtocolClient*> clients;
      const std::vector<std::string_view> names(kChannels.begin(), kChannels.end() - 1);
      for (int i = 0; i < 6; ++i) {
        clients.push_back(co_await test.connect(i % 2 == 0 ? Via::websocket : Via::tcp));
        const protocol::SubscribeBody body{.channels = names};
        co_await clients.back()->request(body);
      }
      for (int i = 0; i < 10; ++i) {
        for (const std::string_view name : names) {
          clients[0]->send(
              protocol::PublishBody{.channel = name, .data = {}, .requires_ack = false});
        }
      }
      co_await clients[0]->settle();
      co_await test.drain(30 * runtime::kSecond);
      EXPECT_EQ(test.cut_off(), 0u);
      for (ProtocolClient* client : clients) {
        std::size_t events = 0;
        for (const ServerMessage& message : client->events()) {
          events += message.opcode == Opcode::Event ? 1 : 0;
        }
        EXPECT_EQ(events, 10 * names.size());
      }
    });
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace corelane
