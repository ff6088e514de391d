// Goal: under every fault of the ring each message arrives once and in order, or the connection is
// broken; its handler is told open and close once, whatever happens in which order. Method: clients
// and server in the simulation, over seeds, whose scripts are made from the seed.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "runtime/await.hpp"
#include "runtime/random.hpp"
#include "runtime/sim/world.hpp"
#include "runtime/task_group.hpp"
#include "tests/unit/ws/ws_site.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::close_frame;
using tests::Witness;
using tests::WsClient;
using tests::WsSite;
using tests::WsSiteOptions;
using tests::wire::as_bytes;
using tests::wire::close_payload;
using tests::wire::frame;

constexpr std::size_t kSeeds = 200;
constexpr std::size_t kClients = 8;

// What one client sends and is to get back: messages in random fragments, pings between.
struct Script {
  std::string wire;
  std::vector<std::string> messages;
};
Script make_script(Random& random) {
  Script script;
  for (std::uint64_t count = 1 + random.below(40); count > 0; --count) {
    const std::uint64_t size_class = random.below(10);
    const std::size_t bytes = random.below(size_class == 0 ? 20'000 : size_class < 4 ? 700 : 100);
    std::string message(bytes, '\0');
    for (char& c : message) c = static_cast<char>('a' + random.below(26));
    std::size_t at = 0;
    for (bool is_first = true, is_final = false; !is_final; is_first = false) {
      is_final = random.below(3) != 0;
      const std::size_t part = is_final ? bytes - at : random.below(bytes - at + 1);
      script.wire += frame({.opcode = is_first ? 2u : 0u,
                            .payload = message.substr(at, part),
                            .is_final = is_final});
      at += part;
      if (random.below(8) == 0) script.wire += frame({.opcode = 9, .payload = "p"});
    }
    script.messages.push_back(std::move(message));
  }
  script.wire += frame({.opcode = 8, .payload = close_payload(1000, "done")});
  return script;
}

struct Outcome {
  std::size_t whole = 0;
  std::size_t broken = 0;
  std::uint64_t trace_hash = 0;
};

void check(const Script& script, WsClient& client, Outcome& outcome) {
  std::vector<std::string> got;
  bool is_closed = false;
  for (const tests::WireFrame& each : client.parse()) {
    ASSERT_FALSE(is_closed) << "a frame behind the close";
    is_closed = each.opcode == 8;
    if (is_closed) {
      ASSERT_EQ(each, close_frame(1000));
    }
    if (each.opcode == 2) got.push_back(each.payload);
  }
  ASSERT_LE(got.size(), script.messages.size());
  for (std::size_t i = 0; i < got.size(); ++i) ASSERT_TRUE(got[i] == script.messages[i]) << i;
  const bool whole = is_closed && got.size() == script.messages.size();
  ++(whole ? outcome.whole : outcome.broken);
}

Outcome run_scripts(std::uint64_t seed, bool breaking) {
  sim::World world(seed, sim::Faults::swarm(seed, breaking));
  world.checks().time_max = 3600 * kSecond;
  Random random(seed);
  std::vector<Script> scripts;
  for (std::size_t i = 0; i < kClients; ++i) scripts.push_back(make_script(random));
  WsSiteOptions options;
  options.network.receive_buffer_bytes = 64u << random.below(6);
  options.network.receive_buffers = 8;
  options.network.medium_buffer_bytes = 2048;
  options.network.medium_buffers = static_cast<std::uint32_t>(random.below(2) * 2);
  options.network.large_buffer_bytes = 4096;
  options.network.large_buffers = static_cast<std::uint32_t>(random.below(2) * 2);
  options.network.queued_bytes_max = std::size_t{48 * 1024} << random.below(4);
  options.network.direct_descriptors = random.below(2) == 0;
  Outcome outcome;
  RuntimeOptions runtime_options = tests::small_options(1);
  runtime_options.seed = seed + 1;
  tests::run_ws_site(
      options,
      [&](WsSite& site) -> Task<void> {
        std::vector<WsClient> clients(kClients);
        TaskGroup group("clients");
        for (std::size_t i = 0; i < kClients; ++i) {
          group.spawn(
              "client",
              [](WsSite* at, WsClient* client, const std::string* wire) -> Task<void> {
                const auto stream =
                    co_await at->network.connect(at->address, WsClient::kHandler, client);
                if (!stream) co_return;
                client->network = &at->network;
                client->id = *stream;
                client->send(tests::ws_handshake() + *wire);
                co_await client->until_closed();
              },
              &site, &clients[i], &scripts[i].wire);
        }
        co_await group.join();
        for (std::size_t i = 0; i < kClients; ++i) {
          EXPECT_LE(clients[i].parse().size(), 10'000u);
          check(scripts[i], clients[i], outcome);
        }
      },
      runtime_options);
  outcome.trace_hash = world.trace_hash();
  return outcome;
}

TEST(WsFaults, EveryMessageComesBackOnceAndInOrderOver200Seeds) {
  for (const std::uint64_t seed : sim::seeds(1, kSeeds)) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    const Outcome outcome = run_scripts(seed, false);
    ASSERT_FALSE(HasFailure());
    ASSERT_EQ(outcome.whole, kClients);
  }
}

TEST(WsFaults, ABrokenConnectionLosesOnlyItsEndOver200Seeds) {
  std::size_t whole = 0;
  std::size_t broken = 0;
  const auto seeds = sim::seeds(1'000'001, kSeeds);
  for (const std::uint64_t seed : seeds) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    const Outcome outcome = run_scripts(seed, true);
    ASSERT_FALSE(HasFailure());
    whole += outcome.whole;
    broken += outcome.broken;
  }
  if (seeds.size() < 100) return;
  EXPECT_GT(broken, 0u) << "no seed broke a connection: the test tests nothing";
  EXPECT_GT(whole, 0u);
}

