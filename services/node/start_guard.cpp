#include "services/node/start_guard.hpp"

#include <fmt/format.h>
#include <sys/resource.h>

#include <cxxabi.h>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>

#include "runtime/host.hpp"
#include "runtime/log.hpp"

namespace corelane::services {
namespace {

constexpr std::uint64_t kMiB = 1024 * 1024;
constexpr int kExitStart = 1;

// Written before the cores start and after they have started, by the main thread; a core that reads
// the old value a moment longer ends the process by the other of two ways.
volatile bool starting = true;

std::uint64_t soft_limit(__rlimit_resource_t resource) noexcept {
  rlimit limit{};
  if (::getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return 0;
  return limit.rlim_cur;
}

// The library's own handler writes with stdio, which may wait for a reader.
void on_terminate() {
  std::array<char, 512> text;
  const char* what = "";
  if (const std::exception_ptr now = std::current_exception()) {
    try {
      std::rethrow_exception(now);
    } catch (const std::exception& error) {
      what = error.what();
    } catch (...) {
      what = "an exception of unknown type";
    }
  }
  const int bytes = std::snprintf(text.data(), text.size(), "%.64s: error: terminated: %.300s\n",
                                  program_invocation_short_name, what);
  runtime::log_last_words({text.data(), static_cast<std::size_t>(bytes)});
  std::abort();
}

void end_at_once(int signal) {
  std::_Exit(128 + signal);
}

void set_unless_set(int signal, void (*action)(int)) noexcept {
  struct sigaction now{};
  if (::sigaction(signal, nullptr, &now) != 0) return;
  if ((now.sa_flags & SA_SIGINFO) == 0 && now.sa_handler == SIG_DFL) std::signal(signal, action);
}

std::string space_limit() {
  const std::uint64_t space = soft_limit(RLIMIT_AS);
  if (space != 0) {
    return fmt::format("that of the address space {} MiB (ulimit -v, LimitAS=)", space / kMiB);
  }
  const std::uint64_t data = soft_limit(RLIMIT_DATA);
  return data == 0 ? std::string{}
                   : fmt::format("that of data {} MiB (ulimit -d, LimitDATA=)", data / kMiB);
}

}  // namespace

// No memory is left, so none is asked for.
void end_out_of_memory() noexcept {
  std::array<char, 512> text;
  const std::uint64_t space = soft_limit(RLIMIT_AS);
  const std::uint64_t data = soft_limit(RLIMIT_DATA);
  std::array<char, 200> fix;
  if (space != 0) {
    std::snprintf(fix.data(), fix.size(),
                  "the limit of the address space is %llu MiB: raise it (ulimit -v, prlimit --as, "
                  "LimitAS=)",
                  static_cast<unsigned long long>(space / kMiB));
  } else if (data != 0) {
    std::snprintf(fix.data(), fix.size(),
                  "the limit of data is %llu MiB: raise it (ulimit -d, prlimit --data, LimitDATA=)",
                  static_cast<unsigned long long>(data / kMiB));
  } else {
    std::snprintf(fix.data(), fix.size(),
                  "free memory, or raise the memory limit of this container or service "
                  "(MemoryMax=, docker --memory)");
  }
  const int bytes = std::snprintf(text.data(), text.size(), "%.64s: error: out of memory; %s\n",
                                  program_invocation_short_name, fix.data());
  runtime::log_last_words({text.data(), static_cast<std::size_t>(bytes)});
  if (starting) std::_Exit(kExitStart);
  std::abort();
}

void guard_start() noexcept {
  for (const int signal : {SIGTERM, SIGINT}) set_unless_set(signal, end_at_once);
  for (const int signal : {SIGHUP, SIGPIPE}) set_unless_set(signal, SIG_IGN);
  if (std::get_new_handler() == nullptr) std::set_new_handler(end_out_of_memory);
  if (std::get_terminate() == __gnu_cxx::__verbose_terminate_handler) {
    std::set_terminate(on_terminate);
  }
  starting = true;
}

void start_is_over() noexcept {
  starting = false;
}

void end_guard() noexcept {
  if (std::get_new_handler() == end_out_of_memory) std::set_new_handler(nullptr);
  if (std::get_terminate() == on_terminate) {
    std::set_terminate(__gnu_cxx::__verbose_terminate_handler);
  }
}

bool is_limit(int error) noexcept {
  return error == ENOMEM || error == EMFILE || error == ENFILE || error == EAGAIN;
}

std::string explain_no_thread(const runtime::Error& error, runtime::CoreId cores) {
  std::string limits;
  const auto add = [&limits](const std::string& limit) {
    if (!limit.empty()) limits += (limits.empty() ? "" : ", ") + limit;
  };
  const std::uint64_t processes = soft_limit(RLIMIT_NPROC);
  if (processes != 0) {
    add(fmt::format("the limit of this user's processes and threads is {} (ulimit -u, LimitNPROC=)",
                    processes));
  }
  const std::uint64_t tasks = runtime::read_host_facts().tasks_max;
  if (tasks != 0) {
    add(fmt::format("that of the cgroup {} (pids.max, TasksMax=, docker --pids-limit)", tasks));
  }
  add(space_limit());
  if (limits.empty()) limits = "the host has a limit of threads (sysctl kernel.threads-max)";
  return fmt::format(
      "cannot create a thread: {}; {}: raise it, or use fewer cores than {} (--cores)",
      describe(error), limits, cores);
}

std::string explain_no_memory(const std::string& problem) {
  std::string text = fmt::format("cannot start: {}", problem);
  const std::string space = space_limit();
  if (!space.empty()) text += fmt::format("; the limit is {}", space);
  const std::uint64_t locked = soft_limit(RLIMIT_MEMLOCK);
  if (locked != 0) {
    text +=
        fmt::format("; that of locked memory is {} KiB (ulimit -l, LimitMEMLOCK=)", locked / 1024);
  }
  return text + "; raise it, or lower the runtime.*_buffers and server.cores";
}

std::string explain_no_ring(const runtime::Error& error, const runtime::KernelPolicy& policy) {
  const runtime::Refusal refusal = runtime::explain_refusal(error.detail, policy);
  std::string text =
      fmt::format("cannot make the ring of a core: {}; fix: {}", refusal.reason, refusal.fix);
  const std::string space = error.detail == ENOMEM ? space_limit() : std::string{};
  if (!space.empty()) text += fmt::format("; or the limit is {}", space);
  return text;
}

}  // namespace corelane::services
