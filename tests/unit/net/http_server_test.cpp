// Goal: over a real socket every request gets exactly its answer, in order, however it was cut; an
// error response leaves the connection open, unless the fault is in the framing: then it comes
// exactly once, after which the connection ends and nothing is parsed. Method: raw clients against
// a server with tiny buffers and queues on one core, over both rings.
#include "net/http/server.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "net/network.hpp"
#include "runtime/await.hpp"
#include "tests/support/http_site.hpp"

namespace corelane {
namespace {

using namespace net::http;
using namespace runtime;
using namespace tests;

// The answers to `text`, which ends the connection.
std::vector<HttpAnswer> answers_to(const std::string& text, const SiteOptions& options = {}) {
  return answers_in(exchange_at(options, text).received);
}

SiteOptions byte_by_byte() {
  SiteOptions options;
  options.network.receive_buffer_bytes = 1;
  options.network.receive_buffers = 64;
  return options;
}

// --- Requests and answers

TEST(HttpServer, AnswersOneRequestAfterTheOtherOnOneConnection) {
  run_site({}, [](HttpSite& site) -> Task<void> {
    HttpClient client;
    co_await client.connect(site.network, site.address);
    for (int i = 0; i < 5; ++i) {
      client.received.clear();
      client.send(get("/users/n" + std::to_string(i)));
      co_await client.until_contains("n" + std::to_string(i));
      const auto answers = answers_in(client.received);
      EXPECT_EQ(answers.size(), 1u);
      EXPECT_EQ(answers.front().status, 200);
      EXPECT_TRUE(answers.front().keep_alive);
      EXPECT_EQ(answers.front().date.size(), 29u);
    }
    EXPECT_FALSE(client.ended);
    EXPECT_EQ(site.server.counters().accepted, 1u);
    EXPECT_EQ(site.server.counters().requests, 5u);
    co_await client.half_close();
    co_await client.until_closed();
    EXPECT_TRUE(client.ended);
  });
}

std::string a_hundred() {
  std::string text;
  for (int i = 0; i < 100; ++i) text += get("/users/n" + std::to_string(i));
  return text + kLast;
}
void expect_a_hundred(const std::vector<HttpAnswer>& answers) {
  ASSERT_EQ(answers.size(), 101u);
  for (std::size_t i = 0; i < 100; ++i) {
    EXPECT_EQ(answers[i].status, 200);
    EXPECT_EQ(answers[i].body, "n" + std::to_string(i));
    EXPECT_TRUE(answers[i].keep_alive);
  }
  EXPECT_EQ(answers[100].body, "hello");
  EXPECT_FALSE(answers[100].keep_alive);
}

TEST(HttpServer, AnswersAHundredPipelinedRequestsInOrder) {
  expect_a_hundred(answers_to(a_hundred()));
}

TEST(HttpServer, AnswersAHundredPipelinedRequestsThatComeByteByByte) {
  expect_a_hundred(answers_to(a_hundred(), byte_by_byte()));
}

TEST(HttpServer, AnswersAHundredPipelinedRequestsFromOneBuffer) {
  SiteOptions options;
  options.network.receive_buffer_bytes = 8192;
  expect_a_hundred(answers_to(a_hundred(), options));
}

TEST(HttpServer, LosesNothingOfABufferWhenItsShareOfTheTurnIsUsedUp) {
  SiteOptions options;
  options.network.receive_buffer_bytes = 64 * 1024;
  options.network.queued_bytes_max = 1024 * 1024;
  std::string text;
  for (int i = 0; i < 1000; ++i) text += get("/users/n" + std::to_string(i));
  const auto answers = answers_to(text + kLast, options);
  ASSERT_EQ(answers.size(), 1001u);
  for (std::size_t i = 0; i < 1000; ++i) EXPECT_EQ(answers[i].body, "n" + std::to_string(i));
}

TEST(HttpServer, GoesOnWhereItStoppedWhenTheQueueWasFull) {
  SiteOptions options;
  options.network.queued_bytes_max = 512;  // less than three answers
  options.network.receive_buffer_bytes = 8192;
  expect_a_hundred(answers_to(a_hundred(), options));
}

TEST(HttpServer, SendsAnswersThatAreLargerThanTheQueue) {
  const auto answers =
      answers_to(get("/big") + get("/static/big") + get("/big", "Connection: close\r\n"));
  ASSERT_EQ(answers.size(), 3u);
  EXPECT_EQ(answers[0].body, std::string(site_routes::kBigBytes, 'b'));
  EXPECT_EQ(answers[1].body, std::string(site_routes::kBigBytes, 's'));
  EXPECT_EQ(answers[2].body, answers[0].body);
}

TEST(HttpServer, AnswersHeadLikeGetWithoutTheBody) {
  run_site({}, [](HttpSite& site) -> Task<void> {
    for (const std::string path : {"/hello", "/static"}) {
      const std::string text = co_await site.exchange("HEAD " + path +
                                                      " HTTP/1.1\r\nHost: a\r\n"
                                                      "Connection: close\r\n\r\n");
      EXPECT_NE(text.find("Content-Length: 5\r\n"), std::string::npos);
      EXPECT_TRUE(text.ends_with("\r\n\r\n")) << text;
      EXPECT_EQ(answers_in(text, true).size(), 1u);
    }
    const std::string head = "HEAD /x HTTP/1.1\r\nHost: a\r\n";
    const std::string missing =
        co_await site.exchange(head + "\r\n" + head + "Connection: close\r\n\r\n");
    EXPECT_EQ(answers_in(missing, true).size(), 2u);
    EXPECT_EQ(answers_in(missing, true).at(0).status, 404);
    EXPECT_TRUE(missing.ends_with("\r\n\r\n")) << missing;
  });
}

TEST(HttpServer, ReadsBodiesOfEitherFraming) {
  const std::string body(3000, 'x');
  const std::string text = post("/echo", "Content-Length: 3000\r\n", body) +
                           post("/echo", "Transfer-Encoding: chunked\r\n",
                                "3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nT: 1\r\n\r\n") +
                           post("/echo", "Content-Length: 0\r\n", "") + kLast;
  for (const SiteOptions& options : {SiteOptions{}, byte_by_byte()}) {
    const auto answers = answers_to(text, options);
    ASSERT_EQ(answers.size(), 4u);
    EXPECT_EQ(answers[0].body, body);
    EXPECT_EQ(answers[1].body, "abcdefg");
    EXPECT_EQ(answers[2].body, "");
  }
}

TEST(HttpServer, TellsAClientThatWaitsToSendItsBody) {
  run_site({}, [](HttpSite& site) -> Task<void> {
    HttpClient client;
    co_await client.connect(site.network, site.address);
    client.send(post("/echo", "Content-Length: 3\r\nExpect: 100-continue\r\n", ""));
    co_await client.until_received(1);
    EXPECT_EQ(client.received, kContinueResponse);
    client.send("abc" + kLast);
    co_await client.until_end();
    const auto answers = answers_in(client.received);
    EXPECT_EQ(answers.size(), 3u);
    EXPECT_EQ(answers.at(0).status, 100);
    EXPECT_EQ(answers.at(1).body, "abc");
    co_await client.until_closed();
  });
}

TEST(HttpServer, RefusesABodyThatNoRouteTakesBeforeItIsSent) {
  const auto answers =
      answers_to(post("/nowhere", "Content-Length: 3\r\nExpect: 100-continue\r\n", ""));
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].status, 404);
  EXPECT_FALSE(answers[0].keep_alive) << "whether the body comes is not known";
}

