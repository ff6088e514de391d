#include "runtime/thread_times.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <string_view>

namespace corelane::runtime {

ThreadTimes thread_times(int schedstat_fd) noexcept {
  char text[96];  // "running waiting timeslices", decimal
  const ssize_t size = ::pread(schedstat_fd, text, sizeof text, 0);
  if (size <= 0) return {};
  ThreadTimes times;
  const char* const end = text + size;
  const auto running = std::from_chars(static_cast<const char*>(text), end, times.running_ns);
  if (running.ptr != end) std::from_chars(running.ptr + 1, end, times.waiting_ns);
  return times;
}

bool is_runnable(pid_t thread_id) noexcept {
  char path[48];
  *fmt::format_to_n(path, sizeof path - 1, "/proc/self/task/{}/stat", thread_id).out = '\0';
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return true;
  char text[256];
  const ssize_t size = ::read(fd, text, sizeof text);
  ::close(fd);
  // "id (name) S ...": the name is at most 15 bytes, and may itself hold a parenthesis.
  const std::string_view stat(text, static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
  const std::size_t name_end = stat.rfind(')');
  return name_end == std::string_view::npos || name_end + 2 >= stat.size() ||
         stat[name_end + 2] == 'R';
}

}  // namespace corelane::runtime
