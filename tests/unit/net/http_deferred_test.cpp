// Goal: a deferred answer, from this core or another one, reaches its request once and in order. An
// answer to a request that has ended is dropped, and its sender gets `gone`. Method: raw clients
// against routes that keep their responders, over either ring.
#include "net/http/deferred.hpp"

#include <gtest/gtest.h>

#include <array>
#include <numeric>
#include <string>
#include <vector>

#include "runtime/sharded.hpp"
#include "runtime/task_group.hpp"
#include "tests/unit/net/http_desk.hpp"

namespace corelane {
namespace {

using namespace net::http;
using namespace runtime;
using namespace tests;

void later_at_once(void*, const Request&, const RouteMatch&, Responder& to) {
  const DeferredResponder responder = to.defer();
  EXPECT_TRUE(responder.waiting());
  EXPECT_EQ(responder.respond(Status::ok, "text/plain", "at once"), Delivery::queued);
  EXPECT_FALSE(responder.waiting());
  EXPECT_EQ(responder.respond(Status::ok, "text/plain", "again"), Delivery::gone);
}
void never_taken(void*, net::Stream&) noexcept {
  ADD_FAILURE() << "the stream stays with the server";
}
void hands_over(void*, const Request&, const RouteMatch&, Responder& to) {
  const DeferredResponder responder = to.defer();
  EXPECT_EQ(responder.hand_over(never_taken, nullptr), Delivery::invalid);
  EXPECT_EQ(responder.respond(Status::ok, "text/plain", "kept"), Delivery::queued);
  EXPECT_EQ(responder.hand_over(never_taken, nullptr), Delivery::gone);
}
void invalid(void*, const Request&, const RouteMatch&, Responder& to) {
  const DeferredResponder responder = to.defer();
  EXPECT_EQ(responder.respond(Status::ok, "text/plain\r\nX: y", "injected"), Delivery::invalid);
  EXPECT_EQ(responder.respond(Status::ok, "text/plain", "valid"), Delivery::queued);
}
Task<void> at_once(void*, const OwnedRequest&, DeferredResponder to) {
  EXPECT_EQ(to.respond(Status::ok, "text/plain", "at once"), Delivery::queued);
  co_return;
}

// Asks every core for its share, at once, and answers with the sum.
Task<int> share_of(CoreId core) {
  auto asked = submit_to(core, [core] {
    EXPECT_EQ(Core::current().id(), core);
    return 100 + core;
  });
  co_return co_await std::move(asked);
}
Task<void> sum_of_all_cores(void*, const OwnedRequest&, DeferredResponder to) {
  std::array<int, 8> shares{};
  TaskGroup group("shares");
  for (CoreId core = 0; core < Core::current().cores(); ++core) {
    group.spawn(
        "share", [](CoreId of, int* into) -> Task<void> { *into = co_await share_of(of); }, core,
        &shares.at(core));
  }
  co_await group.join();
  const int sum = std::accumulate(shares.begin(), shares.end(), 0);
  EXPECT_EQ(to.respond(Status::ok, "text/plain", std::to_string(sum)), Delivery::queued);
}

void add_routes(Routes& routes, Desk&) {
  routes.add("GET", "/later/at-once", {.run = later_at_once});
  routes.add("GET", "/hands-over", {.run = hands_over});
  routes.add("GET", "/invalid", {.run = invalid});
  routes.add("GET", "/at-once", {.coroutine = at_once});
  routes.add("GET", "/sum", {.coroutine = sum_of_all_cores});
}

template <class Body>
void run_with_desk(const SiteOptions& options, Body body, CoreId cores = 1) {
  run_at_desk(add_routes, options, body, cores);
}

std::vector<HttpAnswer> answers_to(const std::string& text, const SiteOptions& options = {}) {
  return answers_at_desk(add_routes, text, options);
}

// --- Later

TEST(HttpDeferred, ARequestThatIsNoUpgradeCannotBeHandedOverAndWaitsAsBefore) {
  const auto answers = answers_to(get("/hands-over") + kLast);
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[0].body, "kept");
  EXPECT_EQ(answers[1].body, "hello");
}

TEST(HttpDeferred, AnAnswerThatComesLaterKeepsItsPlaceInThePipeline) {
  run_with_desk({}, [](HttpSite& site, Desk& desk) -> Task<void> {
    HttpClient client;
    co_await client.connect(site.network, site.address);
    client.send(get("/later") + get("/hello") + get("/later") + kLast);
    co_await desk.until_kept(1);
    co_await sleep_for(5 * kMillisecond);
    EXPECT_EQ(client.received, "");
    EXPECT_EQ(desk.kept.size(), 1u) << "the next request waits unparsed";
    EXPECT_EQ(site.server.waiting_count(), 1u);
    EXPECT_TRUE(desk.kept[0].waiting());
    EXPECT_EQ(desk.kept[0].respond(Status::ok, "text/plain", "first"), Delivery::queued);
    EXPECT_FALSE(desk.kept[0].waiting());
    co_await desk.until_kept(2);
    EXPECT_EQ(desk.kept[0].respond(Status::ok, "text/plain", "again"), Delivery::gone);
    EXPECT_EQ(desk.kept[1].respond(Status::accepted, "text/plain", "third"), Delivery::queued);
    co_await client.until_end();
    const auto answers = answers_in(client.received);
    EXPECT_EQ(answers.size(), 4u);
    EXPECT_EQ(answers.at(0).body, "first");
    EXPECT_EQ(answers.at(0).date.size(), 29u);
    EXPECT_TRUE(answers.at(0).keep_alive);
    EXPECT_EQ(answers.at(1).body, "hello");
    EXPECT_EQ(answers.at(2).status, 202);
    EXPECT_EQ(answers.at(3).body, "hello");
    EXPECT_EQ(site.server.counters().deferred, 2u);
    EXPECT_EQ(site.server.counters().answers_lost, 1u);
    co_await client.until_closed();
  });
}

TEST(HttpDeferred, OneRequestAfterTheOtherIsAnsweredLaterOnOneConnection) {
  run_with_desk({}, [](HttpSite& site, Desk& desk) -> Task<void> {
    HttpClient client;
    co_await client.connect(site.network, site.address);
    for (std::size_t i = 1; i <= 5; ++i) {
      client.received.clear();
      client.send(get("/later"));
      co_await desk.until_kept(i);
      const std::string text = "answer " + std::to_string(i);
      EXPECT_EQ(desk.kept.back().respond(Status::ok, "text/plain", text), Delivery::queued);
      co_await client.until_contains(text);
    }
    co_await client.half_close();
    co_await client.until_closed();
    EXPECT_TRUE(client.ended);
  });
}

TEST(HttpDeferred, AnAnswerWithinTheHandlerIsLikeAnyOther) {
  const auto answers =
      answers_to(get("/later/at-once") + get("/invalid") + get("/at-once") + kLast);
  ASSERT_EQ(answers.size(), 4u);
  EXPECT_EQ(answers[0].body, "at once");
  EXPECT_EQ(answers[1].body, "valid");
  EXPECT_EQ(answers[2].body, "at once");
  EXPECT_EQ(answers[3].body, "hello");
}

TEST(HttpDeferred, AnAnswerLargerThanTheQueueLeavesInParts) {
  run_with_desk({}, [](HttpSite& site, Desk& desk) -> Task<void> {
    HttpClient client;
    co_await client.connect(site.network, site.address);
    client.send(get("/later") + kLast);
    co_await desk.until_kept(1);
    const std::string large(100'000, 'x');
    EXPECT_EQ(desk.kept[0].respond(Status::ok, "text/plain", large), Delivery::queued);
    co_await client.until_end();
    const auto answers = answers_in(client.received);
    EXPECT_EQ(answers.size(), 2u);
    EXPECT_EQ(answers.at(0).body, large);
    EXPECT_EQ(answers.at(1).body, "hello");
    co_await client.until_closed();
  });
}

TEST(HttpDeferred, APeerThatHasHalfClosedGetsItsAnswer) {
  run_with_desk({}, [](HttpSite& site, Desk& desk) -> Task<void> {
    for (const std::string& behind : {std::string{}, get("/hello")}) {
      HttpClient client;
      co_await client.connect(site.network, site.address);
      desk.kept.clear();
      client.send(get("/later") + behind);
      co_await client.half_close();
      co_await desk.until_kept(1);
      co_await sleep_for(5 * kMillisecond);
      EXPECT_EQ(desk.kept[0].respond(Status::ok, "text/plain", "answer"), Delivery::queued);
      co_await client.until_closed();
      EXPECT_TRUE(client.ended);
      EXPECT_EQ(answers_in(client.received).size(), behind.empty() ? 1u : 2u);
    }
  });
}

TEST(HttpDeferred, AnAnswerToAPeerThatIsGoneGoesNowhereAndSaysSo) {
  run_with_desk({}, [](HttpSite& site, Desk& desk) -> Task<void> {
    HttpClient client;
    co_await client.connect(site.network, site.address);
    client.send(get("/later"));
    co_await desk.until_kept(1);
    co_await reset(client);
    while (site.server.connection_count() > 0) co_await sleep_for(kMillisecond);
    EXPECT_FALSE(desk.kept[0].waiting());
    EXPECT_EQ(desk.kept[0].respond(Status::ok, "text/plain", "late"), Delivery::gone);
    EXPECT_EQ(site.server.counters().answers_lost, 1u);
    EXPECT_EQ(site.server.waiting_count(), 0u);
    EXPECT_EQ(DeferredResponder{}.respond(Status::ok, "text/plain", "to nobody"), Delivery::gone);
  });
}

TEST(HttpDeferred, ADeadlineAnswersInPlaceOfTheHandler) {
  SiteOptions options;
  options.server.answer_deadline = 200 * kMillisecond;
  run_with_desk(options, [](HttpSite& site, Desk& desk) -> Task<void> {
    HttpClient client;
    co_await client.connect(site.network, site.address);
    client.send(get("/later") + get("/sleeps") + kLast);
    co_await client.until_end();
    const auto answers = answers_in(client.received);
    EXPECT_EQ(answers.size(), 3u);
    for (const std::size_t i : {0u, 1u}) {
      EXPECT_EQ(answers.at(i).status, 504);
      EXPECT_EQ(answers.at(i).body, "the answer has not come in time\n");
      EXPECT_TRUE(answers.at(i).keep_alive) << "the request came whole";
    }
    EXPECT_EQ(answers.at(2).body, "hello");
    EXPECT_EQ(desk.kept.at(0).respond(Status::ok, "text/plain", "late"), Delivery::gone);
    EXPECT_EQ(desk.told, std::vector<std::string>{"cancelled"});
    EXPECT_EQ(site.server.counters().timeouts, 2u);
    co_await client.until_closed();
  });
}

TEST(HttpDeferred, ADrainWaitsForAnswersAndGivesThemAsTheLast) {
  run_with_desk({}, [](HttpSite& site, Desk& desk) -> Task<void> {
    HttpClient client;
    co_await client.connect(site.network, site.address);
    client.send(get("/later") + get("/hello"));
    co_await desk.until_kept(1);
    EXPECT_FALSE(desk.kept[0].draining());
    site.server.drain();
    EXPECT_TRUE(desk.kept[0].draining());
    co_await sleep_for(5 * kMillisecond);
    EXPECT_EQ(site.server.waiting_count(), 1u);
    EXPECT_EQ(client.received, "");
    EXPECT_EQ(desk.kept[0].respond(Status::ok, "text/plain", "answer"), Delivery::queued);
    co_await client.until_end();
    const auto answers = answers_in(client.received);
    EXPECT_EQ(answers.size(), 1u);
    EXPECT_EQ(answers.at(0).body, "answer");
    EXPECT_FALSE(answers.at(0).keep_alive);
    EXPECT_EQ(site.server.waiting_count(), 0u);
    co_await client.until_closed();
  });
}

// --- From other cores

TEST(HttpDeferred, AnotherCoreAnswersAndIsToldWhatBecameOfIt) {
  run_with_desk(
      {},
      [](HttpSite& site, Desk& desk) -> Task<void> {
        HttpClient client;
        co_await client.connect(site.network, site.address);
        client.send(get("/later") + get("/later") + kLast);
        co_await desk.until_kept(1);
        const DeferredResponder first = desk.kept[0];
        const auto answer = [first]() -> Task<Delivery> {
          EXPECT_NE(Core::current().id(), first.id().core);
          return first.answer(Status::ok, "text/plain", "from afar");
        };
        auto sent = submit_to(1, answer);
        const Delivery first_sent = co_await std::move(sent);
        EXPECT_EQ(first_sent, Delivery::queued);
        auto again = submit_to(1, answer);
        const Delivery second_sent = co_await std::move(again);
        EXPECT_EQ(second_sent, Delivery::gone);
        co_await desk.until_kept(2);
        const DeferredResponder second = desk.kept[1];
        auto posted =
            submit_to(1, [second] { second.post(Status::ok, "text/plain", "by message"); });
        co_await std::move(posted);
        co_await client.until_end();
        const auto answers = answers_in(client.received);
        EXPECT_EQ(answers.size(), 3u);
        EXPECT_EQ(answers.at(0).body, "from afar");
        EXPECT_EQ(answers.at(1).body, "by message");
        const Delivery third_sent = co_await second.answer(Status::ok, "text/plain", "from home");
        EXPECT_EQ(third_sent, Delivery::gone);
        EXPECT_EQ(site.server.counters().answers_lost, 2u);
        co_await client.until_closed();
        auto settled = submit_to(1, [] {});  // the parcel has come back
        co_await std::move(settled);
      },
      2);
}

TEST(HttpDeferred, ARouteAsksAllCores) {
  run_with_desk(
      {},
      [](HttpSite& site, Desk&) -> Task<void> {
        const auto answers = answers_in(co_await site.exchange(get("/sum") + kLast));
        EXPECT_EQ(answers.size(), 2u);
        EXPECT_EQ(answers.at(0).body, "303") << "100 + 101 + 102";
      },
      3);
}

}  // namespace
}  // namespace corelane