TEST(HttpServer, KeepsOrClosesByVersionAndConnection) {
  const std::string old = "GET /hello HTTP/1.0\r\n\r\n";
  const std::string old_kept = "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
  EXPECT_EQ(answers_to(old + get("/hello")).size(), 1u);
  EXPECT_EQ(answers_to(old_kept + old).size(), 2u);
  EXPECT_EQ(answers_to(kLast + get("/hello")).size(), 1u);
  EXPECT_EQ(answers_to(get("/static") + get("/static", "Connection: close\r\n")).size(), 2u);
}

TEST(HttpServer, ListsTheMethodsOfARouteAndGoesOn) {
  const auto answers = answers_to(
      "OPTIONS /hello HTTP/1.1\r\nHost: a\r\n\r\n"
      "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n" +
      kLast);
  ASSERT_EQ(answers.size(), 3u);
  EXPECT_EQ(answers[0].status, 204);
  EXPECT_EQ(answers[0].allow, "GET, HEAD, OPTIONS");
  EXPECT_EQ(answers[1].status, 204);
  EXPECT_EQ(answers[2].status, 200);
}

// The text, then FIN; everything the server still says.
std::vector<HttpAnswer> answers_after_half_close(const std::string& text) {
  std::vector<HttpAnswer> answers;
  const auto body = [](HttpSite& site, const std::string& all,
                       std::vector<HttpAnswer>& to) -> Task<void> {
    HttpClient client;
    co_await client.connect(site.network, site.address);
    client.send(all);
    co_await client.half_close();
    co_await client.until_closed();
    EXPECT_TRUE(client.ended);
    to = answers_in(client.received);
  };
  run_site({}, body, text, answers);
  return answers;
}

