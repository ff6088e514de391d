// Goal: frame headers are read and written as RFC 6455 section 5.2 defines them, and every breach
// is found with the first byte that shows it. Method: all first two bytes in all states against the
// rules written out; tables of lengths; what is written is read again.
#include "ws/frame.hpp"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "tests/unit/ws/wire.hpp"

namespace corelane {
namespace {

using tests::wire::as_bytes;
using tests::wire::as_string;
using ws::CloseCode;
using ws::FrameHeader;
using ws::FrameRules;
using ws::HeaderStatus;
using ws::Opcode;
using ws::Role;

// The rules, one sentence each, over the fields of the first two bytes.
bool is_allowed(unsigned first, unsigned second, FrameRules rules) {
  const bool fin = (first & 0x80) != 0;
  const bool rsv1 = (first & 0x40) != 0;
  const bool rsv2 = (first & 0x20) != 0;
  const bool rsv3 = (first & 0x10) != 0;
  const unsigned opcode = first & 0x0F;
  const bool masked = (second & 0x80) != 0;
  const unsigned length = second & 0x7F;
  if (rsv2 || rsv3) return false;
  if (opcode > 10 || (opcode > 2 && opcode < 8)) return false;
  if (rsv1 && !(rules.rsv1_negotiated && (opcode == 1 || opcode == 2))) return false;
  if (masked != (rules.receiver == Role::server)) return false;
  if (opcode >= 8) return fin && length <= 125;
  if (rules.in_message) return opcode == 0;
  return opcode != 0;
}

TEST(FrameHeader, TheFirstTwoBytesAreJudgedAloneInEveryState) {
  for (unsigned state = 0; state < 8; ++state) {
    const FrameRules rules{.receiver = (state & 1) != 0 ? Role::server : Role::client,
                           .rsv1_negotiated = (state & 2) != 0,
                           .in_message = (state & 4) != 0};
    for (unsigned first = 0; first < 256; ++first) {
      for (unsigned second = 0; second < 256; ++second) {
        const std::array bytes = {static_cast<std::byte>(first), static_cast<std::byte>(second)};
        FrameHeader header;
        const HeaderStatus status = ws::parse_frame_header(bytes, rules, header);
        ASSERT_EQ(status != HeaderStatus::error, is_allowed(first, second, rules))
            << "state " << state << ", bytes " << first << ' ' << second;
        ASSERT_EQ(ws::parse_frame_header(std::span{bytes}.first(1), rules, header),
                  HeaderStatus::need_more);
      }
    }
  }
}

struct LengthCase {
  int length_bytes;
  std::uint64_t length;
  std::size_t refused_with;  // bytes, 0: it is valid
};

TEST(FrameHeader, LengthsAreInTheShortestFormAndBelow2To63) {
  const std::vector<LengthCase> cases = {
      {0, 0, 0},          {0, 125, 0},        {2, 0, 4},     {2, 125, 4},
      {2, 126, 0},        {2, 65535, 0},      {8, 0, 10},    {8, 125, 10},
      {8, 126, 10},       {8, 65535, 10},     {8, 65536, 0}, {8, (1ULL << 63) - 1, 0},
      {8, 1ULL << 63, 3}, {8, UINT64_MAX, 3},
  };
  for (const LengthCase& c : cases) {
    for (const Role role : {Role::server, Role::client}) {
      const bool is_masked = role == Role::server;
      std::string wire =
          tests::wire::header({.opcode = 2, .length_bytes = c.length_bytes}, c.length, is_masked);
      if (is_masked) wire += "abcd";
      FrameHeader header;
      for (std::size_t size = 0; size <= wire.size(); ++size) {
        const HeaderStatus status = ws::parse_frame_header(as_bytes(wire).first(size),
                                                           FrameRules{.receiver = role}, header);
        const HeaderStatus expected = c.refused_with != 0 && size >= c.refused_with
                                          ? HeaderStatus::error
                                      : size < wire.size() ? HeaderStatus::need_more
                                                           : HeaderStatus::complete;
        ASSERT_EQ(status, expected) << c.length_bytes << ", " << c.length << " at " << size;
      }
      if (c.refused_with != 0) continue;
      EXPECT_EQ(header.payload_bytes, c.length);
      EXPECT_EQ(header.header_bytes, wire.size());
      EXPECT_EQ(as_string(header.mask_key), is_masked ? "abcd" : std::string(4, '\0'));
    }
  }
}

TEST(FrameHeader, WhatIsWrittenIsReadAgain) {
  constexpr ws::MaskKey kKey = {std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
  for (const std::uint64_t size : {0ULL, 1ULL, 125ULL, 126ULL, 65535ULL, 65536ULL, 1ULL << 40}) {
    for (const bool is_final : {true, false}) {
      for (const bool rsv1 : {true, false}) {
        const ws::FrameStart start{.opcode = Opcode::text, .is_final = is_final, .rsv1 = rsv1};
        std::array<std::byte, ws::kClientHeaderBytesMax> bytes;
        for (const Role sender : {Role::server, Role::client}) {
          const bool is_client = sender == Role::client;
          const std::size_t written = is_client
                                          ? ws::write_client_header(bytes.data(), start, size, kKey)
                                          : ws::write_server_header(bytes.data(), start, size);
          EXPECT_EQ(written,
                    is_client ? ws::client_header_bytes(size) : ws::server_header_bytes(size));
          EXPECT_LE(written, is_client ? ws::kClientHeaderBytesMax : ws::kServerHeaderBytesMax);
          FrameHeader header;
          const FrameRules rules{.receiver = is_client ? Role::server : Role::client,
                                 .rsv1_negotiated = true};
          ASSERT_EQ(ws::parse_frame_header(std::span{bytes}.first(written), rules, header),
                    HeaderStatus::complete);
          EXPECT_EQ(header.payload_bytes, size);
          EXPECT_EQ(header.header_bytes, written);
          EXPECT_EQ(header.is_final, is_final);
          EXPECT_EQ(header.rsv1, rsv1);
          EXPECT_EQ(header.opcode, Opcode::text);
          EXPECT_EQ(header.mask_key, is_client ? kKey : ws::MaskKey{});
        }
      }
    }
  }
}

TEST(FrameHeader, AServersHeaderFitsIntoTheRoomOfTheClients) {
  for (const std::uint64_t size : {0ULL, 125ULL, 126ULL, 65535ULL, 65536ULL, 1ULL << 62}) {
    EXPECT_LE(ws::server_header_bytes(size), ws::client_header_bytes(size));
  }
}

TEST(ClosePayload, EveryCodeIsJudgedAsTheRegistrySays) {
  for (unsigned code = 0; code <= 65535; ++code) {
    const bool is_valid = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
                          (code >= 3000 && code <= 4999);
    const std::string payload = tests::wire::close_payload(code);
    const ws::ClosePayload close = ws::parse_close_payload(as_bytes(payload));
    ASSERT_EQ(close.fault, is_valid ? ws::Breach::none : ws::Breach::close_code) << code;
    const unsigned read_code = is_valid ? code : static_cast<unsigned>(CloseCode::no_status);
    ASSERT_EQ(static_cast<unsigned>(close.code), read_code);
  }
}

TEST(ClosePayload, EmptyOneByteAndBrokenReasons) {
  EXPECT_EQ(ws::parse_close_payload({}).code, CloseCode::no_status);
  EXPECT_EQ(ws::parse_close_payload({}).fault, ws::Breach::none);
  EXPECT_EQ(ws::parse_close_payload(as_bytes("\x03")).fault, ws::Breach::close_of_one_byte);
  for (const std::string_view reason : {"\xFF", "cut \xE2\x82", "\xED\xA0\x80"}) {
    const std::string payload = tests::wire::close_payload(1000, reason);
    EXPECT_EQ(ws::parse_close_payload(as_bytes(payload)).fault, ws::Breach::close_reason);
  }
}

TEST(ClosePayload, ALongReasonIsCutBetweenCodePoints) {
  std::array<std::byte, ws::kControlPayloadBytesMax> bytes;
  std::string reason(122, 'x');
  reason += "\xE2\x82\xAC";
  const std::size_t size = ws::write_close_payload(bytes, CloseCode::going_away, reason);
  EXPECT_EQ(size, 2U + 122);
  const ws::ClosePayload read = ws::parse_close_payload(std::span{bytes}.first(size));
  EXPECT_EQ(read.code, CloseCode::going_away);
  EXPECT_EQ(read.reason, std::string(122, 'x'));
  EXPECT_EQ(ws::write_close_payload(bytes, CloseCode::normal, std::string(123, 'y')), 125U);
  EXPECT_EQ(ws::write_close_payload(bytes, CloseCode::no_status, "unused"), 0U);
}

}  // namespace
}  // namespace corelane
