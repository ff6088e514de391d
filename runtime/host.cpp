#include "runtime/host.hpp"

#include <fmt/format.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <sstream>
#include <string_view>

namespace corelane::runtime {
namespace {

// The file's text without the newline at its end; empty if it cannot be read.
std::string read_text(const std::string& path) {
  std::ifstream file(path);
  if (!file) return {};
  std::ostringstream text;
  text << file.rdbuf();
  std::string result = std::move(text).str();
  while (!result.empty() && (result.back() == '\n' || result.back() == ' ')) result.pop_back();
  return result;
}

template <class Number>
std::optional<Number> parse_number(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end == text.data()) return std::nullopt;
  return number;
}

std::uint64_t read_count(const std::string& path) {
  return parse_number<std::uint64_t>(read_text(path)).value_or(0);
}

// The word in brackets of "always [madvise] never".
std::string chosen_word(const std::string& text) {
  const std::size_t open = text.find('[');
  const std::size_t close = text.find(']');
  if (open == std::string::npos || close == std::string::npos || close < open) return text;
  return text.substr(open + 1, close - open - 1);
}

// The text after "Name:" in a file of such lines, without blanks in front; empty if there is none.
std::string field_of(const std::string& text, std::string_view name) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.size() <= name.size() || line.compare(0, name.size(), name) != 0) continue;
    if (line[name.size()] != ':') continue;
    const std::size_t start = line.find_first_not_of(" \t", name.size() + 1);
    return start == std::string::npos ? std::string{} : line.substr(start);
  }
  return {};
}

Limit limit_of(__rlimit_resource resource) {
  rlimit raw{};
  if (getrlimit(resource, &raw) != 0) return {};
  const auto convert = [](rlim_t value) { return value == RLIM_INFINITY ? kUnlimited : value; };
  return {convert(raw.rlim_cur), convert(raw.rlim_max)};
}

