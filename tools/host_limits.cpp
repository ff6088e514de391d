#include "tools/host_limits.hpp"

#include <fmt/format.h>
#include <sys/resource.h>

#include <cerrno>
#include <new>

#include "services/node/start_guard.hpp"

#ifdef CORELANE_MIMALLOC
#include <mimalloc.h>
#endif

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
    return fmt::format("the limit of the address space is {} MiB: raise it (ulimit -v unlimited)",
                       limit);
  }
  if (const std::string limit = limit_text(RLIMIT_DATA, kMiB); !limit.empty()) {
    return fmt::format("the limit of data is {} MiB: raise it (ulimit -d unlimited)", limit);
  }
  return "no memory is left: free some, or raise the cgroup's memory.max";
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
  std::set_new_handler(services::end_out_of_memory);
#ifdef CORELANE_MIMALLOC
  // mimalloc 2.0.9 defines std::get_new_handler() itself, to return nothing, and its `new`, which
  // is compiled as C and cannot throw, aborts without a word. It calls its error function before.
  mi_register_error(
      [](int error, void*) {
        if (error == ENOMEM) services::end_out_of_memory();
      },
      nullptr);
#endif
}

}  // namespace corelane::tools
