#include <algorithm>
#include <memory>
#include <utility>

#include "net/peer_address.hpp"
#include "net/tcp.hpp"

namespace corelane::net {

using runtime::Error;
using runtime::ErrorCode;
using runtime::Result;
using runtime::Task;

namespace {

// Longer is for ever; the sum with a point in time can be counted.
constexpr runtime::Nanoseconds kLongest = runtime::kNever / 2;

// Of a stream whose TcpStream is gone.
constexpr StreamHandler kLetGo{"closing tcp stream",    [](Stream&, const Received&) noexcept {},
                               [](Stream&) noexcept {}, [](Stream&, Error) noexcept {},
                               [](Stream&) noexcept {}, nullptr};

}  // namespace

namespace detail {

Result<std::size_t> ReadInto::await_resume() noexcept {
  RT_ASSERT(!into_.empty());
  const auto ready = ReadWait::await_resume();
  if (!ready) return runtime::Unexpected{ready.error()};
  const std::size_t bytes = state_.input.read(into_);
  state_.note_read();
  return bytes;
}

Result<ReceivedBytes> ReadLease::await_resume() noexcept {
  const auto ready = ReadWait::await_resume();
  if (!ready) return runtime::Unexpected{ready.error()};
  ReceivedBytes bytes = state_.input.take();
  state_.note_read();
  return bytes;
}

bool WriteParts::send_some(Stream& stream) noexcept {
  for (; part_ < parts_.size(); ++part_, offset_ = 0) {
    offset_ += send_fitting(stream, parts_[part_].subspan(offset_));
    if (offset_ < parts_[part_].size()) return false;
  }
  return true;
}

bool WriteSome::send_some(Stream& stream) noexcept {
  sent_ = send_fitting(stream, bytes_);
  return sent_ > 0;
}

Result<std::size_t> WriteSome::await_resume() const noexcept {
  RT_ASSERT(!bytes_.empty());
  const auto done = outcome();
  if (!done) return runtime::Unexpected{done.error()};
  return sent_;
}

bool WriteLease::send_some(Stream& stream) noexcept {
  while (!bytes_.empty()) {
    const std::size_t part = room_for(stream, bytes_.size());
    if (part == 0) return false;
    const bool taken = stream.send_lease(bytes_, bytes_.bytes().first(part));
    RT_ASSERT(taken);
    bytes_.remove_prefix(part);
  }
  bytes_.reset();
  return true;
}

bool WriteShared::send_some(Stream& stream) noexcept {
  while (!bytes_.part.empty()) {
    const std::size_t part = room_for(stream, bytes_.part.size());
    if (part == 0) return false;
    const bool taken = stream.send_shared(bytes_.block, bytes_.part.first(part));
    RT_ASSERT(taken);
    bytes_.part = bytes_.part.subspan(part);
  }
  return true;
}

}  // namespace detail

// --- From the beginning to the end

Task<Result<TcpStream>> TcpStream::connect(runtime::Address address,
                                           const runtime::Address* source) {
  auto state = std::make_unique<detail::TcpState>();
  Network& network = Network::local();
  const auto id =
      co_await network.connect(address, detail::TcpState::kHandler, state.get(), source);
  if (!id) co_return runtime::Unexpected{id.error()};
  state->stream = network.find(*id);
  RT_ASSERT(state->stream != nullptr);
  co_return TcpStream(std::move(state));
}

TcpStream& TcpStream::operator=(TcpStream&& other) noexcept {
  if (this != &other) {
    if (state_ != nullptr) let_go(kLinger);
    state_ = std::move(other.state_);
  }
  return *this;
}

TcpStream::~TcpStream() {
  if (state_ != nullptr) let_go(kLinger);
}

void TcpStream::let_go(runtime::Duration linger) noexcept {
  RT_ASSERT(state_->reader == nullptr);        // a coroutine waits on a stream that ends:
  RT_ASSERT(state_->first_writer == nullptr);  // end its task first (TaskGroup::cancel, join)
  if (Stream* stream = state_->stream) {
    stream->set_handler(kLetGo, nullptr);
    stream->close(std::min(linger.nanoseconds(), kLongest));
  }
  state_.reset();
}

Task<Result<void>> TcpStream::close(runtime::Duration linger) {
  TcpStream ended = std::move(*this);
  detail::TcpState& state = ended.state();
  RT_ASSERT(state.reader == nullptr);
  state.is_shut = true;
  state.go_on_writing();
  state.input.clear();
  if (state.stream != nullptr) state.stream->close(std::min(linger.nanoseconds(), kLongest));
  while (state.stream != nullptr) {
    runtime::WaitQueue::Waiter waiter{state.gone};
    const auto outcome = co_await waiter;
    if (outcome == runtime::WaitQueue::Outcome::cancelled) {
      co_return runtime::fail(ErrorCode::cancelled);
    }
  }
  if (state.why.code != ErrorCode::closed) co_return runtime::Unexpected{state.why};
  co_return Result<void>{};
}

void TcpStream::abort() noexcept {
  if (Stream* const below = stream()) below->abort();
}

void TcpStream::shutdown_send() noexcept {
  state().is_shut = true;
  if (state_->stream != nullptr) state_->stream->shutdown_send();
  state_->go_on_writing();
}

void TcpStream::set_deadline(runtime::Duration after) noexcept {
  state().is_late = false;
  state_->has_looked = false;
  if (state_->stream == nullptr) return;
  const runtime::Nanoseconds left = after.nanoseconds();
  if (left == 0 || left >= kLongest) {
    state_->stream->cancel_timer();
  } else {
    state_->stream->set_timer(std::max<runtime::Nanoseconds>(left, 1));
  }
}

Task<std::optional<runtime::Address>> TcpStream::peer_address() {
  Stream* const below = stream();
  if (below == nullptr) co_return std::nullopt;
  co_return co_await net::peer_address(below->network(), below->id());
}

// --- Reading

Task<Result<void>> TcpStream::read_exactly(std::span<std::byte> into) {
  detail::TcpState& state = this->state();
  std::size_t done = 0;
  while (done < into.size()) {
    detail::WaitForMore more{state, 0};
    const auto ready = co_await more;
    if (!ready) {
      state.input.put_back(into.first(done));
      co_return runtime::Unexpected{ready.error()};
    }
    done += state.input.read(into.subspan(done));
    state.note_read();
  }
  co_return Result<void>{};
}

Task<Result<std::string_view>> TcpStream::read_until(std::string_view delimiter,
                                                     std::size_t bytes_max) {
  detail::TcpState& state = this->state();
  RT_ASSERT(!delimiter.empty());
  state.input.settle();
  std::size_t searched = 0;
  for (;;) {
    const std::size_t again = std::min(searched, delimiter.size() - 1);
    const std::size_t found = state.input.find(delimiter, searched - again);
    if (found != 0 && found <= bytes_max) {
      const std::span<const std::byte> bytes = state.input.view(found);
      state.note_read();
      co_return std::string_view{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    }
    searched = state.input.bytes();
    if (found != 0 || searched >= bytes_max) {
      co_return runtime::fail(ErrorCode::limit_exceeded, static_cast<std::int32_t>(bytes_max));
    }
    // A line that comes byte by byte must not hold a buffer for each.
    state.input.join();
    detail::WaitForMore more{state, searched};
    const auto ready = co_await more;
    if (!ready) co_return runtime::Unexpected{ready.error()};
  }
}

Task<Result<std::string_view>> TcpStream::read_line(std::size_t bytes_max) {
  auto line = co_await read_until("\n", bytes_max);
  if (!line) co_return runtime::Unexpected{line.error()};
  std::string_view text = *line;
  text.remove_suffix(1);
  if (text.ends_with('\r')) text.remove_suffix(1);
  co_return text;
}

// --- Writing

std::size_t TcpStream::try_write(std::span<const std::byte> bytes) noexcept {
  Stream* const below = state().stream;
  if (below == nullptr || below->closing() || state_->is_shut) return 0;
  if (state_->first_writer != nullptr) return 0;
  return detail::send_fitting(*below, bytes);
}

Task<Result<std::uint64_t>> splice(TcpStream& from, TcpStream& to) {
  std::uint64_t bytes = 0;
  for (;;) {
    auto piece = co_await from.read_some();
    if (!piece && piece.error().code != ErrorCode::end_of_file) {
      co_return runtime::Unexpected{piece.error()};
    }
    if (!piece) break;
    bytes += piece->size();
    const auto sent = co_await to.write_all(std::move(*piece));
    if (!sent) co_return runtime::Unexpected{sent.error()};
  }
  to.shutdown_send();
  co_return bytes;
}

}  // namespace corelane::net
