// Goal: cores are pinned where CPUs are their own, and nowhere else. Method: a host whose CPUs are
// set apart, and one fact after the other that speaks against it.
#include "runtime/pinning.hpp"

#include <gtest/gtest.h>

#include <numeric>

#include "tests/support/fake_root.hpp"

namespace corelane::runtime {
namespace {

HostFacts host_with(int allowed, int online) {
  HostFacts host;
  host.cpus_allowed.resize(static_cast<std::size_t>(allowed));
  std::iota(host.cpus_allowed.begin(), host.cpus_allowed.end(), 0);
  host.cpus_online = online;
  host.numa = {{0, host.cpus_allowed}};
  return host;
}

TEST(Pinning, IsWorthItOnCpusThatAreSetApart) {
  EXPECT_TRUE(advise_pinning(host_with(4, 8), 4).is_worth_it);
  HostFacts isolated = host_with(4, 4);
  isolated.cpus_isolated = isolated.cpus_allowed;
  EXPECT_TRUE(advise_pinning(isolated, 4).is_worth_it);
  isolated.cpus_isolated.pop_back();
  EXPECT_FALSE(advise_pinning(isolated, 4).is_worth_it);
}

TEST(Pinning, IsNotWorthItOnTheCpusOfAllPrograms) {
  EXPECT_FALSE(advise_pinning(host_with(2, 2), 2).is_worth_it);
  EXPECT_FALSE(advise_pinning(host_with(64, 64), 64).is_worth_it);
}

TEST(Pinning, KeepsCoresOnTheirNumaNodes) {
  HostFacts host = host_with(8, 8);
  host.numa = {{0, {0, 1, 2, 3}}, {1, {4, 5, 6, 7}}};
  EXPECT_TRUE(advise_pinning(host, 8).is_worth_it);
}

TEST(Pinning, NeedsOneCpuForEachCore) {
  EXPECT_FALSE(advise_pinning(host_with(4, 8), 5).is_worth_it);
  EXPECT_FALSE(advise_pinning(host_with(4, 8), 3).is_worth_it);
}

TEST(Pinning, IsNotWorthItWhereTheCpusTimeIsNotTheProcesss) {
  const auto without = [](auto change) {
    HostFacts host = host_with(4, 8);
    change(host);
    return advise_pinning(host, 4);
  };
  EXPECT_FALSE(without([](HostFacts& host) { host.cpu_quota = 3.5; }).is_worth_it);
  EXPECT_TRUE(without([](HostFacts& host) { host.cpu_quota = 4; }).is_worth_it);
  EXPECT_FALSE(without([](HostFacts& host) { host.cpu_stolen = kStolenMax; }).is_worth_it);
  EXPECT_TRUE(without([](HostFacts& host) { host.cpu_stolen = kStolenMax / 2; }).is_worth_it);
  EXPECT_FALSE(without([](HostFacts& host) { host.cpu_pressure = kPressureMax; }).is_worth_it);
  EXPECT_TRUE(without([](HostFacts& host) { host.cpu_pressure = kPressureMax / 2; }).is_worth_it);
}

TEST(Pinning, GivesTheAllowedCpusOrNone) {
  const auto cores = static_cast<CoreId>(allowed_cpus().size());
  EXPECT_TRUE(cpus_worth_pinning(static_cast<CoreId>(cores + 1)).empty());
  const std::vector<int> cpus = cpus_worth_pinning(cores);
  if (!cpus.empty()) {
    EXPECT_EQ(cpus, allowed_cpus());
  }
}

TEST(Pinning, IsDecidedByWhatTheKernelCounts) {
  support::FakeRoot root;
  root.write("/proc/stat", "cpu  60 0 20 10 0 0 0 10 0 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n");
  root.write("/proc/pressure/cpu",
             "some avg10=90.00 avg60=12.50 avg300=1.00 total=1\nfull avg10=0.00 avg60=0.00\n");
  const int first = allowed_cpus().front();
  root.write("/sys/devices/system/cpu/isolated", std::to_string(first) + ",9999\n");
  const HostFacts facts = read_host_facts(root.path());
  EXPECT_DOUBLE_EQ(facts.cpu_stolen, 0.1);
  EXPECT_DOUBLE_EQ(facts.cpu_pressure, 0.125);
  EXPECT_EQ(facts.cpus_isolated, (std::vector<int>{first}));
  const support::FakeRoot empty;
  EXPECT_EQ(read_host_facts(empty.path()).cpu_stolen, 0);
  EXPECT_EQ(read_host_facts(empty.path()).cpu_pressure, 0);
}

}  // namespace
}  // namespace corelane::runtime
