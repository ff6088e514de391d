// The callbacks of a TcpStream's Stream, and the waits on it.
#include "net/tcp_state.hpp"

#include <algorithm>

#include "net/memory_holders.hpp"

namespace corelane::net::detail {

using runtime::ErrorCode;
using runtime::Result;

namespace {

// Copies of at most this go into blocks that the core keeps; larger ones get memory of their own.
constexpr std::size_t kInBlocksMax = 16 * std::size_t{SendPool::kBlockBytes};

TcpState& of(Stream& stream) noexcept {
  return *static_cast<TcpState*>(stream.owner());
}

void on_data(Stream& stream, const Received& received) noexcept {
  TcpState& state = of(stream);
  state.input.push(stream.lease(received));
  if (!state.wake_reader()) state.pause_when_full();
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
  stream.network().keep_viewed(state.input);
  state.wake_all();
  state.gone.wake_all(runtime::WaitQueue::Outcome::granted);
}

void on_timer(Stream& stream) noexcept {
  TcpState& state = of(stream);
  // The input of a paused stream is full, so no reader waits.
  if (!stream.receiving_paused() && stream.look_again(state.has_looked)) {
    state.has_looked = true;
    return;
  }
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
  RT_ASSERT(state_.reader == nullptr);  // one coroutine at a time reads a stream
  return state_.can_read(known_);
}

Result<void> ReadWait::await_resume() noexcept {
  if (state_.reader == this) state_.reader = nullptr;
  if (state_.input.bytes() > known_) return {};
  if (is_cancelled()) return runtime::fail(ErrorCode::cancelled);
  if (state_.is_late) return runtime::fail(ErrorCode::timed_out);
  if (state_.has_ended) return runtime::fail(ErrorCode::end_of_file);
  RT_ASSERT(state_.stream == nullptr);
  return runtime::Unexpected{state_.why};
}

void ReadWait::leave() noexcept {
  if (state_.stream != nullptr) state_.pause_when_full();
}

// --- Writing

bool WriteWait::await_ready() noexcept {
  return state_.first_writer == nullptr && go_on();
}

bool WriteWait::go_on() noexcept {
  if (state_.is_shut) return fail_with({ErrorCode::closed});
  if (state_.stream == nullptr) return fail_with(state_.why);
  // An aborted stream has its error when it is gone.
  is_done_ = !state_.stream->closing() && send_some(*state_.stream);
  if (!is_done_ && state_.is_late) return fail_with({ErrorCode::timed_out});
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

std::size_t send_fitting(Stream& stream, std::span<const std::byte> bytes) noexcept {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const std::span<const std::byte> rest = bytes.subspan(done);
    std::size_t part = room_for(stream, rest.size());
    if (part == 0) break;
    if (rest.size() <= kInBlocksMax) part = std::min<std::size_t>(part, SendPool::kBlockBytes);
    const bool taken = stream.send_copy(rest.first(part));
    RT_ASSERT(taken);
    done += part;
  }
  return done;
}

}  // namespace corelane::net::detail
