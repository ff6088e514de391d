// Goal: a seed is the whole run: equal seeds give equal traces, and what a program does wrong with
// the ring, or a lost wake-up, ends the run with the reason and the seed. Method: one small program
// run twice and over seeds; each kind of misuse planted once in a child process.
#include "runtime/sim/world.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <set>
#include <string>

#include "runtime/await.hpp"
#include "runtime/runtime.hpp"
#include "runtime/sanitizer.hpp"
#include "runtime/submit.hpp"
#include "runtime/task_group.hpp"
#include "tests/support/ring_loop.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::RingLoop;

RuntimeOptions two_cores() {
  RuntimeOptions options;
  options.cores = 2;
  options.lane_slots = 16;
  return options;
}

// Cores that ask each other things and sleep in between.
Task<int> chatter() {
  TaskGroup group("chatter");
  for (int i = 0; i < 5; ++i) {
    group.spawn(
        "talker",
        [](int steps) -> Task<void> {
          for (int step = 0; step < steps; ++step) {
            co_await sleep_for(static_cast<Nanoseconds>(Core::current().random().below(1000)) *
                               kMicrosecond);
            co_await submit_to(1, []() -> Task<void> { co_await sleep_for(kMillisecond); });
          }
        },
        5 + i);
  }
  co_await group.join();
  co_return 0;
}

struct Outcome {
  std::uint64_t hash;
  std::string text;
};

Outcome run_chatter(std::uint64_t seed) {
  Outcome outcome;
  sim::World world(seed, sim::Faults::swarm(seed, false));
  world.trace().write_to(&outcome.text);
  Runtime runtime(two_cores());
  EXPECT_TRUE(runtime.run(chatter));
  outcome.hash = world.trace_hash();
  return outcome;
}

TEST(SimulatedWorld, RepeatsARunForTheSameSeedByteForByte) {
  for (const std::uint64_t seed : sim::seeds(1, 20)) {
    const Outcome first = run_chatter(seed);
    const Outcome second = run_chatter(seed);
    EXPECT_EQ(first.hash, second.hash) << "seed " << seed;
    EXPECT_EQ(first.text, second.text) << "seed " << seed;
  }
}

TEST(SimulatedWorld, RunsDifferentlyForDifferentSeeds) {
  std::set<std::uint64_t> hashes;
  for (std::uint64_t seed = 1; seed <= 50; ++seed) hashes.insert(run_chatter(seed).hash);
  EXPECT_EQ(hashes.size(), 50u);
}

// A thousand times real time is what is wanted of low load; the figure is printed, and what it
// depends on, which repeats exactly, is checked: three turns a request, none while all sleep.
TEST(SimulatedWorld, RunsAnHourOfLowLoadInThreeTurnsARequest) {
  constexpr int kRequests = 100 * 3600;
  sim::World world(1);
  Runtime runtime(two_cores());
  ASSERT_TRUE(runtime.run([]() -> Task<int> {
    for (int i = 0; i < kRequests; ++i) {
      co_await sleep_for(10 * kMillisecond);
      co_await submit_to(1, [] {});
    }
    co_return 0;
  }));
  const sim::Report report = world.report();
  fmt::print("{}\n", report.text());
  EXPECT_GE(report.virtual_time, 3600 * kSecond);
  EXPECT_LE(report.turns, 3u * kRequests + 10);
}

TEST(SimulatedWorld, SwarmSwitchesKindsOffAndOnAndBreaksConnectionsOnlyIfAsked) {
  std::array<int, sim::kFaultKinds> on{};
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    const sim::Faults gentle = sim::Faults::swarm(seed, false);
    EXPECT_EQ(gentle.reset + gentle.connect_failure + gentle.accept_failure + gentle.file_error,
              0u);
    const sim::Faults rough = sim::Faults::swarm(seed, true);
    for (std::size_t i = 0; i < sim::kFaultKinds; ++i) {
      if (rough.chance_of(static_cast<sim::Fault>(i)) != 0) ++on[i];
    }
  }
  for (const int count : on) {
    EXPECT_GT(count, 60);
    EXPECT_LT(count, 140);
  }
}

// --- Planted bugs

