// Tries each feature on one small ring.

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

#include "runtime/features.hpp"
#include "runtime/uring/trial_ring.hpp"
#include "runtime/uring_constants.hpp"

namespace corelane::runtime {
namespace {

constexpr std::uint16_t kGroup = 0;
constexpr std::uint16_t kIncrementalGroup = 1;
constexpr unsigned kBuffers = 4;
constexpr unsigned kBufferBytes = 64;

// io_uring_buf_reg under the names of Linux 6.12: liburing 2.3 calls `flags` `pad`, later ones not.
struct BufferRegistration {
  std::uint64_t ring_address;
  std::uint32_t ring_entries;
  std::uint16_t group;
  std::uint16_t flags;
  std::uint64_t reserved[3];
};
static_assert(sizeof(BufferRegistration) == sizeof(io_uring_buf_reg));

// Page-aligned memory for a buffer ring.
class Page {
 public:
  Page() noexcept
      : memory_(mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
  }
  Page(const Page&) = delete;
  Page& operator=(const Page&) = delete;
  ~Page() {
    if (valid()) munmap(memory_, kBytes);
  }
  bool valid() const noexcept { return memory_ != MAP_FAILED; }
  void* memory() const noexcept { return memory_; }

 private:
  static constexpr std::size_t kBytes = 4096;
  void* memory_;
};

struct Opcode {
  FeatureId id;
  int operation;
};
constexpr Opcode kOpcodes[] = {
    {FeatureId::op_accept, IORING_OP_ACCEPT},
    {FeatureId::op_async_cancel, IORING_OP_ASYNC_CANCEL},
    {FeatureId::op_close, IORING_OP_CLOSE},
    {FeatureId::op_connect, IORING_OP_CONNECT},
    {FeatureId::op_fsync, IORING_OP_FSYNC},
    {FeatureId::op_openat, IORING_OP_OPENAT},
    {FeatureId::op_poll_add, IORING_OP_POLL_ADD},
    {FeatureId::op_read, IORING_OP_READ},
    {FeatureId::op_recv, IORING_OP_RECV},
    {FeatureId::op_send, IORING_OP_SEND},
    {FeatureId::op_sendmsg, IORING_OP_SENDMSG},
    {FeatureId::op_shutdown, IORING_OP_SHUTDOWN},
    {FeatureId::op_socket, IORING_OP_SOCKET},
    {FeatureId::op_statx, IORING_OP_STATX},
    {FeatureId::op_write, IORING_OP_WRITE},
    {FeatureId::op_send_zc, IORING_OP_SEND_ZC},
    {FeatureId::op_fixed_fd_install, kOpFixedFdInstall},
};

class Prober {
 public:
  explicit Prober(Features& features) noexcept : features_(features) {}

  void run();

 private:
  void found(FeatureId id) noexcept { feature(id).available = true; }
  void refused(FeatureId id, int error);
  void missing(FeatureId id, std::string reason);
  // Reports an unexpected result of a request.
  void disappointed(FeatureId id, const TrialRing::Seen& seen);

  bool make_ring();
  void probe_index_array();
  void probe_registrations();
  void probe_buffer_rings();
  void probe_opcodes();
  void probe_multishot_receive();
  void probe_ring_message();

  Feature& feature(FeatureId id) noexcept { return features_.all[static_cast<std::size_t>(id)]; }

