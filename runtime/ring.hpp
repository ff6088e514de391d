#pragma once
// Ring: the one door between a core and everything that is not deterministic: I/O, time, entropy
// and the waking of other cores. It has two implementations, chosen when a program is linked:
// runtime/uring/ (io_uring, for production) and runtime/sim/ (a seeded simulation with a virtual
// clock and in-memory sockets, for tests). Production pays nothing for that: with ThinLTO the calls
// below are inlined.
//
// A ring belongs to one core, and all functions must be called on that core unless said otherwise.
// None suspends and none blocks but wait(). An operation is *prepared* by one of the functions
// below, handed to the kernel by the next wait(), and ends in completions that carry its token. The
// memory an operation points to (bytes, iovec, msghdr, address, path, statx) must stay where it is
// until its last completion (the one without `more`).
//
// Sources: io_uring_enter(2), io_uring_setup(2), io_uring_register(2), Linux 6.1 and later.

#include <sys/socket.h>
#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "runtime/address.hpp"
#include "runtime/result.hpp"
#include "runtime/types.hpp"

struct open_how;  // linux/openat2.h

namespace corelane::runtime {

// The handler of a completion, at most kSinksMax kinds a core (Core::set_sink).
enum class Sink : std::uint8_t {
  operation = 0,  // a coroutine waiting in an operation slot
  ignore = 1,     // none: the result does not matter (cancel requests, wake-ups)
  wake = 2,       // another core's message arrived
  accept = 3,     // net: a listener
  receive = 4,    // net: a stream's incoming side
  send = 5,       // net: a stream's outgoing side
  close = 6,      // net: a stream's descriptor was closed
  shutdown = 7,   // net: a stream's FIN was sent
};
inline constexpr std::size_t kSinksMax = 16;

// Names an operation: its handler, its slot and the slot's generation, so that a late completion
// cannot hit a slot that was used again.
struct Token {
  std::uint64_t value = 0;

  static constexpr std::uint32_t kGenerationMask = 0xff'ffff;
  static constexpr Token make(Sink sink, std::uint32_t slot, std::uint32_t generation) noexcept {
    return {static_cast<std::uint64_t>(sink) << 56 |
            static_cast<std::uint64_t>(generation & kGenerationMask) << 32 | slot};
  }
  constexpr Sink sink() const noexcept { return static_cast<Sink>(value >> 56); }
  constexpr std::uint32_t generation() const noexcept {
    return static_cast<std::uint32_t>(value >> 32) & kGenerationMask;
  }
  constexpr std::uint32_t slot() const noexcept { return static_cast<std::uint32_t>(value); }
};

struct Completion {
  Token token;
  std::int32_t result;  // as in io_uring: bytes or a descriptor, or a negative errno
  std::uint16_t buffer = 0;
  bool has_buffer = false;  // `buffer` is a provided buffer's id; it is the receiver's now
  bool more = false;        // the operation will complete again (multishot)
};

struct RingOptions {
  std::uint32_t entries = 1024;              // submission queue, a power of two
  std::uint32_t completion_entries = 16384;  // completion queue, a power of two
  std::uint32_t direct_descriptors = 0;      // size of the direct table, 0 = none
};

// What a listener asks for. Sockets are non-blocking, close-on-exec, SO_REUSEADDR; TCP sockets have
// TCP_NODELAY and SO_KEEPALIVE, which accepted sockets inherit.
struct ListenOptions {
  int backlog = 4096;
  // SO_REUSEPORT: several listeners on one TCP address, in this process (one a core) and in
  // other processes of the same user that ask for it as well; the kernel spreads connections over
  // them. Without it a second listener gets EADDRINUSE.
  bool reuse_port = false;
  // Mode and owners of a Unix socket's file, set before a client can connect. -1 keeps the kernel's
  // defaults: this user, and the mode that the umask allows.
  std::int64_t unix_mode = -1;
  std::int64_t unix_owner = -1;
  std::int64_t unix_group = -1;
};

// What a datagram socket asks for. Sockets are non-blocking and close-on-exec.
struct DatagramOptions {
  bool reuse_port = false;  // as ListenOptions::reuse_port: the kernel spreads senders over sockets
  bool broadcast = false;   // SO_BROADCAST: may send to broadcast addresses
};

class Ring {
 public:
  // Fails with the errno of io_uring_setup; runtime/features.hpp explains it to a person. Call it
  // on the thread that will use the ring.
  static Result<std::unique_ptr<Ring>> create(CoreId core, const RingOptions& options);
  ~Ring();
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  // --- Turn