// A connection on one ring, made without faults.
struct Connected {
  Connected() : world(42), loop(0) {
    const Address where = *Address::parse("127.0.0.1:80");
    listener = *loop.ring().listen(where, {});
    client = *loop.ring().open_socket(AF_INET);
    bool connected = false;
    loop.ring().accept(listener, false,
                       loop.on([&](const Completion& c) { server = {.number = c.result}; }));
    loop.ring().connect(client, where, loop.on([&](const Completion&) { connected = true; }));
    run([&] { return connected && server.valid(); });
  }
  void run(const std::function<bool()>& done) { RingLoop::run({&loop}, done); }
  void run_for(Nanoseconds span) {
    const Nanoseconds until = world.now() + span;
    loop.deadline = until;
    run([&] { return world.now() >= until; });
  }

  sim::World world;
  RingLoop loop;
  Descriptor listener;
  Descriptor client;
  Descriptor server;
};

class PlantedBug : public ::testing::Test {
 protected:
  PlantedBug() { GTEST_FLAG_SET(death_test_style, "fast"); }
  static void dies_with_reason(const std::function<void()>& bug, const char* reason) {
    EXPECT_DEATH(bug(), reason);
  }
};

// Eighteen services are planned; the seventeenth wrote behind the table.
TEST_F(PlantedBug, AServiceSlotBehindTheLastIsFoundAndTheAssertionNamesTheCore) {
  dies_with_reason(
      [] {
        Runtime runtime(two_cores());
        static_cast<void>(runtime.run([]() -> Task<int> {
          Core& core = Core::current();
          core.set_service(Core::kResidentSlot, nullptr);
          core.set_service(Core::kResidentSlot + 1, nullptr);
          co_return 0;
        }));
      },
      "assertion failed: slot < services_.size\\(\\) \\(core 0\\)");
}

TEST_F(PlantedBug, ABufferRecycledTwiceIsFound) {
  dies_with_reason(
      [] {
        Connected here;
        std::array<std::byte, 64> memory{};
        ASSERT_TRUE(here.loop.ring().register_buffers(0, memory.data(), 32, 2, 2));
        here.loop.ring().recycle(0, 1);
      },
      "recycled that the kernel has already(.|\n)*CORELANE_SEED=42");
}

TEST_F(PlantedBug, AViewWrittenAfterItsBufferWentHomeIsFound) {
  dies_with_reason(
      [] {
        Connected here;
        std::array<std::byte, 64> memory{};
        ASSERT_TRUE(here.loop.ring().register_buffers(0, memory.data(), 64, 1, 1));
        const auto receive = [&] {
          here.loop.ring().receive_selected(here.server, 0, here.loop.on([&](const Completion& c) {
            here.loop.ring().recycle(0, c.buffer);
            memory[5] = std::byte{1};
          }));
        };
        here.loop.ring().send(here.client, std::as_bytes(std::span{"once"}),
                              here.loop.on([](const Completion&) {}));
        receive();
        here.run_for(kSecond);
        here.loop.ring().send(here.client, std::as_bytes(std::span{"again"}),
                              here.loop.on([](const Completion&) {}));
        receive();
        here.run_for(kSecond);
      },
      "written to while the kernel had it|use-after-poison");
}

TEST_F(PlantedBug, ADescriptorUsedAfterItsCloseIsFound) {
  dies_with_reason(
      [] {
        Connected here;
        here.loop.ring().close(here.server, here.loop.on([](const Completion&) {}));
        here.loop.ring().send(here.server, std::as_bytes(std::span{"late"}),
                              here.loop.on([](const Completion&) {}));
      },
      "send on descriptor [0-9]+, which is closed");
}

TEST_F(PlantedBug, ADescriptorClosedTwiceIsFound) {
  dies_with_reason(
      [] {
        Connected here;
        here.loop.ring().close_now(here.server);
        here.loop.ring().close_now(here.server);
      },
      "close on descriptor [0-9]+, which is not open");
}

TEST_F(PlantedBug, BytesChangedDuringASendAreFound) {
  dies_with_reason(
      [] {
        Connected here;
        std::string text = "payload";
        here.loop.ring().send(here.client, std::as_bytes(std::span{text}),
                              here.loop.on([](const Completion&) {}));
        here.loop.ring().wait(0);
        text[0] = 'P';
        here.run_for(kSecond);
      },
      "bytes were changed while a send");
}

