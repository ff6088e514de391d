// How a Connection ends: our close frame, the wait for the peer's, and what is told above.

#include <array>
#include <utility>

#include "ws/close_log.hpp"
#include "ws/compression.hpp"
#include "ws/connection.hpp"
#include "ws/endpoint.hpp"

namespace corelane::ws {

void Connection::send_close_frame(CloseCode code, std::string_view reason, bool ahead) {
  std::array<std::byte, kControlPayloadBytesMax> payload;
  const std::size_t size = write_close_payload(payload, code, reason);
  std::array<std::byte, kControlFrameBytesMax> frame;
  const std::size_t bytes = write_control(frame, Opcode::close, std::span{payload}.first(size));
  if (ahead) {
    stream_.send_control(net::ControlKind::close, std::span{frame}.first(bytes));
  } else {
    stream_.send_last(std::span{frame}.first(bytes));
  }
}

void Connection::close(CloseCode code, std::string_view reason) {
  if (state_ != State::open) return;
  const bool is_ordinary = code == CloseCode::normal || code == CloseCode::going_away;
  if (role_ == Role::server && !is_ordinary) log_closed(stream_, code, reason);
  send_close_frame(code, reason, false);
  refuse(code);
  state_ = State::close_sent;
}

void Connection::close_now(CloseCode code, std::string_view reason) {
  if (state_ == State::refused || state_ == State::ended) return;
  if (role_ == Role::server) log_closed(stream_, code, reason);
  // After close() our frame is in the queue, behind what was promised before it.
  if (state_ == State::open) {
    stream_.drop_unsent();
    send_close_frame(code, reason, true);
  }
  refuse(code);
}

void Connection::fail(CloseCode code, std::string_view reason) {
  ++endpoint_.counters_.protocol_errors;
  if (role_ == Role::server) log_closed(stream_, code, reason);
  send_close_frame(code, reason, false);
  refuse(code);
  tell_closed(code, reason);
}

// Our close frame is in the queue. Nothing follows it, and of the peer only its answer is awaited.
void Connection::refuse(CloseCode code) noexcept {
  state_ = State::refused;
  close_code_ = code;
  stream_.seal();
  stream_.discard_input();
  // Ends a pause of reading: otherwise the peer's close frame cannot arrive.
  stream_.resume_receiving();
  stream_.set_timer(endpoint_.options_.close_timeout);
}

void Connection::tell_closed(CloseCode code, std::string_view reason) noexcept {
  if (told_closed_) return;
  told_closed_ = true;
  endpoint_.handler_.on_close(*this, code, reason);
}

// Ours is on its way: only the peer's close frame is of interest.
void Connection::skip(std::span<const std::byte> bytes) {
  if (state_ == State::ended) return;
  const SkipResult result = reader_.skip(bytes);
  if (result.status == SkipStatus::going_on) return;
  if (result.status == SkipStatus::lost) {
    stream_.close(endpoint_.options_.close_timeout);
  } else {
    if (state_ == State::close_sent) {
      const bool is_valid = result.close.fault == Breach::none;
      close_code_ = is_valid ? result.close.code : close_code_of(result.close.fault);
      tell_closed(close_code_, result.close.reason);
    }
    stream_.close(linger_of(bytes.size() - result.consumed));
  }
  state_ = State::ended;
}

// The time to wait for the end of the stream after the peer's close frame. A server ends it at
// once, unless the peer sent bytes behind that frame: a reset would then destroy our answer.
runtime::Nanoseconds Connection::linger_of(std::size_t bytes_behind) const noexcept {
  const bool ends_at_once = role_ == Role::server && bytes_behind == 0;
  return ends_at_once ? 0 : endpoint_.options_.close_timeout;
}

}  // namespace corelane::ws