TEST(HttpServer, AnswersAPeerThatHasHalfClosed) {
  const auto one = answers_after_half_close(get("/hello"));
  ASSERT_EQ(one.size(), 1u);
  EXPECT_EQ(one[0].body, "hello");
  const auto large = answers_after_half_close(get("/big") + get("/hello"));
  ASSERT_EQ(large.size(), 2u);
  EXPECT_EQ(large[0].body.size(), site_routes::kBigBytes);
  EXPECT_EQ(answers_after_half_close("").size(), 0u);
}

// The same where the text and FIN lie in the server's socket together, before it has accepted the
// connection: then the end comes right behind the bytes, during the pause that a large answer is.
Task<std::string> exchange_with_end_behind(runtime::Address to, const std::string& text) {
  std::string received;
  const int socket = ::socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_EQ(::connect(socket, to.raw(), to.raw_bytes()), 0);
  EXPECT_EQ(::send(socket, text.data(), text.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(text.size()));
  EXPECT_EQ(::shutdown(socket, SHUT_WR), 0);
  const Nanoseconds until = Core::current().now() + 30 * kSecond;
  while (Core::current().now() < until) {
    char piece[4096];
    const ssize_t bytes = ::recv(socket, piece, sizeof piece, MSG_DONTWAIT);
    if (bytes > 0) received.append(piece, static_cast<std::size_t>(bytes));
    if (bytes == 0 || (bytes < 0 && errno != EAGAIN)) {
      EXPECT_EQ(bytes, 0) << std::strerror(errno);
      break;
    }
    if (bytes < 0) co_await sleep_for(100 * kMicrosecond);
  }
  EXPECT_LT(Core::current().now(), until) << "the server has not ended the connection";
  ::close(socket);
  co_return received;
}

TEST(HttpServer, AnswersAPeerWhoseEndComesRightBehindItsRequests) {
  SiteOptions roomy;
  roomy.network.receive_buffer_bytes = 4096;
  for (const SiteOptions& options : {SiteOptions{}, roomy}) {
    for (const std::string& last : {std::string{}, get("/big"), get("/hello")}) {
      std::string received;
      const std::string text = get("/big") + last;
      run_site(
          options,
          [](HttpSite& site, const std::string& all, std::string& into) -> Task<void> {
            into = co_await exchange_with_end_behind(site.address, all);
          },
          text, received);
      const auto answers = answers_in(received);
      ASSERT_EQ(answers.size(), last.empty() ? 1u : 2u);
      EXPECT_EQ(answers[0].body.size(), site_routes::kBigBytes);
      EXPECT_EQ(answers.back().status, 200);
    }
  }
}

TEST(HttpServer, RefusesARequestThatEndsBeforeItIsWhole) {
  for (const std::string& text :
       {get("/hello").substr(0, 20), post("/echo", "Content-Length: 9\r\n", "x")}) {
    const auto answers = answers_after_half_close(text);
    ASSERT_EQ(answers.size(), 1u);
    EXPECT_EQ(answers[0].status, 400);
  }
}

// --- Faults

struct Fault {
  std::string name;
  std::string text;
  int status;
};

const std::string kHidden = get("/users/hidden");

// Where the next request would begin is not known.
std::vector<Fault> framing_faults() {
  const std::string long_target = "/" + std::string(Limits{}.request_line_bytes_max, 'a');
  const std::string long_field = "X: " + std::string(Limits{}.header_bytes_max, 'a') + "\r\n";
  const std::uint64_t too_large = Limits{}.body_bytes_max + Limits{}.discarded_bytes_max + 1;
  return {
      {"Malformed", get("/hello", "X : 1\r\n"), 400},
      {"Body", post("/echo", "Content-Length: " + std::to_string(too_large) + "\r\n", ""), 413},
      {"BodyNotSentYet", post("/echo", "Content-Length: 1048577\r\nExpect: 100-continue\r\n", ""),
       413},
      {"Target", get(long_target), 414},
      {"Header", get("/hello", long_field), 431},
      {"Version", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
  };
}

TEST(HttpServer, AnswersEachFramingFaultOnceWithItsStatusAndCloses) {
  for (const Fault& fault : framing_faults()) {
    const auto answers = answers_to(get("/hello") + fault.text + kHidden);
    ASSERT_EQ(answers.size(), 2u) << fault.name;
    EXPECT_EQ(answers[0].body, "hello");
    EXPECT_EQ(answers[1].status, fault.status) << fault.name;
    EXPECT_FALSE(answers[1].keep_alive) << fault.name;
    EXPECT_EQ(answers[1].date.size(), 29u) << fault.name;
  }
}

// The request came whole: whatever the answer is, the next one is served.
std::vector<Fault> other_faults() {
  const std::string over(Limits{}.body_bytes_max + 1, 'x');
  return {
      {"DotSegment", get("/a/../b"), 400},
      {"NoRoute", get("/nowhere"), 404},
      {"NoRouteForABody", post("/nowhere", "Content-Length: 3\r\n", "abc"), 404},
      {"NoRouteForChunks", post("/x", "Transfer-Encoding: chunked\r\n", "1\r\na\r\n0\r\n\r\n"),
       404},
      {"OptionsOfNoRoute", "OPTIONS /nowhere HTTP/1.1\r\nHost: a\r\n\r\n", 404},
      {"NoMethod", post("/hello", "Content-Length: 3\r\n", "abc"), 405},
      {"NoMethodHere", "DELETE /hello HTTP/1.1\r\nHost: a\r\n\r\n", 405},
      {"ALittleTooMuch", post("/echo", "Content-Length: 1048577\r\n", over), 413},
      {"ChunksALittleTooLarge",
       post("/echo", "Transfer-Encoding: chunked\r\n", "100001\r\n" + over + "\r\n0\r\n\r\n"), 413},
      {"Expectation", get("/hello", "Expect: a miracle\r\n"), 417},
      {"ExpectationWithABody", post("/echo", "Expect: a miracle\r\nContent-Length: 3\r\n", "abc"),
       417},
      {"WebSocketOnly", get("/ws"), 426},
      {"NoAnswer", get("/silent"), 500},
      {"AnswerThatCannotBeSent", get("/unsendable"), 500},
      {"UnknownMethod", "BREW /hello HTTP/1.1\r\nHost: a\r\n\r\n", 501},
      {"UnknownMethodOfNoRoute", "get /nowhere HTTP/1.1\r\nHost: a\r\n\r\n", 501},
  };
}

TEST(HttpServer, AnswersARequestThatItCannotServeAndGoesOn) {
  for (const Fault& fault : other_faults()) {
    const auto answers = answers_to(fault.text + kLast);
    ASSERT_EQ(answers.size(), 2u) << fault.name;
    EXPECT_EQ(answers[0].status, fault.status) << fault.name;
    EXPECT_TRUE(answers[0].keep_alive) << fault.name;
    EXPECT_EQ(answers[0].date.size(), 29u) << fault.name;
    EXPECT_EQ(answers[0].allow, fault.status == 405 ? "GET, HEAD, OPTIONS" : "") << fault.name;
    EXPECT_EQ(answers[0].version_of_websocket, fault.status == 426 ? "13" : "") << fault.name;
    EXPECT_EQ(answers[1].body, "hello") << fault.name;
  }
}

TEST(HttpServer, AnErrorClosesWhereTheClientWantsItOrIsOfHttp10) {
  EXPECT_EQ(answers_to(get("/nowhere", "Connection: close\r\n") + kHidden).size(), 1u);
  EXPECT_EQ(answers_to("GET /nowhere HTTP/1.0\r\n\r\n" + kHidden).size(), 1u);
  const std::string old = "GET /ws HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
  const auto kept = answers_to(old + kLast);
  ASSERT_EQ(kept.size(), 2u);
  EXPECT_EQ(kept[0].status, 426);
  EXPECT_TRUE(kept[0].keep_alive);
}

TEST(HttpServer, AConnectionIsIdleBehindAnErrorAsBehindAnAnswer) {
  SiteOptions options;
  options.server.idle_timeout = 250 * kMillisecond;
  const auto answers = answers_to(get("/nowhere"), options);
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].status, 404);
}

