#include "ws/connection.hpp"

#include <array>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "ws/compression.hpp"
#include "ws/endpoint.hpp"
#include "ws/kept_bytes.hpp"

namespace corelane::ws {
namespace {

// A larger joined message is echoed in the memory where it was joined. A small message is copied:
// its memory is many times the bytes that the queue's limit counts, and a slow reader would keep
// it.
constexpr std::size_t kEchoCopiedBytesMax = 1024;

constexpr std::uint32_t to_ticks(runtime::Nanoseconds span) noexcept {
  return static_cast<std::uint32_t>(span / (runtime::kSecond / 8));
}

// "... (30s)", as the configuration writes it.
std::string with_time(std::string text, runtime::Nanoseconds time) {
  const bool is_whole = time % runtime::kSecond == 0;
  const std::int64_t number = time / (is_whole ? runtime::kSecond : runtime::kMillisecond);
  return text += " (" + std::to_string(number) + (is_whole ? "s)" : "ms)");
}

constexpr Opcode opcode_of(MessageKind kind) noexcept {
  return static_cast<Opcode>(kind);
}

}  // namespace

// One receive while it is read: the reader's sink, and what an echo in place needs of it.
struct ReceiveContext {
  Connection& connection;
  const net::Received& received;
  // The end of the bytes that were last sent in place. An echoed frame is 4 bytes shorter than the
  // received one. The next frame moves up behind this end, so that a batch leaves as one piece.
  std::byte* sent_end = nullptr;

