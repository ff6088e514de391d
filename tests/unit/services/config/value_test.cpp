// Goal: sizes and times mean what their writer meant, or are refused with the right spelling.
// Method: tables of texts, and a round trip of formatting and parsing.

#include "services/config/value.hpp"

#include <gtest/gtest.h>

namespace corelane::services::config {
namespace {

using runtime::kMillisecond;
using runtime::kSecond;

TEST(ConfigValue, SizesAreReadInPowersOf1024) {
  EXPECT_EQ(parse_bytes("0").value, 0u);
  EXPECT_EQ(parse_bytes("65536").value, 65'536u);
  EXPECT_EQ(parse_bytes("64KiB").value, 65'536u);
  EXPECT_EQ(parse_bytes("1 MiB").value, 1'048'576u);
  EXPECT_EQ(parse_bytes("2GiB").value, std::uint64_t{2} << 30);
  EXPECT_EQ(parse_bytes("7B").value, 7u);
}

TEST(ConfigValue, AmbiguousOrBrokenSizesAreRefusedWithASuggestion) {
  EXPECT_EQ(parse_bytes("1MB").suggestion, "1MiB");
  EXPECT_EQ(parse_bytes("64k").suggestion, "64KiB");
  EXPECT_EQ(parse_bytes("3gib").suggestion, "3GiB");
  for (const char* text :
       {"", "KiB", "-1", "1.5MiB", "1MB", "64k", "20000000TiB", "99999999999999999999"}) {
    EXPECT_FALSE(parse_bytes(text).value) << text;
    EXPECT_FALSE(parse_bytes(text).problem.empty()) << text;
  }
}

TEST(ConfigValue, DurationsNeedAUnitUnlessTheyAreZero) {
  EXPECT_EQ(parse_duration("250ms").value, 250 * kMillisecond);
  EXPECT_EQ(parse_duration("10s").value, 10 * kSecond);
  EXPECT_EQ(parse_duration("2m").value, 120 * kSecond);
  EXPECT_EQ(parse_duration("1h").value, 3600 * kSecond);
  EXPECT_EQ(parse_duration("20us").value, 20'000);
  EXPECT_EQ(parse_duration("0").value, 0);
  EXPECT_EQ(parse_duration("10").suggestion, "10s");
  EXPECT_EQ(parse_duration("10 sec").suggestion, "10s");
  EXPECT_EQ(parse_duration("2min").suggestion, "2m");
  for (const char* text : {"", "s", "10", "1.5s", "-1s", "3 weeks", "9000000h"}) {
    EXPECT_FALSE(parse_duration(text).value) << text;
    EXPECT_FALSE(parse_duration(text).problem.empty()) << text;
  }
}

TEST(ConfigValue, FormattedValuesParseToThemselves) {
  for (const std::uint64_t bytes :
       {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1000}, std::uint64_t{1024},
        std::uint64_t{1025}, std::uint64_t{1} << 30, UINT64_MAX}) {
    EXPECT_EQ(parse_bytes(format_bytes(bytes)).value, bytes) << format_bytes(bytes);
  }
  for (const runtime::Nanoseconds duration :
       {runtime::Nanoseconds{0}, runtime::Nanoseconds{1}, kMillisecond, 1500 * kMillisecond,
        90 * kSecond, 3600 * kSecond, runtime::Nanoseconds{INT64_MAX}}) {
    EXPECT_EQ(parse_duration(format_duration(duration)).value, duration);
  }
  EXPECT_EQ(format_bytes(1024 * 1024), "1MiB");
  EXPECT_EQ(format_duration(1500 * kMillisecond), "1500ms");
  EXPECT_EQ(format_duration(60 * kSecond), "1m");
}

TEST(ConfigValue, BooleansAndCountsAreStrict) {
  EXPECT_EQ(parse_boolean("Yes").value, true);
  EXPECT_EQ(parse_boolean("off").value, false);
  EXPECT_FALSE(parse_boolean("maybe").value);
  EXPECT_EQ(parse_count("42").value, 42u);
  EXPECT_FALSE(parse_count("42x").value);
  EXPECT_FALSE(parse_count("-1").value);
  EXPECT_FALSE(parse_count("").value);
}

TEST(ConfigValue, ListsAreSplitAtCommasInFrontOfElements) {
  const auto split = [](std::string_view text) {
    return split_list(text, [](std::string_view part) {
      return part.starts_with("e") || part.starts_with(" e,");
    });
  };
  using Texts = std::vector<std::string>;
  EXPECT_EQ(split(" ea, eb ,,ec"), (Texts{"ea", "eb", "ec"}));
  EXPECT_EQ(split("ea, b ,ec"), (Texts{"ea, b ", "ec"}));
  EXPECT_EQ(split("ea,b,"), (Texts{"ea,b,"})) << "one alone is taken as it stands";
  EXPECT_EQ(split(" e,"), (Texts{" e,"}));
  EXPECT_EQ(split(" ex "), (Texts{"ex"}));
  EXPECT_EQ(split("x,y"), (Texts{"x,y"})) << "for the check to refuse";
  EXPECT_TRUE(split("").empty());
  EXPECT_TRUE(split(" , ").empty());
}

TEST(ConfigValue, OnlyAlikeNamesAreSuggested) {
  const std::vector<std::string> names{"message_bytes_max", "fragments_max", "listen"};
  EXPECT_EQ(nearest_name("mesage_bytes_max", names), "message_bytes_max");
  EXPECT_EQ(nearest_name("lsiten", names), "listen");
  EXPECT_EQ(nearest_name("LISTEN", names), "listen");
  EXPECT_EQ(nearest_name("colour", names), "");
  EXPECT_EQ(nearest_name("x", {}), "");
}

}  // namespace
}  // namespace corelane::services::config
