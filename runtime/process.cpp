#include "runtime/process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <memory>
#include <span>
#include <tuple>
#include <utility>

#include "runtime/await.hpp"
#include "runtime/blocking.hpp"
#include "runtime/combine.hpp"
#include "runtime/core.hpp"
#include "runtime/file_operation.hpp"
#include "runtime/pipe_elsewhere.hpp"
#include "runtime/timeout.hpp"
#include "runtime/try.hpp"

namespace corelane::runtime {
namespace {

constexpr auto kPidfd = static_cast<idtype_t>(3);  // P_PIDFD, Linux 5.4

// 0: not yet.
int reap(int pidfd, int flags, siginfo_t& info) noexcept {
  int result = 0;
  do {
    info = {};
    result = ::waitid(kPidfd, static_cast<id_t>(pidfd), &info, WEXITED | flags);
  } while (result < 0 && errno == EINTR);
  return result < 0 ? -errno : info.si_pid;
}

Result<void> send(const File& pidfd, int signal) noexcept {
  if (::syscall(SYS_pidfd_send_signal, pidfd.descriptor().number, signal, nullptr, 0) != 0) {
    return Unexpected{Error::from_errno(errno)};
  }
  return {};
}

ExitStatus to_status(const siginfo_t& info) noexcept {
  if (info.si_code == CLD_EXITED) return {.code = info.si_status, .signal = 0};
  return {.code = 0, .signal = info.si_status};
}

// Waits for a killed child whose Process is gone. The core goes on until it has ended.
class Reaper final : public CoreResident, private Operations::Waiter {
 public:
  explicit Reaper(File pidfd) noexcept : pidfd_(std::move(pidfd)) {}
  void begin() {
    Core& core = Core::current();
    core.ring().poll(pidfd_.descriptor(), POLLIN, core.operations().acquire(*this));
  }
  void begin_stop() noexcept override {}
  bool at_rest() const noexcept override { return has_ended_; }

 private:
  void complete(const Completion& completion) noexcept override {
    siginfo_t info;
    // A poll that failed cannot be trusted to come again: the child has been killed.
    const int flags = completion.result < 0 ? 0 : WNOHANG;
    if (reap(pidfd_.descriptor().number, flags, info) == 0) return begin();
    has_ended_ = true;
    Core::current().evict(*this);
  }

  File pidfd_;
  bool has_ended_ = false;
};

class SpawnActions {
 public:
  SpawnActions() noexcept {
    ::posix_spawn_file_actions_init(&actions_);
    ::posix_spawnattr_init(&attributes_);
  }
  ~SpawnActions() {
    ::posix_spawn_file_actions_destroy(&actions_);
    ::posix_spawnattr_destroy(&attributes_);
  }
  SpawnActions(const SpawnActions&) = delete;
  SpawnActions& operator=(const SpawnActions&) = delete;

  posix_spawn_file_actions_t* files() noexcept { return &actions_; }
  posix_spawnattr_t* attributes() noexcept { return &attributes_; }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

std::vector<char*> pointers_to(std::vector<std::string>& words) {
  std::vector<char*> pointers;
  pointers.reserve(words.size() + 1);
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  return pointers;
}

Result<void> check(const Command& command) noexcept {
  using detail::has_nul;
  bool is_usable = !command.words.empty() && !has_nul(command.directory);
  for (const std::string& word : command.words) is_usable = is_usable && !has_nul(word);
  if (command.environment) {
    for (const std::string& entry : *command.environment) is_usable = is_usable && !has_nul(entry);
  }
  if (!is_usable) return fail(ErrorCode::invalid_argument);
  return {};
}

}  // namespace

// What a thread needs to start the child. It owns all of it: the wait may be given up.
struct Process::Spawn {
  Command command;
  std::array<File, 3> ends;  // of the child
  Process process;           // with our ends

  explicit Spawn(Command its_command) noexcept : command(std::move(its_command)) {}
  Result<void> open_streams();
  Result<Process> operator()();

