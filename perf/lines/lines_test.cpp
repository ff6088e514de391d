// Goal: what the counter says of two threads is exact, and it cannot miss what it is there for: a
// shared line, a locked instruction, a mutex, memory freed elsewhere. Method: two threads that take
// turns, so that every count is known; and the same without sharing, where all must be 0.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "perf/lines/line_counter.hpp"

namespace corelane {
namespace {

using perf::lines::Event;
using perf::lines::Report;
using perf::lines::SharedLine;

constexpr unsigned kBoth = 0b11;
constexpr int kRounds = 100;

// In turns, thread 0 first, each `rounds` times; every turn is over before the next one begins.
Report count_turns(const std::function<void()>& first, const std::function<void()>& second,
                   int rounds = kRounds) {
  std::atomic<int> turn{0};
  const auto run = [&turn, rounds](unsigned number, const std::function<void()>& body) {
    for (int round = 0; round < rounds; ++round) {
      perf::lines::leave_this_thread_out();
      while (turn.load() != 2 * round + static_cast<int>(number)) std::this_thread::yield();
      perf::lines::count_this_thread(number);
      body();
      perf::lines::leave_this_thread_out();
      turn.fetch_add(1);
    }
  };
  perf::lines::leave_this_thread_out();
  perf::lines::start();
  // tidy: allow banned_call: plain threads are what the counter is tested with
  std::thread one(run, 0, std::cref(first));
  // tidy: allow banned_call: as above
  std::thread other(run, 1, std::cref(second));
  one.join();
  other.join();
  perf::lines::stop();
  Report report = perf::lines::report();
  EXPECT_EQ(report.lost, 0u);
  return report;
}

// The shared line that the address lies on; nullptr: there is none.
const SharedLine* line_of(const Report& report, const volatile void* at) {
  const auto address = reinterpret_cast<std::uintptr_t>(at);
  for (const SharedLine* line : report.shared_by(kBoth)) {
    if (address - line->address < perf::lines::kLineBytes) return line;
  }
  return nullptr;
}

bool names(const SharedLine& line, const std::string& function) {
  return std::any_of(line.sites.begin(), line.sites.end(), [&function](const auto& site) {
    return site.function.find(function) != std::string::npos;
  });
}

struct alignas(64) Line {
  int mine = 0;
  int yours = 0;
};
Line same_line;
Line lines_apart[2];

[[gnu::noinline]] void bump(int& number) {
  number += 1;
}
[[gnu::noinline]] void bump_neighbour(int& number) {
  number += 1;
}

TEST(Lines, TwoThreadsOnLinesOfTheirOwnShareNothing) {
  const Report report =
      count_turns([] { bump(lines_apart[0].mine); }, [] { bump(lines_apart[1].mine); });
  EXPECT_TRUE(report.shared_by(kBoth).empty()) << describe(report, kRounds, "round");
  EXPECT_EQ(report.count(Event::lock), 0u);
  EXPECT_EQ(report.count(Event::mutex), 0u);
  EXPECT_GE(report.accesses[0], std::uint64_t{kRounds});
  EXPECT_GE(report.accesses[1], std::uint64_t{kRounds});
}

TEST(Lines, NeighboursOnOneLineAreFoundWithTheirFunctionsAndEveryMove) {
  const Report report =
      count_turns([] { bump(same_line.mine); }, [] { bump_neighbour(same_line.yours); });
  const SharedLine* const line = line_of(report, &same_line);
  ASSERT_NE(line, nullptr) << describe(report, kRounds, "round");
  EXPECT_EQ(line->writers, kBoth);
  // Each turn takes the line away from the other thread, but the very first.
  EXPECT_EQ(line->moves, 2u * kRounds - 1);
  EXPECT_TRUE(names(*line, "bump(")) << describe(report, kRounds, "round");
  EXPECT_TRUE(names(*line, "bump_neighbour("));
  EXPECT_NE(line->memory.find("same_line"), std::string::npos) << line->memory;
  EXPECT_EQ(report.count(Event::lock), 0u) << "plain instructions";
}

TEST(Lines, WhatOnlyOneReadsIsSharedIfTheOtherWritesIt) {
  const auto box = std::make_unique<Line>();
  int seen = 0;
  Line* const line = box.get();
  const Report report =
      count_turns([line] { bump(line->mine); },
                  [line, &seen] { std::memcpy(&seen, &line->mine, sizeof seen); });
  const SharedLine* const found = line_of(report, line);
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->writers, 0b01u);
  EXPECT_EQ(found->moves, 2u * kRounds - 1);
  EXPECT_TRUE(found->memory.starts_with("64 bytes of ")) << found->memory;
  EXPECT_EQ(seen, kRounds);
}

TEST(Lines, WhatBothOnlyReadIsNotShared) {
  static Line line;
  static std::array<int, 2> seen{};
  const Report report = count_turns([] { seen[0] = line.mine; },
                                    [] {
                                      bump(lines_apart[1].mine);
                                      seen[1] = line.yours;
                                    });
  EXPECT_EQ(line_of(report, &line), nullptr);
}

TEST(Lines, LockedInstructionsAreCounted) {
  static std::atomic<int> number{0};
  static std::shared_ptr<int> shared = std::make_shared<int>(1);
  const Report adding = count_turns([] { number.fetch_add(1, std::memory_order_relaxed); },
                                    [] { number.load(std::memory_order_seq_cst); });
  EXPECT_EQ(adding.count(Event::lock), std::uint64_t{kRounds});
  const Report storing = count_turns([] { number.store(1, std::memory_order_seq_cst); },
                                     [] { number.store(2, std::memory_order_release); });
  EXPECT_EQ(storing.count(Event::lock), std::uint64_t{kRounds});
  // One up and one down for each copy.
  const Report copying = count_turns([] { const std::shared_ptr<int> copy = shared; }, [] {});
  EXPECT_EQ(copying.count(Event::lock), 2u * kRounds) << describe(copying, kRounds, "round");
}

TEST(Lines, AMutexIsCounted) {
  static std::mutex mutex;
  const Report report = count_turns([] { const std::lock_guard lock(mutex); }, [] {});
  EXPECT_EQ(report.count(Event::mutex), std::uint64_t{kRounds});
}

TEST(Lines, MemoryThatAnotherThreadFreesIsCounted) {
  static Line* line = nullptr;
  const Report foreign = count_turns([] { line = new Line; }, [] { delete line; });
  EXPECT_EQ(foreign.count(Event::allocate), std::uint64_t{kRounds});
  EXPECT_EQ(foreign.count(Event::free_foreign), std::uint64_t{kRounds});
  const Report own = count_turns(
      [] {
        line = new Line;
        delete line;
      },
      [] {});
  EXPECT_EQ(own.count(Event::allocate), std::uint64_t{kRounds});
  EXPECT_EQ(own.count(Event::free_foreign), 0u);
}

TEST(Lines, NothingIsCountedBeforeTheStartAndAfterTheStop) {
  static std::mutex mutex;
  Report report = count_turns([] {}, [] {});
  perf::lines::count_this_thread(0);
  const std::lock_guard lock(mutex);
  bump(same_line.mine);
  report = perf::lines::report();
  EXPECT_EQ(report.count(Event::mutex), 0u);
  EXPECT_EQ(line_of(report, &same_line), nullptr);
}

}  // namespace
}  // namespace corelane
