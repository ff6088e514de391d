#include "perf/lines/expectations.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace corelane::perf::lines {
namespace {

constexpr unsigned kCores = 2;
constexpr double kLooksPerSecond = 500;
constexpr double kParksPerSecond = 25;
constexpr double kTimersPerSecond = 100;  // of a core: 20 to 50
constexpr double kEdges = 10;             // what began before the window or ends behind it

std::uint64_t at_most(double a_second, const Report& report, double each = 1) {
  return static_cast<std::uint64_t>((a_second * report.seconds + kEdges) * each);
}

bool is_in(const Site& site, std::string_view function) {
  return site.function.find(function) != std::string::npos;
}

bool is_core(const Site& site) {
  return site.thread < kCores;
}

// Cores only read it, or clear it once the monitor has set it.
bool is_parking_word(const SharedLine& line) {
  return std::all_of(line.sites.begin(), line.sites.end(), [](const Site& site) {
    return !is_core(site) || site.event == Event::read || is_in(site, "StallMonitor::unpark(");
  });
}

}  // namespace

void expect_a_whole_count(const Report& report) {
  EXPECT_EQ(report.lost, 0u);
  const std::uint64_t both = report.accesses[0] + report.accesses[1];
  for (unsigned core = 0; core < kCores; ++core) {
    EXPECT_GT(report.accesses[core], both / 50) << "core " << core << " had nothing to do";
  }
}

void expect_no_lock_but_around_sleep(const Report& report, std::uint64_t sleeps_max,
                                     const std::vector<std::string_view>& others,
                                     std::uint64_t others_max) {
  std::uint64_t sleeps = 0;
  std::uint64_t wake_ups = 0;
  std::uint64_t unparks = 0;
  std::uint64_t other = 0;
  for (const Site& site : report.events) {
    if (!is_core(site) || site.event == Event::allocate) continue;
    if (site.event != Event::lock) {
      ADD_FAILURE() << site.count << " times a mutex or the end of another thread's memory in "
                    << site.function;
    } else if (is_in(site, "runtime::Lanes::going_to_sleep(")) {
      sleeps += site.count;
    } else if (is_in(site, "runtime::Core::wait(")) {
      wake_ups += site.count;
    } else if (is_in(site, "StallMonitor::unpark(")) {
      unparks += site.count;
    } else if (std::any_of(others.begin(), others.end(),
                           [&site](std::string_view name) { return is_in(site, name); })) {
      other += site.count;
    } else {
      ADD_FAILURE() << site.count << " locked instructions in " << site.function;
    }
  }
  EXPECT_LE(sleeps, sleeps_max + at_most(kTimersPerSecond, report, kCores));
  EXPECT_LE(wake_ups, sleeps + kCores);
  EXPECT_LE(unparks, at_most(kParksPerSecond, report));
  EXPECT_LE(other, others_max);
}

void expect_a_rare_monitor(const Report& report) {
  std::uint64_t moves = 0;
  for (const SharedLine& line : report.shared) {
    if ((line.threads & ~kBothCores) == 0) continue;
    moves += line.moves;
    for (const Site& site : line.sites) {
      if (is_core(site)) continue;
      EXPECT_TRUE(is_in(site, "StallMonitor") || is_in(site, "__waiter"))
          << "a thread that is no core uses " << line.memory << " in " << site.function;
    }
  }
  // It reads a line, and the core takes that back. To park and to wake is a handful of lines.
  const std::uint64_t looks = at_most(kLooksPerSecond + kParksPerSecond, report, 2 * kCores);
  EXPECT_LE(moves, looks + at_most(kParksPerSecond, report, 16));
}

std::vector<const SharedLine*> lines_between_cores(const Report& report) {
  std::vector<const SharedLine*> lines = report.shared_by(kBothCores);
  std::erase_if(lines, [](const SharedLine* line) { return is_parking_word(*line); });
  return lines;
}

void expect_no_line_between_cores(const Report& report) {
  for (const SharedLine* line : lines_between_cores(report)) {
    ADD_FAILURE() << line->moves << " moves of " << describe(*line);
  }
}

}  // namespace corelane::perf::lines
