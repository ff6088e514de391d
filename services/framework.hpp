#pragma once
// framework: Corelane as a library. A server with opcodes of your own, on all cores:
//
//   #include <framework.hpp>
//
//   int main() {
//     framework::app app({.listen = {"127.0.0.1:8080"}});
//     app.on(200, "echo", [](framework::request& request) { request.reply(request.payload()); });
//     app.on(201, "later", [](framework::request request) -> framework::task<> {
//       co_await framework::sleep_for(framework::seconds(1));
//       request.reply("now");
//     });
//     return app.run();
//   }
//
// Handlers run on the core of the client that asks, many cores at once, each handler one at a time
// a core. What they share must be per core (runtime::Sharded) or constant.
//
// - A plain handler takes `framework::request&` and answers before it returns. The payload lies in
//   the receive buffer and is gone afterwards. It must be short: it holds its core, and one that
//   takes longer than 5 ms is reported.
// - A coroutine takes `framework::request` by value and may wait: for time, for files
//   (runtime/file.hpp), for other cores (submit_to). It may answer any number of times, also when
//   the client has gone by then (reply() returns false, as for an answer that is larger than an
//   outgoing queue: the client gets Error payload_too_large). It must not be a lambda with
//   captures: those die before it. When the server stops, what it awaits is cancelled: sleep_for()
//   then returns false, and from then on at once, so a loop that sleeps must look at what it
//   returns.
//
// A handler that throws costs its request an Error `internal` and the log a line; the connection
// and the server go on.
//
// Handlers publish, send and broadcast like clients do, and receive from channels:
//
//   framework::publish("news", "hello");                             // nobody waits for it
//   const auto done = co_await framework::publish_and_wait("news", "hello");
//   framework::channel_reader reader;                                // in a coroutine
//   co_await reader.subscribe("news");
//   while (const auto event = co_await reader.next()) use(event->data);
//
// They use the server's cache, which all cores share (services/cache/README.md):
//
//   const auto set = co_await framework::cache.set("user:1", "Ada", {.ttl = seconds(60)});
//   const auto got = co_await framework::cache.get("user:1");
//   if (got && got->code == framework::error_code::none) use(got->value.text());
//
// Beside your opcodes the server speaks everything that `corelane serve` does: the built-ins
// (WhoAmI, Ping, Subscribe, Publish, Send, Broadcast) over WebSocket at / and /ws, GET /healthz,
// /readyz and /metrics. A built-in can be overridden; the original stays callable
// (request::serve_original).
//
// The names of this namespace are in lower case, unlike the rest of the project: it is meant to be
// written by its users.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "runtime/await.hpp"
#include "runtime/combine.hpp"
#include "runtime/sharded.hpp"
#include "services/cache/compute.hpp"
#include "services/dispatch/dispatch.hpp"
#include "services/node/node.hpp"
#include "services/pubsub/channel_reader.hpp"
#include "services/reply/reply.hpp"

