// Goal: lines come out as they went in, however they were cut into writes, and waiting for them can
// be cancelled. Method: pipes and files, small limits, one core.

#include "tools/line_input.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string_view>
#include <vector>

#include "runtime/combine.hpp"
#include "tests/support/on_cores.hpp"
#include "tests/unit/tools/pipe.hpp"

namespace corelane::tools {
namespace {

using runtime::Task;

Task<std::vector<std::string>> all_lines(LineInput& input) {
  std::vector<std::string> lines;
  for (;;) {
    auto line = co_await input.next_line();
    EXPECT_TRUE(line) << describe(line.error());
    if (!line || !*line) break;
    lines.push_back(std::move(**line));
  }
  co_return lines;
}

TEST(LineInput, gives_lines_and_a_last_one_without_an_end) {
  tests::run_on_cores(1, []() -> Task<void> {
    Pipe pipe;
    pipe.write("one\n\ntwo\r\nth");
    LineInput input(pipe.reading());
    auto first = co_await input.next_line();
    EXPECT_EQ(*first, "one");
    pipe.write("ree");
    pipe.finish();
    const auto rest = co_await all_lines(input);
    EXPECT_EQ(rest, (std::vector<std::string>{"", "two\r", "three"}));
    auto end = co_await input.next_line();
    EXPECT_TRUE(end);
    EXPECT_FALSE(*end);
  });
}

TEST(LineInput, joins_a_line_that_comes_byte_by_byte) {
  tests::run_on_cores(1, []() -> Task<void> {
    Pipe pipe;
    LineInput input(pipe.reading());
    const auto write_slowly = [](const Pipe& to) -> Task<void> {
      for (const char* at = "slow\nly\n"; *at != '\0'; ++at) {
        to.write({at, 1});
        co_await runtime::Yield{};
      }
    };
    const auto both = co_await runtime::when_all(input.next_line(), write_slowly(pipe));
    EXPECT_EQ(*std::get<0>(both).value(), "slow");
    auto second = co_await input.next_line();
    EXPECT_EQ(*second, "ly");
  });
}

TEST(LineInput, reads_files_which_cannot_be_polled) {
  tests::run_on_cores(1, []() -> Task<void> {
    std::FILE* file = std::tmpfile();
    EXPECT_NE(file, nullptr);
    if (file == nullptr) co_return;
    const std::string text = std::string(200'000, 'x') + "\nend";
    EXPECT_EQ(std::fwrite(text.data(), 1, text.size(), file), text.size());
    std::fflush(file);
    EXPECT_EQ(lseek(fileno(file), 0, SEEK_SET), 0);
    LineInput input(fileno(file));
    const auto lines = co_await all_lines(input);
    EXPECT_EQ(lines, (std::vector<std::string>{std::string(200'000, 'x'), "end"}));
    EXPECT_EQ(lseek(fileno(file), 0, SEEK_SET), 0);
    LineInput again(fileno(file));
    const auto all = co_await again.rest();
    EXPECT_TRUE(all && *all == text);
    std::fclose(file);
  });
}

TEST(LineInput, refuses_a_line_past_the_limit) {
  tests::run_on_cores(1, []() -> Task<void> {
    Pipe pipe;
    pipe.write("12345678\n123456789");
    pipe.finish();
    LineInput input(pipe.reading(), 8);
    auto fits = co_await input.next_line();
    EXPECT_EQ(*fits, "12345678");
    auto last = co_await input.next_line();
    EXPECT_FALSE(last);
    EXPECT_EQ(last.error().code, runtime::ErrorCode::limit_exceeded);
  });
}

TEST(LineInput, gives_up_when_it_is_cancelled) {
  tests::run_on_cores(1, []() -> Task<void> {
    Pipe pipe;
    LineInput input(pipe.reading());
    const auto late = co_await runtime::with_timeout(runtime::kMillisecond, input.next_line());
    EXPECT_FALSE(late);
    EXPECT_EQ(late.error().code, runtime::ErrorCode::timed_out);
    pipe.write("still there\n");
    const auto line = co_await input.next_line();
    EXPECT_EQ(*line, "still there");
  });
}

// Both see the line; the one that comes too late goes on waiting, and the core does not.
TEST(LineInput, that_shares_its_pipe_holds_nobody) {
  tests::run_on_cores(1, []() -> Task<void> {
    Pipe pipe;
    LineInput one(pipe.reading());
    LineInput other(pipe.reading());
    const auto write_late = [](const Pipe& to) -> Task<void> {
      co_await runtime::Yield{};
      to.write("for one of them\n");
    };
    const auto first = [](LineInput& a, LineInput& b) -> Task<std::string> {
      auto any = co_await runtime::when_any(a.next_line(), b.next_line());
      auto& line = any.index == 0 ? *std::get<0>(any.values) : *std::get<1>(any.values);
      co_return line && *line ? **line : "";
    };
    const auto both = co_await runtime::when_all(first(one, other), write_late(pipe));
    EXPECT_EQ(std::get<0>(both), "for one of them");
  });
}

TEST(LineInput, reads_descriptors_that_do_not_block) {
  tests::run_on_cores(1, []() -> Task<void> {
    Pipe pipe(O_NONBLOCK);
    LineInput input(pipe.reading());
    const auto early = co_await runtime::with_timeout(runtime::kMillisecond, input.next_line());
    EXPECT_FALSE(early);
    pipe.write("then\n");
    const auto line = co_await input.next_line();
    EXPECT_EQ(*line, "then");
  });
}

TEST(LineInput, says_why_it_cannot_read) {
  tests::run_on_cores(1, []() -> Task<void> {
    const int folder = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    LineInput input(folder);
    const auto line = co_await input.next_line();
    EXPECT_FALSE(line);
    EXPECT_EQ(line.error(), runtime::Error::from_errno(EISDIR));
    close(folder);
  });
}

}  // namespace
}  // namespace corelane::tools
