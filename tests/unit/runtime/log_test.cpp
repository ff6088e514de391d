// Goal: a log line never blocks its writer, in any state of the stream. Lost lines are counted, and
// the count is logged. Frequent lines have a limit for each reason. Method: separate logs on pipes,
// sockets, /dev/full and terminals, with the writing thread and without it.
#include "runtime/log.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "runtime/log_writer.hpp"

namespace corelane {
namespace {

using namespace runtime;

constexpr int kPatienceMs = 20'000;
constexpr std::int64_t kSecond = 1'000'000'000;

std::atomic<std::int64_t> test_time{kSecond};

std::int64_t test_clock() noexcept {
  return test_time.load();
}

std::int64_t real_clock() noexcept {
  return std::chrono::steady_clock::now().time_since_epoch().count();
}

struct Pair {
  int reader = -1;
  int writer = -1;
};

Pair make_pipe() {
  std::array<int, 2> ends{};
  EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  return {ends[0], ends[1]};
}

Pair make_sockets() {
  std::array<int, 2> ends{};
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  return {ends[0], ends[1]};
}

Pair make_terminal() {
  const int master = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  EXPECT_EQ(::grantpt(master), 0);
  EXPECT_EQ(::unlockpt(master), 0);
  const int slave = ::open(::ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
  EXPECT_GE(slave, 0);
  return {master, slave};
}

// A log that is never destroyed, as that of the process: its thread stays.
struct TestLog {
  explicit TestLog(int out, int err, Log::Clock clock = real_clock)
      : memory(new Log::Memory()), log(new Log(out, err, *memory, clock)) {
    all().push_back(this);
  }
  Log* operator->() const noexcept { return log; }

  Log::Memory* memory;
  Log* log;

 private:
  static std::vector<TestLog*>& all() {
    // Reachable for LeakSanitizer, which looks after static objects have been destroyed.
    static auto* const logs = new std::vector<TestLog*>;
    return *logs;
  }
};

Log& make_log(int out, int err, Log::Clock clock = real_clock) {
  return *(new TestLog(out, err, clock))->log;
}

// Reads until `text` has come, or patience ends.
std::string read_until(int reader, std::string_view text) {
  std::string got;
  while (got.find(text) == std::string::npos) {
    pollfd ready{.fd = reader, .events = POLLIN, .revents = 0};
    if (::poll(&ready, 1, kPatienceMs) <= 0) break;
    std::array<char, 4096> some;
    const ssize_t bytes = ::read(reader, some.data(), some.size());
    if (bytes <= 0) break;
    got.append(some.data(), static_cast<std::size_t>(bytes));
  }
  return got;
}

std::size_t count(std::string_view text, std::string_view part) {
  std::size_t found = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string_view::npos; ++at) ++found;
  return found;
}

// The sum of the numbers in front of " log line".
std::uint64_t lost_in(const std::string& text) {
  std::uint64_t sum = 0;
  const std::string_view mark = "warning: ";
  for (std::size_t at = 0; (at = text.find(" log line", at)) != std::string::npos; ++at) {
    const std::size_t begin = text.rfind(mark, at) + mark.size();
    sum += std::stoull(text.substr(begin, at - begin));
  }
  return sum;
}

// More lines than queue and stream can hold, none of which may be waited for.
constexpr std::uint64_t kFlood = 20'000;

void expect_flood_adds_up(Log& log, int reader) {
  for (std::uint64_t i = 0; i < kFlood; ++i) log.write(LogLevel::info, fmt::format("line {}", i));
  std::thread last_line([&log] {
    // The queue takes a line again once half of it is free.
    log.flush(kPatienceMs);
    log.write(LogLevel::error, "the end");
    log.flush(kPatienceMs);
  });
  const std::string text = read_until(reader, "the end\n");
  last_line.join();
  EXPECT_EQ(count(text, ": info: line ") + lost_in(text), kFlood);
  EXPECT_GT(lost_in(text), 0U);
}

TEST(Log, LinesThatAFullPipeDoesNotTakeAreLostAndCounted) {
  const Pair pipe = make_pipe();
  Log& log = make_log(pipe.writer, pipe.writer);
  ASSERT_TRUE(log.start());
  expect_flood_adds_up(log, pipe.reader);
}

TEST(Log, WithoutAThreadAFullPipeIsNotWaitedForEither) {
  const Pair pipe = make_pipe();
  expect_flood_adds_up(make_log(pipe.writer, pipe.writer), pipe.reader);
}

// A sink that blocks: it holds the writing thread alone.
struct BlockingSink {
  std::atomic<bool> may_go_on{false};
  std::atomic<bool> was_called{false};
  std::mutex mutex;
  std::string got;

