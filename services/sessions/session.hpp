#pragma once
// Session: one client of the opcode protocol, over WebSocket or plain TCP, on the core that
// accepted it. It is where replies and events go; it knows nothing of what they mean. Stable
// address in its core's table (services/sessions/sessions.hpp) until it ends; across a suspension
// keep its id.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "net/stream.hpp"
#include "protocol/message.hpp"
#include "protocol/opcode.hpp"
#include "protocol/uuid.hpp"
#include "runtime/core.hpp"
#include "runtime/shared_bytes.hpp"
#include "runtime/types.hpp"
#include "services/metrics/traffic.hpp"
#include "services/sessions/subscriber.hpp"
#include "ws/connection.hpp"

namespace corelane::services {

// Names a session inside the process.
struct SessionId {
  runtime::CoreId core = runtime::kNoCore;
  std::uint32_t slot = UINT32_MAX;
  std::uint32_t generation = 0;
  friend bool operator==(const SessionId&, const SessionId&) = default;
};

// What a session may ask for before its quotas are looked at (services/quota). The time is of
// Core::now(), bytes are those of messages without their sizes.
struct QuotaCredit {
  runtime::Nanoseconds until = INT64_MAX;
  std::int64_t requests = INT64_MAX;
  std::int64_t bytes_in = INT64_MAX;

  static constexpr QuotaCredit none() noexcept {
    return {.until = INT64_MIN, .requests = 0, .bytes_in = 0};
  }
  // False: there was too little; the count is below 0 then. Without a sign the compiler subtracts
  // in memory: one instruction in place of four.
  static bool take(std::int64_t& count, std::uint64_t amount) noexcept {
    count = static_cast<std::int64_t>(static_cast<std::uint64_t>(count) - amount);
    return count >= 0;
  }
  // What a request of `bytes` that was refused has taken.
  void restore(std::size_t bytes) noexcept {
    if (bytes_in < 0)
      bytes_in += static_cast<std::int64_t>(bytes);
    else if (requests >= 0)
      return;
    ++requests;
  }
};

class SessionQuota;       // services/quota
struct ConnectionRecord;  // services/sessions/connection_log.hpp

// State that few sessions need: made at first use, destroyed with the session.
struct SessionExtension {
  SessionExtension();
  ~SessionExtension();
  SessionExtension(const SessionExtension&) = delete;
  SessionExtension& operator=(const SessionExtension&) = delete;

  QuotaCredit* credit = &unlimited;
  SessionQuota* quota = nullptr;  // null: no quota was ever set for it
  QuotaCredit unlimited{};
  std::uint32_t handlers_running = 0;  // coroutines of handlers that serve it (services/dispatch)
  bool closes_when_answered = false;   // its client has ended its direction
  bool is_held = false;                // hold_receiving()
  bool was_held = false;               // since the last look: take_was_held()
  // Frames; of a session that is logged alone.
  std::uint64_t received_bytes = 0;
  std::uint64_t sent_bytes = 0;
  std::unique_ptr<ConnectionRecord> record;  // of a session that is logged
};

class Session : public Subscriber {
 public:
  Session(ws::Connection& connection) noexcept
      : Subscriber(Kind::session),
        wire_(connection.is_deflated() ? Wire::deflated : Wire::websocket),
        stream_(&connection.stream()),
        connection_(&connection) {}
  Session(net::Stream& stream, protocol::Transport transport) noexcept
      : Subscriber(Kind::session),
        wire_(transport == protocol::Transport::tcp ? Wire::tcp : Wire::unix_stream),
        stream_(&stream) {}

  SessionId id() const noexcept {
    return {.core = core_, .slot = slot_, .generation = generation_};
  }
  // How clients name it: not to be guessed, and never used again.
  protocol::Uuid uuid() const noexcept;
  protocol::Transport transport() const noexcept;
  net::Stream& stream() noexcept { return *stream_; }
  // From its close on nothing it sends takes effect.
  bool closing() const noexcept {
    return connection_ != nullptr ? connection_->closing() : stream_->closing();
  }

