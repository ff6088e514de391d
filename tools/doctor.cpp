#include "tools/doctor.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cmath>
#include <cstdio>

#include "runtime/pinning.hpp"
#include "services/node/node.hpp"

// There if the program is linked with mimalloc.
extern "C" [[gnu::weak]] int mi_version(void);

namespace corelane::tools {
namespace {

using runtime::Feature;
using runtime::FeatureId;
using runtime::FeatureNeed;
using runtime::kUnlimited;

constexpr std::uint64_t kBacklogWanted = 4096;         // runtime::ListenOptions
constexpr std::uint64_t kLockedBytesWanted = 8 << 20;  // pages pinned by zero-copy sends
constexpr std::uint64_t kPortsWanted = 28'000;         // a little below Linux' default
constexpr std::uint64_t kMemoryWanted = 256 << 20;     // buffers of a few cores, and some room
constexpr std::uint64_t kDescriptorsBesides = 1024;    // files, listeners, the engine

std::string limit_text(std::uint64_t value) {
  return value == kUnlimited ? "unlimited" : fmt::format("{}", value);
}

std::string bytes_text(std::uint64_t value) {
  if (value == kUnlimited) return "unlimited";
  if (value >= 10 << 20) return fmt::format("{} MiB", value >> 20);
  return fmt::format("{} KiB", value >> 10);
}

std::string_view status_text(CheckStatus status) {
  switch (status) {
    case CheckStatus::ok:
      return "ok";
    case CheckStatus::warn:
      return "warn";
    case CheckStatus::fail:
      return "fail";
  }
  return "";
}

class Doctor {
 public:
  explicit Doctor(const DoctorInputs& inputs)
      : inputs_(inputs), host_(inputs.host), policy_(inputs.features.policy) {}

  DoctorReport examine() {
    check_cpu_level();
    check_permission();
    check_features();
    check_locked_bytes();
    check_descriptors();
    check_network();
    check_cpus();
    check_memory();
    check_clock_and_allocator();
    return std::move(report_);
  }

 private:
  void add(std::string name, CheckStatus status, std::string found, std::string advice = {}) {
    report_.checks.push_back({std::move(name), status, std::move(found), std::move(advice)});
  }
  bool has_ring() const { return inputs_.features.has(FeatureId::ring); }

  void check_cpu_level();
  void check_permission();
  void check_features();
  void check_locked_bytes();
  void check_descriptors();
  void check_network();
  void check_cpus();
  void check_memory();
  void check_clock_and_allocator();