  // Takes up to `out.size()` completions that are there, oldest first. Never blocks.
  std::size_t reap(std::span<Completion> out) noexcept;
  // Hands all prepared operations over and waits until a completion is there, `deadline` (a point
  // on now()) has passed, or another core calls wake(). A deadline that has passed already means:
  // hand over, let the kernel post what it has, return at once; if there is nothing to hand over
  // and nothing to post, no system call is made. A simulation returns at once and has the world
  // wait.
  void wait(Nanoseconds deadline) noexcept;
  // True if a reap() or wait(now) would bring something: cheap, no system call. For polling.
  bool has_work() const noexcept;

  // --- Time and chance

  Nanoseconds now() noexcept;        // monotonic
  Nanoseconds wall_now() noexcept;   // since the epoch (CLOCK_REALTIME)
  std::uint64_t entropy() noexcept;  // a seed; getrandom(2), or the simulation's own

  // --- Other cores

  // The number by which another core's wake() finds this ring (its ring descriptor). Any thread.
  std::int32_t wake_handle() const noexcept;
  // Posts a completion with Sink::wake into the ring with this handle, by way of this core's
  // submission queue (IORING_OP_MSG_RING); it leaves with the next wait().
  void wake(std::int32_t handle) noexcept;
  // The bell by which threads that are no cores wake this ring: each ring_bell() posts a completion
  // with Sink::wake and slot kBellSlot, which may stand for several. It is armed from the start;
  // arm_bell() arms it again after a completion without `more`. It may be rung by any thread, also
  // when the ring is gone, until close_bell(), which is the caller's once it has taken the bell.
  static constexpr std::uint32_t kBellSlot = 1;
  std::int32_t take_bell() noexcept;
  void arm_bell() noexcept;
  static void ring_bell(std::int32_t bell) noexcept;
  static void close_bell(std::int32_t bell) noexcept;
  // No other processes, pipes and inotify here: what needs them fails with `unsupported`.
  static bool is_simulated() noexcept;
  // How many messages of one lane a turn may take. io_uring: always `most`. A simulation may take
  // fewer, or none, to reorder the lanes against each other.
  std::size_t lane_batch(CoreId from, std::size_t most) noexcept;
  // Called between two steps of a lock-free protocol between cores. io_uring: nothing. A
  // simulation, whose turns are atomic otherwise, may let other cores have turns here.
  void interleave() noexcept;

  // --- Provided buffers (IORING_REGISTER_PBUF_RING)

  // `count` (a power of two, at most 32,768) buffers of `buffer_bytes` each, one after the other
  // from `base`; ids 0 to count-1, of which the kernel has the first `given`, and gets the others
  // by recycle(). The memory stays until unregister_buffers() or the ring's end.
  Result<void> register_buffers(std::uint16_t group, std::byte* base, std::uint32_t buffer_bytes,
                                std::uint32_t count, std::uint32_t given) noexcept;
  // No receive of this group may be in flight. The group's number is free again.
  void unregister_buffers(std::uint16_t group) noexcept;
  // Gives one buffer back to the kernel. Seen by it at once.
  void recycle(std::uint16_t group, std::uint16_t buffer) noexcept;

  // --- Sockets: made at once

  // A listening socket on `address` (port 0: an ephemeral one; see local_address). An existing Unix
  // socket file is removed first if nobody listens on it.
  Result<Descriptor> listen(const Address& address, const ListenOptions& options) noexcept;
  // A stream socket to connect() with.
  Result<Descriptor> open_socket(int family) noexcept;
  // Sets the address to connect from. The port is chosen at connect(), so that each destination can
  // use all ports. Errors: errnos of bind(2); a simulation has no source addresses (unsupported).
  Result<void> bind_source(Descriptor socket, const Address& source) noexcept;
  // A datagram socket (UDP, Unix) bound to `address` (port 0: an ephemeral one). An existing Unix
  // socket file is in the way.
  Result<Descriptor> open_datagram(const Address& address, const DatagramOptions& options) noexcept;
  // From here on it sends to this peer alone and receives from it alone.
  Result<void> connect_datagram(Descriptor socket, const Address& peer) noexcept;
  // Not for direct descriptors (errno EBADF): no system call takes them; see read_peer_address().
  Result<Address> local_address(Descriptor socket) noexcept;
  Result<Address> peer_address(Descriptor socket) noexcept;
  // Closes at once, for sockets on which no operation is in flight. Not for direct descriptors.
  void close_now(Descriptor descriptor) noexcept;
  // The same on a thread that runs as no core, for example while a core's leftovers are destroyed.
  static void close_outside(Descriptor descriptor) noexcept;

  // --- Sockets: operations