  // Writes one frame. False: the session is closing, or was closed as a slow reader just now; or
  // the frame is larger than its whole queue, and it was sent Error payload_too_large instead,
  // under the same transaction id.
  template <class Body>
  bool send(const protocol::MessageHeader& header, const Body& body) {
    return send(header, body, protocol::frame_bytes(header, body));
  }
  // The same for a caller that knows protocol::frame_bytes(header, body) already.
  template <class Body>
  bool send(const protocol::MessageHeader& header, const Body& body, std::size_t bytes) {
    std::byte* space = frame_space(bytes);
    if (space == nullptr) [[unlikely]]
      return cannot_send(header.transaction_id, body.kOpcode, bytes);
    protocol::lay_frame({space, bytes}, header, body);
    if (end_frame(space, bytes)) [[likely]] {
      count_frame(header.transaction_id, body.kOpcode, bytes);
      return true;
    }
    return cannot_send(header.transaction_id, body.kOpcode, bytes);
  }
  // Sends `body` under the transaction id of the request that it answers.
  template <class Body>
  bool reply(const protocol::Uuid& transaction_id, const Body& body) {
    return send(
        {.transaction_id = transaction_id, .timestamp = runtime::Core::current().wall_now()}, body);
  }
  // Writes one frame of which only the first `head_bytes` are made for this session, by
  // write_head(span); the rest is `tail`, a part of `block` that is shared until it has been sent.
  // Results as of send().
  template <class WriteHead>
  bool send_split(const protocol::Uuid& transaction_id, protocol::Opcode opcode,
                  std::size_t head_bytes, const runtime::SharedBytes& block,
                  std::span<const std::byte> tail, const WriteHead& write_head) {
    const std::size_t bytes = head_bytes + tail.size();
    std::byte* space = split_space(head_bytes, bytes);
    if (space == nullptr) [[unlikely]]
      return cannot_send(transaction_id, opcode, bytes);
    write_head(std::span{space, head_bytes});
    if (end_split(space, head_bytes, block, tail)) [[likely]] {
      count_frame(transaction_id, opcode, bytes);
      return true;
    }
    return cannot_send(transaction_id, opcode, bytes);
  }
  // `text` is cut to 4 KiB.
  bool send_error(const protocol::Uuid& transaction_id, protocol::Opcode failed,
                  protocol::ErrorCode code, std::string_view text,
                  std::uint32_t retry_after_ms = 0);
  // Events: on WebSocket the run as it is, shared and not copied; otherwise the frames are taken
  // out.
  bool send_run(const EventRun& run) {
    // Does not touch the connection, which is not in the cache during a fan-out.
    if (wire_ == Wire::websocket && stream_->send_shared(run.block, run.bytes)) [[likely]]
      return true;
    return send_run_slowly(run);
  }
  // For walks over many: asks for the memory that send_run() needs, the session's must be there.
  void prefetch_send() const noexcept { __builtin_prefetch(stream_, 1); }

  // --- Quotas (services/quota)
  // Takes one request of `bytes` from the credit: 12 instructions. False: ask the quotas, which
  // restore() the credit.
  bool spend(std::size_t bytes, runtime::Nanoseconds now) noexcept {
    if (extension_ == nullptr) [[likely]]
      return true;
    QuotaCredit& credit = *extension_->credit;
    if (now >= credit.until) return false;
    return QuotaCredit::take(credit.requests, 1) && QuotaCredit::take(credit.bytes_in, bytes);
  }
  // From now on the quotas are told what is sent to the client, or not any more.
  void set_counts_sent(bool counts) noexcept;
  // A message that nobody asked for was sent by send(): an Event is counted by send_run().
  void count_delivery() noexcept {
    if (counts_sent()) [[unlikely]]
      count_sent(1, 0);
  }
  // Nothing is received while it is held. Deadlines of unfinished messages begin again behind it.
  void hold_receiving(bool held) noexcept;
  bool is_held() const noexcept { return extension_ != nullptr && extension_->is_held; }
  // Whether it was held since the last call.
  bool take_was_held() noexcept {
    return extension_ != nullptr && std::exchange(extension_->was_held, false);
  }

