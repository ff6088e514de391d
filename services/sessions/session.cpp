#include "services/sessions/session.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "net/network.hpp"
#include "services/sessions/connection_log.hpp"
#include "services/sessions/sessions.hpp"
#include "ws/frame.hpp"

namespace corelane::services {
namespace {

// UUID version 8 (RFC 9562: free to use), variant 10.
//   bytes 0-3 slot | 4-5 core | 6 version and 4 bits of generation | 7 generation | 8-15 secret
constexpr std::uint8_t kVersion = 0x80;
constexpr std::uint8_t kVariant = 0x80;
constexpr std::uint32_t kGenerationMask = 0xfff;

void store_big_endian(std::uint8_t* to, std::uint64_t value) noexcept {
  value = __builtin_bswap64(value);
  std::memcpy(to, &value, sizeof value);
}

std::uint64_t load_big_endian(const std::uint8_t* from) noexcept {
  std::uint64_t value;
  std::memcpy(&value, from, sizeof value);
  return __builtin_bswap64(value);
}

constexpr std::size_t kCopiedBytesMax = 4096;  // of an event over TCP
constexpr std::size_t kErrorTextBytesMax = 4096;

// The longest beginning of at most `bytes_max` bytes that ends between two characters of UTF-8.
std::string_view cut(std::string_view text, std::size_t bytes_max) noexcept {
  if (text.size() <= bytes_max) return text;
  while (bytes_max > 0 && (text[bytes_max] & 0xc0) == 0x80) --bytes_max;
  return text.substr(0, bytes_max);
}

}  // namespace

SessionExtension::SessionExtension() = default;
SessionExtension::~SessionExtension() = default;

protocol::Transport Session::transport() const noexcept {
  switch (base()) {
    case Wire::websocket:
    case Wire::deflated:
      break;
    case Wire::tcp:
      return protocol::Transport::tcp;
    case Wire::unix_stream:
      return protocol::Transport::unix_stream;
  }
  return protocol::Transport::websocket;
}

protocol::Uuid Session::uuid() const noexcept {
  const std::uint64_t named = std::uint64_t{slot_} << 32 | std::uint64_t{core_} << 16 |
                              std::uint64_t{kVersion} << 8 | (generation_ & kGenerationMask);
  protocol::Uuid uuid;
  store_big_endian(uuid.data, named);
  store_big_endian(uuid.data + 8, secret_);
  return uuid;
}

Sessions::Named Sessions::parse(const protocol::Uuid& uuid, runtime::CoreId cores) noexcept {
  const std::uint64_t named = load_big_endian(uuid.data);
  Named result;
  result.id.slot = static_cast<std::uint32_t>(named >> 32);
  result.id.core = static_cast<runtime::CoreId>(named >> 16);
  result.id.generation = static_cast<std::uint32_t>(named) & kGenerationMask;
  result.secret = load_big_endian(uuid.data + 8);
  result.valid = (uuid.data[6] & 0xf0) == kVersion && (uuid.data[8] & 0xc0) == kVariant &&
                 result.id.core < cores;
  return result;
}

std::byte* Session::indirect_space(std::size_t bytes) {
  if (is_counted()) {
    count_sent(0, bytes);
    if (base() == Wire::websocket) {
      return connection_->send_space(ws::MessageKind::binary, bytes);
    }
  }
  // A peer that negotiated compression gets its frame from the scratch buffer, see send_deflated().
  if (connection_ != nullptr) return Sessions::local().scratch(bytes);
  std::byte* space = stream_->send_space(bytes);
  if (space == nullptr && bytes <= queue_bytes_max()) slow_reader();
  return space;
}

bool Session::send_deflated(const std::byte* space, std::size_t bytes) {
  return connection_->send(ws::MessageKind::binary, {space, bytes});
}

std::byte* Session::split_space(std::size_t head_bytes, std::size_t bytes) {
  if (base() == Wire::deflated) return indirect_space(bytes);
  if (is_counted()) count_sent(0, bytes);
  if (connection_ != nullptr) {
    return connection_->send_head(ws::MessageKind::binary, head_bytes, bytes);
  }
  std::byte* space = stream_->send_head(head_bytes, bytes - head_bytes);
  if (space == nullptr && bytes <= queue_bytes_max()) slow_reader();
  return space;
}

bool Session::end_split(std::byte* space, std::size_t head_bytes, const runtime::SharedBytes& block,
                        std::span<const std::byte> tail) {
  if (base() == Wire::deflated) {
    std::memcpy(space + head_bytes, tail.data(), tail.size());
    return send_deflated(space, head_bytes + tail.size());
  }
  stream_->send_rest(block, tail);
  return true;
}

std::size_t Session::queue_bytes_max() const noexcept {
  return stream_->network().options().queued_bytes_max;
}

// Returns false. If the session is still open, it is not slow: the frame alone is too large.
bool Session::cannot_send(const protocol::Uuid& transaction_id, protocol::Opcode opcode,
                          std::size_t bytes) {
  if (closing() || opcode == protocol::Opcode::Error) return false;
  send_error(
      transaction_id, opcode, protocol::ErrorCode::payload_too_large,
      fmt::format("the answer of {} bytes is larger than limits.outgoing_queue_bytes_max", bytes));
  return false;
}

bool Session::send_error(const protocol::Uuid& transaction_id, protocol::Opcode failed,
                         protocol::ErrorCode code, std::string_view text,
                         std::uint32_t retry_after_ms) {
  text = cut(text, kErrorTextBytesMax);
  log_error(*stream_, code, text);
  Traffic::local().count_error(code);
  const protocol::ErrorBody body{
      .code = code, .text = text, .failed_opcode = failed, .retry_after_ms = retry_after_ms};
  return reply(transaction_id, body);
}

bool Session::send_run_slowly(const EventRun& run) {
  if (!is_counted()) return send_run_uncounted(run);
  if (!send_run_uncounted(run)) return false;
  count_sent(std::max(run.events, 1u), run.bytes.size());  // a broadcast is a run without a count
  return true;
}

bool Session::send_run_uncounted(const EventRun& run) {
  if (base() != Wire::websocket) return send_run_unframed(run);
  return connection_->send_frames(run.block, run.bytes);
}

// --- Quotas

void Session::set_counts_sent(bool counts) noexcept {
  set_wire_bit(kCountsSent, counts);
}

void Session::count_sent(std::uint32_t deliveries, std::size_t bytes) noexcept {
  if ((static_cast<std::uint8_t>(wire_) & kLogged) != 0) extension_->sent_bytes += bytes;
  if (!counts_sent()) return;
  const Sessions::QuotaFunctions& quota = Sessions::local().quota();
  if (quota.sent != nullptr) quota.sent(*this, deliveries, bytes);
}

void Session::hold_receiving(bool held) noexcept {
  SessionExtension& extension = extend();
  extension.is_held = held;
  if (connection_ != nullptr) return connection_->hold_receiving(held);
  extension.was_held = true;
  if (held) {
    stream_->pause_receiving();
  } else if (stream_->writable()) {
    stream_->resume_receiving();  // otherwise once it is (TcpSessions)
  }
}

std::span<const std::byte> take_event(std::span<const std::byte>& run) noexcept {
  ws::FrameHeader header;
  const auto status = ws::parse_frame_header(run, {.receiver = ws::Role::client}, header);
  RT_ASSERT(status == ws::HeaderStatus::complete);
  const auto event = run.subspan(header.header_bytes, header.payload_bytes);
  run = run.subspan(header.header_bytes + event.size());
  return event;
}

// For TCP, and for compression. Small ones are gathered by copying, which costs less than a handle
// each, as far as they fit.
bool Session::send_run_unframed(const EventRun& run) {
  std::span<const std::byte> rest = run.bytes;
  while (!rest.empty()) {
    const auto frame = take_event(rest);
    if (connection_ != nullptr) {
      if (!connection_->send(ws::MessageKind::binary, frame)) return false;
    } else if (!(frame.size() < kCopiedBytesMax && stream_->send_copy(frame)) &&
               !stream_->send_shared(run.block, frame)) {
      return slow_reader();
    }
  }
  return true;
}

// TCP's side of what ws::Connection does for WebSocket: the limit of the queue was reached.
bool Session::slow_reader() {
  if (stream_->closing()) return false;
  ++Sessions::local().counters().slow_readers;
  end_at_once(protocol::ErrorCode::slow_reader,
              "slow reader: limits.outgoing_queue_bytes_max reached");
  return false;
}

void Session::end_at_once(protocol::ErrorCode code, std::string_view text) {
  stream_->drop_unsent();
  end_stream(code, text, Sessions::local().close_timeout());
}

// TCP has no close codes: the last frame says why, whatever room the queue has.
void Session::end_stream(protocol::ErrorCode code, std::string_view text,
                         runtime::Nanoseconds linger) {
  log_error(*stream_, code, text);
  Traffic::local().count_end(code);
  if (extension_ != nullptr && extension_->record != nullptr) extension_->record->end = code;
  const protocol::ErrorBody body{
      .code = code, .text = text, .failed_opcode = protocol::Opcode::None, .retry_after_ms = 0};
  std::byte frame[256];
  const std::size_t bytes =
      protocol::write_frame(frame, {.timestamp = runtime::Core::current().wall_now()}, body);
  RT_ASSERT(bytes > 0);
  stream_->send_last(std::span{frame}.first(bytes));
  stream_->close(linger);
}

void Session::answered() noexcept {
  RT_ASSERT(answers_awaited_ > 0);
  if (--answers_awaited_ > 0 || extension_ == nullptr) return;
  if (extension_->closes_when_answered) stream_->close(0);
}

void Session::close_when_answered() noexcept {
  extend().closes_when_answered = true;
  if (answers_awaited_ == 0) stream_->close(0);
}

void Session::close(ws::CloseCode code, std::string_view reason) {
  close(code, reason, Sessions::local().close_timeout());
}

void Session::close(ws::CloseCode code, std::string_view reason, runtime::Nanoseconds linger) {
  if (connection_ != nullptr) {
    connection_->close(code, reason);
  } else if (stream_->closing()) {
    return;
  } else if (code == ws::CloseCode::going_away) {
    end_stream(protocol::ErrorCode::draining, reason, linger);
  } else {
    stream_->close(linger);
  }
}

}  // namespace corelane::services