// Limits that all parsers share: a value at the limit is accepted, one more is refused.
TEST(HttpServer, TakesEachLimitAndRefusesOnePastIt) {
  SiteOptions options;
  Limits& limits = options.server.limits;
  limits = {
      .request_line_bytes_max = 40, .header_bytes_max = 60, .fields_max = 3, .body_bytes_max = 10};
  const auto status_of = [&](const std::string& text) {
    const auto answers = answers_to(text, options);
    return answers.size() == 1 ? answers[0].status : -1;
  };
  const auto line_of = [](std::size_t bytes) {
    const std::string target = "/users/" + std::string(bytes - 13 - 7, 'a');
    return "GET " + target + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
  };
  EXPECT_EQ(status_of(line_of(40)), 200);
  EXPECT_EQ(status_of(line_of(41)), 414);
  const auto header_of = [](std::size_t bytes) {  // 9 of Host, 19 of Connection, 5 around the value
    return get("/hello", "Connection: close\r\nX: " + std::string(bytes - 33, 'a') + "\r\n");
  };
  EXPECT_EQ(status_of(header_of(60)), 200);
  EXPECT_EQ(status_of(header_of(61)), 431);
  EXPECT_EQ(status_of(get("/hello", "Connection: close\r\nA: 1\r\n")), 200);
  EXPECT_EQ(status_of(get("/hello", "Connection: close\r\nA: 1\r\nB: 2\r\n")), 431);
  const std::string close = "Connection: close\r\n";
  EXPECT_EQ(status_of(post("/echo", close + "Content-Length: 10\r\n", "0123456789")), 200);
  EXPECT_EQ(status_of(post("/echo", close + "Content-Length: 11\r\n", "0123456789a")), 413);
  limits.discarded_bytes_max = 0;
  EXPECT_EQ(status_of(post("/echo", "Content-Length: 11\r\n", "0123456789a")), 413)
      << "and the end";
  const std::string coding = close + "Transfer-Encoding: chunked\r\n";
  limits.header_bytes_max = 200;
  EXPECT_EQ(status_of(post("/echo", coding, "a\r\n0123456789\r\n0\r\n\r\n")), 200);
  EXPECT_EQ(status_of(post("/echo", coding, "9\r\n012345678\r\n2\r\n90\r\n0\r\n\r\n")), 413);
}

