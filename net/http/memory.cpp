// The memory of the server's connections in the core's account, and how they give way when it is
// too much (net/memory_holders.hpp).

#include "net/http/server.hpp"

namespace corelane::net::http {
namespace {

// A 503 behind more than this would be read late, or never, by a peer that does not read.
constexpr std::size_t kToldBehindBytes = 4096;

}  // namespace

// Called after anything that changes the parser's memory, or whether it reads. A request that waits
// for its answer is not unfinished: its peer has sent all of it, or all that the handler asked for.
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

// A peer that is in the middle of its request is told. Any other has an answer begun, in the middle
// of which nothing can be told.
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
