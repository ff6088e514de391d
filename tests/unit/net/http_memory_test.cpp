// Goal: a request counts as unfinished exactly until its peer has sent all of it. When memory is
// short, a connection in the middle of its request gets a 503, and a connection in the middle of
// its answer is cut off. Method: raw clients in each of the states, all ended at once; over either
// ring.
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "net/http/deferred.hpp"
#include "net/http/server.hpp"
#include "net/memory_holders.hpp"
#include "runtime/await.hpp"
#include "tests/support/http_site.hpp"

namespace corelane {
namespace {

using namespace net::http;
using namespace runtime;
using namespace tests;
using net::MemoryHolders;
using net::MemoryOver;

constexpr std::size_t kBodyBytes = 10'000;
constexpr std::size_t kHugeBytes = 32 << 20;  // more than sockets take

std::string post(std::string_view path, std::size_t body_bytes = kBodyBytes) {
  return "POST " + std::string{path} +
         " HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(kBodyBytes) + "\r\n\r\n" +
         std::string(body_bytes, 'b');
}

// The state that the routes keep: one a test.
struct Desk {
  std::vector<DeferredResponder> kept;
  bool has_begun = false;
  bool may_end = false;
};

void huge(void*, const Request&, const RouteMatch&, Responder& to) {
  EXPECT_TRUE(to.respond(Status::ok, "text/plain", std::string(kHugeBytes, 'h')));
}
void later(void* context, const Request&, const RouteMatch&, Responder& to) {
  static_cast<Desk*>(context)->kept.push_back(to.defer());
}
// An answer that is begun and not ended.
Task<void> in_pieces(void* context, const OwnedRequest&, DeferredResponder to) {
  auto& desk = *static_cast<Desk*>(context);
  EXPECT_EQ(to.begin(Status::ok, {.content_type = "text/plain"}), Delivery::queued);
  const auto written = co_await to.write(std::as_bytes(std::span{std::string_view{"a piece"}}));
  EXPECT_TRUE(written);
  desk.has_begun = true;
  bool slept = true;
  while (!desk.may_end && slept) slept = co_await sleep_for(kMillisecond);
}

Routes routes_of(Desk& desk) {
  Routes routes;
  routes.add("POST", "/huge", {.run = huge});
  routes.add("POST", "/later", {.run = later, .context = &desk});
  routes.add("POST", "/in-pieces", {.context = &desk, .coroutine = in_pieces});
  routes.add("POST", "/upload",
             {.context = &desk, .coroutine = in_pieces, .streamed_bytes_max = 1 << 20});
  return routes;
}

template <class Body>
void run_with_desk(Body body) {
  Desk desk;
  const Routes routes = routes_of(desk);
  SiteOptions options;
  options.routes = &routes;
  run_site(options, body, desk);
}

MemoryAccount& memory() {
  return Core::current().memory();
}

Task<bool> becomes(std::function<bool()> condition) {
  for (int look = 0; look < 60'000 && !condition(); ++look) co_await sleep_for(kMillisecond);
  co_return condition();
}

std::size_t end_all(HttpSite& site, MemoryOver over = MemoryOver::memory) {
  MemoryHolders holders(over);
  site.network.list(holders, 0, site.network.stream_slots());
  std::size_t ended = 0;
  while (const auto worst = holders.take_worst()) {
    if (site.network.end_holder(*worst, over)) ++ended;
  }
  return ended;
}

TEST(HttpMemory, APeerInTheMiddleOfItsRequestIsTold) {
  run_with_desk([](HttpSite& site, Desk&) -> Task<void> {
    HttpClient client;
    co_await client.connect(site.network, site.address);
    client.send(post("/huge", kBodyBytes - 1));
    const bool counts = co_await becomes([] { return memory().unfinished() >= kBodyBytes - 1; });
    EXPECT_TRUE(counts) << memory().unfinished();
    EXPECT_EQ(end_all(site, MemoryOver::unfinished), 1u);
    EXPECT_EQ(memory().unfinished(), 0u);
    EXPECT_EQ(memory().held(MemoryKind::http), 0u);
    co_await client.until_closed();
    const auto answers = answers_in(client.received);
    EXPECT_EQ(answers.size(), 1u);
    EXPECT_EQ(answers.at(0).body, "overloaded: limits.unfinished_bytes_max\n");
    EXPECT_EQ(answers.at(0).status, 503);
    EXPECT_FALSE(answers.at(0).keep_alive);
  });
}

TEST(HttpMemory, APeerThatDoesNotReadItsAnswerIsCutOff) {
  run_with_desk([](HttpSite& site, Desk&) -> Task<void> {
    HttpClient client;
    co_await client.connect(site.network, site.address);
    client.stream()->pause_receiving();
    client.send(post("/huge"));
    const bool is_answered =
        co_await becomes([] { return memory().held(MemoryKind::http) >= kHugeBytes; });
    EXPECT_TRUE(is_answered);
    EXPECT_EQ(memory().unfinished(), 0u);
    EXPECT_EQ(end_all(site, MemoryOver::unfinished), 0u) << "it would give back nothing of that";
    EXPECT_EQ(end_all(site), 1u);
    const bool is_given_back =
        co_await becomes([] { return memory().held(MemoryKind::http) == 0; });
    EXPECT_TRUE(is_given_back);
    client.stream()->resume_receiving();
    co_await client.until_closed();
    EXPECT_EQ(client.received.find("503"), std::string::npos);
  });
}

TEST(HttpMemory, NothingIsToldInTheMiddleOfAnAnswerInPieces) {
  run_with_desk([](HttpSite& site, Desk& desk) -> Task<void> {
    for (const std::string path : {"/in-pieces", "/upload"}) {
      desk.has_begun = false;
      HttpClient client;
      co_await client.connect(site.network, site.address);
      client.send(post(path, path == "/upload" ? kBodyBytes - 1 : kBodyBytes));
      co_await client.until_contains("a piece");
      EXPECT_EQ(memory().unfinished(), 0u);
      end_all(site);
      desk.may_end = true;
      co_await client.until_closed();
      EXPECT_EQ(client.received.find("503"), std::string::npos) << path;
      EXPECT_EQ(client.received.find("0\r\n\r\n"), std::string::npos) << "it did not come whole";
    }
  });
}

TEST(HttpMemory, ARequestThatWaitsForItsAnswerIsNotUnfinished) {
  run_with_desk([](HttpSite& site, Desk& desk) -> Task<void> {
    HttpClient client;
    co_await client.connect(site.network, site.address);
    for (std::size_t i = 1; i <= 2; ++i) {
      client.send(post("/later"));
      const bool waits = co_await becomes([&] { return desk.kept.size() == i; });
      EXPECT_TRUE(waits);
      EXPECT_EQ(memory().unfinished(), 0u);
      EXPECT_EQ(desk.kept.back().respond(Status::ok, "text/plain", "answer"), Delivery::queued);
      EXPECT_EQ(memory().unfinished(), 0u);
    }
    const bool answered = co_await becomes([&] { return answers_in(client.received).size() == 2; });
    EXPECT_TRUE(answered);
    client.stream()->abort();
    co_await client.until_closed();
  });
}

// The connection holds its waiting request, and the bytes behind it.
TEST(HttpMemory, AConnectionWhoseRequestWaitsGivesWayWithWhatItHolds) {
  run_with_desk([](HttpSite& site, Desk& desk) -> Task<void> {
    HttpClient client;
    co_await client.connect(site.network, site.address);
    client.send(post("/in-pieces"));
    co_await client.until_contains("a piece");
    EXPECT_GE(memory().held(MemoryKind::handlers), kBodyBytes);
    EXPECT_EQ(end_all(site, MemoryOver::unfinished), 0u);
    EXPECT_EQ(end_all(site), 1u);
    co_await client.until_closed();
    desk.may_end = true;
    const bool is_given_back = co_await becomes(
        [] { return memory().held(MemoryKind::http) + memory().held(MemoryKind::handlers) == 0; });
    EXPECT_TRUE(is_given_back);
  });
}

// The peer sends on, so the connection lingers, but holds no memory of the request.
TEST(HttpMemory, ARefusedRequestIsGivenBackAtOnce) {
  run_with_desk([](HttpSite& site, Desk&) -> Task<void> {
    HttpClient client;
    co_await client.connect(site.network, site.address);
    client.send("POST /huge HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1f40\r\n" +
                std::string(0x1f40, 'b') + "\r\nno chunk\r\n");
    co_await client.until_contains("400");
    EXPECT_EQ(site.server.connection_count(), 1u);
    EXPECT_EQ(memory().held(MemoryKind::http), 0u);
    EXPECT_EQ(memory().unfinished(), 0u);
    co_await client.until_closed();
  });
}

}  // namespace
}  // namespace corelane
