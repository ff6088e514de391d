#include "perf/micro/null_ring.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "perf/micro/workload.hpp"
#include "runtime/assert.hpp"

namespace corelane::perf {
namespace {

constexpr runtime::Nanoseconds kTurn = 100;

constinit thread_local NullPeer* peer_of_this_thread = nullptr;

}  // namespace

NullPeer& NullPeer::of_this_thread() noexcept {
  RT_ASSERT(peer_of_this_thread != nullptr);
  return *peer_of_this_thread;
}

int NullPeer::connect() {
  RT_ASSERT(accepting_ > 0);
  --accepting_;
  sockets_.emplace_back();
  const auto number = static_cast<int>(sockets_.size() - 1);
  done_.push_back({.token = accept_, .result = number});
  return number;
}

void NullPeer::arm(runtime::Descriptor descriptor, std::uint16_t group, runtime::Token token,
                   bool multishot) {
  socket(descriptor.number) = {
      .receive = token, .group = group, .armed = true, .multishot = multishot};
}

void NullPeer::deliver(int number, std::span<const std::byte> bytes) {
  Socket& to = socket(number);
  RT_ASSERT(to.armed);
  BufferGroup& group = groups_[to.group];
  RT_ASSERT(!group.free.empty());
  RT_ASSERT(bytes.size() <= group.buffer_bytes);
  const std::uint16_t buffer = group.free.back();
  group.free.pop_back();
  std::memcpy(group.base + std::size_t{buffer} * group.buffer_bytes, bytes.data(), bytes.size());
  to.armed = to.multishot;
  done_.push_back({.token = to.receive,
                   .result = static_cast<std::int32_t>(bytes.size()),
                   .buffer = buffer,
                   .has_buffer = true,
                   .more = to.multishot});
}

void NullPeer::end_receive(Socket& of) {
  if (std::exchange(of.armed, false)) complete(of.receive, -ECANCELED);
}

}  // namespace corelane::perf

