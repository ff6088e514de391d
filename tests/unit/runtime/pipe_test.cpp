// Goal: pipes carry bytes between coroutines, wait without holding the core, end and are cancelled
// without losing any; standard streams of every kind are read and written, in the mode they have.
// Method: pipes within one core, and descriptors of files and pipes in the place of stdin.
#include "runtime/pipe.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <string>
#include <utility>

#include "runtime/await.hpp"
#include "runtime/combine.hpp"
#include "runtime/standard_io.hpp"
#include "runtime/task_group.hpp"
#include "runtime/timeout.hpp"
#include "tests/support/on_cores.hpp"
#include "tests/support/open_descriptors.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::open_descriptors;
using tests::run_on_cores;

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span{text});
}

std::string numbered(std::size_t count) {
  std::string text;
  for (std::size_t i = 0; text.size() < count; ++i) text += std::to_string(i) + "\n";
  return text;
}

TEST(Pipe, CarriesMoreThanItHolds) {
  const std::size_t before = open_descriptors();
  run_on_cores(1, []() -> Task<void> {
    auto pipe = make_pipe();
    EXPECT_TRUE(pipe);
    const std::string text = numbered(1'000'000);
    const auto writes = [](PipeWriter* writer, const std::string* all) -> Task<Result<void>> {
      const auto written = co_await writer->write_all(bytes_of(*all));
      EXPECT_TRUE(written);
      co_return co_await writer->close();
    };
    const auto [written, back] =
        co_await when_all(writes(&pipe->writer, &text), pipe->reader.read_all(text.size()));
    EXPECT_TRUE(written);
    EXPECT_TRUE(back && *back == text);
  });
  EXPECT_EQ(open_descriptors(), before);
}

TEST(Pipe, SaysThatTheOtherEndIsClosed) {
  run_on_cores(1, []() -> Task<void> {
    auto pipe = make_pipe();
    EXPECT_TRUE(pipe);
    EXPECT_TRUE(co_await pipe->reader.close());
    const auto written = co_await pipe->writer.write_all(bytes_of("x"));
    EXPECT_TRUE(!written && written.error() == Error::from_errno(EPIPE));
    std::array<std::byte, 10> buffer;
    const auto closed = co_await pipe->reader.read_some(buffer);
    EXPECT_TRUE(!closed && closed.error().code == ErrorCode::closed);
  });
}

TEST(Pipe, BoundsWhatIsRead) {
  run_on_cores(1, []() -> Task<void> {
    for (std::size_t extra = 0; extra <= 1; ++extra) {
      auto pipe = make_pipe();
      EXPECT_TRUE(pipe);
      EXPECT_TRUE(co_await pipe->writer.write_all(bytes_of(std::string(1000 + extra, 'x'))));
      EXPECT_TRUE(co_await pipe->writer.close());
      const auto all = co_await pipe->reader.read_all(1000);
      EXPECT_EQ(all.has_value(), extra == 0);
      if (!all) {
        EXPECT_EQ(all.error(), (Error{ErrorCode::limit_exceeded, 1000}));
      }
    }
  });
}

// Reads and writes that are given up while they wait: each byte arrives once and in order.
TEST(Pipe, LosesNothingToCancels) {
  run_on_cores(1, []() -> Task<void> {
    auto pipe = make_pipe();
    EXPECT_TRUE(pipe);
    std::array<std::byte, 100> buffer;
    int cancelled = 0;
    std::string sent;
    std::string received;
    for (int i = 0; i < 200; ++i) {
      const auto early =
          co_await with_timeout(i % 3 * 10 * kMicrosecond, pipe->reader.read_some(buffer));
      if (early) {
        received.append(reinterpret_cast<const char*>(buffer.data()), *early);
      } else {
        ++cancelled;
      }
      const std::string next = std::to_string(i) + ",";
      sent += next;
      EXPECT_TRUE(co_await pipe->writer.write_all(bytes_of(next)));
    }
    EXPECT_GT(cancelled, 0);
    EXPECT_TRUE(co_await pipe->writer.close());
    const auto rest = co_await pipe->reader.read_all(100'000);
    EXPECT_TRUE(rest && received + *rest == sent);
  });
}

TEST(Pipe, AWriteToAFullOneIsCancelled) {
  run_on_cores(1, []() -> Task<void> {
    auto pipe = make_pipe();
    EXPECT_TRUE(pipe);
    const auto written = co_await with_timeout(
        10 * kMillisecond, pipe->writer.write_all(bytes_of(std::string(1'000'000, 'x'))));
    EXPECT_TRUE(!written && written.error().code == ErrorCode::timed_out);
    EXPECT_TRUE(co_await pipe->writer.close());
    const auto all = co_await pipe->reader.read_all(1'000'000);
    EXPECT_TRUE(all && !all->empty() && all->size() < 1'000'000);
  });
}

Task<std::string> read_to_end(const StandardDescriptor& input) {
  std::string all;
  std::array<char, 100> buffer;
  for (;;) {
    const auto count = co_await read_some(input, std::as_writable_bytes(std::span{buffer}));
    EXPECT_TRUE(count);
    if (!count || *count == 0) co_return all;
    all.append(buffer.data(), *count);
  }
}

TEST(StandardIo, ReadsAFileAndAPipeInTheModeTheyHave) {
  const std::string text = numbered(1000);
  for (const bool is_file : {true, false}) {
    int ends[2] = {-1, -1};
    if (is_file) {
      std::string path = ::testing::TempDir() + "corelane_standard_XXXXXX";
      ends[0] = ::mkstemp(path.data());
      ASSERT_GE(ends[0], 0);
      ::unlink(path.c_str());
      ASSERT_EQ(::write(ends[0], text.data(), text.size()), static_cast<ssize_t>(text.size()));
      ::lseek(ends[0], 0, SEEK_SET);
    } else {
      ASSERT_EQ(::pipe(ends), 0);
      ASSERT_EQ(::write(ends[1], text.data(), text.size()), static_cast<ssize_t>(text.size()));
      ::close(ends[1]);
    }
    const int mode = ::fcntl(ends[0], F_GETFL);
    run_on_cores(1, [&]() -> Task<void> {
      const StandardDescriptor input(ends[0]);
      EXPECT_EQ(co_await read_to_end(input), text);
    });
    EXPECT_EQ(::fcntl(ends[0], F_GETFL), mode);
    ::close(ends[0]);
  }
}

TEST(StandardIo, WritesAllToAPipeWithASlowReader) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const std::string text = numbered(300'000);
  run_on_cores(1, [&]() -> Task<void> {
    const StandardDescriptor output(ends[1]);
    const StandardDescriptor input(ends[0]);
    const auto writes = [](const StandardDescriptor* to, const std::string* all,
                           int end) -> Task<Result<void>> {
      const auto written = co_await write_all(*to, bytes_of(*all));
      ::close(end);
      co_return written;
    };
    const auto [written, back] =
        co_await when_all(writes(&output, &text, ends[1]), read_to_end(input));
    EXPECT_TRUE(written);
    EXPECT_EQ(back, text);
  });
  ::close(ends[0]);
}

}  // namespace
}  // namespace corelane
