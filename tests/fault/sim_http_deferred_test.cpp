// Goal: answers that come later, from either core, or in pieces, and bodies read in pieces keep
// their order and their bytes under every fault of the ring; a drain and a stop in the middle of
// them end in time; nothing stays behind, and nothing is answered twice. Method: clients that
// pipeline requests of all kinds, in the simulation, over seeds; the deadlines by its clock.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "net/http/deferred.hpp"
#include "runtime/await.hpp"
#include "runtime/random.hpp"
#include "runtime/sharded.hpp"
#include "runtime/sim/world.hpp"
#include "runtime/task_group.hpp"
#include "tests/support/http_site.hpp"

namespace corelane {
namespace {

using namespace net::http;
using namespace runtime;
using namespace tests;

constexpr std::size_t kSeeds = 200;
constexpr std::size_t kClients = 4;
constexpr Nanoseconds kTick = 150 * kMillisecond;  // of the coarse timer, and the way there

// --- Routes that take their time, by chance

struct Shop {
  explicit Shop(std::uint64_t seed) : random(seed), errands("errands") {}
  Random random;
  TaskGroup errands;
  std::uint64_t queued = 0;
  std::uint64_t gone = 0;
  std::uint64_t posted = 0;
  Nanoseconds a_while() { return static_cast<Nanoseconds>(random.below(20)) * kMillisecond / 4; }
  void count(Delivery delivery) { ++(delivery == Delivery::queued ? queued : gone); }
};

Task<void> answer_later(Shop* shop, DeferredResponder to, std::string body) {
  co_await sleep_for(shop->a_while());
  switch (shop->random.below(3)) {
    case 0:
      shop->count(to.respond(Status::ok, "text/plain", body));
      break;
    case 1: {
      auto sent = submit_to(
          1, [to, body]() -> Task<Delivery> { return to.answer(Status::ok, "text/plain", body); });
      shop->count(co_await std::move(sent));
      break;
    }
    default: {
      ++shop->posted;
      auto posted = submit_to(1, [to, body] { to.post(Status::ok, "text/plain", body); });
      co_await std::move(posted);
      break;
    }
  }
}
void later(void* context, const Request& request, const RouteMatch&, Responder& to) {
  auto& shop = *static_cast<Shop*>(context);
  shop.errands.spawn("errand", answer_later, &shop, to.defer(), std::string{request.query});
}
Task<void> sleeps(void* context, const OwnedRequest& request, DeferredResponder to) {
  auto& shop = *static_cast<Shop*>(context);
  co_await sleep_for(shop.a_while());
  shop.count(to.respond(Status::ok, "text/plain", request.query()));
}
// The query, a byte or so at a time.
Task<void> pieces(void* context, const OwnedRequest& request, DeferredResponder to) {
  auto& shop = *static_cast<Shop*>(context);
  if (to.begin(Status::ok, {}) != Delivery::queued) co_return;
  std::string_view rest = request.query();
  while (!rest.empty()) {
    const std::string_view piece = rest.substr(0, 1 + shop.random.below(200));
    rest.remove_prefix(piece.size());
    const auto written = co_await to.write(std::as_bytes(std::span{piece}));
    if (!written) co_return;
    if (shop.random.below(4) == 0) co_await sleep_for(shop.a_while());
  }
  shop.count(to.end());
}
// The body back, half of the time while it comes.
Task<void> upload(void* context, const OwnedRequest& request, DeferredResponder to) {
  auto& shop = *static_cast<Shop*>(context);
  const bool at_once = request.query() != "whole" && shop.random.below(2) == 0;
  if (at_once && to.begin(Status::ok, {}) != Delivery::queued) co_return;
  std::string body;
  std::vector<std::byte> room(1 + shop.random.below(700));
  for (;;) {
    if (shop.random.below(8) == 0) co_await sleep_for(shop.a_while());
    const auto read = co_await to.read_body(room);
    if (!read) co_return;
    if (*read == 0) break;
    const std::span<const std::byte> part = std::span{room}.first(*read);
    body.append(reinterpret_cast<const char*>(part.data()), part.size());
    if (!at_once) continue;
    const auto written = co_await to.write(part);
    if (!written) co_return;
  }
  shop.count(at_once ? to.end() : to.respond(Status::ok, "text/plain", body));
}
void hello(void*, const Request&, const RouteMatch&, Responder& to) {
  EXPECT_TRUE(to.respond(Status::ok, "text/plain", "hello"));
}
void never(void*, const Request&, const RouteMatch&, Responder& to) {
  to.defer();
}

Routes routes_of(Shop& shop) {
  Routes routes;
  routes.add("GET", "/hello", {.run = hello});
  routes.add("GET", "/never", {.run = never});
  routes.add("GET", "/later", {.run = later, .context = &shop});
  routes.add("GET", "/sleeps", {.context = &shop, .coroutine = sleeps});
  routes.add("GET", "/pieces", {.context = &shop, .coroutine = pieces});
  routes.add("POST", "/upload",
             {.context = &shop, .coroutine = upload, .streamed_bytes_max = 100'000});
  return routes;
}

// --- Clients

struct Script {
  std::string text;
  std::vector<std::string> bodies;
};
std::string text_of(Random& random, std::size_t bytes_max) {
  std::string text;
  const std::size_t bytes = 1 + random.below(bytes_max);
  while (text.size() < bytes) text += std::to_string(random.below(1'000'000)) + "-";
  return text;
}
std::string chunked(Random& random, std::string_view body) {
  std::string text;
  while (!body.empty()) {
    const std::string_view piece = body.substr(0, 1 + random.below(900));
    text += fmt::format("{:x}\r\n{}\r\n", piece.size(), piece);
    body.remove_prefix(piece.size());
  }
  return text + "0\r\n\r\n";
}
Script make_script(Random& random) {
  Script script;
  const std::uint64_t requests = 1 + random.below(12);
  for (std::uint64_t i = 0; i < requests; ++i) {
    std::string body = text_of(random, 1500);
    switch (random.below(6)) {
      case 0:
        script.text += get("/later?" + body);
        break;
      case 1:
        script.text += get("/sleeps?" + body);
        break;
      case 2:
        script.text += get("/pieces?" + body);
        break;
      case 3:
        body = text_of(random, 20'000);
        script.text += post("/upload", body);
        break;
      case 4:
        body = text_of(random, 20'000);
        script.text += post("/upload", "Transfer-Encoding: chunked\r\n", chunked(random, body));
        break;
      default:
        script.text += get("/hello");
        body = "hello";
        break;
    }
    script.bodies.push_back(body);
  }
  script.text += get("/sleeps?last", "Connection: close\r\n");
  script.bodies.push_back("last");
  return script;
}

enum class Ending : std::uint8_t { whole, drain, stop };

struct Tally {
  std::size_t whole = 0;
  std::size_t broken = 0;
  std::uint64_t gone = 0;
};

// A client's answers are a prefix of what it is to get.
void check(const Script& script, const HttpClient& client, Ending ending, Tally& tally,
           std::uint64_t seed) {
  auto answers = answers_in(client.received);
  if (!answers.empty() && answers.back().status == 0) answers.pop_back();  // cut off
  const bool was_refused = !answers.empty() && answers.back().status == 503;
  if (was_refused) {
    EXPECT_EQ(ending, Ending::drain) << "seed " << seed;
    answers.pop_back();
  }
  ASSERT_LE(answers.size(), script.bodies.size()) << "seed " << seed;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    ASSERT_EQ(answers[i].status, 200) << "seed " << seed;
    ASSERT_EQ(answers[i].body, script.bodies[i]) << "seed " << seed;
  }
  ++(answers.size() == script.bodies.size() ? tally.whole : tally.broken);
}

struct Run {
  Run(std::uint64_t seed, Ending how) : random(seed), shop(seed + 1), ending(how) {}
  Random random;
  Shop shop;
  Ending ending;
  std::vector<Script> scripts{kClients};
  std::vector<HttpClient> clients{kClients};
};

Task<void> follow(HttpSite* site, HttpClient* client, const std::string* text) {
  const auto stream = co_await site->network.connect(site->address, HttpClient::kHandler, client);
  if (!stream) co_return;
  client->network = &site->network;
  client->id = *stream;
  client->send(*text);
  co_await client->until_closed();
}

Task<void> play(HttpSite& site, Run& run) {
  TaskGroup group("clients");
  for (std::size_t i = 0; i < run.scripts.size(); ++i) {
    group.spawn("client", follow, &site, &run.clients[i], &run.scripts[i].text);
  }
  if (run.ending != Ending::whole) {
    co_await sleep_for(static_cast<Nanoseconds>(run.random.below(60)) * kMillisecond);
    const Nanoseconds begun = Core::current().now();
    if (run.ending == Ending::stop) {
      co_await site.network.shutdown();
      co_await site.server.stop();
    } else {
      site.server.drain();
      while (site.server.connection_count() > 0) co_await sleep_for(kMillisecond);
      EXPECT_LE(Core::current().now() - begun, 60 * kSecond);
    }
    EXPECT_EQ(site.server.waiting_count(), 0u);
  }
  co_await group.join();
  // The server may go on with what a broken connection has brought it.
  while (site.server.connection_count() > 0) co_await sleep_for(10 * kMillisecond);
  co_await run.shop.errands.join();
}

Tally play_once(std::uint64_t seed, const sim::Faults& faults, Ending ending) {
  sim::World world(seed, faults);
  world.checks().time_max = 3600 * kSecond;
  Tally tally;
  Run run(seed, ending);
  for (Script& script : run.scripts) script = make_script(run.random);
  const Routes routes = routes_of(run.shop);
  SiteOptions options;
  options.routes = &routes;
  options.cores = 2;
  options.network.receive_buffers = 8;
  options.network.receive_buffer_bytes = 64u << run.random.below(6);
  options.network.queued_bytes_max = std::size_t{1024} << run.random.below(5);
  run_site(options, play, run);
  for (std::size_t i = 0; i < kClients; ++i) {
    check(run.scripts[i], run.clients[i], ending, tally, seed);
  }
  tally.gone = run.shop.gone;
  return tally;
}

TEST(SimulatedHttpDeferred, EveryAnswerArrivesOnceAndInOrderUnderFaultsThatAServerCanHide) {
  for (const std::uint64_t seed : sim::seeds(1, kSeeds)) {
    const Tally one = play_once(seed, sim::Faults::swarm(seed, false), Ending::whole);
    EXPECT_EQ(one.broken, 0u) << "seed " << seed;
    EXPECT_EQ(one.gone, 0u) << "seed " << seed;
  }
}

TEST(SimulatedHttpDeferred, ABrokenConnectionGetsNoWrongAnswerAndLeavesNothing) {
  Tally total;
  for (const std::uint64_t seed : sim::seeds(1, kSeeds)) {
    const Tally one = play_once(seed, sim::Faults::swarm(seed, true), Ending::whole);
    total.whole += one.whole;
    total.broken += one.broken;
    total.gone += one.gone;
  }
  fmt::print("{} connections broke, {} did not; {} answers went nowhere\n", total.broken,
             total.whole, total.gone);
  if (sim::seeds(1, kSeeds).size() < kSeeds) return;
  EXPECT_GT(total.broken, 20u);
  EXPECT_GT(total.whole, 20u);
  EXPECT_GT(total.gone, 0u);
}

TEST(SimulatedHttpDeferred, ADrainOrAStopInTheMiddleEndsEverything) {
  Tally total;
  for (const std::uint64_t seed : sim::seeds(1, kSeeds)) {
    const Ending ending = seed % 2 == 0 ? Ending::drain : Ending::stop;
    const Tally one = play_once(seed, sim::Faults::swarm(seed, seed % 3 == 0), ending);
    total.whole += one.whole;
    total.broken += one.broken;
  }
  fmt::print("{} scripts were cut short, {} were not\n", total.broken, total.whole);
}

// --- Deadlines

template <class Body>
void run_in_shop(Body body) {
  sim::World world(1);
  world.checks().time_max = 3600 * kSecond;
  Shop shop(1);
  const Routes routes = routes_of(shop);
  SiteOptions options;
  options.routes = &routes;
  options.cores = 2;
  run_site(options, body);
}

TEST(SimulatedHttpDeferred, AnAnswerHasThirtySecondsAlsoWhileDraining) {
  run_in_shop([](HttpSite& site) -> Task<void> {
    for (const bool drains : {false, true}) {
      HttpClient client;
      co_await client.connect(site.network, site.address);
      client.send(get("/never") + get("/hello", "Connection: close\r\n"));
      const Nanoseconds start = Core::current().now();
      co_await sleep_for(kSecond);
      if (drains) site.server.drain();
      co_await client.until_end();
      EXPECT_GE(Core::current().now() - start, 30 * kSecond);
      EXPECT_LE(Core::current().now() - start, 30 * kSecond + kTick);
      const auto answers = answers_in(client.received);
      EXPECT_EQ(answers.size(), drains ? 1u : 2u);
      EXPECT_EQ(answers.at(0).status, 504);
      EXPECT_EQ(answers.at(0).keep_alive, !drains);
      co_await client.until_closed();
    }
  });
}

// Sends `bytes` every second until the server ends it; how long that took.
Task<Nanoseconds> dribble(HttpSite& site, std::string head, std::size_t bytes, int* status) {
  HttpClient client;
  co_await client.connect(site.network, site.address);
  client.send(head);
  const Nanoseconds start = Core::current().now();
  while (client.received.empty() && !client.ended) {
    client.send(std::string(bytes, 'x'));
    co_await sleep_for(kSecond);
  }
  co_await client.until_end();
  const Nanoseconds took = Core::current().now() - start;
  const auto answers = answers_in(client.received);
  *status = answers.empty() ? 0 : answers.front().status;
  co_await client.until_closed();
  co_return took;
}

TEST(SimulatedHttpDeferred, ABodyInPiecesHasThirtySecondsAndOneForEach16KiB) {
  run_in_shop([](HttpSite& site) -> Task<void> {
    int status = 0;
    const std::string head =
        "POST /upload?whole HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: "
        "100000\r\n\r\n";
    const Nanoseconds slow = co_await dribble(site, head, 1, &status);
    EXPECT_EQ(status, 408);
    EXPECT_GE(slow, 30 * kSecond - kTick);
    EXPECT_LE(slow, 32 * kSecond);
    // 100,000 bytes in 33 s.
    const Nanoseconds fair = co_await dribble(site, head, 3000, &status);
    EXPECT_EQ(status, 200);
    EXPECT_GE(fair, 33 * kSecond);
    EXPECT_LE(fair, 36 * kSecond);
  });
}

}  // namespace
}  // namespace corelane
