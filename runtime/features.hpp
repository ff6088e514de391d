#pragma once
// Features: what this kernel, here and now, lets us do with io_uring. Every answer comes from
// trying it, never from the kernel's version: distributions port features back, and sandboxes take
// them away. probe_features() makes one small ring, uses it for real on a Unix socket pair and a
// Unix listener, and takes it down again: a few milliseconds, at most half a second when a kernel
// loses completions.
//
// The result is a plain value that the caller owns. The words in it are for people: start-up
// errors and `corelane doctor`.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/host.hpp"

namespace corelane::runtime {

enum class FeatureId : std::uint8_t {
  ring,                 // io_uring_setup with the flags of our rings
  no_index_array,       // IORING_SETUP_NO_SQARRAY
  registered_ring,      // IORING_REGISTER_RING_FDS
  direct_descriptors,   // a sparse table of direct descriptors
  buffer_ring,          // IORING_REGISTER_PBUF_RING
  incremental_buffers,  // buffer rings that fill a buffer piece by piece
  bundles,              // one completion for several provided buffers
  multishot_receive,    // many receives from one request, into provided buffers
  ring_message,         // IORING_OP_MSG_RING, by which cores wake each other
  op_accept,
  op_async_cancel,
  op_close,
  op_connect,
  op_fsync,
  op_openat,
  op_poll_add,
  op_read,
  op_recv,
  op_send,
  op_sendmsg,
  op_shutdown,
  op_socket,
  op_statx,
  op_write,
  op_send_zc,
  op_fixed_fd_install,
};
inline constexpr std::size_t kFeatureCount =
    static_cast<std::size_t>(FeatureId::op_fixed_fd_install) + 1;

enum class FeatureNeed : std::uint8_t {
  required,  // the server does not start without it
  optional,  // the server is slower, or lacks a function, without it
};

struct Feature {
  FeatureId id{};
  std::string_view name;  // "multishot receive"
  FeatureNeed need{};
  std::string_view since;    // the first kernel of kernel.org that has it, "5.19"
  std::string_view purpose;  // what it gives us
  bool available = false;
  int error = 0;       // the errno of the try; 0 if it was not refused but did not work
  std::string reason;  // why it is missing; empty if available
  std::string fix;     // what to do about it; empty if available
};

struct Features {
  std::array<Feature, kFeatureCount> all;  // in the order of FeatureId
  KernelPolicy policy;

  const Feature& operator[](FeatureId id) const noexcept {
    return all[static_cast<std::size_t>(id)];
  }
  bool has(FeatureId id) const noexcept { return (*this)[id].available; }
  bool has_all_required() const noexcept;
  bool has_all() const noexcept;
};

// Tries everything, on the calling thread, and leaves nothing behind. Never fails: what cannot be
// tried is not available, and says why.
Features probe_features();
Features probe_features(const KernelPolicy& policy);

// One or two lines for the error of a server that cannot start: what is missing, why, and the fix.
// Empty if all required features are there.
std::string explain_unavailable(const Features& features);

// The table of features, none of them tried yet (available is false). For tests and documents.
Features untried_features();

struct Refusal {
  std::string reason;
  std::string fix;
};
// Why the kernel answered an io_uring system call with `error` (a positive errno) under this
// policy.
Refusal explain_refusal(int error, const KernelPolicy& policy);
// The same for a system call that ends the process with SIGSYS (systemd's SystemCallFilter=).
Refusal explain_kill(const KernelPolicy& policy);

}  // namespace corelane::runtime
