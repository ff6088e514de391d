// Goal: an answer that comes later, from this core or another one, reaches its request once and in
// order; one for which nobody waits any more goes nowhere and is told so; a handler that throws, or
// never answers, costs its request alone. Method: raw clients against routes that keep their
// responders, over either ring.
#include "net/http/deferred.hpp"

#include <gtest/gtest.h>

#include <array>
#include <numeric>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "net/http/server.hpp"
#include "runtime/await.hpp"
#include "runtime/sharded.hpp"
#include "runtime/task_group.hpp"
#include "tests/support/http_site.hpp"

namespace corelane {
namespace {

using namespace runtime;
using net::http::DeferredResponder;
using net::http::Delivery;
using net::http::OwnedRequest;
using net::http::Request;
using net::http::Responder;
using net::http::RouteMatch;
using net::http::Routes;
using net::http::Status;
using tests::answers_in;
using tests::HttpClient;
using tests::HttpSite;
using tests::run_site;
using tests::SiteOptions;

std::string get(std::string_view path, std::string_view fields = "") {
  return "GET " + std::string{path} + " HTTP/1.1\r\nHost: a\r\n" + std::string{fields} + "\r\n";
}
const std::string kLast = get("/hello", "Connection: close\r\n");

// What the routes keep: one a test.
struct Desk {
  std::vector<DeferredResponder> kept;
  std::vector<std::string> told;  // by coroutines, as they go on
  bool may_answer = false;        // those of /waits
  WaitQueue changed;

