// The callbacks of a TcpStream's Stream, and the waits on it.
#include "net/tcp_state.hpp"

#include <algorithm>

#include "net/memory_holders.hpp"

namespace corelane::net::detail {

using runtime::ErrorCode;
using runtime::Result;

namespace {

TcpState& of(Stream& stream) noexcept {
  return *static_cast<TcpState*>(stream.owner());
}

void on_data(Stream& stream, const Received& received) noexcept {
  TcpState& state = of(stream);
  state.input.push(stream.lease(received));
  if (state.reader != nullptr) {
    state.wake_reader();
  } else if (state.input.is_full()) {
    stream.pause_receiving();
  }
}

void on_end(Stream& stream) noexcept {
  TcpState& state = of(stream);
  state.has_ended = true;
  state.wake_reader();
}

void on_closed(Stream& stream, runtime::Error why) noexcept {
  TcpState& state = of(stream);
  state.stream = nullptr;
  state.why = why;
  // The network may end now, and its buffers with it.
  if (!state.input.empty()) state.input.join();
  state.wake_all();
  state.gone.wake_all(runtime::WaitQueue::Outcome::granted);
}

void on_timer(Stream& stream) noexcept {
  TcpState& state = of(stream);
  state.is_late = true;
  state.wake_all();
}

void on_writable(Stream& stream) noexcept {
  of(stream).go_on_writing();
}

// How long a peer may take is the user's affair (deadlines); what waits for it is bounded.
void on_stalled(Stream&) noexcept {}

void add_held(const Stream& stream, HeldMemory& held) noexcept {
  held.add(static_cast<const TcpState*>(stream.owner())->input.held_bytes());
}

}  // namespace

const StreamHandler TcpState::kHandler{.name = "tcp stream",
                                       .on_data = on_data,
                                       .on_end = on_end,
                                       .on_closed = on_closed,
                                       .on_timer = on_timer,
                                       .on_writable = on_writable,
                                       .on_stalled = on_stalled,
                                       .on_memory_short = nullptr,
                                       .add_held = add_held};

void TcpState::add_writer(WriteWait& writer) noexcept {
  (last_writer != nullptr ? last_writer->next_ : first_writer) = &writer;
  last_writer = &writer;
}

void TcpState::remove_writer(const WriteWait& writer) noexcept {
  WriteWait* before = nullptr;
  WriteWait** link = &first_writer;
  while (*link != &writer) {
    before = *link;
    link = &before->next_;
  }
  *link = writer.next_;
  if (last_writer == &writer) last_writer = before;
}

void TcpState::go_on_writing() noexcept {
  while (first_writer != nullptr && first_writer->go_on()) {
    WriteWait& writer = *first_writer;
    remove_writer(writer);
    writer.wake();
  }
}

void TcpState::wake_all() noexcept {
  wake_reader();
  go_on_writing();
}

// --- Reading

bool ReadWait::await_ready() const noexcept {
  return state_.can_read(known_);
}

Result<void> ReadWait::await_resume() const noexcept {
  if (state_.input.bytes() > known_) return {};
  if (is_cancelled()) return runtime::fail(ErrorCode::cancelled);
  if (state_.is_late) return runtime::fail(ErrorCode::timed_out);
  if (state_.has_ended) return runtime::fail(ErrorCode::end_of_file);
  RT_ASSERT(state_.stream == nullptr);
  return runtime::Unexpected{state_.why};
}

void ReadWait::leave() noexcept {
  state_.reader = nullptr;
  if (state_.stream != nullptr && state_.input.is_full()) state_.stream->pause_receiving();
}

// --- Writing

bool WriteWait::await_ready() noexcept {
  return state_.first_writer == nullptr && go_on();
}

bool WriteWait::go_on() noexcept {
  if (state_.is_shut) return fail_with({ErrorCode::closed});
  if (state_.is_late) return fail_with({ErrorCode::timed_out});
  if (state_.stream == nullptr) return fail_with(state_.why);
  // One that is being cut tells why when it is gone.
  if (state_.stream->closing()) return false;
  is_done_ = send_some(*state_.stream);
  return is_done_;
}

Result<void> WriteWait::outcome() const noexcept {
  if (is_done_) return {};
  return runtime::Unexpected{error_};
}

void WriteWait::leave() noexcept {
  state_.remove_writer(*this);
}

std::size_t room_for(Stream& stream, std::size_t rest) noexcept {
  if (!stream.writable()) return 0;
  return std::min(rest, stream.network().options().queued_bytes_max - stream.queued_bytes());
}

}  // namespace corelane::net::detail
