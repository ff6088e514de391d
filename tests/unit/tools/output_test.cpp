// Goal: what is printed arrives in order and whole, however its reader pauses, and the core goes
// on; a reader that is gone and a full disk are noticed. Method: pipes that are full, a
// terminal that nobody reads, /dev/full; one core, and short waits that have to time out.

#include "tools/output.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <string>
#include <vector>

#include "runtime/await.hpp"
#include "runtime/combine.hpp"
#include "runtime/standard_io.hpp"
#include "runtime/task_group.hpp"
#include "tests/support/on_cores.hpp"
#include "tests/unit/tools/pipe.hpp"

namespace corelane::tools {
namespace {

using runtime::Task;

constexpr std::size_t kBytesMax = 64 * 1024;
constexpr runtime::Nanoseconds kShortly = 20 * runtime::kMillisecond;

// Runs `body` while `output` is written.
Task<void> while_written(Output& output, const std::function<Task<void>()>& body) {
  runtime::TaskGroup group("output");
  group.spawn("write", Output::run, &output);
  group.spawn("watch", Output::watch, &output);
  co_await body();
  group.cancel();
  co_await group.join();
}

void run_with(Output& output, const std::function<Task<void>()>& body) {
  tests::run_on_cores(1, [&]() -> Task<void> { co_await while_written(output, body); });
}

// What one read brings, at most `bytes_max`.
Task<std::string> read_piece(int descriptor, std::size_t bytes_max = 64 * 1024) {
  std::vector<std::byte> buffer(bytes_max);
  const runtime::StandardDescriptor from(descriptor);
  const auto count = co_await read_some(from, buffer);
  co_return std::string(reinterpret_cast<const char*>(buffer.data()), count ? *count : 0);
}

Task<std::string> read_exactly(int descriptor, std::size_t bytes) {
  std::string text;
  while (text.size() < bytes) {
    const std::string piece = co_await read_piece(descriptor, bytes - text.size());
    if (piece.empty()) break;
    text += piece;
  }
  co_return text;
}

Task<bool> is_full(Output& output) {
  const auto room = co_await runtime::with_timeout(kShortly, output.room());
  co_return !room && room.error().code == runtime::ErrorCode::timed_out;
}

// More than a pipe holds; every third line is longer than what a pipe takes in one piece.
std::string print_much(Output& output) {
  std::string all;
  for (std::size_t i = 0; i < 120; ++i) {
    const std::string line(i % 3 == 0 ? 9000 : 10 * i, static_cast<char>('a' + i % 26));
    output.line(line);
    all += line + "\n";
  }
  return all;
}

Task<void> expect_that_a_pause_holds_nobody(Output& output, int reading) {
  const std::string all = print_much(output);
  const bool full = co_await is_full(output);
  EXPECT_TRUE(full);
  const auto both = co_await runtime::when_all(output.flushed(), read_exactly(reading, all.size()));
  EXPECT_TRUE(std::get<0>(both));
  EXPECT_EQ(std::get<1>(both), all);
  EXPECT_EQ(output.waiting_bytes(), 0u);
  const bool has_room = co_await output.room();
  EXPECT_TRUE(has_room);
}

TEST(Output, waits_in_memory_while_a_pipe_is_full) {
  Pipe pipe;
  Output output(pipe.writing(), kBytesMax, Output::WhenFull::grow);
  run_with(output, [&] { return expect_that_a_pause_holds_nobody(output, pipe.reading()); });
}

TEST(Output, takes_descriptors_that_do_not_block) {
  Pipe pipe(O_NONBLOCK);
  Output output(pipe.writing(), kBytesMax, Output::WhenFull::grow);
  run_with(output, [&] { return expect_that_a_pause_holds_nobody(output, pipe.reading()); });
}

TEST(Output, waits_in_memory_while_nobody_reads_a_terminal) {
  const int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (master < 0) GTEST_SKIP() << "no pseudo-terminals here";
  ASSERT_EQ(grantpt(master), 0);
  ASSERT_EQ(unlockpt(master), 0);
  const int terminal = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
  ASSERT_GE(terminal, 0);
  termios mode{};
  tcgetattr(terminal, &mode);
  cfmakeraw(&mode);
  tcsetattr(terminal, TCSANOW, &mode);
  Output output(terminal, kBytesMax, Output::WhenFull::grow);
  run_with(output, [&] { return expect_that_a_pause_holds_nobody(output, master); });
  close(terminal);
  close(master);
}

// A pipe in packet mode shows each write.
TEST(Output, keeps_lines_whole_in_pieces_that_a_pipe_does_not_mix) {
  Pipe pipe(O_DIRECT);
  Output output(pipe.writing(), kBytesMax, Output::WhenFull::grow);
  run_with(output, [&]() -> Task<void> {
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < 400; ++i) {
      const std::string line(i % 97, 'x');
      output.line(line);
      bytes += line.size() + 1;
    }
    std::size_t pieces = 0;
    while (bytes > 0) {
      const std::string piece = co_await read_piece(pipe.reading());
      EXPECT_LE(piece.size(), 4096u);
      EXPECT_TRUE(piece.ends_with('\n'));
      bytes -= std::min(bytes, piece.size());
      ++pieces;
    }
    EXPECT_LT(pieces, 12u);
  });
}

TEST(Output, notices_a_reader_that_goes_away_while_there_is_nothing_to_write) {
  Pipe pipe;
  Output output(pipe.writing(), kBytesMax, Output::WhenFull::grow);
  run_with(output, [&]() -> Task<void> {
    output.line("one");
    const bool taken = co_await output.flushed();
    EXPECT_TRUE(taken);
    pipe.stop_reading();
    const runtime::Error error = co_await output.until_failed();
    EXPECT_EQ(error, runtime::Error::from_errno(EPIPE));
    const bool has_room = co_await output.room();
    EXPECT_FALSE(has_room);
  });
}

TEST(Output, fails_where_its_reader_goes_away_in_a_pause) {
  std::signal(SIGPIPE, SIG_IGN);
  Pipe pipe;
  Output output(pipe.writing(), kBytesMax, Output::WhenFull::grow);
  run_with(output, [&]() -> Task<void> {
    print_much(output);
    const bool full = co_await is_full(output);
    EXPECT_TRUE(full);
    pipe.stop_reading();
    const bool taken = co_await output.flushed();
    EXPECT_FALSE(taken);
    EXPECT_TRUE(output.failed());
  });
}

TEST(Output, fails_on_a_full_disk) {
  const int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
  Output output(full, kBytesMax, Output::WhenFull::grow);
  run_with(output, [&]() -> Task<void> {
    output.line("lost");
    const runtime::Error error = co_await output.until_failed();
    EXPECT_EQ(error, runtime::Error::from_errno(ENOSPC));
  });
  close(full);
}

TEST(Output, counts_the_lines_that_a_pause_ends_for) {
  Pipe pipe;
  Output output(pipe.writing(), kBytesMax, Output::WhenFull::grow);
  run_with(output, [&]() -> Task<void> {
    for (int i = 0; i < 40; ++i) output.line(std::string(4095, 'x'));
    // The pipe holds 16 pages.
    while (output.waiting_bytes() > 24 * 4096) co_await runtime::sleep_for(runtime::kMillisecond);
    const bool full = co_await is_full(output);
    EXPECT_TRUE(full);
  });
  EXPECT_EQ(output.waiting_lines(), 24u);
}

TEST(Output, that_may_drop_lines_says_how_many) {
  Pipe pipe;
  Output output(pipe.writing(), kBytesMax, Output::WhenFull::drop);
  run_with(output, [&]() -> Task<void> {
    constexpr std::size_t kLines = 40;
    for (std::size_t i = 0; i < kLines; ++i) output.line(std::string(4095, 'x'));
    EXPECT_LE(output.waiting_bytes(), kBytesMax);
    constexpr std::size_t kTaken = kBytesMax / 4096;
    const std::string kept = co_await read_exactly(pipe.reading(), kBytesMax);
    EXPECT_EQ(kept.size(), kTaken * 4096);
    const std::string notice = co_await read_piece(pipe.reading());
    EXPECT_EQ(notice, "corelane: 24 lines were lost: nobody read them\n");
    output.line("again");
    const std::string next = co_await read_piece(pipe.reading());
    EXPECT_EQ(next, "again\n");
  });
}

}  // namespace
}  // namespace corelane::tools
