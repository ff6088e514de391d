#pragma once
// The incoming side of one WebSocket connection, as a pure codec: bytes of the stream in, messages
// and control frames out, to a sink. One reader a connection, used by the core that owns it. It
// does no I/O and never suspends, and the sink is called inside consume().
//
// Memory: while nothing is unfinished a reader is 16 bytes and owns nothing. In the middle of a
// frame or of a fragmented message it holds one Partial from a list of its thread and the bytes
// that arrived so far; never memory for bytes that were only announced.
//
// A whole unfragmented message that lies in the caller's bytes is unmasked and handed over where it
// lies; any other is joined once in an OwnedBytes:
//
//   in place:  [ header + key ][ payload ]...     header_room = bytes of header and key
//   joined:    [ room ][ payload ]                header_room = OwnedBytes::kRoomBytes
//
// so that a server's header for a payload of the same size always fits in front of it.
//
// A sink has these functions; each returns false to stop consuming after this event:
//   bool on_message(ws::Message);                           may also take Message&&
//   bool on_ping(std::span<const std::byte> payload);       at most 125 bytes, a loan
//   bool on_pong(std::span<const std::byte> payload);
//   bool on_close(ws::CloseCode, std::string_view reason);  no_status if the peer gave no code
//   ws::Inflater& inflater();                               only if compression was negotiated
//   std::byte* landing();                                   optional: where the next frame moves to
//
// If a sink has landing(), a payload that would stay in place is unmasked to the returned address
// instead, behind room for a server's header. The address is below the frame, in the caller's
// bytes. Null: no move.
//
// After our own close frame, sent for any reason, further bytes go to skip(). It looks for the
// peer's close frame only and keeps nothing else.
//
// A sink may neither call consume() on nor destroy the reader that is calling it.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "runtime/assert.hpp"
#include "runtime/types.hpp"
#include "ws/breach.hpp"
#include "ws/close_code.hpp"
#include "ws/frame.hpp"
#include "ws/mask.hpp"
#include "ws/owned_bytes.hpp"
#include "ws/utf8.hpp"

namespace corelane::ws {

class Connection;
class Inflater;
struct ReceiveContext;

// Shared by all connections of an endpoint. Breaches close with 1009, at the frame header that
// shows them, before any memory is spent.
struct ReaderLimits {
  std::size_t message_bytes_max = std::size_t{1} << 20;  // after inflation, too
  std::uint32_t fragments_max = 1024;  // frames a message, empty ones included; at least 1
};

enum class MessageKind : std::uint8_t { text = 1, binary = 2 };

// A whole message, a loan until on_message() returns unless its bytes are taken.
class Message {
 public:
  Message() noexcept = default;
  Message(MessageKind kind, std::span<std::byte> payload, std::size_t header_room,
          OwnedBytes* joined) noexcept
      : payload_(payload),
        joined_(joined),
        header_room_(static_cast<std::uint32_t>(header_room)),
        kind_(kind) {}

  MessageKind kind() const noexcept { return kind_; }
  // Unmasked, inflated and, if it is text, valid UTF-8. May be overwritten.
  std::span<std::byte> payload() const noexcept { return payload_; }
  std::string_view text() const noexcept {
    return {reinterpret_cast<const char*>(payload_.data()), payload_.size()};
  }
  // The number of bytes directly before the payload that may be overwritten.
  std::size_t header_room() const noexcept { return header_room_; }

  // True if the bytes lie in memory that can be kept without copying.
  bool is_owned() const noexcept { return joined_ != nullptr; }
  // Gives the payload to the caller for good: moved if is_owned(), else copied out of the receive
  // buffer. payload() is empty afterwards.
  OwnedBytes take_or_copy() {
    const std::span<std::byte> taken = std::exchange(payload_, {});
    if (joined_ == nullptr) return OwnedBytes::copy_of(taken);
    return std::move(*std::exchange(joined_, nullptr));
  }

 private:
  friend class Connection;
  friend struct ReceiveContext;

