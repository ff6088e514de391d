#pragma once
// A site with WebSocket endpoints on several paths, for tests over either ring. What a handshake
// becomes is written in its query: each endpoint's handler does as `do=` says, and tells every
// connection what it saw of the handshake.

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "runtime/await.hpp"
#include "tests/unit/ws/ws_site.hpp"
#include "ws/endpoint_routes.hpp"

namespace corelane::tests {

inline std::string handshake_at(std::string_view target, std::string_view fields = "") {
  std::string request = ws_handshake(fields);
  return request.replace(request.find("/chat"), 5, target);
}

// An endpoint's context.
struct Clerk {
  explicit Clerk(std::string its_name) : name(std::move(its_name)) {}
  const std::string name;
  std::uint64_t waiting = 0;    // coroutines that have begun and not ended
  std::uint64_t cancelled = 0;  // of those that wait without an end
  std::uint64_t opened = 0;
  std::uint64_t closed = 0;
  runtime::WaitQueue changed;
  runtime::WaitQueue released;  // "later=gate" waits here
  // What "later=ms20" does: only tests in virtual time may wait for a time.
  runtime::Task<void> (*wait_ms)(std::int64_t milliseconds) = nullptr;

  void wake() { changed.wake_all(runtime::WaitQueue::Outcome::granted); }
  void release() { released.wake_all(runtime::WaitQueue::Outcome::granted); }
  runtime::Task<void> until(std::function<bool()> condition) {
    while (!condition()) {
      runtime::WaitQueue::Waiter waiter{changed};
      co_await waiter;
    }
  }
  static Clerk& of(ws::Connection& connection) {
    return *static_cast<Clerk*>(connection.endpoint().context());
  }

  static ws::Admission decide(Clerk& self, const ws::Handshake& asked) {
    const std::string_view what = asked.query_value("do");
    if (what == "refuse") {
      return ws::Admission::refuse(net::http::Status::unauthorized, "no token",
                                   {{.name = "WWW-Authenticate", .value = "Bearer"}});
    }
    if (what == "inject") {
      return ws::Admission::refuse(net::http::Status::unauthorized, "",
                                   {{.name = "X-Field", .value = "a\r\nb"}});
    }
    if (what == "throw") throw std::runtime_error("clerk");
    return ws::Admission::admit(std::make_unique<std::string>("admitted by " + self.name));
  }
  static ws::Admission admit(void* context, const ws::Handshake& asked) {
    if (!asked.query_value("later").empty()) return ws::Admission::later();
    return decide(*static_cast<Clerk*>(context), asked);
  }
  static runtime::Task<ws::Admission> admit_later(void* context, const ws::Handshake& asked) {
    auto& self = *static_cast<Clerk*>(context);
    struct Count {
      Clerk& clerk;
      explicit Count(Clerk& of) : clerk(of) {
        ++clerk.waiting;
        clerk.wake();
      }
      ~Count() {
        --clerk.waiting;
        clerk.wake();
      }
    } const count{self};
    const std::string_view later = asked.query_value("later");
    if (later == "turn") co_await runtime::Yield{};
    if (later == "gate") {
      runtime::WaitQueue::Waiter waiter{self.released};
      if (co_await waiter == runtime::WaitQueue::Outcome::cancelled) ++self.cancelled;
    }
    if (later.starts_with("ms")) co_await self.wait_ms(std::stoll(std::string{later.substr(2)}));
    if (asked.query_value("do") == "address") {
      const auto address = co_await asked.peer_address();
      const std::string text = address ? address->wire_text() : "nobody";
      co_return ws::Admission::refuse(net::http::Status::forbidden, text);
    }
    co_return decide(self, asked);
  }

