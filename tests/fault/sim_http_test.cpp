// Goal: the HTTP server keeps its deadlines as they are configured, and under every fault of the
// ring a client gets each answer once and in order, or a connection that broke; nothing stays
// behind. Method: clients and server in the simulation, whose clock needs no waiting, over seeds.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/await.hpp"
#include "runtime/random.hpp"
#include "runtime/sim/world.hpp"
#include "runtime/task_group.hpp"
#include "tests/support/http_site.hpp"
#include "tests/support/stall.hpp"

namespace corelane {
namespace {

using namespace runtime;
using namespace tests;

constexpr std::size_t kSeeds = 200;
constexpr std::size_t kClients = 4;
constexpr Nanoseconds kTick = 150 * kMillisecond;  // of the coarse timer, and the way there

template <class Body, class... Context>
void run_in(sim::World& world, const SiteOptions& options, Body body, Context&... context) {
  world.checks().time_max = 3600 * kSecond;
  run_site(options, body, context...);
}

// --- Faults

// What one client sends: requests of all kinds, and the bodies it is to get.
struct Script {
  std::string text;
  std::vector<std::string> bodies;
};
Script make_script(Random& random) {
  Script script;
  const std::uint64_t requests = 1 + random.below(30);
  for (std::uint64_t i = 0; i < requests; ++i) {
    const std::string name = "n" + std::to_string(random.below(1'000'000));
    switch (random.below(5)) {
      case 0:
        script.text += "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" +
                       fmt::format("{:x}\r\n{}\r\n0\r\n\r\n", name.size(), name);
        script.bodies.push_back(name);
        break;
      case 1:
        script.text += fmt::format("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{}",
                                   name.size(), name);
        script.bodies.push_back(name);
        break;
      case 2:
        script.text += get("/static");
        script.bodies.push_back("fixed");
        break;
      default:
        script.text += get("/users/" + name);
        script.bodies.push_back(name);
        break;
    }
  }
  script.text += get("/static/big", "Connection: close\r\n");
  script.bodies.push_back(std::string(site_routes::kBigBytes, 's'));
  return script;
}

struct Tally {
  std::size_t whole = 0;
  std::size_t broken = 0;
};

// A client's answers are a prefix of what it is to get, and all of it if nothing broke.
void check(const Script& script, const HttpClient& client, Tally& tally, std::uint64_t seed) {
  const auto answers = answers_in(client.received);
  ASSERT_LE(answers.size(), script.bodies.size()) << "seed " << seed;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    if (answers[i].status == 0 && i + 1 == answers.size()) break;  // cut off
    ASSERT_EQ(answers[i].status, 200) << "seed " << seed;
    ASSERT_EQ(answers[i].body, script.bodies[i]) << "seed " << seed;
  }
  const bool whole = answers.size() == script.bodies.size() && answers.back().status == 200;
  ++(whole ? tally.whole : tally.broken);
}

Task<void> follow(HttpSite* site, HttpClient* client, const std::string* text) {
  const auto stream = co_await site->network.connect(site->address, HttpClient::kHandler, client);
  if (!stream) co_return;
  client->network = &site->network;
  client->id = *stream;
  client->send(*text);
  co_await client->until_closed();
}

Task<void> follow_all(HttpSite& site, std::vector<Script>& scripts, Tally& tally,
                      const std::uint64_t& seed) {
  std::vector<HttpClient> clients(scripts.size());
  TaskGroup group("clients");
  for (std::size_t i = 0; i < scripts.size(); ++i) {
    group.spawn("client", follow, &site, &clients[i], &scripts[i].text);
  }
  co_await group.join();
  for (std::size_t i = 0; i < scripts.size(); ++i) check(scripts[i], clients[i], tally, seed);
}

Tally run_scripts(std::uint64_t seed, const sim::Faults& faults) {
  sim::World world(seed, faults);
  Tally tally;
  Random random(seed);
  std::vector<Script> scripts(kClients);
  for (Script& script : scripts) script = make_script(random);
  SiteOptions options;
  options.network.receive_buffers = 8;
  options.network.queued_bytes_max = std::size_t{1024} << random.below(5);
  run_in(world, options, follow_all, scripts, tally, seed);
  return tally;
}

TEST(SimulatedHttp, EveryAnswerArrivesOnceUnderFaultsThatAServerCanHide) {
  for (const std::uint64_t seed : sim::seeds(1, kSeeds)) {
    EXPECT_EQ(run_scripts(seed, sim::Faults::swarm(seed, false)).broken, 0u) << "seed " << seed;
  }
}

TEST(SimulatedHttp, ABrokenConnectionGetsNoWrongAnswerAndLeavesNothing) {
  Tally total;
  for (const std::uint64_t seed : sim::seeds(1, kSeeds)) {
    const Tally one = run_scripts(seed, sim::Faults::swarm(seed, true));
    total.whole += one.whole;
    total.broken += one.broken;
  }
  fmt::print("{} connections broke, {} did not\n", total.broken, total.whole);
  if (sim::seeds(1, kSeeds).size() < kSeeds) return;
  EXPECT_GT(total.broken, 20u);
  EXPECT_GT(total.whole, 20u);
}

// --- Deadlines

// Sends a byte a second, until the server answers or ends. How long that took.
Task<Nanoseconds> dribble(HttpClient& client, std::string text) {
  const Nanoseconds start = Core::current().now();
  for (const char byte : text) {
    if (!client.received.empty() || client.ended) break;
    client.send({&byte, 1});
    co_await sleep_for(kSecond);
  }
  co_await client.until_end();
  co_return Core::current().now() - start;
}

TEST(SimulatedHttp, ADribbledHeadHasTenSecondsFromAcceptAndFromItsFirstByte) {
  sim::World world(1);
  run_in(world, {}, [](HttpSite& site) -> Task<void> {
    HttpClient first;
    co_await first.connect(site.network, site.address);
    co_await sleep_for(4 * kSecond);
    EXPECT_LE(co_await dribble(first, get("/hello")), 7 * kSecond + kTick);
    EXPECT_EQ(answers_in(first.received).at(0).status, 408);
    co_await first.until_closed();

    HttpClient later;
    co_await later.connect(site.network, site.address);
    later.send(get("/hello"));
    co_await later.until_contains("hello");
    later.received.clear();
    co_await sleep_for(20 * kSecond);  // idle: no part of the head's time
    const Nanoseconds took = co_await dribble(later, get("/hello"));
    EXPECT_GE(took, 10 * kSecond);
    EXPECT_LE(took, 11 * kSecond + kTick);
    EXPECT_EQ(answers_in(later.received).at(0).status, 408);
    co_await later.until_closed();
  });
}

TEST(SimulatedHttp, ADribbledBodyHasThirtySeconds) {
  sim::World world(1);
  run_in(world, {}, [](HttpSite& site) -> Task<void> {
    HttpClient client;
    co_await client.connect(site.network, site.address);
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n");
    const Nanoseconds took = co_await dribble(client, std::string(100, 'x'));
    EXPECT_GE(took, 30 * kSecond);
    EXPECT_LE(took, 31 * kSecond + kTick);
    EXPECT_EQ(answers_in(client.received).at(0).status, 408);
    co_await client.until_closed();
  });
}

TEST(SimulatedHttp, ABodyThatHasBegunHasTwoSecondsWhileDrainingAndAHalfHeadNone) {
  sim::World world(1);
  run_in(world, {}, [](HttpSite& site) -> Task<void> {
    const std::string head = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
    HttpClient whole;
    HttpClient half;
    HttpClient late_half;
    HttpClient cut;
    for (HttpClient* client : {&whole, &half, &late_half, &cut}) {
      co_await client->connect(site.network, site.address);
    }
    for (HttpClient* client : {&whole, &half, &late_half}) client->send(head + "ab");
    cut.send(head.substr(0, 30));
    co_await sleep_for(kSecond);
    const Nanoseconds start = Core::current().now();
    site.server.drain();
    co_await cut.until_end();
    EXPECT_LE(Core::current().now() - start, 100 * kMillisecond);
    EXPECT_EQ(answers_in(cut.received).at(0).status, 503);
    co_await sleep_for(kSecond);
    // During a drain the server finishes a begun request, and serves no request behind it.
    whole.send("cde" + head);
    late_half.send("cde" + head.substr(0, 30));
    for (HttpClient* client : {&whole, &late_half}) {
      co_await client->until_end();
      const auto answers = answers_in(client->received);
      EXPECT_EQ(answers.size(), 1u);
      EXPECT_EQ(answers.at(0).body, "abcde");
      EXPECT_FALSE(answers.at(0).keep_alive);
    }
    co_await half.until_end();
    EXPECT_GE(Core::current().now() - start, 2 * kSecond);
    EXPECT_LE(Core::current().now() - start, 2 * kSecond + kTick);
    EXPECT_EQ(answers_in(half.received).at(0).status, 503);
    for (HttpClient* client : {&whole, &half, &late_half, &cut}) co_await client->until_closed();
  });
}

// The rest of a head, of a body, or the next request has come in time, but the core that is to read
// it was descheduled.
TEST(SimulatedHttp, WhatHasArrivedUnreadByTheDeadlineIsInTime) {
  struct Case {
    std::string first;
    std::string rest;
    Nanoseconds deadline;
  };
  const std::string post = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n";
  for (const Case& each :
       {Case{"GET /hello HTTP/1.1\r\n", "Host: a\r\n\r\n", 10 * kSecond},
        Case{post + "bo", "dy", 30 * kSecond}, Case{get("/hello"), get("/hello"), 60 * kSecond}}) {
    sim::World world(1);
    SiteOptions options;
    options.network.receive_buffers = 1024;
    run_in(
        world, options,
        [](HttpSite& site, sim::World& in, const Case& what) -> Task<void> {
          constexpr std::size_t kCount = 60;
          const bool is_second = what.first == what.rest;
          std::vector<std::unique_ptr<HttpClient>> clients;
          for (std::size_t i = 0; i < kCount; ++i) {
            clients.push_back(std::make_unique<HttpClient>());
            co_await clients.back()->connect(site.network, site.address);
            clients.back()->send(what.first);
          }
          co_await sleep_for(what.deadline - 2 * kSecond);
          for (const auto& client : clients) client->send(what.rest);
          lose_cpu(in, 4 * kSecond);
          const std::size_t wanted = is_second ? 2 : 1;
          const auto served_to = [](const HttpClient& client) {
            return static_cast<std::size_t>(
                std::ranges::count(answers_in(client.received), 200,
                                   [](const HttpAnswer& answer) { return answer.status; }));
          };
          std::size_t served = 0;
          for (const auto& client : clients) {
            co_await client->until([&] { return served_to(*client) >= wanted; });
            served += served_to(*client);
          }
          EXPECT_EQ(served, wanted * kCount);
          EXPECT_EQ(site.server.counters().timeouts, 0u);
          for (const auto& client : clients) {
            if (net::Stream* stream = client->stream()) stream->abort();
            co_await client->until_closed();
          }
        },
        world, each);
  }
}

TEST(SimulatedHttp, AnIdleConnectionHasSixtySecondsAfterEachAnswer) {
  sim::World world(1);
  run_in(world, {}, [](HttpSite& site) -> Task<void> {
    HttpClient client;
    co_await client.connect(site.network, site.address);
    for (int i = 0; i < 3; ++i) {
      client.received.clear();
      client.send(get("/hello"));
      co_await client.until_contains("hello");
      co_await sleep_for(50 * kSecond);
      EXPECT_FALSE(client.ended);
    }
    const Nanoseconds start = Core::current().now();
    co_await client.until_end();
    EXPECT_LE(Core::current().now() - start, 10 * kSecond + kTick);
    EXPECT_EQ(answers_in(client.received).size(), 1u);
    co_await client.until_closed();
  });
}

SiteOptions small_queue() {
  SiteOptions options;
  options.network.queued_bytes_max = 4096;
  return options;
}

std::string many_big() {
  std::string text;
  for (int i = 0; i < 40; ++i) text += get("/static/big");
  return text + get("/hello", "Connection: close\r\n");
}

TEST(SimulatedHttp, APeerThatDoesNotReadIsCutOff) {
  sim::World world(1);
  run_in(world, small_queue(), [](HttpSite& site) -> Task<void> {
    HttpClient client;
    co_await client.connect(site.network, site.address);
    client.stream()->pause_receiving();
    client.send(many_big());
    const Nanoseconds start = Core::current().now();
    while (site.server.connection_count() == 0) co_await sleep_for(kMillisecond);
    while (site.server.connection_count() > 0) co_await sleep_for(kSecond);
    EXPECT_LE(Core::current().now() - start, 50 * kSecond);
    EXPECT_EQ(site.server.counters().timeouts, 1u);
    if (client.stream() != nullptr) client.stream()->resume_receiving();
    co_await client.until_closed();
  });
}

TEST(SimulatedHttp, APeerThatReadsSlowlyGetsEverything) {
  sim::World world(1);
  run_in(world, small_queue(), [](HttpSite& site) -> Task<void> {
    HttpClient client;
    co_await client.connect(site.network, site.address);
    client.send(many_big());
    while (!client.ended && !client.closed) {
      client.stream()->pause_receiving();
      co_await sleep_for(20 * kSecond);
      if (client.stream() == nullptr) break;
      client.stream()->resume_receiving();
      co_await client.until_received(client.received.size() + 400'000);
    }
    co_await client.until_closed();
    const auto answers = answers_in(client.received);
    EXPECT_EQ(answers.size(), 41u);
    EXPECT_EQ(answers.back().body, "hello");
  });
}

}  // namespace
}  // namespace corelane
