// The memory of the server's connections in the core's account, and how a connection ends when the
// core holds too much memory (net/memory_holders.hpp).

#include "net/http/server.hpp"

namespace corelane::net::http {
namespace {

// With more queued bytes than this, a 503 behind them would reach a slow reader late or never.
constexpr std::size_t kToldBehindBytes = 4096;

}  // namespace

// Called after each change of the parser's memory or state. A request that waits for its answer is
// not unfinished: the peer has sent all of it, or all that the handler has asked for.
void Server::weigh(ServerConnection& connection) noexcept {
  const std::size_t bytes = connection.parser.held_bytes();
  const bool reads = connection.exchange == nullptr && connection.parser.is_reading();
  connection.held.set(bytes, reads ? bytes : 0);
}

void Server::add_held(const Stream& stream, HeldMemory& held) noexcept {
  const auto& connection = *static_cast<const ServerConnection*>(stream.owner());
  const std::size_t unfinished = connection.held.unfinished();
  held.add_unfinished(unfinished, connection.held.booked_at());
  held.add(connection.held.bytes() - unfinished);
  held.add(connection.rest.capacity());
  held.add(connection.unsent_memory.capacity());
  if (connection.exchange != nullptr) held.add(connection.exchange->request_bytes);
}

// A peer with an unfinished request gets a 503. Any other connection is aborted: its answer has
// begun, and an error response cannot follow part of an answer.
void Server::on_memory_short(Stream& stream, std::string_view why) noexcept {
  auto& connection = *static_cast<ServerConnection*>(stream.owner());
  const bool is_reading = connection.held.unfinished() != 0;
  if (is_reading && !connection.has_unsent() && stream.queued_bytes() <= kToldBehindBytes) {
    connection.server.refuse(connection, stream, Status::service_unavailable, {.reason = why});
  } else {
    stream.abort({runtime::ErrorCode::limit_exceeded, 0});
  }
}

}  // namespace corelane::net::http
