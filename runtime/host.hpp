#pragma once
// What the host gives this process: CPUs, memory, limits and the settings that decide how fast, or
// whether, Corelane can run. Read once at start-up and by `corelane doctor`; nothing here changes
// anything but raise_descriptor_limit(). Callable from any thread; none of it suspends, all of it
// reads a few small files. A file that is missing leaves its fact empty or zero, never an error:
// a container shows only part of /proc and /sys.
//
// `root` is put before every path ("" for the real ones), so that tests bring their own /proc.
//
// Sources: proc(5), proc_sys_net(5), cgroups(7), sched_getaffinity(2), getrlimit(2), Linux
// Documentation/admin-guide/{cgroup-v2,sysctl/kernel}.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/result.hpp"

namespace corelane::runtime {

inline constexpr std::uint64_t kUnlimited = UINT64_MAX;

struct Limit {
  std::uint64_t soft = 0;  // kUnlimited if there is none
  std::uint64_t hard = 0;
};

// What decides whether io_uring may be used, for telling why it may not.
struct KernelPolicy {
  std::string release;                   // uname -r
  std::optional<int> io_uring_disabled;  // kernel.io_uring_disabled; empty before Linux 6.6
  std::optional<long> io_uring_group;    // kernel.io_uring_group, -1 for none
  int seccomp_mode = 0;                  // Seccomp: of /proc/self/status; 2 is a filter
  Limit locked_bytes;                    // RLIMIT_MEMLOCK
  Limit descriptors;                     // RLIMIT_NOFILE
};

struct NumaNode {
  int id = 0;
  std::vector<int> cpus;
};

struct HostFacts {
  std::vector<int> cpus_allowed;  // sched_getaffinity, ascending
  int cpus_online = 0;
  std::vector<int> cpus_isolated;  // of the allowed ones: isolcpus=, no others are scheduled there
  double cpu_quota = 0;            // CPUs' worth of time the cgroup may use; 0 is no quota
  double cpu_stolen = 0;    // share of the time since boot that other virtual machines had, 0 to 1
  double cpu_pressure = 0;  // share of the last minute in which something waited for a CPU, 0 to 1
  std::vector<NumaNode> numa;  // empty where sysfs does not say
  std::uint64_t memory_bytes = 0;
  std::uint64_t memory_limit_bytes = 0;  // the tightest cgroup limit; 0 is none
  std::uint64_t tasks_max = 0;           // the tightest pids.max of a cgroup; 0 is none
  Limit descriptors;                     // RLIMIT_NOFILE
  Limit locked_bytes;                    // RLIMIT_MEMLOCK
  std::uint64_t descriptors_max = 0;     // fs.nr_open: no RLIMIT_NOFILE can be above it
  std::uint64_t files_max = 0;           // fs.file-max: of the whole host
  std::uint64_t somaxconn = 0;           // net.core.somaxconn: longest accept queue
  std::uint64_t port_first = 0;          // net.ipv4.ip_local_port_range
  std::uint64_t port_last = 0;
  std::string congestion_control;            // net.ipv4.tcp_congestion_control
  std::string congestion_control_available;  // names between blanks
  std::string default_qdisc;                 // net.core.default_qdisc
  std::string cpu_governor;                  // of the first allowed CPU; empty on most virtual ones
  std::string transparent_huge_pages;        // the chosen one: always, madvise, never
  std::string clocksource;                   // tsc, kvm-clock, hpet, ...
};

HostFacts read_host_facts(const std::string& root = "");
KernelPolicy read_kernel_policy(const std::string& root = "");

// CPUs that this process may run on, ascending; never empty (CPU 0 if the kernel does not say).
std::vector<int> allowed_cpus();

// Raises RLIMIT_NOFILE's soft limit to `wanted`, and the hard one too where the process may
// (CAP_SYS_RESOURCE), as far as fs.nr_open lets it. Never lowers it. Returns the soft limit that
// holds afterwards, which can be below `wanted`; the caller decides whether that is enough.
// Error: the errno of getrlimit or setrlimit.
Result<std::uint64_t> raise_descriptor_limit(std::uint64_t wanted);

// "0-3,8" as sysfs writes it. What does not parse is left out.
std::vector<int> parse_cpu_list(const std::string& text);

}  // namespace corelane::runtime
