#pragma once
// Server: HTTP/1.1 on net::Stream, one a core, made and destroyed there. The interface between a
// listener, which hands it streams (Server::accept), the routes' handlers, and the protocols that
// take a connection over by an upgrade.
//
// The path of a request: Stream -> on_data -> RequestParser -> upgrade function, or route ->
// handler -> Responder -> the stream's queue. Requests are answered in order; the next one is
// parsed when the one before it has been answered and the queue has room. An answer that comes
// later, or in pieces, has a ServerExchange until then (deferring.cpp, streaming.cpp), and what
// came behind its request waits unparsed. A request that came whole leaves its connection open also
// when its answer is an error (no route, a refused upgrade, ...). One whose end is not known
// (malformed, too large, a deadline, ...) gets the last answer on its connection: nothing behind it
// is parsed (RFC 9112 section 9.6 for how it is closed).
//
// Streams refer to the server: Network::shutdown() comes before its destruction.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/http/limits.hpp"
#include "net/http/responder.hpp"
#include "net/http/response.hpp"
#include "net/http/server_connection.hpp"
#include "net/http/server_exchange.hpp"
#include "net/network.hpp"
#include "runtime/buffer_pool.hpp"
#include "runtime/result.hpp"
#include "runtime/slab.hpp"
#include "runtime/task.hpp"
#include "runtime/task_group.hpp"
#include "runtime/timer_heap.hpp"
#include "runtime/types.hpp"

namespace corelane::net::http {

struct UpgradeOutcome {
  enum class Kind : std::uint8_t {
    not_an_upgrade,  // goes on to the routes
    taken,           // the function has answered and switched the stream's handler and owner
    rejected,        // answered with the rest of this struct; the connection stays in HTTP
    deferred,        // `handler` decides, and calls DeferredResponder::hand_over() or refuse()
  };
  Kind kind = Kind::not_an_upgrade;
  Status status = Status::bad_request;
  std::string_view reason = {};        // one line for the body; empty: the status' own
  std::string_view extra_fields = {};  // whole field lines, each with CR LF
  // A coroutine, and what its request has of parameters. Handler and what it points to outlive the
  // server. Its deadline is as ServerOptions::answer_deadline.
  const RouteHandler* handler = nullptr;
  const RouteMatch* match = nullptr;
  runtime::Nanoseconds deadline = 0;
};

// Asked before routing about each request with an Upgrade or Sec-WebSocket field. When it takes
// the stream it must not pause receiving; the bytes behind the head reach the new handler's on_data
// right after it returns. The stream's timer is off when it is called. An exception is 500, as long
// as it has not taken the stream.
using UpgradeFunction = UpgradeOutcome (*)(void* context, Stream& stream, const Request& request);

struct ServerOptions {
  Limits limits{};
  // Absolute: from accept, or from the first byte of a later request, to the end of the head; and
  // from there to the end of the body. Passing them is 408.
  runtime::Nanoseconds header_deadline = 10 * runtime::kSecond;
  runtime::Nanoseconds body_deadline = 30 * runtime::kSecond;
  // From the request's end, or from the last piece of its body that was read, to the answer or its
  // first piece. Passing it is 504; a coroutine handler is cancelled.
  runtime::Nanoseconds answer_deadline = 30 * runtime::kSecond;
  // Coroutine handlers that run on this core, and the requests that they hold; one more is answered
  // 503. A request in the largest head holds 12 KiB and its body.
  std::size_t handlers_max = 10'000;
  std::size_t handler_bytes_max = 64 * 1024 * 1024;
  // Between two requests, closes silently. A peer that does not read what we send is ended after
  // NetworkOptions::write_stall_timeout.
  runtime::Nanoseconds idle_timeout = 60 * runtime::kSecond;
  // How long a connection that we close waits for the peer's end (Stream::close).
  runtime::Nanoseconds linger = 5 * runtime::kSecond;
  // Connections that speak HTTP, on this core; one more is answered 503. At 16 KiB each in the
  // worst head, 256 MiB. Upgraded ones are not counted.
  std::uint32_t connections_max = 16 * 1024;
  // Streams of the network, upgraded or not. Beyond this number a new connection is answered 503.
  // The network's own limit must leave room for connections that get this answer.
  std::uint32_t streams_max = UINT32_MAX;
  UpgradeFunction upgrade = nullptr;  // null: there are no upgrades
  void* upgrade_context = nullptr;
};

class Server {
 public:
  // On the network's core. `network` and `routes` outlive it.
  Server(Network& network, const ServerOptions& options, const Routes& routes);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // For Network::listen; the context is the Server.
  static bool accept(void* context, Stream& stream) noexcept;