  static void take(void* self, std::string_view lines) noexcept {
    auto& sink = *static_cast<BlockingSink*>(self);
    sink.was_called = true;
    sink.may_go_on.wait(false);
    const std::lock_guard lock(sink.mutex);
    sink.got += lines;
  }
  std::string so_far() {
    const std::lock_guard lock(mutex);
    return got;
  }
};

TEST(Log, ASinkThatBlocksHoldsNobodyAndGetsTheLinesInOrder) {
  const Pair pipe = make_pipe();
  Log& log = make_log(pipe.writer, pipe.writer);
  auto* const sink = new BlockingSink;  // the thread stays
  static const BlockingSink* const kReachable = sink;
  static_cast<void>(kReachable);
  log.set_sink(BlockingSink::take, sink);
  ASSERT_TRUE(log.start());
  log.write(LogLevel::info, "first");
  while (!sink->was_called) std::this_thread::yield();
  // More than the queue holds, while the sink does not return.
  const std::string long_line(1000, 'x');
  for (int i = 0; i < 200; ++i) log.write(LogLevel::info, long_line);
  EXPECT_EQ(sink->so_far(), "");
  sink->may_go_on = true;
  sink->may_go_on.notify_all();
  while (sink->so_far().find("log lines were lost") == std::string::npos) {
    log.flush(10);
  }
  log.write(LogLevel::info, "last");
  while (sink->so_far().find("last\n") == std::string::npos) std::this_thread::yield();
  const std::string got = sink->so_far();
  EXPECT_LT(got.find("first\n"), got.find(long_line));
  EXPECT_EQ(got.back(), '\n');
  // Nothing went to the stream; what is no log still does.
  log.print("ready");
  EXPECT_EQ(read_until(pipe.reader, "ready\n"), "ready\n");
}

TEST(Log, AStalledSocketIsNotWaitedFor) {
  for (const bool thread : {true, false}) {
    const Pair sockets = make_sockets();
    Log& log = make_log(sockets.writer, sockets.writer);
    if (thread) {
      ASSERT_TRUE(log.start());
    }
    expect_flood_adds_up(log, sockets.reader);
  }
}

TEST(Log, ATerminalThatNobodyReadsIsNotWaitedFor) {
  for (const bool thread : {true, false}) {
    const Pair terminal = make_terminal();
    Log& log = make_log(terminal.writer, terminal.writer);
    if (thread) {
      ASSERT_TRUE(log.start());
    }
    for (std::uint64_t i = 0; i < kFlood; ++i) log.write(LogLevel::info, "a line");
    log.flush(1);
  }
}

TEST(Log, TheNoticeOfLostLinesNeedsNoFurtherLine) {
  const Pair pipe = make_pipe();
  Log& log = make_log(pipe.writer, pipe.writer);
  ASSERT_TRUE(log.start());
  for (std::uint64_t i = 0; i < kFlood; ++i) log.write(LogLevel::info, "a line");
  std::string text;
  do {
    const std::string more = read_until(pipe.reader, "lost: nobody read them in time\n");
    ASSERT_FALSE(more.empty());
    text += more;
  } while (count(text, ": info: a line\n") + lost_in(text) < kFlood);
  EXPECT_EQ(count(text, ": info: a line\n") + lost_in(text), kFlood);
}

TEST(Log, LinesOfAFullDiskAreCounted) {
  const int full = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
  ASSERT_GE(full, 0);
  Log& log = make_log(full, full);
  ASSERT_TRUE(log.start());
  for (int i = 0; i < 100; ++i) log.write(LogLevel::info, "a line");
  log.flush(kPatienceMs);
  const Pair pipe = make_pipe();
  ASSERT_EQ(::dup2(pipe.writer, full), full);  // there is room on the disk again
  log.write(LogLevel::info, "it works again");
  const std::string text = read_until(pipe.reader, "lost: nobody read them in time\n");
  EXPECT_EQ(lost_in(text), 100U);
}

TEST(Log, AReaderThatIsGoneRaisesNoSignal) {
  const Pair pipe = make_pipe();
  ::close(pipe.reader);
  Log& log = make_log(pipe.writer, pipe.writer);
  ASSERT_TRUE(log.start());
  log.write(LogLevel::info, "a line");
  log.flush(kPatienceMs);
  ::close(pipe.writer);  // and now there is no descriptor at all
  log.write(LogLevel::info, "a line");
  log.flush(kPatienceMs);
}

TEST(Log, AStreamThatIsFullDoesNotHoldTheOther) {
  const Pair out = make_pipe();
  const Pair err = make_pipe();
  Log& log = make_log(out.writer, err.writer);
  ASSERT_TRUE(log.start());
  for (std::uint64_t i = 0; i < kFlood; ++i) log.write(LogLevel::info, "a line");
  log.print("listening on 127.0.0.1:80");
  EXPECT_EQ(read_until(out.reader, "\n"), "listening on 127.0.0.1:80\n");
}

TEST(Log, LinesKeepTheirOrderAndNoneIsLostWhileSomebodyReads) {
  const Pair pipe = make_pipe();
  Log& log = make_log(pipe.writer, pipe.writer);
  ASSERT_TRUE(log.start());
  for (int i = 0; i < 1000; ++i) log.write(LogLevel::info, fmt::format("line {}", i));
  log.write(LogLevel::debug, "not at this level");
  log.write(LogLevel::info, "the end");
  const std::string text = read_until(pipe.reader, "the end\n");
  std::size_t at = 0;
  for (int i = 0; i < 1000; ++i) {
    at = text.find(fmt::format(": info: line {}\n", i), at);
    ASSERT_NE(at, std::string::npos) << i;
  }
  EXPECT_EQ(text.find("debug"), std::string::npos);
}

TEST(Log, ManyThreadsMixNoLines) {
  const Pair pipe = make_pipe();
  Log& log = make_log(pipe.writer, pipe.writer);
  ASSERT_TRUE(log.start());
  constexpr int kThreads = 4;
  constexpr int kLines = 2000;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&log, i] {
      for (int k = 0; k < kLines; ++k) log.write(LogLevel::info, std::string(20, char('a' + i)));
    });
  }
  std::thread closing([&] {
    for (std::thread& thread : threads) thread.join();
    log.flush(kPatienceMs);
    log.write(LogLevel::info, "the end");
  });
  const std::string text = read_until(pipe.reader, "the end\n");
  closing.join();
  std::uint64_t whole = 0;
  for (int i = 0; i < kThreads; ++i) {
    whole += count(text, ": info: " + std::string(20, char('a' + i)) + "\n");
  }
  EXPECT_EQ(whole + lost_in(text), std::uint64_t{kThreads} * kLines);
}