// The process' path in a cgroup hierarchy: v2 if `controller` is empty, else that v1 controller's.
std::optional<std::string> cgroup_path(const std::string& root, std::string_view controller) {
  std::istringstream lines(read_text(root + "/proc/self/cgroup"));
  for (std::string line; std::getline(lines, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string list = fmt::format(",{},", line.substr(first + 1, second - first - 1));
    const bool matches =
        controller.empty() ? list == ",," : list.find(fmt::format(",{},", controller)) != list.npos;
    if (matches) return line.substr(second + 1);
  }
  return std::nullopt;
}

// Calls visit(directory) for the cgroup at `path` and each one above it: a limit of any holds.
template <class Visit>
void for_each_cgroup(const std::string& mount, std::string path, const Visit& visit) {
  while (true) {
    visit(path == "/" ? mount : mount + path);
    if (path.empty() || path == "/") return;
    path.resize(path.find_last_of('/'));
  }
}

void lower(std::uint64_t& limit, std::uint64_t value) {
  if (value != 0 && (limit == 0 || value < limit)) limit = value;
}

void lower(double& limit, double value) {
  if (value > 0 && (limit <= 0 || value < limit)) limit = value;
}

void read_cgroup_limits(const std::string& root, HostFacts& facts) {
  const std::string mount = root + "/sys/fs/cgroup";
  if (const auto path = cgroup_path(root, "")) {
    for_each_cgroup(mount, *path, [&](const std::string& directory) {
      // "200000 100000": microseconds of CPU time in each period; "max 100000" is no limit.
      std::istringstream cpu(read_text(directory + "/cpu.max"));
      double quota_us = 0;
      double period_us = 0;
      if (cpu >> quota_us >> period_us && period_us > 0)
        lower(facts.cpu_quota, quota_us / period_us);
      lower(facts.memory_limit_bytes, read_count(directory + "/memory.max"));
      lower(facts.tasks_max, read_count(directory + "/pids.max"));
    });
  }
  if (const auto path = cgroup_path(root, "cpu")) {
    for_each_cgroup(mount + "/cpu", *path, [&](const std::string& directory) {
      const auto quota_us = parse_number<long>(read_text(directory + "/cpu.cfs_quota_us"));
      const auto period_us = parse_number<long>(read_text(directory + "/cpu.cfs_period_us"));
      if (quota_us && period_us && *quota_us > 0 && *period_us > 0) {
        lower(facts.cpu_quota, static_cast<double>(*quota_us) / static_cast<double>(*period_us));
      }
    });
  }
  if (const auto path = cgroup_path(root, "pids")) {
    for_each_cgroup(mount + "/pids", *path, [&](const std::string& directory) {
      lower(facts.tasks_max, read_count(directory + "/pids.max"));
    });
  }
  if (const auto path = cgroup_path(root, "memory")) {
    for_each_cgroup(mount + "/memory", *path, [&](const std::string& directory) {
      const std::uint64_t bytes = read_count(directory + "/memory.limit_in_bytes");
      // Version 1 writes "no limit" as the largest page-aligned number.
      if (bytes < (std::uint64_t{1} << 60)) lower(facts.memory_limit_bytes, bytes);
    });
  }
}

void read_numa(const std::string& root, HostFacts& facts) {
  const std::string nodes = root + "/sys/devices/system/node";
  for (const int id : parse_cpu_list(read_text(nodes + "/online"))) {
    facts.numa.push_back(
        {id, parse_cpu_list(read_text(fmt::format("{}/node{}/cpulist", nodes, id)))});
  }
}

// The first line of /proc/stat, "cpu user nice system idle iowait irq softirq steal ...", since
// boot.
double read_stolen_share(const std::string& root) {
  std::istringstream line(read_text(root + "/proc/stat"));
  std::string name;
  line >> name;
  if (name != "cpu") return 0;
  constexpr int kKinds = 8;
  double all = 0;
  double ticks = 0;
  for (int i = 0; i < kKinds; ++i) {
    if (!(line >> ticks)) return 0;
    all += ticks;
  }
  return all > 0 ? ticks / all : 0;
}

// "some avg10=0.00 avg60=1.50 ...", in percent (Documentation/accounting/psi).
double read_cpu_pressure(const std::string& root) {
  constexpr std::string_view kAverage = "avg60=";
  const std::string text = read_text(root + "/proc/pressure/cpu");
  const std::size_t at = text.find(kAverage);
  if (at == std::string::npos) return 0;
  std::istringstream number(text.substr(at + kAverage.size()));
  double percent = 0;
  return number >> percent ? percent / 100 : 0;
}

}  // namespace

std::vector<int> parse_cpu_list(const std::string& text) {
  constexpr int kCpusMax = 65'536;  // above what any kernel is built for; bounds a broken file
  std::vector<int> cpus;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    const std::size_t dash = part.find('-');
    const auto first = parse_number<int>(part);
    const auto last = dash == std::string::npos
                          ? first
                          : parse_number<int>(std::string_view(part).substr(dash + 1));
    if (!first || !last || *first < 0 || *last >= kCpusMax) continue;
    for (int cpu = *first; cpu <= *last; ++cpu) cpus.push_back(cpu);
  }
  return cpus;
}

std::vector<int> allowed_cpus() {
  std::vector<int> cpus;
  // The mask must be as large as the kernel's own; EINVAL says that it is not.
  for (int size = 1024; size <= 65'536; size *= 2) {
    cpu_set_t* set = CPU_ALLOC(static_cast<std::size_t>(size));
    if (set == nullptr) break;
    const std::size_t bytes = CPU_ALLOC_SIZE(static_cast<std::size_t>(size));
    CPU_ZERO_S(bytes, set);
    const bool known = sched_getaffinity(0, bytes, set) == 0;
    const int error = errno;
    for (int cpu = 0; known && cpu < size; ++cpu) {
      if (CPU_ISSET_S(static_cast<std::size_t>(cpu), bytes, set)) cpus.push_back(cpu);
    }
    CPU_FREE(set);
    if (known || error != EINVAL) break;
  }
  if (cpus.empty()) cpus.push_back(0);
  return cpus;
}

