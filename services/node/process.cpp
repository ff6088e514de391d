#include "services/node/process.hpp"

#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "net/network.hpp"
#include "runtime/blocking.hpp"
#include "runtime/features.hpp"
#include "runtime/host.hpp"
#include "runtime/log_file.hpp"
#include "runtime/signals.hpp"
#include "runtime/task_group.hpp"
#include "runtime/task_list.hpp"
#include "services/config/answer.hpp"
#include "services/node/start_guard.hpp"

namespace corelane::services {

using runtime::log;
using runtime::Task;

namespace {

// Rings, listeners, signalfd, standard streams, log files, with room to spare.
constexpr std::uint64_t kDescriptorsBesides = 1024;
// IORING_MAX_FIXED_FILES of Linux.
constexpr std::uint64_t kDirectTableMax = 1 << 20;

// The kernel takes the rings of a killed process down after the process is gone, and with them its
// listeners: a supervisor that starts the next one at once finds the address taken for some
// milliseconds more.
constexpr int kTakenLooks = 50;
constexpr int kTakenLookMs = 10;

constinit runtime::LogReason kReloaded("the configuration was read again");
constinit runtime::LogReason kNotReloaded("the configuration has errors");
constinit runtime::LogReason kNeedsRestart("restart to apply settings");

// Flushes the log on each return of run_node(); waits only shortly for a slow reader.
struct LogEnd {
  LogEnd() = default;
  LogEnd(const LogEnd&) = delete;
  LogEnd& operator=(const LogEnd&) = delete;
  ~LogEnd() {
    runtime::flush_log();
    end_guard();
  }
};

std::string advice_for(bool is_unix, const runtime::Error& error) {
  if (error.code != runtime::ErrorCode::system) return {};
  switch (error.detail) {
    case EADDRINUSE:
      return is_unix ? "; another process listens there (ss -lxp shows which), or the file is no "
                       "socket: stop that process or choose another path with --listen"
                     : "; another process listens there (ss -ltnp shows which): stop it or choose "
                       "another port with --listen";
    case EPERM:
      return is_unix ? "; only root may give a socket to another user, and to a group that this "
                       "user is not in (server.unix_owner, server.unix_group)"
                     : "";
    case EACCES:
      return is_unix ? "; the folder must be one that this user may write to"
                     : "; ports below 1024 need CAP_NET_BIND_SERVICE";
    case EADDRNOTAVAIL:
      return "; no interface of this host has this address (ip address shows them)";
    case EMFILE:
      return "; raise the limit of open files (ulimit -n)";
    default:
      return {};
  }
}

std::string cannot_listen(const std::string& address, const runtime::Error& error) {
  return fmt::format("cannot listen on {}: {}{}", address, describe(error),
                     advice_for(address.starts_with("unix:"), error));
}

int tell_unmade(const Node::StartError& error) {
  using Cause = Node::StartError::Cause;
  log(LogLevel::error, error.cause == Cause::memory
                           ? explain_no_memory(error.problem)
                           : fmt::format("cannot start: {}", error.problem));
  return error.cause == Cause::options ? config::kExitUsage : kExitFailed;
}

class Process {
 public:
  Process(const ProcessOptions& options, Node& node, const runtime::BlockedSignals& blocked)
      : options_(options), node_(node), blocked_(blocked) {}

  Task<int> main() {
    runtime::SignalStream signals(blocked_);
    if (signals.error() != 0) {
      const auto error = runtime::Error::from_errno(signals.error());
      log(LogLevel::error,
          fmt::format("cannot receive signals: {}{}", describe(error), advice_for(false, error)));
      co_return kExitFailed;
    }
    const auto unmade = co_await node_.start();
    if (unmade) co_return tell_unmade(*unmade);
    const auto failure = co_await node_.listen();
    if (failure) {
      log(LogLevel::error, cannot_listen(failure->address, failure->error));
      co_await node_.drain(0);
      co_await node_.stop();
      co_return kExitFailed;
    }
    start_is_over();
    tell_listening();
    co_await until_stop_signal(signals);
    co_await drain(signals);
    co_await node_.stop();
    co_return kExitOk;
  }

 private:
  void tell_listening() const {
    const runtime::CoreId cores = options_.runtime.cores;
    for (const NodeListener& one : node_.listening()) {
      const std::string_view note = one.spoken == Spoken::tcp         ? "tcp"
                                    : one.spoken == Spoken::operators ? "admin"
                                                                      : one.note;
      runtime::print_line(fmt::format("listening on {} ({} core{}{}{})", one.address.text(), cores,
                                      cores == 1 ? "" : "s", note.empty() ? "" : ", ", note));
    }
  }