TEST(HttpServer, AnAnswerReachesAPeerThatGoesOnSendingItsBody) {
  const std::string body(200'000, 'x');
  const auto answers = answers_to(post("/echo", "Content-Length: 2000000\r\n", body));
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].status, 413);
}

TEST(HttpServer, RefusesConnectionsOverItsLimit) {
  SiteOptions options;
  options.server.connections_max = 1;
  run_site(options, [](HttpSite& site) -> Task<void> {
    HttpClient first;
    co_await first.connect(site.network, site.address);
    first.send(get("/hello"));
    co_await first.until_contains("hello");
    const auto refused = answers_in(co_await site.exchange(get("/hello")));
    EXPECT_EQ(refused.size(), 1u);
    EXPECT_EQ(refused.at(0).status, 503);
    EXPECT_EQ(site.server.counters().refused, 1u);
    co_await first.half_close();
    co_await first.until_closed();
    while (site.server.connection_count() > 0) co_await Yield{};
    const auto taken = answers_in(co_await site.exchange(kLast));
    EXPECT_EQ(taken.at(0).status, 200);
  });
}

TEST(HttpServer, DrainsByClosingWhatIsIdleAndAfterEachAnswer) {
  // No deadline ends what the drain should end.
  SiteOptions options;
  options.server.header_deadline = 3600 * kSecond;
  options.server.idle_timeout = 3600 * kSecond;
  run_site(options, [](HttpSite& site) -> Task<void> {
    HttpClient idle;
    HttpClient busy;
    co_await idle.connect(site.network, site.address);
    idle.send(get("/hello"));
    co_await idle.until_contains("hello");
    co_await busy.connect(site.network, site.address);
    busy.send(get("/hello") + get("/hello").substr(0, 10));
    co_await busy.until_contains("hello");
    while (site.network.counters().bytes_received < 2 * get("/hello").size() + 10) {
      co_await Yield{};
    }
    HttpClient silent;  // has never sent a byte
    co_await silent.connect(site.network, site.address);
    while (site.server.connection_count() < 3) co_await Yield{};
    const Nanoseconds drained = Core::current().now();
    site.server.drain();
    co_await silent.until_end();
    EXPECT_TRUE(silent.ended);
    EXPECT_LT(Core::current().now() - drained, 1800 * kSecond);
    EXPECT_EQ(silent.received, "");
    co_await silent.until_closed();
    co_await idle.until_end();
    EXPECT_TRUE(idle.ended);
    EXPECT_EQ(answers_in(idle.received).size(), 1u);
    // Half a head is no request that was taken on.
    co_await busy.until_end();
    const auto answers = answers_in(busy.received);
    EXPECT_EQ(answers.size(), 2u);
    EXPECT_EQ(answers.at(1).status, 503);
    EXPECT_FALSE(answers.at(1).keep_alive);
    const auto late = answers_in(co_await site.exchange(get("/hello")));
    EXPECT_EQ(late.at(0).status, 503);
    co_await idle.until_closed();
    co_await busy.until_closed();
  });
}

