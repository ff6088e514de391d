#include "perf/load/process_sample.hpp"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>

namespace corelane::perf {
namespace {

std::optional<std::string> read_file(const std::string& path) {
  const std::ifstream file(path);
  if (!file) return std::nullopt;
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

std::uint64_t number_at(std::string_view text) {
  const std::size_t digit = text.find_first_of("0123456789");
  if (digit == std::string_view::npos) return 0;
  std::uint64_t value = 0;
  std::from_chars(text.data() + digit, text.data() + text.size(), value);
  return value;
}

// The number behind "NAME:" at the beginning of a line; 0 if there is no such line.
std::uint64_t field(std::string_view status, std::string_view name) {
  const std::string wanted = fmt::format("\n{}:", name);
  const std::size_t at = status.find(wanted);
  return at == std::string_view::npos ? 0 : number_at(status.substr(at + wanted.size()));
}

runtime::Unexpected<runtime::Error> no_such_process() {
  return {runtime::Error::from_errno(ESRCH)};
}

std::uint64_t in_ns(const timespec& time) noexcept {
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(time.tv_nsec);
}

// Fields 14 and 15, counted behind the name, which may hold blanks and brackets.
void read_ticks(std::string_view stat, ProcessSample& sample) {
  std::string_view rest = stat.substr(stat.rfind(')') + 1);
  for (int number = 2; number < 14 && !rest.empty(); ++number)
    rest.remove_prefix(rest.find(' ') + 1);
  sample.user_ticks = number_at(rest);
  rest.remove_prefix(rest.find(' ') + 1);
  sample.system_ticks = number_at(rest);
}

}  // namespace

runtime::Result<ProcessSample> sample_process(pid_t pid) {
  ProcessSample sample;
  clockid_t clock{};
  timespec used{};
  // tidy: allow banned_call: CPU time of another process, which no runtime knows
  if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) != 0) {
    return no_such_process();
  }
  sample.cpu_ns = in_ns(used);
  const auto stat = read_file(fmt::format("/proc/{}/stat", pid));
  if (!stat) return no_such_process();
  read_ticks(*stat, sample);
  std::error_code error;
  for (const auto& thread :
       std::filesystem::directory_iterator(fmt::format("/proc/{}/task", pid), error)) {
    const auto status = read_file(thread.path() / "status");
    if (!status) continue;  // the thread has ended
    sample.voluntary_switches += field(*status, "voluntary_ctxt_switches");
    sample.involuntary_switches += field(*status, "nonvoluntary_ctxt_switches");
  }
  return sample;
}

runtime::Result<ProcessMemory> sample_memory(pid_t pid) {
  const auto status = read_file(fmt::format("/proc/{}/status", pid));
  if (!status) return no_such_process();
  return ProcessMemory{.resident_bytes = field(*status, "VmRSS") * 1024,
                       .anonymous_bytes = field(*status, "RssAnon") * 1024};
}

std::optional<std::uint64_t> kernel_waiting_bytes() {
  std::ifstream file("/proc/slabinfo");
  std::uint64_t sum = 0;
  bool found = false;
  for (std::string line; std::getline(file, line);) {
    std::istringstream columns(line);
    std::string name;
    std::uint64_t active = 0;
    std::uint64_t all = 0;
    std::uint64_t bytes = 0;
    if (!(columns >> name >> active >> all >> bytes)) continue;
    const bool is_for_waiting = name.starts_with("io_kiocb") || name.starts_with("eventpoll_") ||
                                name.starts_with("kmalloc-");
    if (!is_for_waiting || name.starts_with("kmalloc-rcl")) continue;
    found = true;
    sum += active * bytes;
  }
  if (!found) return std::nullopt;
  return sum;
}

ProcessSample operator-(const ProcessSample& to, const ProcessSample& from) noexcept {
  return {.cpu_ns = to.cpu_ns - from.cpu_ns,
          .user_ticks = to.user_ticks - from.user_ticks,
          .system_ticks = to.system_ticks - from.system_ticks,
          .voluntary_switches = to.voluntary_switches - from.voluntary_switches,
          .involuntary_switches = to.involuntary_switches - from.involuntary_switches};
}

CpuTimes own_cpu_times() noexcept {
  timespec used{};
  // tidy: allow banned_call: CPU time, not time
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  rusage by_mode{};
  getrusage(RUSAGE_THREAD, &by_mode);
  const auto in_us = [](const timeval& time) {
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000 +
           static_cast<std::uint64_t>(time.tv_usec);
  };
  const std::uint64_t user_ns = std::min(in_us(by_mode.ru_utime) * 1000, in_ns(used));
  return {.user_ns = user_ns, .system_ns = in_ns(used) - user_ns};
}

}  // namespace corelane::perf
