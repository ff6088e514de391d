#pragma once
// Connection: one open WebSocket on a net::Stream, in either role: messages in, messages out,
// pings, deadlines and the closing handshake. The layer above is a table of plain functions.
//
// Lives in its Endpoint's table, on the stream's core. A Connection& is valid during a callback and
// until on_close; keep a ConnectionId across anything that suspends, and look it up again. No
// function suspends or calls back.
//
// Closing (RFC 6455 section 7): close() sends our frame behind what is queued and waits for the
// peer's; a peer's close is answered; a breach is answered with its code and a reason. After a
// close frame of ours the peer's is waited for, and what comes before it is skipped (with low
// priority, net::Stream::discard_input): a peer that is still sending reads our frame only once it
// has sent. A peer that does not answer within close_timeout is cut off.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "net/stream.hpp"
#include "runtime/shared_bytes.hpp"
#include "runtime/task.hpp"
#include "runtime/types.hpp"
#include "ws/close_code.hpp"
#include "ws/deflate.hpp"
#include "ws/frame.hpp"
#include "ws/message_reader.hpp"

namespace corelane::ws {

class Connection;
class Endpoint;

struct ConnectionId {
  std::uint32_t slot = UINT32_MAX;
  std::uint32_t generation = 0;
  friend bool operator==(const ConnectionId&, const ConnectionId&) = default;
};

struct Handshake;
class Admission;

struct ConnectionHandler {
  // The handshake is done; on a server, its 101 is queued. May be null.
  void (*on_open)(Connection& connection, Handshake& handshake) noexcept;
  void (*on_message)(Connection& connection, Message& message) noexcept;
  // The last call, once, however it ended: the code of the peer's close frame; without one, ours if
  // we closed; else `abnormal`, the stream ended without either.
  void (*on_close)(Connection& connection, CloseCode code, std::string_view reason) noexcept;

  // --- On a server, about a sound handshake before it is answered (ws/admission.hpp). Without them
  // all are admitted. `context` is the endpoint's.

  // At once, without a coroutine or a copy of the request. May be null.
  Admission (*admit)(void* context, const Handshake& handshake) = nullptr;
  // May suspend, for EndpointOptions::admit_deadline. Asked if the one above is null, or leaves the
  // decision to it. It is cancelled when the client goes away, when its time is over (504), and
  // when the server drains (503). An exception from either is 500. May be null.
  runtime::Task<Admission> (*admit_later)(void* context, const Handshake& handshake) = nullptr;

  // Sending may go on: net::Stream::writable() was false, and less than half of the queue's limit
  // waits now. Or it never will: this side has given the peer up, and the connection is closing().
  // May be null.
  void (*on_writable)(Connection& connection) noexcept = nullptr;
};

class Connection {
 public:
  Connection(Endpoint& endpoint, net::Stream& stream, Role role, bool deflated) noexcept;
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  ConnectionId id() const noexcept { return id_; }
  Endpoint& endpoint() noexcept { return endpoint_; }
  net::Stream& stream() noexcept { return stream_; }
  // A pointer of the layer above, kept with the connection.
  void set_context(void* context) noexcept { context_ = context; }
  void* context() const noexcept { return context_; }

  // --- Sending. False: the outgoing queue would pass its limit (then the peer of a server is a
  // slow reader and is closed with 1008), or the message alone is larger than that limit (nothing
  // was sent, and the connection goes on: see fits_queue()), or the connection is closing.

  // Copies; compresses if that was negotiated and `payload` is not tiny.
  bool send(MessageKind kind, std::span<const std::byte> payload);
  // Room for a binary message of `bytes`, to be filled before the handler returns: header and, for
  // a client, nothing else is written yet, so this is for servers without compression only.
  std::byte* send_space(MessageKind kind, std::size_t bytes);
  // The same for a message of which only the first `head_bytes` are written there; the rest must
  // follow by stream().send_rest(), before anything else is sent.
  std::byte* send_head(MessageKind kind, std::size_t head_bytes, std::size_t bytes);
  // Whole frames that somebody has laid out already, in a server's form and uncompressed: published
  // messages. Holds a handle until sent. What stream().send_shared() takes need not come by here.
  bool send_frames(const runtime::SharedBytes& block, std::span<const std::byte> frames);
  // Sends the message of the current on_message call back to its peer, where possible framed in
  // place without a copy. Once for each message; the payload may be gone afterwards, also if false.
  bool echo(Message& message);
  bool is_deflated() const noexcept { return compression_ != nullptr; }
  // True if a frame of this size, header included, fits in an empty outgoing queue. A larger frame
  // can never be sent.
  bool fits_queue(std::size_t frame_bytes) const noexcept;