// --- Deadlines: short ones, so that they end over a real ring too

constexpr Nanoseconds kShort = kSecond;

// Sends byte by byte until the server says something.
Task<void> dribble(HttpClient& client, std::string text) {
  for (const char byte : text) {
    if (!client.received.empty() || client.closed) co_return;
    client.send({&byte, 1});
    co_await sleep_for(kShort / 10);
  }
}

TEST(HttpServer, ADribbledHeadIsCutOffByItsDeadline) {
  SiteOptions options;
  options.server.header_deadline = kShort;
  for (const std::string& before : {std::string{}, get("/hello")}) {
    const auto body = [](HttpSite& site, const std::string& first) -> Task<void> {
      HttpClient client;
      co_await client.connect(site.network, site.address);
      if (!first.empty()) {
        client.send(first);
        co_await client.until_contains("hello");
        client.received.clear();
      }
      const Nanoseconds start = Core::current().now();
      co_await dribble(client, get("/hello", std::string(200, 'x')));
      co_await client.until_end();
      const Nanoseconds took = Core::current().now() - start;
      // Not a deadline that each byte restarts: then the head would end, and be answered.
      EXPECT_GE(took, kShort);
      const auto answers = answers_in(client.received);
      EXPECT_EQ(answers.size(), 1u);
      EXPECT_EQ(answers.at(0).status, 408);
      EXPECT_EQ(site.server.counters().timeouts, 1u);
      co_await client.until_closed();
    };
    run_site(options, body, before);
  }
}

TEST(HttpServer, ADribbledBodyIsCutOffByItsDeadline) {
  SiteOptions options;
  options.server.body_deadline = kShort;
  run_site(options, [](HttpSite& site) -> Task<void> {
    HttpClient client;
    co_await client.connect(site.network, site.address);
    client.send(post("/echo", "Content-Length: 1000\r\n", ""));
    co_await dribble(client, std::string(1000, 'x'));
    co_await client.until_end();
    EXPECT_EQ(answers_in(client.received).at(0).status, 408);
    co_await client.until_closed();
  });
}

TEST(HttpServer, ASilentConnectionIsAnswered408) {
  SiteOptions options;
  options.server.header_deadline = kShort;
  const auto answers = answers_to("", options);
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].status, 408);
}

TEST(HttpServer, AnIdleConnectionClosesSilently) {
  SiteOptions options;
  options.server.idle_timeout = kShort;
  const auto answers = answers_to(get("/hello") + "\r\n", options);
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].status, 200);
}

}  // namespace
}  // namespace corelane
