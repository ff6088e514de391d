#pragma once
// An HTTP server with a few routes and raw clients of it on one core, for tests over either ring.
// A client sends any bytes and keeps everything that comes back.

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "net/http/response_parser.hpp"
#include "net/http/server.hpp"
#include "net/network.hpp"
#include "runtime/await.hpp"
#include "runtime/wait_queue.hpp"
#include "tests/support/on_cores.hpp"

namespace corelane::tests {

// Four buffers of 64 bytes: every head is cut.
inline net::NetworkOptions tiny_network() {
  net::NetworkOptions options;
  options.receive_buffer_bytes = 64;
  options.receive_buffers = 4;
  options.large_buffers = 0;
  options.queued_bytes_max = 16 * 1024;
  return options;
}

// The text of a request. `fields`: whole lines.
inline std::string get(std::string_view path, std::string_view fields = "") {
  return "GET " + std::string{path} + " HTTP/1.1\r\nHost: a\r\n" + std::string{fields} + "\r\n";
}
inline std::string post(std::string_view path, std::string_view fields, std::string_view body) {
  return "POST " + std::string{path} + " HTTP/1.1\r\nHost: a\r\n" + std::string{fields} + "\r\n" +
         std::string{body};
}
inline std::string post(std::string_view path, std::string_view body) {
  return post(path, "Content-Length: " + std::to_string(body.size()) + "\r\n", body);
}
inline const std::string kLast = get("/hello", "Connection: close\r\n");

// A raw client. Lives until its stream is gone: Network::shutdown() comes before its end.
struct HttpClient {
  std::string received;
  std::string unsent;
  bool ended = false;  // the server's FIN
  bool closed = false;
  runtime::Error why{};
  net::Network* network = nullptr;
  net::StreamId id;
  runtime::WaitQueue changed;

  runtime::Task<void> connect(net::Network& on, runtime::Address address) {
    network = &on;
    const auto stream = co_await on.connect(address, kHandler, this);
    EXPECT_TRUE(stream) << describe(stream.error());
    if (stream) id = *stream;
  }
  net::Stream* stream() { return closed ? nullptr : network->find(id); }

  // Queues everything; what does not fit follows as the server reads.
  void send(std::string_view text) {
    unsent += text;
    if (net::Stream* to = stream()) send_more(*to);
  }
  void send_more(net::Stream& to) {
    while (!unsent.empty() && to.writable()) {
      const std::string_view part = std::string_view{unsent}.substr(0, 256);
      if (!to.send_copy(std::as_bytes(std::span{part}))) return;
      unsent.erase(0, part.size());
    }
  }
  // FIN behind everything sent; goes on reading.
  runtime::Task<void> half_close() {
    while (stream() != nullptr && (!unsent.empty() || stream()->queued_bytes() > 0)) {
      co_await runtime::Yield{};
    }
    if (stream() == nullptr) co_return;
    network->core().ring().shutdown(stream()->descriptor(), SHUT_WR,
                                    runtime::Token::make(runtime::Sink::ignore, 0, 0));
  }
  runtime::Task<void> until(std::function<bool()> condition) {
    while (!condition() && !closed) {
      runtime::WaitQueue::Waiter waiter{changed};
      co_await waiter;
    }
  }
  runtime::Task<void> until_received(std::size_t bytes) {
    return until([this, bytes] { return received.size() >= bytes; });
  }
  runtime::Task<void> until_contains(std::string text) {
    return until([this, text] { return received.find(text) != std::string::npos; });
  }
  runtime::Task<void> until_end() {
    return until([this] { return ended; });
  }
  runtime::Task<void> until_closed() {
    return until([] { return false; });
  }

  void wake() { changed.wake_all(runtime::WaitQueue::Outcome::granted); }
  static HttpClient& of(net::Stream& stream) { return *static_cast<HttpClient*>(stream.owner()); }
  static void on_data(net::Stream& stream, const net::Received& got) noexcept {
    HttpClient& self = of(stream);
    self.received.append(reinterpret_cast<const char*>(got.bytes.data()), got.bytes.size());
    self.wake();
  }
  static void on_end(net::Stream& stream) noexcept {
    of(stream).ended = true;
    of(stream).wake();
    stream.close(0);
  }
  static void on_closed(net::Stream& stream, runtime::Error error) noexcept {
    of(stream).closed = true;
    of(stream).why = error;
    of(stream).wake();
  }
  static void on_timer(net::Stream&) noexcept {}
  static void on_writable(net::Stream& stream) noexcept { of(stream).send_more(stream); }
  static constexpr net::StreamHandler kHandler{"http client", on_data,  on_end,
                                               on_closed,     on_timer, on_writable};
};

// Breaks the connection, so that the server sees a reset, and waits until the client's end is gone.
// In reset_uring.cpp and reset_sim.cpp.
runtime::Task<void> reset(HttpClient& client);

struct HttpSite {
  net::Network& network;
  net::http::Server& server;
  runtime::Address address;