 private:
  int set_up(SpawnActions& actions);
};

Result<void> Process::Spawn::open_streams() {
  const std::array streams{&command.input, &command.output, &command.errors};
  for (std::size_t i = 0; i < streams.size(); ++i) {
    if (streams[i]->kind() == ChildStream::Kind::descriptor) {
      const int number = ::fcntl(streams[i]->number(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
      if (number < 0) return Unexpected{Error::from_errno(errno)};
      ends[i] = File(Descriptor{.number = number, .direct = false});
    } else if (streams[i]->kind() == ChildStream::Kind::pipe && i == 0) {
      RT_TRY_RETURN(auto pipe, detail::make_pipe_to_elsewhere());
      ends[i] = std::move(pipe.elsewhere);
      process.input_ = std::move(pipe.writer);
    } else if (streams[i]->kind() == ChildStream::Kind::pipe) {
      RT_TRY_RETURN(auto pipe, detail::make_pipe_from_elsewhere());
      ends[i] = std::move(pipe.elsewhere);
      (i == 1 ? process.output_ : process.errors_) = std::move(pipe.reader);
    }
  }
  return {};
}

// A positive errno, or 0.
int Process::Spawn::set_up(SpawnActions& actions) {
  const std::array streams{&command.input, &command.output, &command.errors};
  int error = 0;
  for (int i = 0; i < 3 && error == 0; ++i) {
    const auto at = static_cast<std::size_t>(i);
    if (streams[at]->kind() == ChildStream::Kind::null) {
      error = ::posix_spawn_file_actions_addopen(actions.files(), i, "/dev/null", O_RDWR, 0);
    } else if (streams[at]->kind() == ChildStream::Kind::output) {
      error = ::posix_spawn_file_actions_adddup2(actions.files(), STDOUT_FILENO, i);
    } else if (ends[at].is_open()) {
      error = ::posix_spawn_file_actions_adddup2(actions.files(), ends[at].descriptor().number, i);
    }
  }
  if (error == 0) {
    error = ::posix_spawn_file_actions_addclosefrom_np(actions.files(), STDERR_FILENO + 1);
  }
  if (error == 0 && !command.directory.empty()) {
    error = ::posix_spawn_file_actions_addchdir_np(actions.files(), command.directory.c_str());
  }
  int flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
  if (command.own_group) flags |= POSIX_SPAWN_SETPGROUP;
  sigset_t none;
  sigset_t all;
  sigemptyset(&none);
  sigfillset(&all);
  ::posix_spawnattr_setsigmask(actions.attributes(), &none);
  ::posix_spawnattr_setsigdefault(actions.attributes(), &all);
  ::posix_spawnattr_setpgroup(actions.attributes(), 0);
  ::posix_spawnattr_setflags(actions.attributes(), static_cast<short>(flags));
  return error;
}

Result<Process> Process::Spawn::operator()() {
  SpawnActions actions;
  if (const int error = set_up(actions)) return Unexpected{Error::from_errno(error)};
  const std::vector<char*> words = pointers_to(command.words);
  std::vector<char*> environment;
  if (command.environment) environment = pointers_to(*command.environment);
  pid_t id = -1;
  const int error =
      ::posix_spawnp(&id, words.front(), actions.files(), actions.attributes(), words.data(),
                     command.environment ? environment.data() : ::environ);
  ends = {};  // the child has them
  if (error != 0) return Unexpected{Error::from_errno(error)};
  // Nobody has reaped it yet, so the number is still its own.
  const auto pidfd = static_cast<int>(::syscall(SYS_pidfd_open, id, 0));
  if (pidfd < 0) {
    const int refused = errno;
    if (command.own_group) ::kill(-id, SIGKILL);
    const bool is_killed = ::kill(id, SIGKILL) == 0;
    while (is_killed && ::waitpid(id, nullptr, 0) < 0 && errno == EINTR) {
    }
    return Unexpected{Error::from_errno(refused)};
  }
  process.id_ = id;
  process.has_group_ = command.own_group;
  process.pidfd_ = File(Descriptor{.number = pidfd, .direct = false});
  return std::move(process);
}

Process::Process(Process&& other) noexcept = default;

Process& Process::operator=(Process&& other) noexcept {
  if (this == &other) return *this;
  abandon();
  id_ = other.id_;
  has_group_ = other.has_group_;
  pidfd_ = std::move(other.pidfd_);
  status_ = other.status_;
  input_ = std::move(other.input_);
  output_ = std::move(other.output_);
  errors_ = std::move(other.errors_);
  return *this;
}

Process::~Process() {
  abandon();
}

void Process::abandon() noexcept {
  if (!pidfd_.is_open()) return;
  (void)kill(SIGKILL);
  siginfo_t info;
  // EPERM: it is another user's now (sudo), and may never end.
  if (!send(pidfd_, SIGKILL)) {
    reap(pidfd_.descriptor().number, WNOHANG, info);
    pidfd_ = File{};
    return;
  }
  Core* const core = Core::current_or_null();
  if (core == nullptr || core->stopping()) {
    // The core takes no new work, or there is none. A killed child ends within milliseconds.
    reap(pidfd_.descriptor().number, 0, info);
    pidfd_ = File{};
    return;
  }
  auto reaper = std::make_unique<Reaper>(std::move(pidfd_));
  reaper->begin();
  core->adopt(std::move(reaper));
}

Task<Result<Process>> Process::start(Command command) {
  if (Ring::is_simulated()) co_return fail(ErrorCode::unsupported);
  RT_TRY_VOID(check(command));
  Spawn spawn(std::move(command));
  RT_TRY_VOID(spawn.open_streams());
  // with_timeout makes an error of a cancel.
  co_return co_await with_timeout(kNever, blocking(std::move(spawn)));
}

Task<Result<ExitStatus>> Process::wait() {
  if (status_) co_return *status_;
  if (!pidfd_.is_open()) co_return fail(ErrorCode::closed);
  for (;;) {
    OperationAwaiter ends("exit of a process", pidfd_.descriptor(), [&](Ring& ring, Token token) {
      ring.poll(pidfd_.descriptor(), POLLIN, token);
    });
    RT_TRY_VOID(co_await ends);
    siginfo_t info;
    const int reaped = reap(pidfd_.descriptor().number, WNOHANG, info);
    if (reaped == 0) continue;
    pidfd_ = File{};
    if (reaped < 0) co_return Unexpected{Error::from_errno(-reaped)};
    status_ = to_status(info);
    co_return *status_;
  }
}

Result<void> Process::kill(int signal) noexcept {
  if (!pidfd_.is_open()) return fail(ErrorCode::closed);
  // Until it is reaped its number, and that of its group, are no others'.
  const int result = has_group_ ? ::kill(-id_, signal) : 0;
  // A child that has left its group is reached alone.
  if (!has_group_ || ::getpgid(id_) != id_) return send(pidfd_, signal);
  if (result < 0) return Unexpected{Error::from_errno(errno)};
  return {};
}

Task<Result<ExitStatus>> Process::stop(Duration patience) {
  if (status_) co_return *status_;
  RT_TRY_VOID(kill(SIGTERM));
  auto status = co_await with_timeout(patience, wait());
  if (status || status.error().code != ErrorCode::timed_out) co_return status;
  RT_TRY_VOID(kill(SIGKILL));
  co_return co_await wait();
}

namespace {

Task<Result<void>> feed(PipeWriter& writer, const std::string& input) {
  const auto written = co_await writer.write_all(std::as_bytes(std::span{input}));
  // A program may end without reading all of it.
  if (!written && written.error() != Error::from_errno(EPIPE)) {
    co_return Unexpected{written.error()};
  }
  co_return co_await writer.close();
}

Task<Result<std::string>> drain(PipeReader& reader, std::size_t bytes_max) {
  if (!reader.is_open()) co_return std::string{};
  co_return co_await reader.read_all(bytes_max);
}

Task<Result<Finished>> run_to_end(Command command, std::size_t bytes_max, std::string input) {
  RT_TRY(Process process, co_await Process::start(std::move(command)));
  auto ended = co_await try_all(feed(process.input(), input), drain(process.output(), bytes_max),
                                drain(process.errors(), bytes_max));
  if (!ended) co_return Unexpected{ended.error()};
  // Last: until it is reaped, its group can be killed.
  RT_TRY(const ExitStatus status, co_await process.wait());
  co_return Finished{status, std::move(std::get<1>(*ended)), std::move(std::get<2>(*ended))};
}

}  // namespace

Task<Result<Finished>> run_command(Command command, RunLimits limits, std::string input) {
  const bool is_merged = command.errors.kind() == ChildStream::Kind::output;
  command.input = ChildStream::pipe();
  command.output = ChildStream::pipe();
  if (!is_merged) command.errors = ChildStream::pipe();
  command.own_group = true;
  co_return co_await with_timeout(
      limits.deadline, run_to_end(std::move(command), limits.output_bytes_max, std::move(input)));
}

}  // namespace corelane::runtime
