// Goal: whole runtimes keep their promises in the simulation under faults: every lane's order,
// every answer, every byte of a file. Method: cores, coroutines and files as programs use them,
// over seeds.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <string>
#include <utility>

#include "runtime/await.hpp"
#include "runtime/file.hpp"
#include "runtime/runtime.hpp"
#include "runtime/sim/world.hpp"
#include "runtime/submit.hpp"
#include "runtime/task_group.hpp"

namespace corelane {
namespace {

using namespace runtime;

constexpr CoreId kCores = 3;
constexpr std::uint64_t kMessages = 200;

// What one core has seen of each lane into it.
struct Inbox {
  std::array<std::uint64_t, kCores> expected{};
  std::uint64_t total = 0;
  bool in_order = true;
};
std::array<Inbox, kCores> inboxes;

struct Numbered {
  std::uint64_t number;
  void deliver(CoreId from) const {
    Inbox& mine = inboxes[Core::current().id()];
    mine.in_order = mine.in_order && mine.expected[from] == number;
    mine.expected[from] = number + 1;
    ++mine.total;
    sim::World::current()->note(from, Core::current().id(), number);
  }
};

Task<void> send_numbered(CoreId from) {
  co_await submit_to(from, []() -> Task<void> {
    for (std::uint64_t number = 0; number < kMessages; ++number) {
      for (CoreId to = 0; to < kCores; ++to) Core::current().lanes().send(to, Numbered{number});
      // Bursts and pauses, so that the others fall asleep in between.
      if (Core::current().random().chance(1, 8)) co_await sleep_for(300 * kMicrosecond);
    }
  });
}

std::uint64_t run_lanes(std::uint64_t seed) {
  inboxes = {};
  sim::World world(seed, sim::Faults::swarm(seed, false));
  RuntimeOptions options;
  options.cores = kCores;
  options.lane_slots = 16;
  Runtime runtime(options);
  const auto code = runtime.run([]() -> Task<int> {
    TaskGroup group("senders");
    for (CoreId core = 0; core < kCores; ++core) group.spawn("sender", send_numbered, core);
    co_await group.join();
    for (CoreId core = 0; core < kCores; ++core) {
      while (co_await submit_to(core, [core] { return inboxes[core].total; }) !=
             kCores * kMessages) {
        co_await sleep_for(kMillisecond);
      }
    }
    co_return 7;
  });
  EXPECT_TRUE(code);
  EXPECT_EQ(*code, 7);
  for (const Inbox& inbox : inboxes) {
    EXPECT_TRUE(inbox.in_order) << "seed " << seed;
    EXPECT_EQ(inbox.total, kCores * kMessages) << "seed " << seed;
  }
  return world.trace_hash();
}

TEST(SimulatedCores, KeepTheOrderOfEveryLaneAndLoseNoWakeUp) {
  for (const std::uint64_t seed : sim::seeds(1, 200)) run_lanes(seed);
}

// A core that has woken by itself, for a timer, runs: what comes then needs no signal.
TEST(SimulatedCores, SendNoSignalToACoreThatHasWokenByItself) {
  for (const std::uint64_t seed : sim::seeds(1, 20)) {
    SCOPED_TRACE(seed);
    inboxes = {};
    sim::World world(seed);
    RuntimeOptions options;
    options.cores = kCores;
    Runtime runtime(options);
    bool runs = false;
    const auto code = runtime.run([&runs]() -> Task<int> {
      TaskGroup group("sleeper");
      group.spawn(
          "sleeper",
          [](bool* awake) -> Task<void> {
            co_await submit_to(1, [awake]() -> Task<void> {
              co_await sleep_for(kMillisecond);
              *awake = true;
              while (*awake) co_await Yield{};
            });
          },
          &runs);
      while (!runs) co_await sleep_for(10 * kMicrosecond);
      Lanes& lanes = Core::current().lanes();
      const std::uint64_t before = lanes.counters().wakes;
      for (std::uint64_t number = 0; number < 20; ++number) {
        lanes.send(1, Numbered{number});
        co_await Yield{};
      }
      EXPECT_EQ(lanes.counters().wakes, before);
      while (inboxes[1].total < 20) co_await Yield{};
      runs = false;
      co_await group.join();
      co_return 0;
    });
    EXPECT_TRUE(code);
    EXPECT_TRUE(inboxes[1].in_order);
  }
}

TEST(SimulatedCores, RepeatARunForItsSeed) {
  for (const std::uint64_t seed : sim::seeds(1, 20)) EXPECT_EQ(run_lanes(seed), run_lanes(seed));
}

TEST(SimulatedCores, WriteAndReadFilesInPiecesOfAnySize) {
  for (const std::uint64_t seed : sim::seeds(1, 100)) {
    sim::Faults faults = sim::Faults::swarm(seed, false);
    faults.short_read = faults.short_write = 500;
    sim::World world(seed, faults);
    Runtime runtime(RuntimeOptions{});
    std::string text;
    for (int i = 0; i < 1000; ++i) text += std::to_string(i);
    ASSERT_TRUE(runtime.run([&]() -> Task<int> {
      auto opened = co_await File::open("/tmp/file", O_CREAT | O_RDWR);
      EXPECT_TRUE(opened);
      if (!opened) co_return 1;
      File file = std::move(*opened);
      EXPECT_TRUE(co_await file.write_all_at(std::as_bytes(std::span{text}), 0));
      std::string back(text.size(), '\0');
      const auto bytes = co_await file.read_all_at(std::as_writable_bytes(std::span{back}), 0);
      EXPECT_TRUE(bytes && *bytes == text.size());
      EXPECT_TRUE(back == text) << "seed " << seed;
      EXPECT_TRUE(co_await file.close());
      co_return 0;
    }));
    EXPECT_EQ(world.files().content("/tmp/file"), text) << "seed " << seed;
  }
}

TEST(SimulatedCores, ReportFileErrorsAndGoOn) {
  std::uint64_t failed = 0;
  for (const std::uint64_t seed : sim::seeds(1, 50)) {
    sim::Faults faults;
    faults.file_error = 200;
    sim::World world(seed, faults);
    world.files().put("/data/file", "content");
    Runtime runtime(RuntimeOptions{});
    ASSERT_TRUE(runtime.run([&]() -> Task<int> {
      for (int i = 0; i < 10; ++i) {
        const auto text = co_await read_file("/data/file", 100);
        if (text) {
          EXPECT_EQ(*text, "content");
        } else {
          EXPECT_EQ(text.error().code, ErrorCode::system);
          ++failed;
        }
      }
      co_return 0;
    }));
  }
  if (sim::seeds(1, 50).size() < 50) return;
  EXPECT_GT(failed, 50u);
}

}  // namespace
}  // namespace corelane
