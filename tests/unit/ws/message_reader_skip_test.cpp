// Goal: after our close frame a reader finds the peer's, whatever lies between and however it is
// cut, and keeps none of it. Method: streams that break a rule in each place where the frames can
// still be told apart, with everything between that and the close frame that a peer may send.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/unit/ws/wire.hpp"
#include "ws/message_reader.hpp"

namespace corelane {
namespace {

using tests::wire::as_bytes;
using tests::wire::close_payload;
using tests::wire::Cuts;
using tests::wire::frame;
using tests::wire::header;
using tests::wire::Recorder;
using ws::MessageReader;
using ws::ReaderLimits;
using ws::ReadStatus;
using ws::Role;
using ws::SkipStatus;

// Consumes until our side would close, skips from there; "CODE:REASON", "lost" or "none".
std::string close_behind(std::string_view stream, std::size_t piece_bytes) {
  MessageReader reader{Role::server};
  Recorder sink;
  const ReaderLimits limits{.message_bytes_max = 1000, .fragments_max = 3};
  bool is_skipping = false;
  while (!stream.empty()) {
    const std::string_view piece = stream.substr(0, piece_bytes);
    stream.remove_prefix(piece.size());
    const auto block = std::make_unique<std::byte[]>(piece.size());
    std::memcpy(block.get(), piece.data(), piece.size());
    std::span<std::byte> rest{block.get(), piece.size()};
    if (!is_skipping) {
      const ws::ReadResult result = reader.consume(rest, limits, sink);
      is_skipping = result.status == ReadStatus::failed;
      rest = rest.subspan(result.consumed);
      if (!is_skipping) continue;
      EXPECT_TRUE(ws::is_framed(result.breach));
    }
    EXPECT_FALSE(reader.unfinished());
    const ws::SkipResult skipped = reader.skip(rest);
    if (skipped.status == SkipStatus::lost) return "lost";
    if (skipped.status == SkipStatus::closed) {
      return std::to_string(static_cast<unsigned>(skipped.close.code)) + ":" +
             std::string{skipped.close.reason};
    }
    EXPECT_EQ(skipped.consumed, rest.size());
  }
  return is_skipping ? "none" : "no breach";
}

std::vector<std::string> breaches() {
  const std::string large(5000, 'l');
  const std::string begun = frame({.payload = "x", .is_final = false});
  const std::string more = frame({.opcode = 0, .payload = "y", .is_final = false});
  const std::string last = frame({.opcode = 0, .payload = "z"});
  return {
      frame({.opcode = 2, .payload = large}),
      frame({.opcode = 2, .payload = large, .is_final = false}) + last,
      begun + frame({.opcode = 0, .payload = large, .is_final = false}) + more + last,
      begun + frame({.opcode = 0, .payload = large}),
      begun + more + more + more + last,
      begun + more + frame({.opcode = 0, .payload = "", .is_final = false}) +
          frame({.opcode = 0, .payload = "", .is_final = false}) + last,
      frame({.payload = "\xC0\x80"}),
      frame({.payload = "ab\xFF" + std::string(900, 't')}),
      frame({.payload = "\xC0\x80", .is_final = false}) + last,
      frame(
          {.payload = std::string(300, 't') + "\xFF" + std::string(300, 't'), .is_final = false}) +
          last,
      begun + frame({.opcode = 0, .payload = "\xC3"}),
      begun + frame({.opcode = 9, .payload = "p"}) + frame({.opcode = 0, .payload = "\xFF"}),
  };
}

TEST(MessageReaderSkip, FindsTheCloseFrameBehindEveryBreachThatLeavesFrames) {
  const std::string between =
      frame({.opcode = 2, .payload = std::string(70'000, 'b')}) + frame({.opcode = 9}) +
      frame({.payload = "not \xFF text", .is_final = false}) +
      frame({.opcode = 9, .payload = std::string(125, 'p')}) + frame({.opcode = 0}) +
      frame({.opcode = 10, .payload = "q"}) + frame({.opcode = 2, .payload = ""});
  const std::string close = frame({.opcode = 8, .payload = close_payload(4321, "so be it")});
  for (const std::string& breach : breaches()) {
    SCOPED_TRACE(testing::PrintToString(breach.substr(0, 40)));
    for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{4096}, SIZE_MAX}) {
      EXPECT_EQ(close_behind(breach + close, piece), "4321:so be it");
      EXPECT_EQ(close_behind(breach + between + close + "anything", piece), "4321:so be it");
      EXPECT_EQ(close_behind(breach + between, piece), "none");
      EXPECT_EQ(close_behind(breach + between + frame({.opcode = 3}) + close, piece), "lost");
    }
  }
}

TEST(MessageReaderSkip, ACloseFrameWithoutACodeAndABrokenOneAreFound) {
  const std::string breach = frame({.payload = "\xFF"});
  for (const std::size_t piece : {std::size_t{1}, SIZE_MAX}) {
    EXPECT_EQ(close_behind(breach + frame({.opcode = 8}), piece), "1005:");
    EXPECT_EQ(close_behind(breach + frame({.opcode = 8, .payload = "\x03"}), piece), "1005:");
  }
}

TEST(MessageReaderSkip, GoesOnInTheMiddleOfAMessageThatWasInOrder) {
  const std::string message = frame({.opcode = 2, .payload = std::string(900, 'm')});
  const std::string close = frame({.opcode = 8, .payload = close_payload(1000)});
  for (std::size_t cut = 0; cut <= message.size(); ++cut) {
    MessageReader reader{Role::server};
    Recorder sink;
    std::string first = message.substr(0, cut);
    const auto begun = std::as_writable_bytes(std::span{first});
    ASSERT_EQ(reader.consume(begun, ReaderLimits{}, sink).status, ReadStatus::drained);
    const std::string rest = message.substr(cut) + close;
    const ws::SkipResult skipped = reader.skip(as_bytes(rest));
    ASSERT_EQ(skipped.status, SkipStatus::closed) << cut;
    ASSERT_EQ(skipped.consumed, rest.size());
  }
}

TEST(MessageReaderSkip, AfterASkipNothingIsHandedOver) {
  MessageReader reader{Role::server};
  Recorder sink;
  EXPECT_EQ(reader.skip({}).status, SkipStatus::going_on);
  std::string message = frame({.payload = "late"});
  const auto bytes = std::as_writable_bytes(std::span{message});
  EXPECT_EQ(reader.consume(bytes, ReaderLimits{}, sink).status, ReadStatus::closed);
  EXPECT_TRUE(sink.events.empty());
}

}  // namespace
}  // namespace corelane
