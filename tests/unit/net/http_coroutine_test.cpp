// Goal: a coroutine handler keeps its request across suspensions, and is cancelled when its request
// has ended. A handler that throws, or never answers, affects only its request. Method: raw clients
// against routes that wait or throw, over either ring.
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "runtime/submit.hpp"
#include "tests/unit/net/http_desk.hpp"

namespace corelane {
namespace {

using namespace net::http;
using namespace runtime;
using namespace tests;

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

Task<void> waits(void* context, const OwnedRequest&, DeferredResponder to) {
  auto& desk = *static_cast<Desk*>(context);
  desk.note("waits");
  while (!desk.may_answer) {
    WaitQueue::Waiter waiter{desk.changed};
    co_await waiter;
  }
  EXPECT_EQ(to.respond(Status::ok, "text/plain", "waited"), Delivery::queued);
}
// Answers with all parts of the request, after a suspension.
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
// Goes on after its answer.
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

// A wait that throws when it is cancelled.
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

void add_routes(Routes& routes, Desk& desk) {
  routes.add("GET", "/throws", {.run = throws});
  routes.add("GET", "/throws/behind", {.run = throws_behind_its_answer});
  routes.add("GET", "/throws/deferred", {.run = throws_deferred, .context = &desk});
  routes.add("GET", "/waits", {.context = &desk, .coroutine = waits});
  routes.add("POST", "/tells/:name", {.coroutine = tells});
  routes.add("GET", "/silent", {.coroutine = silent});
  routes.add("GET", "/lingers", {.context = &desk, .coroutine = lingers});
  routes.add("GET", "/throws/later", {.coroutine = throws_later});
  routes.add("GET", "/asks", {.context = &desk, .coroutine = asks});
}

template <class Body>
void run_with_desk(const SiteOptions& options, Body body) {
  run_at_desk(add_routes, options, body);
}

std::vector<HttpAnswer> answers_to(const std::string& text, const SiteOptions& options = {}) {
  return answers_at_desk(add_routes, text, options);
}

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
    co_await reset(client);
    co_await desk.until_told(1);
    EXPECT_EQ(desk.told, std::vector<std::string>{"cancelled"});
  });
}

TEST(HttpCoroutine, IsCancelledWhenTheServerStops) {
  Desk desk;
  const Routes routes = routes_of(desk, add_routes);
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
    co_await reset(client);
    while (site.server.connection_count() > 0) co_await sleep_for(kMillisecond);
    co_await site.server.stop();
    EXPECT_EQ(site.server.counters().handlers_failed, 0u);
  });
}

}  // namespace
}  // namespace corelane
