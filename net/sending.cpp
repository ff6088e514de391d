// The outgoing side of Network: what a turn has queued leaves at its end, one operation a stream;
// and the look-out for peers that do not take it.

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <span>
#include <utility>

#include "net/network.hpp"

namespace corelane::net {

using runtime::Completion;
using runtime::Error;
using runtime::ErrorCode;
using runtime::Sink;
using runtime::Token;

namespace {

constexpr std::size_t kPrefetch = 6;  // streams ahead: a miss takes as long as 3 to 6 of them
constexpr runtime::Nanoseconds kStallLooks = 4;  // in one write_stall_timeout
constexpr std::size_t kStallsMax = 1024;         // queues looked at in one go

}  // namespace

void Network::flush() noexcept {
  if (flushed_turn_ != core_.counters().turns) {
    flushed_turn_ = core_.counters().turns;
    turn_bytes_ = 0;
  }
  flushing_.swap(dirty_);
  const std::size_t count = std::exchange(dirty_count_, 0);
  dirty_room_ = 0;
  // A backlog waits until all completions of the sends before it have been taken.
  const std::size_t bytes_max =
      backlogged_ && !core_.reaped_all() ? 0 : NetworkOptions::kTurnBytesMax;
  std::size_t done = 0;
  for (; done < count && turn_bytes_ < bytes_max; ++done) {
    if (done + kPrefetch < count) streams_.prefetch(flushing_[done + kPrefetch]);
    Stream* stream = streams_.in_slot(flushing_[done]);
    if (stream == nullptr || !stream->dirty_) continue;  // gone; another may be in its slot
    stream->dirty_ = false;
    turn_bytes_ += NetworkOptions::kStreamBytes;
    if (stream->only_sends() && stream->queue_ != nullptr && !stream->queue_->empty()) [[likely]] {
      begin_send(*stream, *stream->queue_);
    } else {
      flush_stream(*stream);
    }
  }
  if (done < count) leave_dirty({flushing_.data() + done, count - done});
  set_backlogged(done < count);
}

// Leaves the rest for the next turn, before the streams that this flush has made dirty.
void Network::leave_dirty(std::span<const std::uint32_t> rest) {
  const auto fresh = static_cast<std::ptrdiff_t>(dirty_count_);
  dirty_count_ += rest.size();
  if (dirty_.size() < dirty_count_) dirty_.resize(dirty_count_);
  dirty_room_ = dirty_.size();
  std::copy_backward(dirty_.begin(), dirty_.begin() + fresh,
                     dirty_.begin() + static_cast<std::ptrdiff_t>(dirty_count_));
  std::copy(rest.begin(), rest.end(), dirty_.begin());
  if (!flush_rest_.queued()) core_.timers().add(flush_rest_, core_.now());
}

// While backlogged, the core takes no input: queues would pass their limits although their peers
// read.
void Network::set_backlogged(bool backlogged) noexcept {
  if (backlogged == backlogged_) return;
  backlogged_ = backlogged;
  core_.hold_lanes(backlogged);
  if (backlogged) {
    ++counters_.flushes_cut;
  } else if (held_retry_.queued()) {
    core_.timers().reschedule(held_retry_, core_.now());
  }
}

void Network::flush_stream(Stream& stream) noexcept {
  if (stream.state_ == Stream::State::closing || stream.state_ == Stream::State::closed) return;
  if (stream.abort_) {
    begin_closing(stream);
    return;
  }
  if (stream.held_ != nullptr || stream.end_pending_) {
    deliver_held(stream);
    if (stream.abort_) {
      begin_closing(stream);
      return;
    }
  }
  if (!stream.receiving_.in_flight() && stream.wants_receive()) arm_receive(stream);
  SendQueue* queue = stream.queue_;
  if (queue != nullptr && !stream.send_armed_) {
    if (queue->empty()) {
      give_queue(stream);
      queue = nullptr;
    } else if (stream.is_transformed_) [[unlikely]] {
      begin_transformed_send(stream, *queue);
    } else {
      begin_send(stream, *queue);
    }
  }
  if (queue != nullptr) return;
  if (stream.state_ == Stream::State::open) {
    if (stream.ends_sending_) send_end(stream);
    return;
  }
  if (stream.shutdown_armed_) return;  // on_shutdown() comes back here
  if (stream.state_ == Stream::State::flushing && stream.linger_ && !stream.ended_) {
    stream.state_ = Stream::State::lingering;
    set_timer(stream, stream.linger_for_);
    send_end(stream);
    return;
  }
  if (stream.state_ == Stream::State::flushing || stream.ended_) begin_closing(stream);
}

void Network::send_end(Stream& stream) noexcept {
  stream.ends_sending_ = false;
  stream.shutdown_armed_ = true;
  core_.ring().shutdown(stream.descriptor(), SHUT_WR, token(Sink::shutdown, stream));
}

inline void Network::begin_send(Stream& stream, SendQueue& queue) noexcept {
  stream.send_armed_ = true;
  ++counters_.sends;
  if (queue.has_one()) [[likely]] {
    turn_bytes_ += queue.bytes();
    core_.ring().send(stream.descriptor(), queue.begin_one(), token(Sink::send, stream));
  } else {
    begin_send_of_several(stream, queue);
  }
}

void Network::begin_send_of_several(Stream& stream, SendQueue& queue) noexcept {
  // A control frame waits behind what is in flight, so that is little; but a burst leaves faster
  // than it comes in, as long as the socket takes all it is offered.
  const bool is_burst = queue.bytes() > options_.queued_bytes_max / 2 && !queue.is_sent_in_part();
  const SendQueue::Operation operation =
      queue.begin(is_burst ? options_.queued_bytes_max : SendQueue::kOperationBytesMax);
  turn_bytes_ += queue.begun_bytes();
  const Token send = token(Sink::send, stream);
  if (operation.message != nullptr) {
    core_.ring().send_message(stream.descriptor(), operation.message, send);
  } else {
    core_.ring().send(stream.descriptor(), operation.bytes, send);
  }
}

void Network::begin_transformed_send(Stream& stream, SendQueue& queue) noexcept {
  stream.send_armed_ = true;
  ++counters_.sends;
  const std::span<const std::byte> bytes = queue.begin_transformed(
      *transforms_[stream.id_.slot], SendQueue::kOperationBytesMax, send_pool_);
  turn_bytes_ += bytes.size();
  core_.ring().send(stream.descriptor(), bytes, token(Sink::send, stream));
}

// Kept by slot and not in the stream, so that a stream without a transform pays nothing.
void Network::set_transform(Stream& stream, SendTransform* transform) {
  RT_ASSERT(stream.queue_ == nullptr);
  stream.is_transformed_ = transform != nullptr;
  if (transform == nullptr) return;
  if (transforms_.size() <= stream.id_.slot) transforms_.resize(streams_.slots());
  transforms_[stream.id_.slot] = transform;
}

// A fan-out brings a row of completions, one for each subscriber. The streams have left the cache
// since their sends began, so they are prefetched.
void Network::on_sends(std::span<const Completion> row) noexcept {
  for (std::size_t i = 0; i < row.size(); ++i) {
    if (i + 2 * kPrefetch < row.size()) streams_.prefetch(row[i + 2 * kPrefetch].token.slot());
    if (i + kPrefetch < row.size()) {
      __builtin_prefetch(streams_.at(row[i + kPrefetch].token.slot()).queue_, 1);
    }
    const Completion& completion = row[i];
    Stream* stream = streams_.get(completion.token.slot(), completion.token.generation());
    RT_ASSERT(stream != nullptr);
    RT_ASSERT(stream->send_armed_);
    stream->send_armed_ = false;
    const auto sent = static_cast<std::size_t>(std::max(completion.result, 0));
    counters_.bytes_sent += sent;
    if (stream->queue_->is_all(sent) && stream->only_sent()) [[likely]] {
      stream->queue_->end_all(send_pool_);
      give_queue(*stream);
    } else {
      on_send(*stream, completion.result, sent);
    }
  }
}

void Network::on_send(Stream& stream, std::int32_t result, std::size_t sent) noexcept {
  SendQueue& queue = *stream.queue_;
  if (stream.is_transformed_) [[unlikely]] {
    queue.end_transformed(sent, send_pool_);
  } else {
    queue.end(sent, send_pool_);
  }
  if (stream.state_ == Stream::State::closing) {
    close_if_idle(stream);
    return;
  }
  const bool probed = queue.probed;
  queue.probed = false;
  if (sent > 0) {
    queue.progress_at = core_.now();
    queue.stalled = false;
  } else if (probed && result == -ECANCELED) {
    const runtime::Nanoseconds stalled = core_.now() - queue.progress_at;
    const bool is_new = !queue.stalled && stalled >= options_.write_stall_timeout;
    if (stream.state_ == Stream::State::open && is_new) {
      queue.stalled = true;
      on_stall(stream);
    }
  } else if (result != -EINTR && result != -EAGAIN) {
    // EPIPE, ECONNRESET, ETIMEDOUT, ...: the peer is gone.
    stream.abort(Error::from_errno(-result));
    return;
  }
  if (!queue.empty() || stream.state_ != Stream::State::open || stream.ends_sending_) {
    stream.mark_dirty();
  } else {
    give_queue(stream);
  }
  if (stream.blocked_ && stream.state_ == Stream::State::open &&
      stream.queued_bytes() <= options_.queued_bytes_max / 2) {
    stream.blocked_ = false;
    if (stream.handler_->on_writable != nullptr) stream.handler_->on_writable(stream);
  }
}

void Network::make_dirty_room() {
  if (dirty_count_ == 0) core_.request_flush(runtime::FlushPhase::streams, flush_hook_);
  if (dirty_count_ == dirty_.size()) dirty_.resize(std::max<std::size_t>(2 * dirty_.size(), 64));
  dirty_room_ = dirty_.size();
}

void Network::start_stall_look() noexcept {
  if (options_.write_stall_timeout == 0) return;
  core_.timers().add(stall_look_, core_.now() + options_.write_stall_timeout / kStallLooks);
}

// --- Peers that do not read

// Cancels every send without progress since the last look: its completion tells how many bytes the
// kernel took. The next send takes the free room at once, while a waiting send sleeps until a third
// of the socket's buffer is free. So a slow reader shows progress at the next look. A peer without
// progress for the whole timeout has stalled.
//
// Goes from the last queue to the first: a queue that moves to the place of a removed one has been
// looked at already.
void Network::look_for_stalls() noexcept {
  const std::span<SendQueue* const> queues = send_pool_.queues();
  if (stalls_unlooked_ == 0) stalls_unlooked_ = queues.size();
  const runtime::Nanoseconds between = options_.write_stall_timeout / kStallLooks;
  stalls_unlooked_ = std::min(stalls_unlooked_, queues.size());
  for (std::size_t looked = 0; stalls_unlooked_ > 0 && looked < kStallsMax; ++looked) {
    SendQueue& queue = *queues[--stalls_unlooked_];
    if (queue.stream_slot == SendQueue::kNoStream) continue;
    Stream& stream = streams_.at(queue.stream_slot);
    if (stream.state_ != Stream::State::open || !stream.send_armed_ || queue.probed) continue;
    if (core_.now() - queue.progress_at < between) continue;
    queue.probed = true;
    core_.ring().cancel(token(Sink::send, stream));
  }
  if (stalls_unlooked_ > 0) {
    core_.timers().add(stall_look_, core_.now() + 1);
  } else if (send_pool_.any_in_use()) {
    core_.timers().add(stall_look_, core_.now() + between);
  }
}

// --- Too much memory

// Pieces in flight of an open stream do not count: on_memory_short() cannot drop them. A stream
// that flushes or lingers is aborted, which frees its whole queue.
HeldMemory Network::held_by(const Stream& stream, MemoryOver over) const noexcept {
  const SendQueue* const queue = stream.queue_;
  HeldMemory held(over, core_.now(), queue != nullptr ? queue->progress_at : core_.now());
  const bool is_ending = stream.abort_ || stream.state_ == Stream::State::closing ||
                         stream.state_ == Stream::State::closed;
  if (is_ending) return held;
  if (queue != nullptr) {
    const bool is_open = stream.state_ == Stream::State::open;
    const std::size_t bytes = queue->bytes() - (is_open ? queue->begun_bytes() : 0);
    const std::size_t copied = std::min(bytes, queue->copied_bytes());
    held.add(copied);
    held.add_shared(bytes - copied);
  }
  if (stream.held_ != nullptr) held.add(held_back_bytes(stream));
  if (stream.handler_->add_held != nullptr) stream.handler_->add_held(stream, held);
  return held;
}

void Network::list(MemoryHolders& holders, std::uint32_t from, std::uint32_t to) {
  for (std::uint32_t slot = from; slot < to; ++slot) {
    const Stream* const stream = streams_.in_slot(slot);
    if (stream != nullptr) holders.add(stream->id_, held_by(*stream, holders.over()));
  }
}

std::optional<std::size_t> Network::end_holder(const MemoryHolders::Holder& holder,
                                               MemoryOver over) {
  Stream* const stream = find(holder.stream);
  if (stream == nullptr) return std::nullopt;
  const HeldMemory held = held_by(*stream, over);
  if (held.all() < holder.bytes / 2 || held.all() == 0) return std::nullopt;
  ++counters_.memory_short;
  if (stream->state_ == Stream::State::open && stream->handler_->on_memory_short != nullptr) {
    stream->handler_->on_memory_short(*stream, why_of(over));
  } else {
    stream->abort({ErrorCode::limit_exceeded, 0});
  }
  return held.own();
}

void Network::on_stall(Stream& stream) noexcept {
  ++counters_.slow_readers;
  if (stream.handler_->on_stalled != nullptr) {
    stream.handler_->on_stalled(stream);
  } else {
    stream.abort({ErrorCode::timed_out, 0});
  }
}

}  // namespace corelane::net
