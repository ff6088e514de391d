// Goal: the server knows before it starts what the kernel lets it do, and says why not and what to
// do about it. Method: probes the kernel that runs the test; refusals are made for real in child
// processes (seccomp filters, no descriptors left) or given as a policy (sysctls).

#include "runtime/features.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>

#include <cerrno>
#include <filesystem>

#include "tests/support/child_process.hpp"

namespace corelane::runtime {
namespace {

const std::vector<long> kRingCalls = {__NR_io_uring_setup, __NR_io_uring_enter,
                                      __NR_io_uring_register};

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

std::ptrdiff_t open_descriptors() {
  const std::filesystem::directory_iterator entries("/proc/self/fd");
  return std::distance(begin(entries), end(entries));
}

// Processor time of this process, its kernel threads included. Unlike wall time, it does not depend
// on other processes.
double processor_seconds() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

TEST(Features, ProbingIsCheapAndLeavesNoDescriptorBehind) {
  const std::ptrdiff_t before = open_descriptors();
  const double start = processor_seconds();
  probe_features();
  EXPECT_LT(processor_seconds() - start, 0.5);
  EXPECT_EQ(open_descriptors(), before);
}

TEST(Features, EachMissingFeatureHasReasonAndFixAndEachPresentOneHasNeither) {
  for (const Feature& feature : probe_features().all) {
    EXPECT_FALSE(feature.name.empty());
    EXPECT_FALSE(feature.purpose.empty());
    EXPECT_EQ(feature.reason.empty(), feature.available) << feature.name;
    EXPECT_EQ(feature.fix.empty(), feature.available) << feature.name;
  }
}

TEST(Features, AKernelWithAllRequiredFeaturesHasNothingToExplain) {
  const Features features = probe_features();
  if (!features[FeatureId::ring].available) {
    GTEST_SKIP() << "no io_uring here: " << explain_unavailable(features);
  }
  EXPECT_EQ(features.has_all_required(), explain_unavailable(features).empty());
  // An operation that works was reported by the kernel too: two ways to the same answer.
  EXPECT_LE(features.has(FeatureId::multishot_receive), features.has(FeatureId::op_recv));
}

TEST(Features, UntriedFeaturesAreAllMissingAndInTheOrderOfTheirIds) {
  const Features features = untried_features();
  for (std::size_t i = 0; i < kFeatureCount; ++i) {
    EXPECT_EQ(static_cast<std::size_t>(features.all[i].id), i);
    EXPECT_FALSE(features.all[i].available);
  }
  EXPECT_FALSE(features.has_all_required());
}

TEST(Features, OnlyOptionalFeaturesMayBeMissing) {
  Features features = untried_features();
  for (Feature& feature : features.all) feature.available = feature.need == FeatureNeed::required;
  EXPECT_TRUE(features.has_all_required());
  EXPECT_FALSE(features.has_all());
  EXPECT_EQ(explain_unavailable(features), "");
  Feature& one = features.all[static_cast<std::size_t>(FeatureId::multishot_receive)];
  one.available = false;
  one.reason = "REASON";
  one.fix = "FIX";
  EXPECT_FALSE(features.has_all_required());
  EXPECT_EQ(explain_unavailable(features),
            "io_uring lacks: multishot receive (REASON).\nFix: FIX.");
}

TEST(Features, ASeccompFilterThatRefusesIsNamedWithItsFix) {
  for (const std::uint32_t error : {std::uint32_t{EPERM}, std::uint32_t{ENOSYS}}) {
    const auto child = support::run_in_child([error]() -> std::string {
      if (!support::filter_system_calls(kRingCalls, SECCOMP_RET_ERRNO | error)) return "no filter";
      return explain_unavailable(probe_features());
    });
    ASSERT_TRUE(child.exited_normally());
    if (child.output == "no filter") GTEST_SKIP() << "no seccomp filters on this host";
    EXPECT_TRUE(contains(child.output, "seccomp")) << child.output;
    EXPECT_TRUE(contains(child.output, "--security-opt seccomp=")) << child.output;
  }
}

TEST(Features, ASeccompFilterThatKillsIsSurvivedAndNamed) {
  const auto child = support::run_in_child([]() -> std::string {
    if (!support::filter_system_calls(kRingCalls, SECCOMP_RET_KILL_PROCESS)) return "no filter";
    return explain_unavailable(probe_features());
  });
  ASSERT_TRUE(child.exited_normally()) << "status " << child.status;
  if (child.output == "no filter") GTEST_SKIP() << "no seccomp filters on this host";
  EXPECT_TRUE(contains(child.output, "kills")) << child.output;
  EXPECT_TRUE(contains(child.output, "SystemCallFilter=")) << child.output;
}

TEST(Features, AFilterOnRegisteringAloneLeavesTheRingButNamesWhatIsLost) {
  const auto child = support::run_in_child([]() -> std::string {
    if (!probe_features().has(FeatureId::ring)) return "no ring";
    if (!support::filter_system_calls({__NR_io_uring_register}, SECCOMP_RET_ERRNO | EPERM)) {
      return "no filter";
    }
    const Features features = probe_features();
    if (!features.has(FeatureId::ring)) return "the ring is gone";
    return explain_unavailable(features);
  });
  ASSERT_TRUE(child.exited_normally());
  if (child.output.starts_with("no ")) GTEST_SKIP() << child.output;
  EXPECT_TRUE(contains(child.output, "direct descriptors")) << child.output;
  EXPECT_TRUE(contains(child.output, "buffer ring")) << child.output;
  EXPECT_TRUE(contains(child.output, "seccomp")) << child.output;
}

TEST(Features, NoDescriptorLeftIsNamedWithItsFix) {
  const auto child = support::run_in_child([]() -> std::string {
    if (!probe_features().has(FeatureId::ring)) return "no ring";
    const KernelPolicy policy = read_kernel_policy();
    const rlimit none{0, 0};
    setrlimit(RLIMIT_NOFILE, &none);
    return explain_unavailable(probe_features(policy));
  });
  ASSERT_TRUE(child.exited_normally());
  if (child.output == "no ring") GTEST_SKIP() << child.output;
  EXPECT_TRUE(contains(child.output, "file descriptors")) << child.output;
  EXPECT_TRUE(contains(child.output, "ulimit -n")) << child.output;
}

TEST(Features, RefusalsNameTheSettingThatCausesThem) {
  KernelPolicy policy;
  policy.release = "6.9-test";
  policy.locked_bytes = {64 * 1024, 64 * 1024};

  policy.io_uring_disabled = 2;
  EXPECT_TRUE(contains(explain_refusal(EPERM, policy).reason, "kernel.io_uring_disabled = 2"));
  EXPECT_TRUE(contains(explain_refusal(EPERM, policy).fix, "sysctl -w kernel.io_uring_disabled=0"));

  policy.io_uring_disabled = 1;
  policy.io_uring_group = 1234;
  EXPECT_TRUE(contains(explain_refusal(EPERM, policy).reason, "group 1234"));
  EXPECT_TRUE(contains(explain_refusal(EPERM, policy).fix, "kernel.io_uring_group="));
  policy.seccomp_mode = 2;
  EXPECT_TRUE(contains(explain_refusal(EPERM, policy).reason, "seccomp"));
  EXPECT_TRUE(contains(explain_refusal(EPERM, policy).reason, "io_uring_disabled = 1"));

  policy.io_uring_disabled = 0;
  policy.seccomp_mode = 0;
  EXPECT_TRUE(contains(explain_refusal(EPERM, policy).reason, "security module"));
  EXPECT_TRUE(contains(explain_refusal(ENOSYS, policy).reason, "6.9-test"));
  EXPECT_TRUE(contains(explain_refusal(ENOSYS, policy).fix, "CONFIG_IO_URING=y"));
  EXPECT_TRUE(contains(explain_refusal(EINVAL, policy).fix, "Linux 6.1"));
  EXPECT_TRUE(contains(explain_refusal(ENOMEM, policy).reason, "64 KiB"));
  EXPECT_TRUE(contains(explain_refusal(ENOMEM, policy).fix, "LimitMEMLOCK=infinity"));
  policy.locked_bytes = {kUnlimited, kUnlimited};
  EXPECT_FALSE(contains(explain_refusal(ENOMEM, policy).fix, "LimitMEMLOCK"));
  EXPECT_TRUE(contains(explain_refusal(ENXIO, policy).reason, "errno 6"));
}

}  // namespace
}  // namespace corelane::runtime
