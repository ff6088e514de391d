// Goal: the account adds up by kind, knows its levels exactly, and has its relief called at the end
// of each turn in which the core holds too much. Method: the account alone, then on a core.
#include "runtime/memory_account.hpp"

#include <gtest/gtest.h>

#include "runtime/accounted_size.hpp"
#include "runtime/await.hpp"
#include "runtime/core.hpp"
#include "runtime/shared_bytes.hpp"
#include "tests/support/on_cores.hpp"

namespace corelane {
namespace {

using namespace runtime;

TEST(MemoryAccount, KnowsWhatIsHeldByKindAndAltogether) {
  MemoryAccount account(1600);
  account.add(MemoryKind::queued, 100);
  account.add(MemoryKind::http, 50);
  account.remove(MemoryKind::queued, 30);
  EXPECT_EQ(account.held(MemoryKind::queued), 70u);
  EXPECT_EQ(account.held(MemoryKind::http), 50u);
  EXPECT_EQ(account.held(MemoryKind::messages), 0u);
  EXPECT_EQ(account.total(), 120u);
  EXPECT_EQ(account.budget(), 1600u);
}

TEST(MemoryAccount, ALevelBeginsBehindItsSixteenths) {
  struct Case {
    MemoryPressure pressure;
    std::size_t up_to;
  };
  for (const auto& [pressure, up_to] :
       {Case{MemoryPressure::no_sessions, 1100}, Case{MemoryPressure::no_memory, 1200},
        Case{MemoryPressure::shedding, 1300}}) {
    MemoryAccount account(1600);
    account.add(MemoryKind::shared, up_to);
    EXPECT_TRUE(account.reached(MemoryPressure::none));
    EXPECT_FALSE(account.reached(pressure));
    EXPECT_EQ(account.excess(pressure), 0u);
    account.add(MemoryKind::shared, 1);
    EXPECT_TRUE(account.reached(pressure));
    EXPECT_EQ(account.excess(pressure), 1u);
    EXPECT_EQ(account.is_over(), pressure == MemoryPressure::shedding);
  }
}

TEST(MemoryAccount, WithoutABudgetNoLevelIsReached) {
  MemoryAccount account;
  account.add(MemoryKind::queued, SIZE_MAX / 2);
  EXPECT_FALSE(account.reached(MemoryPressure::no_sessions));
  EXPECT_FALSE(account.reached(MemoryPressure::shedding));
  EXPECT_FALSE(account.is_over());
}

TEST(MemoryAccount, UnfinishedBytesHaveALimitOfTheirOwn) {
  MemoryAccount account;
  account.set_relief(nullptr, nullptr, 100);
  account.add_unfinished(100);
  EXPECT_FALSE(account.is_over());
  account.add_unfinished(1);
  EXPECT_TRUE(account.is_over());
  account.remove_unfinished(1);
  EXPECT_FALSE(account.is_over());
}

TEST(MemoryAccount, WhatIsGivenBackTwiceEndsTheProcess) {
  const auto twice = [](MemoryKind kind) {
    MemoryAccount account;
    account.add(MemoryKind::receive_buffers, 1000);
    account.add(kind, 10);
    account.remove(kind, 10);
    account.remove(kind, 10);
  };
  EXPECT_DEATH(twice(MemoryKind::queued), "assertion failed");
  EXPECT_DEATH(MemoryAccount{}.remove_unfinished(1), "assertion failed");
  EXPECT_DEATH((void)MemoryAccount{}.excess(MemoryPressure::none), "assertion failed");
}

TEST(MemoryAccount, ASizeBooksDifferencesAndGivesBackWhatIsLeft) {
  tests::run_on_cores(tests::small_options(1), []() -> Task<void> {
    const MemoryAccount& memory = Core::current().memory();
    const std::size_t before = memory.total();
    {
      AccountedSize<MemoryKind::http> size;
      size.set(100, 0);
      size.set(70, 30);
      EXPECT_EQ(memory.total(), before + 70);
      EXPECT_EQ(memory.held(MemoryKind::http), 70u);
      EXPECT_EQ(memory.unfinished(), 30u);
      co_await sleep_for(kMillisecond);
      size.set(70, 30);
      EXPECT_EQ(size.booked_at(), Core::current().now()) << "more of it has come";
      size.set_unfinished(50);
      EXPECT_EQ(memory.unfinished(), 50u);
      EXPECT_EQ(memory.total(), before + 70);
    }
    EXPECT_EQ(memory.total(), before);
    EXPECT_EQ(memory.unfinished(), 0u);
  });
}

TEST(MemoryAccount, ReliefIsCalledAtTheEndOfEachTurnInWhichTheCoreHoldsTooMuch) {
  RuntimeOptions options = tests::small_options(1);
  options.memory_bytes_max = 1 << 20;
  tests::run_on_cores(options, []() -> Task<void> {
    MemoryAccount& memory = Core::current().memory();
    EXPECT_EQ(memory.budget(), std::size_t{1} << 20);
    int calls = 0;
    memory.set_relief([](void* context) noexcept { ++*static_cast<int*>(context); }, &calls,
                      SIZE_MAX);
    co_await Yield{};
    EXPECT_EQ(calls, 0);
    SharedBytes block = SharedBytes::allocate(1 << 20);
    co_await Yield{};
    co_await Yield{};
    EXPECT_EQ(calls, 2);
    block.reset();
    co_await Yield{};
    EXPECT_EQ(calls, 2);
    memory.set_relief(nullptr, nullptr, SIZE_MAX);
  });
}

TEST(MemoryAccount, TheBudgetOfTheRuntimeIsSharedByItsCores) {
  RuntimeOptions options = tests::small_options(3);
  options.memory_bytes_max = 3 << 20;
  tests::run_on_cores(options, []() -> Task<void> {
    EXPECT_EQ(Core::current().memory().budget(), std::size_t{1} << 20);
    co_return;
  });
}

}  // namespace
}  // namespace corelane
