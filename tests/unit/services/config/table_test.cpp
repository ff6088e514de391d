// Goal: rows that are added in several goes make one table: each section once, each setting with
// its own default, and values that reach the options that the setting is bound to. Method: rows of
// made-up options.
#include "services/config/table.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace corelane::services::config {
namespace {

struct Options {
  std::uint64_t first = 11;
  std::uint64_t second = 22;
  std::uint64_t third = 33;
};

constexpr Row<Options> kFirst[] = {count<&Options::first>({"one", "first"}, {0, 100}, "")};
constexpr Row<Options> kSecond[] = {count<&Options::second>({"two", "second"}, {0, 100}, "")};
constexpr Row<Options> kThird[] = {count<&Options::third>({"one", "third"}, {0, 100}, "")};

TEST(SettingTable, RowsThatComeLaterStandBehindThoseOfTheirSection) {
  Options options;
  SettingTable table;
  table.add<Options>(kFirst, options);
  table.add<Options>(kSecond, options);
  table.add<Options>(kThird, options);
  std::vector<std::string> paths;
  for (const Setting& setting : table.settings()) paths.push_back(setting_path(setting));
  EXPECT_EQ(paths, (std::vector<std::string>{"one.first", "one.third", "two.second"}));
  Configuration values(table);
  EXPECT_EQ(values.number("one.first"), 11u);
  EXPECT_EQ(values.number("one.third"), 33u);
  EXPECT_EQ(values.number("two.second"), 22u);
  values.of(table.at("one.third")) = std::uint64_t{44};
  table.store(values);
  EXPECT_EQ(options.first, 11u);
  EXPECT_EQ(options.second, 22u);
  EXPECT_EQ(options.third, 44u);
}

}  // namespace
}  // namespace corelane::services::config