  // One connection: sends, waits for the server's end, returns everything it said.
  runtime::Task<std::string> exchange(std::string text) {
    HttpClient client;
    co_await client.connect(network, address);
    client.send(text);
    co_await client.until_end();
    EXPECT_TRUE(client.ended) << "reset instead of closed: " << describe(client.why);
    co_await client.until_closed();
    co_return client.received;
  }
};

namespace site_routes {

using net::http::Request;
using net::http::Responder;
using net::http::RouteMatch;
using net::http::Status;

inline constexpr std::size_t kBigBytes = 100'000;

inline void hello(void*, const Request&, const RouteMatch&, Responder& to) noexcept {
  EXPECT_TRUE(to.respond(Status::ok, "text/plain", "hello"));
}
inline void fixed(void*, const Request&, const RouteMatch&, Responder& to) noexcept {
  static const net::http::StaticResponse kResponse{Status::ok, "text/plain", "fixed"};
  EXPECT_TRUE(to.respond_static(kResponse));
  EXPECT_FALSE(to.respond(Status::ok, "text/plain", "a second answer is refused"));
}
inline void fixed_big(void*, const Request&, const RouteMatch&, Responder& to) noexcept {
  static const net::http::StaticResponse kResponse{Status::ok, "text/plain",
                                                   std::string(kBigBytes, 's')};
  EXPECT_TRUE(to.respond_static(kResponse));
}
inline void big(void*, const Request&, const RouteMatch&, Responder& to) noexcept {
  EXPECT_TRUE(to.respond(Status::ok, "text/plain", std::string(kBigBytes, 'b')));
}
inline void echo(void*, const Request& request, const RouteMatch&, Responder& to) noexcept {
  EXPECT_TRUE(to.respond(Status::ok, {.content_type = "application/octet-stream"}, request.body));
}
inline void user(void*, const Request&, const RouteMatch& match, Responder& to) noexcept {
  EXPECT_TRUE(to.respond(Status::ok, "text/plain", match.parameter("name")));
}
inline void silent(void*, const Request&, const RouteMatch&, Responder&) noexcept {}
inline void unsendable(void*, const Request&, const RouteMatch&, Responder& to) noexcept {
  EXPECT_FALSE(to.respond(Status::ok, "text/plain\r\nX: y", "injected"));
}

}  // namespace site_routes

inline const net::http::Routes& routes() {
  static const net::http::Routes* const kRoutes = [] {
    auto* made = new net::http::Routes;
    made->add("GET", "/hello", {site_routes::hello});
    made->add("GET", "/static", {site_routes::fixed});
    made->add("GET", "/static/big", {site_routes::fixed_big});
    made->add("GET", "/big", {site_routes::big});
    made->add("POST", "/echo", {site_routes::echo});
    made->add("GET", "/users/:name", {site_routes::user});
    made->add("GET", "/silent", {site_routes::silent});
    made->add("GET", "/unsendable", {site_routes::unsendable});
    made->add("GET", "/ws", {});
    return made;
  }();
  return *kRoutes;
}

struct SiteOptions {
  net::NetworkOptions network = tiny_network();
  net::http::ServerOptions server;
  const net::http::Routes* routes = nullptr;  // null: routes()
  runtime::CoreId cores = 1;                  // the site is on core 0
};

inline runtime::Task<void> serve_site(SiteOptions options,
                                      std::function<runtime::Task<void>(HttpSite&)> body) {
  net::Network network(options.network);
  net::http::Server server(network, options.server,
                           options.routes != nullptr ? *options.routes : routes());
  const auto listener = network.listen(*runtime::Address::parse("127.0.0.1:0"), {},
                                       net::http::Server::accept, &server);
  EXPECT_TRUE(listener) << describe(listener.error());
  if (!listener) co_return;
  HttpSite site{network, server, *network.address_of(*listener)};
  co_await body(site);
  co_await network.shutdown();
  co_await server.stop();
  EXPECT_EQ(server.connection_count(), 0u);
  EXPECT_EQ(server.waiting_count(), 0u);
}

// Runs body(site, context...) beside the server. A coroutine's captures would be the lambda's, not
// its own: what it needs comes as context. Clients that outlive the body are the caller's.
template <class Body, class... Context>
void run_site(const SiteOptions& options, Body body, Context&... context) {
  run_on_cores(options.cores, [&] {
    return serve_site(options, [&](HttpSite& site) { return body(site, context...); });
  });
}

// Everything a server says to one connection that sends `text`, until the server ends it.
struct Exchange {
  std::string received;
  std::uint64_t requests = 0;  // the server took for whole
};
inline Exchange exchange_at(const SiteOptions& options, const std::string& text) {
  Exchange exchange;
  run_site(
      options,
      [](HttpSite& site, Exchange& to, const std::string& all) -> runtime::Task<void> {
        to.received = co_await site.exchange(all);
        to.requests = site.server.counters().requests;
      },
      exchange, text);
  return exchange;
}

// Responses one after the other, as a strict client reads them.
struct HttpAnswer {
  int status = 0;
  bool keep_alive = false;
  std::string body;
  std::string allow;
  std::string version_of_websocket;
  std::string date;
  friend bool operator==(const HttpAnswer&, const HttpAnswer&) = default;
};
// An answer with status 0 is the rest of a text that is no whole response.
inline std::vector<HttpAnswer> answers_in(std::string_view text, bool to_head = false) {
  net::http::Limits limits;
  limits.body_bytes_max = 1 << 30;
  net::http::ResponseParser parser{limits};
  parser.reset(to_head);
  std::vector<HttpAnswer> answers;
  while (!text.empty()) {
    const auto progress = parser.feed(std::as_bytes(std::span{text}));
    if (progress.event != net::http::ResponseParser::Event::complete) {
      answers.emplace_back().body = text;
      break;
    }
    const net::http::Response& got = parser.response();
    HttpAnswer& answer = answers.emplace_back();
    answer.status = static_cast<int>(got.status);
    answer.keep_alive = got.keep_alive;
    answer.body.assign(reinterpret_cast<const char*>(got.body.data()), got.body.size());
    answer.allow = got.single("allow");
    answer.version_of_websocket = got.single("sec-websocket-version");
    answer.date = got.single("date");
    text.remove_prefix(progress.consumed);
    parser.reset(to_head);
  }
  return answers;
}

}  // namespace corelane::tests