  void note(std::string text) {
    told.push_back(std::move(text));
    changed.wake_all(WaitQueue::Outcome::granted);
  }
  Task<void> until_kept(std::size_t count) {
    while (kept.size() < count) {
      WaitQueue::Waiter waiter{changed};
      co_await waiter;
    }
  }
  Task<void> until_told(std::size_t count) {
    while (told.size() < count) {
      WaitQueue::Waiter waiter{changed};
      co_await waiter;
    }
  }
  void let_answer() {
    may_answer = true;
    changed.wake_all(WaitQueue::Outcome::granted);
  }
};

void hello(void*, const Request&, const RouteMatch&, Responder& to) {
  EXPECT_TRUE(to.respond(Status::ok, "text/plain", "hello"));
}
void later(void* context, const Request&, const RouteMatch&, Responder& to) {
  auto& desk = *static_cast<Desk*>(context);
  desk.kept.push_back(to.defer());
  EXPECT_EQ(to.defer().id(), desk.kept.back().id());
  EXPECT_FALSE(to.respond(Status::ok, "text/plain", "it is deferred"));
  desk.changed.wake_all(WaitQueue::Outcome::granted);
}
void later_at_once(void*, const Request&, const RouteMatch&, Responder& to) {
  const DeferredResponder responder = to.defer();
  EXPECT_TRUE(responder.waiting());
  EXPECT_EQ(responder.respond(Status::ok, "text/plain", "at once"), Delivery::queued);
  EXPECT_FALSE(responder.waiting());
  EXPECT_EQ(responder.respond(Status::ok, "text/plain", "again"), Delivery::gone);
}
void invalid(void*, const Request&, const RouteMatch&, Responder& to) {
  const DeferredResponder responder = to.defer();
  EXPECT_EQ(responder.respond(Status::ok, "text/plain\r\nX: y", "injected"), Delivery::invalid);
  EXPECT_EQ(responder.respond(Status::ok, "text/plain", "valid"), Delivery::queued);
}
void throws(void*, const Request&, const RouteMatch&, Responder&) {
  throw std::runtime_error{"the shelf is empty"};
}
void throws_behind_its_answer(void*, const Request&, const RouteMatch&, Responder& to) {
  EXPECT_TRUE(to.respond(Status::ok, "text/plain", "hello"));
  throw 17;
}
void throws_deferred(void* context, const Request& request, const RouteMatch& match,
                     Responder& to) {
  later(context, request, match, to);
  throw std::runtime_error{"the shelf is empty"};
}

Task<void> sleeps(void* context, const OwnedRequest&, DeferredResponder to) {
  const bool slept = co_await sleep_for(3600 * kSecond);
  static_cast<Desk*>(context)->note(slept ? "slept" : "cancelled");
  EXPECT_EQ(to.respond(Status::ok, "text/plain", "late"), Delivery::gone);
}
Task<void> waits(void* context, const OwnedRequest&, DeferredResponder to) {
  auto& desk = *static_cast<Desk*>(context);
  desk.note("waits");
  while (!desk.may_answer) {
    WaitQueue::Waiter waiter{desk.changed};
    co_await waiter;
  }
  EXPECT_EQ(to.respond(Status::ok, "text/plain", "waited"), Delivery::queued);
}
// All of the request, behind a suspension.
Task<void> tells(void*, const OwnedRequest& request, DeferredResponder to) {
  co_await Yield{};
  co_await sleep_for(kMillisecond);
  std::string text{request.method()};
  text += ' ';
  text += request.view().target;
  text += ' ';
  text += request.path();
  text += ' ';
  text += request.parameter("name");
  text += ' ';
  text += request.field("X-Color");
  text += ' ';
  text.append(reinterpret_cast<const char*>(request.body().data()), request.body().size());
  EXPECT_EQ(to.respond(Status::ok, "text/plain", text), Delivery::queued);
}
Task<void> silent(void*, const OwnedRequest&, DeferredResponder) {
  co_await Yield{};
}
Task<void> at_once(void*, const OwnedRequest&, DeferredResponder to) {
  EXPECT_EQ(to.respond(Status::ok, "text/plain", "at once"), Delivery::queued);
  co_return;
}
// Goes on behind its answer.
Task<void> lingers(void* context, const OwnedRequest&, DeferredResponder to) {
  co_await Yield{};
  EXPECT_EQ(to.respond(Status::ok, "text/plain", "answered"), Delivery::queued);
  EXPECT_FALSE(to.waiting());
  const bool slept = co_await sleep_for(20 * kMillisecond);
  static_cast<Desk*>(context)->note(slept ? "slept" : "cancelled");
}
Task<void> throws_later(void*, const OwnedRequest&, DeferredResponder) {
  co_await Yield{};
  throw std::runtime_error{"the shelf is empty"};
}

// A wait that throws when it is given up.
Task<void> asks(void* context, const OwnedRequest&, DeferredResponder) {
  auto& desk = *static_cast<Desk*>(context);
  desk.note("asks");
  auto slow = submit_to(0, []() -> Task<int> {
    co_await sleep_for(3600 * kSecond);
    co_return 1;
  });
  const int answer = co_await std::move(slow);
  EXPECT_EQ(answer, 0) << "nobody answers";
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

Routes routes_of(Desk& desk) {
  Routes routes;
  routes.add("GET", "/hello", {.run = hello});
  routes.add("GET", "/later", {.run = later, .context = &desk});
  routes.add("GET", "/later/at-once", {.run = later_at_once});
  routes.add("GET", "/invalid", {.run = invalid});
  routes.add("GET", "/throws", {.run = throws});
  routes.add("GET", "/throws/behind", {.run = throws_behind_its_answer});
  routes.add("GET", "/throws/deferred", {.run = throws_deferred, .context = &desk});
  routes.add("GET", "/sleeps", {.context = &desk, .coroutine = sleeps});
  routes.add("GET", "/waits", {.context = &desk, .coroutine = waits});
  routes.add("POST", "/tells/:name", {.coroutine = tells});
  routes.add("GET", "/silent", {.coroutine = silent});
  routes.add("GET", "/at-once", {.coroutine = at_once});
  routes.add("GET", "/lingers", {.context = &desk, .coroutine = lingers});
  routes.add("GET", "/throws/later", {.coroutine = throws_later});
  routes.add("GET", "/asks", {.context = &desk, .coroutine = asks});
  routes.add("GET", "/sum", {.coroutine = sum_of_all_cores});
  return routes;
}

template <class Body>
void run_with_desk(SiteOptions options, Body body, CoreId cores = 1) {
  Desk desk;
  const Routes routes = routes_of(desk);
  options.routes = &routes;
  options.cores = cores;
  run_site(options, body, desk);
}

// The answers to `text`, which ends the connection.
std::vector<tests::HttpAnswer> answers_to(const std::string& text, SiteOptions options = {}) {
  Desk desk;
  const Routes routes = routes_of(desk);
  options.routes = &routes;
  return answers_in(tests::exchange_at(options, text).received);
}

// --- Later

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
    co_await tests::reset(client);
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

// --- Coroutines

TEST(HttpCoroutine, TheRequestLivesAcrossSuspension) {
  const std::string body(3000, 'x');
  const std::string text =
      "POST /tells/J%C3%BCrgen%2F1?q=1 HTTP/1.1\r\nHost: a\r\nX-Color: red\r\n";
  const std::string told =
      "POST /tells/J%C3%BCrgen%2F1?q=1 /tells/J%C3%BCrgen%2F1 J\xC3\xBCrgen/1 red ";
  SiteOptions whole;
  whole.network.receive_buffer_bytes = 16 * 1024;
  for (const SiteOptions& options : {SiteOptions{}, whole}) {
    const auto answers =
        answers_to(text + "Content-Length: 3000\r\n\r\n" + body + text +
                       "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" + kLast,
                   options);
    ASSERT_EQ(answers.size(), 3u);
    EXPECT_EQ(answers[0].body, told + body);
    EXPECT_EQ(answers[1].body, told + "abc");
  }
}

TEST(HttpCoroutine, IsCancelledWhenItsPeerGoesAway) {
  run_with_desk({}, [](HttpSite& site, Desk& desk) -> Task<void> {
    HttpClient client;
    co_await client.connect(site.network, site.address);
    client.send(get("/sleeps"));
    while (site.server.waiting_count() == 0) co_await sleep_for(kMillisecond);
    co_await tests::reset(client);
    co_await desk.until_told(1);
    EXPECT_EQ(desk.told, std::vector<std::string>{"cancelled"});
  });
}

TEST(HttpCoroutine, IsCancelledWhenTheServerStops) {
  Desk desk;
  const Routes routes = routes_of(desk);
  SiteOptions options;
  options.routes = &routes;
  HttpClient client;
  run_site(
      options,
      [](HttpSite& site, HttpClient& to) -> Task<void> {
        co_await to.connect(site.network, site.address);
        to.send(get("/sleeps"));
        while (site.server.waiting_count() == 0) co_await sleep_for(kMillisecond);
      },
      client);
  EXPECT_EQ(desk.told, std::vector<std::string>{"cancelled"});
}

TEST(HttpCoroutine, GoesOnBehindItsAnswer) {
  run_with_desk({}, [](HttpSite& site, Desk& desk) -> Task<void> {
    const auto answers = answers_in(co_await site.exchange(get("/lingers") + kLast));
    EXPECT_EQ(answers.size(), 2u);
    EXPECT_EQ(answers.at(0).body, "answered");
    co_await desk.until_told(1);
    EXPECT_EQ(desk.told, std::vector<std::string>{"slept"});
  });
}

TEST(HttpCoroutine, OneBeyondTheLimitIsAnswered503) {
  SiteOptions options;
  options.server.handlers_max = 1;
  run_with_desk(options, [](HttpSite& site, Desk& desk) -> Task<void> {
    HttpClient client;
    co_await client.connect(site.network, site.address);
    client.send(get("/waits") + kLast);
    co_await desk.until_told(1);
    const std::string refused = co_await site.exchange(get("/waits") + kLast);
    const auto answers = answers_in(refused);
    EXPECT_EQ(answers.size(), 2u);
    EXPECT_EQ(answers.at(0).status, 503);
    EXPECT_TRUE(answers.at(0).keep_alive);
    EXPECT_NE(refused.find("Retry-After: 1\r\n"), std::string::npos);
    EXPECT_EQ(answers.at(1).body, "hello");
    desk.let_answer();
    co_await client.until_end();
    EXPECT_EQ(answers_in(client.received).at(0).body, "waited");
    EXPECT_EQ(desk.told.size(), 1u);
    co_await client.until_closed();
  });
}

TEST(HttpCoroutine, RequestsBeyondTheLimitOfBytesAreAnswered503) {
  SiteOptions options;
  options.server.handler_bytes_max = 1000;
  const std::string head = "POST /tells/a HTTP/1.1\r\nHost: a\r\n";
  const auto answers =
      answers_to(head + "Content-Length: 1001\r\n\r\n" + std::string(1001, 'x') + head +
                     "Content-Length: 10\r\n\r\n" + std::string(10, 'x') + kLast,
                 options);
  ASSERT_EQ(answers.size(), 3u);
  EXPECT_EQ(answers[0].status, 503);
  EXPECT_EQ(answers[1].status, 200);
}

TEST(HttpCoroutine, OneThatNeverAnswersIsAnsweredFor) {
  const auto answers = answers_to(get("/silent") + kLast);
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[0].status, 500);
  EXPECT_EQ(answers[0].body, "the handler has given no answer\n");
  EXPECT_TRUE(answers[0].keep_alive);
}

// --- Handlers that throw

TEST(HttpHandler, OneThatThrowsCostsItsRequestAlone) {
  run_with_desk({}, [](HttpSite& site, Desk& desk) -> Task<void> {
    const auto answers = answers_in(co_await site.exchange(get("/throws") + get("/throws/behind") +
                                                           get("/throws/deferred") + kLast));
    EXPECT_EQ(answers.size(), 4u);
    for (const std::size_t i : {0u, 2u}) {
      EXPECT_EQ(answers.at(i).status, 500);
      EXPECT_EQ(answers.at(i).body, "the handler has failed\n") << "what() is for the log";
      EXPECT_TRUE(answers.at(i).keep_alive);
    }
    EXPECT_EQ(answers.at(1).body, "hello");
    EXPECT_EQ(answers.at(3).body, "hello");
    EXPECT_EQ(site.server.counters().handlers_failed, 3u);
    EXPECT_EQ(site.server.waiting_count(), 0u);
    EXPECT_EQ(desk.kept.at(0).respond(Status::ok, "text/plain", "late"), Delivery::gone);
  });
}

TEST(HttpHandler, ACoroutineThatThrowsCostsItsRequestAlone) {
  run_with_desk({}, [](HttpSite& site, Desk&) -> Task<void> {
    const auto answers = answers_in(co_await site.exchange(get("/throws/later") + kLast));
    EXPECT_EQ(answers.size(), 2u);
    EXPECT_EQ(answers.at(0).status, 500);
    EXPECT_EQ(answers.at(0).body, "the handler has failed\n");
    EXPECT_EQ(answers.at(1).body, "hello");
    EXPECT_EQ(site.server.counters().handlers_failed, 1u);
  });
}

TEST(HttpHandler, OneThatIsGivenUpHasNotFailed) {
  run_with_desk({}, [](HttpSite& site, Desk& desk) -> Task<void> {
    HttpClient client;
    co_await client.connect(site.network, site.address);
    client.send(get("/asks"));
    co_await desk.until_told(1);
    co_await tests::reset(client);
    while (site.server.connection_count() > 0) co_await sleep_for(kMillisecond);
    co_await site.server.stop();
    EXPECT_EQ(site.server.counters().handlers_failed, 0u);
  });
}

}  // namespace
}  // namespace corelane
