#pragma once
// Stream: one connected byte stream (TCP or Unix) on one core. It receives into the core's shared
// buffers, queues what is to be sent, and sends at most once a turn. The layer above is a table of
// plain functions (StreamHandler) and an owner pointer; it switches both when a protocol changes in
// mid-stream (HTTP to WebSocket).
//
// Lives in its Network's table. Handlers get a Stream& that is valid for the call; keep a StreamId
// and look it up again. After on_closed the stream is gone. All calls on the owning core; none
// suspends. Stream functions never call the handler re-entrantly; events are deferred to later in
// the turn, so that a handler may close its stream and go on.
//
// A stream's life: open -> (close(): no more data up, queue is flushed, FIN) -> lingering (wait for
// the peer's end, discarding) -> closing (operations cancelled and ended, descriptor closed) ->
// gone.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "net/receive_policy.hpp"
#include "net/received_bytes.hpp"
#include "net/send_queue.hpp"
#include "runtime/coarse_timer.hpp"
#include "runtime/result.hpp"
#include "runtime/shared_bytes.hpp"
#include "runtime/types.hpp"

namespace corelane::net {

class HeldMemory;
class Network;
class Stream;
struct HeldPiece;

struct StreamId {
  std::uint32_t slot = UINT32_MAX;
  std::uint32_t generation = 0;
  friend bool operator==(const StreamId&, const StreamId&) = default;
};

// Bytes that have arrived, in a receive buffer. They may be written to, and are valid during
// on_data; to keep them longer, send them with Stream::send_in_place (an echo in place), or take a
// lease with Stream::lease.
struct Received {
  std::span<std::byte> bytes;
  runtime::BufferId buffer;  // kNoBuffer: a copy that was held back, freed after on_data
};

struct StreamHandler {
  const char* name;  // in stall reports
  void (*on_data)(Stream& stream, const Received& received) noexcept;
  // The peer has half-closed: nothing more will come; what is queued is still sent. Call close().
  void (*on_end)(Stream& stream) noexcept;
  // The last call: the stream is gone after it. `why` is `closed` for an orderly end, otherwise the
  // error; the owner should free what it keeps for the stream.
  void (*on_closed)(Stream& stream, runtime::Error why) noexcept;
  // The timer of set_timer() has run out.
  void (*on_timer)(Stream& stream) noexcept;
  // The queue has fallen below half of the limit again after writable() was false. May be null.
  void (*on_writable)(Stream& stream) noexcept;
  // The peer has taken nothing for NetworkOptions::write_stall_timeout: end it. Once a stall. Null:
  // aborted.
  void (*on_stalled)(Stream& stream) noexcept = nullptr;
  // The core holds too much memory, and this stream is among the largest holders: end it, drop the
  // pieces that are not in flight, and send the peer `why` if possible. Null: aborted.
  void (*on_memory_short)(Stream& stream, std::string_view why) noexcept = nullptr;
  // Adds memory that the layer above holds for the stream. Null: none.
  void (*add_held)(const Stream& stream, HeldMemory& held) noexcept = nullptr;
};

class Stream {
 public:
  Stream(Network& network, runtime::Descriptor descriptor) noexcept
      : descriptor_(descriptor.number), direct_(descriptor.direct), network_(network) {}
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  StreamId id() const noexcept { return id_; }
  Network& network() noexcept { return network_; }
  void set_handler(const StreamHandler& handler, void* owner) noexcept {
    handler_ = &handler;
    owner_ = owner;
  }
  void* owner() const noexcept { return owner_; }
  // For a handler that has switched to another one inside on_data (HTTP to WebSocket): gives the
  // new one the bytes behind those it used, a part of what it received.
  void redeliver(const Received& rest) noexcept {
    if (state_ == State::open) handler_->on_data(*this, rest);
  }
  // False once it is being closed: the number may be somebody else's then.
  bool has_descriptor() const noexcept { return state_ != State::closed; }
  runtime::Descriptor descriptor() const noexcept {
    return {.number = descriptor_, .direct = direct_};
  }

  // --- Sending. False: the queue would pass the limit (or the stream is closing), nothing was
  // taken, and the caller decides what that costs the peer. Bytes that were taken leave in order at
  // the end of the turn.