HostFacts read_host_facts(const std::string& root) {
  HostFacts facts;
  facts.cpus_allowed = allowed_cpus();
  facts.cpus_online =
      static_cast<int>(parse_cpu_list(read_text(root + "/sys/devices/system/cpu/online")).size());
  if (facts.cpus_online == 0) facts.cpus_online = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  for (const int cpu : parse_cpu_list(read_text(root + "/sys/devices/system/cpu/isolated"))) {
    const std::vector<int>& allowed = facts.cpus_allowed;
    if (std::binary_search(allowed.begin(), allowed.end(), cpu)) facts.cpus_isolated.push_back(cpu);
  }
  facts.cpu_stolen = read_stolen_share(root);
  facts.cpu_pressure = read_cpu_pressure(root);
  const std::string memory = field_of(read_text(root + "/proc/meminfo"), "MemTotal");
  facts.memory_bytes = parse_number<std::uint64_t>(memory).value_or(0) * 1024;
  read_cgroup_limits(root, facts);
  read_numa(root, facts);

  facts.descriptors = limit_of(RLIMIT_NOFILE);
  facts.locked_bytes = limit_of(RLIMIT_MEMLOCK);
  facts.descriptors_max = read_count(root + "/proc/sys/fs/nr_open");
  facts.files_max = read_count(root + "/proc/sys/fs/file-max");
  facts.somaxconn = read_count(root + "/proc/sys/net/core/somaxconn");
  std::istringstream ports(read_text(root + "/proc/sys/net/ipv4/ip_local_port_range"));
  ports >> facts.port_first >> facts.port_last;
  facts.congestion_control = read_text(root + "/proc/sys/net/ipv4/tcp_congestion_control");
  facts.congestion_control_available =
      read_text(root + "/proc/sys/net/ipv4/tcp_available_congestion_control");
  facts.default_qdisc = read_text(root + "/proc/sys/net/core/default_qdisc");

  const std::string system = root + "/sys/devices/system";
  facts.cpu_governor = read_text(
      fmt::format("{}/cpu/cpu{}/cpufreq/scaling_governor", system, facts.cpus_allowed.front()));
  facts.clocksource = read_text(system + "/clocksource/clocksource0/current_clocksource");
  facts.transparent_huge_pages =
      chosen_word(read_text(root + "/sys/kernel/mm/transparent_hugepage/enabled"));
  return facts;
}

KernelPolicy read_kernel_policy(const std::string& root) {
  KernelPolicy policy;
  utsname name{};
  if (uname(&name) == 0) policy.release = name.release;
  const std::string sysctl = root + "/proc/sys/kernel/";
  policy.io_uring_disabled = parse_number<int>(read_text(sysctl + "io_uring_disabled"));
  policy.io_uring_group = parse_number<long>(read_text(sysctl + "io_uring_group"));
  const std::string status = read_text(root + "/proc/self/status");
  policy.seccomp_mode = parse_number<int>(field_of(status, "Seccomp")).value_or(0);
  policy.locked_bytes = limit_of(RLIMIT_MEMLOCK);
  policy.descriptors = limit_of(RLIMIT_NOFILE);
  return policy;
}

Result<std::uint64_t> raise_descriptor_limit(std::uint64_t wanted) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return Unexpected{Error::from_errno(errno)};
  // RLIM_INFINITY is the largest number, so plain comparisons serve.
  if (limit.rlim_cur >= wanted) return std::uint64_t{limit.rlim_cur};
  if (limit.rlim_max < wanted) {
    const std::uint64_t ceiling = read_count("/proc/sys/fs/nr_open");
    const std::uint64_t target = ceiling == 0 ? wanted : std::min(wanted, ceiling);
    const rlimit raised{target, std::max<rlim_t>(target, limit.rlim_max)};
    if (target > limit.rlim_max && setrlimit(RLIMIT_NOFILE, &raised) == 0) return target;
  }
  limit.rlim_cur = std::min<rlim_t>(wanted, limit.rlim_max);
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) return Unexpected{Error::from_errno(errno)};
  return std::uint64_t{limit.rlim_cur};
}

}  // namespace corelane::runtime