  // Ends the session. WebSocket: with the close code. TCP: by the end of the stream, behind an
  // Error if the server goes away; the client has the close timeout, or `linger`, to read the Error
  // and to end its direction.
  void close(ws::CloseCode code, std::string_view reason);
  void close(ws::CloseCode code, std::string_view reason, runtime::Nanoseconds linger);

  // TCP: throws away what is queued, and says why.
  void end_at_once(protocol::ErrorCode code, std::string_view text);

  // Answers that are still on their way, from other cores or from handlers that run: each request
  // that will be answered later is counted until then.
  void expect_answer() noexcept { ++answers_awaited_; }
  std::uint32_t answers_awaited() const noexcept { return answers_awaited_; }
  void answered() noexcept;
  // The client has ended its direction: the session is closed once it has all its answers.
  void close_when_answered() noexcept;

  // Null if it needs none.
  SessionExtension* extension() noexcept { return extension_.get(); }
  SessionExtension& extend() {
    if (extension_ == nullptr) extension_ = std::make_unique<SessionExtension>();
    return *extension_;
  }

 private:
  friend class Sessions;
  friend class ConnectionLog;

  // WebSocket without compression: frames go to the stream as they are. Either bit takes all that
  // is sent off that short way, to be counted: the other sessions pay nothing for it.
  enum class Wire : std::uint8_t { websocket, deflated, tcp, unix_stream };
  static constexpr std::uint8_t kKinds = 3;
  static constexpr std::uint8_t kCountsSent = 4;  // for quotas
  static constexpr std::uint8_t kLogged = 8;      // for the log of connections
  Wire base() const noexcept {
    return static_cast<Wire>(static_cast<std::uint8_t>(wire_) & kKinds);
  }
  bool is_counted() const noexcept { return wire_ != base(); }
  bool counts_sent() const noexcept {
    return (static_cast<std::uint8_t>(wire_) & kCountsSent) != 0;
  }
  void set_wire_bit(std::uint8_t bit, bool on) noexcept {
    const auto wire = static_cast<unsigned>(wire_);
    wire_ = static_cast<Wire>(on ? wire | bit : wire & ~unsigned{bit});
  }
  [[gnu::cold]] void count_sent(std::uint32_t deliveries, std::size_t bytes) noexcept;

  void count_frame(const protocol::Uuid& transaction_id, protocol::Opcode opcode,
                   std::size_t bytes) noexcept {
    Traffic& traffic = Traffic::local();
    traffic.count_out(opcode, bytes);
    traffic.answer(slot_, generation_, transaction_id);
  }
  std::byte* frame_space(std::size_t bytes) {
    if (wire_ == Wire::websocket) [[likely]]
      return connection_->send_space(ws::MessageKind::binary, bytes);
    return indirect_space(bytes);
  }
  bool end_frame(const std::byte* space, std::size_t bytes) {
    return base() != Wire::deflated || send_deflated(space, bytes);
  }
  std::byte* indirect_space(std::size_t bytes);
  bool send_deflated(const std::byte* space, std::size_t bytes);
  std::byte* split_space(std::size_t head_bytes, std::size_t bytes);
  bool end_split(std::byte* space, std::size_t head_bytes, const runtime::SharedBytes& block,
                 std::span<const std::byte> tail);
  bool send_run_slowly(const EventRun& run);
  bool send_run_uncounted(const EventRun& run);
  bool send_run_unframed(const EventRun& run);
  [[gnu::cold]] bool cannot_send(const protocol::Uuid& transaction_id, protocol::Opcode opcode,
                                 std::size_t bytes);
  std::size_t queue_bytes_max() const noexcept;
  bool slow_reader();
  void end_stream(protocol::ErrorCode code, std::string_view text, runtime::Nanoseconds linger);

  // The first three lie in what pads the base.
  Wire wire_;
  runtime::CoreId core_ = runtime::kNoCore;
  std::uint32_t answers_awaited_ = 0;
  net::Stream* const stream_;
  ws::Connection* const connection_ = nullptr;  // null: TCP
  std::uint64_t secret_ = 0;
  std::unique_ptr<SessionExtension> extension_;
  std::uint32_t slot_ = UINT32_MAX;
  std::uint32_t generation_ = 0;
};
static_assert(sizeof(Session) <= 64, "a part of what an idle connection costs");

}  // namespace corelane::services
