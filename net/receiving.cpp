// The incoming side of Network: which receive is armed, where its bytes go, what is kept for a
// stream that is paused, and what happens when the buffers run out.

#include <cerrno>
#include <cstring>
#include <utility>

#include "net/network.hpp"

namespace net {

using runtime::Completion;
using runtime::Error;
using runtime::Sink;
using runtime::Token;

namespace {

constexpr runtime::Nanoseconds kHeldRetry = 50 * runtime::kMicrosecond;
constexpr std::uint8_t kModeVotesMax = 8;
// Far longer than a large buffer is out while its peer reads: a turn or two.
constexpr runtime::Nanoseconds kLargeWait = runtime::kMillisecond;

}  // namespace

void Network::arm_receive(Stream& stream) noexcept {
  RT_ASSERT(!stream.receive_armed_);
  if (stream.paused_ || stream.ended_ || stream.starved_) return;
  if (stream.state_ == Stream::State::closing || stream.state_ == Stream::State::closed) return;
  stream.receive_armed_ = true;
  stream.mode_ = stream.wanted_mode_;
  ++counters_.receives;
  const Token receive = token(Sink::receive, stream);
  if (stream.mode_ == Stream::ReceiveMode::small) {
    core_.ring().receive_multishot(stream.descriptor_, small_group_, receive);
  } else {
    core_.ring().receive_selected(stream.descriptor_, large_group_, receive);
  }
}

void Network::on_receive(const Completion& completion) noexcept {
  Stream* stream = streams_.get(completion.token.slot(), completion.token.generation());
  RT_ASSERT(stream != nullptr);  // a stream outlives its operations
  if (!completion.more) {
    stream->receive_armed_ = false;
    stream->cancel_requested_ = false;
  }
  const std::uint32_t bytes =
      completion.result > 0 ? static_cast<std::uint32_t>(completion.result) : 0;
  if (completion.has_buffer) {
    const runtime::BufferId buffer{.group = group_of(stream->mode_), .buffer = completion.buffer};
    buffers_.taken(buffer, bytes);
    if (bytes > 0) {
      choose_mode(*stream, bytes, buffers_.buffer_bytes(buffer.group));
      on_bytes(*stream, buffer, bytes);
    } else {
      buffers_.release(buffer);
    }
  }
  if (completion.more) return;
  // Whoever was fed and needs no buffer after all passes it on.
  if (!completion.has_buffer && completion.result != -ENOBUFS) feed_starved();
  on_receive_ended(*stream, completion.result);
}

// Small buffers serve many streams and stay in the cache; a stream in the middle of something large
// fills one after the other, and each costs a completion and a join. It votes for large ones when a
// buffer is filled, against when one is not; and goes back when little comes at a time.
void Network::choose_mode(Stream& stream, std::uint32_t bytes, std::uint32_t room) noexcept {
  if (large_group_ == small_group_) return;
  std::uint8_t& votes = stream.mode_votes_;
  if (stream.mode_ == Stream::ReceiveMode::small) {
    if (bytes == room) {
      if (votes < kModeVotesMax) ++votes;
    } else {
      votes = static_cast<std::uint8_t>(votes < 2 ? 0 : votes - 2);
    }
    if (votes < kModeVotesMax || stream.cancel_requested_ || large_stuck_) return;
    stream.wanted_mode_ = Stream::ReceiveMode::large;
    votes = 0;
    if (stream.receive_armed_) {
      stream.cancel_requested_ = true;
      core_.ring().cancel(token(Sink::receive, stream));
    }
    return;
  }
  votes = static_cast<std::uint8_t>(bytes < 2 * options_.receive_buffer_bytes ? votes + 1 : 0);
  if (votes < kModeVotesMax) return;
  votes = 0;
  stream.wanted_mode_ = Stream::ReceiveMode::small;
}

void Network::on_bytes(Stream& stream, runtime::BufferId buffer, std::uint32_t bytes) noexcept {
  counters_.bytes_received += bytes;
  if (stream.state_ != Stream::State::open) {
    buffers_.release(buffer);
    stream.discarded_ += bytes;
    // More is left in the socket: the peer can still read what we sent, until the deadline.
    if (stream.discarded_ > Stream::kDiscardBytesMax) stream.pause_receiving();
    return;
  }
  if (stream.paused_ || stream.held_ > 0 || core_.lanes().congested()) {
    hold(stream, buffer, bytes);
    return;
  }
  deliver(stream, buffer, bytes);
}

void Network::deliver(Stream& stream, runtime::BufferId buffer, std::uint32_t bytes) noexcept {
  stream.handler_->on_data(stream, {.bytes = buffers_.bytes(buffer, bytes), .buffer = buffer});
  buffers_.release(buffer);
}

void Network::on_receive_ended(Stream& stream, std::int32_t result) noexcept {
  if (stream.state_ == Stream::State::closing) {
    close_if_idle(stream);
    return;
  }
  if (result > 0 || result == -ECANCELED || result == -EINTR || result == -EAGAIN) {
    arm_receive(stream);  // a multishot may end for no reason, a single receive always does
  } else if (result == -ENOBUFS) {
    starve(stream);
  } else if (result == 0) {
    stream.ended_ = true;
    deliver_end(stream);
  } else {
    stream.abort(Error::from_errno(-result));
  }
}

void Network::deliver_end(Stream& stream) noexcept {
  if (stream.state_ != Stream::State::open) {
    stream.mark_dirty();  // a lingering stream has what it waited for
  } else if (stream.held_ > 0 || stream.paused_) {
    stream.end_pending_ = true;
  } else {
    stream.end_pending_ = false;
    stream.handler_->on_end(stream);
  }
}

void Network::starve(Stream& stream) noexcept {
  ++counters_.buffers_missing;
  const bool large = stream.mode_ == Stream::ReceiveMode::large;
  if (large && large_stuck_) {
    go_small(stream);
    return;
  }
  const std::uint16_t group = group_of(stream.mode_);
  if (buffers_.out(group) < buffers_.count(group)) {
    arm_receive(stream);  // some have come back meanwhile
    return;
  }
  stream.starved_ = true;
  (large ? starved_large_ : starved_).push_back(stream.id_);
  if (large && !large_wait_.queued()) core_.timers().add(large_wait_, core_.now() + kLargeWait);
  await_buffers();
}

void Network::go_small(Stream& stream) noexcept {
  stream.wanted_mode_ = Stream::ReceiveMode::small;
  stream.mode_votes_ = 0;
  arm_receive(stream);
}

void Network::await_buffers() noexcept {
  buffers_.notify_when_returned(
      [](void* context) noexcept { static_cast<Network*>(context)->feed_starved(); }, this);
}

// One buffer has come home: one stream may try again, so that the others do not fail in vain. What
// it receives comes home, too, and feeds the next.
void Network::feed_starved() noexcept {
  if (buffers_.out(large_group_) < buffers_.count(large_group_)) {
    large_stuck_ = false;
    feed_one(starved_large_);
    if (large_wait_.queued()) core_.timers().reschedule(large_wait_, core_.now() + kLargeWait);
  }
  if (buffers_.out(small_group_) < buffers_.count(small_group_)) feed_one(starved_);
  if (!starved_.empty() || !starved_large_.empty() || large_stuck_) await_buffers();
}

void Network::feed_one(std::deque<StreamId>& starved) noexcept {
  while (!starved.empty()) {
    Stream* stream = find(starved.front());
    starved.pop_front();
    if (stream == nullptr || !stream->starved_) continue;
    stream->starved_ = false;
    arm_receive(*stream);
    if (stream->receive_armed_) return;
  }
}

// All large buffers wait for peers that do not read. Whoever wanted one goes on with small ones.
void Network::on_large_wait() noexcept {
  if (starved_large_.empty()) return;
  large_stuck_ = true;
  while (!starved_large_.empty()) {
    Stream* stream = find(starved_large_.front());
    starved_large_.pop_front();
    if (stream == nullptr || !stream->starved_) continue;
    stream->starved_ = false;
    go_small(*stream);
  }
  await_buffers();
}

// A pause lasts as long as the peer likes, so what is held for it must not be a buffer that others
// need; a congested lane is over soon.
void Network::hold(Stream& stream, runtime::BufferId buffer, std::uint32_t bytes) noexcept {
  ++stream.held_;
  Held held{.stream = stream.id_, .buffer = buffer, .bytes = bytes, .copy = nullptr};
  if (stream.paused_ || buffers_.scarce(buffer.group)) {
    held.copy = std::make_unique<std::byte[]>(bytes);
    std::memcpy(held.copy.get(), buffers_.bytes(buffer, bytes).data(), bytes);
    held.buffer = runtime::kNoBuffer;
    buffers_.release(buffer);
  }
  held_.push_back(std::move(held));
  if (!stream.paused_ && !held_retry_.queued()) {
    core_.timers().add(held_retry_, core_.now() + kHeldRetry);
  }
}

void Network::deliver(Stream& stream, const Held& held) noexcept {
  if (held.copy == nullptr) {
    deliver(stream, held.buffer, held.bytes);
  } else {
    stream.handler_->on_data(stream,
                             {.bytes = {held.copy.get(), held.bytes}, .buffer = held.buffer});
  }
}

void Network::release(const Held& held) noexcept {
  if (held.copy == nullptr) buffers_.release(held.buffer);
}

void Network::deliver_held() noexcept {
  const std::size_t count = held_.size();
  bool congested = false;
  for (std::size_t i = 0; i < count; ++i) {
    Held held = std::move(held_.front());
    held_.pop_front();
    Stream* stream = find(held.stream);
    RT_ASSERT(stream != nullptr);  // begin_closing drops what is held
    if (stream->state_ != Stream::State::open) {
      --stream->held_;
      release(held);
      continue;
    }
    congested = congested || core_.lanes().congested();
    if (stream->paused_ || congested) {
      held_.push_back(std::move(held));
      continue;
    }
    --stream->held_;
    deliver(*stream, held);
    if (stream->held_ == 0 && stream->end_pending_) deliver_end(*stream);
  }
  if (congested && !held_retry_.queued()) {
    core_.timers().add(held_retry_, core_.now() + kHeldRetry);
  }
}

void Network::drop_held(StreamId stream) noexcept {
  std::erase_if(held_, [&](const Held& held) {
    if (held.stream != stream) return false;
    release(held);
    return true;
  });
}

}  // namespace net