  void ping(std::span<const std::byte> payload);
  // Starts the closing handshake. `reason`: UTF-8, cut to 123 bytes.
  void close(CloseCode code, std::string_view reason = {});
  // Throws away what is queued, tells the code ahead of everything and cuts the stream off after
  // close_timeout: for peers that do not read, or that must go now. After close() the frame of that
  // stands, and what was queued before it is not thrown away.
  void close_now(CloseCode code, std::string_view reason);
  bool closing() const noexcept { return state_ != State::open; }

  // For a layer above that has enough: nothing is received while it is held, nor, by a server,
  // while the peer does not read what is sent. A pause ends only when both reasons have ended.
  // During it no pong is missed, and the deadline of an unfinished message starts again behind it.
  void hold_receiving(bool held) noexcept;

 private:
  friend class Endpoint;
  friend struct ReceiveContext;

  enum class State : std::uint8_t {
    open,
    close_sent,  // close(): waiting for the peer's close frame, whose code on_close tells
    refused,     // close_now(), a breach: the same, but on_close tells our code
    ended,       // both were exchanged, or nothing can be: only the stream's end is left
  };
  struct Compression;

  // The stream's side.
  static void on_data(net::Stream& stream, const net::Received& received) noexcept;
  static void on_end(net::Stream& stream) noexcept;
  static void on_closed(net::Stream& stream, runtime::Error why) noexcept;
  static void on_timer(net::Stream& stream) noexcept;
  static void on_writable(net::Stream& stream) noexcept;
  static void on_stalled(net::Stream& stream) noexcept;
  static void on_memory_short(net::Stream& stream, std::string_view why) noexcept;
  static void add_held(const net::Stream& stream, net::HeldMemory& held) noexcept;
  static const net::StreamHandler kStreamHandler;

  // The reader's side, by way of a ReceiveContext.
  bool on_message(Message& message);
  [[gnu::cold]] void refuse_kind();
  bool on_ping(std::span<const std::byte> payload);
  bool on_close(CloseCode code, std::string_view reason);
  Inflater& inflater();

  void consume(const net::Received& received);
  void skip(std::span<const std::byte> bytes);
  void tick();
  void start_timer() noexcept;
  void watch_unfinished() noexcept;
  // A server's answers are bounded so. A client that waited like this for a server that echoes
  // would wait for ever: each for the other.
  bool waits_for_peer() const noexcept { return role_ == Role::server && !stream_.writable(); }
  void go_on_receiving() noexcept;
  void give_up(CloseCode code, std::string_view reason);
  bool echo_in_place(Message& message, ReceiveContext& context);
  bool echo_owned(Message& message);
  bool send_deflated(MessageKind kind, std::span<const std::byte> payload);
  bool refused(std::size_t frame_bytes);
  void send_close_frame(CloseCode code, std::string_view reason, bool ahead);
  void fail(CloseCode code, std::string_view reason);
  void refuse(CloseCode code) noexcept;
  runtime::Nanoseconds linger_of(std::size_t bytes_behind) const noexcept;
  void tell_closed(CloseCode code, std::string_view reason) noexcept;
  std::size_t write_control(std::span<std::byte> to, Opcode opcode,
                            std::span<const std::byte> payload) noexcept;

  Endpoint& endpoint_;
  net::Stream& stream_;
  void* context_ = nullptr;
  std::unique_ptr<Compression> compression_;
  [[no_unique_address]] MessageReader reader_;  // what follows may lie in its padding
  State state_ : 2 = State::open;
  Role role_ : 1;
  bool active_ : 1 = false;  // something came since the last tick
  bool awaiting_pong_ : 1 = false;
  bool told_closed_ : 1 = false;
  bool looked_ : 1 = false;  // a deadline seems to be missed: net::Stream::look_again()
  bool held_ : 1 = false;    // hold_receiving()
  CloseCode close_code_ = CloseCode::abnormal;  // what on_close will say
  std::uint16_t pings_in_second_ = 0;
  std::uint16_t ping_second_ = 0;
  std::uint32_t unfinished_since_ = 0;  // in the endpoint's ticks; 0: nothing is unfinished
  ConnectionId id_;
};
// What an idle connection costs here, beside its Stream: 4 pointers, the reader 11, its name 8, the
// rest 13. Messages in the making and compression are elsewhere, and only while there are any.
static_assert(sizeof(Connection) == 64);

}  // namespace corelane::ws