  std::span<std::byte> payload_;
  OwnedBytes* joined_ = nullptr;
  // For Connection: the receive that holds the message; null for a separate message. It is here
  // because an idle connection has no room for it.
  ReceiveContext* context_ = nullptr;
  std::uint32_t header_room_ = 0;
  MessageKind kind_ = MessageKind::binary;
};

enum class ReadStatus : std::uint8_t {
  drained,  // all bytes were consumed; more are welcome
  paused,   // the sink said stop; the rest is to be given again
  closed,   // the peer's close frame was seen; what follows it is not looked at
  failed,   // the connection is to be failed with `code`; what follows is for skip()
};

struct ReadResult {
  ReadStatus status = ReadStatus::drained;
  CloseCode code = CloseCode::normal;  // if failed: 1002, 1007 or 1009
  Breach breach = Breach::none;        // if failed
  std::size_t consumed = 0;            // all of the bytes if drained
};

enum class SkipStatus : std::uint8_t {
  going_on,  // no close frame so far
  closed,    // the peer's close frame was seen
  lost,      // no frame begins where one has to
};

struct SkipResult {
  SkipStatus status = SkipStatus::going_on;
  ClosePayload close = {};   // if closed; lies in the reader until the next call
  std::size_t consumed = 0;  // all of the bytes unless closed
};

class MessageReader {
 public:
  explicit MessageReader(Role role, bool deflate_negotiated = false) noexcept
      : role_(role), rsv1_negotiated_(deflate_negotiated) {}
  MessageReader(MessageReader&& other) noexcept
      : partial_(std::exchange(other.partial_, nullptr)),
        role_(other.role_),
        rsv1_negotiated_(other.rsv1_negotiated_),
        is_done_(other.is_done_) {}
  MessageReader& operator=(MessageReader&&) = delete;
  ~MessageReader() {
    if (partial_ != nullptr) release_partial();
  }

  // Takes the next bytes of the stream, which may be overwritten: payloads are unmasked in place.
  // After `closed`, `failed` or skip() it takes nothing and returns `closed`.
  template <class Sink>
  ReadResult consume(std::span<std::byte> bytes, const ReaderLimits& limits, Sink& sink);

  // The same after our close frame: takes the bytes behind those consumed.
  SkipResult skip(std::span<const std::byte> bytes) noexcept;

  // In the middle of a frame or of a fragmented message: the connection runs a deadline.
  bool unfinished() const noexcept;
  // Memory held for an unfinished message.
  std::size_t unfinished_bytes() const noexcept;
  // When that memory last grew.
  runtime::Nanoseconds unfinished_at() const noexcept;
  // Frees that memory; after our close frame, as skip().
  void drop_unfinished() noexcept { skip({}); }
  // Payload bytes of the current frame that have not arrived. 0 between frames and inside a header.
  // A connection passes it to net::Stream::end_receives_at().
  std::uint64_t bytes_missing() const noexcept;
  // The size, header included, of the frame that `next` continues or begins; 0 if its header is
  // incomplete.
  std::uint64_t frame_bytes(std::span<const std::byte> next) const noexcept;

 private:
  struct Partial;
  enum class EventKind : std::uint8_t { none, message, compressed, ping, pong, close, fault };
  struct Event {
    EventKind kind = EventKind::none;
    MessageKind message_kind = MessageKind::binary;
    Breach fault = Breach::none;
    std::uint32_t header_room = 0;
    std::span<std::byte> payload;  // of a message or control frame
    OwnedBytes* joined = nullptr;  // what the payload lies in, if not the caller's bytes
    std::size_t consumed = 0;
  };

  static void set_fault(Event& event, Breach breach) noexcept;
  bool take_whole_frame(std::span<std::byte> bytes, std::byte* landing, const ReaderLimits& limits,
                        Event& event) noexcept;
  void take_pieces(std::span<std::byte> bytes, const ReaderLimits& limits, Event& event);
  std::size_t take_header(std::span<std::byte> bytes, const ReaderLimits& limits, Event& event);
  std::size_t take_payload(std::span<std::byte> bytes, Event& event);
  void begin_frame(const ReaderLimits& limits, Event& event) noexcept;
  void finish_message(Event& event) noexcept;
  static void control_event(Opcode opcode, std::span<std::byte> payload, Event& event) noexcept;
  static void inflate_message(Inflater& inflater, const ReaderLimits& limits, Event& event);
  void after_event(const Event& event) noexcept;
  std::size_t skip_header(std::span<const std::byte> bytes, SkipResult& result) noexcept;
  std::size_t skip_payload(std::span<const std::byte> bytes, SkipResult& result) noexcept;
  void release_partial() noexcept;
  FrameRules rules() const noexcept;
  FrameRules idle_rules() const noexcept {
    return {.receiver = role_, .rsv1_negotiated = rsv1_negotiated_};
  }

  template <class Sink>
  bool dispatch(Event& event, const ReaderLimits& limits, Sink& sink);
  template <class Sink>
  bool dispatch_close(Event& event, Sink& sink);