#if RT_ASAN
TEST_F(PlantedBug, MemoryFreedWhileAnOperationHasItIsFound) {
  dies_with_reason(
      [] {
        Connected here;
        auto memory = std::make_unique<std::array<std::byte, 64>>();
        here.loop.ring().receive(here.server, *memory, here.loop.on([](const Completion&) {}));
        here.loop.ring().wait(0);
        memory.reset();
        here.run_for(kSecond);
      },
      "was freed while it was in flight");
}
#endif

TEST_F(PlantedBug, TwoSendsAtOnceOnOneStreamAreFound) {
  dies_with_reason(
      [] {
        Connected here;
        for (int i = 0; i < 2; ++i) {
          here.loop.ring().send(here.client, std::as_bytes(std::span{"x"}),
                                here.loop.on([](const Completion&) {}));
        }
        here.loop.ring().wait(0);
      },
      "on which a send is in flight");
}

TEST_F(PlantedBug, OperationsAndSocketsLeftAtTheEndAreFound) {
  dies_with_reason(
      [] {
        Connected here;
        here.loop.ring().accept(here.listener, false, here.loop.on([](const Completion&) {}));
        here.run_for(runtime::kMillisecond);
        here.world.check_end();
      },
      "ended with operations in flight(.|\n)*accept on descriptor");
  dies_with_reason(
      [] {
        Connected here;
        here.world.checks().operations_done = false;
        here.world.check_end();
      },
      "ended with descriptors open");
}

TEST_F(PlantedBug, ABufferNeverGivenBackIsFound) {
  dies_with_reason(
      [] {
        Connected here;
        std::array<std::byte, 64> memory{};
        ASSERT_TRUE(here.loop.ring().register_buffers(0, memory.data(), 32, 2, 2));
        here.loop.ring().receive_selected(here.server, 0, here.loop.on([](const Completion&) {}));
        here.loop.ring().send(here.client, std::as_bytes(std::span{"x"}),
                              here.loop.on([](const Completion&) {}));
        here.run_for(kSecond);
        here.world.checks() = {.operations_done = false, .sockets_closed = false};
        here.world.check_end();
      },
      "1 provided buffers of core 0 not recycled");
}

// The wake word of the sleeping core is cleared behind its back, as a wrong order of stores would.
TEST_F(PlantedBug, ASleepingCoreThatNobodyWakesIsFoundAsADeadlock) {
  dies_with_reason(
      [] {
        sim::World world(42);
        Runtime runtime(two_cores());
        static_cast<void>(runtime.run([&]() -> Task<int> {
          co_await sleep_for(kSecond);
          runtime.lanes().word(1).sleeping.store(0);
          co_await submit_to(1, [] {});
          co_return 0;
        }));
      },
      "deadlock(.|\n)*core 1 is not marked as asleep(.|\n)*messages wait in the lane from core 0 "
      "to "
      "core 1(.|\n)*CORELANE_SEED=42");
}

TEST_F(PlantedBug, AProgramThatNeverEndsIsGivenUp) {
  dies_with_reason(
      [] {
        sim::World world(42);
        world.checks().time_max = 60 * kSecond;
        Runtime runtime(two_cores());
        static_cast<void>(runtime.run([]() -> Task<int> {
          for (;;) co_await sleep_for(kSecond);
        }));
      },
      "more virtual time than allowed");
  dies_with_reason(
      [] {
        sim::World world(42);
        world.checks().turns_max = 10'000;
        Runtime runtime(two_cores());
        static_cast<void>(runtime.run([]() -> Task<int> {
          for (;;) co_await Yield{};
        }));
      },
      "more turns than allowed");
}

// Whatever ends the process inside a world, the seed is on stderr.
TEST_F(PlantedBug, AFailedAssertionNamesTheSeed) {
  dies_with_reason(
      [] {
        sim::World world(42);
        RT_ASSERT(world.seed() == 1);
      },
      "assertion failed(.|\n)*CORELANE_SEED=42");
}

}  // namespace
}  // namespace corelane
