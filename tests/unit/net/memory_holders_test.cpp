// Goal: the holders of most memory that take least are ended, no more of them than are needed, and
// none for a trifle. Method: lists of holders.
#include "net/memory_holders.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace corelane {
namespace {

using net::MemoryHolders;
using runtime::kMillisecond;
using runtime::kSecond;

struct Table {
  std::vector<std::uint32_t> ended;
  static void end(void* table, std::uint32_t slot) noexcept {
    static_cast<Table*>(table)->ended.push_back(slot);
  }
};
using Slots = std::vector<std::uint32_t>;

TEST(MemoryHolders, HoldersWithMostBytesAndTimeAreEndedUntilEnoughWasHeld) {
  Table table;
  MemoryHolders holders;
  holders.add(100'000, kSecond, Table::end, &table, 0);
  holders.add(10'000, 20 * kSecond, Table::end, &table, 1);
  holders.add(100'000, 5 * kSecond, Table::end, &table, 2);
  holders.add(1'000'000, 0, Table::end, &table, 3);
  EXPECT_EQ(holders.end_worst(150'000), 3u);
  EXPECT_EQ(table.ended, (Slots{2, 1, 0}));
  EXPECT_EQ(holders.end_worst(1), 1u);
  EXPECT_EQ(table.ended.back(), 3u);
  EXPECT_EQ(holders.end_worst(1), 0u);
}

TEST(MemoryHolders, WithoutTimeTheLargestIsTheWorst) {
  Table table;
  MemoryHolders holders;
  holders.add(5'000, 0, Table::end, &table, 0);
  holders.add(7'000, 0, Table::end, &table, 1);
  holders.add(6'000, 0, Table::end, &table, 2);
  EXPECT_EQ(holders.end_worst(1), 1u);
  EXPECT_EQ(table.ended, Slots{1});
}

TEST(MemoryHolders, NoHolderIsEndedForATrifle) {
  Table table;
  MemoryHolders holders;
  holders.add(MemoryHolders::kBytesMin - 1, 100 * kSecond, Table::end, &table, 0);
  holders.add(MemoryHolders::kBytesMin, kMillisecond, Table::end, &table, 1);
  EXPECT_EQ(holders.end_worst(1'000'000), 1u);
  EXPECT_EQ(table.ended, Slots{1});
}

}  // namespace
}  // namespace corelane