  bool on_message(Message message) {
    message.context_ = this;
    return connection.on_message(message);
  }
  bool on_ping(std::span<const std::byte> payload) { return connection.on_ping(payload); }
  bool on_pong(std::span<const std::byte>) { return true; }
  bool on_close(CloseCode code, std::string_view reason) {
    return connection.on_close(code, reason);
  }
  std::byte* landing() const noexcept { return sent_end; }
  Inflater& inflater() { return connection.inflater(); }
};

const net::StreamHandler Connection::kStreamHandler{"websocket", on_data,         on_end,
                                                    on_closed,   on_timer,        on_writable,
                                                    on_stalled,  on_memory_short, add_held};

Connection::Connection(Endpoint& endpoint, net::Stream& stream, Role role, bool deflated) noexcept
    : endpoint_(endpoint), stream_(stream), reader_(role, deflated), role_(role) {}

Connection::~Connection() = default;

// --- The stream's side

void Connection::on_data(net::Stream& stream, const net::Received& received) noexcept {
  static_cast<Connection*>(stream.owner())->consume(received);
}

void Connection::consume(const net::Received& received) {
  active_ = true;
  if (state_ != State::open) return skip(received.bytes);
  // Now, since an echo writes over it.
  const bool is_large = stream_.receives_large();
  const std::uint64_t frame_bytes = is_large ? reader_.frame_bytes(received.bytes) : 0;
  ReceiveContext context{.connection = *this, .received = received};
  const ReadResult result = reader_.consume(received.bytes, endpoint_.options_.reader, context);
  const std::span<const std::byte> rest = received.bytes.subspan(result.consumed);
  if (result.status == ReadStatus::failed) {
    fail(result.code, reason_of(result.breach, endpoint_.options_.reader));
    if (is_framed(result.breach)) return skip(rest);
    state_ = State::ended;
    return stream_.close(endpoint_.options_.close_timeout);
  }
  if (result.status == ReadStatus::closed) {
    // The server closes the stream first (RFC 6455 section 7.1.1).
    return stream_.close(linger_of(rest.size()));
  }
  if (state_ != State::open) return skip(rest);
  // Large messages mostly come in rows of one size: the next receive ends where one of them does.
  if (is_large) {
    const std::uint64_t missing = reader_.bytes_missing();
    stream_.end_receives_at(missing, missing != 0 ? reader_.frame_bytes({}) : frame_bytes);
  }
  watch_unfinished();
  if (waits_for_peer()) stream_.pause_receiving();
}

void Connection::on_end(net::Stream& stream) noexcept {
  auto& self = *static_cast<Connection*>(stream.owner());
  self.state_ = State::ended;
  stream.close(0);
}

void Connection::on_closed(net::Stream& stream, runtime::Error) noexcept {
  auto& self = *static_cast<Connection*>(stream.owner());
  self.state_ = State::ended;
  self.tell_closed(self.close_code_, "");
  self.endpoint_.erase(self);
}

void Connection::on_writable(net::Stream& stream) noexcept {
  auto& self = *static_cast<Connection*>(stream.owner());
  const auto tell = self.endpoint_.handler_.on_writable;
  if (tell != nullptr && self.state_ == State::open) tell(self);
  if (stream.receiving_paused() && !self.held_) self.go_on_receiving();
}

void Connection::hold_receiving(bool held) noexcept {
  held_ = held;
  if (state_ != State::open) return;
  if (held) {
    stream_.pause_receiving();
  } else if (stream_.receiving_paused() && !waits_for_peer()) {
    go_on_receiving();
  }
}

// The rest of an unfinished message could not come during the pause: its deadline starts again.
void Connection::go_on_receiving() noexcept {
  stream_.resume_receiving();
  unfinished_since_ = 0;
  watch_unfinished();
}

// In a callback of the stream: close_now(), and the layer above is told not to wait any longer.
void Connection::give_up(CloseCode code, std::string_view reason) {
  const bool was_open = state_ == State::open;
  close_now(code, reason);
  const auto tell = endpoint_.handler_.on_writable;
  if (was_open && tell != nullptr) tell(*this);
}

void Connection::on_stalled(net::Stream& stream) noexcept {
  auto& self = *static_cast<Connection*>(stream.owner());
  ++self.endpoint_.counters_.slow_readers;
  const runtime::Nanoseconds timeout = stream.network().options().write_stall_timeout;
  self.give_up(CloseCode::policy_violation,
               with_time("slow reader: nothing taken for limits.write_stall_timeout", timeout));
}

void Connection::on_memory_short(net::Stream& stream, std::string_view why) noexcept {
  auto& self = *static_cast<Connection*>(stream.owner());
  // Closing already: the close frame waits behind bytes that the peer does not take.
  if (self.state_ != State::open) return stream.abort({runtime::ErrorCode::limit_exceeded, 0});
  self.give_up(CloseCode::try_again_later, why);
  self.reader_.drop_unfinished();
}

void Connection::add_held(const net::Stream& stream, net::HeldMemory& held) noexcept {
  const MessageReader& reader = static_cast<const Connection*>(stream.owner())->reader_;
  held.add_unfinished(reader.unfinished_bytes(), reader.unfinished_at());
}

void Connection::on_timer(net::Stream& stream) noexcept {
  static_cast<Connection*>(stream.owner())->tick();
}

// --- Time

// One timer serves three purposes: a ping each interval, its answer (any byte counts) within
// pong_timeout, and the deadline of an unfinished message.
void Connection::tick() {
  const EndpointOptions& options = endpoint_.options_;
  if (state_ != State::open) {
    stream_.abort({runtime::ErrorCode::timed_out, 0});
    return;
  }
  if (stream_.receiving_paused()) {
    // We do not read because the peer does not (on_stalled), or the layer above (hold_receiving):
    // neither a pong nor the rest of a message can come.
    start_timer();
    return;
  }
  const bool is_unfinished = unfinished_since_ != 0 && endpoint_.tick() - unfinished_since_ >=
                                                           to_ticks(options.message_deadline);
  const bool is_silent = awaiting_pong_ && !active_;
  if (is_unfinished || is_silent) {
    const bool looked = looked_;
    looked_ = true;
    if (stream_.look_again(looked)) return;
  }
  if (is_unfinished) {
    fail(CloseCode::policy_violation,
         with_time("message unfinished after limits.message_deadline", options.message_deadline));
    return;
  }
  if (is_silent) {
    ++endpoint_.counters_.pong_timeouts;
    give_up(CloseCode::policy_violation,
            with_time("no pong within limits.pong_timeout", options.pong_timeout));
    return;
  }
  if (awaiting_pong_) {
    awaiting_pong_ = false;
  } else if (options.ping_interval != 0) {
    ping({});
    awaiting_pong_ = true;
    active_ = false;
  }
  start_timer();
}

void Connection::start_timer() noexcept {
  looked_ = false;
  const EndpointOptions& options = endpoint_.options_;
  runtime::Nanoseconds next = runtime::kNever;
  if (options.ping_interval != 0) {
    next = awaiting_pong_ ? options.pong_timeout : options.ping_interval;
  }
  if (unfinished_since_ != 0 && !stream_.receiving_paused()) {
    const runtime::Nanoseconds passed =
        (endpoint_.tick() - unfinished_since_) * (runtime::kSecond / 8);
    next = std::min(next, std::max<runtime::Nanoseconds>(options.message_deadline - passed, 0));
  }
  if (next != runtime::kNever) stream_.set_timer(next);
}

// A batch is often cut inside a message, so this is on the hot path: the timer is only touched if
// the next ping would come too late to notice.
void Connection::watch_unfinished() noexcept {
  if (!reader_.unfinished()) {
    unfinished_since_ = 0;
    return;
  }
  if (state_ != State::open) return;  // the timer counts down to the end
  if (unfinished_since_ != 0) return;
  unfinished_since_ = endpoint_.tick();
  const EndpointOptions& options = endpoint_.options_;
  if (options.ping_interval == 0 || options.message_deadline < options.ping_interval) {
    start_timer();
  }
}

// --- The reader's side

bool Connection::on_message(Message& message) {
  ++endpoint_.counters_.messages_received;
  unfinished_since_ = 0;  // what is unfinished after this has begun in this receive
  if (state_ != State::open) return false;
  if (!takes(endpoint_.options_.messages, message.kind())) [[unlikely]] {
    refuse_kind();
  } else {
    endpoint_.handler_.on_message(*this, message);
  }
  return state_ == State::open;
}

void Connection::refuse_kind() {
  const bool is_binary = endpoint_.options_.messages == Messages::binary;
  close(CloseCode::unsupported_data, is_binary ? "the protocol is binary" : "the protocol is text");
}

bool Connection::on_ping(std::span<const std::byte> payload) {
  const auto second = static_cast<std::uint16_t>(endpoint_.tick() / 8);
  if (second != ping_second_) {
    ping_second_ = second;
    pings_in_second_ = 0;
  }
  if (++pings_in_second_ > endpoint_.options_.pings_per_second_max) {
    const auto most = std::to_string(endpoint_.options_.pings_per_second_max);
    close_now(CloseCode::policy_violation, "more than " + most + " pings in a second");
    return false;
  }
  std::array<std::byte, kControlFrameBytesMax> frame;
  const std::size_t bytes = write_control(frame, Opcode::pong, payload);
  stream_.send_control(net::ControlKind::pong, std::span{frame}.first(bytes));
  return true;
}

bool Connection::on_close(CloseCode code, std::string_view reason) {
  close_code_ = code;
  send_close_frame(code, "", false);
  state_ = State::ended;
  tell_closed(code, reason);
  return false;
}

Inflater& Connection::inflater() {
  RT_ASSERT(compression_ != nullptr);
  return compression_->inflater ? *compression_->inflater : endpoint_.shared_inflater();
}

// --- Sending

std::byte* Connection::send_space(MessageKind kind, std::size_t bytes) {
  RT_ASSERT(role_ == Role::server);
  if (state_ != State::open) return nullptr;
  const std::size_t header = server_header_bytes(bytes);
  std::byte* to = stream_.send_space(header + bytes);
  if (to == nullptr) {
    refused(header + bytes);
    return nullptr;
  }
  write_server_header(to, {.opcode = opcode_of(kind)}, bytes);
  return to + header;
}

std::byte* Connection::send_head(MessageKind kind, std::size_t head_bytes, std::size_t bytes) {
  RT_ASSERT(role_ == Role::server);
  RT_ASSERT(head_bytes < bytes);
  if (state_ != State::open) return nullptr;
  const std::size_t header = server_header_bytes(bytes);
  std::byte* to = stream_.send_head(header + head_bytes, bytes - head_bytes);
  if (to == nullptr) {
    refused(header + bytes);
    return nullptr;
  }
  write_server_header(to, {.opcode = opcode_of(kind)}, bytes);
  return to + header;
}

bool Connection::send(MessageKind kind, std::span<const std::byte> payload) {
  if (state_ != State::open) return false;
  if (compression_ != nullptr && payload.size() >= endpoint_.options_.deflate_bytes_min) {
    return send_deflated(kind, payload);
  }
  if (role_ == Role::server) {
    std::byte* to = send_space(kind, payload.size());
    if (to == nullptr) return false;
    if (!payload.empty()) std::memcpy(to, payload.data(), payload.size());
    return true;
  }
  const std::size_t frame_bytes = client_header_bytes(payload.size()) + payload.size();
  std::byte* to = stream_.send_space(frame_bytes);
  if (to == nullptr) return refused(frame_bytes);
  const MaskKey key = endpoint_.next_mask_key();
  to += write_client_header(to, {.opcode = opcode_of(kind)}, payload.size(), key);
  copy_masked(payload, to, key);
  return true;
}

bool Connection::send_frames(const runtime::SharedBytes& block, std::span<const std::byte> frames) {
  RT_ASSERT(role_ == Role::server);
  if (state_ != State::open) return false;
  // A published message that is not sent is a gap, also a small one: the session must be closed.
  return stream_.send_shared(block, frames) || refused(0);
}

bool Connection::send_deflated(MessageKind kind, std::span<const std::byte> payload) {
  OwnedBytes compressed;
  Deflater& deflater =
      compression_->deflater ? *compression_->deflater : endpoint_.shared_deflater();
  deflater.deflate(payload, compressed);
  const FrameStart start{.opcode = opcode_of(kind), .is_final = true, .rsv1 = true};
  const std::size_t size = compressed.size();
  const std::size_t header =
      role_ == Role::server ? server_header_bytes(size) : client_header_bytes(size);
  std::byte* to = stream_.send_space(header + size);
  if (to == nullptr) {
    // The peer will not see this message, so later ones must not refer to it.
    if (compression_->deflater != nullptr) {
      compression_->deflater = endpoint_.make_deflater(*compression_);
    }
    return refused(header + size);
  }
  if (role_ == Role::server) {
    write_server_header(to, start, size);
    std::memcpy(to + header, compressed.data(), size);
  } else {
    const MaskKey key = endpoint_.next_mask_key();
    write_client_header(to, start, size, key);
    copy_masked(compressed.bytes(), to + header, key);
  }
  return true;
}

bool Connection::echo(Message& message) {
  if (state_ != State::open || message.payload().data() == nullptr) return false;
  if (role_ == Role::client || compression_ != nullptr) {
    return send(message.kind(), message.payload());
  }
  if (!message.is_owned() && message.context_ != nullptr) {
    return echo_in_place(message, *message.context_);
  }
  if (message.is_owned() && message.payload().size() > kEchoCopiedBytesMax) {
    return echo_owned(message);
  }
  const Message copied = std::exchange(message, Message{message.kind(), {}, 0, nullptr});
  return send(copied.kind(), copied.payload());
}

bool Connection::echo_in_place(Message& message, ReceiveContext& context) {
  const std::span<std::byte> payload = message.payload();
  const std::size_t header = server_header_bytes(payload.size());
  RT_DEBUG_ASSERT(header <= message.header_room());
  const std::span<std::byte> frame{payload.data() - header, header + payload.size()};
  // Its place belongs to the queue from here on: a second echo would write into the first.
  message = Message{message.kind(), {}, 0, nullptr};
  write_server_header(frame.data(), {.opcode = opcode_of(message.kind())}, payload.size());
  context.sent_end = frame.data() + frame.size();
  return stream_.send_in_place(context.received, frame) || refused(frame.size());
}

bool Connection::echo_owned(Message& message) {
  const MessageKind kind = message.kind();
  Endpoint::KeptBytes& kept = endpoint_.keep(message.take_or_copy());
  const std::size_t size = kept.bytes.size();
  const std::size_t header = server_header_bytes(size);
  std::byte* frame = kept.bytes.data() - header;
  write_server_header(frame, {.opcode = opcode_of(kind)}, size);
  if (stream_.send_foreign(kept, {frame, header + size})) return true;
  kept.release(kept);
  return refused(header + size);
}

bool Connection::fits_queue(std::size_t frame_bytes) const noexcept {
  return frame_bytes <= stream_.network().options().queued_bytes_max;
}

bool Connection::refused(std::size_t frame_bytes) {
  if (role_ == Role::client || state_ != State::open || !fits_queue(frame_bytes)) return false;
  ++endpoint_.counters_.slow_readers;
  close_now(CloseCode::policy_violation, "slow reader: limits.outgoing_queue_bytes_max reached");
  return false;
}

std::size_t Connection::write_control(std::span<std::byte> to, Opcode opcode,
                                      std::span<const std::byte> payload) noexcept {
  const FrameStart start{.opcode = opcode};
  if (role_ == Role::server) {
    const std::size_t header = write_server_header(to.data(), start, payload.size());
    if (!payload.empty()) std::memcpy(to.data() + header, payload.data(), payload.size());
    return header + payload.size();
  }
  const MaskKey key = endpoint_.next_mask_key();
  const std::size_t header = write_client_header(to.data(), start, payload.size(), key);
  copy_masked(payload, to.data() + header, key);
  return header + payload.size();
}

void Connection::ping(std::span<const std::byte> payload) {
  RT_ASSERT(payload.size() <= kControlPayloadBytesMax);
  if (state_ != State::open) return;
  std::array<std::byte, kControlFrameBytesMax> frame;
  const std::size_t bytes = write_control(frame, Opcode::ping, payload);
  stream_.send_control(net::ControlKind::ping, std::span{frame}.first(bytes));
}

}  // namespace corelane::ws