  static void on_open(ws::Connection& connection, ws::Handshake& asked) noexcept {
    Clerk& self = of(connection);
    ++self.opened;
    std::string text = self.name + " " + std::string{asked.path} + "?" + std::string{asked.query} +
                       " x=" + std::string{asked.field("X")} +
                       " room=" + std::string{asked.parameter("room")} +
                       " sub=" + std::string{asked.subprotocol};
    if (const auto state = asked.take_state<std::string>()) text += " " + *state;
    EXPECT_TRUE(connection.send(ws::MessageKind::text, wire::as_bytes(text)));
    self.wake();
  }
  static void on_message(ws::Connection& connection, ws::Message& message) noexcept {
    connection.echo(message);
  }
  static void on_close(ws::Connection& connection, ws::CloseCode, std::string_view) noexcept {
    Clerk& self = of(connection);
    ++self.closed;
    self.wake();
  }
  static constexpr ws::ConnectionHandler kPlain{on_open, on_message, on_close};
  static constexpr ws::ConnectionHandler kDeciding{on_open, on_message, on_close, admit,
                                                   admit_later};
  static constexpr ws::ConnectionHandler kWaiting{on_open, on_message, on_close, nullptr,
                                                  admit_later};
};

struct AdmissionSite {
  net::Network& network;
  net::http::Server& server;
  runtime::Address address;
  Clerk& plain;     // at /plain and /plain/*rest: admits everybody; the second at /mixed
  Clerk& deciding;  // at /rooms/:room: at once, or later if the query says so
  Clerk& waiting;   // at /later: always by a coroutine
  Clerk& text;      // at /typed and /mixed with the subprotocol text.v1: takes text
  Clerk& binary;    // at /typed with bin.v2 or bin.v1, one of which is required
};

struct AdmissionSiteOptions {
  net::NetworkOptions network = tiny_network();
  net::http::ServerOptions server;
  runtime::Nanoseconds admit_deadline = 60 * runtime::kSecond;
};

inline runtime::Task<void> serve_admission_site(
    AdmissionSiteOptions options, const std::function<runtime::Task<void>(AdmissionSite&)>& body) {
  net::Network network(options.network);
  Clerk plain{"plain"};
  Clerk deciding{"deciding"};
  Clerk waiting{"waiting"};
  Clerk text{"text"};
  Clerk binary{"binary"};
  {
    ws::EndpointOptions common;
    common.admit_deadline = options.admit_deadline;
    ws::EndpointOptions of_text = common;
    of_text.messages = ws::Messages::text;
    of_text.handshake.subprotocols = {"text.v1"};
    of_text.handshake.is_subprotocol_required = true;
    ws::EndpointOptions of_binary = common;
    of_binary.messages = ws::Messages::binary;
    of_binary.handshake.subprotocols = {"bin.v2", "bin.v1"};
    of_binary.handshake.is_subprotocol_required = true;
    ws::Endpoint at_plain(network, common, Clerk::kPlain, &plain);
    ws::Endpoint at_rooms(network, common, Clerk::kDeciding, &deciding);
    ws::Endpoint at_later(network, common, Clerk::kWaiting, &waiting);
    ws::Endpoint at_text(network, of_text, Clerk::kPlain, &text);
    ws::Endpoint at_binary(network, of_binary, Clerk::kPlain, &binary);
    ws::EndpointRoutes upgrades;
    upgrades.add("/plain", at_plain);
    upgrades.add("/plain/*rest", at_plain);
    upgrades.add("/rooms/:room", at_rooms);
    upgrades.add("/later", at_later);
    upgrades.add("/typed", at_text);
    upgrades.add("/typed", at_binary);
    upgrades.add("/mixed", at_text);
    upgrades.add("/mixed", at_plain);
    options.server.upgrade = ws::EndpointRoutes::upgrade;
    options.server.upgrade_context = &upgrades;
    net::http::Server server(network, options.server, routes());
    const auto listener = network.listen(*runtime::Address::parse("127.0.0.1:0"), {},
                                         net::http::Server::accept, &server);
    EXPECT_TRUE(listener) << describe(listener.error());
    if (!listener) co_return;
    AdmissionSite site{network, server, *network.address_of(*listener), plain, deciding, waiting,
                       text,    binary};
    co_await body(site);
    co_await network.shutdown();
    co_await server.stop();
    EXPECT_EQ(network.stream_count(), 0u);
    EXPECT_EQ(server.connection_count(), 0u);
    EXPECT_EQ(server.waiting_count(), 0u);
    for (ws::Endpoint* each : {&at_plain, &at_rooms, &at_later, &at_text, &at_binary}) {
      EXPECT_EQ(each->connection_count(), 0u);
    }
  }
  for (const Clerk* each : {&plain, &deciding, &waiting, &text, &binary}) {
    EXPECT_EQ(each->waiting, 0u) << each->name;
    EXPECT_EQ(each->opened, each->closed) << each->name;
  }
}

inline void run_admission_site(const AdmissionSiteOptions& options,
                               const std::function<runtime::Task<void>(AdmissionSite&)>& body) {
  run_on_cores(small_options(1), [&] { return serve_admission_site(options, body); });
}

}  // namespace corelane::tests
