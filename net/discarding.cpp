// Network discards the input of a stream after our last bytes to its peer (Stream::discard_input, a
// lingering close). A peer that is still sending reads these bytes only after it has sent
// everything. Closing a socket with unread input resets the connection, which may destroy our bytes
// at the peer. So the input is read, with low priority, and thrown away.

#include <poll.h>

#include "net/network.hpp"

namespace corelane::net {

using runtime::Sink;
using runtime::Token;

namespace {

// Receives a turn of all streams together that discard: 256 KiB, 40 us of a turn.
constexpr std::uint32_t kDiscardsMax = 8;

}  // namespace

// Discarding must cost other streams little. A discarding stream waits with a poll. At most
// kDiscardsMax streams with input receive at a time, one buffer each, in turn. While input_waits(),
// none of them receives.
void Network::arm_discard(Stream& stream, bool is_ready) noexcept {
  if (is_ready && input_waits()) return await_turn(stream);
  if (is_ready && discards_armed_ == kDiscardsMax) {
    discards_waiting_.push_back(stream.id_);
    return;
  }
  const Token receive = token(Sink::receive, stream);
  if (is_ready) {
    ++discards_armed_;
    ++counters_.receives;
    stream.receiving_.begin_receive();
    core_.ring().receive_selected(stream.descriptor(), group_of(BufferSize::discard), receive);
  } else {
    ++counters_.polls;
    stream.receiving_.begin_poll();
    stream.receiving_.rest();
    core_.ring().poll(stream.descriptor(), POLLIN, receive);
  }
}

// A receive for discarding has ended: the next waiting streams begin theirs.
void Network::discard_next() noexcept {
  while (discards_armed_ < kDiscardsMax && !discards_waiting_.empty()) {
    Stream* stream = find(discards_waiting_.front());
    discards_waiting_.pop_front();
    if (stream != nullptr && !stream->receiving_.in_flight()) arm_receive(*stream, true);
  }
}

void Network::discard(Stream& stream, runtime::BufferId buffer, std::uint32_t bytes) noexcept {
  counters_.bytes_received += bytes;
  counters_.bytes_discarded += bytes;
  const bool had_enough = has_discarded_enough(stream);
  if (!had_enough) stream.receive_bytes_ += bytes;
  if (stream.state_ != Stream::State::open || had_enough) {
    buffers_.release(buffer);
  } else if (stream.paused_ || stream.held_ != nullptr) {
    hold(stream, buffer, bytes);
  } else {
    deliver(stream, buffer, bytes);
  }
  if (has_discarded_enough(stream)) {
    // More is left in the socket: the peer can still read what we sent, until the deadline.
    stream.pause_receiving();
  } else if (stream.receiving_.size() != BufferSize::discard) {
    cancel_receive(stream);  // armed before: from now on with a poll
  }
}

}  // namespace corelane::net