namespace framework {

using request = corelane::services::Request;
template <class T = void>
using task = corelane::runtime::Task<T>;
using error_code = corelane::protocol::ErrorCode;
using uuid = corelane::protocol::Uuid;  // of a session: request::session_uuid()
using corelane::protocol::parse_uuid;
template <class T>
using result = corelane::runtime::Result<T>;
// Completions of what a handler may wait for; `code` is error_code::none if all went well.
using published = corelane::services::Published;
using sent = corelane::services::Sent;
using broadcast_done = corelane::services::BroadcastDone;
using cache_got = corelane::services::CacheGot;
using cache_stored = corelane::services::CacheStored;
using cache_counted = corelane::services::CacheCounted;
using cache_many_got = corelane::services::CacheManyGot;
using channel_event = corelane::services::ChannelEvent;
using channel_reader = corelane::services::ChannelReader;
// Types of HTTP routes (net/http/owned_request.hpp, deferred.hpp, status.hpp).
using http_request = corelane::net::http::OwnedRequest;
using http_responder = corelane::net::http::DeferredResponder;
using http_status = corelane::net::http::Status;
using core_id = corelane::runtime::CoreId;
inline constexpr std::size_t cores_max = corelane::runtime::kCoresMax;

using corelane::runtime::call_on;
using corelane::runtime::sleep_for;
using corelane::runtime::submit_to;
using corelane::runtime::when_all;
using corelane::runtime::when_any;
using corelane::runtime::with_timeout;
constexpr corelane::runtime::Nanoseconds milliseconds(std::int64_t count) noexcept {
  return count * corelane::runtime::kMillisecond;
}
constexpr corelane::runtime::Nanoseconds seconds(std::int64_t count) noexcept {
  return count * corelane::runtime::kSecond;
}
// The core that runs, and how many there are.
inline core_id this_core() noexcept {
  return corelane::runtime::Core::current().id();
}
inline core_id core_count() noexcept {
  return corelane::runtime::Core::current().cores();
}

// --- What clients can ask for, from a handler. On any core; the data is copied before they return.

using bytes = std::span<const std::byte>;
inline bytes bytes_of(std::string_view text) noexcept {
  return std::as_bytes(std::span{text});
}

inline void publish(std::string_view channel, bytes data) {
  corelane::services::PubSub::local().publish({.channel = channel, .data = data}, {});
}
inline void publish(std::string_view channel, std::string_view text) {
  publish(channel, bytes_of(text));
}
inline void send(const uuid& session, bytes data) {
  corelane::services::Sessions::local().send({.to = session, .data = data}, {});
}
inline void send(const uuid& session, std::string_view text) {
  send(session, bytes_of(text));
}
inline void broadcast(bytes data) {
  corelane::services::Sessions::local().broadcast({.data = data}, {});
}
inline void broadcast(std::string_view text) {
  broadcast(bytes_of(text));
}

// The same, to be awaited: until it was queued to all subscribers, to the session, to all sessions,
// on all cores. The result is a published, sent or broadcast_done; its error is only `cancelled`.
// Views are looked at before the coroutine suspends.
inline auto publish_and_wait(std::string_view channel, bytes data) {
  return corelane::services::completion_of<published>([=](const corelane::services::ReplyTo& to) {
    corelane::services::PubSub::local().publish({.channel = channel, .data = data}, to);
  });
}
inline auto publish_and_wait(std::string_view channel, std::string_view text) {
  return publish_and_wait(channel, bytes_of(text));
}
inline auto send_and_wait(const uuid& session, bytes data) {
  return corelane::services::completion_of<sent>([=](const corelane::services::ReplyTo& to) {
    corelane::services::Sessions::local().send({.to = session, .data = data}, to);
  });
}
inline auto send_and_wait(const uuid& session, std::string_view text) {
  return send_and_wait(session, bytes_of(text));
}
inline auto broadcast_and_wait(bytes data) {
  return corelane::services::completion_of<broadcast_done>(
      [=](const corelane::services::ReplyTo& to) {
        corelane::services::Sessions::local().broadcast({.data = data}, to);
      });
}
inline auto broadcast_and_wait(std::string_view text) {
  return broadcast_and_wait(bytes_of(text));
}

// --- The cache. Each result is what was completed (services/cache/value.hpp), whose `code` says
// how it went: error_code::none, key_missing, ...; its error is only `cancelled`. Awaited in the
// expression that makes it: keys and values are looked at before the coroutine suspends.

// Times to live: 0 is the default of the key's namespace, which is none unless configured.
inline constexpr corelane::runtime::Nanoseconds cache_forever = corelane::runtime::kNever;

struct cache_set_options {
  corelane::runtime::Nanoseconds ttl = 0;
  bool sliding = false;  // each get begins the time to live again
  // The key must be missing (key_exists), be there (key_missing), or have this version
  // (version_mismatch), otherwise nothing changes.
  bool create_only = false;
  bool replace_only = false;
  std::uint64_t if_version = 0;
};

namespace detail {

constexpr corelane::services::CacheLifetime lifetime_of(corelane::runtime::Nanoseconds ttl,
                                                        bool sliding = false) noexcept {
  using corelane::services::CacheLifetime;
  if (ttl == cache_forever) return {.kind = CacheLifetime::Kind::none, .sliding = false, .ms = 0};
  if (ttl <= 0) return {};
  // At least 1 ms.
  const auto ms = (ttl + corelane::runtime::kMillisecond - 1) / corelane::runtime::kMillisecond;
  return {
      .kind = CacheLifetime::Kind::span, .sliding = sliding, .ms = static_cast<std::uint64_t>(ms)};
}

constexpr corelane::services::CacheSetOptions options_of(const cache_set_options& how) noexcept {
  using corelane::services::CacheCondition;
  const CacheCondition condition = how.if_version != 0 ? CacheCondition::if_version
                                   : how.create_only   ? CacheCondition::create_only
                                   : how.replace_only  ? CacheCondition::replace_only
                                                       : CacheCondition::none;
  return {.condition = condition,
          .version = how.if_version,
          .lifetime = lifetime_of(how.ttl, how.sliding),
          .lease = 0};
}

}  // namespace detail

struct cache_access {
  // A cache_got. With `if_newer_than`, the version that the caller has: not_modified without the
  // value if it is still that.
  auto get(std::string_view key, std::uint64_t if_newer_than = 0) const {
    return corelane::services::completion_of<cache_got>(
        [=](const corelane::services::ReplyTo& to) { here().get(key, if_newer_than, to); });
  }
  // A cache_stored.
  auto set(std::string_view key, bytes value, cache_set_options how = {}) const {
    return corelane::services::completion_of<cache_stored>(
        [=](const corelane::services::ReplyTo& to) {
          here().set(key, value, detail::options_of(how), to);
        });
  }
  auto set(std::string_view key, std::string_view text, cache_set_options how = {}) const {
    return set(key, bytes_of(text), how);
  }
  // A cache_stored. With a version: only if the key has it.
  auto remove(std::string_view key, std::uint64_t if_version = 0) const {
    return corelane::services::completion_of<cache_stored>(
        [=](const corelane::services::ReplyTo& to) { here().remove(key, if_version, to); });
  }
  // A cache_stored. The value and its version stay.
  auto touch(std::string_view key, corelane::runtime::Nanoseconds ttl, bool sliding = false) const {
    return corelane::services::completion_of<cache_stored>(
        [=](const corelane::services::ReplyTo& to) {
          here().touch(key, detail::lifetime_of(ttl, sliding), to);
        });
  }
  // A cache_counted. A missing key counts as `initial`.
  auto increment(std::string_view key, std::int64_t by = 1, std::int64_t initial = 0) const {
    return corelane::services::completion_of<cache_counted>(
        [=](const corelane::services::ReplyTo& to) {
          corelane::services::CacheIncrement what;
          what.by = by;
          what.initial = initial;
          here().increment(key, what, to);
        });
  }
  // A cache_stored.
  auto append(std::string_view key, bytes data) const {
    return corelane::services::completion_of<cache_stored>(
        [=](const corelane::services::ReplyTo& to) {
          here().append(key, data, {.kind = corelane::services::CacheLifetime::Kind::keep}, to);
        });
  }
  // A cache_many_got.
  auto multi_get(std::span<const std::string_view> keys) const {
    return corelane::services::completion_of<cache_many_got>(
        [=](const corelane::services::ReplyTo& to) { here().multi_get(keys, to); });
  }
  // A cache_got with the value, which `function`, a coroutine without arguments, computes if it is
  // missing: once in the whole server, while all others wait for it. It returns task<std::string>
  // or task<result<std::string>>. See services/cache/compute.hpp.
  template <class Function>
  auto get_or_compute(std::string_view key, corelane::runtime::Nanoseconds ttl, Function function,
                      corelane::services::CacheCompute how = {}) const {
    return corelane::services::get_or_compute(std::string(key), detail::lifetime_of(ttl),
                                              std::move(function), how);
  }

