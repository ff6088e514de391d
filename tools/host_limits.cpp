#include "tools/host_limits.hpp"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <new>

#include "tools/exit_code.hpp"

namespace corelane::tools {
namespace {

// Empty if there is none.
std::string limit_text(__rlimit_resource resource, rlim_t unit) {
  rlimit limit{};
  if (getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return {};
  return fmt::format("{}", limit.rlim_cur / unit);
}

std::string explain_memory() {
  constexpr rlim_t kMiB = 1024 * 1024;
  if (const std::string limit = limit_text(RLIMIT_AS, kMiB); !limit.empty()) {
    return fmt::format("the limit of address space is {} MiB: raise it (ulimit -v unlimited)",
                       limit);
  }
  if (const std::string limit = limit_text(RLIMIT_DATA, kMiB); !limit.empty()) {
    return fmt::format("the limit of data is {} MiB: raise it (ulimit -d unlimited)", limit);
  }
  return "no memory is left: free some, or raise the cgroup's memory.max";
}

// Without memory: neither fmt nor std::string.
void say_last_words() {
  constexpr rlim_t kMiB = 1024 * 1024;
  std::array<char, 160> line;
  rlimit limit{};
  const auto is_limited = [&limit](__rlimit_resource_t resource) {
    return getrlimit(resource, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
  };
  int bytes = 0;
  const bool is_space = is_limited(RLIMIT_AS);
  if (is_space || is_limited(RLIMIT_DATA)) {
    bytes = std::snprintf(
        line.data(), line.size(),
        "corelane: out of memory: the limit of %s is %llu MiB: raise it (ulimit -%c unlimited)\n",
        is_space ? "address space" : "data", static_cast<unsigned long long>(limit.rlim_cur / kMiB),
        is_space ? 'v' : 'd');
  } else {
    bytes = std::snprintf(line.data(), line.size(),
                          "corelane: out of memory: free some, or raise the cgroup's memory.max\n");
  }
  static_cast<void>(!::write(STDERR_FILENO, line.data(), static_cast<std::size_t>(bytes)));
  ::_exit(kExitServerError);
}

}  // namespace

std::string explain_limit(int error) {
  switch (error) {
    case EMFILE:
      return fmt::format("the limit of open files is {}: raise it (ulimit -n 1024)",
                         limit_text(RLIMIT_NOFILE, 1));
    case ENFILE:
      return "this host has no file left to open: raise fs.file-max (sysctl)";
    case EAGAIN: {
      const std::string limit = limit_text(RLIMIT_NPROC, 1);
      return fmt::format(
          "no thread can be started: raise the limit of processes ({}) or the "
          "cgroup's pids.max",
          limit.empty() ? "ulimit -u" : fmt::format("ulimit -u, now {}", limit));
    }
    case ENOMEM:
      return explain_memory();
    default:
      return {};
  }
}

void end_when_out_of_memory() noexcept {
  std::set_new_handler(say_last_words);
}

}  // namespace corelane::tools
