// Upgrades: a request that asks for another protocol, and how its connection leaves HTTP, at once
// or when a handler has decided.

#include <algorithm>
#include <string>
#include <utility>

#include "net/http/server.hpp"
#include "runtime/assert.hpp"

namespace corelane::net::http {

using Answer = ServerExchange::Answer;

// A cheap test without false negatives: each request that may be a handshake goes to the upgrade
// function, also a handshake that a proxy has damaged.
bool Server::may_be_upgrade(const Request& request) noexcept {
  static constexpr std::string_view kPrefix = "sec-websocket-";
  return std::ranges::any_of(request.fields, [](const Field& field) {
    const char first = static_cast<char>(field.name.front() | 0x20);
    if (first == 'u') return field_name_equal(field.name, "upgrade");
    return first == 's' && field.name.size() > kPrefix.size() &&
           field_name_equal(field.name.substr(0, kPrefix.size()), kPrefix);
  });
}

std::optional<Server::Verdict> Server::try_upgrade(ServerConnection& connection, Stream& stream,
                                                   const ResponseContext& context,
                                                   const Input& rest) {
  const Request& request = connection.parser.request();
  if (draining_ && request.has_token("upgrade", "websocket")) {
    return refuse(connection, stream, Status::service_unavailable,
                  {.context = context, .reason = kGoingAway});
  }
  stream.cancel_timer();
  stream.resume_receiving();
  UpgradeOutcome outcome;
  try {
    outcome = options_.upgrade(options_.upgrade_context, stream, request);
  } catch (...) {
    return on_handler_threw(connection, stream, context, false);
  }
  switch (outcome.kind) {
    case UpgradeOutcome::Kind::not_an_upgrade:
      break;
    case UpgradeOutcome::Kind::rejected:
      return refuse(
          connection, stream, outcome.status,
          {.context = context, .reason = outcome.reason, .extra_fields = outcome.extra_fields});
    case UpgradeOutcome::Kind::taken:
      return leave_http(connection, stream, rest);
    case UpgradeOutcome::Kind::deferred: {
      const HandlerStart start{*outcome.handler, *outcome.match, outcome.deadline, true};
      const Verdict verdict = start_handler(connection, stream, start, context, BodyKind::whole);
      return verdict == Verdict::gone ? leave_http(connection, stream, rest) : verdict;
    }
  }
  return std::nullopt;
}

// Another owner has the stream.
Server::Verdict Server::leave_http(ServerConnection& connection, Stream& stream,
                                   const Input& rest) {
  ++counters_.upgrades;
  RT_ASSERT(stream.owner() != &connection);
  RT_ASSERT(!stream.receiving_paused() || stream.closing());
  // A WebSocket client waits for our 101 before it goes on (RFC 6455 section 4.1), so this is rare.
  const auto kept = std::move(connection.rest);  // `rest` may lie in it
  release(connection);
  if (!rest.bytes.empty()) stream.redeliver({.bytes = rest.bytes, .buffer = rest.buffer});
  return Verdict::gone;
}

// --- Decided later

Delivery Server::hand_over(ServerExchange* exchange, TakeStream take, void* context) {
  if (!awaits_answer(exchange)) return Delivery::gone;
  if (!exchange->is_upgrade) return Delivery::invalid;
  ServerConnection& connection = exchange->connection;
  Stream& stream = stream_of(*exchange);
  stream.cancel_timer();
  stream.resume_receiving();
  take(context, stream);
  exchange->answer = Answer::handed_over;
  if (exchange->in_handler) return Delivery::queued;  // leave_handler() comes, then leave_http()
  end_exchange(*exchange, Cancel::no);
  const Input rest{.bytes = std::span{connection.rest}.subspan(connection.rest_at),
                   .buffer = runtime::kNoBuffer};
  leave_http(connection, stream, rest);
  return Delivery::queued;
}

Delivery Server::refuse_later(ServerExchange* exchange, Status status,
                              const ErrorOptions& options) {
  RT_ASSERT(static_cast<unsigned>(status) >= 400);
  if (!awaits_answer(exchange)) return Delivery::gone;
  ServerConnection& connection = exchange->connection;
  Stream& stream = stream_of(*exchange);
  log_refusal(connection, stream, status, options.reason);
  ++counters_.errors;
  ErrorOptions full = options;
  full.context = last_context(*exchange);
  full.date = date();
  std::vector<std::byte>& out = empty_scratch();
  write_error(out, status, full);
  send(connection, stream, out, Memory::copied);
  end_answer(*exchange, full.context);
  return Delivery::queued;
}

}  // namespace corelane::net::http
