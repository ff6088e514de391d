// Goal: what crosses between cores arrives once, in the order of its lane, however small the lanes,
// and sleeping cores are woken. Method: counted messages between all pairs, tiny rings.
#include "runtime/lanes.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <vector>

#include "runtime/await.hpp"
#include "runtime/sharded.hpp"
#include "runtime/submit.hpp"
#include "runtime/task_group.hpp"
#include "tests/support/on_cores.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::run_on_cores;

TEST(SubmitTo, RunsOnTheNamedCoreAndBringsTheValueBack) {
  run_on_cores(3, []() -> Task<void> {
    for (CoreId core = 0; core < 3; ++core) {
      const CoreId ran_on = co_await submit_to(core, [] { return Core::current().id(); });
      EXPECT_EQ(ran_on, core);
      EXPECT_EQ(Core::current().id(), 0);
    }
  });
}

TEST(SubmitTo, AwaitsACoroutineOnTheOtherCore) {
  run_on_cores(2, []() -> Task<void> {
    const int value = co_await submit_to(1, []() -> Task<int> {
      co_await sleep_for(kMillisecond);
      const int nested = co_await submit_to(0, [] { return 20; });
      co_return nested + Core::current().id() + 1;
    });
    EXPECT_EQ(value, 22);
  });
}

struct Received {
  std::uint64_t next_expected[4] = {};
  std::uint64_t total = 0;
  bool in_order = true;
};
Sharded<Received>* received = nullptr;

struct Numbered {
  std::uint64_t number;
  void deliver(CoreId from) const {
    Received& mine = received->local();
    mine.in_order = mine.in_order && mine.next_expected[from] == number;
    mine.next_expected[from] = number + 1;
    ++mine.total;
  }
};

// A message that holds memory until its receiver has come to it.
std::atomic<std::uint64_t> weights_taken = 0;

struct Weight {
  std::size_t bytes;
  std::size_t lane_bytes() const noexcept { return bytes; }
  void deliver(CoreId) const { weights_taken += bytes; }
};

constexpr std::size_t kMiB = 1024 * 1024;

