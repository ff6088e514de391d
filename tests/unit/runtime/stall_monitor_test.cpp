// Goal: each step at or above the threshold is reported once, with its name, duration and place; no
// shorter one is; reports are limited; an idle process does not tick. Method: threads that play a
// core and spin in a function of a linker section of its own, so that an address in the backtrace
// can be recognised; the clock of the limit is a variable.
#include "runtime/stall_monitor.hpp"

#include <gtest/gtest.h>
#include <time.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/cpu.hpp"
#include "runtime/sanitizer.hpp"

namespace corelane {

// The linker makes these two for a section whose name is an identifier.
extern "C" const char __start_stall_spin[];  // NOLINT(bugprone-reserved-identifier)
extern "C" const char __stop_stall_spin[];   // NOLINT(bugprone-reserved-identifier)

namespace {

using runtime::CoreProgress;
using runtime::StallMonitor;
using runtime::StallReport;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::int64_t kMillisecond = 1'000'000;
constexpr milliseconds kPatience{120'000};

std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             steady_clock::now().time_since_epoch())
      .count();
}

// Time that this thread has had a CPU: what is not the handler's fault does not count as a stall.
std::int64_t cpu_ns() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

// Spins for this much CPU time, then until the condition holds (soon, but later on a busy machine),
// then a little longer, so that a signal sent before that arrives in this function. The clock is
// read rarely: a backtrace that begins in the clock's code does not always reach this
// function.
[[gnu::noinline, gnu::section("stall_spin")]] void spin(milliseconds duration,
                                                        const std::function<bool()>& until) {
  constexpr std::uint64_t kTicks = 100'000;
  const auto spin_until = [&](std::int64_t end, auto&& done) __attribute__((always_inline)) {
    while (cpu_ns() < end && !done()) {
      const std::uint64_t begin = runtime::read_ticks();
      while (runtime::read_ticks() - begin < kTicks) {
      }
    }
  };
  const auto never = [] { return false; };
  spin_until(cpu_ns() + duration.count() * kMillisecond, never);
  spin_until(cpu_ns() + kPatience.count() * kMillisecond, until);
  spin_until(cpu_ns() + 2 * kMillisecond, never);
}

bool always() {
  return true;
}

bool eventually(const std::function<bool()>& condition) {
  const auto start = steady_clock::now();
  while (!condition()) {
    if (steady_clock::now() - start > kPatience) return false;
    std::this_thread::yield();
  }
  return true;
}

// Runs one step as the loop does.
template <class Work>
void step(CoreProgress& progress, const char* name, Work&& work) {
  const std::int64_t start = now_ns();
  progress.begin(name);
  work();
  progress.finished(now_ns() - start);
}

// One whose wall time does not matter: on a busy machine it may be anything.
void instant_step(CoreProgress& progress, const char* name) {
  progress.begin(name);
  progress.finished(0);
}

struct Seen {
  std::uint32_t core;
  std::string name;
  std::int64_t duration_ns;
  bool still_running;
  std::uint64_t suppressed_before;
  std::size_t frames;
  bool in_spin;
  std::string text;
};

// Filled by the sink, one call at a time; read when the core's thread has been joined.
class Reports {
 public:
  StallMonitor::Sink sink() {
    return [this](const StallReport& report) {
      bool in_spin = false;
      for (const void* frame : report.backtrace) {
        in_spin |= frame >= __start_stall_spin && frame < __stop_stall_spin;
      }
      std::string text = runtime::describe(report);
      EXPECT_NE(text.find(report.name), std::string::npos);
      seen.push_back({report.core, report.name, report.duration_ns, report.still_running,
                      report.suppressed_before, report.backtrace.size(), in_spin, std::move(text)});
      count.fetch_add(1);
    };
  }
  std::vector<Seen> seen;
  std::atomic<int> count{0};
};

// A thread that plays core 3: attached, runs the body, detached, joined.
void as_core(StallMonitor& monitor, const std::function<void(CoreProgress&)>& body) {
  std::thread([&] {
    CoreProgress progress;
    monitor.attach(3, progress);
    body(progress);
    monitor.detach(progress);
  }).join();
}

TEST(StallMonitor, ReportsALongStepOnceWithNameAndPlace) {
  Reports reports;
  {
    StallMonitor monitor({.still_running_ns = INT64_MAX, .sink = reports.sink()});
    as_core(monitor, [&](CoreProgress& progress) {
      instant_step(progress, "before");
      step(progress, "spinner",
           [&] { spin(milliseconds{20}, [&] { return monitor.counters().signals > 0; }); });
      instant_step(progress, "after");
    });
    EXPECT_EQ(monitor.counters().stalls, 1U);
    EXPECT_EQ(monitor.counters().reports, 1U);
  }
  ASSERT_EQ(reports.seen.size(), 1U);
  const Seen& report = reports.seen[0];
  EXPECT_EQ(report.core, 3U);
  EXPECT_EQ(report.name, "spinner");
  EXPECT_FALSE(report.still_running);
  EXPECT_GE(report.duration_ns, 5 * kMillisecond);
  // ThreadSanitizer delivers signals late, when the thread next calls into its runtime.
  if (RT_TSAN == 0) {
    EXPECT_GT(report.frames, 0U);
    EXPECT_TRUE(report.in_spin);
    // Which is in no table of the dynamic linker: it has no name outside of this file.
    EXPECT_NE(report.text.find("spin("), std::string::npos) << report.text;
  }
}

TEST(StallMonitor, ReportsNothingShorterThanTheThreshold) {
  Reports reports;
  StallMonitor monitor({.still_running_ns = INT64_MAX, .sink = reports.sink()});
  as_core(monitor, [&](CoreProgress& progress) {
    for (int i = 0; i < 30; ++i) {
      progress.begin("short");
      spin(milliseconds{1}, always);
      // What the loop measured; the real time may be longer on a busy machine.
      progress.finished(5 * kMillisecond - 1);
    }
  });
  EXPECT_EQ(monitor.counters().stalls, 0U);
  EXPECT_TRUE(reports.seen.empty());
}

TEST(StallMonitor, ManyShortStepsAreNotOneLongOne) {
  Reports reports;
  StallMonitor monitor({.still_running_ns = 50 * kMillisecond, .sink = reports.sink()});
  as_core(monitor, [&](CoreProgress& progress) {
    // Steps go on while the monitor looks: one that lasted until it has looked would be a stall.
    const auto start = steady_clock::now();
    EXPECT_TRUE(eventually([&] {
      progress.begin("short");
      progress.finished(kMillisecond);
      return steady_clock::now() - start > milliseconds{200} && monitor.counters().ticks > 20;
    }));
  });
  EXPECT_EQ(monitor.counters().stalls, 0U);
}

std::atomic<std::int64_t> fake_now_ns{0};

TEST(StallMonitor, ReportsFiveAMinuteAndCountsTheRest) {
  Reports reports;
  fake_now_ns = 0;
  StallMonitor monitor({.still_running_ns = INT64_MAX,
                        .clock = []() noexcept { return fake_now_ns.load(); },
                        .sink = reports.sink()});
  as_core(monitor, [&](CoreProgress& progress) {
    // No need to really spin: no baseline was taken, so what the core says counts.
    const auto stall = [&] {
      progress.begin("stall");
      progress.finished(7 * kMillisecond);
    };
    for (int i = 0; i < 7; ++i) stall();
    EXPECT_EQ(monitor.counters().reports, 5U);
    EXPECT_EQ(monitor.counters().suppressed, 2U);
    fake_now_ns = 60'000 * kMillisecond - 1;
    stall();
    EXPECT_EQ(monitor.counters().suppressed, 3U);
    fake_now_ns = 60'000 * kMillisecond;
    stall();
  });
  EXPECT_EQ(monitor.counters().stalls, 9U);
  EXPECT_EQ(monitor.counters().reports, 6U);
  ASSERT_EQ(reports.seen.size(), 6U);
  EXPECT_EQ(reports.seen[4].suppressed_before, 0U);
  EXPECT_EQ(reports.seen[5].suppressed_before, 3U);
}

TEST(StallMonitor, ReportsAStepThatDoesNotEndWhileItRuns) {
  Reports reports;
  StallMonitor monitor({.still_running_ns = 30 * kMillisecond, .sink = reports.sink()});
  as_core(monitor, [&](CoreProgress& progress) {
    step(progress, "endless",
         [&] { spin(milliseconds{40}, [&] { return reports.count.load() > 0; }); });
  });
  // And once more, with its duration, when it ends after all; but it is one stall.
  EXPECT_EQ(monitor.counters().stalls, 1U);
  ASSERT_EQ(reports.seen.size(), 2U);
  EXPECT_TRUE(reports.seen[0].still_running);
  EXPECT_EQ(reports.seen[0].name, "endless");
  EXPECT_FALSE(reports.seen[1].still_running);
  EXPECT_GE(reports.seen[1].duration_ns, 30 * kMillisecond);
  if (RT_TSAN == 0) {
    EXPECT_TRUE(reports.seen[0].in_spin);
  }
}

TEST(StallMonitor, ReportsABlockedStepThatDoesNotEnd) {
  std::atomic<bool> released{false};
  StallMonitor monitor(
      {.still_running_ns = 30 * kMillisecond, .sink = [&](const StallReport& report) {
         EXPECT_STREQ(report.name, "deadlocked");
         released.store(true);
         released.notify_all();
       }});
  as_core(monitor, [&](CoreProgress& progress) {
    step(progress, "deadlocked", [&] { released.wait(false); });
  });
  EXPECT_EQ(monitor.counters().stalls, 1U);
  EXPECT_EQ(monitor.counters().reports, 2U);
}

TEST(StallMonitor, ABlockedStepIsAStallToo) {
  Reports reports;
  StallMonitor monitor({.still_running_ns = INT64_MAX, .sink = reports.sink()});
  as_core(monitor, [&](CoreProgress& progress) {
    // tidy: allow banned_call: blocking is what is tested
    step(progress, "blocking", [] { std::this_thread::sleep_for(milliseconds{20}); });
  });
  ASSERT_EQ(reports.seen.size(), 1U);
  EXPECT_EQ(reports.seen[0].name, "blocking");
}

TEST(StallMonitor, DoesNotTickWhileAllCoresSleep) {
  Reports reports;
  StallMonitor monitor({.still_running_ns = INT64_MAX, .sink = reports.sink()});
  as_core(monitor, [&](CoreProgress& progress) {
    progress.asleep();
    ASSERT_TRUE(eventually([&] { return monitor.parked(); }));
    const std::uint64_t ticks = monitor.counters().ticks;
    // tidy: allow banned_call: the second that is looked at, not a wait for something
    std::this_thread::sleep_for(milliseconds{1000});
    EXPECT_EQ(monitor.counters().ticks, ticks);
    EXPECT_TRUE(monitor.parked());
    progress.awake();
    EXPECT_TRUE(eventually([&] { return monitor.counters().ticks > ticks + 1; }));
    EXPECT_FALSE(monitor.parked());
  });
  EXPECT_EQ(monitor.counters().stalls, 0U);
}

// A core that wakes in the very moment in which the monitor parks must not stay unwatched.
TEST(StallMonitor, NeverStaysParkedWhileACoreIsAwake) {
  StallMonitor monitor({.tick_ns = 1000, .sink = [](const StallReport&) {}});
  as_core(monitor, [&](CoreProgress& progress) {
    for (int round = 0; round < 200; ++round) {
      progress.asleep();
      if (round % 4 != 0) {
        EXPECT_TRUE(eventually([&] { return monitor.parked(); }));
      }
      progress.awake();
      const std::uint64_t ticks = monitor.counters().ticks;
      EXPECT_TRUE(eventually([&] { return monitor.counters().ticks > ticks; }));
    }
  });
}

TEST(StallMonitor, WithoutASinkWritesItsReportsToTheLog) {
  testing::internal::CaptureStderr();
  {
    StallMonitor monitor({.still_running_ns = INT64_MAX});
    as_core(monitor, [](CoreProgress& progress) {
      step(progress, "held", [] { spin(milliseconds{10}, always); });
    });
    EXPECT_EQ(monitor.counters().reports, 1U);
  }
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_NE(text.find("stall: core 3 was held"), std::string::npos) << text;
  EXPECT_NE(text.find("ms by held"), std::string::npos) << text;
}

TEST(StallMonitor, WithoutAMonitorProgressReportsNothing) {
  testing::internal::CaptureStderr();
  CoreProgress progress;
  progress.awake();
  progress.begin("step");
  progress.finished(INT64_MAX - 1);
  progress.asleep();
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace corelane
