// What leaves: answers as a whole or in parts, the end of a connection or of all (drain), and the
// Responder by which handlers answer.

#include <algorithm>

#include "net/http/server.hpp"
#include "net/http/server_log.hpp"
#include "runtime/assert.hpp"

namespace corelane::net::http {

using Wait = ServerConnection::Wait;

namespace {

// A shorter static response is copied behind the one before it: an iovec of its own costs the
// kernel more than the copy.
constexpr std::size_t kStaticCopyBytesMax = 1024;
// The least rate at which a peer must read its last answer: 1 MiB in 64 s.
constexpr runtime::Nanoseconds kReaderBytesPerSecondMin = 16 * 1024;
// Memory that the scratch vector keeps after a large response.
constexpr std::size_t kScratchKeptBytes = 64 * 1024;

}  // namespace

void Server::send(ServerConnection& connection, Stream& stream, std::span<const std::byte> bytes,
                  Memory memory) {
  RT_ASSERT(!connection.has_unsent());
  const bool copy = memory == Memory::copied || bytes.size() <= kStaticCopyBytesMax;
  if (copy ? stream.send_copy(bytes) : stream.send_static(bytes)) [[likely]]
    return;
  if (stream.closing()) return;
  // An answer that is larger than the queue's room leaves in parts.
  if (memory == Memory::copied) {
    connection.unsent_memory.assign(bytes.begin(), bytes.end());
    connection.unsent = connection.unsent_memory;
  } else {
    connection.unsent = bytes;
  }
  send_unsent(connection, stream);
}

void Server::send_unsent(ServerConnection& connection, Stream& stream) {
  if (!connection.has_unsent()) return;
  const std::size_t limit = network_.options().queued_bytes_max;
  const std::size_t queued = stream.queued_bytes();
  const std::size_t bytes = std::min(connection.unsent.size(), limit - std::min(limit, queued));
  const bool is_static = connection.unsent_memory.empty();
  const std::span<const std::byte> part = connection.unsent.first(bytes);
  if (bytes != 0 && !(is_static ? stream.send_static(part) : stream.send_copy(part))) return;
  connection.unsent = connection.unsent.subspan(bytes);
  if (!connection.has_unsent()) release_memory(connection.unsent_memory);
}

// The last answer has been given. Closes when the answer is in the queue. Frees the memory of the
// request at once, not when the peer has taken the answer.
Server::Verdict Server::finish(ServerConnection& connection, Stream& stream) noexcept {
  connection.closing = true;
  connection.parser.release();
  release_memory(connection.rest);
  connection.rest_at = 0;
  weigh(connection);
  if (connection.has_unsent()) {
    go_on_later(connection, stream);
  } else {
    close(stream);
  }
  return Verdict::closing;
}

// A slow reader has time to take what is queued.
void Server::close(Stream& stream) noexcept {
  const auto queued = static_cast<runtime::Nanoseconds>(stream.queued_bytes());
  const runtime::Nanoseconds linger =
      draining_ ? std::min(options_.linger, kDrainLinger) : options_.linger;
  stream.close(linger, linger + queued * (runtime::kSecond / kReaderBytesPerSecondMin));
}

void Server::refuse_connection(Stream& stream) noexcept {
  ++counters_.refused;
  log_no_room(stream,
              draining_ ? "the server is going away"
                        : "there are as many connections as there may be (limits.connections_max)");
  stream.set_handler(kRefusedHandler, nullptr);
  std::vector<std::byte>& out = empty_scratch();
  const std::string_view why = draining_ ? kGoingAway : "no room for another connection";
  write_error(out, Status::service_unavailable, {.date = date(), .reason = why});
  // Fails only if the queue is smaller than one error response; the stream is closed in any case.
  (void)stream.send_copy(out);
  // A short linger: a connection that waits for the peer's end takes a place.
  stream.close(std::min(options_.linger, kDrainLinger));
}

// --- Draining

void Server::drain() noexcept {
  draining_ = true;
  connections_.for_each([this](auto, ServerConnection& connection) {
    Stream* stream = network_.find(connection.stream);
    if (stream == nullptr || stream->closing()) return;
    switch (connection.wait) {
      case Wait::idle:
      case Wait::header:
        end_unbegun(connection, *stream);
        break;
      case Wait::body:
        stream->set_timer(body_deadline());
        break;
      case Wait::piece:
        stream->set_timer(piece_deadline(*connection.exchange));
        break;
      case Wait::answer:  // it is waited for, and is the last; but nobody is let in any more
        if (connection.exchange->is_upgrade) {
          fail_exchange(
              *connection.exchange, Status::service_unavailable,
              kGoingAway.data());  // NOLINT(bugprone-suspicious-stringview-data-usage): a literal
        }
        break;
      case Wait::none:
      case Wait::room:  // its answer is on its way, and is the last
        break;
    }
  });
}

// While draining: a request of which there is no whole head has not been taken on.
void Server::end_unbegun(ServerConnection& connection, Stream& stream) {
  if (connection.parser.is_idle()) {
    close(stream);
  } else {
    refuse(connection, stream, Status::service_unavailable, {.reason = kGoingAway});
  }
}

runtime::Nanoseconds Server::body_deadline() const noexcept {
  return draining_ ? std::min(options_.body_deadline, kDrainBodyDeadline) : options_.body_deadline;
}

// --- What answers are written with

std::vector<std::byte>& Server::empty_scratch() {
  if (scratch_.capacity() > kScratchKeptBytes) std::vector<std::byte>{}.swap(scratch_);
  scratch_.clear();
  return scratch_;
}

std::string_view Server::date() noexcept {
  const auto now = static_cast<std::int64_t>(network_.core().wall_now() / runtime::kSecond);
  if (now != date_s_) {
    date_ = format_date(now);
    date_s_ = now;
  }
  return to_view(date_);
}

bool Responder::respond(Status status, std::string_view content_type, std::string_view body) {
  return respond(status, {.content_type = content_type}, std::as_bytes(std::span{body}));
}

bool Responder::respond(Status status, const ResponseOptions& options,
                        std::span<const std::byte> body) {
  RT_ASSERT(static_cast<unsigned>(status) >= 200);
  if (answered_ || connection_.exchange != nullptr) return false;
  ResponseOptions full = options;
  if (full.date.empty()) full.date = server_.date();
  std::vector<std::byte>& out = server_.empty_scratch();
  if (!write_response(out, status, context_, full, body)) return false;
  answered_ = true;
  server_.send(connection_, stream_, out, Server::Memory::copied);
  return true;
}

DeferredResponder Responder::defer() {
  RT_ASSERT(!answered_);
  if (connection_.exchange == nullptr) server_.begin_exchange(connection_, context_);
  return DeferredResponder{server_.id_of(*connection_.exchange)};
}

bool Responder::respond_static(const StaticResponse& response) {
  if (answered_ || connection_.exchange != nullptr) return false;
  answered_ = true;
  server_.send(connection_, stream_, response.bytes(context_), Server::Memory::stays);
  return true;
}

}  // namespace corelane::net::http