namespace corelane::runtime {

struct Ring::Impl {
  perf::NullPeer peer;
  CoreId core;
};

Ring::Ring(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {
  perf::peer_of_this_thread = &impl_->peer;
}
Ring::~Ring() {
  if (perf::peer_of_this_thread == &impl_->peer) perf::peer_of_this_thread = nullptr;
}

Result<std::unique_ptr<Ring>> Ring::create(CoreId core, const RingOptions&) {
  return std::unique_ptr<Ring>(new Ring(std::make_unique<Impl>(Impl{.peer = {}, .core = core})));
}

// --- Turn

std::size_t Ring::reap(std::span<Completion> out) noexcept {
  perf::NullPeer& peer = impl_->peer;
  if (peer.reaped_ == peer.ready_.size()) {
    peer.ready_.clear();
    peer.reaped_ = 0;
    peer.ready_.swap(peer.done_);
  }
  const std::size_t count = std::min(out.size(), peer.ready_.size() - peer.reaped_);
  std::copy_n(peer.ready_.begin() + static_cast<std::ptrdiff_t>(peer.reaped_), count, out.begin());
  peer.reaped_ += count;
  peer.counters_.completions += count;
  return count;
}

// Never sleeps: what there is to wait for does not come by itself.
void Ring::wait(Nanoseconds) noexcept {
  impl_->peer.now_ += perf::kTurn;
}
bool Ring::has_work() const noexcept {
  return !impl_->peer.done_.empty() || impl_->peer.reaped_ != impl_->peer.ready_.size();
}

// --- Time, chance, other cores

Nanoseconds Ring::now() noexcept {
  return impl_->peer.now_;
}
Nanoseconds Ring::wall_now() noexcept {
  return impl_->peer.now_ + 1'700'000'000 * kSecond;
}
std::uint64_t Ring::entropy() noexcept {
  return perf::kSeed + 0x9e37'79b9'7f4a'7c15U * ++impl_->peer.entropy_;
}
std::int32_t Ring::wake_handle() const noexcept {
  return impl_->core;
}
// Cores of a benchmark poll and never sleep.
void Ring::wake(std::int32_t) noexcept {
  ++impl_->peer.counters_.wakes_sent;
}
std::int32_t Ring::take_bell() noexcept {
  return -1;
}
void Ring::arm_bell() noexcept {}
void Ring::ring_bell(std::int32_t) noexcept {}
void Ring::close_bell(std::int32_t) noexcept {}
std::size_t Ring::lane_batch(CoreId, std::size_t most) noexcept {
  return most;
}
void Ring::interleave() noexcept {}

// --- Provided buffers

Result<void> Ring::register_buffers(std::uint16_t group, std::byte* base,
                                    std::uint32_t buffer_bytes, std::uint32_t /*count*/,
                                    std::uint32_t given) noexcept {
  auto& of = impl_->peer.groups_.at(group);
  of.base = base;
  of.buffer_bytes = buffer_bytes;
  for (std::uint32_t i = 0; i < given; ++i) of.free.push_back(static_cast<std::uint16_t>(i));
  return {};
}
void Ring::unregister_buffers(std::uint16_t group) noexcept {
  impl_->peer.groups_.at(group) = {};
}
void Ring::recycle(std::uint16_t group, std::uint16_t buffer) noexcept {
  impl_->peer.groups_[group].free.push_back(buffer);
}

// --- Sockets

Result<Descriptor> Ring::listen(const Address&, const ListenOptions&) noexcept {
  impl_->peer.sockets_.emplace_back();
  return Descriptor{.number = static_cast<std::int32_t>(impl_->peer.sockets_.size() - 1)};
}
Result<void> Ring::bind_source(Descriptor, const Address&) noexcept {
  return fail(ErrorCode::unsupported);
}
Result<Descriptor> Ring::open_socket(int) noexcept {
  return Unexpected{Error::from_errno(ENOSYS)};
}
Result<Address> Ring::local_address(Descriptor) noexcept {
  return Address::parse("127.0.0.1:1");
}
Result<Address> Ring::peer_address(Descriptor) noexcept {
  return Address::parse("127.0.0.1:2");
}
void Ring::close_now(Descriptor) noexcept {}

void Ring::accept(Descriptor, bool, Token token) noexcept {
  impl_->peer.accept_ = token;
  ++impl_->peer.accepting_;
}
void Ring::connect(Descriptor, const Address&, Token token) noexcept {
  impl_->peer.complete(token, -ENOSYS);
}
void Ring::read_peer_address(Descriptor, sockaddr*, socklen_t, Token token) noexcept {
  impl_->peer.complete(token, -ENOTCONN);
}
void Ring::receive_multishot(Descriptor socket, std::uint16_t group, Token token) noexcept {
  impl_->peer.arm(socket, group, token, true);
}
void Ring::receive_selected(Descriptor socket, std::uint16_t group, Token token,
                            std::uint32_t) noexcept {
  impl_->peer.arm(socket, group, token, false);
}
void Ring::receive(Descriptor, std::span<std::byte>, Token token) noexcept {
  impl_->peer.complete(token, -ENOSYS);
}
void Ring::send(Descriptor, std::span<const std::byte> bytes, Token token) noexcept {
  ++impl_->peer.sends_;
  impl_->peer.bytes_sent_ += bytes.size();
  impl_->peer.complete(token, static_cast<std::int32_t>(bytes.size()));
}
void Ring::send_message(Descriptor, const msghdr* message, Token token) noexcept {
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < message->msg_iovlen; ++i) bytes += message->msg_iov[i].iov_len;
  ++impl_->peer.sends_;
  impl_->peer.bytes_sent_ += bytes;
  impl_->peer.complete(token, static_cast<std::int32_t>(bytes));
}
void Ring::shutdown(Descriptor, int, Token token) noexcept {
  impl_->peer.complete(token, 0);
}

// --- Files

void Ring::open(const char*, int, mode_t, Token token) noexcept {
  impl_->peer.complete(token, -ENOSYS);
}
void Ring::read(Descriptor, std::span<std::byte>, std::uint64_t, Token token) noexcept {
  impl_->peer.complete(token, -ENOSYS);
}
void Ring::write(Descriptor, std::span<const std::byte>, std::uint64_t, Token token) noexcept {
  impl_->peer.complete(token, -ENOSYS);
}
void Ring::fsync(Descriptor, bool, Token token) noexcept {
  impl_->peer.complete(token, -ENOSYS);
}
void Ring::stat(const char*, struct statx*, Token token) noexcept {
  impl_->peer.complete(token, -ENOSYS);
}
void Ring::stat(Descriptor, struct statx*, Token token) noexcept {
  impl_->peer.complete(token, -ENOSYS);
}
void Ring::open_below(Descriptor, const char*, const struct open_how*, Token token) noexcept {
  impl_->peer.complete(token, -ENOSYS);
}
void Ring::remove(const char*, bool, Token token) noexcept {
  impl_->peer.complete(token, -ENOSYS);
}
void Ring::rename(const char*, const char*, std::uint32_t, Token token) noexcept {
  impl_->peer.complete(token, -ENOSYS);
}
void Ring::make_directory(const char*, mode_t, Token token) noexcept {
  impl_->peer.complete(token, -ENOSYS);
}
Result<std::size_t> Ring::read_directory(Descriptor, std::span<std::byte>) noexcept {
  return fail(ErrorCode::unsupported);
}
bool Ring::is_simulated() noexcept {
  return true;
}
void Ring::poll(Descriptor, std::uint32_t, Token token) noexcept {
  impl_->peer.complete(token, -ENOSYS);
}
void Ring::close(Descriptor, Token token) noexcept {
  impl_->peer.complete(token, 0);
}

// --- Cancel

void Ring::cancel(Token target) noexcept {
  perf::NullPeer& peer = impl_->peer;
  for (auto& socket : peer.sockets_) {
    if (socket.receive.value == target.value) peer.end_receive(socket);
  }
}

// Only accepts are ever many.
void Ring::cancel_all(Token target) noexcept {
  perf::NullPeer& peer = impl_->peer;
  for (; peer.accepting_ > 0; --peer.accepting_) peer.complete(target, -ECANCELED);
}

const Ring::Counters& Ring::counters() const noexcept {
  return impl_->peer.counters_;
}

}  // namespace corelane::runtime