Task<bool> becomes_free(const Lanes* lanes) {
  for (int look = 0; look < 60'000 && lanes->congested(); ++look) co_await sleep_for(kMillisecond);
  co_return !lanes->congested();
}

TEST(Lanes, MemoryThatAPeerDoesNotTakeCongestsItsSenderUntilHalfOfItIsTaken) {
  std::atomic<bool> holds = false;
  std::atomic<bool> takes = false;
  weights_taken = 0;
  run_on_cores(2, [&]() -> Task<void> {
    TaskGroup group("receiver");
    group.spawn(
        "receiver",
        [](std::atomic<bool>* holding, std::atomic<bool>* goes_on) -> Task<void> {
          co_await submit_to(1, [holding, goes_on]() -> Task<void> {
            Core::current().hold_lanes(true);
            *holding = true;
            while (!*goes_on) co_await sleep_for(kMillisecond);
            Core::current().hold_lanes(false);
          });
        },
        &holds, &takes);
    while (!holds) co_await sleep_for(kMillisecond);
    Lanes& lanes = Core::current().lanes();
    for (std::size_t sent = 0; sent < Lanes::kBytesMax; sent += kMiB) {
      lanes.send(1, Weight{.bytes = kMiB});
      co_await Yield{};
    }
    EXPECT_FALSE(lanes.congested());
    lanes.send(1, Weight{.bytes = 1});
    EXPECT_TRUE(lanes.congested()) << "at once: a turn may take in hundreds of large messages";
    for (int turn = 0; turn < 20; ++turn) co_await Yield{};
    EXPECT_TRUE(lanes.congested());
    EXPECT_EQ(weights_taken, 0u);
    EXPECT_EQ(lanes.counters().heavy, 1u);
    takes = true;
    const bool is_free = co_await becomes_free(&lanes);
    EXPECT_TRUE(is_free);
    EXPECT_GT(weights_taken, Lanes::kBytesMax / 4);
    co_await group.join();
    EXPECT_EQ(weights_taken, Lanes::kBytesMax + 1);
    lanes.send(1, Weight{.bytes = kMiB});
    EXPECT_FALSE(lanes.congested());
  });
}

TEST(Lanes, APeerThatKeepsUpNeverCongestsItsSenderHoweverMuchMemoryPasses) {
  run_on_cores(2, []() -> Task<void> {
    Lanes& lanes = Core::current().lanes();
    for (int round = 0; round < 100; ++round) {
      for (int message = 0; message < 4; ++message) lanes.send(1, Weight{.bytes = kMiB / 4});
      co_await submit_to(1, [] {});
      EXPECT_FALSE(lanes.congested());
    }
    EXPECT_EQ(lanes.counters().heavy, 0u);
  });
}

TEST(Lanes, DeliverEveryMessageOnceInOrderThroughLanesOfSixteenSlots) {
  constexpr std::uint64_t kMessages = 20'000;
  Sharded<Received> shards;
  received = &shards;
  run_on_cores(3, [&shards]() -> Task<void> {
    co_await shards.start();
    TaskGroup group("senders");
    for (CoreId core = 0; core < 3; ++core) {
      group.spawn(
          "sender",
          [](CoreId from) -> Task<void> {
            co_await submit_to(from, []() -> Task<void> {
              Lanes& lanes = Core::current().lanes();
              for (std::uint64_t n = 0; n < kMessages; ++n) {
                for (CoreId to = 0; to < 3; ++to) lanes.send(to, Numbered{n});
                while (lanes.congested() || n % 64 == 63) {
                  co_await Yield{};
                  if (!lanes.congested()) break;
                }
              }
            });
          },
          core);
    }
    co_await group.join();
    for (CoreId core = 0; core < 3; ++core) {
      for (;;) {
        const auto seen = co_await submit_to(core, [] { return received->local().total; });
        if (seen == 3 * kMessages) break;
      }
      const bool ordered = co_await submit_to(core, [] { return received->local().in_order; });
      EXPECT_TRUE(ordered);
    }
    co_await shards.stop();
  });
}

// More than its lanes take: what is left waits at the senders.
TEST(Lanes, ACoreThatHoldsThemTakesNothingAndThenEverythingInOrder) {
  static constexpr std::uint64_t kMessages = 5'000;
  Sharded<Received> shards;
  received = &shards;
  run_on_cores(3, [&shards]() -> Task<void> {
    co_await shards.start();
    TaskGroup group("senders");
    for (CoreId core = 1; core < 3; ++core) {
      group.spawn(
          "sender",
          [](CoreId from) -> Task<void> {
            co_await submit_to(from, []() -> Task<void> {
              Lanes& lanes = Core::current().lanes();
              for (std::uint64_t n = 0; n < kMessages; ++n) {
                lanes.send(0, Numbered{n});
                if (n % 64 == 63) co_await Yield{};
                while (lanes.congested()) co_await Yield{};
              }
            });
          },
          core);
    }
    Core& core = Core::current();
    const Received& mine = shards.local();
    while (mine.total < 2 * kMessages) {
      const std::uint64_t before = mine.total;
      core.hold_lanes(true);
      for (int turn = 0; turn < 20; ++turn) {
        co_await Yield{};
        EXPECT_EQ(mine.total, before);
      }
      core.hold_lanes(false);
      while (mine.total == before) co_await Yield{};
    }
    EXPECT_TRUE(mine.in_order);
    for (CoreId from = 1; from < 3; ++from) EXPECT_EQ(mine.next_expected[from], kMessages);
    co_await group.join();
    co_await shards.stop();
  });
}

int holds = 0;

struct HoldsLanes {
  void deliver(CoreId) const {
    ++holds;
    Core::current().hold_lanes(true);
  }
};

TEST(Lanes, AMessageThatHoldsThemIsTheLastOneOfItsTurn) {
  weights_taken = 0;
  run_on_cores(1, []() -> Task<void> {
    Core& core = Core::current();
    Lanes& lanes = core.lanes();
    lanes.send(0, Weight{.bytes = 1});
    lanes.send(0, HoldsLanes{});
    lanes.send(0, Weight{.bytes = 2});
    for (int turn = 0; turn < 5; ++turn) co_await Yield{};
    EXPECT_EQ(weights_taken, 1u);
    core.hold_lanes(false);
    for (int turn = 0; turn < 2; ++turn) co_await Yield{};
    EXPECT_EQ(weights_taken, 3u);
  });
}

struct SendsOn {
  void deliver(CoreId) const { Core::current().lanes().send(0, Weight{.bytes = 4}); }
};

TEST(Lanes, AMessageThatAMessageSendsToItsOwnCoreComesInTheNextTurn) {
  weights_taken = 0;
  run_on_cores(1, []() -> Task<void> {
    Lanes& lanes = Core::current().lanes();
    lanes.send(0, Weight{.bytes = 1});
    lanes.send(0, Weight{.bytes = 2});
    lanes.send(0, SendsOn{});
    co_await Yield{};
    EXPECT_EQ(weights_taken, 3u);
    co_await Yield{};
    EXPECT_EQ(weights_taken, 7u);
  });
}

// Each message is taken in a separate turn; the bytes of the messages behind it still count.
TEST(Lanes, MessagesThatHoldThemInTurnKeepTheOwnLaneCongested) {
  weights_taken = 0;
  run_on_cores(1, []() -> Task<void> {
    Core& core = Core::current();
    Lanes& lanes = core.lanes();
    core.hold_lanes(true);
    for (int i = 0; i < 3; ++i) lanes.send(0, HoldsLanes{});
    lanes.send(0, Weight{.bytes = Lanes::kBytesMax + 1});
    for (int holder = 0; holder < 3; ++holder) {
      for (int turn = 0; turn < 2; ++turn) co_await Yield{};
      EXPECT_TRUE(lanes.congested());
      core.hold_lanes(false);
      EXPECT_TRUE(lanes.congested());
    }
    for (int turn = 0; turn < 2; ++turn) co_await Yield{};
    EXPECT_EQ(weights_taken, 0u);
    core.hold_lanes(false);
    for (int turn = 0; turn < 2; ++turn) co_await Yield{};
    EXPECT_EQ(weights_taken, Lanes::kBytesMax + 1);
    EXPECT_FALSE(lanes.congested());
  });
}

TEST(Lanes, AnOwnLaneThatHoldsThemInEachTurnDoesNotStarveTheOthers) {
  std::atomic<bool> goes = false;
  weights_taken = 0;
  run_on_cores(2, [&]() -> Task<void> {
    TaskGroup group("sender");
    group.spawn(
        "sender",
        [](std::atomic<bool>* may_send) -> Task<void> {
          co_await submit_to(1, [may_send]() -> Task<void> {
            while (!*may_send) co_await sleep_for(kMillisecond);
            Core::current().lanes().send(0, Weight{.bytes = 1});
          });
        },
        &goes);
    Core& core = Core::current();
    for (int round = 0; round < 1'000'000 && weights_taken == 0; ++round) {
      const int before = holds;
      core.lanes().send(0, HoldsLanes{});
      while (holds == before) co_await Yield{};
      core.hold_lanes(false);
      goes = true;
    }
    EXPECT_EQ(weights_taken, 1u);
    co_await group.join();
  });
}

// The own lane is empty after each turn, so its bytes count only while it is held.
TEST(Lanes, TheOwnLaneCongestsOnlyWhileItIsHeld) {
  weights_taken = 0;
  run_on_cores(1, []() -> Task<void> {
    Core& core = Core::current();
    Lanes& lanes = core.lanes();
    lanes.send(0, Weight{.bytes = Lanes::kBytesMax + 1});
    for (std::size_t i = 0; i <= Lanes::kBacklogMax; ++i) lanes.send(0, Weight{.bytes = 0});
    EXPECT_FALSE(lanes.congested());
    for (int turn = 0; turn < 2; ++turn) co_await Yield{};
    EXPECT_FALSE(lanes.congested());
    EXPECT_EQ(weights_taken, Lanes::kBytesMax + 1);

    core.hold_lanes(true);
    lanes.send(0, Weight{.bytes = Lanes::kBytesMax + 1});
    EXPECT_TRUE(lanes.congested());
    core.hold_lanes(false);
    for (int turn = 0; turn < 2; ++turn) co_await Yield{};
    EXPECT_FALSE(lanes.congested());

    core.hold_lanes(true);
    for (std::size_t i = 0; i <= Lanes::kBacklogMax; ++i) lanes.send(0, Weight{.bytes = 0});
    for (int turn = 0; turn < 2; ++turn) co_await Yield{};
    EXPECT_TRUE(lanes.congested());
    core.hold_lanes(false);
    for (int turn = 0; turn < 2; ++turn) co_await Yield{};
    EXPECT_FALSE(lanes.congested());
  });
}

std::atomic<std::uint64_t> counted = 0;
struct Counted {
  void deliver(CoreId) const noexcept { counted.fetch_add(1, std::memory_order_relaxed); }
};

// The core's own stop overtakes the messages, because its lane is not full.
TEST(Lanes, ACoreThatStopsHandsOverWhatWaitsInFrontOfFullLanes) {
  constexpr std::uint64_t kMessages = 1'000;
  counted = 0;
  run_on_cores(3, []() -> Task<void> {
    Lanes& lanes = Core::current().lanes();
    for (std::uint64_t n = 0; n < kMessages; ++n) {
      for (CoreId to = 1; to < 3; ++to) lanes.send(to, Counted{});
    }
    co_return;
  });
  EXPECT_EQ(counted, 2 * kMessages);
}

TEST(Lanes, ARequestWakesASleepingCore) {
  run_on_cores(2, []() -> Task<void> {
    for (int i = 0; i < 50; ++i) {
      // Long enough for the other core to go to sleep; how long it really is does not matter.
      co_await sleep_for(200 * kMicrosecond);
      const int value = co_await submit_to(1, [] { return 1; });
      EXPECT_EQ(value, 1);
    }
  });
}

TEST(Sharded, MakesAndDestroysEachOnItsOwnCore) {
  struct Local {
    CoreId made_on = Core::current().id();
    ~Local() { EXPECT_EQ(Core::current().id(), made_on); }
  };
  Sharded<Local> shards;
  run_on_cores(2, [&shards]() -> Task<void> {
    co_await shards.start();
    const CoreId other = co_await submit_to(1, [&shards] { return shards->made_on; });
    EXPECT_EQ(other, 1);
    co_await shards.stop();
  });
}

// Tells on which core it was destroyed.
struct Placed {
  explicit Placed(std::atomic<int>* destroyed) noexcept : destroyed_on(destroyed) {}
  Placed(const Placed&) = delete;
  Placed& operator=(const Placed&) = delete;
  ~Placed() { destroyed_on[Core::current().id()] += 1; }
  std::atomic<int>* destroyed_on;
};

TEST(Sharded, LeftWithoutAStopIsDestroyedOnItsCores) {
  std::array<std::atomic<int>, 3> destroyed{};
  run_on_cores(3, [&destroyed]() -> Task<void> {
    {
      Sharded<Placed> shards;
      co_await shards.start(destroyed.data());
    }
    {
      Sharded<Placed> stopped;
      co_await stopped.start(destroyed.data());
      co_await stopped.stop();
    }
    co_return;  // the cores end behind what they were sent
  });
  for (const auto& count : destroyed) EXPECT_EQ(count.load(), 2);
}

TEST(Sharded, LeftWithoutAStopDestroysTheInstanceOfItsOwnCoreAtOnce) {
  std::array<std::atomic<int>, 2> destroyed{};
  run_on_cores(2, [&destroyed]() -> Task<void> {
    {
      Sharded<Placed> shards;
      co_await shards.start(destroyed.data());
    }
    EXPECT_EQ(destroyed[0].load(), 1);
  });
}

TEST(Sharded, LeftWithoutAStopMayOutliveTheCores) {
  struct Counts {
    explicit Counts(std::atomic<int>* in) noexcept : alive(in) { *alive += 1; }
    Counts(const Counts&) = delete;
    Counts& operator=(const Counts&) = delete;
    ~Counts() { *alive -= 1; }
    std::atomic<int>* alive;
  };
  std::atomic<int> alive{0};
  {
    Sharded<Counts> shards;
    run_on_cores(2, [&shards, &alive]() -> Task<void> { co_await shards.start(&alive); });
    EXPECT_EQ(alive.load(), 2);
  }
  EXPECT_EQ(alive.load(), 0);
}

}  // namespace
}  // namespace corelane