  // From now on every answer closes its connection, those with no request begun are closed, and new
  // connections, WebSocket handshakes and heads that are not whole are answered 503 at once; so is
  // a body that does not come to its end within kDrainBodyDeadline. A peer that goes on sending has
  // kDrainLinger to read it.
  static constexpr std::string_view kGoingAway = "the server is going away";
  static constexpr runtime::Nanoseconds kDrainBodyDeadline = 2 * runtime::kSecond;
  static constexpr runtime::Nanoseconds kDrainLinger = 250 * runtime::kMillisecond;
  void drain() noexcept;
  bool draining() const noexcept { return draining_; }
  // Cancels the coroutine handlers and waits until they have ended. After Network::shutdown(), for
  // servers with such routes.
  runtime::Task<void> stop();

  std::uint32_t connection_count() const noexcept { return connections_.count(); }
  // Requests whose answer has not been given, or not all of it: what a drain waits for.
  std::uint32_t waiting_count() const noexcept { return exchanges_.count(); }

  struct Counters {
    std::uint64_t accepted = 0;
    std::uint64_t refused = 0;   // 503 at accept
    std::uint64_t requests = 0;  // whole ones
    std::uint64_t errors = 0;    // error responses of the server's own
    std::uint64_t timeouts = 0;  // 408, idle, and peers that do not read
    std::uint64_t upgrades = 0;
    std::uint64_t deferred = 0;         // answers that came later or in pieces
    std::uint64_t answers_lost = 0;     // nobody waited for them any more
    std::uint64_t handlers_failed = 0;  // by an exception
  };
  const Counters& counters() const noexcept { return counters_; }
  // Error responses of the server's own by status, refused upgrades among them.
  struct Refusals {
    Status status;
    std::uint64_t count;
  };
  std::span<const Refusals> refusals() const noexcept { return refusals_; }

 private:
  friend class Responder;
  friend class DeferredResponder;

  // Requests of one connection in one go: at about a microsecond each a tenth of what a handler
  // may hold the core.
  static constexpr std::size_t kRequestsPerTurn = 256;
  // A body of at most so much is always taken, however little memory is left.
  static constexpr std::size_t kBodyBytesAlways = 4096;

  // Bytes to parse, and the receive buffer they lie in; kNoBuffer if it is gone.
  struct Input {
    std::span<std::byte> bytes;
    runtime::BufferId buffer;
    bool kept = false;  // the bytes are in ServerConnection::rest already
  };
  enum class Verdict : std::uint8_t {
    go_on,
    waiting,  // for an answer that comes later, or for its turn behind one
    closing,  // the last answer has been given
    gone,     // another owner has the stream, the connection is freed
  };
  struct OwnTimer : runtime::Timer {
    OwnTimer(Server& owner, Fire fire_function) noexcept : Timer(fire_function), server(owner) {}
    Server& server;
  };

  static void on_data(Stream& stream, const Received& received) noexcept;
  static void on_end(Stream& stream) noexcept;
  static void on_closed(Stream& stream, runtime::Error why) noexcept;
  static void on_timer(Stream& stream) noexcept;
  static void on_writable(Stream& stream) noexcept;
  static void on_stalled(Stream& stream) noexcept;
  static const StreamHandler kHandler;
  static const StreamHandler kRefusedHandler;

