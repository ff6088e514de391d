// Answers and bodies in pieces, without queues that grow: a handler's write waits while the
// stream's queue is half full, and received bytes beyond kHeldBytes stay in the socket until the
// handler reads.

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include "net/http/response.hpp"
#include "net/http/server.hpp"
#include "runtime/assert.hpp"

namespace corelane::net::http {

using Wait = ServerConnection::Wait;
using Answer = ServerExchange::Answer;
using runtime::ErrorCode;
using runtime::Result;

namespace {

// Bytes of a body that its handler has not read yet. Receiving pauses beyond this; a receive that
// is under way may add one buffer.
constexpr std::size_t kHeldBytes = 64 * 1024;
// The least that a peer must send of a body in pieces.
constexpr runtime::Nanoseconds kSenderBytesPerSecondMin = 16 * 1024;
// Around a chunk's data: 16 digits and two line ends (RFC 9112 section 7.1).
constexpr std::size_t kChunkFrameBytes = 16 + 2 + 2;

std::byte* put(std::byte* to, std::span<const std::byte> bytes) noexcept {
  return std::ranges::copy(bytes, to).out;
}

// A length that is not known needs the chunked coding, or the connection's end.
BodyFraming framing_of(const ResponseContext& context, bool has_length) noexcept {
  if (has_length) return BodyFraming::length;
  return context.version == 10 ? BodyFraming::until_close : BodyFraming::chunked;
}

}  // namespace

// --- Answers

Delivery Server::begin_pieces(ServerExchange* exchange, Status status,
                              const ResponseOptions& options, std::optional<std::uint64_t> length) {
  RT_ASSERT(static_cast<unsigned>(status) >= 200);
  if (!awaits_answer(exchange)) return Delivery::gone;
  ResponseOptions full = options;
  if (full.date.empty()) full.date = date();
  // Whether all of the request's body has come by then is looked at when the answer ends.
  ResponseContext context = exchange->context;
  if (draining_) context.keep_alive = false;
  const BodyFraming framing = framing_of(context, length.has_value());
  if (framing == BodyFraming::until_close) context.keep_alive = false;
  std::vector<std::byte>& out = empty_scratch();
  if (!write_head(out, status, context, full, framing, length.value_or(0))) {
    return Delivery::invalid;
  }
  ServerConnection& connection = exchange->connection;
  Stream& stream = stream_of(*exchange);
  await(connection, stream, Wait::room);
  exchange->answer = Answer::in_pieces;
  exchange->context = context;
  exchange->is_chunked = framing == BodyFraming::chunked && !context.is_head;
  exchange->length_left = length.value_or(ServerExchange::kUnknownLength);
  send(connection, stream, out, Memory::copied);
  return Delivery::queued;
}

// How many of the bytes were taken; 0 if the stream has no room: room.wake_all() follows.
Result<std::size_t> Server::write_piece(ServerExchange& exchange,
                                        std::span<const std::byte> bytes) {
  if (exchange.answer != Answer::in_pieces || bytes.size() > exchange.length_left) {
    return runtime::fail(ErrorCode::invalid_argument);
  }
  ServerConnection& connection = exchange.connection;
  Stream& stream = stream_of(exchange);
  if (exchange.context.is_head || bytes.empty()) {
    take_length(exchange, bytes.size());
    return bytes.size();
  }
  const bool writable = stream.writable();  // asking has on_writable called
  if (!writable || connection.has_unsent()) return std::size_t{0};
  const std::size_t limit = network_.options().queued_bytes_max;
  const std::size_t room = limit - std::min(limit, stream.queued_bytes());
  const std::size_t frame = exchange.is_chunked ? kChunkFrameBytes + kLastChunk.size() : 0;
  if (room <= frame) return runtime::fail(ErrorCode::limit_exceeded);  // a queue for no chunk
  const std::span<const std::byte> part = bytes.first(std::min(bytes.size(), room - frame));
  const bool sent = exchange.is_chunked ? send_chunk(stream, part) : stream.send_copy(part);
  if (!sent) return runtime::fail(ErrorCode::closed);
  take_length(exchange, part.size());
  return part.size();
}

void Server::take_length(ServerExchange& exchange, std::size_t bytes) noexcept {
  if (exchange.length_left != ServerExchange::kUnknownLength) exchange.length_left -= bytes;
}

bool Server::send_chunk(Stream& stream, std::span<const std::byte> data) {
  std::array<char, 16> digits;
  const char* const end =
      std::to_chars(digits.data(), digits.data() + digits.size(), data.size(), 16).ptr;
  const std::string_view size{digits.data(), static_cast<std::size_t>(end - digits.data())};
  constexpr std::string_view kLineEnd = "\r\n";
  std::byte* to = stream.send_space(size.size() + data.size() + 2 * kLineEnd.size());
  if (to == nullptr) return false;
  to = put(to, std::as_bytes(std::span{size}));
  to = put(to, std::as_bytes(std::span{kLineEnd}));
  to = put(to, data);
  put(to, std::as_bytes(std::span{kLineEnd}));
  return true;
}

Delivery Server::end_pieces(ServerExchange& exchange) {
  if (exchange.answer != Answer::in_pieces) return Delivery::invalid;
  const bool is_short =
      exchange.length_left != 0 && exchange.length_left != ServerExchange::kUnknownLength;
  if (is_short && !exchange.context.is_head) {
    stream_of(exchange).abort();
    return Delivery::invalid;
  }
  ServerConnection& connection = exchange.connection;
  if (exchange.is_chunked) {
    const auto last = std::as_bytes(std::span{kLastChunk});
    if (connection.has_unsent()) {  // of a head that is larger than the queue
      append_unsent(connection, last);
    } else {
      send(connection, stream_of(exchange), last, Memory::copied);
    }
  }
  end_answer(exchange, last_context(exchange));
  return Delivery::queued;
}

void Server::append_unsent(ServerConnection& connection, std::span<const std::byte> bytes) {
  decltype(connection.unsent_memory) all(connection.unsent.begin(), connection.unsent.end());
  all.insert(all.end(), bytes.begin(), bytes.end());
  connection.unsent_memory = std::move(all);
  connection.unsent = connection.unsent_memory;
}

void Server::on_room(ServerConnection& connection, Stream& stream) {
  send_unsent(connection, stream);
  const bool writable = stream.writable();  // asking has on_writable called
  if (writable && !connection.has_unsent()) {
    connection.exchange->room.wake_all(runtime::WaitQueue::Outcome::granted);
  }
}

// --- Bodies

// The head of a request with a body has come. Nothing: its body is read as a whole.
std::optional<Server::Verdict> Server::begin_body(ServerConnection& connection, Stream& stream,
                                                  Input& input) {
  RequestParser& parser = connection.parser;
  const Request& request = parser.request();
  if (options_.upgrade != nullptr && may_be_upgrade(request)) return std::nullopt;
  const RouteHandler* route = routes_.lookup(request.method, request.path, match_);
  if (route == nullptr || route->streamed_bytes_max == 0) return std::nullopt;
  RT_ASSERT(route->coroutine != nullptr);
  if (parser.expects_unknown()) return std::nullopt;
  ++counters_.requests;
  connection.wait = Wait::none;
  const ResponseContext context = context_of(request);
  const bool awaits_continue = parser.expects_continue() && input.bytes.empty();
  if (!parser.begin_pieces(route->streamed_bytes_max)) {
    ResponseContext last = context;
    last.keep_alive = false;
    return refuse(connection, stream, parser.status(), {.context = last, .reason = parser.why()});
  }
  // The handler may read at once.
  keep(connection, input.bytes);
  input = {.bytes = {}, .buffer = runtime::kNoBuffer, .kept = true};
  if (connection.rest.size() >= kHeldBytes) stream.pause_receiving();
  const Verdict verdict =
      start_handler(connection, stream, {*route, match_, options_.answer_deadline}, context,
                    awaits_continue ? BodyKind::awaits_continue : BodyKind::in_pieces);
  if (verdict != Verdict::go_on) return verdict;
  go_on_behind(connection, stream);
  return Verdict::waiting;
}

// Keeps unparsed bytes in `rest`. They lie in a receive buffer, or in `rest` already.
void Server::keep(ServerConnection& connection, std::span<const std::byte> bytes) {
  auto& rest = connection.rest;
  const bool is_there =
      bytes.data() >= rest.data() && bytes.data() <= rest.data() + rest.size() && !rest.empty();
  if (bytes.empty()) {
    release_memory(rest);
    connection.rest_at = 0;
  } else if (is_there) {
    connection.rest_at = static_cast<std::size_t>(bytes.data() - rest.data());
  } else {
    rest.assign(bytes.begin(), bytes.end());
    connection.rest_at = 0;
  }
}

// Bytes for a connection whose request waits: of its body, or of requests behind it.
void Server::on_data_behind(ServerConnection& connection, Stream& stream,
                            std::span<const std::byte> bytes) {
  ServerExchange& exchange = *connection.exchange;
  auto& rest = connection.rest;
  rest.erase(rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(connection.rest_at));
  connection.rest_at = 0;
  rest.insert(rest.end(), bytes.begin(), bytes.end());
  const std::size_t kept_max = is_memory_short() ? 0 : kHeldBytes;
  if (!exchange.body_comes || rest.size() >= kept_max) stream.pause_receiving();
  exchange.input.wake_all(runtime::WaitQueue::Outcome::granted);
}

// As much of the body as has come and fits. An error: an answer of ours has been given.
Result<Server::BodyPart> Server::take_body(ServerExchange& exchange, std::span<std::byte> into) {
  ServerConnection& connection = exchange.connection;
  Stream& stream = stream_of(exchange);
  BodyPart part;
  while (connection.rest_at < connection.rest.size() && part.bytes < into.size() && !part.ended) {
    const std::size_t wanted = into.size() - part.bytes;
    const std::span<const std::byte> input = std::span{connection.rest}.subspan(connection.rest_at);
    std::vector<std::byte>& data = empty_scratch();
    const auto progress =
        connection.parser.feed_piece(input.first(std::min(input.size(), wanted)), data);
    connection.rest_at += progress.consumed;
    if (progress.event == RequestParser::Event::error) {
      fail_exchange(exchange, connection.parser.status(), connection.parser.why());
      return runtime::fail(ErrorCode::closed);
    }
    std::ranges::copy(data, into.begin() + static_cast<std::ptrdiff_t>(part.bytes));
    part.bytes += data.size();
    part.ended = progress.event == RequestParser::Event::complete;
  }
  exchange.body_bytes += part.bytes;
  if (part.ended) exchange.body_comes = false;
  if (connection.rest_at == connection.rest.size()) {
    connection.rest.clear();
    connection.rest_at = 0;
    stream.resume_receiving();
  }
  note_body_wait(exchange, part.bytes == 0 && !part.ended);
  return part;
}

// Whose turn it is: the peer's, to send more of the body, or the handler's.
void Server::note_body_wait(ServerExchange& exchange, bool is_awaited) {
  ServerConnection& connection = exchange.connection;
  Stream& stream = stream_of(exchange);
  if (is_awaited && exchange.awaits_continue) {
    exchange.awaits_continue = false;
    if (exchange.answer == Answer::none) {
      send(connection, stream, std::as_bytes(std::span{kContinueResponse}), Memory::copied);
    }
  }
  if (is_awaited && exchange.is_body_awaited) return;
  const runtime::Nanoseconds now = network_.core().now();
  if (exchange.is_body_awaited) exchange.awaited += now - exchange.awaited_at;
  exchange.is_body_awaited = is_awaited;
  exchange.awaited_at = now;
  if (exchange.answer == Answer::in_pieces && !is_awaited) {
    await(connection, stream, Wait::room);
    return;
  }
  connection.wait = Wait::none;  // the deadline begins again
  await(connection, stream, is_awaited ? Wait::piece : Wait::answer);
}

// The time that the peer has left to send the next piece.
runtime::Nanoseconds Server::piece_deadline(const ServerExchange& exchange) const noexcept {
  const auto bytes = static_cast<runtime::Nanoseconds>(exchange.body_bytes);
  const runtime::Nanoseconds allowed =
      options_.body_deadline + bytes * (runtime::kSecond / kSenderBytesPerSecondMin);
  const runtime::Nanoseconds left = std::max<runtime::Nanoseconds>(allowed - exchange.awaited, 1);
  return draining_ ? std::min(left, kDrainBodyDeadline) : left;
}

// Throws away what has come of a body that its handler has not read. False: there is more of it.
bool Server::skip_body(ServerExchange& exchange) {
  if (!exchange.body_comes) return true;
  ServerConnection& connection = exchange.connection;
  if (!connection.parser.is_in_body()) return false;  // it was malformed, or too large
  const std::span<const std::byte> input = std::span{connection.rest}.subspan(connection.rest_at);
  const auto progress = connection.parser.feed_piece(input, empty_scratch());
  connection.rest_at += progress.consumed;
  if (progress.event != RequestParser::Event::complete) return false;
  exchange.body_comes = false;
  return true;
}

}  // namespace corelane::net::http