  // Room for `bytes` (not 0) at the end of the queue, to be filled before the handler returns.
  // nullptr instead of false.
  [[nodiscard]] std::byte* send_space(std::size_t bytes);
  // The same for the first `bytes` of a frame whose other `rest_bytes` lie in a shared block. When
  // they are filled, send_rest() must follow, as the next call on this stream. Both are admitted
  // here, together, as send_shared() is.
  [[nodiscard]] std::byte* send_head(std::size_t bytes, std::size_t rest_bytes);
  void send_rest(const runtime::SharedBytes& block, std::span<const std::byte> part);
  // Copies.
  [[nodiscard]] bool send_copy(std::span<const std::byte> bytes);
  // Holds a handle until sent. May pass the limit for a while: admit_burst().
  [[nodiscard]] bool send_shared(const runtime::SharedBytes& block,
                                 std::span<const std::byte> part);
  // Bytes in a receive buffer that on_data brought in this call: holds a lease until sent. Pieces
  // in one buffer that follow each other go out as one.
  [[nodiscard]] bool send_in_place(const Received& received, std::span<const std::byte> bytes);
  // The same for `part` of bytes that a lease of this core holds, from any stream. The queue holds
  // a lease of its own.
  [[nodiscard]] bool send_lease(const ReceivedBytes& lease, std::span<const std::byte> part);
  // Static memory.
  [[nodiscard]] bool send_static(std::span<const std::byte> bytes);
  // Memory of the layer above, given back by its release function once sent (or dropped).
  [[nodiscard]] bool send_foreign(ForeignBytes& owner, std::span<const std::byte> bytes);
  // Ahead of everything that has not been begun, and beyond the limit: one piece of each kind waits
  // at most. Copies.
  void send_control(ControlKind kind, std::span<const std::byte> bytes);
  // Sends behind everything, beyond the limit: the last bytes before close(). Copies.
  void send_last(std::span<const std::byte> bytes);
  // Fences the pieces queued now: send_control() does not overtake them and drop_unsent() does not
  // drop them. For the last bytes of the old protocol when the protocol changes.
  void fence() noexcept {
    if (queue_ != nullptr) queue_->fence();
  }

  // From the next operation on, what is queued leaves through `transform`, which lives until
  // on_closed; null: as it is. Nothing may be queued now.
  void set_transform(SendTransform* transform);

  // From here on only send_control() and send_last() take something.
  void seal() noexcept { sealed_ = true; }
  // Half-closes: FIN leaves once the queue is empty, and receiving goes on. Nothing may be sent
  // from here on. The peer's on_end comes when it has read everything. Not after seal().
  void shutdown_send() noexcept;

  // Bytes queued and in flight.
  std::size_t queued_bytes() const noexcept { return queue_ != nullptr ? queue_->bytes() : 0; }
  // False from the moment the queue holds more than half of the limit until it is below again: a
  // source that can wait should (pause_receiving), and go on with on_writable.
  bool writable() noexcept;
  // Drops what waits, has not been begun and is not fenced; returns the bytes dropped.
  std::size_t drop_unsent() noexcept;

  // --- Receiving
  // In on_data: keeps a part of what was received. A copy instead of a lease if the bytes were held
  // back, or if few buffers are left.
  ReceivedBytes lease(const Received& received);
  void pause_receiving() noexcept;
  void resume_receiving() noexcept;
  bool receiving_paused() const noexcept { return paused_; }
  // True if so much comes at once that large buffers are filled: then it pays to say where to end.
  bool receives_large() const noexcept { return receiving_.next_size() == BufferSize::large; }
  // A hint for the next large receive: it ends after `missing` bytes and as many times `unit` as
  // fit. With the sizes of the next messages, fewer messages are cut by the end of a buffer. The
  // hint holds until the next call; a wrong hint costs a cut message.
  void end_receives_at(std::uint64_t missing, std::uint64_t unit) noexcept;

  // --- Ending
  // How long the queue may take to empty by default.
  static constexpr runtime::Nanoseconds kFlushDeadline = 5 * runtime::kSecond;
  // Flushes, for at most `flush` or `linger`, the longer of the two: then the stream is aborted
  // with `timed_out`. Closes when the queue is empty: at once if `linger` is 0, otherwise after FIN
  // and the peer's end, at most `linger` later (needed when the peer may still be sending: unread
  // bytes at close make the kernel send RST, which can destroy our last bytes at the peer). A peer
  // that has not ended by then is no error. Nothing more is delivered but on_closed. What comes
  // while it lingers is discarded, as after discard_input().
  void close(runtime::Nanoseconds linger, runtime::Nanoseconds flush = kFlushDeadline) noexcept;
  // The last word to this peer is in the queue, and what it still sends no longer matters, but has
  // to be read so that it can send all of it and then read. From here on input has low priority
  // (few receives in flight a core, none while the core has a backlog), and receiving stops for
  // good once NetworkOptions::discard_bytes_max bytes have come. on_data and on_end are still
  // called until close(), for a layer that waits for the peer's own last word. Set a timer.
  void discard_input() noexcept;
  // Closes without flushing. The kernel sends RST if the peer's bytes were not all read.
  void abort(runtime::Error why = {runtime::ErrorCode::closed, 0}) noexcept;
  bool closing() const noexcept { return state_ != State::open; }

