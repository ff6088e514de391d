// The production ring: io_uring by way of liburing. One ring a core, with SINGLE_ISSUER and
// DEFER_TASKRUN: completions are posted only when the core enters the kernel, so that a running
// handler is never interrupted and wake-ups come in batches (io_uring_setup(2), Linux 6.1).

#include <dirent.h>
#include <liburing.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "runtime/assert.hpp"
#include "runtime/cpu_level.hpp"
#include "runtime/ring.hpp"
#include "runtime/uring/sockets.hpp"
#include "runtime/uring_constants.hpp"

namespace corelane::runtime {
namespace {

constexpr std::size_t kGroupsMax = 8;

Nanoseconds read_clock(clockid_t clock) noexcept {
  timespec time{};
  clock_gettime(clock, &time);
  return Nanoseconds{time.tv_sec} * kSecond + time.tv_nsec;
}

struct BufferGroup {
  io_uring_buf_ring* ring = nullptr;  // page-aligned memory shared with the kernel
  std::size_t ring_bytes = 0;
  std::byte* base = nullptr;
  std::uint32_t buffer_bytes = 0;
  std::uint32_t count = 0;
};

}  // namespace

struct Ring::Impl {
  io_uring uring{};
  std::array<BufferGroup, kGroupsMax> groups{};
  int bell = -1;  // an eventfd
  bool bell_taken = false;
  Counters counters;

  ~Impl() {
    io_uring_queue_exit(&uring);
    if (bell >= 0 && !bell_taken) ::close(bell);
    for (BufferGroup& group : groups) {
      if (group.ring != nullptr) munmap(group.ring, group.ring_bytes);
    }
  }

  // An empty entry. A full queue is handed over first: the kernel takes it in at once.
  io_uring_sqe* entry(Token token) noexcept {
    io_uring_sqe* sqe = io_uring_get_sqe(&uring);
    if (sqe == nullptr) [[unlikely]]
      sqe = entry_after_submit();
    ++counters.operations;
    sqe->user_data = token.value;
    return sqe;
  }
  [[gnu::cold, gnu::noinline]] io_uring_sqe* entry_after_submit() noexcept;
  void cancel(Token target, int flags) noexcept {
    const Token token = Token::make(Sink::ignore, 0, 0);
    io_uring_sqe* sqe = entry(token);
    io_uring_prep_cancel64(sqe, target.value, flags);
    finish(sqe, token, {});
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
  }

  std::uint32_t kernel_flags() const noexcept {
    // Relaxed is enough: a stale reading costs a turn, and the next enter is a full barrier.
    return __atomic_load_n(uring.sq.kflags, __ATOMIC_RELAXED);
  }

