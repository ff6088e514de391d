// Goal: limits and settings of the host are read right, also inside containers, and absent files
// are no error. Method: a made-up /proc and /sys; limits are changed in a child process.

#include "runtime/host.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "tests/support/child_process.hpp"
#include "tests/support/fake_root.hpp"

namespace corelane::runtime {
namespace {

using Cpus = std::vector<int>;

TEST(Host, CpuListsAreReadAsTheKernelWritesThem) {
  EXPECT_EQ(parse_cpu_list("0-3,8"), (Cpus{0, 1, 2, 3, 8}));
  EXPECT_EQ(parse_cpu_list("5"), (Cpus{5}));
  EXPECT_EQ(parse_cpu_list(""), Cpus{});
  EXPECT_EQ(parse_cpu_list("x,2,-1,3-99999999"), (Cpus{2}));
}

TEST(Host, AnEmptyRootGivesEmptyFactsAndNoError) {
  const support::FakeRoot root;
  const HostFacts facts = read_host_facts(root.path());
  EXPECT_FALSE(facts.cpus_allowed.empty());
  EXPECT_GT(facts.cpus_online, 0);
  EXPECT_EQ(facts.cpu_quota, 0);
  EXPECT_EQ(facts.memory_limit_bytes, 0u);
  EXPECT_EQ(facts.somaxconn, 0u);
  EXPECT_TRUE(facts.numa.empty());
  const KernelPolicy policy = read_kernel_policy(root.path());
  EXPECT_FALSE(policy.io_uring_disabled.has_value());
  EXPECT_EQ(policy.seccomp_mode, 0);
}

TEST(Host, TheTightestCgroupLimitOnTheWayUpHolds) {
  support::FakeRoot root;
  root.write("/proc/self/cgroup", "0::/system.slice/corelane.service\n");
  root.write("/sys/fs/cgroup/system.slice/corelane.service/cpu.max", "max 100000\n");
  root.write("/sys/fs/cgroup/system.slice/corelane.service/memory.max", "4294967296\n");
  root.write("/sys/fs/cgroup/system.slice/cpu.max", "150000 100000\n");
  root.write("/sys/fs/cgroup/system.slice/memory.max", "1073741824\n");
  root.write("/sys/fs/cgroup/memory.max", "max\n");
  const HostFacts facts = read_host_facts(root.path());
  EXPECT_DOUBLE_EQ(facts.cpu_quota, 1.5);
  EXPECT_EQ(facts.memory_limit_bytes, 1'073'741'824u);
}

TEST(Host, LimitsOfTheOldCgroupVersionAreReadToo) {
  support::FakeRoot root;
  root.write("/proc/self/cgroup", "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n");
  root.write("/sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us", "50000\n");
  root.write("/sys/fs/cgroup/cpu/docker/abc/cpu.cfs_period_us", "100000\n");
  root.write("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
  root.write("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  root.write("/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "9223372036854771712\n");
  const HostFacts facts = read_host_facts(root.path());
  EXPECT_DOUBLE_EQ(facts.cpu_quota, 0.5);
  EXPECT_EQ(facts.memory_limit_bytes, 0u);
}

TEST(Host, SettingsAreReadFromTheirFiles) {
  support::FakeRoot root;
  root.write("/proc/meminfo", "MemTotal:       2048 kB\nMemFree:  1 kB\n");
  root.write("/proc/sys/net/core/somaxconn", "4096\n");
  root.write("/proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n");
  root.write("/proc/sys/net/ipv4/tcp_congestion_control", "cubic\n");
  root.write("/proc/sys/net/core/default_qdisc", "fq_codel\n");
  root.write("/proc/sys/fs/nr_open", "1048576\n");
  root.write("/sys/devices/system/cpu/online", "0-7\n");
  root.write("/sys/devices/system/node/online", "0-1\n");
  root.write("/sys/devices/system/node/node0/cpulist", "0-3\n");
  root.write("/sys/devices/system/node/node1/cpulist", "4-7\n");
  root.write("/sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n");
  root.write("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
  const HostFacts facts = read_host_facts(root.path());
  EXPECT_EQ(facts.memory_bytes, 2048u * 1024);
  EXPECT_EQ(facts.somaxconn, 4096u);
  EXPECT_EQ(facts.port_first, 32'768u);
  EXPECT_EQ(facts.port_last, 60'999u);
  EXPECT_EQ(facts.congestion_control, "cubic");
  EXPECT_EQ(facts.default_qdisc, "fq_codel");
  EXPECT_EQ(facts.descriptors_max, 1'048'576u);
  EXPECT_EQ(facts.cpus_online, 8);
  ASSERT_EQ(facts.numa.size(), 2u);
  EXPECT_EQ(facts.numa[1].cpus, (Cpus{4, 5, 6, 7}));
  EXPECT_EQ(facts.clocksource, "tsc");
  EXPECT_EQ(facts.transparent_huge_pages, "madvise");
}

TEST(Host, ThePolicyOfTheKernelIsRead) {
  support::FakeRoot root;
  root.write("/proc/sys/kernel/io_uring_disabled", "1\n");
  root.write("/proc/sys/kernel/io_uring_group", "-1\n");
  root.write("/proc/self/status", "Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n");
  const KernelPolicy policy = read_kernel_policy(root.path());
  EXPECT_EQ(policy.io_uring_disabled, 1);
  EXPECT_EQ(policy.io_uring_group, -1);
  EXPECT_EQ(policy.seccomp_mode, 2);
}

TEST(Host, TheDescriptorLimitRisesToTheHardLimitAndIsNeverLowered) {
  const auto child = support::run_in_child([]() -> std::string {
    const rlimit low{64, 256};
    if (setrlimit(RLIMIT_NOFILE, &low) != 0) return "cannot set";
    const auto within = raise_descriptor_limit(200);
    const auto below = raise_descriptor_limit(10);
    return fmt::format("{} {}", within.value(), below.value());
  });
  ASSERT_TRUE(child.exited_normally());
  EXPECT_EQ(child.output, "200 200");
}

TEST(Host, WithoutThePrivilegeTheHardLimitIsTheCeiling) {
  const auto child = support::run_in_child([]() -> std::string {
    const rlimit low{64, 256};
    if (setrlimit(RLIMIT_NOFILE, &low) != 0) return "cannot set";
    if (geteuid() == 0 && setuid(65'534) != 0) return "cannot become nobody";
    return fmt::format("{}", raise_descriptor_limit(100'000).value());
  });
  ASSERT_TRUE(child.exited_normally());
  if (child.output.starts_with("cannot")) GTEST_SKIP() << child.output;
  EXPECT_EQ(child.output, "256");
}

}  // namespace
}  // namespace corelane::runtime