  // --- Time: one coarse timer (an eighth of a second) for the layer above.
  //
  // A deadline on what the peer sends is not judged while bytes of it may lie unread
  // (look_again()): when the timer fires late, because this core was descheduled, bytes that came
  // in time may not have been reaped; or a turn has left completions, the stream's bytes are held,
  // no receive is armed because no buffer was free. Then the next tick judges.
  void set_timer(runtime::Nanoseconds after) noexcept;
  void cancel_timer() noexcept;
  bool may_have_unread() const noexcept;
  // In on_timer, for a deadline that seems to be missed: true if it is to be judged in on_timer of
  // the next tick. `looked` is the caller's, false at the first look.
  bool look_again(bool looked) noexcept;

 private:
  friend class Network;

  enum class State : std::uint8_t {
    open,
    flushing,   // close() was called: the queue empties
    lingering,  // FIN sent: waiting for the peer's
    closing,    // waiting for operations to end
    closed,     // the descriptor is being closed
  };

  bool admit(std::size_t bytes, bool is_shared) noexcept;
  [[gnu::always_inline]] void push(std::span<const std::byte> bytes, PieceOwner owner,
                                   void* handle);
  [[gnu::cold, gnu::noinline]] bool admit_burst(std::size_t bytes, bool is_shared) const noexcept;
  SendQueue& queue();
  void mark_dirty() noexcept;
  bool wants_receive() const noexcept { return state_ == State::open || linger_; }
  runtime::Error why() const noexcept {
    return abort_ ? why_ : runtime::Error{runtime::ErrorCode::closed, 0};
  }
  // The end of the turn has nothing to do for it but to begin a send.
  bool only_sends() const noexcept {
    return state_ == State::open && !send_armed_ && !abort_ && !end_pending_ && !is_transformed_ &&
           receiving_.in_flight() && held_ == nullptr;
  }

  // A completed send has nothing else to see to.
  bool only_sent() const noexcept {
    return state_ == State::open && !blocked_ && !is_transformed_ && !ends_sending_;
  }

  // The members that a send needs come first, close to the slab's header.
  SendQueue* queue_ = nullptr;
  StreamId id_;
  std::int32_t descriptor_;
  ReceivePolicy receiving_;
  State state_ : 3 = State::open;
  bool direct_ : 1;  // what kind of descriptor
  bool send_armed_ : 1 = false;
  bool shutdown_armed_ : 1 = false;
  bool dirty_ : 1 = false;    // in the network's list for the end of the turn
  bool blocked_ : 1 = false;  // writable() was false
  bool paused_ : 1 = false;
  bool ended_ : 1 = false;           // the peer's FIN has come
  bool end_pending_ : 1 = false;     // on_end not yet delivered (paused)
  bool linger_ : 1 = false;          // close() asked to wait for the peer's end
  bool abort_ : 1 = false;           // abort() was called: no flush
  bool sealed_ : 1 = false;          // seal() was called
  bool is_transformed_ : 1 = false;  // set_transform(): Network has it
  bool ends_sending_ : 1 = false;    // shutdown_send(): FIN has not been begun
  Network& network_;
  HeldPiece* held_ = nullptr;  // received but not delivered: the last of a circular list
  const StreamHandler* handler_ = nullptr;
  void* owner_ = nullptr;
  union {
    runtime::Nanoseconds linger_for_ = 0;  // without abort()
    runtime::Error why_;                   // after abort()
  };
  runtime::CoarseLink timer_;
  // Most bytes of a large receive, 0: as many as the buffer holds. After discard_input(): the bytes
  // that have come since.
  std::uint32_t receive_bytes_ = 0;
};
// What an idle connection costs here: 5 pointers, its names (id and descriptor) 12, its end 8,
// its timer 12, the rest 8. Queues, buffers and held pieces exist only while there are bytes.
static_assert(sizeof(Stream) == 80);

}  // namespace corelane::net