  // liburing's prep functions clear user_data, so it is set after them.
  static void finish(io_uring_sqe* sqe, Token token, Descriptor descriptor) noexcept {
    sqe->user_data = token.value;
    if (descriptor.direct) sqe->flags |= IOSQE_FIXED_FILE;
  }
};

io_uring_sqe* Ring::Impl::entry_after_submit() noexcept {
  for (int attempt = 0; attempt < 1000; ++attempt) {
    ++counters.system_calls;
    // EBUSY/EAGAIN: the completion queue overflowed or memory is short; get_events flushes.
    if (io_uring_submit(&uring) < 0) {
      ++counters.system_calls;
      io_uring_get_events(&uring);
    }
    if (io_uring_sqe* sqe = io_uring_get_sqe(&uring)) return sqe;
  }
  assertion_failed("the kernel takes no more submissions", __FILE__, __LINE__);
}

Ring::Ring(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Ring::~Ring() = default;

Result<std::unique_ptr<Ring>> Ring::create(CoreId, const RingOptions& options) {
  // This call links the check before main() into every program that uses io_uring.
  RT_ASSERT(cpu_level() >= cpu_level_needed());
  auto impl = std::make_unique<Impl>();
  io_uring_params params{};
  params.flags = kRingSetupFlags;
  params.cq_entries = std::max(options.completion_entries, options.entries * 2);
  if (const int error = io_uring_queue_init_params(options.entries, &impl->uring, &params)) {
    return Unexpected{Error::from_errno(-error)};
  }
  // Saves the descriptor look-up in every io_uring_enter. Optional: it only costs time to lack it.
  io_uring_register_ring_fd(&impl->uring);
  if (options.direct_descriptors != 0) {
    const int error = io_uring_register_files_sparse(&impl->uring, options.direct_descriptors);
    if (error != 0) return Unexpected{Error::from_errno(-error)};
  }
  impl->bell = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (impl->bell < 0) return Unexpected{Error::from_errno(errno)};
  std::unique_ptr<Ring> ring(new Ring(std::move(impl)));
  ring->arm_bell();
  return ring;
}

// --- Turn

std::size_t Ring::reap(std::span<Completion> out) noexcept {
  Impl& impl = *impl_;
  std::size_t count = 0;
  unsigned head = 0;
  io_uring_cqe* cqe = nullptr;
  io_uring_for_each_cqe(&impl.uring, head, cqe) {
    if (count == out.size()) break;
    out[count++] = {
        .token = {cqe->user_data},
        .result = cqe->res,
        .buffer = static_cast<std::uint16_t>(cqe->flags >> IORING_CQE_BUFFER_SHIFT),
        .has_buffer = (cqe->flags & IORING_CQE_F_BUFFER) != 0,
        .more = (cqe->flags & IORING_CQE_F_MORE) != 0,
    };
  }
  io_uring_cq_advance(&impl.uring, static_cast<unsigned>(count));
  impl.counters.completions += count;
  return count;
}

bool Ring::has_work() const noexcept {
  return io_uring_cq_ready(&impl_->uring) != 0 ||
         (impl_->kernel_flags() & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

void Ring::wait(Nanoseconds deadline) noexcept {
  Impl& impl = *impl_;
  if ((impl.kernel_flags() & IORING_SQ_CQ_OVERFLOW) != 0) ++impl.counters.overflows;
  const Nanoseconds left = deadline == kNever ? kNever : deadline == 0 ? 0 : deadline - now();
  if (left <= 0 || io_uring_cq_ready(&impl.uring) != 0) {
    if (io_uring_sq_ready(&impl.uring) != 0) {
      ++impl.counters.system_calls;
      io_uring_submit_and_get_events(&impl.uring);
    } else if ((impl.kernel_flags() & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0) {
      ++impl.counters.system_calls;
      io_uring_get_events(&impl.uring);
    }
    return;
  }
  ++impl.counters.system_calls;
  ++impl.counters.waits;
  io_uring_cqe* first = nullptr;
  __kernel_timespec timeout{.tv_sec = left / kSecond, .tv_nsec = left % kSecond};
  // ETIME and EINTR are ends of the wait like any other; EBUSY and EAGAIN mean: reap, then go on.
  const int result = io_uring_submit_and_wait_timeout(&impl.uring, &first, 1,
                                                      left == kNever ? nullptr : &timeout, nullptr);
  RT_ASSERT(result >= 0 || result == -ETIME || result == -EINTR || result == -EBUSY ||
            result == -EAGAIN);
}

// --- Time and chance

Nanoseconds Ring::now() noexcept {
  return read_clock(CLOCK_MONOTONIC);
}
Nanoseconds Ring::wall_now() noexcept {
  return read_clock(CLOCK_REALTIME);
}

std::uint64_t Ring::entropy() noexcept {
  std::uint64_t value = 0;
  ssize_t bytes = 0;
  do {
    // EINTR: a signal came while the kernel had no entropy yet, early after boot.
    bytes = getrandom(&value, sizeof value, 0);
  } while (bytes < 0 && errno == EINTR);
  RT_ASSERT(bytes == sizeof value);
  return value;
}

// --- Other cores

std::int32_t Ring::wake_handle() const noexcept {
  return impl_->uring.ring_fd;
}

void Ring::wake(std::int32_t handle) noexcept {
  ++impl_->counters.wakes_sent;
  io_uring_sqe* sqe = impl_->entry({});
  io_uring_prep_msg_ring(sqe, handle, 0, Token::make(Sink::wake, 0, 0).value, 0);
  sqe->user_data = Token::make(Sink::ignore, 0, 0).value;
  sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

std::int32_t Ring::take_bell() noexcept {
  impl_->bell_taken = true;
  return impl_->bell;
}

// Multishot, and edge-triggered: each write posts a completion, and nobody has to read the counter,
// which has room for 2^64 - 2 of them.
void Ring::arm_bell() noexcept {
  const Token token = Token::make(Sink::wake, kBellSlot, 0);
  io_uring_sqe* sqe = impl_->entry(token);
  io_uring_prep_poll_multishot(sqe, impl_->bell, POLLIN);
  Impl::finish(sqe, token, {});
}

void Ring::ring_bell(std::int32_t bell) noexcept {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(bell, &one, sizeof one);
}

void Ring::close_bell(std::int32_t bell) noexcept {
  ::close(bell);
}

bool Ring::is_simulated() noexcept {
  return false;
}

std::size_t Ring::lane_batch(CoreId, std::size_t most) noexcept {
  return most;
}

void Ring::interleave() noexcept {}

// --- Provided buffers

Result<void> Ring::register_buffers(std::uint16_t group, std::byte* base,
                                    std::uint32_t buffer_bytes, std::uint32_t count,
                                    std::uint32_t given) noexcept {
  RT_ASSERT(given <= count);
  RT_ASSERT(group < kGroupsMax);
  RT_ASSERT(count != 0 && (count & (count - 1)) == 0 && count <= 32768);
  BufferGroup& entry = impl_->groups[group];
  RT_ASSERT(entry.ring == nullptr);
  const std::size_t bytes = count * sizeof(io_uring_buf);
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return Unexpected{Error::from_errno(errno)};
  auto* ring = static_cast<io_uring_buf_ring*>(memory);
  io_uring_buf_reg registration{};
  registration.ring_addr = reinterpret_cast<std::uintptr_t>(ring);
  registration.ring_entries = count;
  registration.bgid = group;
  if (const int error = io_uring_register_buf_ring(&impl_->uring, &registration, 0)) {
    munmap(memory, bytes);
    return Unexpected{Error::from_errno(-error)};
  }
  io_uring_buf_ring_init(ring);
  entry = {.ring = ring,
           .ring_bytes = bytes,
           .base = base,
           .buffer_bytes = buffer_bytes,
           .count = count};
  for (std::uint32_t id = 0; id < given; ++id) recycle(group, static_cast<std::uint16_t>(id));
  return {};
}

void Ring::unregister_buffers(std::uint16_t group) noexcept {
  BufferGroup& entry = impl_->groups[group];
  RT_ASSERT(entry.ring != nullptr);
  const int error = io_uring_unregister_buf_ring(&impl_->uring, group);
  RT_ASSERT(error == 0);
  munmap(entry.ring, entry.ring_bytes);
  entry = {};
}

void Ring::recycle(std::uint16_t group, std::uint16_t buffer) noexcept {
  BufferGroup& entry = impl_->groups[group];
  RT_DEBUG_ASSERT(buffer < entry.count);
  io_uring_buf_ring_add(entry.ring, entry.base + std::size_t{buffer} * entry.buffer_bytes,
                        entry.buffer_bytes, buffer, io_uring_buf_ring_mask(entry.count), 0);
  io_uring_buf_ring_advance(entry.ring, 1);
}

// --- Sockets

Result<Descriptor> Ring::listen(const Address& address, const ListenOptions& options) noexcept {
  return sockets::listen(address, options);
}
Result<Descriptor> Ring::open_socket(int family) noexcept {
  return sockets::open_stream(family);
}
Result<void> Ring::bind_source(Descriptor socket, const Address& source) noexcept {
  return sockets::bind_source(socket, source);
}
Result<Descriptor> Ring::open_datagram(const Address& address,
                                       const DatagramOptions& options) noexcept {
  return sockets::open_datagram(address, options);
}
Result<void> Ring::connect_datagram(Descriptor socket, const Address& peer) noexcept {
  return sockets::connect_datagram(socket, peer);
}
Result<Address> Ring::local_address(Descriptor socket) noexcept {
  return sockets::local_address(socket);
}
Result<Address> Ring::peer_address(Descriptor socket) noexcept {
  return sockets::peer_address(socket);
}

void Ring::close_now(Descriptor descriptor) noexcept {
  RT_ASSERT(!descriptor.direct);
  ::close(descriptor.number);
}

void Ring::close_outside(Descriptor descriptor) noexcept {
  RT_ASSERT(!descriptor.direct);
  ::close(descriptor.number);
}

void Ring::accept(Descriptor listener, bool direct, Token token) noexcept {
  io_uring_sqe* sqe = impl_->entry(token);
  io_uring_prep_accept(sqe, listener.number, nullptr, nullptr, direct ? 0 : SOCK_CLOEXEC);
  // By hand: liburing 2.3's io_uring_prep_accept_direct() makes 0 of this value.
  if (direct) sqe->file_index = IORING_FILE_INDEX_ALLOC;
  Impl::finish(sqe, token, listener);
}

void Ring::connect(Descriptor socket, const Address& address, Token token) noexcept {
  io_uring_sqe* sqe = impl_->entry(token);
  io_uring_prep_connect(sqe, socket.number, address.raw(), address.raw_bytes());
  Impl::finish(sqe, token, socket);
}

void Ring::receive_multishot(Descriptor socket, std::uint16_t group, Token token) noexcept {
  io_uring_sqe* sqe = impl_->entry(token);
  io_uring_prep_recv_multishot(sqe, socket.number, nullptr, 0, 0);
  Impl::finish(sqe, token, socket);
  sqe->flags |= IOSQE_BUFFER_SELECT;
  sqe->buf_group = group;
}

void Ring::receive_selected(Descriptor socket, std::uint16_t group, Token token,
                            std::uint32_t bytes_max) noexcept {
  io_uring_sqe* sqe = impl_->entry(token);
  io_uring_prep_recv(sqe, socket.number, nullptr, bytes_max, 0);
  Impl::finish(sqe, token, socket);
  sqe->flags |= IOSQE_BUFFER_SELECT;
  sqe->buf_group = group;
}

void Ring::receive(Descriptor socket, std::span<std::byte> into, Token token) noexcept {
  io_uring_sqe* sqe = impl_->entry(token);
  io_uring_prep_recv(sqe, socket.number, into.data(), into.size(), 0);
  Impl::finish(sqe, token, socket);
}

void Ring::read_peer_address(Descriptor socket, sockaddr* into, socklen_t bytes,
                             Token token) noexcept {
  io_uring_sqe* sqe = impl_->entry(token);
  // liburing 2.3 has no names for these fields: level and optname share the place of addr, optlen
  // that of file_index, optval that of addr3.
  io_uring_prep_rw(IORING_OP_URING_CMD, sqe, socket.number, nullptr, 0, 0);
  sqe->cmd_op = kSocketGetOption;
  sqe->addr = std::uint64_t{SO_PEERNAME} << 32 | SOL_SOCKET;
  sqe->file_index = bytes;
  sqe->addr3 = reinterpret_cast<std::uintptr_t>(into);
  Impl::finish(sqe, token, socket);
}

void Ring::send(Descriptor socket, std::span<const std::byte> bytes, Token token) noexcept {
  io_uring_sqe* sqe = impl_->entry(token);
  io_uring_prep_send(sqe, socket.number, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_WAITALL);
  Impl::finish(sqe, token, socket);
}

void Ring::send_message(Descriptor socket, const msghdr* message, Token token) noexcept {
  io_uring_sqe* sqe = impl_->entry(token);
  io_uring_prep_sendmsg(sqe, socket.number, message, MSG_NOSIGNAL | MSG_WAITALL);
  Impl::finish(sqe, token, socket);
}

void Ring::receive_message(Descriptor socket, msghdr* message, Token token) noexcept {
  io_uring_sqe* sqe = impl_->entry(token);
  io_uring_prep_recvmsg(sqe, socket.number, message, 0);
  Impl::finish(sqe, token, socket);
}

void Ring::shutdown(Descriptor socket, int how, Token token) noexcept {
  io_uring_sqe* sqe = impl_->entry(token);
  io_uring_prep_shutdown(sqe, socket.number, how);
  Impl::finish(sqe, token, socket);
}

// --- Files and descriptors

void Ring::open(const char* path, int flags, mode_t mode, Token token) noexcept {
  io_uring_sqe* sqe = impl_->entry(token);
  io_uring_prep_openat(sqe, AT_FDCWD, path, flags | O_CLOEXEC, mode);
  Impl::finish(sqe, token, {});
}

void Ring::open_below(Descriptor directory, const char* path, const struct open_how* how,
                      Token token) noexcept {
  io_uring_sqe* sqe = impl_->entry(token);
  io_uring_prep_openat2(sqe, directory.number, path, const_cast<struct open_how*>(how));
  Impl::finish(sqe, token, {});
}

void Ring::read(Descriptor file, std::span<std::byte> into, std::uint64_t offset,
                Token token) noexcept {
  io_uring_sqe* sqe = impl_->entry(token);
  io_uring_prep_read(sqe, file.number, into.data(), static_cast<unsigned>(into.size()), offset);
  Impl::finish(sqe, token, file);
}

void Ring::write(Descriptor file, std::span<const std::byte> bytes, std::uint64_t offset,
                 Token token) noexcept {
  io_uring_sqe* sqe = impl_->entry(token);
  io_uring_prep_write(sqe, file.number, bytes.data(), static_cast<unsigned>(bytes.size()), offset);
  Impl::finish(sqe, token, file);
}

void Ring::fsync(Descriptor file, bool data_only, Token token) noexcept {
  io_uring_sqe* sqe = impl_->entry(token);
  io_uring_prep_fsync(sqe, file.number, data_only ? IORING_FSYNC_DATASYNC : 0);
  Impl::finish(sqe, token, file);
}

void Ring::stat(const char* path, struct statx* into, Token token) noexcept {
  io_uring_sqe* sqe = impl_->entry(token);
  io_uring_prep_statx(sqe, AT_FDCWD, path, 0, STATX_BASIC_STATS, into);
  Impl::finish(sqe, token, {});
}

void Ring::stat(Descriptor file, struct statx* into, Token token) noexcept {
  io_uring_sqe* sqe = impl_->entry(token);
  io_uring_prep_statx(sqe, file.number, "", AT_EMPTY_PATH, STATX_BASIC_STATS, into);
  Impl::finish(sqe, token, file);
}

void Ring::remove(const char* path, bool directory, Token token) noexcept {
  io_uring_sqe* sqe = impl_->entry(token);
  io_uring_prep_unlinkat(sqe, AT_FDCWD, path, directory ? AT_REMOVEDIR : 0);
  Impl::finish(sqe, token, {});
}

void Ring::rename(const char* from, const char* to, std::uint32_t flags, Token token) noexcept {
  io_uring_sqe* sqe = impl_->entry(token);
  io_uring_prep_renameat(sqe, AT_FDCWD, from, AT_FDCWD, to, flags);
  Impl::finish(sqe, token, {});
}

void Ring::make_directory(const char* path, mode_t mode, Token token) noexcept {
  io_uring_sqe* sqe = impl_->entry(token);
  io_uring_prep_mkdirat(sqe, AT_FDCWD, path, mode);
  Impl::finish(sqe, token, {});
}

Result<std::size_t> Ring::read_directory(Descriptor directory, std::span<std::byte> into) noexcept {
  const ssize_t bytes = ::getdents64(directory.number, into.data(), into.size());
  if (bytes < 0) return Unexpected{Error::from_errno(errno)};
  return static_cast<std::size_t>(bytes);
}

void Ring::poll(Descriptor descriptor, std::uint32_t events, Token token) noexcept {
  io_uring_sqe* sqe = impl_->entry(token);
  io_uring_prep_poll_add(sqe, descriptor.number, events);
  Impl::finish(sqe, token, descriptor);
}

void Ring::close(Descriptor descriptor, Token token) noexcept {
  io_uring_sqe* sqe = impl_->entry(token);
  if (descriptor.direct) {
    io_uring_prep_close_direct(sqe, static_cast<unsigned>(descriptor.number));
  } else {
    io_uring_prep_close(sqe, descriptor.number);
  }
  // A direct descriptor is named by file_index here, not by IOSQE_FIXED_FILE.
  Impl::finish(sqe, token, {});
}

// --- Cancel

void Ring::cancel(Token target) noexcept {
  impl_->cancel(target, 0);
}

// Several requests without the flag can all find the same operation, until its end is posted.
void Ring::cancel_all(Token target) noexcept {
  impl_->cancel(target, IORING_ASYNC_CANCEL_ALL);
}

const Ring::Counters& Ring::counters() const noexcept {
  return impl_->counters;
}

}  // namespace corelane::runtime
