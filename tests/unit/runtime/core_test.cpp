// Goal: the loop reports steps that hold a core too long, survives an overflow of the completion
// queue, and an idle core makes no system calls. Method: small rings over io_uring.
#include "runtime/core.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "runtime/await.hpp"
#include "runtime/file.hpp"
#include "runtime/task_group.hpp"
#include "tests/support/on_cores.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::run_on_cores;

// Processor time of this thread, which others on the machine do not take from.
Nanoseconds processor_time() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return time.tv_sec * kSecond + time.tv_nsec;
}

void spin(Nanoseconds duration) {
  const Nanoseconds until = processor_time() + duration;
  while (processor_time() < until) {
  }
}

// A step that lost its CPU before the monitor had seen it begin counts with that time. The
// threshold is far above what a busy machine takes from a thread at once, so that only the spinning
// passes it.
constexpr Nanoseconds kStall = 200 * kMillisecond;
constexpr Nanoseconds kSpun = 300 * kMillisecond;

// The names of the steps that held the core for kStall while `body` ran.
std::vector<std::string> names_of_stalls(std::function<Task<void>()> body) {
  RuntimeOptions options = tests::small_options(1);
  options.stall_threshold = kStall;
  std::vector<std::string> names;
  options.stall_sink = [&names](const StallReport& report) {
    if (report.still_running) return;
    EXPECT_GE(report.duration_ns, kStall);
    names.emplace_back(report.name);
  };
  run_on_cores(options, std::move(body));
  return names;
}

TEST(Core, ReportsACoroutineThatHoldsItsCoreWithItsName) {
  const std::vector<std::string> names = names_of_stalls([]() -> Task<void> {
    TaskGroup group("group");
    group.spawn("greedy", []() -> Task<void> {
      co_await sleep_for(kMillisecond);
      spin(kSpun);
    });
    co_await group.join();
  });
  EXPECT_EQ(names, std::vector<std::string>{"greedy"});
}

// Completed sends in a row are one step; what is behind them in the same turn is not blamed.
TEST(Core, ReportsAStallInARowOfSendsAsTheirsAlone) {
  int sends = 0;
  const std::vector<std::string> names = names_of_stalls([&sends]() -> Task<void> {
    Core& core = Core::current();
    core.set_row_sink(
        Sink::send,
        [](void* context, std::span<const Completion> row) noexcept {
          for (const Completion& completion : row) {
            EXPECT_EQ(completion.result, 1);
            if (++*static_cast<int*>(context) == 2) spin(kSpun);
          }
        },
        &sends, "sends");
    int pair[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    static constexpr std::byte kByte[1] = {};
    for (std::uint32_t i = 0; i < 3; ++i) {
      core.ring().send({.number = pair[0]}, kByte, Token::make(Sink::send, i, 0));
    }
    // Completes behind the sends, in the same turn.
    const auto status = co_await File::status("/");
    EXPECT_TRUE(status);
    ::close(pair[0]);
    ::close(pair[1]);
  });
  EXPECT_EQ(sends, 3);
  EXPECT_EQ(names, std::vector<std::string>{"sends"});
}

TEST(Core, CompletionsThatOverflowTheirQueueAllArrive) {
  RuntimeOptions options = tests::small_options(1);
  options.ring = {.entries = 64, .completion_entries = 64, .direct_descriptors = 0};
  run_on_cores(options, []() -> Task<void> {
    TaskGroup group("operations");
    int done = 0;
    for (int i = 0; i < 1000; ++i) {
      group.spawn(
          "stat",
          [](int* counter) -> Task<void> {
            const auto status = co_await File::status("/");
            EXPECT_TRUE(status);
            ++*counter;
          },
          &done);
    }
    co_await group.join();
    EXPECT_EQ(done, 1000);
  });
}

TEST(Core, AnIdleCoreSleepsInOneSystemCall) {
  run_on_cores(1, []() -> Task<void> {
    co_await sleep_for(kMillisecond);
    const std::uint64_t before = Core::current().ring().counters().system_calls;
    co_await sleep_for(20 * kMillisecond);
    // One to sleep; an early wake-up (a signal, the timer's granularity) costs one more.
    EXPECT_LE(Core::current().ring().counters().system_calls - before, 3u);
  });
}

}  // namespace
}  // namespace corelane
