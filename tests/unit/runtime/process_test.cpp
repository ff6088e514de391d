// Goal: programs are started with the streams, arguments, environment and folder that were asked
// for and with nothing else; their ends are values; none is left as a zombie, and no descriptor
// leaks. Method: /bin/sh and small programs of every system; many at once; cancels in each wait.
#include "runtime/process.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <fstream>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/await.hpp"
#include "runtime/combine.hpp"
#include "runtime/task_group.hpp"
#include "runtime/task_list.hpp"
#include "runtime/timeout.hpp"
#include "tests/support/on_cores.hpp"
#include "tests/support/open_descriptors.hpp"

namespace corelane {
namespace {

using namespace runtime;
using namespace std::chrono_literals;
using tests::open_descriptors;
using tests::run_on_cores;

Command shell(std::string script) {
  return {.words = {"/bin/sh", "-c", std::move(script)}};
}

// Runs the body; then nothing of it is left.
void leaves_nothing(std::function<Task<void>()> body) {
  const std::size_t before = open_descriptors();
  run_on_cores(1, std::move(body));
  EXPECT_EQ(open_descriptors(), before);
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "a child is left";
  EXPECT_EQ(errno, ECHILD);
}

TEST(Process, EndsWithItsCodeOrItsSignal) {
  leaves_nothing([]() -> Task<void> {
    for (const int code : {0, 1, 77, 255}) {
      Command command = shell("exit " + std::to_string(code));
      auto process = co_await Process::start(std::move(command));
      EXPECT_TRUE(process);
      const auto status = co_await process->wait();
      EXPECT_TRUE(status && *status == (ExitStatus{.code = code, .signal = 0}));
      EXPECT_EQ(status && status->succeeded(), code == 0);
      const auto again = co_await process->wait();
      EXPECT_TRUE(again && *again == *status);
      EXPECT_EQ(process->kill(SIGTERM).error().code, ErrorCode::closed);
    }
    Command command = shell("kill -USR1 $$");
    auto process = co_await Process::start(std::move(command));
    EXPECT_TRUE(process);
    const auto status = co_await process->wait();
    EXPECT_TRUE(status && *status == (ExitStatus{.code = 0, .signal = SIGUSR1}));
  });
}

TEST(Process, GetsItsArgumentsEnvironmentAndFolder) {
  leaves_nothing([]() -> Task<void> {
    Command command{
        .words = {"sh", "-c", "printf '%s|' \"$@\"; printf '%s|' \"$NAME\" \"$HOME\"; pwd", "sh",
                  "one two", "", "line\nbreak", "$HOME"},
        .environment = std::vector<std::string>{"NAME=a value", "PATH=/usr/bin:/bin"},
        .directory = "/usr"};
    const auto ended = co_await run_command(std::move(command));
    EXPECT_TRUE(ended) << (ended ? "" : describe(ended.error()));
    if (ended) {
      EXPECT_EQ(ended->output, "one two||line\nbreak|$HOME|a value||/usr\n");
    }
  });
}

TEST(Process, SaysWhyItCannotBeStarted) {
  leaves_nothing([]() -> Task<void> {
    Command missing{.words = {"/nonexistent/program"}};
    const auto no_program = co_await Process::start(std::move(missing));
    EXPECT_TRUE(!no_program && no_program.error() == Error::from_errno(ENOENT));
    Command elsewhere{.words = {"/bin/true"}, .directory = "/nonexistent"};
    const auto no_folder = co_await Process::start(std::move(elsewhere));
    EXPECT_TRUE(!no_folder && no_folder.error() == Error::from_errno(ENOENT));
    Command not_executable{.words = {"/etc/passwd"}};
    const auto no_right = co_await Process::start(std::move(not_executable));
    EXPECT_TRUE(!no_right && no_right.error() == Error::from_errno(EACCES));
    Command empty;
    const auto nothing = co_await Process::start(std::move(empty));
    EXPECT_TRUE(!nothing && nothing.error().code == ErrorCode::invalid_argument);
    Command cut{.words = {"/bin/echo", std::string("a\0b", 3)}};
    const auto with_nul = co_await Process::start(std::move(cut));
    EXPECT_TRUE(!with_nul && with_nul.error().code == ErrorCode::invalid_argument);
  });
}

TEST(Process, IsSpokenToOverPipes) {
  leaves_nothing([]() -> Task<void> {
    Command command{.words = {"cat"}, .input = ChildStream::pipe(), .output = ChildStream::pipe()};
    auto process = co_await Process::start(std::move(command));
    EXPECT_TRUE(process);
    EXPECT_FALSE(process->errors().is_open());
    for (const std::string word : {"one", "two"}) {
      EXPECT_TRUE(co_await process->input().write_all(std::as_bytes(std::span{word})));
      std::string back(10, '\0');
      const auto count =
          co_await process->output().read_some(std::as_writable_bytes(std::span{back}));
      EXPECT_TRUE(count && back.substr(0, *count) == word);
    }
    EXPECT_TRUE(co_await process->input().close());
    const auto status = co_await process->wait();
    EXPECT_TRUE(status && status->succeeded());
  });
}

TEST(Process, HasPipesThatBlockAndOursDoNot) {
  leaves_nothing([]() -> Task<void> {
    Command command{.words = {"cat", "/proc/self/fdinfo/0", "/proc/self/fdinfo/1"},
                    .input = ChildStream::pipe(),
                    .output = ChildStream::pipe()};
    auto process = co_await Process::start(std::move(command));
    EXPECT_TRUE(process);
    for (const Descriptor ours : {process->input().descriptor(), process->output().descriptor()}) {
      EXPECT_NE(::fcntl(ours.number, F_GETFL) & O_NONBLOCK, 0);
      EXPECT_NE(::fcntl(ours.number, F_GETFD) & FD_CLOEXEC, 0);
    }
    const auto shown = co_await process->output().read_all(10'000);
    EXPECT_TRUE(shown);
    std::size_t at = shown->find("flags:");
    for (int i = 0; i < 2; ++i) {
      EXPECT_NE(at, std::string::npos);
      if (at == std::string::npos) break;
      EXPECT_EQ(std::stoi(shown->substr(at + 6), nullptr, 8) & O_NONBLOCK, 0);
      at = shown->find("flags:", at + 1);
    }
    EXPECT_TRUE(co_await process->wait());
  });
}

TEST(Process, HasItsThreeStreamsAndNoOtherDescriptorMaskOrDisposition) {
  // What a careless parent has: an open descriptor, an ignored and a blocked signal.
  const int careless = ::open("/dev/null", O_RDONLY);
  ASSERT_GT(careless, STDERR_FILENO);
  const auto before = std::signal(SIGHUP, SIG_IGN);
  sigset_t blocked;
  sigset_t previous;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR2);
  ::pthread_sigmask(SIG_BLOCK, &blocked, &previous);
  leaves_nothing([]() -> Task<void> {
    // The shell opens the folder itself, so ls shows one more.
    Command command{.words = {"/bin/ls", "/proc/self/fd"}};
    const auto listed = co_await run_command(std::move(command));
    EXPECT_TRUE(listed && listed->output == "0\n1\n2\n3\n");
    Command status{.words = {"/bin/cat", "/proc/self/status"}};
    const auto shown = co_await run_command(std::move(status));
    EXPECT_TRUE(shown);
    if (shown) {
      EXPECT_NE(shown->output.find("SigBlk:\t0000000000000000"), std::string::npos);
      const std::size_t ignored = shown->output.find("SigIgn:\t");
      EXPECT_NE(ignored, std::string::npos);
      // posix_spawn of glibc 2.36 ignores its own two signals (32 and 33).
      const auto mask = std::stoull(shown->output.substr(ignored + 8, 16), nullptr, 16);
      EXPECT_EQ(mask & ~(3ULL << 31), 0u);
    }
  });
  ::pthread_sigmask(SIG_SETMASK, &previous, nullptr);
  std::signal(SIGHUP, before);
  ::close(careless);
}

TEST(Process, WritesToFilesAndToTheSamePipe) {
  leaves_nothing([]() -> Task<void> {
    const std::string path =
        ::testing::TempDir() + "corelane_process_" + std::to_string(::getpid());
    {
      auto file = co_await File::open(path, O_CREAT | O_RDWR | O_TRUNC);
      EXPECT_TRUE(file);
      Command command = shell("echo out; echo err >&2");
      command.input = ChildStream::null();
      command.output = ChildStream::from(*file);
      command.errors = ChildStream::to_output();
      auto process = co_await Process::start(std::move(command));
      EXPECT_TRUE(process);
      EXPECT_TRUE(co_await process->wait());
    }
    const auto text = co_await read_file(path, 100);
    EXPECT_TRUE(text && *text == "out\nerr\n");
    ::unlink(path.c_str());
    Command merged = shell("echo out; echo err >&2");
    merged.errors = ChildStream::to_output();
    const auto both = co_await run_command(std::move(merged));
    EXPECT_TRUE(both && both->output == "out\nerr\n" && both->errors.empty());
    Command apart = shell("cat; echo err >&2");
    const auto two = co_await run_command(std::move(apart), {}, std::string("input"));
    EXPECT_TRUE(two && two->output == "input" && two->errors == "err\n");
  });
}

TEST(Process, ThatIgnoresSigtermIsKilledAfterTheTimeItHas) {
  leaves_nothing([]() -> Task<void> {
    Command deaf = shell("trap '' TERM; echo ready; while :; do sleep 1000; done");
    deaf.output = ChildStream::pipe();
    deaf.own_group = true;
    auto process = co_await Process::start(std::move(deaf));
    EXPECT_TRUE(process);
    std::string line(10, '\0');
    const auto count =
        co_await process->output().read_some(std::as_writable_bytes(std::span{line}));
    EXPECT_TRUE(count && *count == 6);
    const auto status = co_await process->stop(20ms);
    EXPECT_TRUE(status && *status == (ExitStatus{.code = 0, .signal = SIGKILL}));
    Command polite{.words = {"sleep", "1000"}};
    auto second = co_await Process::start(std::move(polite));
    EXPECT_TRUE(second);
    const auto ended = co_await second->stop(1000s);
    EXPECT_TRUE(ended && *ended == (ExitStatus{.code = 0, .signal = SIGTERM}));
    const auto again = co_await second->stop(1000s);
    EXPECT_TRUE(again && *again == *ended);
  });
}

TEST(Process, ThatIsDestroyedIsKilledAndReaped) {
  pid_t id = 0;
  leaves_nothing([&id]() -> Task<void> {
    for (int i = 0; i < 10; ++i) {
      Command command{.words = {"sleep", "1000"}};
      auto process = co_await Process::start(std::move(command));
      EXPECT_TRUE(process);
      if (process) id = process->id();
    }
  });
  EXPECT_EQ(::kill(id, 0), -1);
}

// Its group has nobody in it then.
TEST(Process, ThatLeftItsGroupIsReached) {
  leaves_nothing([]() -> Task<void> {
    for (const bool is_destroyed : {true, false}) {
      Command command{.words = {"python3", "-c",
                                "import os, time\n"
                                "os.setpgid(0, os.getpgid(os.getppid()))\n"
                                "print('moved', flush=True)\n"
                                "time.sleep(1000)"},
                      .output = ChildStream::pipe(),
                      .own_group = true};
      auto process = co_await Process::start(std::move(command));
      EXPECT_TRUE(process);
      std::string line(10, '\0');
      const auto count =
          co_await process->output().read_some(std::as_writable_bytes(std::span{line}));
      EXPECT_TRUE(count && line.starts_with("moved"));
      if (is_destroyed) continue;
      EXPECT_TRUE(process->kill(SIGTERM));
      const auto status = co_await process->wait();
      EXPECT_TRUE(status && status->signal == SIGTERM);
    }
  });
}

TEST(Process, IsNamedInListsOfTasksWithItsPipes) {
  leaves_nothing([]() -> Task<void> {
    Command command{.words = {"cat"}, .input = ChildStream::pipe(), .output = ChildStream::pipe()};
    auto process = co_await Process::start(std::move(command));
    EXPECT_TRUE(process);
    TaskGroup group("waits");
    const auto waits = [](Process* on) -> Task<void> { (void)co_await on->wait(); };
    const auto reads = [](Process* on) -> Task<void> {
      std::array<std::byte, 1> byte;
      (void)co_await on->output().read_some(byte);
    };
    group.spawn("waits", waits, &*process);
    group.spawn("reads", reads, &*process);
    const auto is_listed = [](std::string_view text) {
      return describe(list_tasks()).find(text) != std::string::npos;
    };
    while (!is_listed("exit of a process") || !is_listed("read of a pipe")) {
      co_await sleep_for(kMillisecond);
    }
    EXPECT_TRUE(co_await process->input().close());
    co_await group.join();
  });
}

TEST(Process, OutlivesItsCoreInOneThatIsDestroyedOutside) {
  const std::size_t before = open_descriptors();
  {
    std::optional<Process> kept;
    run_on_cores(1, [&kept]() -> Task<void> {
      Command command{.words = {"sleep", "1000"}};
      auto process = co_await Process::start(std::move(command));
      EXPECT_TRUE(process);
      if (process) kept.emplace(std::move(*process));
    });
  }
  EXPECT_EQ(open_descriptors(), before);
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
}

TEST(Process, StartsAndWaitsAreCancelledAtAnyTime) {
  leaves_nothing([]() -> Task<void> {
    for (int i = 0; i < 60; ++i) {
      Command command{.words = {"sleep", "1000"}, .output = ChildStream::pipe()};
      auto process =
          co_await with_timeout(i * 50 * kMicrosecond, Process::start(std::move(command)));
      if (!process) {
        EXPECT_EQ(process.error().code, ErrorCode::timed_out);
        continue;
      }
      const auto waited = co_await with_timeout(i * 10 * kMicrosecond, process->wait());
      EXPECT_TRUE(!waited && waited.error().code == ErrorCode::timed_out);
      std::array<std::byte, 10> buffer;
      const auto read =
          co_await with_timeout(10 * kMicrosecond, process->output().read_some(buffer));
      EXPECT_FALSE(read);
      EXPECT_TRUE(process->kill(SIGKILL));
      const auto status = co_await process->wait();
      EXPECT_TRUE(status && status->signal == SIGKILL);
    }
  });
}

TEST(Process, ManyRunAtOnce) {
  leaves_nothing([]() -> Task<void> {
    constexpr int kProcesses = 200;
    std::vector<Task<Result<Finished>>> runs;
    for (int i = 0; i < kProcesses; ++i) {
      runs.push_back(run_command(shell("cat; exit " + std::to_string(i % 100)), {},
                                 std::string(static_cast<std::size_t>(i), 'x')));
    }
    const auto all = co_await when_all(std::move(runs));
    for (int i = 0; i < kProcesses; ++i) {
      const auto& ended = all[static_cast<std::size_t>(i)];
      EXPECT_TRUE(ended) << i << " " << (ended ? "" : describe(ended.error()));
      if (!ended) continue;
      EXPECT_EQ(ended->status.code, i % 100);
      EXPECT_EQ(ended->output.size(), static_cast<std::size_t>(i));
    }
  });
}

TEST(RunCommand, EndsAtItsLimits) {
  leaves_nothing([]() -> Task<void> {
    Command exact = shell("head -c 1000 /dev/zero");
    const auto fits = co_await run_command(std::move(exact), {.output_bytes_max = 1000});
    EXPECT_TRUE(fits && fits->output.size() == 1000);
    for (const char* where : {"", " >&2"}) {
      Command endless = shell(std::string("cat /dev/zero") + where);
      const auto much = co_await run_command(std::move(endless), {.output_bytes_max = 1000});
      EXPECT_TRUE(!much && much.error() == (Error{ErrorCode::limit_exceeded, 1000}));
    }
    // The shell has children that hold its output.
    Command slow = shell("sleep 1000 & sleep 1000");
    const auto late = co_await run_command(std::move(slow), {.deadline = 50ms});
    EXPECT_TRUE(!late && late.error().code == ErrorCode::timed_out);
    Command orphan = shell("sleep 1000 & exit 0");
    const auto held = co_await run_command(std::move(orphan), {.deadline = 50ms});
    EXPECT_TRUE(!held && held.error().code == ErrorCode::timed_out);
  });
}

// Each prints its number and sleeps; a killed one is gone, or a zombie of init's, not asleep.
TEST(RunCommand, LeavesNoChildrenOfWhatItKills) {
  leaves_nothing([]() -> Task<void> {
    const std::string path = ::testing::TempDir() + "corelane_run_" + std::to_string(::getpid());
    TaskGroup group("runs");
    const auto runs = [](std::string to) -> Task<void> {
      Command command = shell("sleep 1000 & echo $! > " + to + "; wait");
      const auto ended = co_await run_command(std::move(command));
      EXPECT_TRUE(!ended && ended.error().code == ErrorCode::cancelled);
    };
    group.spawn("runs", runs, path);
    std::string child;
    while (!child.ends_with('\n')) {
      co_await sleep_for(kMillisecond);
      child = (co_await read_file(path, 100)).value_or("");
    }
    group.cancel();
    co_await group.join();
    ::unlink(path.c_str());
    const auto is_asleep = [&child] {
      std::ifstream status("/proc/" + std::to_string(std::stoi(child)) + "/stat");
      std::string number;
      std::string name;
      std::string state;
      status >> number >> name >> state;
      return state == "S" || state == "R";
    };
    while (is_asleep()) co_await sleep_for(kMillisecond);
  });
}

TEST(RunCommand, OfAProgramThatDoesNotReadItsInput) {
  leaves_nothing([]() -> Task<void> {
    Command command{.words = {"true"}};
    const auto ended = co_await run_command(std::move(command), {}, std::string(1'000'000, 'x'));
    EXPECT_TRUE(ended && ended->status.succeeded());
  });
}

}  // namespace
}  // namespace corelane
