// Ring on a simulated world: every function prepares an operation, hands it to the world's kernel
// at the next wait(), and looks at what the kernel has posted.

#include <linux/openat2.h>
#include <unistd.h>

#include <memory>
#include <utility>

#include "runtime/assert.hpp"
#include "runtime/ring.hpp"
#include "runtime/sim/kernel.hpp"
#include "runtime/sim/ring_state.hpp"
#include "runtime/sim/world.hpp"

namespace corelane::runtime {

using sim::Operation;
using sim::OperationKind;
using sim::TraceKind;

struct Ring::Impl : sim::RingState {
  using RingState::RingState;

  // A prepared operation, to be filled in. Checks that the descriptor may be used.
  Operation& prepare(OperationKind kind, Descriptor descriptor, Token token) {
    world.kernel().check_open(*this, descriptor, kind);
    return prepare_unchecked(kind, descriptor, token);
  }
  Operation& prepare_unchecked(OperationKind kind, Descriptor descriptor, Token token) {
    ++counters.operations;
    Operation& operation = prepared.emplace_back();
    operation.kind = kind;
    operation.descriptor = descriptor;
    operation.token = token;
    return operation;
  }
};

Ring::Ring(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Ring::~Ring() = default;

Result<std::unique_ptr<Ring>> Ring::create(CoreId core, const RingOptions& options) {
  sim::World* world = sim::World::current();
  RT_ASSERT(world != nullptr);
  return std::unique_ptr<Ring>(new Ring(std::make_unique<Impl>(*world, core, options)));
}

// --- Turn

std::size_t Ring::reap(std::span<Completion> out) noexcept {
  Impl& impl = *impl_;
  std::size_t count = 0;
  while (count < out.size() && !impl.completions.empty()) {
    const Completion& completion = impl.completions.front();
    const std::uint64_t flags = std::uint64_t{completion.buffer} << 4 |
                                std::uint64_t{completion.has_buffer} << 1 |
                                std::uint64_t{completion.more};
    impl.world.trace().note(
        TraceKind::completion, impl.world.now(), impl.core, completion.token.value,
        std::uint64_t{static_cast<std::uint32_t>(completion.result)} << 32 | flags);
    out[count++] = completion;
    impl.completions.pop_front();
  }
  impl.counters.completions += count;
  return count;
}

void Ring::wait(Nanoseconds deadline) noexcept {
  Impl& impl = *impl_;
  if (!impl.prepared.empty() || !impl.overflow.empty()) ++impl.counters.system_calls;
  if (deadline > impl.world.coarse_now()) {
    ++impl.counters.system_calls;
    ++impl.counters.waits;
  }
  impl.world.kernel().submit(impl);
  impl.take_in_overflow();
  impl.deadline = deadline;
}

bool Ring::has_work() const noexcept {
  return !impl_->completions.empty() || !impl_->overflow.empty();
}

// --- Time and chance

Nanoseconds Ring::now() noexcept {
  return impl_->world.read_clock();
}
Nanoseconds Ring::wall_now() noexcept {
  return impl_->world.wall_now();
}
std::uint64_t Ring::entropy() noexcept {
  return impl_->world.entropy();
}

// --- Other cores

std::int32_t Ring::wake_handle() const noexcept {
  return sim::RingState::kFirstWakeHandle + static_cast<std::int32_t>(impl_->index);
}

void Ring::wake(std::int32_t handle) noexcept {
  RT_ASSERT(handle >= sim::RingState::kFirstWakeHandle);
  ++impl_->counters.wakes_sent;
  Operation& operation =
      impl_->prepare_unchecked(OperationKind::wake, {}, Token::make(Sink::ignore, 0, 0));
  operation.offset = static_cast<std::uint64_t>(handle - sim::RingState::kFirstWakeHandle);
}

std::int32_t Ring::take_bell() noexcept {
  return wake_handle();
}

void Ring::arm_bell() noexcept {}
void Ring::close_bell(std::int32_t) noexcept {}

void Ring::ring_bell(std::int32_t bell) noexcept {
  RT_ASSERT(bell >= sim::RingState::kFirstWakeHandle);
  if (sim::World::current() == nullptr) return;
  sim::World::current()->kernel().ring_bell(
      static_cast<std::uint64_t>(bell - sim::RingState::kFirstWakeHandle));
}

bool Ring::is_simulated() noexcept {
  return true;
}

std::size_t Ring::lane_batch(CoreId from, std::size_t most) noexcept {
  Impl& impl = *impl_;
  impl.world.about(impl.core, "lane");
  if (!impl.world.roll(sim::Fault::lane_reorder)) return most;
  // Small numbers are likelier: lanes seldom hold many messages.
  const std::size_t few = impl.world.count("messages", 4) - 1;
  const std::size_t batch = few < most ? few : most;
  impl.lanes_held_back = true;
  impl.world.trace().note(TraceKind::lane_batch, impl.world.now(), impl.core, from, batch);
  return batch;
}

void Ring::interleave() noexcept {
  impl_->world.interleave(*impl_);
}

// --- Provided buffers

Result<void> Ring::register_buffers(std::uint16_t group, std::byte* base,
                                    std::uint32_t buffer_bytes, std::uint32_t count,
                                    std::uint32_t given) noexcept {
  RT_ASSERT(given <= count);
  RT_ASSERT(group < sim::RingState::kGroupsMax);
  RT_ASSERT(count != 0);
  RT_ASSERT((count & (count - 1)) == 0);
  RT_ASSERT(count <= 32'768);
  RT_ASSERT(buffer_bytes != 0);
  RT_ASSERT(impl_->groups[group] == nullptr);
  impl_->groups[group] = std::make_unique<sim::BufferGroup>(base, buffer_bytes, count, given);
  return {};
}

void Ring::unregister_buffers(std::uint16_t group) noexcept {
  RT_ASSERT(impl_->groups[group] != nullptr);
  if (impl_->groups[group]->held_by_program() != 0) {
    impl_->world.fail("a group of buffers was taken away while some of them were in use");
  }
  impl_->groups[group].reset();
}

void Ring::recycle(std::uint16_t group, std::uint16_t buffer) noexcept {
  Impl& impl = *impl_;
  const bool known = group < sim::RingState::kGroupsMax && impl.groups[group] != nullptr;
  if (!known || !impl.groups[group]->give_back(buffer)) {
    impl.world.fail("a provided buffer was recycled that the kernel has already, or never had");
  }
}

// --- Sockets: made at once

Result<Descriptor> Ring::listen(const Address& address, const ListenOptions& options) noexcept {
  ++impl_->counters.system_calls;
  return impl_->world.kernel().listen(address, options);
}

Result<Descriptor> Ring::open_socket(int family) noexcept {
  ++impl_->counters.system_calls;
  return impl_->world.kernel().open_socket(family);
}

Result<void> Ring::bind_source(Descriptor, const Address&) noexcept {
  return fail(ErrorCode::unsupported);
}

Result<Descriptor> Ring::open_datagram(const Address& address,
                                       const DatagramOptions& options) noexcept {
  ++impl_->counters.system_calls;
  return impl_->world.kernel().open_datagram(address, options);
}

Result<void> Ring::connect_datagram(Descriptor socket, const Address& peer) noexcept {
  ++impl_->counters.system_calls;
  return impl_->world.kernel().connect_datagram(*impl_, socket, peer);
}

Result<Address> Ring::local_address(Descriptor socket) noexcept {
  return impl_->world.kernel().local_address(*impl_, socket);
}

Result<Address> Ring::peer_address(Descriptor socket) noexcept {
  return impl_->world.kernel().peer_address(*impl_, socket);
}

void Ring::close_now(Descriptor descriptor) noexcept {
  RT_ASSERT(!descriptor.direct);
  impl_->world.kernel().close_now(*impl_, descriptor);
}

void Ring::close_outside(Descriptor descriptor) noexcept {
  RT_ASSERT(!descriptor.direct);
  if (sim::Kernel::outside(descriptor)) {
    ::close(descriptor.number);
  } else if (sim::World::current() != nullptr) {
    sim::World::current()->kernel().close_outside(descriptor);
  }
}

// --- Sockets: operations

void Ring::accept(Descriptor listener, bool direct, Token token) noexcept {
  impl_->prepare(OperationKind::accept, listener, token).flags = direct ? 1 : 0;
}

void Ring::connect(Descriptor socket, const Address& address, Token token) noexcept {
  impl_->prepare(OperationKind::connect, socket, token).address = &address;
}

void Ring::receive_multishot(Descriptor socket, std::uint16_t group, Token token) noexcept {
  impl_->prepare(OperationKind::receive_multishot, socket, token).group = group;
}

void Ring::receive_selected(Descriptor socket, std::uint16_t group, Token token,
                            std::uint32_t bytes_max) noexcept {
  Operation& operation = impl_->prepare(OperationKind::receive_selected, socket, token);
  operation.group = group;
  operation.bytes = bytes_max;
}

void Ring::receive(Descriptor socket, std::span<std::byte> into, Token token) noexcept {
  Operation& operation = impl_->prepare(OperationKind::receive, socket, token);
  operation.into = into.data();
  operation.bytes = into.size();
}

void Ring::read_peer_address(Descriptor socket, sockaddr* into, socklen_t bytes,
                             Token token) noexcept {
  Operation& operation = impl_->prepare(OperationKind::peer_address, socket, token);
  operation.into = reinterpret_cast<std::byte*>(into);
  operation.bytes = bytes;
}

void Ring::send(Descriptor socket, std::span<const std::byte> bytes, Token token) noexcept {
  Operation& operation = impl_->prepare(OperationKind::send, socket, token);
  operation.from = bytes.data();
  operation.bytes = bytes.size();
}

void Ring::send_message(Descriptor socket, const msghdr* message, Token token) noexcept {
  Operation& operation = impl_->prepare(OperationKind::send_message, socket, token);
  operation.message = message;
  for (std::size_t i = 0; i < message->msg_iovlen; ++i) {
    operation.bytes += message->msg_iov[i].iov_len;
  }
}

void Ring::receive_message(Descriptor socket, msghdr* message, Token token) noexcept {
  impl_->prepare(OperationKind::receive_message, socket, token).message_into = message;
}

void Ring::shutdown(Descriptor socket, int how, Token token) noexcept {
  impl_->prepare(OperationKind::shutdown, socket, token).flags = how;
}

// --- Files

void Ring::open(const char* path, int flags, mode_t mode, Token token) noexcept {
  Operation& operation = impl_->prepare_unchecked(OperationKind::open, {}, token);
  operation.path = path;
  operation.flags = flags;
  operation.mode = mode;
}

void Ring::open_below(Descriptor directory, const char* path, const struct open_how* how,
                      Token token) noexcept {
  Operation& operation = impl_->prepare(OperationKind::open_below, directory, token);
  operation.path = path;
  operation.flags = static_cast<int>(how->flags);
  operation.mode = static_cast<mode_t>(how->mode);
}

void Ring::read(Descriptor file, std::span<std::byte> into, std::uint64_t offset,
                Token token) noexcept {
  Operation& operation = impl_->prepare(OperationKind::read, file, token);
  operation.into = into.data();
  operation.bytes = into.size();
  operation.offset = offset;
}

void Ring::write(Descriptor file, std::span<const std::byte> bytes, std::uint64_t offset,
                 Token token) noexcept {
  Operation& operation = impl_->prepare(OperationKind::write, file, token);
  operation.from = bytes.data();
  operation.bytes = bytes.size();
  operation.offset = offset;
}

void Ring::fsync(Descriptor file, bool data_only, Token token) noexcept {
  impl_->prepare(OperationKind::fsync, file, token).flags = data_only ? 1 : 0;
}

void Ring::stat(const char* path, struct statx* into, Token token) noexcept {
  Operation& operation = impl_->prepare_unchecked(OperationKind::stat_path, {}, token);
  operation.path = path;
  operation.stat = into;
}

void Ring::stat(Descriptor file, struct statx* into, Token token) noexcept {
  impl_->prepare(OperationKind::stat_descriptor, file, token).stat = into;
}

void Ring::remove(const char* path, bool directory, Token token) noexcept {
  Operation& operation = impl_->prepare_unchecked(OperationKind::remove, {}, token);
  operation.path = path;
  operation.flags = directory ? 1 : 0;
}

void Ring::rename(const char* from, const char* to, std::uint32_t flags, Token token) noexcept {
  Operation& operation = impl_->prepare_unchecked(OperationKind::rename, {}, token);
  operation.path = from;
  operation.target = to;
  operation.flags = static_cast<int>(flags);
}

void Ring::make_directory(const char* path, mode_t mode, Token token) noexcept {
  Operation& operation = impl_->prepare_unchecked(OperationKind::make_directory, {}, token);
  operation.path = path;
  operation.mode = mode;
}

Result<std::size_t> Ring::read_directory(Descriptor directory, std::span<std::byte> into) noexcept {
  sim::World* const world = sim::World::current();
  if (world == nullptr) return fail(ErrorCode::closed);
  return world->kernel().read_directory(directory, into);
}

void Ring::poll(Descriptor descriptor, std::uint32_t events, Token token) noexcept {
  impl_->prepare(OperationKind::poll, descriptor, token).flags = static_cast<int>(events);
}

void Ring::close(Descriptor descriptor, Token token) noexcept {
  impl_->prepare(OperationKind::close, descriptor, token);
}

// --- Cancel

void Ring::cancel(Token target) noexcept {
  Operation& operation =
      impl_->prepare_unchecked(OperationKind::cancel, {}, Token::make(Sink::ignore, 0, 0));
  operation.offset = target.value;
}

void Ring::cancel_all(Token target) noexcept {
  Operation& operation =
      impl_->prepare_unchecked(OperationKind::cancel, {}, Token::make(Sink::ignore, 0, 0));
  operation.offset = target.value;
  operation.flags = 1;
}

const Ring::Counters& Ring::counters() const noexcept {
  return impl_->counters;
}

}  // namespace corelane::runtime