  Task<void> until_stop_signal(runtime::SignalStream& signals) {
    for (;;) {
      const auto signal = co_await signals.next();
      if (!signal) {
        log(LogLevel::error,
            fmt::format("cannot receive signals: {}; stopping", describe(signal.error())));
        co_return;
      }
      if (*signal == SIGTERM || *signal == SIGINT) co_return;
      if (*signal == SIGUSR1) {
        co_await runtime::log_all_tasks();
        continue;
      }
      co_await reload();
    }
  }

  Task<void> reload() {
    // Files are opened and read, which may take long on a disk that is busy or gone.
    const auto reopened = co_await runtime::blocking([] { return runtime::reopen_log_file(); });
    if (!reopened) {
      log(LogLevel::error,
          fmt::format("cannot open log.file {} again, going on with the old one: {}",
                      options_.log_file, describe(reopened.error())));
    }
    if (!options_.reload) co_return;
    auto read = [again = options_.reload] { return again(); };
    const Reloaded reloaded = co_await runtime::blocking(std::move(read));
    if (!reloaded.errors.empty()) {
      for (const std::string& error : reloaded.errors) {
        runtime::log_limited(kNotReloaded, LogLevel::error, error);
      }
      runtime::log_limited(kNotReloaded, LogLevel::error,
                           "the configuration has errors: going on with the old one");
      co_return;
    }
    runtime::set_log_level(log_level_of(reloaded.log_level));
    co_await node_.allow_origins(reloaded.origins);
    runtime::log_limited(kReloaded, LogLevel::info, [&] {
      return fmt::format("the configuration was read again; taken over: {}",
                         reloaded.taken.empty()
                             ? "nothing has changed that can be"
                             : fmt::format("{}", fmt::join(reloaded.taken, ", ")));
    });
    if (reloaded.need_restart.empty()) co_return;
    runtime::log_limited(kNeedsRestart, LogLevel::warning, [&] {
      return fmt::format("restart to apply: {}", fmt::join(reloaded.need_restart, ", "));
    });
  }

  Task<void> drain(runtime::SignalStream& signals) {
    log(LogLevel::info, "stopping: no more connections, telling clients");
    runtime::TaskGroup watch("signals");
    watch.spawn("signals", end_at_second_signal, &signals);
    const std::uint32_t cut_off = co_await node_.drain(options_.drain_deadline);
    watch.cancel();
    co_await watch.join();
    if (cut_off != 0) {
      log(LogLevel::warning,
          fmt::format("{} connections had not ended by the deadline and were cut off", cut_off));
    }
    log(LogLevel::info, "stopped");
  }

  static Task<void> end_at_second_signal(runtime::SignalStream* signals) {
    for (;;) {
      const auto signal = co_await signals->next();
      if (!signal) co_return;
      // The second signal ends the process at once: nothing here has to be put in order.
      if (*signal == SIGTERM || *signal == SIGINT) std::_Exit(128 + *signal);
      if (*signal == SIGUSR1) co_await runtime::log_all_tasks();
    }
  }