  Verdict serve(ServerConnection& connection, Stream& stream, Input& input);
  Verdict answer(ServerConnection& connection, Stream& stream, const Input& rest);
  Verdict on_expect_continue(ServerConnection& connection, Stream& stream);
  ResponseContext context_of(const Request& request) const noexcept;
  bool is_options(const Request& request) const noexcept;
  static bool may_be_upgrade(const Request& request) noexcept;
  Verdict refuse_unrouted(ServerConnection& connection, Stream& stream, const Request& request,
                          const ResponseContext& context);
  Verdict answer_options(ServerConnection& connection, Stream& stream,
                         const ResponseContext& context);
  Verdict end_request(ServerConnection& connection, Stream& stream,
                      const ResponseContext& context) noexcept;
  [[gnu::cold]] Verdict on_handler_threw(ServerConnection& connection, Stream& stream,
                                         const ResponseContext& context, bool answered);
  void count_refusal(Status status);
  [[gnu::cold]] void log_refusal(ServerConnection& connection, Stream& stream, Status status,
                                 std::string_view reason);
  [[gnu::cold]] Verdict refuse(ServerConnection& connection, Stream& stream, Status status,
                               const ErrorOptions& options = {});
  [[gnu::cold]] Verdict write_refusal(ServerConnection& connection, Stream& stream, Status status,
                                      const ErrorOptions& options);
  void refuse_connection(Stream& stream) noexcept;

  // --- Answers that come later: deferring.cpp
  static constexpr const char* kNoAnswer = "the handler has given no answer";
  struct Found {
    Server* server = nullptr;
    ServerExchange* exchange = nullptr;  // null: nobody waits
  };
  enum class Cancel : std::uint8_t { no, yes };
  enum class BodyKind : std::uint8_t { whole, in_pieces, awaits_continue };
  struct HandlerStart {
    const RouteHandler& route;
    const RouteMatch& match;
    runtime::Nanoseconds deadline;
    bool is_upgrade = false;
  };
  static Found find(ResponderId id) noexcept;
  void enlist() noexcept;
  void delist() noexcept;
  ResponderId id_of(const ServerExchange& exchange) const noexcept;
  Stream& stream_of(const ServerExchange& exchange) noexcept;
  bool is_waiting(const ServerExchange& exchange) noexcept;
  ServerExchange& begin_exchange(ServerConnection& connection, const ResponseContext& context);
  void end_exchange(ServerExchange& exchange, Cancel cancel) noexcept;
  void end_answer(ServerExchange& exchange, const ResponseContext& context);
  void fail_exchange(ServerExchange& exchange, Status status, const char* reason);
  Verdict refuse_failed(ServerExchange& exchange, Cancel cancel);
  ResponseContext last_context(ServerExchange& exchange);
  Verdict leave_handler(ServerConnection& connection, Stream& stream);
  void keep_rest(ServerConnection& connection, Stream& stream, const Input& input);
  void go_on_behind(ServerConnection& connection, Stream& stream);
  void on_late(ServerConnection& connection, ServerConnection::Wait wait);
  void on_end_behind(ServerConnection& connection);
  bool awaits_answer(const ServerExchange* exchange) noexcept;
  Delivery respond_later(ServerExchange* exchange, Status status, const ResponseOptions& options,
                         std::span<const std::byte> body);
  Verdict start_handler(ServerConnection& connection, Stream& stream, const HandlerStart& start,
                        const ResponseContext& context, BodyKind body);
  static runtime::Task<void> run_handler(Server* server, ResponderId id, const RouteHandler* route,
                                         OwnedRequest request);
  void end_handler(ResponderId id, const OwnedRequest& request, const std::string* problem);

  // --- Upgrades: upgrading.cpp
  // Nothing: it is for the routes.
  std::optional<Verdict> try_upgrade(ServerConnection& connection, Stream& stream,
                                     const ResponseContext& context, const Input& rest);
  Verdict leave_http(ServerConnection& connection, Stream& stream, const Input& rest);
  Delivery hand_over(ServerExchange* exchange, TakeStream take, void* context);
  Delivery refuse_later(ServerExchange* exchange, Status status, const ErrorOptions& options);

