#include "net/stream.hpp"

#include <algorithm>
#include <cstring>

#include "net/network.hpp"

namespace corelane::net {

SendQueue& Stream::queue() {
  return queue_ != nullptr ? *queue_ : network_.take_queue(*this);
}

// All that is sent comes by here, except control frames and last words, which have no limit; it
// then lies in the queue, and Network::flush_stream sends from there.
inline bool Stream::admit(std::size_t bytes, bool is_shared) noexcept {
  if (state_ != State::open || sealed_) return false;
  const bool fits = queued_bytes() + bytes <= network_.options_.queued_bytes_max;
  if (!fits && !admit_burst(bytes, is_shared)) [[unlikely]]
    return false;
  mark_dirty();
  return true;
}

// Past the limit. The rule (NetworkOptions says why): shared memory may pass it, up to kBurst
// times, as long as the core keeps no more than shared_bytes_max and a send has completed within
// burst_patience; and so may copies behind it that alone stay within the limit. Otherwise an answer
// of a few bytes behind a burst of events would close a peer that reads.
//
// A send that the socket can take whole completes while it is handed over. One that does not has
// found the socket full, and completes when the peer has taken all of it: so a reader must take an
// operation (256 KiB, of a burst as much as the limit, or one larger piece) within the patience.
bool Stream::admit_burst(std::size_t bytes, bool is_shared) const noexcept {
  const NetworkOptions& options = network_.options_;
  const std::size_t copied = queue_ != nullptr ? queue_->copied_bytes() : 0;
  if (!is_shared && copied + bytes > options.queued_bytes_max) return false;
  if (network_.core_.shared_bytes() > options.shared_bytes_max) return false;
  // With nothing queued the peer has taken all there was, and a shared piece costs a handle.
  if (queue_ == nullptr) return true;
  const std::size_t most = NetworkOptions::kBurst * options.queued_bytes_max;
  if (queue_->bytes() + bytes > std::min(most, SendQueue::kBytesMax)) return false;
  const runtime::Nanoseconds deadline = queue_->progress_at + options.burst_patience;
  return !send_armed_ || network_.core_.reaped_until() < deadline;
}

inline void Stream::push(std::span<const std::byte> bytes, PieceOwner owner, void* handle) {
  queue().push({.data = bytes.data(),
                .bytes = static_cast<std::uint32_t>(bytes.size()),
                .owner = owner,
                .handle = handle});
}

std::byte* Stream::send_space(std::size_t bytes) {
  if (!admit(bytes, false)) return nullptr;
  return queue().append(bytes, network_.send_pool_);
}

std::byte* Stream::send_head(std::size_t bytes, std::size_t rest_bytes) {
  if (!admit(bytes + rest_bytes, true)) return nullptr;
  return queue().append(bytes, network_.send_pool_);
}

void Stream::send_rest(const runtime::SharedBytes& block, std::span<const std::byte> part) {
  queue().push({.data = part.data(),
                .bytes = static_cast<std::uint32_t>(part.size()),
                .owner = PieceOwner::shared,
                .continues = true,
                .handle = block.share().release_raw()});
}

bool Stream::send_copy(std::span<const std::byte> bytes) {
  if (bytes.empty()) return state_ == State::open;
  std::byte* space = send_space(bytes.size());
  if (space == nullptr) return false;
  std::memcpy(space, bytes.data(), bytes.size());
  return true;
}

bool Stream::send_shared(const runtime::SharedBytes& block, std::span<const std::byte> part) {
  if (!admit(part.size(), true)) return false;
  push(part, PieceOwner::shared, block.share().release_raw());
  return true;
}

bool Stream::send_in_place(const Received& received, std::span<const std::byte> bytes) {
  if (!admit(bytes.size(), false)) return false;
  if (queue_ != nullptr && queue_->extend_last(received.buffer, bytes)) return true;
  if (received.buffer == runtime::kNoBuffer || network_.is_needed(received.buffer.group)) {
    // A peer that does not read must not keep the last buffers from everybody else.
    std::memcpy(queue().append(bytes.size(), network_.send_pool_), bytes.data(), bytes.size());
    return true;
  }
  network_.buffers_.share(received.buffer);
  queue().push({.data = bytes.data(),
                .bytes = static_cast<std::uint32_t>(bytes.size()),
                .owner = PieceOwner::buffer,
                .buffer = received.buffer});
  return true;
}

bool Stream::send_lease(const ReceivedBytes& lease, std::span<const std::byte> part) {
  if (lease.copy_) return send_shared(lease.copy_, part);
  std::byte* const data = const_cast<std::byte*>(part.data());  // it is not written to
  return send_in_place({.bytes = {data, part.size()}, .buffer = lease.buffer_}, part);
}

bool Stream::send_static(std::span<const std::byte> bytes) {
  if (!admit(bytes.size(), false)) return false;
  push(bytes, PieceOwner::nobody, nullptr);
  return true;
}

bool Stream::send_foreign(ForeignBytes& owner, std::span<const std::byte> bytes) {
  if (!admit(bytes.size(), false)) return false;
  push(bytes, PieceOwner::foreign, &owner);
  return true;
}

void Stream::set_transform(SendTransform* transform) {
  network_.set_transform(*this, transform);
}

void Stream::send_control(ControlKind kind, std::span<const std::byte> bytes) {
  RT_ASSERT(bytes.size() <= SendPool::kBlockBytes);
  if (state_ != State::open) return;
  mark_dirty();
  std::byte* block = network_.send_pool_.take_block();
  std::memcpy(block, bytes.data(), bytes.size());
  queue().push_control({.data = block,
                        .bytes = static_cast<std::uint32_t>(bytes.size()),
                        .owner = PieceOwner::block,
                        .control = kind,
                        .handle = block},
                       network_.send_pool_);
}

void Stream::send_last(std::span<const std::byte> bytes) {
  if (state_ != State::open) return;
  mark_dirty();
  std::memcpy(queue().append(bytes.size(), network_.send_pool_), bytes.data(), bytes.size());
}

bool Stream::writable() noexcept {
  if (queued_bytes() <= network_.options_.queued_bytes_max / 2) return true;
  blocked_ = true;
  return false;
}

std::size_t Stream::drop_unsent() noexcept {
  return queue_ != nullptr ? queue_->drop_waiting(network_.send_pool_) : 0;
}

ReceivedBytes Stream::lease(const Received& received) {
  if (received.buffer == runtime::kNoBuffer || network_.is_needed(received.buffer.group)) {
    return ReceivedBytes::copy_of(received.bytes);
  }
  network_.buffers_.share(received.buffer);
  return ReceivedBytes{network_.buffers_, received.buffer, received.bytes};
}

void Stream::shutdown_send() noexcept {
  if (state_ != State::open || sealed_) return;
  sealed_ = true;
  ends_sending_ = true;
  mark_dirty();
}

void Stream::pause_receiving() noexcept {
  if (paused_) return;
  paused_ = true;
  network_.cancel_receive(*this);
}

void Stream::resume_receiving() noexcept {
  if (!paused_ || network_.has_discarded_enough(*this)) return;
  paused_ = false;
  mark_dirty();  // the end of the turn delivers what was held and arms the receive
}

void Stream::close(runtime::Nanoseconds linger, runtime::Nanoseconds flush) noexcept {
  if (state_ != State::open) return;
  linger_ = linger > 0;
  linger_for_ = linger;
  if (linger_) discard_input();
  state_ = State::flushing;
  // A lingering stream waits for the peer's end, which only a receive can tell.
  if (linger_) resume_receiving();
  network_.set_timer(*this, std::max(linger, flush));
  mark_dirty();
}

void Stream::discard_input() noexcept {
  if (state_ != State::open || receiving_.discards()) return;
  receiving_.discard();
  receive_bytes_ = 0;
}

void Stream::abort(runtime::Error why) noexcept {
  if (state_ == State::closing || state_ == State::closed || abort_) return;
  abort_ = true;
  why_ = why;
  // Nothing may be sent or delivered from here on, also in the rest of this turn.
  if (state_ == State::open) state_ = State::flushing;
  mark_dirty();
}

void Stream::set_timer(runtime::Nanoseconds after) noexcept {
  if (state_ == State::open) network_.set_timer(*this, after);
}

// Also true for a paused stream: unread bytes are then not the fault of the peer.
bool Stream::may_have_unread() const noexcept {
  if (ended_) return held_ != nullptr;
  return !receiving_.in_flight() || held_ != nullptr || !network_.core_.reaped_all();
}

bool Stream::look_again(bool looked) noexcept {
  if ((looked || !network_.tick_is_late_) && !may_have_unread()) return false;
  set_timer(1);  // at the next tick: 0 could still be due in this turn
  return true;
}

void Stream::cancel_timer() noexcept {
  if (state_ == State::open) network_.cancel_timer(*this);
}

}  // namespace corelane::net
