// Goal: the checker accepts whatever inflates to what was sent, from any compressor and however it
// is cut, and nothing else; and inflates an answer once where it comes again unchanged. Method: a
// server made here, which compresses at two levels.

#include "perf/load/inflating_checker.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "ws/mask.hpp"

namespace corelane::perf {
namespace {

using Bytes = std::vector<std::byte>;
using Found = AnswerChecker::Found;

constexpr std::size_t kPayloadBytes = 300;

Bytes payload_of(const MessageRing& ring, std::size_t number) {
  const auto payload = ring.expected().subspan(number * kPayloadBytes, kPayloadBytes);
  return {payload.begin(), payload.end()};
}

Bytes frame_of(std::span<const std::byte> payload, ws::FrameStart start) {
  Bytes frame(ws::server_header_bytes(payload.size()));
  ws::write_server_header(frame.data(), start, payload.size());
  frame.insert(frame.end(), payload.begin(), payload.end());
  return frame;
}

Bytes compressed_frame(std::span<const std::byte> payload, int level = 1) {
  ws::Deflater deflater(ws::kWindowBitsMax, true, level);
  ws::OwnedBytes compressed;
  deflater.deflate(payload, compressed);
  return frame_of(compressed.bytes(), {.opcode = ws::Opcode::text, .is_final = true, .rsv1 = true});
}

class Inflating : public ::testing::Test {
 protected:
  Found feed(const Bytes& bytes) {
    const auto result = checker_.feed(bytes);
    messages_ += result.messages;
    return result.found;
  }

  MessageRing ring_ = make_compressed_ring(kPayloadBytes, 4);
  LearnedAnswers learned_{ring_};
  InflatingChecker checker_{learned_, 0};
  std::size_t messages_ = 0;
};

TEST_F(Inflating, WhatIsSentInflatesToWhatIsExpectedAndIsSmaller) {
  ws::Inflater inflater(ws::kWindowBitsMax, true);
  for (std::size_t number = 0; number < ring_.messages(); ++number) {
    const auto sent = ring_.to_send(number, 1);
    ws::FrameHeader header;
    ASSERT_EQ(ws::parse_frame_header(sent, {.receiver = ws::Role::server, .rsv1_negotiated = true},
                                     header),
              ws::HeaderStatus::complete);
    EXPECT_TRUE(header.rsv1);
    Bytes payload(sent.begin() + header.header_bytes, sent.end());
    ASSERT_EQ(payload.size(), header.payload_bytes);
    EXPECT_LT(payload.size(), kPayloadBytes * 2 / 3);
    ws::apply_mask(payload, header.mask_key);
    ASSERT_EQ(inflater.inflate(payload, kPayloadBytes), ws::InflateStatus::ok);
    EXPECT_TRUE(std::ranges::equal(inflater.output().bytes(), payload_of(ring_, number)));
  }
}

TEST_F(Inflating, AnswersOfAnyCompressorAndUncompressedOnesAreGood) {
  EXPECT_EQ(feed(compressed_frame(payload_of(ring_, 0), 1)), Found::drained);
  EXPECT_EQ(feed(compressed_frame(payload_of(ring_, 1), 9)), Found::drained);
  EXPECT_EQ(feed(frame_of(payload_of(ring_, 2), {.opcode = ws::Opcode::text})), Found::drained);
  EXPECT_EQ(messages_, 3U);
}

TEST_F(Inflating, AnAnswerThatComesAgainUnchangedIsNotInflatedAgain) {
  InflatingChecker other(learned_, 0);
  const Bytes frame = compressed_frame(payload_of(ring_, 0));
  EXPECT_EQ(feed(frame), Found::drained);
  EXPECT_EQ(other.feed(frame).found, Found::drained);
  EXPECT_EQ(learned_.inflated(), 1U);
}

TEST_F(Inflating, TheStreamMayBeCutAnywhereAndHoldControlFrames) {
  Bytes stream = compressed_frame(payload_of(ring_, 0));
  const Bytes ping = frame_of(Bytes(3, std::byte{7}), {.opcode = ws::Opcode::ping});
  stream.insert(stream.end(), ping.begin(), ping.end());
  const Bytes second = compressed_frame(payload_of(ring_, 1));
  stream.insert(stream.end(), second.begin(), second.end());
  for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
    InflatingChecker checker(learned_, 0);
    std::size_t messages = 0;
    std::size_t pings = 0;
    const auto feed_all = [&](std::span<const std::byte> bytes) {
      while (!bytes.empty()) {
        const auto result = checker.feed(bytes);
        ASSERT_NE(result.found, Found::wrong);
        messages += result.messages;
        if (result.found == Found::ping) {
          ++pings;
          EXPECT_EQ(checker.control_payload().size(), 3U);
        }
        bytes = bytes.subspan(result.consumed);
      }
    };
    feed_all(std::span{stream}.first(cut));
    feed_all(std::span{stream}.subspan(cut));
    EXPECT_EQ(messages, 2U) << cut;
    EXPECT_EQ(pings, 1U) << cut;
  }
}

TEST_F(Inflating, WrongTextIsFoundAlsoInAKnownAnswer) {
  EXPECT_EQ(feed(compressed_frame(payload_of(ring_, 1))), Found::wrong);
  Bytes damaged = payload_of(ring_, 0);
  damaged.back() ^= std::byte{1};
  EXPECT_EQ(InflatingChecker(learned_, 0).feed(compressed_frame(damaged)).found, Found::wrong);
  EXPECT_EQ(InflatingChecker(learned_, 0).feed(compressed_frame(payload_of(ring_, 0))).found,
            Found::drained);
  EXPECT_EQ(InflatingChecker(learned_, 0).feed(compressed_frame(damaged)).found, Found::wrong);
  EXPECT_EQ(InflatingChecker(learned_, 0)
                .feed(frame_of(payload_of(ring_, 0),
                               {.opcode = ws::Opcode::text, .is_final = true, .rsv1 = true}))
                .found,
            Found::wrong);
}

TEST_F(Inflating, GoodbyesAreTold) {
  EXPECT_EQ(feed(frame_of({}, {.opcode = ws::Opcode::close})), Found::close);
}

}  // namespace
}  // namespace corelane::perf
