// Goal: released numbers and layouts, on which other programs rely, never change. Method: this file
// repeats each number and each field position by hand; protocol/samples.toml repeats the numbers of
// opcodes.
#include "protocol/opcode.hpp"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "protocol/fbs.hpp"

namespace corelane {
namespace {

using protocol::classify;
using protocol::Opcode;
using protocol::OpcodeClass;

TEST(Opcode, ClassesMeetWithoutGaps) {
  EXPECT_EQ(classify(Opcode{0}), OpcodeClass::reserved);
  EXPECT_EQ(classify(Opcode{1}), OpcodeClass::request);
  EXPECT_EQ(classify(Opcode{18}), OpcodeClass::request);
  EXPECT_EQ(classify(Opcode{19}), OpcodeClass::server);
  EXPECT_EQ(classify(Opcode{63}), OpcodeClass::server);
  EXPECT_EQ(classify(Opcode{64}), OpcodeClass::request);
  EXPECT_EQ(classify(Opcode{127}), OpcodeClass::request);
  EXPECT_EQ(classify(Opcode{128}), OpcodeClass::server);
  EXPECT_EQ(classify(Opcode{199}), OpcodeClass::server);
  EXPECT_EQ(classify(Opcode{200}), OpcodeClass::custom);
  EXPECT_EQ(classify(Opcode{65535}), OpcodeClass::custom);
}

TEST(ErrorCode, NumbersAndNamesAreFrozen) {
  const std::map<int, std::string> frozen{{0, "none"},
                                          {100, "malformed_frame"},
                                          {101, "malformed_message"},
                                          {102, "malformed_payload"},
                                          {103, "frame_too_large"},
                                          {200, "unknown_opcode"},
                                          {201, "unsupported_opcode"},
                                          {202, "unexpected_opcode"},
                                          {300, "unknown_session"},
                                          {301, "channel_name_invalid"},
                                          {302, "not_subscribed"},
                                          {303, "already_subscribed"},
                                          {310, "key_invalid"},
                                          {311, "version_mismatch"},
                                          {312, "not_a_number"},
                                          {313, "key_missing"},
                                          {314, "key_exists"},
                                          {315, "not_modified"},
                                          {316, "out_of_bounds"},
                                          {317, "lease_lost"},
                                          {400, "unauthenticated"},
                                          {401, "unauthorized"},
                                          {500, "limit_exceeded"},
                                          {501, "payload_too_large"},
                                          {502, "too_many_subscriptions"},
                                          {503, "too_many_channels"},
                                          {504, "rate_limited"},
                                          {505, "slow_reader"},
                                          {510, "quota_invalid"},
                                          {600, "overloaded"},
                                          {601, "draining"},
                                          {602, "timed_out"},
                                          {603, "unavailable"},
                                          {604, "internal"}};
  for (int value = 0; value <= 65535; ++value) {
    const auto found = frozen.find(value);
    const std::string expected = found == frozen.end() ? "" : found->second;
    ASSERT_EQ(protocol::error_code_name(static_cast<protocol::ErrorCode>(value)), expected)
        << value;
  }
}

TEST(Schema, MessageHasItsSixFieldsInOrder) {
  using M = protocol::fbs::Message;
  EXPECT_EQ(+M::VT_OPCODE, 4);
  EXPECT_EQ(+M::VT_TRANSACTION_ID, 6);
  EXPECT_EQ(+M::VT_PAYLOAD, 8);
  EXPECT_EQ(+M::VT_TIMESTAMP, 10);
  EXPECT_EQ(+M::VT_TRACE_ID, 12);
  EXPECT_EQ(+M::VT_SPAN_ID, 14);
}

TEST(Schema, StructsKeepTheirSize) {
  EXPECT_EQ(sizeof(protocol::fbs::UUID), 16u);
  EXPECT_EQ(sizeof(protocol::fbs::ChannelResult), 24u);
  EXPECT_EQ(sizeof(protocol::fbs::CacheResult), 24u);
  EXPECT_EQ(sizeof(protocol::fbs::CacheCounts), 72u);
}

}  // namespace
}  // namespace corelane