  // --- In pieces: streaming.cpp
  struct BodyPart {
    std::size_t bytes = 0;
    bool ended = false;
  };
  Delivery begin_pieces(ServerExchange* exchange, Status status, const ResponseOptions& options,
                        std::optional<std::uint64_t> length);
  runtime::Result<std::size_t> write_piece(ServerExchange& exchange,
                                           std::span<const std::byte> bytes);
  static void take_length(ServerExchange& exchange, std::size_t bytes) noexcept;
  static bool send_chunk(Stream& stream, std::span<const std::byte> data);
  Delivery end_pieces(ServerExchange& exchange);
  static void append_unsent(ServerConnection& connection, std::span<const std::byte> bytes);
  void on_room(ServerConnection& connection, Stream& stream);
  // Nothing: the body is read as a whole.
  std::optional<Verdict> begin_body(ServerConnection& connection, Stream& stream, Input& input);
  static void keep(ServerConnection& connection, std::span<const std::byte> bytes);
  void on_data_behind(ServerConnection& connection, Stream& stream,
                      std::span<const std::byte> bytes);
  runtime::Result<BodyPart> take_body(ServerExchange& exchange, std::span<std::byte> into);
  void note_body_wait(ServerExchange& exchange, bool is_awaited);
  runtime::Nanoseconds piece_deadline(const ServerExchange& exchange) const noexcept;
  bool skip_body(ServerExchange& exchange);

  // The next step of a connection after `serve` has stopped.
  void go_on_later(ServerConnection& connection, Stream& stream);
  void go_on(ServerConnection& connection, Stream& stream);
  void serve_backlog() noexcept;
  void await_input(ServerConnection& connection, Stream& stream) noexcept;
  void end_unbegun(ServerConnection& connection, Stream& stream);
  runtime::Nanoseconds body_deadline() const noexcept;
  void await(ServerConnection& connection, Stream& stream, ServerConnection::Wait wait) noexcept;

  enum class Memory : std::uint8_t { copied, stays };
  void send(ServerConnection& connection, Stream& stream, std::span<const std::byte> bytes,
            Memory memory);
  void send_unsent(ServerConnection& connection, Stream& stream);
  Verdict finish(ServerConnection& connection, Stream& stream) noexcept;
  void close(Stream& stream) noexcept;
  void release(ServerConnection& connection) noexcept;
  void weigh(ServerConnection& connection) noexcept;
  static void add_held(const Stream& stream, HeldMemory& held) noexcept;
  [[gnu::cold]] static void on_memory_short(Stream& stream, std::string_view why) noexcept;
  bool is_memory_short() noexcept {
    return network_.core().memory().reached(runtime::MemoryPressure::no_memory);
  }
  std::vector<std::byte>& empty_scratch();
  std::string_view date() noexcept;

  Network& network_;
  const ServerOptions options_;
  const Routes& routes_;
  runtime::Slab<ServerConnection> connections_;
  runtime::Slab<ServerExchange> exchanges_;
  runtime::TaskGroup handlers_;
  std::size_t handler_bytes_ = 0;       // requests that they hold
  std::uint64_t pieces_bytes_max_ = 0;  // the most that any route reads in pieces; 0: none does
  std::vector<StreamId> backlog_;
  std::vector<StreamId> resuming_;
  OwnTimer backlog_timer_;
  std::vector<std::byte> scratch_;  // a response while it is written
  RouteMatch match_;
  DateText date_{};
  std::int64_t date_s_ = -1;
  bool draining_ = false;
  std::uint16_t number_ = 0;       // among this thread's servers
  Server* next_server_ = nullptr;  // of this thread
  Counters counters_;
  std::vector<Refusals> refusals_;  // a few, in the order in which they first came
};

}  // namespace corelane::net::http