  const DoctorInputs& inputs_;
  const runtime::HostFacts& host_;
  const runtime::KernelPolicy& policy_;
  DoctorReport report_;
};

void Doctor::check_permission() {
  const Feature& ring = inputs_.features[FeatureId::ring];
  const bool is_refused = !ring.available;
  add("kernel", CheckStatus::ok, policy_.release);

  const int disabled = policy_.io_uring_disabled.value_or(0);
  std::string found = policy_.io_uring_disabled
                          ? fmt::format("kernel.io_uring_disabled = {}", disabled)
                          : "no such setting (Linux before 6.6)";
  if (disabled == 1) {
    found += fmt::format(", group {}", policy_.io_uring_group.value_or(-1));
  }
  const bool is_disabled = is_refused && disabled != 0;
  add("io_uring_disabled", is_disabled ? CheckStatus::fail : CheckStatus::ok, found,
      is_disabled ? ring.fix : "");

  const bool is_filtered = policy_.seccomp_mode == 2;
  const bool filter_refuses = is_refused && is_filtered && disabled != 2;
  add("seccomp", filter_refuses ? CheckStatus::fail : CheckStatus::ok,
      !is_filtered     ? "no filter"
      : filter_refuses ? ring.reason
                       : "a filter that lets io_uring through",
      filter_refuses ? ring.fix : "");
}

void Doctor::check_features() {
  const Feature& ring = inputs_.features[FeatureId::ring];
  add("ring setup", ring.available ? CheckStatus::ok : CheckStatus::fail,
      ring.available ? std::string(ring.purpose) : ring.reason, ring.fix);
  if (!ring.available) {
    add("kernel features", CheckStatus::fail, "not tried: there is no ring");
    return;
  }
  for (const Feature& feature : inputs_.features.all) {
    if (feature.id == FeatureId::ring) continue;
    const CheckStatus missing =
        feature.need == FeatureNeed::required ? CheckStatus::fail : CheckStatus::warn;
    add(std::string(feature.name), feature.available ? CheckStatus::ok : missing,
        feature.available ? std::string(feature.purpose)
                          : fmt::format("{} (for: {})", feature.reason, feature.purpose),
        feature.fix);
  }
}

void Doctor::check_locked_bytes() {
  const runtime::Limit& limit = host_.locked_bytes;
  const bool is_enough = limit.soft >= kLockedBytesWanted;
  add("memlock", is_enough ? CheckStatus::ok : CheckStatus::warn,
      fmt::format("{} (hard {})", bytes_text(limit.soft), bytes_text(limit.hard)),
      is_enough ? ""
                : "ulimit -l unlimited; systemd: LimitMEMLOCK=infinity; docker: --ulimit "
                  "memlock=-1 (zero-copy sends pin their pages)");
}

void Doctor::check_descriptors() {
  const std::uint64_t wanted = descriptors_wanted(inputs_);
  const std::uint64_t possible = inputs_.descriptors_possible;
  const runtime::Limit& limit = host_.descriptors;
  const std::string found = fmt::format(
      "soft {}, hard {}, can be raised to {}, wanted {} for {} connections", limit_text(limit.soft),
      limit_text(limit.hard), limit_text(possible), wanted, inputs_.connections_wanted);
  if (possible >= wanted) {
    add("nofile", CheckStatus::ok, found);  // the server raises it by itself
    return;
  }
  std::string advice = fmt::format(
      "ulimit -Hn {0} (as root); systemd: LimitNOFILE={0}; docker: --ulimit nofile={0}", wanted);
  if (host_.descriptors_max != 0 && host_.descriptors_max < wanted) {
    advice = fmt::format("sysctl -w fs.nr_open={}; then {}", wanted, advice);
  }
  const std::uint64_t cores = std::max<std::uint64_t>(1, host_.cpus_allowed.size());
  const std::uint64_t served =
      possible > kDescriptorsBesides ? (possible - kDescriptorsBesides) * cores : 0;
  add("nofile", CheckStatus::warn, found,
      fmt::format("{} (or --max-connections {})", advice, served));
}

void Doctor::check_network() {
  const bool is_long = host_.somaxconn == 0 || host_.somaxconn >= kBacklogWanted;
  add("somaxconn", is_long ? CheckStatus::ok : CheckStatus::warn,
      host_.somaxconn == 0 ? "unknown" : fmt::format("net.core.somaxconn = {}", host_.somaxconn),
      is_long ? ""
              : fmt::format("sysctl -w net.core.somaxconn={} (bursts of new connections)",
                            kBacklogWanted));

  const std::uint64_t ports =
      host_.port_last > host_.port_first ? host_.port_last - host_.port_first + 1 : 0;
  const bool are_many = ports == 0 || ports >= kPortsWanted;
  add("port range", are_many ? CheckStatus::ok : CheckStatus::warn,
      ports == 0 ? "unknown"
                 : fmt::format("{}-{} ({} ports)", host_.port_first, host_.port_last, ports),
      are_many
          ? ""
          : "sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\" (connections that this host "
            "opens: clients, load tests)");

  const std::string& control = host_.congestion_control;
  const std::string& qdisc = host_.default_qdisc;
  std::string hint;
  if (control == "bbr" && qdisc != "fq") {
    hint = "hint: sysctl -w net.core.default_qdisc=fq (bbr paces better with it)";
  } else if (!control.empty() && control != "bbr") {
    hint =
        "hint: for clients on lossy or long paths, modprobe tcp_bbr; sysctl -w "
        "net.ipv4.tcp_congestion_control=bbr net.core.default_qdisc=fq";
  }
  add("congestion control", CheckStatus::ok,
      control.empty() ? "unknown"
                      : fmt::format("{}, default qdisc {}", control,
                                    qdisc.empty() ? std::string("unknown") : qdisc),
      hint);
}

// Never runs on a processor below the needed level: the program reports it and ends before main().
void Doctor::check_cpu_level() {
  using runtime::CpuLevel;
  const auto number = [](CpuLevel level) { return static_cast<unsigned>(level); };
  const bool is_enough = inputs_.cpu_level >= inputs_.cpu_level_needed;
  const bool is_wasted =
      inputs_.cpu_level_needed < CpuLevel::v3 && inputs_.cpu_level >= CpuLevel::v3;
  add("cpu level", is_enough ? CheckStatus::ok : CheckStatus::fail,
      fmt::format("x86-64-v{}, needed by this build: v{}", number(inputs_.cpu_level),
                  number(inputs_.cpu_level_needed)),
      is_wasted ? "hint: a build with -Dcpu_level=v3 is faster on this host"
      : !is_enough
          ? "give the virtual machine the processor of its host (QEMU: -cpu host), or build "
            "for less: meson configure build/release -Dcpu_level=v2"
          : "");
}

void Doctor::check_cpus() {
  const auto allowed = static_cast<double>(host_.cpus_allowed.size());
  std::string found =
      fmt::format("{} allowed of {} online", host_.cpus_allowed.size(), host_.cpus_online);
  if (host_.cpu_quota > 0) {
    found += fmt::format(", a quota of {:.2f} CPUs", host_.cpu_quota);
  }
  // More cores than the quota run out of it together, and stand still until the next period.
  const bool is_throttled = host_.cpu_quota > 0 && host_.cpu_quota < allowed;
  const int fitting = std::max(1, static_cast<int>(std::floor(host_.cpu_quota)));
  add("cpus", is_throttled ? CheckStatus::warn : CheckStatus::ok, found,
      is_throttled ? fmt::format("--cores {}, or raise the quota (docker: --cpus {}; Kubernetes: "
                                 "resources.limits.cpu)",
                                 fitting, host_.cpus_allowed.size())
                   : "");

  const auto cores = static_cast<runtime::CoreId>(
      std::clamp<std::size_t>(host_.cpus_allowed.size(), 1, runtime::kCoresMax));
  const runtime::PinAdvice pinning = runtime::advise_pinning(host_, cores);
  add("pinning", CheckStatus::ok,
      fmt::format("{}: {}", pinning.is_worth_it ? "worth it" : "not worth it", pinning.why),
      pinning.is_worth_it ? ""
                          : "hint: CPUs of its own keep a server quick: taskset -c, docker "
                            "--cpuset-cpus, systemd AllowedCPUs=, with --cores for each of them");

  if (host_.numa.size() > 1) {
    add("numa", CheckStatus::ok, fmt::format("{} nodes", host_.numa.size()),
        "hint: one server a node keeps memory near: numactl --cpunodebind=0 --membind=0 corelane "
        "serve");
  } else {
    add("numa", CheckStatus::ok, host_.numa.empty() ? "unknown" : "1 node");
  }

  const bool is_slowed = !host_.cpu_governor.empty() && host_.cpu_governor != "performance";
  add("cpu governor", is_slowed ? CheckStatus::warn : CheckStatus::ok,
      host_.cpu_governor.empty() ? "none (a virtual machine, or fixed)" : host_.cpu_governor,
      is_slowed ? "cpupower frequency-set -g performance" : "");
}

void Doctor::check_memory() {
  const std::uint64_t limit = host_.memory_limit_bytes;
  const bool is_limited = limit != 0 && (host_.memory_bytes == 0 || limit < host_.memory_bytes);
  const std::uint64_t usable = is_limited ? limit : host_.memory_bytes;
  std::string found = host_.memory_bytes == 0 ? "unknown" : bytes_text(host_.memory_bytes);
  if (is_limited) found += fmt::format(", limited to {}", bytes_text(limit));
  const bool is_enough = usable == 0 || usable >= kMemoryWanted;
  add("memory", is_enough ? CheckStatus::ok : CheckStatus::warn, found,
      is_enough ? ""
                : fmt::format("give it {} (docker: --memory 1g; systemd: MemoryMax=1G)",
                              bytes_text(kMemoryWanted)));

  const std::string& pages = host_.transparent_huge_pages;
  add("huge pages", CheckStatus::ok, pages.empty() ? "unknown" : pages,
      pages == "always" ? "hint: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled (idle "
                          "connections then take no more than they use)"
                        : "");
}

void Doctor::check_clock_and_allocator() {
  // The ones that the kernel lets a program read without a system call.
  constexpr std::string_view kQuick[] = {"tsc", "kvm-clock", "hyperv_clocksource_tsc_page",
                                         "arch_sys_counter"};
  const std::string& source = host_.clocksource;
  const bool is_quick =
      source.empty() || std::find(std::begin(kQuick), std::end(kQuick), source) != std::end(kQuick);
  add("clocksource", is_quick ? CheckStatus::ok : CheckStatus::warn,
      source.empty() ? "unknown" : source,
      is_quick
          ? ""
          : "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource (each "
            "reading of the time is a system call now)");

  const int version = inputs_.allocator_version;
  add("allocator", version != 0 ? CheckStatus::ok : CheckStatus::warn,
      version != 0
          ? fmt::format("mimalloc {}.{}.{}", version / 100, version / 10 % 10, version % 10)
          : "the C library's malloc",
      version != 0 ? "" : "install libmimalloc-dev (tools/setup does) and build again");
}

}  // namespace

CheckStatus DoctorReport::worst() const noexcept {
  CheckStatus worst = CheckStatus::ok;
  for (const Check& check : checks) worst = std::max(worst, check.status);
  return worst;
}

int DoctorReport::exit_code() const noexcept {
  return static_cast<int>(worst());
}

std::uint64_t descriptors_wanted(const DoctorInputs& inputs) {
  // A connection is a direct descriptor: it takes no descriptor of the process, but the kernel
  // bounds a ring's table by this limit (io_uring_register(2)). A core has its share of the
  // connections.
  const std::uint64_t cores = std::max<std::uint64_t>(1, inputs.host.cpus_allowed.size());
  return inputs.connections_wanted / cores + kDescriptorsBesides;
}

DoctorReport diagnose(const DoctorInputs& inputs) {
  return Doctor(inputs).examine();
}

std::string format_report(const DoctorReport& report) {
  std::size_t width = 0;
  for (const Check& check : report.checks) width = std::max(width, check.name.size());
  std::string text;
  for (const Check& check : report.checks) {
    text += fmt::format("{:<4}  {:<{}}  {}\n", status_text(check.status), check.name, width,
                        check.found);
    if (check.advice.empty()) continue;
    text += fmt::format("      {:<{}}  {}{}\n", "", width,
                        check.status == CheckStatus::ok ? "" : "fix: ", check.advice);
  }
  const auto count = [&](CheckStatus status) {
    return std::count_if(report.checks.begin(), report.checks.end(),
                         [&](const Check& check) { return check.status == status; });
  };
  switch (report.worst()) {
    case CheckStatus::ok:
      return text + "\nThis host runs Corelane at full speed.\n";
    case CheckStatus::warn:
      return text + fmt::format(
                        "\nThis host runs Corelane, but slower or smaller than it could ({} "
                        "to mend).\n",
                        count(CheckStatus::warn));
    case CheckStatus::fail:
      break;
  }
  return text + "\nThis host cannot run Corelane: mend what is marked fail.\n";
}

std::string format_report_json(const DoctorReport& report) {
  boost::json::array checks;
  for (const Check& check : report.checks) {
    checks.push_back({{"name", check.name},
                      {"status", status_text(check.status)},
                      {"found", check.found},
                      {"advice", check.advice}});
  }
  const boost::json::object root{{"status", status_text(report.worst())},
                                 {"exit_code", report.exit_code()},
                                 {"checks", std::move(checks)}};
  return boost::json::serialize(root) + "\n";
}

int run_doctor(bool json) {
  DoctorInputs inputs;
  inputs.features = runtime::probe_features();
  inputs.host = runtime::read_host_facts();
  inputs.cpu_level = runtime::cpu_level();
  inputs.cpu_level_needed = runtime::cpu_level_needed();
  inputs.connections_wanted = services::NodeOptions{}.connections_max;
  inputs.descriptors_possible = runtime::raise_descriptor_limit(descriptors_wanted(inputs))
                                    .value_or(std::uint64_t{inputs.host.descriptors.soft});
  inputs.allocator_version = mi_version != nullptr ? mi_version() : 0;
  const DoctorReport report = diagnose(inputs);
  const std::string text = json ? format_report_json(report) : format_report(report);
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
  return report.exit_code();
}

}  // namespace corelane::tools
