// Goal: streams that hold most and take least are ended first, streams that hold little are not
// ended, and the memory of the search is bounded. Method: lists of holders.
#include "net/memory_holders.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace corelane {
namespace {

using net::HeldMemory;
using net::MemoryHolders;
using net::MemoryOver;
using runtime::kMillisecond;
using runtime::kSecond;

constexpr runtime::Nanoseconds kNow = 1000 * kSecond;

net::StreamId stream(std::uint32_t slot) {
  return {.slot = slot, .generation = 1};
}

HeldMemory held(std::size_t bytes, runtime::Nanoseconds idle,
                MemoryOver over = MemoryOver::memory) {
  HeldMemory of(over, kNow, kNow - idle);
  of.add(bytes);
  return of;
}

std::vector<std::uint32_t> worst_first(MemoryHolders& holders) {
  std::vector<std::uint32_t> slots;
  while (const auto worst = holders.take_worst()) slots.push_back(worst->stream.slot);
  return slots;
}
using Slots = std::vector<std::uint32_t>;

TEST(MemoryHolders, ThoseWithMostBytesAndTimeAreTheWorst) {
  MemoryHolders holders;
  holders.add(stream(0), held(100'000, kSecond));
  holders.add(stream(1), held(10'000, 20 * kSecond));
  holders.add(stream(2), held(100'000, 5 * kSecond));
  holders.add(stream(3), held(1'000'000, 0));
  EXPECT_EQ(worst_first(holders), (Slots{2, 1, 0, 3}));
}

TEST(MemoryHolders, WithoutTimeTheLargestIsTheWorst) {
  MemoryHolders holders;
  holders.add(stream(0), held(5'000, 0));
  holders.add(stream(1), held(7'000, 0));
  holders.add(stream(2), held(6'000, 0));
  EXPECT_EQ(worst_first(holders), (Slots{1, 2, 0}));
}

TEST(MemoryHolders, NobodyGoesForATrifle) {
  MemoryHolders holders;
  holders.add(stream(0), held(MemoryHolders::kBytesMin - 1, 100 * kSecond));
  holders.add(stream(1), held(MemoryHolders::kBytesMin, kMillisecond));
  EXPECT_EQ(worst_first(holders), Slots{1});
  MemoryHolders all(MemoryOver::memory, 1);
  all.add(stream(0), held(1, 0));
  all.add(stream(1), held(0, kSecond));
  EXPECT_EQ(worst_first(all), Slots{0});
}

TEST(MemoryHolders, OfManyTheWorstAreRemembered) {
  MemoryHolders holders;
  const auto many = static_cast<std::uint32_t>(4 * MemoryHolders::kHoldersMax);
  for (std::uint32_t i = 0; i < many; ++i) {
    const std::uint32_t at = i * 7919 % many;  // a permutation: 7919 is a prime
    holders.add(stream(at), held(10'000 + at, kSecond));
  }
  const Slots slots = worst_first(holders);
  ASSERT_EQ(slots.size(), MemoryHolders::kHoldersMax);
  for (std::uint32_t i = 0; i < slots.size(); ++i) EXPECT_EQ(slots[i], many - 1 - i);
}

// Ending one holder of a shared block frees no memory.
TEST(MemoryHolders, ThoseThatHoldMemoryOfTheirOwnGoBeforeThoseThatShareIt) {
  HeldMemory sharing(MemoryOver::memory, kNow, kNow - kSecond);
  sharing.add_shared(400'000);
  EXPECT_EQ(sharing.own(), 0u);
  EXPECT_EQ(sharing.all(), 400'000u);
  MemoryHolders holders;
  holders.add(stream(0), sharing);
  holders.add(stream(1), held(100'000, kSecond));
  EXPECT_EQ(worst_first(holders), (Slots{1, 0})) << "they go all the same, if nobody else is left";
}

TEST(MemoryHolders, WhereOnlyWhatIsNotWholeIsTooMuchNothingElseCounts) {
  HeldMemory of = held(1'000'000, kSecond, MemoryOver::unfinished);
  of.add_shared(1'000'000);
  EXPECT_EQ(of.all(), 0u);
  of.add_unfinished(5'000, kNow - kSecond);
  EXPECT_EQ(of.all(), 5'000u);
  EXPECT_EQ(of.own(), 5'000u);
}

}  // namespace
}  // namespace corelane
