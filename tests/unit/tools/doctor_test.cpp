// Goal: the doctor's verdict follows from what was found, each trouble comes with its command, and
// both forms say the same. Method: made-up hosts, one trouble at a time, beside a healthy one; then
// the real host.

#include "tools/doctor.hpp"

#include <gtest/gtest.h>
#include <sys/syscall.h>

#include <boost/json.hpp>
#include <cerrno>
#include <functional>

#include "tests/support/child_process.hpp"
#include "tests/support/fake_root.hpp"

namespace corelane::tools {
namespace {

using runtime::FeatureId;

DoctorInputs healthy() {
  DoctorInputs inputs;
  inputs.features = runtime::untried_features();
  for (runtime::Feature& feature : inputs.features.all) feature.available = true;
  inputs.features.policy.release = "6.12.0";
  inputs.features.policy.io_uring_disabled = 0;
  inputs.host.cpus_allowed = {0, 1, 2, 3};
  inputs.host.cpus_online = 8;  // some are set apart for this process
  inputs.host.numa = {{0, {0, 1, 2, 3}}};
  inputs.host.memory_bytes = std::uint64_t{8} << 30;
  inputs.host.descriptors = {1024, 1'048'576};
  inputs.host.locked_bytes = {runtime::kUnlimited, runtime::kUnlimited};
  inputs.host.descriptors_max = 1'048'576;
  inputs.host.somaxconn = 4096;
  inputs.host.port_first = 32'768;
  inputs.host.port_last = 60'999;
  inputs.host.congestion_control = "bbr";
  inputs.host.default_qdisc = "fq";
  inputs.host.transparent_huge_pages = "madvise";
  inputs.host.clocksource = "tsc";
  inputs.connections_wanted = 1'000'000;
  inputs.descriptors_possible = 1'048'576;
  inputs.allocator_version = 209;
  inputs.cpu_level = runtime::CpuLevel::v4;
  inputs.cpu_level_needed = runtime::CpuLevel::v3;
  return inputs;
}

void take_away(DoctorInputs& inputs, FeatureId id, int error) {
  runtime::Feature& feature = inputs.features.all[static_cast<std::size_t>(id)];
  runtime::Refusal refusal = runtime::explain_refusal(error, inputs.features.policy);
  feature.available = false;
  feature.error = error;
  feature.reason = refusal.reason;
  feature.fix = refusal.fix;
}

const Check* find_check(const DoctorReport& report, std::string_view name) {
  for (const Check& check : report.checks) {
    if (check.name == name) return &check;
  }
  return nullptr;
}

TEST(Doctor, AHealthyHostIsAllOkWithoutAdviceAndExitsZero) {
  const DoctorReport report = diagnose(healthy());
  for (const Check& check : report.checks) {
    EXPECT_EQ(check.status, CheckStatus::ok) << check.name << ": " << check.found;
    EXPECT_EQ(check.advice, "") << check.name;
    EXPECT_NE(check.found, "") << check.name;
  }
  EXPECT_EQ(report.exit_code(), 0);
  EXPECT_NE(format_report(report).find("at full speed"), std::string::npos);
  // Each feature has a line of its own.
  for (const runtime::Feature& feature : healthy().features.all) {
    if (feature.id == FeatureId::ring) continue;
    EXPECT_NE(find_check(report, feature.name), nullptr) << feature.name;
  }
}

struct Trouble {
  const char* check;
  CheckStatus status;
  const char* advice;
  std::function<void(DoctorInputs&)> make;
};

const Trouble kTroubles[] = {
    {"cpu level", CheckStatus::fail, "-Dcpu_level=v2",
     [](DoctorInputs& inputs) { inputs.cpu_level = runtime::CpuLevel::v2; }},
    {"memlock", CheckStatus::warn, "LimitMEMLOCK=infinity",
     [](DoctorInputs& inputs) { inputs.host.locked_bytes = {65'536, 65'536}; }},
    {"nofile", CheckStatus::warn, "LimitNOFILE=251024",
     [](DoctorInputs& inputs) { inputs.descriptors_possible = 4096; }},
    {"nofile", CheckStatus::warn, "sysctl -w fs.nr_open=251024",
     [](DoctorInputs& inputs) {
       inputs.descriptors_possible = 4096;
       inputs.host.descriptors_max = 65'536;
     }},
    {"somaxconn", CheckStatus::warn, "sysctl -w net.core.somaxconn=4096",
     [](DoctorInputs& inputs) { inputs.host.somaxconn = 128; }},
    {"port range", CheckStatus::warn, "ip_local_port_range",
     [](DoctorInputs& inputs) { inputs.host.port_last = 40'000; }},
    {"cpus", CheckStatus::warn, "--cores 2",
     [](DoctorInputs& inputs) { inputs.host.cpu_quota = 2.5; }},
    {"cpus", CheckStatus::warn, "--cores 1",
     [](DoctorInputs& inputs) { inputs.host.cpu_quota = 0.5; }},
    {"cpu governor", CheckStatus::warn, "cpupower frequency-set -g performance",
     [](DoctorInputs& inputs) { inputs.host.cpu_governor = "powersave"; }},
    {"memory", CheckStatus::warn, "--memory",
     [](DoctorInputs& inputs) { inputs.host.memory_limit_bytes = 64 << 20; }},
    {"clocksource", CheckStatus::warn, "echo tsc >",
     [](DoctorInputs& inputs) { inputs.host.clocksource = "hpet"; }},
    {"allocator", CheckStatus::warn, "libmimalloc-dev",
     [](DoctorInputs& inputs) { inputs.allocator_version = 0; }},
    {"bundles", CheckStatus::warn, "Linux",
     [](DoctorInputs& inputs) { take_away(inputs, FeatureId::bundles, EINVAL); }},
    {"multishot receive", CheckStatus::fail, "Linux 6.1",
     [](DoctorInputs& inputs) { take_away(inputs, FeatureId::multishot_receive, EINVAL); }},
};

TEST(Doctor, SaysWhetherPinningIsWorthItAndHowToMakeItSo) {
  DoctorInputs inputs = healthy();
  const DoctorReport apart = diagnose(inputs);
  EXPECT_EQ(find_check(apart, "pinning")->found.substr(0, 9), "worth it:");
  inputs.host.cpus_online = 4;
  const DoctorReport report = diagnose(inputs);
  const Check& pinning = *find_check(report, "pinning");
  EXPECT_EQ(pinning.status, CheckStatus::ok);
  EXPECT_EQ(pinning.found, "not worth it: the CPUs are those of all programs of this host");
  EXPECT_NE(pinning.advice.find("taskset"), std::string::npos);
}

TEST(Doctor, EachTroubleIsFoundAloneAndNamesItsCommand) {
  for (const Trouble& trouble : kTroubles) {
    DoctorInputs inputs = healthy();
    trouble.make(inputs);
    const DoctorReport report = diagnose(inputs);
    for (const Check& check : report.checks) {
      if (check.name != trouble.check) {
        EXPECT_EQ(check.status, CheckStatus::ok) << trouble.check << " troubled " << check.name;
        continue;
      }
      EXPECT_EQ(check.status, trouble.status) << trouble.check;
      EXPECT_NE(check.advice.find(trouble.advice), std::string::npos) << check.advice;
    }
    EXPECT_EQ(report.exit_code(), static_cast<int>(trouble.status)) << trouble.check;
    EXPECT_NE(format_report(report).find("fix: "), std::string::npos);
  }
}

TEST(Doctor, LimitsAreEnoughExactlyAtWhatIsWanted) {
  DoctorInputs inputs = healthy();
  inputs.descriptors_possible = 1'000'000 / 4 + 1024;
  inputs.host.locked_bytes.soft = 8 << 20;
  inputs.host.cpu_quota = 4;
  EXPECT_EQ(diagnose(inputs).exit_code(), 0);
  inputs.descriptors_possible -= 1;
  EXPECT_EQ(diagnose(inputs).exit_code(), 1);
}

TEST(Doctor, ASwitchedOffIoUringFailsAtItsSettingAndNotAtTheFilter) {
  DoctorInputs inputs = healthy();
  inputs.features.policy.io_uring_disabled = 2;
  take_away(inputs, FeatureId::ring, EPERM);
  const DoctorReport report = diagnose(inputs);
  EXPECT_EQ(find_check(report, "io_uring_disabled")->status, CheckStatus::fail);
  EXPECT_NE(find_check(report, "io_uring_disabled")->advice.find("kernel.io_uring_disabled=0"),
            std::string::npos);
  EXPECT_EQ(find_check(report, "seccomp")->status, CheckStatus::ok);
  EXPECT_EQ(find_check(report, "ring setup")->status, CheckStatus::fail);
  EXPECT_EQ(report.exit_code(), 2);
}

TEST(Doctor, ARestrictedIoUringThatWorksForUsIsNoTrouble) {
  DoctorInputs inputs = healthy();
  inputs.features.policy.io_uring_disabled = 1;
  inputs.features.policy.seccomp_mode = 2;
  EXPECT_EQ(diagnose(inputs).exit_code(), 0);
}

TEST(Doctor, AFilterThatRefusesFailsAtSeccomp) {
  DoctorInputs inputs = healthy();
  inputs.features.policy.seccomp_mode = 2;
  take_away(inputs, FeatureId::ring, EPERM);
  const DoctorReport report = diagnose(inputs);
  EXPECT_EQ(find_check(report, "io_uring_disabled")->status, CheckStatus::ok);
  EXPECT_EQ(find_check(report, "seccomp")->status, CheckStatus::fail);
  EXPECT_NE(find_check(report, "seccomp")->advice.find("SCMP_ACT_ALLOW"), std::string::npos);
}

TEST(Doctor, AHostThatTellsNothingIsNotBlamedForIt) {
  const support::FakeRoot root;
  DoctorInputs inputs = healthy();
  const runtime::HostFacts healthy_host = inputs.host;
  inputs.host = runtime::read_host_facts(root.path());
  inputs.host.descriptors = healthy_host.descriptors;
  inputs.host.locked_bytes = healthy_host.locked_bytes;
  inputs.connections_wanted = 1000;
  const DoctorReport report = diagnose(inputs);
  EXPECT_EQ(report.exit_code(), 0) << format_report(report);
}

TEST(Doctor, JsonSaysTheSameAsTheTable) {
  DoctorInputs inputs = healthy();
  inputs.host.cpu_governor = "a \"quoted\"\nname";
  inputs.host.somaxconn = 1;
  const DoctorReport report = diagnose(inputs);
  const boost::json::object root = boost::json::parse(format_report_json(report)).as_object();
  EXPECT_EQ(root.at("status").as_string(), "warn");
  EXPECT_EQ(root.at("exit_code").as_int64(), 1);
  const boost::json::array& checks = root.at("checks").as_array();
  ASSERT_EQ(checks.size(), report.checks.size());
  const std::string table = format_report(report);
  for (std::size_t i = 0; i < checks.size(); ++i) {
    const boost::json::object& check = checks[i].as_object();
    EXPECT_EQ(check.at("name").as_string(), report.checks[i].name);
    EXPECT_EQ(check.at("found").as_string(), report.checks[i].found);
    EXPECT_EQ(check.at("advice").as_string(), report.checks[i].advice);
    EXPECT_NE(table.find(report.checks[i].found), std::string::npos);
  }
}

TEST(Doctor, OnThisHostInsideAFilterItExitsWithTwo) {
  const auto child = support::run_in_child([]() -> std::string {
    if (!support::filter_system_calls({__NR_io_uring_setup}, SECCOMP_RET_ERRNO | EPERM)) {
      return "no filter";
    }
    DoctorInputs inputs = healthy();
    inputs.features = runtime::probe_features();
    const DoctorReport report = diagnose(inputs);
    return std::to_string(report.exit_code()) + format_report(report);
  });
  ASSERT_TRUE(child.exited_normally());
  if (child.output == "no filter") GTEST_SKIP() << child.output;
  EXPECT_EQ(child.output.substr(0, 1), "2") << child.output;
  EXPECT_NE(child.output.find("cannot run"), std::string::npos) << child.output;
}

}  // namespace
}  // namespace corelane::tools