  Features& features_;
  // Memory that the kernel may touch is declared before the ring, so that it outlives the ring.
  Page buffer_ring_;
  Page incremental_ring_;
  std::array<std::byte, kBuffers * kBufferBytes> bytes_{};
  TrialRing ring_;
};

void Prober::refused(FeatureId id, int error) {
  Refusal refusal = explain_refusal(error, features_.policy);
  Feature& it = feature(id);
  it.error = error;
  it.reason = std::move(refusal.reason);
  it.fix = error == EINVAL && it.need == FeatureNeed::optional
               ? fmt::format("run Linux {} or later", it.since)
               : std::move(refusal.fix);
}

void Prober::missing(FeatureId id, std::string reason) {
  Feature& it = feature(id);
  it.reason = std::move(reason);
  it.fix = fmt::format("run Linux {} or later",
                       it.need == FeatureNeed::optional ? it.since : std::string_view("6.1"));
}

void Prober::disappointed(FeatureId id, const TrialRing::Seen& seen) {
  if (seen.completions == 0) return missing(id, "tried it, and no completion came");
  if (seen.result < 0) return refused(id, -seen.result);
  missing(id, fmt::format("tried it, and it ended after one completion (result {})", seen.result));
}

bool Prober::make_ring() {
  if (features_.policy.seccomp_mode == 2 && setup_is_killed()) {
    Refusal refusal = explain_kill(features_.policy);
    feature(FeatureId::ring).error = EPERM;
    feature(FeatureId::ring).reason = std::move(refusal.reason);
    feature(FeatureId::ring).fix = std::move(refusal.fix);
    return false;
  }
  if (const int error = ring_.make(); error != 0) {
    refused(FeatureId::ring, error);
    if (const std::string flags = error == EINVAL ? refused_setup_flags() : ""; !flags.empty()) {
      feature(FeatureId::ring).reason = fmt::format("this kernel ({}) refuses the setup flags {}",
                                                    features_.policy.release, flags);
    }
    return false;
  }
  found(FeatureId::ring);
  return true;
}

void Prober::probe_index_array() {
  io_uring_params params{};
  params.flags = kRingSetupFlags | IORING_SETUP_NO_SQARRAY;
  params.cq_entries = 2 * TrialRing::kEntries;
  // Not through liburing's queue_init: below 2.6 it would write the array that is not there.
  const int result = io_uring_setup(TrialRing::kEntries, &params);
  if (result < 0) return refused(FeatureId::no_index_array, -result);
  ::close(result);
  found(FeatureId::no_index_array);
}

void Prober::probe_registrations() {
  const int registered = io_uring_register_ring_fd(ring_.get());
  registered == 1 ? found(FeatureId::registered_ring)
                  : refused(FeatureId::registered_ring, registered < 0 ? -registered : EINVAL);
  const int table = io_uring_register_files_sparse(ring_.get(), TrialRing::kEntries);
  table == 0 ? found(FeatureId::direct_descriptors)
             : refused(FeatureId::direct_descriptors, -table);
  if ((ring_.kernel_features() & IORING_FEAT_RECVSEND_BUNDLE) != 0) {
    found(FeatureId::bundles);
  } else {
    missing(FeatureId::bundles,
            fmt::format("this kernel ({}) does not report it", features_.policy.release));
  }
}

void Prober::probe_buffer_rings() {
  const auto try_ring = [this](const Page& page, std::uint16_t group, std::uint16_t flags) {
    if (!page.valid()) return -ENOMEM;
    const BufferRegistration registration{
        reinterpret_cast<std::uint64_t>(page.memory()), kBuffers, group, flags, {}};
    return io_uring_register(static_cast<unsigned>(ring_.get()->ring_fd), IORING_REGISTER_PBUF_RING,
                             &registration, 1);
  };
  const int incremental = try_ring(incremental_ring_, kIncrementalGroup, kBufferRingIncremental);
  incremental == 0 ? found(FeatureId::incremental_buffers)
                   : refused(FeatureId::incremental_buffers, -incremental);
  const int plain = try_ring(buffer_ring_, kGroup, 0);
  if (plain != 0) return refused(FeatureId::buffer_ring, -plain);
  found(FeatureId::buffer_ring);
  auto* ring = static_cast<io_uring_buf_ring*>(buffer_ring_.memory());
  io_uring_buf_ring_init(ring);
  for (unsigned i = 0; i < kBuffers; ++i) {
    io_uring_buf_ring_add(ring, bytes_.data() + i * kBufferBytes, kBufferBytes,
                          static_cast<unsigned short>(i), io_uring_buf_ring_mask(kBuffers),
                          static_cast<int>(i));
  }
  io_uring_buf_ring_advance(ring, kBuffers);
}

void Prober::probe_opcodes() {
  const std::unique_ptr<io_uring_probe, void (*)(io_uring_probe*)> probe(
      io_uring_get_probe_ring(ring_.get()), io_uring_free_probe);
  for (const Opcode& opcode : kOpcodes) {
    if (probe == nullptr) {
      refused(opcode.id, EPERM);
    } else if (io_uring_opcode_supported(probe.get(), opcode.operation) != 0) {
      found(opcode.id);
    } else {
      refused(opcode.id, EINVAL);
    }
  }
}

void Prober::probe_multishot_receive() {
  if (!features_.has(FeatureId::buffer_ring)) {
    return missing(FeatureId::multishot_receive, "it needs a buffer ring");
  }
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
    return refused(FeatureId::multishot_receive, errno);
  }
  const OwnedDescriptor reader(pair[0]);
  const OwnedDescriptor writer(pair[1]);
  io_uring_sqe* sqe = ring_.request(kReceive);
  io_uring_prep_recv_multishot(sqe, reader.number(), nullptr, 0, 0);
  sqe->flags |= IOSQE_BUFFER_SELECT;
  sqe->buf_group = kGroup;
  sqe->user_data = kReceive;
  const ssize_t sent = ::send(writer.number(), "1", 1, MSG_NOSIGNAL);
  const auto received = [](const TrialRing::Seen& seen) {
    constexpr unsigned kFlags = IORING_CQE_F_MORE | IORING_CQE_F_BUFFER;
    return seen.completions != 0 && seen.result == 1 && (seen.flags & kFlags) == kFlags;
  };
  ring_.await_answer(kReceive);
  if (sent == 1 && received(ring_.seen(kReceive))) {
    found(FeatureId::multishot_receive);
  } else {
    disappointed(FeatureId::multishot_receive, ring_.seen(kReceive));
  }
  // The end of the stream ends the request.
  ::shutdown(writer.number(), SHUT_RDWR);
  if (!ring_.seen(kReceive).ended()) ring_.await_end(kReceive);
}

void Prober::probe_ring_message() {
  ring_.expect(kMessageArrived);
  io_uring_sqe* sqe = ring_.request(kMessage);
  io_uring_prep_msg_ring(sqe, ring_.get()->ring_fd, 7, kMessageArrived, 0);
  sqe->user_data = kMessage;
  if (ring_.await_answer(kMessageArrived) && ring_.seen(kMessageArrived).result == 7) {
    return found(FeatureId::ring_message);
  }
  disappointed(FeatureId::ring_message, ring_.seen(kMessage));
}

void Prober::run() {
  if (!make_ring()) {
    const Feature& ring = feature(FeatureId::ring);
    for (Feature& it : features_.all) {
      if (it.id == FeatureId::ring) continue;
      it.error = ring.error;
      it.reason = "not tried: there is no ring";
      it.fix = ring.fix;
    }
    return;
  }
  probe_index_array();
  probe_registrations();
  probe_buffer_rings();
  probe_opcodes();
  probe_multishot_receive();
  probe_ring_message();
}

}  // namespace

Features probe_features(const KernelPolicy& policy) {
  Features features = untried_features();
  features.policy = policy;
  Prober(features).run();
  return features;
}

Features probe_features() {
  return probe_features(read_kernel_policy());
}

}  // namespace corelane::runtime
