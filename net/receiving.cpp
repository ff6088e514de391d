// The incoming side of Network: which receive is armed, where its bytes go, what is kept for a
// stream that is paused, what happens when the buffers run out, and how idle streams wait.

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "net/network.hpp"
#include "runtime/accounted_allocator.hpp"

namespace corelane::net {

// Received while its stream was paused or input_waits().
struct HeldPiece {
  HeldPiece* next = nullptr;
  runtime::BufferId buffer = runtime::kNoBuffer;  // then: the bytes are in `copy`
  std::uint32_t bytes = 0;
  runtime::AccountedBytes<runtime::MemoryKind::messages> copy;
};

using runtime::Completion;
using runtime::Error;
using runtime::Sink;
using runtime::Token;

namespace {

constexpr runtime::Nanoseconds kHeldRetry = 50 * runtime::kMicrosecond;
// Far longer than the turn or two that a large buffer is out while its peer reads.
constexpr runtime::Nanoseconds kLargeWait = runtime::kMillisecond;
// The time between two looks for idle streams: a stream rests after one to two of these.
constexpr runtime::Nanoseconds kIdleLooks = 750 * runtime::kMillisecond;
constexpr std::uint32_t kIdleLookMax = 256;  // slots in one go: each may cost a cancel request

}  // namespace

void Network::arm_receive(Stream& stream, bool is_ready) noexcept {
  RT_ASSERT(!stream.receiving_.in_flight());
  if (stream.paused_ || stream.ended_ || stream.receiving_.wants_buffer()) return;
  if (stream.held_ != nullptr && stream.state_ == Stream::State::open) return;
  if (stream.state_ == Stream::State::closing || stream.state_ == Stream::State::closed) return;
  if (stream.receiving_.discards()) return arm_discard(stream, is_ready);
  const Token receive = token(Sink::receive, stream);
  if (stream.receiving_.rests() && !is_ready) {
    ++counters_.polls;
    stream.receiving_.begin_poll();
    core_.ring().poll(stream.descriptor(), POLLIN, receive);
    return;
  }
  keep_looking();
  stream.receiving_.begin_receive();
  ++counters_.receives;
  const BufferSize size = stream.receiving_.size();
  const std::uint16_t group = group_of(size);
  if (size != BufferSize::large && !stream.receiving_.rests()) {
    core_.ring().receive_multishot(stream.descriptor(), group, receive);
  } else {
    core_.ring().receive_selected(stream.descriptor(), group, receive, most_bytes(stream));
  }
}

// Most bytes of the stream's next receive; 0: as many as the buffer holds.
inline std::uint32_t Network::most_bytes(const Stream& stream) const noexcept {
  const bool is_limited =
      stream.receiving_.size() == BufferSize::large && stream.state_ == Stream::State::open;
  return is_limited ? stream.receive_bytes_ : 0;
}

void Stream::end_receives_at(std::uint64_t missing, std::uint64_t unit) noexcept {
  if (state_ != State::open || receiving_.discards()) return;
  const std::uint64_t room = network_.receive_buffers_.bytes_of(BufferSize::large);
  std::uint64_t bytes = 0;
  if (missing <= room && unit > 0) bytes = missing + (room - missing) / unit * unit;
  receive_bytes_ = static_cast<std::uint32_t>(bytes);
}

// Cancels the receive, which ends by its own completion.
void Network::cancel_receive(Stream& stream) noexcept {
  if (stream.receiving_.begin_end()) core_.ring().cancel(token(Sink::receive, stream));
}

void Network::on_receive(const Completion& completion) noexcept {
  Stream* stream = streams_.get(completion.token.slot(), completion.token.generation());
  RT_ASSERT(stream != nullptr);  // a stream outlives its operations
  ReceivePolicy& receiving = stream->receiving_;
  if (!completion.more) {
    const bool discarded =
        receiving.wait() == ReceivePolicy::Wait::receive && receiving.size() == BufferSize::discard;
    if (discarded) [[unlikely]]
      --discards_armed_;
    receiving.end();
  }
  const std::uint32_t bytes =
      completion.result > 0 ? static_cast<std::uint32_t>(completion.result) : 0;
  if (completion.has_buffer) {
    const runtime::BufferId buffer{.group = group_of(receiving.size()),
                                   .buffer = completion.buffer};
    buffers_.taken(buffer, bytes);
    if (bytes > 0 && receiving.discards()) [[unlikely]] {
      discard(*stream, buffer, bytes);
    } else if (bytes > 0) {
      if (receiving.note_received()) keep_looking();
      const std::uint32_t most = most_bytes(*stream);
      const std::uint32_t room = most != 0 ? most : receive_buffers_.bytes_of(receiving.size());
      if (receiving.vote(bytes, room, receive_buffers_, !large_stuck_)) cancel_receive(*stream);
      on_bytes(*stream, buffer, bytes);
    } else {
      buffers_.release(buffer);
    }
  }
  if (completion.more) return;
  // A stream that was woken but used no buffer wakes the next one.
  if (!completion.has_buffer && completion.result != -ENOBUFS) feed_starved();
  // Bytes come in a buffer; without one it is what a poll has seen.
  on_receive_ended(*stream, completion.result, bytes > 0 && !completion.has_buffer);
  if (!discards_waiting_.empty()) [[unlikely]]
    discard_next();
}

void Network::on_bytes(Stream& stream, runtime::BufferId buffer, std::uint32_t bytes) noexcept {
  counters_.bytes_received += bytes;
  if (stream.state_ != Stream::State::open) {
    buffers_.release(buffer);
    return;
  }
  if (stream.paused_ || stream.held_ != nullptr || input_waits()) {
    hold(stream, buffer, bytes);
    return;
  }
  deliver(stream, buffer, bytes);
}

void Network::deliver(Stream& stream, runtime::BufferId buffer, std::uint32_t bytes) noexcept {
  stream.handler_->on_data(stream, {.bytes = buffers_.bytes(buffer, bytes), .buffer = buffer});
  buffers_.release(buffer);
}

void Network::on_receive_ended(Stream& stream, std::int32_t result, bool is_ready) noexcept {
  if (stream.state_ == Stream::State::closing) {
    close_if_idle(stream);
    return;
  }
  const bool is_cut_short = result == -ECANCELED || result == -EINTR || result == -EAGAIN;
  if (stream.ended_ && !is_cut_short) {
    // The poll below. Once FIN is sent, both directions have ended, and this tells nothing.
    const bool sent_end = stream.sealed_ && !stream.ends_sending_;
    if (result < 0 || ((result & (POLLHUP | POLLERR)) != 0 && !sent_end)) {
      stream.abort(Error::from_errno(result < 0 ? -result : ECONNRESET));
    } else {
      deliver_end(stream);
    }
  } else if ((result == 0 || stream.ended_) && stream.queue_ != nullptr &&
             stream.state_ == Stream::State::open) {
    // A send that was cut by a reset may have taken its error away, and then a receive brings 0 as
    // at an orderly end. A poll knows: a truncated stream must not look whole.
    stream.ended_ = true;
    ++counters_.polls;
    stream.receiving_.begin_poll();
    core_.ring().poll(stream.descriptor(), POLLIN, token(Sink::receive, stream));
  } else if (stream.ended_) {
    deliver_end(stream);  // the queue has been sent
  } else if (result > 0 || is_cut_short) {
    // A multishot may end for no reason, a single receive always does.
    arm_receive(stream, is_ready);
  } else if (result == -ENOBUFS) {
    starve(stream);
  } else if (result == 0) {
    stream.ended_ = true;
    deliver_end(stream);
  } else {
    stream.abort(Error::from_errno(-result));
  }
}

// --- Idle streams

// A resting stream waits with a poll; when the poll has seen input, a single receive takes it. The
// receives of other streams stay armed, so that steady traffic costs no further operation
// (ReceivePolicy::Activity).

// Starts a new round of looks: the current one may have passed the stream already.
inline void Network::keep_looking() noexcept {
  any_busy_ = true;
  if (!idle_look_.queued()) start_idle_look();
}

void Network::start_idle_look() noexcept {
  core_.timers().add(idle_look_, core_.now() + kIdleLooks);
}

void Network::look_for_idle() noexcept {
  if (idle_looked_ == 0) any_busy_ = false;
  const std::uint32_t end = std::min(idle_looked_ + kIdleLookMax, streams_.slots());
  for (; idle_looked_ < end; ++idle_looked_) {
    Stream* stream = streams_.in_slot(idle_looked_);
    if (stream == nullptr || stream->state_ != Stream::State::open) continue;
    const bool rested = stream->receiving_.rests();
    if (stream->receiving_.look()) {
      any_busy_ = true;
    } else if (!rested && stream->receiving_.rests()) {
      cancel_receive(*stream);
    }
  }
  if (idle_looked_ < streams_.slots()) {
    core_.timers().add(idle_look_, core_.now() + 1);
    return;
  }
  idle_looked_ = 0;
  if (any_busy_) start_idle_look();
}

void Network::deliver_end(Stream& stream) noexcept {
  if (stream.state_ != Stream::State::open) {
    stream.mark_dirty();  // a lingering stream has what it waited for
  } else if (stream.held_ != nullptr || stream.paused_) {
    stream.end_pending_ = true;
  } else {
    stream.end_pending_ = false;
    stream.handler_->on_end(stream);
  }
}

void Network::starve(Stream& stream) noexcept {
  ++counters_.buffers_missing;
  stream.receiving_.wake();  // it has waited for its turn: not for a poll's as well
  const BufferSize size = stream.receiving_.size();
  const bool large = size == BufferSize::large;
  if (large && large_stuck_) {
    go_small(stream);
    return;
  }
  buffers_.grow(group_of(size));
  if (has_room(size)) {
    arm_receive(stream);  // buffers have been returned since the receive ended
    return;
  }
  stream.receiving_.want_buffer();
  starved(size).push_back(stream.id_);
  if (large && !large_wait_.queued()) core_.timers().add(large_wait_, core_.now() + kLargeWait);
  await_buffers();
}

void Network::go_small(Stream& stream) noexcept {
  stream.receiving_.go_small();
  arm_receive(stream);
}

void Network::await_buffers() noexcept {
  buffers_.notify_when_returned(
      [](void* context) noexcept { static_cast<Network*>(context)->feed_starved(); }, this);
}

// A buffer was returned: one waiting stream tries again; with more of them, all but one would fail.
// When this stream returns its buffer, the next stream tries.
void Network::feed_starved() noexcept {
  if (has_room(BufferSize::large)) {
    large_stuck_ = false;
    feed_one(BufferSize::large);
    if (large_wait_.queued()) core_.timers().reschedule(large_wait_, core_.now() + kLargeWait);
  }
  for (const auto size : {BufferSize::medium, BufferSize::small, BufferSize::discard}) {
    if (has_room(size)) feed_one(size);
  }
  const bool anyone = std::ranges::any_of(starved_, [](const auto& list) { return !list.empty(); });
  if (anyone || large_stuck_) await_buffers();
}

void Network::feed_one(BufferSize size) noexcept {
  std::deque<StreamId>& waiting = starved(size);
  while (!waiting.empty()) {
    Stream* stream = find(waiting.front());
    waiting.pop_front();
    if (stream == nullptr || !stream->receiving_.wants_buffer()) continue;
    stream->receiving_.leave_buffers();
    arm_receive(*stream);
    if (stream->receiving_.in_flight()) return;
  }
}

// Slow readers hold all large buffers: streams that wait for one go on with small buffers.
void Network::on_large_wait() noexcept {
  std::deque<StreamId>& waiting = starved(BufferSize::large);
  if (waiting.empty()) return;
  large_stuck_ = true;
  while (!waiting.empty()) {
    Stream* stream = find(waiting.front());
    waiting.pop_front();
    if (stream == nullptr || !stream->receiving_.wants_buffer()) continue;
    stream->receiving_.leave_buffers();
    go_small(*stream);
  }
  await_buffers();
}

// A pause may last as long as the peer does not read, so a paused stream copies the bytes and holds
// no buffer. Congestion of a lane and a backlog of sends are short. No receive is armed until all
// held bytes have been delivered, so a stream holds only bytes of completions already under way.
void Network::hold(Stream& stream, runtime::BufferId buffer, std::uint32_t bytes) noexcept {
  HeldPiece* piece = std::make_unique<HeldPiece>().release();
  piece->buffer = buffer;
  piece->bytes = bytes;
  if (stream.paused_ || buffers_.scarce(buffer.group)) {
    const std::span<const std::byte> received = buffers_.bytes(buffer, bytes);
    piece->copy.assign(received.begin(), received.end());
    piece->buffer = runtime::kNoBuffer;
    buffers_.release(buffer);
  }
  piece->next = stream.held_ == nullptr ? piece : std::exchange(stream.held_->next, piece);
  stream.held_ = piece;
  cancel_receive(stream);
  if (!stream.paused_) await_turn(stream);
}

void Network::await_turn(Stream& stream) noexcept {
  if (!stream.receiving_.waits_for_turn()) {
    stream.receiving_.set_waits_for_turn(true);
    held_up_.push_back(stream.id_);
  }
  if (!held_retry_.queued()) core_.timers().add(held_retry_, core_.now() + kHeldRetry);
}

// The first piece, off the list.
HeldPiece* Network::take_held(Stream& stream) noexcept {
  HeldPiece* first = stream.held_->next;
  if (first == stream.held_) {
    stream.held_ = nullptr;
  } else {
    stream.held_->next = first->next;
  }
  return first;
}

// Delivers until there is nothing left, the stream pauses or closes, or input_waits().
void Network::deliver_held(Stream& stream) noexcept {
  while (stream.held_ != nullptr && !stream.paused_ && stream.state_ == Stream::State::open) {
    if (input_waits()) {
      await_turn(stream);
      return;
    }
    const std::unique_ptr<HeldPiece> piece(take_held(stream));
    if (piece->copy.empty()) {
      deliver(stream, piece->buffer, piece->bytes);
    } else {
      stream.handler_->on_data(
          stream, {.bytes = {piece->copy.data(), piece->bytes}, .buffer = piece->buffer});
    }
  }
  if (stream.state_ != Stream::State::open) {
    drop_held(stream);
  } else if (!stream.paused_) {
    if (stream.end_pending_) deliver_end(stream);
    if (!stream.receiving_.in_flight()) arm_receive(stream);
  }
}

// Called when the lanes may have room again, or the backlog may have left. The stream that has
// waited longest goes first.
void Network::deliver_held_up() noexcept {
  for (std::size_t left = held_up_.size(); left > 0 && !input_waits(); --left) {
    Stream* stream = find(held_up_.front());
    held_up_.pop_front();
    if (stream == nullptr || !stream->receiving_.waits_for_turn()) continue;
    stream->receiving_.set_waits_for_turn(false);
    deliver_held(*stream);
    if (!stream->receiving_.in_flight() && stream->linger_) arm_receive(*stream);
  }
  if (!held_up_.empty() && !held_retry_.queued()) {
    core_.timers().add(held_retry_, core_.now() + kHeldRetry);
  }
}

// Counts copied bytes only: the core's account counts each receive buffer in full, held or not.
std::size_t Network::held_back_bytes(const Stream& stream) noexcept {
  std::size_t bytes = 0;
  const HeldPiece* piece = stream.held_;
  do {
    bytes += piece->copy.capacity();
    piece = piece->next;
  } while (piece != stream.held_);
  return bytes;
}

void Network::drop_held(Stream& stream) noexcept {
  while (stream.held_ != nullptr) {
    const std::unique_ptr<HeldPiece> piece(take_held(stream));
    if (piece->copy.empty()) buffers_.release(piece->buffer);
  }
}

}  // namespace corelane::net
