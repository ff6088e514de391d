// Goal: a WebSocket connection keeps its deadlines as they are configured, and under every fault of
// the ring each message arrives once and in order, or the connection is broken; its handler is told
// open and close once. Method: clients and server in the simulation, whose clock needs no waiting,
// over seeds.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "runtime/await.hpp"
#include "runtime/random.hpp"
#include "runtime/sim/world.hpp"
#include "runtime/task_group.hpp"
#include "tests/unit/ws/ws_site.hpp"

namespace {

using namespace runtime;
using tests::close_frame;
using tests::FakeServer;
using tests::WireFrame;
using tests::Witness;
using tests::WsClient;
using tests::WsSite;
using tests::WsSiteOptions;
using tests::wire::as_bytes;
using tests::wire::close_payload;
using tests::wire::frame;

constexpr Nanoseconds kTick = 150 * kMillisecond;  // of the coarse timer, and the way there

void run_quietly(const WsSiteOptions& options, const std::function<Task<void>(WsSite&)>& body) {
  sim::World world(1);
  world.checks().time_max = 3600 * kSecond;
  tests::run_ws_site(options, body);
}

Nanoseconds now() {
  return Core::current().now();
}
void expect_about(Nanoseconds passed, Nanoseconds expected) {
  EXPECT_GE(passed, expected);
  EXPECT_LE(passed, expected + kTick);
}

// --- Pings of ours

TEST(WsTime, APeerThatNeverAnswersAPingIsClosed) {
  run_quietly({}, [](WsSite& site) -> Task<void> {
    WsClient client;
    co_await client.open(site);
    const Nanoseconds opened = now();
    co_await client.until_frames(1);
    EXPECT_EQ(client.frames.at(0), (tests::WireFrame{.opcode = 9, .payload = ""}));
    expect_about(now() - opened, 25 * kSecond);
    co_await client.until_frames(2);
    EXPECT_EQ(client.frames.at(1), close_frame(1008, "no pong"));
    EXPECT_GE(now() - opened, 35 * kSecond);
    EXPECT_LE(now() - opened, 35 * kSecond + 2 * kTick);  // of both timers
    co_await client.until_closed();
    EXPECT_EQ(site.endpoint.counters().pong_timeouts, 1u);
  });
}

TEST(WsTime, AnyDataCountsAsAlive) {
  const std::vector<std::string> signs{frame({.opcode = 10}), frame({.opcode = 9}),
                                       frame({.opcode = 1, .payload = "x"}), "a piece"};
  for (const std::string& sign : signs) {
    const bool is_piece = sign == "a piece";
    run_quietly({}, [&sign, is_piece](WsSite& site) -> Task<void> {
      WsClient client;
      co_await client.open(site);
      for (int answered = 0; answered < 20; ++answered) {
        const std::size_t seen = client.parse().size();
        co_await client.until([&client, seen] {
          const auto& frames = client.parse();
          for (std::size_t i = seen; i < frames.size(); ++i) {
            if (frames[i].opcode == 9) return true;
          }
          return false;
        });
        // Half a frame each time, whose other half comes a little later.
        const std::string whole = frame({.opcode = 1, .payload = "in two pieces"});
        client.send(is_piece ? whole.substr(0, 9) : sign);
        co_await sleep_for(5 * kSecond);
        if (is_piece) client.send(whole.substr(9));
      }
      EXPECT_FALSE(client.closed);
      EXPECT_EQ(site.endpoint.connection_count(), 1u);
      client.abort();
      co_await client.until_closed();
    });
  }
}

TEST(WsTime, ClientsOfOursAnswerPingsByThemselves) {
  run_quietly({}, [](WsSite& site) -> Task<void> {
    Witness witness;
    ws::Endpoint clients(site.network, {}, Witness::kHandler, &witness);
    const auto id = co_await clients.connect(site.address, "a", "/", nullptr);
    EXPECT_TRUE(id);
    co_await sleep_for(600 * kSecond);
    EXPECT_NE(clients.find(*id), nullptr);
    EXPECT_EQ(site.endpoint.connection_count(), 1u);
    clients.find(*id)->close(ws::CloseCode::normal);
    while (clients.connection_count() > 0) co_await sleep_for(kSecond);
  });
}

TEST(WsTime, WithoutAPingIntervalAnIdleConnectionStays) {
  WsSiteOptions options;
  options.endpoint.ping_interval = 0;
  run_quietly(options, [](WsSite& site) -> Task<void> {
    WsClient client;
    co_await client.open(site);
    co_await sleep_for(1000 * kSecond);
    EXPECT_FALSE(client.closed);
    client.expect_nothing_more(0);
    client.abort();
    co_await client.until_closed();
  });
}

// --- Deadlines

TEST(WsTime, AMessageMustBeFinishedWithinItsDeadlineHoweverManyPiecesCome) {
  for (const Nanoseconds interval : {0 * kSecond, 25 * kSecond, 60 * kSecond}) {
    for (const bool fragmented : {false, true}) {
      WsSiteOptions options;
      options.endpoint.ping_interval = interval;
      run_quietly(options, [fragmented](WsSite& site) -> Task<void> {
        WsClient client;
        co_await client.open(site);
        client.send_frame({.opcode = 1, .payload = "whole"});
        co_await client.until_frames(1);
        const std::string dribble =
            frame({.opcode = 1, .payload = std::string(1000, 'd'), .is_final = false});
        const Nanoseconds begun = now();
        for (std::size_t i = 0; !client.closed; ++i) {
          if (!fragmented) {
            client.send(dribble.substr(i, 1));
          } else {
            client.send_frame({.opcode = i == 0 ? 1u : 0u, .payload = "f", .is_final = false});
            client.send_frame({.opcode = 10});
          }
          co_await sleep_for(500 * kMillisecond);
          if (now() - begun > 60 * kSecond) break;
        }
        EXPECT_TRUE(client.closed);
        EXPECT_GE(now() - begun, 30 * kSecond - kTick);  // it began up to a tick before `begun`
        EXPECT_LE(now() - begun, 31 * kSecond);
        EXPECT_EQ(client.parse().back(),
                  close_frame(1008, "a message must be finished within its deadline"));
      });
    }
  }
}

// Every receive ends inside a message, but none of the messages is slow.
TEST(WsTime, AStreamOfMessagesCutEverywhereIsNoUnfinishedMessage) {
  for (const Nanoseconds interval : {0 * kSecond, 25 * kSecond, 60 * kSecond}) {
    WsSiteOptions options;
    options.endpoint.ping_interval = interval;
    run_quietly(options, [](WsSite& site) -> Task<void> {
      site.witness.when_message = [](ws::Connection&, ws::Message&) {};
      WsClient client;
      co_await client.open(site);
      const std::string whole = frame({.opcode = 1, .payload = "cut in the middle"});
      client.send(whole.substr(0, 10));
      for (std::uint64_t i = 0; i < 200 && !client.closed; ++i) {
        co_await sleep_for(kSecond);
        client.send(whole.substr(10) + whole.substr(0, 10));
        co_await site.witness.until(
            [&] { return site.witness.messages == i + 1 || !site.witness.ends.empty(); });
      }
      EXPECT_FALSE(client.closed);
      EXPECT_EQ(site.witness.messages, 200u);
      client.abort();
      co_await client.until_closed();
    });
  }
}

TEST(WsTime, APeerThatNeverAnswersOurCloseIsCutOffWhateverElseItSends) {
  for (const Nanoseconds interval : {0 * kSecond, 25 * kSecond, 2 * kSecond}) {
    for (const bool talks : {false, true}) {
      WsSiteOptions options;
      options.endpoint.ping_interval = interval;
      run_quietly(options, [talks](WsSite& site) -> Task<void> {
        WsClient client;
        co_await client.open(site);
        site.connection().close(ws::CloseCode::going_away, "");
        const Nanoseconds closed = now();
        const std::string whole = frame({.opcode = 1, .payload = "not heard"});
        while (!client.closed && now() - closed < 60 * kSecond) {
          if (talks) client.send(whole.substr(0, 8));
          co_await sleep_for(200 * kMillisecond);
          if (talks) client.send(whole.substr(8));
          co_await sleep_for(200 * kMillisecond);
        }
        EXPECT_GE(now() - closed, 5 * kSecond);
        EXPECT_LE(now() - closed, 6 * kSecond);
        co_await site.witness.until_ends(1);
        EXPECT_EQ(site.witness.messages, 0u);
        EXPECT_EQ(site.witness.ends.at(0).code, ws::CloseCode::going_away);
      });
    }
  }
}

TEST(WsTime, AHandshakeThatIsNotAnsweredTimesOut) {
  run_quietly({}, [](WsSite& site) -> Task<void> {
    FakeServer server;
    server.answer = [](const std::string&) { return "HTTP/1.1 101 "; };
    Witness witness;
    ws::Endpoint clients(site.network, {}, Witness::kHandler, &witness);
    const Nanoseconds begun = now();
    const auto id = co_await clients.connect(server.listen(site.network), "a", "/", nullptr);
    EXPECT_FALSE(id);
    EXPECT_EQ(id.error().code, ErrorCode::timed_out);
    expect_about(now() - begun, 10 * kSecond);
    co_await site.network.shutdown();
  });
}

// A peer that reads a little between the looks at it is slow, not gone; one that reads nothing is.
TEST(WsTime, APausedPeerIsClosedOnlyIfItReadsNothing) {
  for (const bool reads : {false, true}) {
    WsSiteOptions options;
    options.network.queued_bytes_max = 64 * 1024;
    options.network.medium_buffers = 0;
    options.network.large_buffers = 0;
    run_quietly(options, [reads](WsSite& site) -> Task<void> {
      WsClient client;
      co_await client.open(site);
      client.stream()->pause_receiving();
      const std::string message = frame({.opcode = 2, .payload = std::string(8000, 's')});
      // What the server does not read of it fits the kernel's buffers: the client does not stall.
      for (int i = 0; i < 28; ++i) client.send(message);
      while (!site.connection().stream().receiving_paused()) co_await sleep_for(kMillisecond);
      const Nanoseconds paused = now();
      while (site.witness.ends.empty() && now() - paused < 200 * kSecond) {
        co_await sleep_for(10 * kSecond);
        if (!reads || client.stream() == nullptr) continue;
        // Exactly as much as makes the server go on and pause again.
        const std::size_t had = client.received.size();
        client.stream()->resume_receiving();
        co_await client.until_received(had + 100'000);
        if (client.stream() != nullptr) client.stream()->pause_receiving();
        for (int i = 0; i < 13; ++i) client.send(message);
      }
      EXPECT_EQ(site.witness.ends.empty(), reads);
      if (!reads) {
        EXPECT_LE(now() - paused, 60 * kSecond);
        EXPECT_EQ(site.endpoint.counters().slow_readers, 1u);
        EXPECT_EQ(site.witness.ends.at(0).code, ws::CloseCode::policy_violation);
      }
      client.abort();
      co_await client.until_closed();
    });
  }
}

// While we do not read, the rest of a message cannot come.
TEST(WsTime, TheDeadlineOfAMessageBeginsAnewAfterAPause) {
  for (const bool finishes : {false, true}) {
    WsSiteOptions options;
    options.network.queued_bytes_max = 1024 * 1024;
    options.network.write_stall_timeout = 0;
    options.endpoint.ping_interval = 0;
    run_quietly(options, [finishes](WsSite& site) -> Task<void> {
      WsClient client;
      co_await client.open(site);
      const std::string message = frame({.opcode = 1, .payload = "in two pieces"});
      client.stream()->pause_receiving();
      const std::string large(300 * 1024, 'l');  // two are more than half of the limit
      for (int i = 0; i < 2; ++i) {
        EXPECT_TRUE(site.connection().send(ws::MessageKind::binary, as_bytes(large)));
        co_await sleep_for(kSecond);
      }
      client.send(message.substr(0, 10));
      while (!site.connection().stream().receiving_paused()) co_await sleep_for(kMillisecond);
      co_await sleep_for(100 * kSecond);
      EXPECT_FALSE(client.closed);
      EXPECT_EQ(site.endpoint.counters().protocol_errors, 0u);
      client.stream()->resume_receiving();
      const Nanoseconds resumed = now();
      co_await client.until_frames(2);
      if (finishes) {
        client.send(message.substr(10));
        co_await client.until_frames(3);
        EXPECT_EQ(client.frames.at(2), (WireFrame{.opcode = 1, .payload = "in two pieces"}));
        client.abort();
        co_await client.until_closed();
      } else {
        co_await client.until_closed();
        EXPECT_EQ(client.parse().back(),
                  close_frame(1008, "a message must be finished within its deadline"));
        EXPECT_GE(now() - resumed, 30 * kSecond - kTick);
        EXPECT_LE(now() - resumed, 31 * kSecond);
      }
    });
  }
}

TEST(WsTime, TenThousandStalledClosersAreGoneAfterTheTimeout) {
  WsSiteOptions options;
  options.network.receive_buffers = 512;
  options.endpoint.ping_interval = 0;
  sim::World world(1);
  world.checks().time_max = 3600 * kSecond;
  RuntimeOptions runtime_options = tests::small_options(1);
  runtime_options.ring = {.entries = 256, .completion_entries = 4096, .direct_descriptors = 0};
  tests::run_ws_site(
      options,
      [](WsSite& site) -> Task<void> {
        constexpr std::size_t kCount = 10'000;
        std::vector<std::unique_ptr<WsClient>> clients;
        for (std::size_t i = 0; i < kCount; ++i) {
          clients.push_back(std::make_unique<WsClient>());
          co_await clients.back()->open(site);
        }
        EXPECT_EQ(site.endpoint.connection_count(), kCount);
        site.endpoint.for_each(
            [](ws::Connection& connection) { connection.close(ws::CloseCode::going_away); });
        const Nanoseconds closed = now();
        co_await site.witness.until_ends(kCount);
        EXPECT_GE(now() - closed, 5 * kSecond);
        EXPECT_LE(now() - closed, 6 * kSecond);
        for (const auto& client : clients) co_await client->until_closed();
        EXPECT_EQ(site.network.stream_count(), 0u);
        EXPECT_EQ(site.endpoint.connection_count(), 0u);
      },
      runtime_options);
}

// --- Faults

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

// --- Any order of events

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
