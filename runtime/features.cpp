// The table of features, and the words for what is missing. The trying is in
// uring/features_probe.cpp.

#include "runtime/features.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "runtime/assert.hpp"

namespace corelane::runtime {
namespace {

constexpr FeatureNeed kRequired = FeatureNeed::required;
constexpr FeatureNeed kOptional = FeatureNeed::optional;

struct Row {
  FeatureId id;
  std::string_view name;
  FeatureNeed need;
  std::string_view since;
  std::string_view purpose;
};

// In the order of FeatureId (untried_features() asserts it). `since` is for people only.
constexpr std::array<Row, kFeatureCount> kRows = {{
    {FeatureId::ring, "ring", kRequired, "6.1",
     "one ring a core: SINGLE_ISSUER, DEFER_TASKRUN, COOP_TASKRUN, TASKRUN_FLAG, SUBMIT_ALL, "
     "CQSIZE"},
    {FeatureId::no_index_array, "no index array", kOptional, "6.6",
     "one cache line less a submission"},
    {FeatureId::registered_ring, "registered ring", kOptional, "5.18",
     "no descriptor look-up in each system call"},
    {FeatureId::direct_descriptors, "direct descriptors", kRequired, "5.19",
     "connections without the process' descriptor table"},
    {FeatureId::buffer_ring, "buffer ring", kRequired, "5.19",
     "idle connections hold no receive buffer"},
    {FeatureId::incremental_buffers, "incremental buffers", kOptional, "6.12",
     "one large receive buffer filled piece by piece"},
    {FeatureId::bundles, "bundles", kOptional, "6.10", "one completion for many receive buffers"},
    {FeatureId::multishot_receive, "multishot receive", kRequired, "6.0",
     "one request receives everything of a connection"},
    {FeatureId::ring_message, "ring message", kRequired, "5.18", "a core wakes another one"},
    {FeatureId::op_accept, "ACCEPT", kRequired, "5.5", "listeners"},
    {FeatureId::op_async_cancel, "ASYNC_CANCEL", kRequired, "5.5", "cancellation"},
    {FeatureId::op_close, "CLOSE", kRequired, "5.6", "connections and files"},
    {FeatureId::op_connect, "CONNECT", kRequired, "5.5", "clients"},
    {FeatureId::op_fsync, "FSYNC", kRequired, "5.1", "files"},
    {FeatureId::op_openat, "OPENAT", kRequired, "5.6", "files"},
    {FeatureId::op_poll_add, "POLL_ADD", kRequired, "5.1", "signals and other libraries' sockets"},
    {FeatureId::op_read, "READ", kRequired, "5.6", "files"},
    {FeatureId::op_recv, "RECV", kRequired, "5.6", "connections"},
    {FeatureId::op_send, "SEND", kRequired, "5.6", "connections"},
    {FeatureId::op_sendmsg, "SENDMSG", kRequired, "5.3", "connections"},
    {FeatureId::op_shutdown, "SHUTDOWN", kRequired, "5.11", "half-closed connections"},
    {FeatureId::op_socket, "SOCKET", kOptional, "5.19", "clients with direct descriptors"},
    {FeatureId::op_statx, "STATX", kRequired, "5.6", "files"},
    {FeatureId::op_write, "WRITE", kRequired, "5.6", "files"},
    {FeatureId::op_send_zc, "SEND_ZC", kOptional, "6.0", "large sends without a copy"},
    {FeatureId::op_fixed_fd_install, "FIXED_FD_INSTALL", kOptional, "6.8",
     "handing a connection to another process"},
}};

constexpr std::string_view kKernelFix = "run Linux 6.1 or later";

Refusal refused_by_filter(std::string_view how) {
  return {fmt::format("a seccomp filter of this container or service {}", how),
          "docker: --security-opt seccomp=profile.json, the default profile with {\"names\": "
          "[\"io_uring_setup\", \"io_uring_enter\", \"io_uring_register\"], \"action\": "
          "\"SCMP_ACT_ALLOW\"} added to \"syscalls\" (to try it: seccomp=unconfined); systemd: "
          "SystemCallFilter=io_uring_setup io_uring_enter io_uring_register"};
}

Refusal refused_permission(const KernelPolicy& policy) {
  const int disabled = policy.io_uring_disabled.value_or(0);
  if (disabled == 2) {
    return {"io_uring is switched off on this host (kernel.io_uring_disabled = 2)",
            "as root on the host: sysctl -w kernel.io_uring_disabled=0 (to keep it, put "
            "kernel.io_uring_disabled=0 into /etc/sysctl.d/60-io-uring.conf)"};
  }
  // A filter answers before the kernel looks at the setting, so it can be the cause beside it.
  if (disabled == 1 && policy.seccomp_mode != 2) {
    return {fmt::format("io_uring is only for root (CAP_SYS_ADMIN) and the group {} on this host "
                        "(kernel.io_uring_disabled = 1)",
                        policy.io_uring_group.value_or(-1)),
            fmt::format("as root on the host: sysctl -w kernel.io_uring_group={} (a group of this "
                        "user), or sysctl -w kernel.io_uring_disabled=0",
                        getgid())};
  }
  if (policy.seccomp_mode == 2) {
    Refusal refusal = refused_by_filter("forbids io_uring");
    if (disabled == 1) {
      refusal.reason += ", or kernel.io_uring_disabled = 1 does";
      refusal.fix += "; and on the host: sysctl -w kernel.io_uring_disabled=0";
    }
    return refusal;
  }
  return {"a security module (SELinux, AppArmor) or a sandbox forbids io_uring",
          "look for io_uring in the host's audit log (ausearch -m avc, journalctl -k) and allow it "
          "for this program"};
}

Refusal refused_memory(const KernelPolicy& policy) {
  // Kernels before 5.12 and registered buffers count against RLIMIT_MEMLOCK.
  if (policy.locked_bytes.soft != kUnlimited) {
    return {
        fmt::format("the kernel has no memory for a ring within the locked-memory limit of {} KiB",
                    policy.locked_bytes.soft / 1024),
        "ulimit -l unlimited; systemd: LimitMEMLOCK=infinity; docker: --ulimit memlock=-1"};
  }
  return {"the kernel has no memory left for a ring",
          "free memory, or raise the memory limit of this container or service"};
}

}  // namespace

bool Features::has_all_required() const noexcept {
  return std::all_of(all.begin(), all.end(), [](const Feature& feature) {
    return feature.available || feature.need == FeatureNeed::optional;
  });
}

bool Features::has_all() const noexcept {
  return std::all_of(all.begin(), all.end(),
                     [](const Feature& feature) { return feature.available; });
}

Features untried_features() {
  Features features;
  for (std::size_t i = 0; i < kFeatureCount; ++i) {
    const Row& row = kRows[i];
    RT_ASSERT(static_cast<std::size_t>(row.id) == i);
    Feature& feature = features.all[i];
    feature.id = row.id;
    feature.name = row.name;
    feature.need = row.need;
    feature.since = row.since;
    feature.purpose = row.purpose;
  }
  return features;
}

Refusal explain_refusal(int error, const KernelPolicy& policy) {
  switch (error) {
    case EPERM:
    case EACCES:
      return refused_permission(policy);
    case ENOSYS:
      if (policy.seccomp_mode == 2) return refused_by_filter("hides io_uring");
      return {fmt::format("this kernel ({}) has no io_uring", policy.release),
              "run Linux 6.1 or later with CONFIG_IO_URING=y, not inside a sandbox that emulates "
              "the kernel (gVisor, WSL 1)"};
    case ENOMEM:
      return refused_memory(policy);
    case EMFILE:
      return {
          fmt::format("this process has used up its {} file descriptors", policy.descriptors.soft),
          "ulimit -n 1048576; systemd: LimitNOFILE=1048576; docker: --ulimit nofile=1048576"};
    case ENFILE:
      return {"the host has used up its file descriptors",
              "as root on the host: sysctl -w fs.file-max=4194304"};
    case EINVAL:
    case EOPNOTSUPP:
      return {fmt::format("this kernel ({}) does not know it", policy.release),
              std::string(kKernelFix)};
    default:
      break;
  }
  char text[128];
  return {fmt::format("the kernel ({}) answers: {} (errno {})", policy.release,
                      strerror_r(error, text, sizeof text), error),
          std::string(kKernelFix)};
}

Refusal explain_kill(const KernelPolicy&) {
  return refused_by_filter("kills a process that uses io_uring");
}

std::string explain_unavailable(const Features& features) {
  if (features.has_all_required()) return {};
  const Feature& ring = features[FeatureId::ring];
  if (!ring.available) {
    return fmt::format("io_uring cannot be used: {}.\nFix: {}.", ring.reason, ring.fix);
  }
  std::string missing;
  std::string fixes;
  for (const Feature& feature : features.all) {
    if (feature.available || feature.need == FeatureNeed::optional) continue;
    missing += fmt::format("{}{} ({})", missing.empty() ? "" : ", ", feature.name, feature.reason);
    if (fixes.find(feature.fix) == std::string::npos) {
      fixes += fmt::format("{}{}", fixes.empty() ? "" : "; ", feature.fix);
    }
  }
  return fmt::format("io_uring lacks: {}.\nFix: {}.", missing, fixes);
}

}  // namespace corelane::runtime
