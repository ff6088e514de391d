#pragma once
// framework: Corelane as a library. A server with opcodes of your own, on all cores:
//
//   #include "services/framework.hpp"
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
// Beside your opcodes the server speaks everything that `corelane serve` does: the built-ins
// (WhoAmI, Ping, Subscribe, Publish, Send, Broadcast), GET /healthz, WebSocket on any path.
//
// The names of this namespace are in lower case, unlike the rest of the project: it is meant to be
// written by its users.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "runtime/await.hpp"
#include "runtime/combine.hpp"
#include "runtime/sharded.hpp"
#include "services/dispatch/dispatch.hpp"

namespace framework {

using request = corelane::services::Request;
template <class T = void>
using task = corelane::runtime::Task<T>;
using error_code = corelane::protocol::ErrorCode;
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

struct options {
  // WebSocket and HTTP: "host:port" in numbers, "[v6]:port", "unix:/path"; port 0 is an ephemeral
  // one. run() prints what it became.
  std::vector<std::string> listen{"127.0.0.1:8080"};
  std::vector<std::string> tcp_listen;  // the protocol without WebSocket
  std::uint16_t cores = 0;              // 0: one for each CPU that the process may use
  std::size_t message_bytes_max = 1024 * 1024;
  // Web origins let in besides those of the request's own host and port, which pass with either
  // scheme unless `origin_strict`: "https://example.org", "https://*.example.org", "null", "*" for
  // any (ws/origin.hpp).
  std::vector<std::string> origins;
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

class app {
 public:
  explicit app(options settings = {});

  // Serves `opcode`, 200 to 65,535, each once; throws std::invalid_argument otherwise. Before
  // run(). `name` is for reports. `handler` is copied, and called on all cores.
  template <class Handler>
  app& on(std::uint16_t opcode, std::string name, Handler handler) {
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
      static_assert(std::is_invocable_r_v<void, Handler&, request&>,
                    "a handler takes framework::request&, or takes framework::request and returns "
                    "framework::task<>");
      entry.plain = std::move(handler);
    }
    handlers_.add(opcode, std::move(entry));
    return *this;
  }

  // Serves until SIGTERM or SIGINT, then drains. Returns the exit code for main(): 0; 1 if an
  // address cannot be listened on; 2 if the options cannot be used; 6 if the host lacks io_uring.
  // From the main thread, once.
  int run();
  // The same with flags that win over the options: --listen ADDR:PORT (may be repeated),
  // --cores N. 2 for anything else.
  int run(int argc, const char* const* argv);

 private:
  options options_;
  corelane::services::HandlerTable handlers_;
};

}  // namespace framework