  Partial* partial_ = nullptr;  // not null: in the middle of something
  Role role_;
  bool rsv1_negotiated_;
  bool is_done_ = false;  // closed or failed, or skipping
};
static_assert(sizeof(MessageReader) <= 16, "an idle connection's budget counts on it");

// The common case, inline: a whole frame at the front of `bytes`, nothing before it unfinished.
// False leaves `bytes` untouched, and take_pieces() decides what they are. A payload lands behind
// room for a server's header from `landing` on (below the frame), or stays where it lies if that is
// null.
inline bool MessageReader::take_whole_frame(std::span<std::byte> bytes, std::byte* landing,
                                            const ReaderLimits& limits, Event& event) noexcept {
  FrameHeader header;
  if (parse_frame_header(bytes, idle_rules(), header) != HeaderStatus::complete) return false;
  const std::size_t room = bytes.size() - header.header_bytes;
  if (header.payload_bytes > room || !header.is_final) return false;
  const bool is_data = !is_control(header.opcode);
  if (is_data && header.payload_bytes > limits.message_bytes_max) [[unlikely]]
    return false;
  const auto size = static_cast<std::size_t>(header.payload_bytes);
  std::span<std::byte> payload = bytes.subspan(header.header_bytes, size);
  std::size_t header_room = header.header_bytes;
  event.consumed = header.header_bytes + size;
  if (role_ == Role::server) {
    std::byte* to = payload.data();
    if (landing != nullptr) {
      header_room -= sizeof(MaskKey);
      to = landing + header_room;
    }
    copy_masked(payload, to, header.mask_key);
    payload = {to, size};
  }
  if (!is_data) [[unlikely]] {
    control_event(header.opcode, payload, event);
    return true;
  }
  event.payload = payload;
  event.header_room = static_cast<std::uint32_t>(header_room);
  event.message_kind = static_cast<MessageKind>(header.opcode);
  event.kind = header.rsv1 ? EventKind::compressed : EventKind::message;
  if (header.opcode == Opcode::text && !header.rsv1 && !is_valid_utf8(payload)) [[unlikely]] {
    set_fault(event, Breach::text);
  }
  return true;
}

template <class Sink>
ReadResult MessageReader::consume(std::span<std::byte> bytes, const ReaderLimits& limits,
                                  Sink& sink) {
  if (is_done_) [[unlikely]]
    return {.status = ReadStatus::closed};
  std::size_t at = 0;
  while (at < bytes.size()) {
    Event event;
    const std::span<std::byte> rest = bytes.subspan(at);
    std::byte* landing = nullptr;
    if constexpr (requires { sink.landing(); }) landing = sink.landing();
    if (partial_ != nullptr || !take_whole_frame(rest, landing, limits, event)) {
      take_pieces(rest, limits, event);
    }
    at += event.consumed;
    const bool go_on = dispatch(event, limits, sink);
    if (event.kind == EventKind::fault) [[unlikely]] {
      return {.status = ReadStatus::failed,
              .code = close_code_of(event.fault),
              .breach = event.fault,
              .consumed = at};
    }
    if (is_done_) [[unlikely]]
      return {.status = ReadStatus::closed, .consumed = at};
    if (!go_on) return {.status = ReadStatus::paused, .consumed = at};
  }
  return {.status = ReadStatus::drained, .consumed = at};
}

// Calls the sink. May turn the event into a fault. Returns what the sink returned.
template <class Sink>
bool MessageReader::dispatch(Event& event, const ReaderLimits& limits, Sink& sink) {
  bool go_on = true;
  if (event.kind == EventKind::compressed) [[unlikely]] {
    if constexpr (requires { sink.inflater(); }) {
      inflate_message(sink.inflater(), limits, event);
    } else {
      RT_ASSERT(event.kind != EventKind::compressed);  // the sink has no inflater()
    }
  }
  switch (event.kind) {
    [[likely]] case EventKind::message:
      go_on = sink.on_message(
          Message{event.message_kind, event.payload, event.header_room, event.joined});
      break;
    case EventKind::ping:
      go_on = sink.on_ping(std::span<const std::byte>{event.payload});
      break;
    case EventKind::pong:
      go_on = sink.on_pong(std::span<const std::byte>{event.payload});
      break;
    case EventKind::close:
      go_on = dispatch_close(event, sink);
      break;
    case EventKind::none:
    case EventKind::compressed:
    case EventKind::fault:
      break;
  }
  if (partial_ != nullptr || event.joined != nullptr || event.kind == EventKind::fault)
    after_event(event);
  return go_on;
}

template <class Sink>
bool MessageReader::dispatch_close(Event& event, Sink& sink) {
  const ClosePayload close = parse_close_payload(event.payload);
  if (close.fault != Breach::none) {
    set_fault(event, close.fault);
    return true;
  }
  is_done_ = true;
  return sink.on_close(close.code, close.reason);
}

}  // namespace corelane::ws