TEST(WsFaults, ASeedReplaysByteForByte) {
  for (const std::uint64_t seed : {std::uint64_t{5}, std::uint64_t{11}}) {
    EXPECT_EQ(run_scripts(seed, true).trace_hash, run_scripts(seed, true).trace_hash);
  }
  EXPECT_NE(run_scripts(5, true).trace_hash, run_scripts(6, true).trace_hash);
}

// Server and client of ours do anything at any time; the Witness on both sides holds them to the
// order open, messages, close.
void act(ws::Connection& connection, Random& random) {
  switch (random.below(12)) {
    case 0:
      connection.close(ws::CloseCode::going_away, "script");
      break;
    case 1:
      connection.close_now(ws::CloseCode::internal_error, "script");
      break;
    case 2:
      connection.stream().abort();
      break;
    case 3:
      connection.ping({});
      break;
    default:
      connection.send(random.below(2) == 0 ? ws::MessageKind::text : ws::MessageKind::binary,
                      as_bytes(std::string(random.below(3000), 'r')));
      break;
  }
}

std::uint64_t run_anything(std::uint64_t seed) {
  sim::World world(seed, sim::Faults::swarm(seed, true));
  world.checks().time_max = 3600 * kSecond;
  Random random(seed);
  WsSiteOptions options;
  options.network = tests::tiny_network();
  options.network.receive_buffers = 8;
  options.endpoint.handshake.deflate.is_enabled = random.below(2) == 0;
  std::uint64_t opened = 0;
  tests::run_ws_site(options, [&](WsSite& site) -> Task<void> {
    Witness witness;
    const auto any = [&random](ws::Connection& connection, ws::Message& message) {
      if (random.below(4) != 0) connection.echo(message);
      if (random.below(3) == 0) act(connection, random);
    };
    site.witness.when_message = any;
    witness.when_message = any;
    const auto opening = [&random](ws::Connection& connection) {
      if (random.below(4) == 0) act(connection, random);
    };
    site.witness.when_open = opening;
    witness.when_open = opening;
    ws::Endpoint clients(site.network, options.endpoint, Witness::kHandler, &witness);
    for (int i = 0; i < 10; ++i) {
      const auto id = co_await clients.connect(site.address, "a", "/", nullptr);
      if (!id) continue;
      for (std::uint64_t steps = random.below(20); steps > 0; --steps) {
        if (ws::Connection* connection = clients.find(*id)) act(*connection, random);
        co_await sleep_for(static_cast<Nanoseconds>(random.below(2 * kMillisecond)));
      }
    }
    clients.for_each([](ws::Connection& connection) { connection.stream().abort(); });
    while (clients.connection_count() > 0) co_await sleep_for(kMillisecond);
    EXPECT_EQ(witness.opened, witness.ends.size());
    EXPECT_TRUE(witness.open.empty());
    opened = witness.opened;
  });
  return opened;
}

TEST(WsFaults, TheHandlerIsToldOpenAndCloseOnceInAnyOrderOfEventsOver200Seeds) {
  std::uint64_t opened = 0;
  const auto seeds = sim::seeds(1, kSeeds);
  for (const std::uint64_t seed : seeds) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    opened += run_anything(seed);
    ASSERT_FALSE(HasFailure());
  }
  EXPECT_GT(opened, seeds.size());
}

}  // namespace
}  // namespace corelane