 private:
  static corelane::services::Cache& here() noexcept { return corelane::services::Cache::local(); }
};
inline constexpr cache_access cache;

// What quotas have made of a request (request::quota_result), and whose it is: from now on the
// session counts for this user (services/quota/README.md). False: the client is gone.
using quota_result = corelane::services::QuotaResult;
inline bool identify(const request& asked, std::string_view user) {
  auto* session = corelane::services::Sessions::local().find(asked.session());
  if (session == nullptr) return false;
  corelane::services::Quota::local().identify(*session, user);
  return true;
}

// --- WebSocket endpoints with a protocol of their own (ws/connection.hpp, ws/admission.hpp)

using websocket = corelane::ws::Connection;
using websocket_id = corelane::ws::ConnectionId;
using handshake = corelane::ws::Handshake;
using admission = corelane::ws::Admission;
using close_code = corelane::ws::CloseCode;

// Messages to one peer; on its core. False: it is closing, was closed as a slow reader just now, or
// the message is larger than an outgoing queue.
inline bool send_text(websocket& to, std::string_view text) {
  return to.send(corelane::ws::MessageKind::text, bytes_of(text));
}
inline bool send_binary(websocket& to, bytes data) {
  return to.send(corelane::ws::MessageKind::binary, data);
}

// What is spoken on a path: functions or lambdas without captures, on the core of the peer. A
// websocket& is valid during the call; websocket::id() may be kept, and endpoint().find(id) looks
// it up. An exception of `admit` is 500, of on_open, on_text and on_binary 1011, and costs the log
// a line.
struct websocket_endpoint {
  std::vector<std::string> subprotocols{};  // those that it speaks, the preferred one first
  bool subprotocol_required = false;        // a client that offers none of them is refused
  // Decides before the handshake is answered. May wait, for `admit_deadline`; it is cancelled when
  // the client goes away. Null: everybody is admitted.
  task<admission> (*admit)(const handshake& asked) = nullptr;
  void (*on_open)(websocket& peer, handshake& asked) = nullptr;
  // A message of a kind without a function is refused with 1003. It is a loan.
  void (*on_text)(websocket& peer, std::string_view text) = nullptr;
  void (*on_binary)(websocket& peer, bytes data) = nullptr;
  // The last call for this peer, however it ended.
  void (*on_close)(websocket& peer, close_code code, std::string_view reason) = nullptr;
  corelane::runtime::Nanoseconds admit_deadline = 10 * corelane::runtime::kSecond;
};

struct options {
  // WebSocket and HTTP: "host:port" in numbers, "[v6]:port", "unix:/path"; port 0 is an ephemeral
  // one. run() prints what it became.
  std::vector<std::string> listen{"127.0.0.1:8080"};
  std::vector<std::string> tcp_listen{};  // the protocol without WebSocket
  std::uint16_t cores = 0;                // 0: one for each CPU that the process may use
  std::size_t message_bytes_max = 1024 * 1024;
  // Web origins let in besides those of the request's own host and port, which pass with either
  // scheme unless `origin_strict`: "https://example.org", "https://*.example.org", "null", "*" for
  // any (ws/origin.hpp).
  std::vector<std::string> origins{};
  bool origin_strict = false;
  corelane::runtime::Nanoseconds drain_deadline = 8 * corelane::runtime::kSecond;
  // Coroutine handlers that run: on a core, of one client, and the payloads they were given on a
  // core together, at least message_bytes_max. One more is answered by Error overloaded (of one
  // client: limit_exceeded) with a hint when to try again, and does not start.
  std::size_t handlers_max = 100'000;
  std::size_t handlers_per_session_max = 1000;
  std::size_t handler_bytes_max = 64 * 1024 * 1024;
  std::size_t channels_max = 1'000'000;  // on a core; see services/pubsub/pubsub.hpp
};

namespace detail {

// A handler that runs to its end in the call. Any value that it returned would be lost.
template <class Handler>
concept is_plain_handler = requires(Handler& handler, request& asked) {
  { handler(asked) } -> std::same_as<void>;
};

}  // namespace detail

class app {
 public:
  explicit app(options settings = {});

