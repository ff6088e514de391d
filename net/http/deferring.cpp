// Answers that come later: the requests that wait for one, their deadline, handlers that are
// coroutines, and handlers that throw.

#include <algorithm>
#include <exception>
#include <string>
#include <utility>

#include "net/http/server.hpp"
#include "net/http/server_log.hpp"
#include "runtime/assert.hpp"
#include "runtime/exception.hpp"
#include "runtime/root.hpp"
#include "runtime/this_task.hpp"

namespace corelane::net::http {

using Wait = ServerConnection::Wait;
using Answer = ServerExchange::Answer;

namespace {

// The servers of this thread: one core's, in the simulation those of all cores.
constinit thread_local Server* first_server = nullptr;
constinit thread_local std::uint16_t servers_made = 0;

constexpr const char* kHandlerFailed = "the handler has failed";

}  // namespace

// --- Finding a request by its name

void Server::enlist() noexcept {
  number_ = ++servers_made;
  next_server_ = std::exchange(first_server, this);
}

void Server::delist() noexcept {
  Server** link = &first_server;
  while (*link != this) link = &(*link)->next_server_;
  *link = next_server_;
}

Server::Found Server::find(ResponderId id) noexcept {
  const runtime::Core& here = runtime::Core::current();
  RT_ASSERT(id.core == here.id() || id.core == runtime::kNoCore);
  for (Server* server = first_server; server != nullptr; server = server->next_server_) {
    if (server->number_ != id.server || &server->network_.core() != &here) continue;
    ServerExchange* exchange = server->exchanges_.get(id.slot, id.generation);
    return {server, exchange != nullptr && server->is_waiting(*exchange) ? exchange : nullptr};
  }
  return {};
}

bool Server::is_waiting(const ServerExchange& exchange) noexcept {
  const bool goes_on = exchange.answer == Answer::none || exchange.answer == Answer::in_pieces;
  return goes_on && !stream_of(exchange).closing();
}

ResponderId Server::id_of(const ServerExchange& exchange) const noexcept {
  return {.core = network_.core().id(),
          .server = number_,
          .slot = exchange.slot,
          .generation = exchange.generation};
}

Stream& Server::stream_of(const ServerExchange& exchange) noexcept {
  Stream* stream = network_.find(exchange.connection.stream);
  RT_ASSERT(stream != nullptr);  // the exchange ends in on_closed
  return *stream;
}

// --- The life of an exchange

ServerExchange& Server::begin_exchange(ServerConnection& connection,
                                       const ResponseContext& context) {
  RT_ASSERT(connection.exchange == nullptr);
  const auto made = exchanges_.emplace(connection, context);
  RT_ASSERT(made.value != nullptr);  // there is room for one for each connection
  made.value->slot = made.id.slot;
  made.value->generation = made.id.generation;
  made.value->deadline = options_.answer_deadline;
  connection.exchange = made.value;
  ++counters_.deferred;
  return *made.value;
}

// Writers and readers of the exchange find it gone. `cancel`: its handler is cancelled too, because
// nobody waits for its answer.
void Server::end_exchange(ServerExchange& exchange, Cancel cancel) noexcept {
  exchange.connection.exchange = nullptr;
  runtime::CancelScope* scope = exchange.scope;
  exchange.room.wake_all(runtime::WaitQueue::Outcome::closed);
  exchange.input.wake_all(runtime::WaitQueue::Outcome::closed);
  exchanges_.erase(exchange.slot);
  if (cancel == Cancel::yes && scope != nullptr) scope->cancel();
}

// The context of an answer that is given now.
ResponseContext Server::last_context(ServerExchange& exchange) {
  ResponseContext context = exchange.context;
  if (draining_ || !skip_body(exchange)) context.keep_alive = false;
  return context;
}

// The answer is in the queue.
void Server::end_answer(ServerExchange& exchange, const ResponseContext& context) {
  exchange.answer = Answer::given;
  exchange.context = context;
  if (exchange.in_handler) return;  // leave_handler() comes
  ServerConnection& connection = exchange.connection;
  Stream& stream = stream_of(exchange);
  end_exchange(exchange, Cancel::no);
  if (end_request(connection, stream, context) == Verdict::go_on) go_on_behind(connection, stream);
}

// When no answer is awaited: serves what has been received behind the last request, or receives.
void Server::go_on_behind(ServerConnection& connection, Stream& stream) {
  if (connection.rest_at < connection.rest.size() || connection.has_unsent()) {
    go_on_later(connection, stream);
    return;
  }
  release_memory(connection.rest);
  connection.rest_at = 0;
  if (connection.peer_ended) {
    close(stream);
    return;
  }
  stream.resume_receiving();
  await_input(connection, stream);
}

// The handler will not answer any more: sends the server's error, or ends the answer in pieces.
void Server::fail_exchange(ServerExchange& exchange, Status status, const char* reason) {
  ServerConnection& connection = exchange.connection;
  Stream& stream = stream_of(exchange);
  if (exchange.answer == Answer::in_pieces) {
    stream.abort();
    return;
  }
  if (exchange.answer != Answer::none) return;
  exchange.answer = Answer::failed;
  exchange.status = status;
  exchange.failure = reason;
  if (exchange.in_handler) return;  // leave_handler() comes
  if (refuse_failed(exchange, Cancel::yes) == Verdict::go_on) go_on_behind(connection, stream);
}

Server::Verdict Server::refuse_failed(ServerExchange& exchange, Cancel cancel) {
  ServerConnection& connection = exchange.connection;
  Stream& stream = stream_of(exchange);
  const bool was_logged = exchange.was_logged;
  const Status status = exchange.status;
  const std::string_view reason = exchange.failure;
  const ResponseContext context = last_context(exchange);
  end_exchange(exchange, cancel);
  const ErrorOptions options{.context = context, .reason = reason};
  return was_logged ? write_refusal(connection, stream, status, options)
                    : refuse(connection, stream, status, options);
}

// A handler has returned, or suspended, and there is an exchange.
Server::Verdict Server::leave_handler(ServerConnection& connection, Stream& stream) {
  ServerExchange& exchange = *connection.exchange;
  RT_ASSERT(exchange.in_handler);
  exchange.in_handler = false;
  weigh(connection);
  switch (exchange.answer) {
    case Answer::none:
      if (!exchange.is_body_awaited) await(connection, stream, Wait::answer);
      return Verdict::waiting;
    case Answer::in_pieces:
      return Verdict::waiting;
    case Answer::failed:
      return refuse_failed(exchange, Cancel::no);
    case Answer::handed_over:
      end_exchange(exchange, Cancel::no);
      return Verdict::gone;
    case Answer::given:
      break;
  }
  const ResponseContext context = exchange.context;
  end_exchange(exchange, Cancel::no);
  return end_request(connection, stream, context);
}

// Keeps the bytes behind a request whose handler waits. While there are no such bytes, receiving
// goes on, which shows when the peer resets the connection.
void Server::keep_rest(ServerConnection& connection, Stream& stream, const Input& input) {
  if (input.kept) return;
  keep(connection, input.bytes);
  if (connection.rest.empty()) {
    stream.resume_receiving();
  } else {
    stream.pause_receiving();
  }
}

void Server::on_late(ServerConnection& connection, Wait wait) {
  if (wait == Wait::room) return;
  ++counters_.timeouts;
  ServerExchange& exchange = *connection.exchange;
  if (wait == Wait::answer) {
    fail_exchange(exchange, Status::gateway_timeout, "the answer has not come in time");
  } else if (draining_) {
    fail_exchange(
        exchange, Status::service_unavailable,
        kGoingAway.data());  // NOLINT(bugprone-suspicious-stringview-data-usage): a literal
  } else {
    fail_exchange(exchange, Status::request_timeout,
                  "body not finished within limits.message_deadline");
  }
}

// The peer has ended its direction while its request waits.
void Server::on_end_behind(ServerConnection& connection) {
  connection.peer_ended = true;
  if (connection.exchange->is_upgrade) {
    close(stream_of(*connection.exchange));
    return;
  }
  if (connection.parser.is_in_body()) {
    fail_exchange(*connection.exchange, Status::bad_request,
                  "the request ended before it was whole");
  }
}

// --- Whole answers

// False for an answer that nobody waits for any more, which is counted.
bool Server::awaits_answer(const ServerExchange* exchange) noexcept {
  if (exchange != nullptr && exchange->answer == Answer::none) return true;
  ++counters_.answers_lost;
  return false;
}

Delivery Server::respond_later(ServerExchange* exchange, Status status,
                               const ResponseOptions& options, std::span<const std::byte> body) {
  RT_ASSERT(static_cast<unsigned>(status) >= 200);
  if (!awaits_answer(exchange)) return Delivery::gone;
  ResponseOptions full = options;
  if (full.date.empty()) full.date = date();
  const ResponseContext context = last_context(*exchange);
  std::vector<std::byte>& out = empty_scratch();
  if (!write_response(out, status, context, full, body)) return Delivery::invalid;
  send(exchange->connection, stream_of(*exchange), out, Memory::copied);
  end_answer(*exchange, context);
  return Delivery::queued;
}

// --- Handlers

// From a catch block, behind a plain handler. An answer that it gave before stands.
Server::Verdict Server::on_handler_threw(ServerConnection& connection, Stream& stream,
                                         const ResponseContext& context, bool answered) {
  ++counters_.handlers_failed;
  const Request& request = connection.parser.request();
  log_handler_failure(&stream, request.method, request.path,
                      runtime::describe(std::current_exception()));
  if (answered) return end_request(connection, stream, context);
  if (connection.exchange != nullptr) end_exchange(*connection.exchange, Cancel::yes);
  return write_refusal(connection, stream, Status::internal_server_error,
                       {.context = context, .reason = kHandlerFailed});
}

Server::Verdict Server::start_handler(ServerConnection& connection, Stream& stream,
                                      const HandlerStart& start, const ResponseContext& context,
                                      BodyKind body) {
  const Request& request = connection.parser.request();
  const bool has_room = handlers_.running() < options_.handlers_max &&
                        handler_bytes_ + request.body.size() <= options_.handler_bytes_max;
  const bool has_memory = !is_memory_short();
  if (!has_room || !has_memory) {
    ResponseContext refused = context;
    if (body != BodyKind::whole) refused.keep_alive = false;
    return refuse(connection, stream, Status::service_unavailable,
                  {.context = refused,
                   .reason = has_memory ? "too many requests are being served" : kOverMemory});
  }
  ServerExchange& exchange = begin_exchange(connection, context);
  exchange.body_comes = body != BodyKind::whole;
  exchange.awaits_continue = body == BodyKind::awaits_continue;
  exchange.is_upgrade = start.is_upgrade;
  exchange.deadline = start.deadline;
  OwnedRequest own = OwnedRequest::copy(request, start.match);
  exchange.request_bytes = own.memory_bytes();
  handler_bytes_ += own.memory_bytes();
  network_.core().memory().add(runtime::MemoryKind::handlers, own.memory_bytes());
  handlers_.spawn("HTTP handler", run_handler, this, id_of(exchange), &start.route, std::move(own));
  return leave_handler(connection, stream);
}

runtime::Task<void> Server::run_handler(Server* server, ResponderId id, const RouteHandler* route,
                                        OwnedRequest request) {
  std::string problem;
  bool threw = false;
  {
    runtime::CancelScope& task_scope = co_await runtime::this_task::scope();
    runtime::CancelScope scope(&task_scope, "HTTP handler", runtime::ScopeKind::part);
    // Also of one whose answer has been given: it ends with the handler or the connection.
    const auto own = [server, id] { return server->exchanges_.get(id.slot, id.generation); };
    if (ServerExchange* exchange = own()) exchange->scope = &scope;
    try {
      auto task = route->coroutine(route->context, request, DeferredResponder{id});
      co_await runtime::detail::AwaitInScope<void>(task, scope);
    } catch (const runtime::Cancelled&) {
      threw = !scope.cancelled();  // else it has done what it was asked to
      problem = "a wait was cancelled";
    } catch (...) {
      threw = true;
      problem = runtime::describe(std::current_exception());
    }
    if (ServerExchange* exchange = own()) exchange->scope = nullptr;
  }
  server->end_handler(id, request, threw ? &problem : nullptr);
}

void Server::end_handler(ResponderId id, const OwnedRequest& request, const std::string* problem) {
  const std::size_t bytes = request.memory_bytes();
  RT_ASSERT(handler_bytes_ >= bytes);
  handler_bytes_ -= bytes;
  network_.core().memory().remove(runtime::MemoryKind::handlers, bytes);
  ServerExchange* exchange = exchanges_.get(id.slot, id.generation);
  if (problem != nullptr) {
    ++counters_.handlers_failed;
    Stream* stream = exchange != nullptr ? &stream_of(*exchange) : nullptr;
    log_handler_failure(stream, request.method(), request.path(), *problem);
  }
  if (exchange == nullptr) return;
  if (exchange->answer == Answer::given || exchange->answer == Answer::handed_over) return;
  exchange->was_logged = problem != nullptr;
  fail_exchange(*exchange, Status::internal_server_error,
                problem != nullptr ? kHandlerFailed : Server::kNoAnswer);
}

runtime::Task<void> Server::stop() {
  handlers_.cancel();
  co_await handlers_.join();
}

}  // namespace corelane::net::http
