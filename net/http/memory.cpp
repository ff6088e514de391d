// The memory of the server's connections in the core's account, and which of them give way when it
// is too much (MemoryHolders).

#include "net/http/server.hpp"

namespace corelane::net::http {

// Called after anything that changes the parser's memory, or whether it reads. A request that waits
// for its answer is not unfinished: its peer has sent all of it, or all that the handler asked for.
void Server::weigh(ServerConnection& connection) noexcept {
  const std::size_t bytes = connection.parser.held_bytes();
  const bool reads = connection.exchange == nullptr && connection.parser.is_reading();
  const std::size_t before = connection.held.unfinished();
  connection.held.set(bytes, reads ? bytes : 0);
  if (before == 0 && connection.held.unfinished() != 0) {
    connection.unfinished_since = network_.core().now();
  }
}

void Server::list(MemoryHolders& holders) {
  const runtime::Nanoseconds now = network_.core().now();
  connections_.for_each([&](auto id, ServerConnection& connection) {
    holders.add(connection.held.unfinished(), now - connection.unfinished_since, end_holder, this,
                id.slot);
    if (!connection.has_unsent()) return;
    holders.add(connection.unsent_memory.capacity(), now - connection.unsent_since, end_holder,
                this, id.slot);
  });
}

// A peer that is in the middle of its request is told. Any other has an answer begun, in the middle
// of which nothing can be told.
void Server::end_holder(void* server, std::uint32_t slot) noexcept {
  auto& self = *static_cast<Server*>(server);
  ServerConnection* const connection = self.connections_.in_slot(slot);
  if (connection == nullptr) return;
  Stream* const stream = self.network_.find(connection->stream);
  if (stream == nullptr) return;
  const bool is_reading = connection->held.unfinished() != 0;
  if (is_reading && !connection->has_unsent() && !stream->closing()) {
    self.end_for_memory(*connection, *stream);
  } else {
    stream->abort({runtime::ErrorCode::limit_exceeded, 0});
  }
}

// In the middle of a request.
void Server::end_for_memory(ServerConnection& connection, Stream& stream) noexcept {
  refuse(connection, stream, Status::service_unavailable,
         {.reason = "overloaded: limits.memory_bytes_max"});
}

}  // namespace corelane::net::http