TEST(Log, ATextOfAPeerMakesNoLineOfItsOwn) {
  const Pair pipe = make_pipe();
  Log& log = make_log(pipe.writer, pipe.writer);
  log.write(LogLevel::info, std::string("a\nb\x1b[2J\0c\x7f", 10));
  EXPECT_NE(read_until(pipe.reader, "\n").find(": info: a\\x0ab\\x1b[2J\\x00c\\x7f\n"),
            std::string::npos);
}

TEST(Log, ALongLineIsCut) {
  const Pair pipe = make_pipe();
  Log& log = make_log(pipe.writer, pipe.writer);
  log.write(LogLevel::info, std::string(10'000, 'x'));
  const std::string text = read_until(pipe.reader, "\n");
  EXPECT_EQ(text.size(), LineQueue::kLineBytesMax);
  EXPECT_TRUE(text.ends_with("x [cut]\n"));
  log.write_block(std::string(5000, 'y') + "\nz\n");
  const std::string block = read_until(pipe.reader, "z\n");
  EXPECT_TRUE(block.ends_with("y [cut]\nz\n")) << block;
}

TEST(Log, ABlockKeepsItsLines) {
  const Pair pipe = make_pipe();
  Log& log = make_log(pipe.writer, pipe.writer);
  std::string block;
  for (int i = 0; i < 500; ++i) block += fmt::format("  frame {}\n", i);
  log.write_block(block);
  EXPECT_EQ(read_until(pipe.reader, "frame 499\n"), block);
}

// Admitted lines of this many calls.
int admitted(Log& log, LogReason& reason, int calls) {
  int lines = 0;
  for (int i = 0; i < calls; ++i) lines += log.admits(reason, LogLevel::info) ? 1 : 0;
  return lines;
}

TEST(Log, AReasonHasItsLinesASecondAndSaysHowManyMoreThereWere) {
  static constinit LogReason reason("refused origin");
  static constinit LogReason other("too many connections");
  const Pair pipe = make_pipe();
  Log& log = make_log(pipe.writer, pipe.writer, test_clock);
  EXPECT_EQ(admitted(log, reason, 1000), 10);
  EXPECT_EQ(admitted(log, other, 3), 3);  // each for itself
  test_time += kSecond;
  EXPECT_EQ(admitted(log, reason, 1), 1);
  log.write(LogLevel::info, "the end");
  const std::string text = read_until(pipe.reader, "the end\n");
  EXPECT_EQ(count(text, ": info: refused origin: 990 more\n"), 1U) << text;
  EXPECT_EQ(count(text, "too many"), 0U) << text;
}

TEST(Log, TheEndSaysHowManyMoreThereWere) {
  static constinit LogReason reason("refused origin");
  const Pair pipe = make_pipe();
  Log& log = make_log(pipe.writer, pipe.writer, test_clock);
  EXPECT_EQ(admitted(log, reason, 12), 10);
  log.flush(1);
  EXPECT_NE(read_until(pipe.reader, "\n").find("refused origin: 2 more\n"), std::string::npos);
}

TEST(Log, TheThreadSaysHowManyMoreThereWereOnceTheSecondIsOver) {
  static constinit LogReason reason("refused origin");
  const Pair pipe = make_pipe();
  Log& log = make_log(pipe.writer, pipe.writer);
  ASSERT_TRUE(log.start());
  std::uint64_t lines = 0;
  for (int i = 0; i < 1000; ++i) {
    if (log.admits(reason, LogLevel::info)) {
      log.write(LogLevel::info, "one");
      ++lines;
    }
  }
  std::string text;
  std::uint64_t more = 0;
  while (lines + more < 1000) {
    const std::string got = read_until(pipe.reader, " more\n");
    ASSERT_FALSE(got.empty());
    text += got;
    more = 0;
    for (std::size_t at = 0; (at = text.find("refused origin: ", at)) != std::string::npos; ++at) {
      more += std::stoull(text.substr(at + 16));
    }
  }
  EXPECT_EQ(lines + more, 1000U);
}

TEST(Log, LastWordsComeBehindWhatWasLoggedAndWaitForNobody) {
  const Pair pipe = make_pipe();
  Log& log = make_log(pipe.writer, pipe.writer);
  ASSERT_TRUE(log.start());
  log.write(LogLevel::info, "before");
  log.last_words("x.cpp:1: assertion failed: false\n");
  const std::string text = read_until(pipe.reader, "false\n");
  EXPECT_TRUE(text.ends_with(": info: before\nx.cpp:1: assertion failed: false\n")) << text;
  for (std::uint64_t i = 0; i < kFlood; ++i) log.write(LogLevel::info, "a line");
  log.last_words("lost\n");
}

}  // namespace
}  // namespace corelane
