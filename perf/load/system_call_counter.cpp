#include "perf/load/system_call_counter.hpp"

#include <fmt/format.h>
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace corelane::perf {
namespace {

constexpr std::array kTracefs{"/sys/kernel/tracing", "/sys/kernel/debug/tracing"};

std::optional<std::uint64_t> event_number() {
  for (const char* root : kTracefs) {
    std::ifstream file(fmt::format("{}/events/raw_syscalls/sys_enter/id", root));
    std::uint64_t number = 0;
    if (file >> number) return number;
  }
  return std::nullopt;
}

}  // namespace

SystemCallCounter::~SystemCallCounter() {
  for (const int counter : counters_) ::close(counter);
}

bool SystemCallCounter::open_thread(std::uint64_t event, pid_t thread) {
  perf_event_attr attributes{};
  attributes.type = PERF_TYPE_TRACEPOINT;
  attributes.size = sizeof attributes;
  attributes.config = event;
  attributes.disabled = 1;
  attributes.inherit = 1;
  const long counter =
      ::syscall(SYS_perf_event_open, &attributes, thread, -1, -1, PERF_FLAG_FD_CLOEXEC);
  if (counter < 0) return false;
  counters_.push_back(static_cast<int>(counter));
  return true;
}

void SystemCallCounter::open(pid_t pid) {
  const auto event = event_number();
  if (!event) {
    refused_ = "no tracepoint raw_syscalls:sys_enter: tracefs is not mounted or not readable";
    return;
  }
  std::error_code error;
  for (const auto& thread :
       std::filesystem::directory_iterator(fmt::format("/proc/{}/task", pid), error)) {
    const std::string name = thread.path().filename();
    pid_t id = 0;
    std::from_chars(name.data(), name.data() + name.size(), id);
    // A thread that has ended makes no more calls.
    if (!open_thread(*event, id) && errno != ESRCH) {
      refused_ = fmt::format("perf_event_open: {}", std::strerror(errno));
      return;
    }
  }
  if (counters_.empty()) refused_ = "no such process";
}

void SystemCallCounter::start() noexcept {
  for (const int counter : counters_) ::ioctl(counter, PERF_EVENT_IOC_ENABLE, 0);
}

std::optional<std::uint64_t> SystemCallCounter::stop() noexcept {
  if (counters_.empty() || !refused_.empty()) return std::nullopt;
  std::uint64_t sum = 0;
  for (const int counter : counters_) {
    std::uint64_t value = 0;
    ::ioctl(counter, PERF_EVENT_IOC_DISABLE, 0);
    if (::read(counter, &value, sizeof value) == sizeof value) sum += value;
  }
  return sum;
}

}  // namespace corelane::perf
