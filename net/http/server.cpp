#include "net/http/server.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "net/http/server_log.hpp"
#include "runtime/assert.hpp"

namespace corelane::net::http {

using Wait = ServerConnection::Wait;

namespace {

ServerConnection& connection_of(Stream& stream) noexcept {
  return *static_cast<ServerConnection*>(stream.owner());
}

}  // namespace

const StreamHandler Server::kHandler{"http",      on_data,    on_end,          on_closed, on_timer,
                                     on_writable, on_stalled, on_memory_short, add_held};
const StreamHandler Server::kRefusedHandler{
    "http, refused",         [](Stream&, const Received&) noexcept {},
    [](Stream&) noexcept {}, [](Stream&, runtime::Error) noexcept {},
    [](Stream&) noexcept {}, nullptr};

Server::Server(Network& network, const ServerOptions& options, const Routes& routes)
    : network_(network),
      options_(options),
      routes_(routes),
      connections_(options.connections_max),
      exchanges_(options.connections_max),
      handlers_("HTTP handlers"),
      backlog_timer_(*this, [](runtime::Timer& timer) noexcept {
        static_cast<OwnTimer&>(timer).server.serve_backlog();
      }) {
  for (const RouteHandler& route : routes.handlers()) {
    pieces_bytes_max_ = std::max(pieces_bytes_max_, route.streamed_bytes_max);
  }
  enlist();
}

Server::~Server() {
  RT_ASSERT(connections_.count() == 0);
  RT_ASSERT(exchanges_.count() == 0);
  delist();
  network_.core().timers().cancel(backlog_timer_);
}

bool Server::accept(void* context, Stream& stream) noexcept {
  auto& self = *static_cast<Server*>(context);
  if (self.draining_ || self.network_.stream_count() > self.options_.streams_max) {
    self.refuse_connection(stream);
    return true;
  }
  const auto made =
      self.connections_.emplace(self, stream.id(), self.options_.limits, self.pieces_bytes_max_);
  if (made.value == nullptr) {
    self.refuse_connection(stream);
    return true;
  }
  ++self.counters_.accepted;
  made.value->slot = made.id.slot;
  stream.set_handler(kHandler, made.value);
  self.await(*made.value, stream, Wait::header);
  return true;
}

void Server::release(ServerConnection& connection) noexcept {
  connections_.erase(connection.slot);
}

// --- What the stream tells

void Server::on_data(Stream& stream, const Received& received) noexcept {
  ServerConnection& connection = connection_of(stream);
  Server& self = connection.server;
  if (connection.exchange != nullptr) [[unlikely]] {
    self.on_data_behind(connection, stream, received.bytes);
    return;
  }
  RT_ASSERT(connection.rest.empty());
  RT_ASSERT(!connection.closing);
  Input input{.bytes = received.bytes, .buffer = received.buffer};
  const Verdict verdict = self.serve(connection, stream, input);
  if (verdict != Verdict::go_on) {
    if (verdict == Verdict::waiting) self.keep_rest(connection, stream, input);
    return;
  }
  if (input.bytes.empty() && !connection.has_unsent()) {
    self.await_input(connection, stream);
    return;
  }
  connection.rest.assign(input.bytes.begin(), input.bytes.end());
  connection.rest_at = 0;
  self.go_on_later(connection, stream);
}

// Nothing more will come. A stream that pauses is told later, so everything has been served.
void Server::on_end(Stream& stream) noexcept {
  ServerConnection& connection = connection_of(stream);
  if (connection.exchange != nullptr) {
    connection.server.on_end_behind(connection);
    return;
  }
  RT_ASSERT(connection.rest.empty());
  if (connection.parser.is_idle()) {
    connection.server.close(stream);
  } else {
    connection.server.refuse(connection, stream, Status::bad_request,
                             {.reason = "the request ended before it was whole"});
  }
}

void Server::on_closed(Stream& stream, runtime::Error /*why*/) noexcept {
  ServerConnection& connection = connection_of(stream);
  Server& self = connection.server;
  if (connection.exchange != nullptr) self.end_exchange(*connection.exchange, Cancel::yes);
  self.release(connection);
}

void Server::on_timer(Stream& stream) noexcept {
  ServerConnection& connection = connection_of(stream);
  Server& self = connection.server;
  if (connection.wait == Wait::none) return;  // set before an answer: no longer meant
  // An idle connection may just have been sent the next request, too. An answer is its handler's.
  const bool is_peers = connection.wait != Wait::answer;
  if (is_peers && stream.look_again(std::exchange(connection.looked, true))) return;
  const Wait wait = std::exchange(connection.wait, Wait::none);
  if (connection.exchange != nullptr) {
    self.on_late(connection, wait);
    return;
  }
  if (wait == Wait::header || wait == Wait::body) {
    ++self.counters_.timeouts;
    std::string_view why = wait == Wait::header
                               ? "header not finished within limits.header_deadline"
                               : "body not finished within limits.message_deadline";
    if (self.draining_) why = kGoingAway;
    self.refuse(connection, stream,
                self.draining_ ? Status::service_unavailable : Status::request_timeout,
                {.reason = why});
    return;
  }
  if (stream.queued_bytes() != 0) {
    self.await(connection, stream, wait);  // a slow reader of a large answer is no idle one
    return;
  }
  ++self.counters_.timeouts;
  self.close(stream);
}

void Server::on_stalled(Stream& stream) noexcept {
  ++connection_of(stream).server.counters_.timeouts;
  log_stalled(stream);
  stream.abort({runtime::ErrorCode::timed_out, 0});
}

void Server::on_writable(Stream& stream) noexcept {
  ServerConnection& connection = connection_of(stream);
  if (connection.backlogged) return;  // its turn comes
  if (connection.exchange != nullptr) {
    connection.server.on_room(connection, stream);
    return;
  }
  connection.server.go_on(connection, stream);
}

// --- Requests

// Parses and answers until the input ends, the queue is full, or the connection has had its share.
// `input` is left with what was not looked at.
Server::Verdict Server::serve(ServerConnection& connection, Stream& stream, Input& input) {
  for (std::size_t served = 0; served < kRequestsPerTurn;) {
    if (connection.has_unsent() || !stream.writable() || input.bytes.empty()) break;
    RequestParser::Progress progress = connection.parser.feed(input.bytes);
    input.bytes = input.bytes.subspan(progress.consumed);
    Verdict verdict = Verdict::go_on;
    if (progress.event == RequestParser::Event::body_follows) [[unlikely]] {
      if (const auto begun = begin_body(connection, stream, input)) return *begun;
      progress = connection.parser.take_body(input.bytes);
      input.bytes = input.bytes.subspan(progress.consumed);
    }
    switch (progress.event) {
      case RequestParser::Event::body_follows:  // taken, above
      case RequestParser::Event::need_more:
        RT_ASSERT(input.bytes.empty());
        break;
      case RequestParser::Event::expect_continue:
        verdict = on_expect_continue(connection, stream);
        break;
      case RequestParser::Event::complete:
        ++served;
        verdict = answer(connection, stream, input);
        break;
      case RequestParser::Event::refused:
        ++served;
        verdict = refuse(connection, stream, connection.parser.status(),
                         {.context = context_of(connection.parser.request()),
                          .reason = connection.parser.why()});
        break;
      case RequestParser::Event::error:
        verdict = refuse(connection, stream, connection.parser.status(),
                         {.reason = connection.parser.why()});
        break;
    }
    if (verdict != Verdict::go_on) return verdict;
  }
  return Verdict::go_on;
}

Server::Verdict Server::answer(ServerConnection& connection, Stream& stream, const Input& rest) {
  const Request& request = connection.parser.request();
  ++counters_.requests;
  const ResponseContext context = context_of(request);
  if (request.body.size() > kBodyBytesAlways && is_memory_short()) [[unlikely]] {
    return refuse(connection, stream, Status::service_unavailable,
                  {.context = context, .reason = kOverMemory});
  }
  if (options_.upgrade != nullptr && may_be_upgrade(request)) {
    const std::optional<Verdict> verdict = try_upgrade(connection, stream, context, rest);
    if (verdict) return *verdict;
  }
  const RouteHandler* route = routes_.lookup(request.method, request.path, match_);
  if (is_options(request)) return answer_options(connection, stream, context);
  if (route == nullptr || route->run == nullptr) [[unlikely]] {
    if (route != nullptr && route->coroutine != nullptr) {
      return start_handler(connection, stream, {*route, match_, options_.answer_deadline}, context,
                           BodyKind::whole);
    }
    return refuse_unrouted(connection, stream, request, context);
  }
  Responder responder{*this, connection, stream, context};
  try {
    route->run(route->context, request, match_, responder);
  } catch (...) {
    return on_handler_threw(connection, stream, context, responder.answered());
  }
  if (responder.answered()) [[likely]]
    return end_request(connection, stream, context);
  if (connection.exchange != nullptr) return leave_handler(connection, stream);
  return refuse(connection, stream, Status::internal_server_error,
                {.context = context, .reason = kNoAnswer});
}

// --- Going on

// The queue is full, or the connection has had its share of this turn.
void Server::go_on_later(ServerConnection& connection, Stream& stream) {
  weigh(connection);
  stream.pause_receiving();
  const bool writable = stream.writable();  // asking has on_writable called
  if (connection.has_unsent() || !writable) {
    await(connection, stream, Wait::room);
    return;
  }
  connection.backlogged = true;
  backlog_.push_back(connection.stream);
  // In the next turn: other streams must have their turn first.
  if (!backlog_timer_.queued()) {
    network_.core().timers().add(backlog_timer_, network_.core().now() + 1);
  }
}

void Server::serve_backlog() noexcept {
  resuming_.swap(backlog_);
  for (const StreamId id : resuming_) {
    Stream* stream = network_.find(id);
    if (stream == nullptr || stream->closing()) continue;
    ServerConnection& connection = connection_of(*stream);
    connection.backlogged = false;
    go_on(connection, *stream);
  }
  resuming_.clear();
}

void Server::go_on(ServerConnection& connection, Stream& stream) {
  send_unsent(connection, stream);
  if (connection.closing) {
    finish(connection, stream);
    return;
  }
  Input input{.bytes = std::span{connection.rest}.subspan(connection.rest_at),
              .buffer = runtime::kNoBuffer};
  const Verdict verdict = serve(connection, stream, input);
  if (verdict != Verdict::go_on) {
    if (verdict == Verdict::waiting) keep_rest(connection, stream, input);
    return;
  }
  connection.rest_at = connection.rest.size() - input.bytes.size();
  go_on_behind(connection, stream);
}

void Server::await_input(ServerConnection& connection, Stream& stream) noexcept {
  weigh(connection);
  if (connection.parser.is_in_body()) {
    await(connection, stream, Wait::body);
    if (connection.held.bytes() > kBodyBytesAlways && is_memory_short()) {
      refuse(connection, stream, Status::service_unavailable, {.reason = kOverMemory});
    }
  } else if (draining_) {
    end_unbegun(connection, stream);
  } else if (connection.answered && connection.parser.is_idle()) {
    await(connection, stream, Wait::idle);
  } else {
    await(connection, stream, Wait::header);
  }
}

// Deadlines are absolute: a repeated wait of the same kind keeps its deadline.
void Server::await(ServerConnection& connection, Stream& stream, Wait wait) noexcept {
  if (connection.wait == wait) return;
  connection.wait = wait;
  connection.looked = false;
  switch (wait) {
    case Wait::none:
    case Wait::room:
      stream.cancel_timer();
      break;
    case Wait::header:
      stream.set_timer(options_.header_deadline);
      break;
    case Wait::body:
      stream.set_timer(body_deadline());
      break;
    case Wait::idle:
      stream.set_timer(options_.idle_timeout);
      break;
    case Wait::answer:
      stream.set_timer(connection.exchange->deadline);
      break;
    case Wait::piece:
      stream.set_timer(piece_deadline(*connection.exchange));
      break;
  }
}

}  // namespace corelane::net::http