  // Serves `opcode`, 200 to 65,535, each once; throws std::invalid_argument otherwise. Before
  // run(). `name` is for reports. `handler` is copied, and called on all cores.
  template <class Handler>
  app& on(std::uint16_t opcode, std::string name, Handler handler) {
    handlers_.add(opcode, entry_of(std::move(name), std::move(handler)));
    return *this;
  }
  // Serves a built-in opcode (1 WhoAmI, 2 Ping, ...) in place of the server;
  // request::serve_original() has the server serve it after all. Throws std::invalid_argument for
  // an opcode that is none.
  template <class Handler>
  app& override_built_in(std::uint16_t opcode, std::string name, Handler handler) {
    handlers_.override_built_in(opcode, entry_of(std::move(name), std::move(handler)));
    return *this;
  }

  // Serves an HTTP route by a coroutine, a function or a lambda without captures:
  // task<>(const http_request&, http_responder). `pattern` as in net/http/router.hpp: "/a/:name".
  // It answers by the responder, at once or later; an exception is 500. A malformed method or
  // pattern throws std::invalid_argument; a route that conflicts with another one is an error of
  // run(). "GET /" replaces the server's page.
  template <class Handler>
  app& on_http(std::string method, std::string pattern, Handler handler) {
    using function = task<> (*)(const http_request&, http_responder);
    const function called = handler;
    corelane::net::http::RouteHandler route;
    route.context = reinterpret_cast<void*>(called);
    route.coroutine = [](void* context, const http_request& asked, http_responder to) -> task<> {
      return reinterpret_cast<function>(context)(asked, to);
    };
    return add_route({std::move(method), std::move(pattern), route});
  }