  // Completes with the descriptor of one connection, a direct one if `direct`. Several may be in
  // flight on a listener, each of which takes one. (ARCHITECTURE.md says why there is no
  // multishot.) Errors: ENFILE/EMFILE (direct table full/process limit), ECONNABORTED, ENOMEM,
  // ECANCELED.
  void accept(Descriptor listener, bool direct, Token token) noexcept;
  void connect(Descriptor socket, const Address& address, Token token) noexcept;
  // Completes with bytes in a provided buffer each time some arrive; result 0 is end of stream.
  // Ends (no `more`) on error, end of stream, ENOBUFS, a full completion queue: arm it again.
  void receive_multishot(Descriptor socket, std::uint16_t group, Token token) noexcept;
  // One receive into a provided buffer of `group`, chosen when bytes are there: at most `bytes_max`
  // of them, 0: as many as the buffer holds.
  void receive_selected(Descriptor socket, std::uint16_t group, Token token,
                        std::uint32_t bytes_max = 0) noexcept;
  void receive(Descriptor socket, std::span<std::byte> into, Token token) noexcept;
  // Reads exactly `bytes` of the peer's address, also of a direct descriptor. Completes at
  // submission, and is never in flight. EINVAL: the address is shorter. Linux 6.7.
  void read_peer_address(Descriptor socket, sockaddr* into, socklen_t bytes, Token token) noexcept;
  // Sends with MSG_NOSIGNAL | MSG_WAITALL: the kernel goes on after a short send by itself, but a
  // short count can still come (a signal, a reset, the simulation) and must be resumed.
  void send(Descriptor socket, std::span<const std::byte> bytes, Token token) noexcept;
  void send_message(Descriptor socket, const msghdr* message, Token token) noexcept;
  // recvmsg(2), for datagrams: one of them, its sender in msg_name, MSG_TRUNC in msg_flags if it is
  // longer than the memory.
  void receive_message(Descriptor socket, msghdr* message, Token token) noexcept;
  // `how` as in shutdown(2). A worker thread of the kernel does it, and looks the descriptor up
  // only then: do not close it before the completion, or the next owner of its number is shut down.
  void shutdown(Descriptor socket, int how, Token token) noexcept;

  // --- Files and anything with a descriptor

  void open(const char* path, int flags, mode_t mode, Token token) noexcept;
  // openat2(2): a path below an open directory, O_CLOEXEC added by the caller; `how` stays, too.
  void open_below(Descriptor directory, const char* path, const struct open_how* how,
                  Token token) noexcept;
  void read(Descriptor file, std::span<std::byte> into, std::uint64_t offset, Token token) noexcept;
  void write(Descriptor file, std::span<const std::byte> bytes, std::uint64_t offset,
             Token token) noexcept;
  // `data_only` as fdatasync(2).
  void fsync(Descriptor file, bool data_only, Token token) noexcept;
  void stat(const char* path, struct statx* into, Token token) noexcept;
  void stat(Descriptor file, struct statx* into, Token token) noexcept;
  // Names: unlink(2), or rmdir(2) if `directory`; rename(2), with the flags of renameat2(2);
  // mkdir(2). A worker thread of the kernel does them.
  void remove(const char* path, bool directory, Token token) noexcept;
  void rename(const char* from, const char* to, std::uint32_t flags, Token token) noexcept;
  void make_directory(const char* path, mode_t mode, Token token) noexcept;
  // getdents64(2): whole records, from where the last call ended; 0 at the end. No ring operation
  // does it. It waits for the disk, so call it on a thread that is no core (runtime/blocking.hpp).
  static Result<std::size_t> read_directory(Descriptor directory,
                                            std::span<std::byte> into) noexcept;
  // One-shot poll(2): completes with the events that it has seen. Of sockets, and of descriptors
  // from outside (signalfd, a library's).
  void poll(Descriptor descriptor, std::uint32_t events, Token token) noexcept;
  void close(Descriptor descriptor, Token token) noexcept;

  // --- Cancel

  // Asks for the end of the operation with this token. It ends by its own completion (usually
  // ECANCELED); the request's completion goes to Sink::ignore.
  void cancel(Token target) noexcept;
  // The same for all operations with this token.
  void cancel_all(Token target) noexcept;

  // --- Counters (for tests and metrics)

  struct Counters {
    std::uint64_t system_calls = 0;  // io_uring_enter and the calls of listen() and similar
    std::uint64_t operations = 0;    // prepared
    std::uint64_t completions = 0;   // reaped
    std::uint64_t waits = 0;         // times the core went to sleep
    std::uint64_t wakes_sent = 0;    // wake() calls
    std::uint64_t overflows = 0;     // completion queue overflows seen
  };
  const Counters& counters() const noexcept;

  struct Impl;

 private:
  explicit Ring(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace corelane::runtime
