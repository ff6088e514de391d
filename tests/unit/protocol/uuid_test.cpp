// Goal: a UUID survives text and wire, and text that is not exactly one is refused.
#include "protocol/uuid.hpp"

#include <gtest/gtest.h>

#include "tests/unit/protocol/sample.hpp"

namespace corelane {
namespace {

TEST(Uuid, TextIsTheBytesInOrder) {
  EXPECT_EQ(protocol::to_text(sample::uuid(0xa1)), "a1010203-0405-0607-0809-0a0b0c0d0e0f");
  EXPECT_EQ(protocol::to_text(protocol::kNilUuid), "00000000-0000-0000-0000-000000000000");
}

TEST(Uuid, ParsesWhatItPrintsInEitherCase) {
  const auto lower = protocol::parse_uuid("a1010203-0405-0607-0809-0a0b0c0d0e0f");
  const auto upper = protocol::parse_uuid("A1010203-0405-0607-0809-0A0B0C0D0E0F");
  ASSERT_TRUE(lower.has_value());
  EXPECT_EQ(*lower, sample::uuid(0xa1));
  EXPECT_EQ(lower, upper);
}

TEST(Uuid, EveryOneCharacterDefectIsRefused) {
  const std::string good = "a1010203-0405-0607-0809-0a0b0c0d0e0f";
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = bad[i] == '-' ? '0' : 'g';
    EXPECT_FALSE(protocol::parse_uuid(bad).has_value()) << bad;
    EXPECT_FALSE(protocol::parse_uuid(good.substr(0, i)).has_value()) << i;
  }
  EXPECT_FALSE(protocol::parse_uuid(good + "0").has_value());
  EXPECT_FALSE(protocol::parse_uuid("{" + good + "}").has_value());
}

TEST(Uuid, SurvivesTheWireAndAbsentIsNil) {
  const protocol::fbs::UUID wire = protocol::to_fbs(sample::uuid(9));
  EXPECT_EQ(protocol::from_fbs(&wire), sample::uuid(9));
  EXPECT_TRUE(protocol::from_fbs(nullptr).is_nil());
}

}  // namespace
}  // namespace corelane