  const ProcessOptions& options_;
  Node& node_;
  const runtime::BlockedSignals& blocked_;
};

// Raises the limit of descriptors and sizes the rings' tables by what it became.
void take_descriptors(ProcessOptions& options) {
  const std::uint32_t cores = options.runtime.cores;
  const std::uint64_t streams = streams_for(options.connections_max, cores);
  // A ring's table is bounded by the limit, although its slots are no descriptors of the process.
  const std::uint64_t needed = options.direct_descriptors ? streams : streams * cores;
  const std::uint64_t wanted = needed + kDescriptorsBesides;
  const auto limit = runtime::raise_descriptor_limit(wanted);
  const std::uint64_t usable = limit ? *limit : kDescriptorsBesides;
  if (options.direct_descriptors) {
    options.runtime.ring.direct_descriptors =
        direct_table_slots(options.connections_max, cores, usable);
  }
  if (usable < wanted) {
    log(options.warns_if_fewer ? LogLevel::warning : LogLevel::debug,
        fmt::format("the limit of open files is {}; {} connections need {} (ulimit -n, "
                    "LimitNOFILE=). Connections beyond it wait to be accepted",
                    usable, options.connections_max, wanted));
  }
}

runtime::Error last_error() noexcept {
  return runtime::Error::from_errno(errno);
}

// A path is taken while a process listens on it; a connect that does not wait (the backlog may be
// full) finds this out. An abstract name is taken if bind(2) fails.
std::optional<runtime::Error> unix_address_taken(const runtime::Address& address) {
  const char* const path = reinterpret_cast<const sockaddr_un*>(address.raw())->sun_path;
  const bool abstract = path[0] == '\0';
  struct stat status{};
  if (!abstract && (::lstat(path, &status) != 0 || !S_ISSOCK(status.st_mode))) return std::nullopt;
  const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (probe < 0) return last_error();
  std::optional<runtime::Error> error;
  if (abstract) {
    if (::bind(probe, address.raw(), address.raw_bytes()) != 0) error = last_error();
  } else if (::connect(probe, address.raw(), address.raw_bytes()) == 0 || errno == EAGAIN) {
    error = runtime::Error::from_errno(EADDRINUSE);
  }
  ::close(probe);
  return error;
}

std::optional<runtime::Error> taken_for_good(const runtime::Address& address) {
  for (int look = 1;; ++look) {
    const auto error = address_taken(address);
    if (!error || error->detail != EADDRINUSE || look == kTakenLooks) return error;
    ::poll(nullptr, 0, kTakenLookMs);
  }
}

}  // namespace

std::optional<runtime::Error> address_taken(const runtime::Address& address) {
  // Ephemeral ports are never shared.
  if (address.family() == AF_UNIX) return unix_address_taken(address);
  if (address.port() == 0) return std::nullopt;
  const int socket = ::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (socket < 0) return last_error();
  const int on = 1;
  std::optional<runtime::Error> error;
  // SO_REUSEADDR lets connections that linger from a server before us be; SO_REUSEPORT stays off,
  // so that any listener is in the way.
  if (::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      (address.family() == AF_INET6 &&
       ::setsockopt(socket, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0) ||
      ::bind(socket, address.raw(), address.raw_bytes()) != 0) {
    error = last_error();
  }
  ::close(socket);
  return error;
}

std::uint32_t direct_table_slots(std::uint64_t connections_max, std::uint32_t cores,
                                 std::uint64_t descriptor_limit) {
  return static_cast<std::uint32_t>(
      std::min({streams_for(connections_max, cores), descriptor_limit, kDirectTableMax}));
}

namespace {

// The ring itself failed for a limit, or the kernel lacks something.
int tell_unavailable(const runtime::Features& features) {
  for (const runtime::Feature& feature : features.all) {
    if (feature.available || feature.need == runtime::FeatureNeed::optional) continue;
    if (!is_limit(feature.error)) break;
    log(LogLevel::error,
        explain_no_ring(runtime::Error::from_errno(feature.error), features.policy));
    return kExitFailed;
  }
  // One or two lines.
  const std::string text = explain_unavailable(features);
  const std::size_t newline = text.find('\n');
  log(LogLevel::error, text.substr(0, newline));
  if (newline != std::string::npos) log(LogLevel::error, text.substr(newline + 1));
  return kExitUnavailable;
}

int tell_not_started(const runtime::Runtime& runtime, const runtime::Error& error,
                     const runtime::Features& features) {
  if (runtime.failed_step() == runtime::StartStep::thread) {
    log(LogLevel::error, explain_no_thread(error, runtime.cores()));
    return kExitFailed;
  }
  log(LogLevel::error, explain_no_ring(error, features.policy));
  return is_limit(error.detail) ? kExitFailed : kExitUnavailable;
}

}  // namespace

int run_node(ProcessOptions options, NodeOptions node_options) {
  runtime::set_log_level(options.log_level);
  runtime::set_log_format(options.log_format);
  if (!options.log_file.empty()) {
    const auto opened = runtime::open_log_file(options.log_file);
    if (!opened) {
      log(LogLevel::error,
          fmt::format("cannot open log.file {}: {}", options.log_file, describe(opened.error())));
      return kExitFailed;
    }
  }
  runtime::start_log();
  guard_start();
  const LogEnd log_end;
  const runtime::Features features = runtime::probe_features();
  if (!features.has_all_required()) {
    return tell_unavailable(features);
  }
  for (const NodeListener& listener : node_options.listeners) {
    if (const auto error = taken_for_good(listener.address)) {
      log(LogLevel::error, cannot_listen(listener.address.text(), *error));
      return kExitFailed;
    }
  }
  std::optional<Node> node;
  try {
    node.emplace(std::move(node_options));
  } catch (const std::invalid_argument& error) {
    return tell_unmade({.problem = error.what(), .cause = Node::StartError::Cause::options});
  }
  take_descriptors(options);
  const runtime::BlockedSignals blocked({SIGTERM, SIGINT, SIGHUP, SIGUSR1});
  runtime::Runtime runtime(options.runtime);
  Process process(options, *node, blocked);
  const auto code = runtime.run([&process] { return process.main(); });
  if (!code) {
    return tell_not_started(runtime, code.error(), features);
  }
  return *code;
}

}  // namespace corelane::services
