// Goal: answers and bodies in pieces come whole and in order through tiny queues; a slow reader
// holds its producer, and a handler that takes nothing its client, within bounds; a side that goes
// away ends the other one with a clear result. Method: raw clients against routes that write and
// read in pieces, over either ring.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "net/http/deferred.hpp"
#include "net/http/server.hpp"
#include "runtime/await.hpp"
#include "tests/support/http_site.hpp"

namespace corelane {
namespace {

using namespace net::http;
using namespace runtime;
using namespace tests;

std::string chunk(const std::string& data) {
  return fmt::format("{:x}\r\n{}\r\n", data.size(), data);
}
constexpr std::uint64_t kUploadBytesMax = 200'000;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span{text});
}
std::string text_of(std::size_t bytes) {
  std::string text;
  text.reserve(bytes + 8);
  for (std::size_t i = 0; text.size() < bytes; ++i) text += std::to_string(i) + ",";
  text.resize(bytes);
  return text;
}

struct Flow {
  std::size_t written = 0;
  std::string read;
  std::optional<ErrorCode> error;  // that ended the handler
  bool may_read = true;
  bool done = false;
  WaitQueue changed;

  void wake() { changed.wake_all(WaitQueue::Outcome::granted); }
  Task<void> until_done() {
    while (!done) {
      WaitQueue::Waiter waiter{changed};
      co_await waiter;
    }
  }
  void end(std::optional<ErrorCode> why) {
    error = why;
    done = true;
    wake();
  }
};

void hello(void*, const Request&, const RouteMatch&, Responder& to) {
  EXPECT_TRUE(to.respond(Status::ok, "text/plain", "hello"));
}

// As many pieces as ?N asks for, growing from 0 bytes on.
Task<void> pieces(void*, const OwnedRequest& request, DeferredResponder to) {
  const std::size_t count = std::stoul(std::string{request.query()});
  EXPECT_EQ(to.begin(Status::ok, {.content_type = "text/plain"}), Delivery::queued);
  EXPECT_TRUE(to.waiting());
  EXPECT_EQ(to.respond(Status::ok, "text/plain", "another"), Delivery::gone);
  EXPECT_EQ(to.begin(Status::ok, {}), Delivery::gone);
  for (std::size_t i = 0; i < count; ++i) {
    const std::string text = text_of(i);
    const auto written = co_await to.write(bytes_of(text));
    EXPECT_TRUE(written);
  }
  EXPECT_EQ(to.end(), Delivery::queued);
  EXPECT_EQ(to.end(), Delivery::gone);
}
std::string all_pieces(std::size_t count) {
  std::string all;
  for (std::size_t i = 0; i < count; ++i) all += text_of(i);
  return all;
}
// One write, far larger than any queue.
Task<void> one_large(void*, const OwnedRequest&, DeferredResponder to) {
  EXPECT_EQ(to.begin(Status::ok, {.content_type = "text/plain"}), Delivery::queued);
  const std::string text = text_of(500'000);
  const auto written = co_await to.write(bytes_of(text));
  EXPECT_TRUE(written);
  EXPECT_EQ(to.end(), Delivery::queued);
}
Task<void> of_known_length(void* context, const OwnedRequest& request, DeferredResponder to) {
  auto& flow = *static_cast<Flow*>(context);
  EXPECT_EQ(to.begin(Status::ok, {}, 10), Delivery::queued);
  const auto first = co_await to.write(bytes_of("01234"));
  EXPECT_TRUE(first);
  const auto over = co_await to.write(bytes_of("567890"));
  EXPECT_FALSE(over);
  flow.error = over.error().code;
  if (request.query() == "short") {
    EXPECT_EQ(to.end(), Delivery::invalid);
    co_return;
  }
  const auto second = co_await to.write(bytes_of("56789"));
  EXPECT_TRUE(second);
  EXPECT_EQ(to.end(), Delivery::queued);
}
Task<void> endless(void* context, const OwnedRequest&, DeferredResponder to) {
  auto& flow = *static_cast<Flow*>(context);
  EXPECT_EQ(to.begin(Status::ok, {}), Delivery::queued);
  const std::string text = text_of(1000);
  for (;;) {
    const auto written = co_await to.write(bytes_of(text));
    if (!written) {
      flow.end(written.error().code);
      co_return;
    }
    flow.written += text.size();
  }
}
Task<void> never_ends(void*, const OwnedRequest&, DeferredResponder to) {
  EXPECT_EQ(to.begin(Status::ok, {}), Delivery::queued);
  const auto written = co_await to.write(bytes_of("a part"));
  EXPECT_TRUE(written);
}

// Reads all, at ?N bytes a time, and answers with what it read.
Task<void> upload(void* context, const OwnedRequest& request, DeferredResponder to) {
  auto& flow = *static_cast<Flow*>(context);
  EXPECT_TRUE(request.body().empty());
  while (!flow.may_read) {
    WaitQueue::Waiter waiter{flow.changed};
    co_await waiter;
  }
  std::vector<std::byte> room(request.query().empty() ? 1000
                                                      : std::stoul(std::string{request.query()}));
  for (;;) {
    const auto read = co_await to.read_body(room);
    if (!read) {
      flow.end(read.error().code);
      co_return;
    }
    if (*read == 0) break;
    flow.read.append(reinterpret_cast<const char*>(room.data()), *read);
  }
  const auto again = co_await to.read_body(room);
  EXPECT_TRUE(again);
  EXPECT_EQ(*again, 0u);
  EXPECT_EQ(to.respond(Status::ok, "text/plain", std::to_string(flow.read.size())),
            Delivery::queued);
  flow.end(std::nullopt);
}
// Answers without a look at the body.
Task<void> no_upload(void*, const OwnedRequest&, DeferredResponder to) {
  EXPECT_EQ(to.respond(Status::forbidden, "text/plain", "not you"), Delivery::queued);
  co_return;
}
Task<void> no_upload_later(void*, const OwnedRequest&, DeferredResponder to) {
  co_await sleep_for(5 * kMillisecond);
  EXPECT_EQ(to.respond(Status::forbidden, "text/plain", "not you"), Delivery::queued);
}
// Each piece back, as it comes.
Task<void> echo_pieces(void*, const OwnedRequest&, DeferredResponder to) {
  EXPECT_EQ(to.begin(Status::ok, {}), Delivery::queued);
  std::array<std::byte, 777> room;
  for (;;) {
    const auto read = co_await to.read_body(room);
    EXPECT_TRUE(read);
    if (!read || *read == 0) break;
    const auto written = co_await to.write(std::span{room}.first(*read));
    EXPECT_TRUE(written);
  }
  EXPECT_EQ(to.end(), Delivery::queued);
}
Task<void> whole(void*, const OwnedRequest& request, DeferredResponder to) {
  std::array<std::byte, 8> room;
  const auto read = co_await to.read_body(room);
  EXPECT_TRUE(read);
  EXPECT_EQ(*read, 0u);
  EXPECT_EQ(to.respond(Status::ok, {}, request.body()), Delivery::queued);
}

Routes routes_of(Flow& flow) {
  Routes routes;
  const auto reads = [&flow](CoroutineHandler handler) {
    return RouteHandler{
        .context = &flow, .coroutine = handler, .streamed_bytes_max = kUploadBytesMax};
  };
  routes.add("GET", "/hello", {.run = hello});
  routes.add("GET", "/pieces", {.coroutine = pieces});
  routes.add("GET", "/large", {.coroutine = one_large});
  routes.add("GET", "/known", {.context = &flow, .coroutine = of_known_length});
  routes.add("GET", "/endless", {.context = &flow, .coroutine = endless});
  routes.add("GET", "/never-ends", {.coroutine = never_ends});
  routes.add("POST", "/upload", reads(upload));
  routes.add("POST", "/no-upload", reads(no_upload));
  routes.add("POST", "/no-upload/later", reads(no_upload_later));
  routes.add("POST", "/echo-pieces", reads(echo_pieces));
  routes.add("POST", "/whole", {.coroutine = whole});
  return routes;
}

template <class Body, class... Context>
void run_with_flow(SiteOptions options, Flow& flow, Body body, Context&... context) {
  const Routes routes = routes_of(flow);
  options.routes = &routes;
  run_site(options, body, flow, context...);
}

std::string received_for(const std::string& text, SiteOptions options = {}) {
  Flow flow;
  const Routes routes = routes_of(flow);
  options.routes = &routes;
  return exchange_at(options, text).received;
}
std::vector<HttpAnswer> answers_to(const std::string& text, SiteOptions options = {}) {
  return answers_in(received_for(text, std::move(options)));
}

SiteOptions small_bodies() {
  SiteOptions options;
  options.server.limits.body_bytes_max = 100;
  options.server.limits.discarded_bytes_max = 0;
  return options;
}
SiteOptions byte_by_byte() {
  SiteOptions options = small_bodies();
  options.network.receive_buffer_bytes = 1;
  options.network.receive_buffers = 64;
  return options;
}

// --- Answers

TEST(HttpPieces, AnAnswerInPiecesComesWholeAndTheConnectionGoesOn) {
  SiteOptions tiny;
  tiny.network.queued_bytes_max = 512;
  for (const SiteOptions& options : {SiteOptions{}, tiny}) {
    const auto answers =
        answers_to(get("/pieces?100") + get("/hello") + get("/pieces?0") + kLast, options);
    ASSERT_EQ(answers.size(), 4u);
    EXPECT_EQ(answers[0].body, all_pieces(100));
    EXPECT_TRUE(answers[0].keep_alive);
    EXPECT_EQ(answers[0].date.size(), 29u);
    EXPECT_EQ(answers[1].body, "hello");
    EXPECT_EQ(answers[2].body, "");
    EXPECT_EQ(answers[3].body, "hello");
  }
}

TEST(HttpPieces, AWriteLargerThanTheQueueIsCutAndComesWhole) {
  const auto answers = answers_to(get("/large") + kLast);
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[0].body, text_of(500'000));
  EXPECT_EQ(answers[1].body, "hello");
}

TEST(HttpPieces, AnOldClientReadsUntilTheEnd) {
  const std::string received = received_for(
      "GET /pieces?50 HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /hello HTTP/1.0\r\n\r\n");
  EXPECT_NE(received.find("Connection: close\r\n"), std::string::npos);
  EXPECT_EQ(received.find("Transfer-Encoding"), std::string::npos);
  EXPECT_TRUE(received.ends_with("\r\n\r\n" + all_pieces(50)));
}

TEST(HttpPieces, HeadHasNoBody) {
  const std::string received = received_for(
      "HEAD /pieces?50 HTTP/1.1\r\nHost: a\r\n\r\n"
      "HEAD /known HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  EXPECT_NE(received.find("Transfer-Encoding: chunked\r\n"), std::string::npos);
  EXPECT_NE(received.find("Content-Length: 10\r\n"), std::string::npos);
  const auto answers = answers_in(received, true);
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[1].status, 200);
}

TEST(HttpPieces, AKnownLengthIsKept) {
  Flow flow;
  run_with_flow({}, flow, [](HttpSite& site, Flow& of) -> Task<void> {
    const auto answers = answers_in(co_await site.exchange(get("/known") + kLast));
    EXPECT_EQ(answers.size(), 2u);
    EXPECT_EQ(answers.at(0).body, "0123456789");
    EXPECT_EQ(of.error, ErrorCode::invalid_argument) << "one byte more";
  });
}

// Nobody takes a part for the whole: the connection is cut off.
TEST(HttpPieces, AnAnswerThatIsNotEndedIsCutOff) {
  for (const std::string path : {"/never-ends", "/known?short"}) {
    Flow flow;
    run_with_flow(
        {}, flow,
        [](HttpSite& site, Flow&, const std::string& at) -> Task<void> {
          HttpClient client;
          co_await client.connect(site.network, site.address);
          client.send(get(at) + get("/hello"));
          co_await client.until_closed();
          const auto answers = answers_in(client.received);
          if (!answers.empty()) {
            EXPECT_EQ(answers.at(0).status, 0) << client.received;
          }
          EXPECT_EQ(client.received.find("hello"), std::string::npos);
          EXPECT_EQ(client.received.find("0\r\n\r\n"), std::string::npos);
        },
        path);
  }
}

TEST(HttpPieces, ASlowReaderHoldsTheProducer) {
  Flow flow;
  run_with_flow({}, flow, [](HttpSite& site, Flow& of) -> Task<void> {
    HttpClient client;
    co_await client.connect(site.network, site.address);
    client.stream()->pause_receiving();
    client.send(get("/endless"));
    // Until the sockets are full, and the queue is: then nothing more is produced.
    std::size_t before = 0;
    for (int quiet = 0; quiet < 20; quiet = of.written == before && before > 0 ? quiet + 1 : 0) {
      before = of.written;
      co_await sleep_for(10 * kMillisecond);
    }
    std::size_t queued = 0;
    site.network.for_each(
        [&](auto, net::Stream& stream) { queued = std::max(queued, stream.queued_bytes()); });
    EXPECT_GT(queued, site.network.options().queued_bytes_max / 2);
    EXPECT_LE(queued, site.network.options().queued_bytes_max);
    client.stream()->resume_receiving();
    co_await client.until_received(before + 100'000);
    EXPECT_GT(of.written, before);
    EXPECT_FALSE(of.done);
    co_await reset(client);
    co_await of.until_done();
    EXPECT_EQ(of.error, ErrorCode::closed);
  });
}

// --- Bodies

TEST(HttpPieces, ABodyInPiecesComesWholeHoweverItIsCutAndRead) {
  const std::string body = text_of(5000);
  const std::string chunked = post("/upload", "Transfer-Encoding: chunked\r\n",
                                   chunk(body.substr(0, 1)) + chunk(body.substr(1, 3000)) +
                                       chunk(body.substr(3001)) + "0\r\nT: 1\r\n\r\n");
  SiteOptions roomy = small_bodies();
  roomy.network.receive_buffer_bytes = 16 * 1024;
  for (const SiteOptions& options : {small_bodies(), byte_by_byte(), roomy}) {
    for (const std::string query : {"?1", "?999", "?100000"}) {
      for (std::string text : {post("/upload", body), chunked}) {
        text.replace(text.find("/upload"), 7, "/upload" + query);
        Flow flow;
        const std::string all = text + kLast;
        run_with_flow(
            options, flow,
            [](HttpSite& site, Flow& of, const std::string& to_send,
               const std::string& expected) -> Task<void> {
              const auto answers = answers_in(co_await site.exchange(to_send));
              EXPECT_EQ(answers.size(), 2u);
              EXPECT_EQ(answers.at(0).body, std::to_string(expected.size()));
              EXPECT_EQ(answers.at(1).body, "hello");
              EXPECT_EQ(of.read, expected);
            },
            all, body);
      }
    }
  }
}

TEST(HttpPieces, OtherRoutesHaveTheirLimitsAsBefore) {
  const std::string fits(100, 'x');
  const std::string over(101, 'x');
  for (const SiteOptions& options : {small_bodies(), byte_by_byte()}) {
    const auto answers = answers_to(
        post("/whole", fits) + post("/hello", fits) +
            post("/whole", "Transfer-Encoding: chunked\r\n", chunk("abc") + "0\r\n\r\n") +
            post("/whole", over) + kLast,
        options);
    ASSERT_EQ(answers.size(), 4u);
    EXPECT_EQ(answers[0].body, fits);
    EXPECT_EQ(answers[1].status, 405);
    EXPECT_EQ(answers[2].body, "abc");
    EXPECT_EQ(answers[3].status, 413);
    EXPECT_FALSE(answers[3].keep_alive);
  }
}

TEST(HttpPieces, OneByteMoreThanTheRouteTakesIsRefused) {
  const std::string fits = text_of(kUploadBytesMax);
  EXPECT_EQ(answers_to(post("/upload", fits) + kLast).at(0).status, 200);
  const auto announced =
      answers_to(post("/upload", "Content-Length: 200001\r\n", "") + get("/hello"));
  ASSERT_EQ(announced.size(), 1u);
  EXPECT_EQ(announced[0].status, 413);
  EXPECT_EQ(announced[0].body, "body larger than its route takes\n");
  const auto chunked = answers_to(
      post("/upload", "Transfer-Encoding: chunked\r\n", chunk(fits) + chunk("x") + "0\r\n\r\n"));
  ASSERT_EQ(chunked.size(), 1u);
  EXPECT_EQ(chunked[0].status, 413);
}

TEST(HttpPieces, AMalformedBodyEndsTheRequest) {
  Flow flow;
  run_with_flow({}, flow, [](HttpSite& site, Flow& of) -> Task<void> {
    const std::string text = post("/upload", "Transfer-Encoding: chunked\r\n", "3\r\nabcX");
    const auto answers = answers_in(co_await site.exchange(text));
    EXPECT_EQ(answers.size(), 1u);
    EXPECT_EQ(answers.at(0).status, 400);
    co_await of.until_done();
    EXPECT_EQ(of.error, ErrorCode::closed);
  });
}

TEST(HttpPieces, ABodyThatEndsTooSoonEndsTheRequest) {
  Flow flow;
  run_with_flow({}, flow, [](HttpSite& site, Flow& of) -> Task<void> {
    HttpClient client;
    co_await client.connect(site.network, site.address);
    client.send(post("/upload", "Content-Length: 1000\r\n", "abc"));
    co_await client.half_close();
    co_await client.until_closed();
    const auto answers = answers_in(client.received);
    EXPECT_EQ(answers.size(), 1u);
    EXPECT_EQ(answers.at(0).status, 400);
    co_await of.until_done();
    EXPECT_EQ(of.error, ErrorCode::closed);
  });
}

TEST(HttpPieces, AHandlerThatTakesNothingHoldsItsClient) {
  Flow flow;
  flow.may_read = false;
  SiteOptions options = small_bodies();
  options.network.receive_buffer_bytes = 4096;
  run_with_flow(options, flow, [](HttpSite& site, Flow& of) -> Task<void> {
    HttpClient client;
    co_await client.connect(site.network, site.address);
    const std::string body = text_of(kUploadBytesMax);
    client.send(post("/upload", body));
    while (site.network.counters().bytes_received < 65'000) co_await sleep_for(kMillisecond);
    co_await sleep_for(50 * kMillisecond);
    // 64 KiB, and what had been asked for before receiving paused.
    EXPECT_LE(site.network.counters().bytes_received, 64u * 1024 + 4 * 4096 + 1000);
    of.may_read = true;
    of.wake();
    client.send(kLast);
    co_await client.until_end();
    EXPECT_EQ(answers_in(client.received).size(), 2u);
    EXPECT_EQ(of.read, body);
    co_await client.until_closed();
  });
}

TEST(HttpPieces, AClientThatWaitsIsToldWhenTheHandlerReads) {
  Flow flow;
  flow.may_read = false;
  run_with_flow({}, flow, [](HttpSite& site, Flow& of) -> Task<void> {
    HttpClient client;
    co_await client.connect(site.network, site.address);
    client.send(post("/upload", "Content-Length: 3\r\nExpect: 100-continue\r\n", ""));
    while (site.server.waiting_count() == 0) co_await sleep_for(kMillisecond);
    co_await sleep_for(5 * kMillisecond);
    EXPECT_EQ(client.received, "");
    of.may_read = true;
    of.wake();
    co_await client.until_received(1);
    EXPECT_EQ(client.received, kContinueResponse);
    client.send("abc" + kLast);
    co_await client.until_end();
    EXPECT_EQ(answers_in(client.received).size(), 3u);
    EXPECT_EQ(of.read, "abc");
    co_await client.until_closed();
  });
}

TEST(HttpPieces, AClientThatWaitsForAnAnswerAloneIsNotToldToGoOn) {
  for (const std::string path : {"/no-upload", "/no-upload/later"}) {
    const std::string received =
        received_for(post(path, "Content-Length: 3\r\nExpect: 100-continue\r\n", ""));
    const auto answers = answers_in(received);
    ASSERT_EQ(answers.size(), 1u);
    EXPECT_EQ(answers[0].status, 403);
    EXPECT_FALSE(answers[0].keep_alive) << "whether the body comes is not known";
  }
}

TEST(HttpPieces, AnEarlyAnswerReachesAClientThatGoesOnSending) {
  SiteOptions options;
  options.network.receive_buffer_bytes = 4096;
  for (const std::string path : {"/no-upload", "/no-upload/later"}) {
    // All of it has come: the connection goes on.
    const auto kept = answers_to(post(path, text_of(1000)) + kLast, options);
    ASSERT_EQ(kept.size(), 2u) << path;
    EXPECT_EQ(kept[0].status, 403);
    EXPECT_EQ(kept[1].body, "hello");
    const auto ended = answers_to(post(path, text_of(150'000)) + kLast, options);
    ASSERT_EQ(ended.size(), 1u) << path;
    EXPECT_EQ(ended[0].body, "not you");
    EXPECT_FALSE(ended[0].keep_alive);
  }
}

TEST(HttpPieces, PiecesGoBackAsTheyCome) {
  const std::string body = text_of(100'000);
  const auto answers = answers_to(post("/echo-pieces", body) +
                                  post("/echo-pieces", "Transfer-Encoding: chunked\r\n",
                                       chunk(body) + chunk("end") + "0\r\n\r\n") +
                                  kLast);
  ASSERT_EQ(answers.size(), 3u);
  EXPECT_EQ(answers[0].body, body);
  EXPECT_EQ(answers[1].body, body + "end");
  EXPECT_EQ(answers[2].body, "hello");
}

}  // namespace
}  // namespace corelane