  // Speaks a protocol of your own over WebSocket, beside the opcode protocol, on the paths of
  // `pattern` ("/chat", "/rooms/:room", "/files/*path"). Limits, compression and origins are those
  // of the opcode protocol. Several endpoints may share a pattern and differ in subprotocols. A
  // malformed pattern throws std::invalid_argument. So does an endpoint that takes neither text nor
  // binary, or whose subprotocols no client can request. An endpoint that cannot be distinguished
  // from another one is an error of run().
  app& on_websocket(std::string pattern, websocket_endpoint endpoint);

  // Runs a service of your own beside the server's (services/service.hpp): a class derived from
  // Service, one instance a core, with opcodes 64 to 127 that the server does not serve, settings,
  // routes and hooks. S is made of `options`, with its settings in them; `name` and `options`
  // outlive the app. Two services with one opcode are an error of run().
  template <class S, class Options>
  app& service(std::string_view name, Options& options) {
    services_.push_back(corelane::services::service<S>(name, options));
    return *this;
  }

  // Serves until SIGTERM or SIGINT, then drains. Returns the exit code for main():
  //
  //   0  served and drained, or finished --help, --print-config or --check-config
  //   1  cannot start: an address is not usable, a limit of the host is too low
  //   2  invalid or conflicting options, settings, routes, endpoints or services
  //   6  the host lacks io_uring features that the server needs, or the processor instructions
  //   7  output of --help, --print-config or --check-config could not be written: a full disk
  //
  // A second signal, or a signal during the start, ends the process with 128 + its number. Call it
  // once, from the main thread.
  int run();
  // The same with settings that win over the options, as of `corelane serve` (services/config):
  // flags (--listen ADDR:PORT, --cores N, ...; --help lists all), variables (CORELANE_...) and the
  // file of --config. 2 for anything else.
  int run(int argc, const char* const* argv);

 private:
  app& add_route(corelane::services::NodeOptions::HttpRoute route);
  int serve(const std::string& command, const std::vector<std::string>& arguments,
            const std::vector<std::pair<std::string, std::string>>& environment);

  template <class Handler>
  static corelane::services::CustomHandler entry_of(std::string name, Handler handler) {
    corelane::services::CustomHandler entry;
    entry.name = std::move(name);
    if constexpr (requires(request by_value) {
                    { handler(std::move(by_value)) } -> std::same_as<task<>>;
                  }) {
      static_assert(std::is_empty_v<Handler> || std::is_pointer_v<Handler>,
                    "a coroutine is a function or a lambda without captures: captures would die "
                    "before it has ended");
      entry.coroutine = std::move(handler);
    } else {
      static_assert(std::is_invocable_v<Handler&, request&>,
                    "a handler takes framework::request&, or takes framework::request and returns "
                    "framework::task<>");
      static_assert(detail::is_plain_handler<Handler>,
                    "a plain handler returns void, and nothing awaits the task that one returns: a "
                    "coroutine takes framework::request by value");
      entry.plain = std::move(handler);
    }
    return entry;
  }

  options options_;
  corelane::services::HandlerTable handlers_;
  std::vector<corelane::services::NodeOptions::HttpRoute> routes_;
  std::vector<corelane::services::ServiceEntry> services_;
  struct raw_endpoint {
    std::string pattern;
    websocket_endpoint functions;
  };
  std::deque<raw_endpoint> endpoints_;  // nodes point at them
};

}  // namespace framework
