#pragma once
// Other programs: started, spoken to over pipes, waited for, stopped.
//
//   Command log{.words = {"git", "log", "--oneline"}};   // named before the co_await: g++ 12
//   RT_TRY(const Finished log_of, co_await run_command(std::move(log), {.deadline = 10s}));
//   if (log_of.status.succeeded()) use(log_of.output);
//
//   Command sort{.words = {"sort"}, .input = ChildStream::pipe(), .output = ChildStream::pipe()};
//   RT_TRY(Process sorts, co_await Process::start(std::move(sort)));
//   RT_TRY_VOID(co_await sorts.input().write_all(bytes));
//   RT_TRY_VOID(co_await sorts.input().close());
//   RT_TRY(const std::string sorted, co_await sorts.output().read_all(kBytesMax));
//   RT_TRY(const ExitStatus status, co_await sorts.wait());
//
// The child gets its three standard streams and no other descriptor, the default action of every
// signal and an empty signal mask. It is started by posix_spawn(3) on a thread (blocking.hpp: there
// is no ring operation), named by a pidfd, and waited for by a poll of it and waitid(2). So no
// handler of SIGCHLD is needed, but the program must not ignore SIGCHLD or wait for all its
// children (waitpid(-1)): then the status is lost, and wait() fails with ECHILD.
//
// A Process belongs to the core that started it. One that is destroyed while the child runs kills
// it (SIGKILL, its group if it has one of its own), and the core reaps it in the background: no
// zombie is left, and the core ends after that. A start() that is cancelled does the same. A child
// that became another user's (sudo) and may not be killed is left to itself, and not reaped.
//
// In a simulation there are no other programs: `unsupported`.

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/duration.hpp"
#include "runtime/file.hpp"
#include "runtime/pipe.hpp"
#include "runtime/result.hpp"
#include "runtime/task.hpp"

namespace corelane::runtime {

// What a standard stream of the child is.
class ChildStream {
 public:
  enum class Kind : std::uint8_t { inherit, null, pipe, descriptor, output };

  // The parent's.
  static ChildStream inherit() noexcept { return ChildStream(Kind::inherit, -1); }
  // /dev/null
  static ChildStream null() noexcept { return ChildStream(Kind::null, -1); }
  // A pipe, whose other end the Process has.
  static ChildStream pipe() noexcept { return ChildStream(Kind::pipe, -1); }
  // An open file, a socket, the end of another pipe: duplicated when start() is awaited, so that it
  // may be closed then. No direct descriptor: it is the ring's alone (EBADF).
  static ChildStream from(Descriptor descriptor) noexcept {
    return ChildStream(Kind::descriptor, descriptor.direct ? -1 : descriptor.number);
  }
  static ChildStream from(const File& file) noexcept { return from(file.descriptor()); }
  // For the errors: where the output goes (`2>&1`).
  static ChildStream to_output() noexcept { return ChildStream(Kind::output, -1); }

  Kind kind() const noexcept { return kind_; }
  int number() const noexcept { return number_; }

 private:
  ChildStream(Kind kind, int number) noexcept : kind_(kind), number_(number) {}

  Kind kind_;
  int number_;
};

struct Command {
  // The program and its arguments. A program without a slash is looked for in the parent's PATH; a
  // relative path with a slash begins at `directory`.
  std::vector<std::string> words{};
  // All of the environment, "NAME=value" each; none: the parent's.
  std::optional<std::vector<std::string>> environment{};
  // The working directory; empty: the parent's.
  std::string directory{};
  ChildStream input = ChildStream::inherit();
  ChildStream output = ChildStream::inherit();
  ChildStream errors = ChildStream::inherit();
  // A process group of its own, which kill() reaches with all children of the child. Signals of the
  // terminal (^C) do not reach it then.
  bool own_group = false;
};

// How a process ended.
struct ExitStatus {
  int code = 0;    // of exit(3), if `signal` is 0
  int signal = 0;  // the one that ended it, or 0
  bool succeeded() const noexcept { return code == 0 && signal == 0; }
  friend bool operator==(const ExitStatus&, const ExitStatus&) = default;
};

class Process {
 public:
  Process(Process&& other) noexcept;
  Process& operator=(Process&& other) noexcept;
  ~Process();

  // Errors: those of posix_spawn(3), ENOENT for example if there is no such program or directory;
  // EMFILE; invalid_argument (no words, or a NUL in one); cancelled; unsupported.
  static Task<Result<Process>> start(Command command);

  pid_t id() const noexcept { return id_; }
  // Our ends of the streams that are pipes; the others are not open.
  PipeWriter& input() noexcept { return input_; }
  PipeReader& output() noexcept { return output_; }
  PipeReader& errors() noexcept { return errors_; }

  // Until it has ended; again after that: the same. One call at a time. Cancelled: it goes on.
  Task<Result<ExitStatus>> wait();
  // Sends a signal, to the group if it is the child's own, and to a child that has left it.
  // `closed`: wait() has returned.
  Result<void> kill(int signal) noexcept;
  // SIGTERM; SIGKILL if it has not ended after `patience`. Waits.
  Task<Result<ExitStatus>> stop(Duration patience);

 private:
  struct Spawn;
  Process() = default;
  void abandon() noexcept;

  pid_t id_ = -1;
  bool has_group_ = false;
  File pidfd_;  // open until it has been reaped
  std::optional<ExitStatus> status_;
  PipeWriter input_;
  PipeReader output_;
  PipeReader errors_;
};

struct RunLimits {
  std::size_t output_bytes_max = std::size_t{1} << 20;  // of the output, and of the errors
  Duration deadline{kNever};
};

struct Finished {
  ExitStatus status;
  std::string output;
  std::string errors;  // empty if they go to the output
};

// Runs a program to its end: it reads `input`, and has ended when it and its children have closed
// output and errors. Its streams are pipes, whatever `command` says, but errors that go
// to_output(); it has a group of its own. Errors: of start(); limit_exceeded, timed_out, cancelled:
// the group is killed.
Task<Result<Finished>> run_command(Command command, RunLimits limits = {}, std::string input = {});

}  // namespace corelane::runtime
