// Goal: the checker accepts exactly the stream of echoes, however it is cut and whatever control
// frames stand between, and notices every byte that differs. Method: the expected stream is fed in
// pieces, whole, and damaged at each position.

#include "perf/load/reply_checker.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <span>
#include <vector>

#include "runtime/random.hpp"
#include "ws/frame.hpp"
#include "ws/mask.hpp"

namespace corelane {
namespace {

using perf::MessageRing;
using perf::ReplyChecker;
using perf::Scheme;
using Bytes = std::vector<std::byte>;

// What a perfect server sends back for `count` messages from `first` on.
Bytes echoes(const MessageRing& ring, std::size_t first, std::size_t count) {
  Bytes bytes;
  for (std::size_t i = 0; i < count; ++i) {
    const auto frame = ring.expected().subspan((first + i) % ring.messages() * ring.answer_bytes(),
                                               ring.answer_bytes());
    bytes.insert(bytes.end(), frame.begin(), frame.end());
  }
  return bytes;
}

// Feeds all of it; the number of whole messages, or -1 if something was wrong.
long feed_all(ReplyChecker& checker, std::span<const std::byte> bytes,
              std::size_t* pings = nullptr) {
  std::size_t messages = 0;
  while (!bytes.empty()) {
    const ReplyChecker::Result result = checker.feed(bytes);
    messages += result.messages;
    if (result.found == ReplyChecker::Found::wrong) return -1;
    if (result.found == ReplyChecker::Found::ping && pings != nullptr) ++*pings;
    bytes = bytes.subspan(result.consumed);
  }
  return static_cast<long>(messages);
}

TEST(ReplyChecker, WhatIsSentUnmasksToWhatIsExpected) {
  for (const std::size_t size : {1U, 3U, 125U, 126U, 4096U, 70'000U}) {
    const MessageRing ring = perf::make_echo_ring(Scheme::ws, size, 4);
    for (std::size_t i = 0; i < ring.messages(); ++i) {
      const auto sent = ring.to_send(i, 1);
      ws::FrameHeader header;
      ASSERT_EQ(ws::parse_frame_header(sent, {.receiver = ws::Role::server}, header),
                ws::HeaderStatus::complete);
      ASSERT_EQ(header.payload_bytes, size);
      Bytes payload(sent.begin() + header.header_bytes, sent.end());
      ws::apply_mask(payload, header.mask_key);
      const auto echo = ring.expected().subspan(i * ring.answer_bytes(), ring.answer_bytes());
      ASSERT_EQ(payload, Bytes(echo.end() - static_cast<std::ptrdiff_t>(size), echo.end()));
    }
  }
}

TEST(ReplyChecker, AcceptsTheEchoHoweverItIsCut) {
  runtime::Random random(11);
  for (const Scheme scheme : {Scheme::ws, Scheme::tcp}) {
    const MessageRing ring = perf::make_echo_ring(scheme, 125, 16);
    const std::size_t first = 5;
    const std::size_t count = 3 * ring.messages() + 1;
    const Bytes stream = echoes(ring, first, count);
    for (const std::size_t piece_max : {1U, 7U, 300U, 100'000U}) {
      ReplyChecker checker(ring, first);
      long messages = 0;
      for (std::size_t at = 0; at < stream.size();) {
        const std::size_t piece =
            std::min<std::size_t>(1 + random.below(piece_max), stream.size() - at);
        messages += feed_all(checker, std::span{stream}.subspan(at, piece));
        at += piece;
      }
      EXPECT_EQ(messages, static_cast<long>(count));
    }
  }
}

TEST(ReplyChecker, NoticesADamagedByteAtEachPosition) {
  const MessageRing ring = perf::make_echo_ring(Scheme::ws, 20, 2);
  const Bytes stream = echoes(ring, 0, 3);
  for (std::size_t at = 0; at < stream.size(); ++at) {
    Bytes damaged = stream;
    damaged[at] ^= std::byte{0x20};
    ReplyChecker checker(ring, 0);
    EXPECT_EQ(feed_all(checker, damaged), -1) << at;
  }
}

TEST(ReplyChecker, NoticesLostDoubledAndSwappedMessages) {
  const MessageRing ring = perf::make_echo_ring(Scheme::ws, 125, 16);
  const Bytes lost = echoes(ring, 1, 1);
  Bytes doubled = echoes(ring, 0, 1);
  const Bytes again = echoes(ring, 0, 1);
  doubled.insert(doubled.end(), again.begin(), again.end());
  Bytes swapped = echoes(ring, 1, 1);
  swapped.insert(swapped.end(), again.begin(), again.end());
  for (const Bytes& stream : {lost, doubled, swapped}) {
    ReplyChecker checker(ring, 0);
    EXPECT_EQ(feed_all(checker, stream), -1);
  }
}

TEST(ReplyChecker, FindsPingsBetweenMessagesByteByByteToo) {
  const MessageRing ring = perf::make_echo_ring(Scheme::ws, 125, 2);
  const Bytes ping{std::byte{0x89}, std::byte{2}, std::byte{'h'}, std::byte{'i'}};
  Bytes stream = ping;
  for (std::size_t i = 0; i < 3; ++i) {
    const Bytes echo = echoes(ring, i, 1);
    stream.insert(stream.end(), echo.begin(), echo.end());
    stream.insert(stream.end(), ping.begin(), ping.end());
    stream.insert(stream.end(), ping.begin(), ping.end());
  }
  for (const std::size_t piece : {std::size_t{1}, stream.size()}) {
    ReplyChecker checker(ring, 0);
    long messages = 0;
    std::size_t pings = 0;
    for (std::size_t at = 0; at < stream.size(); at += piece) {
      messages += feed_all(checker, std::span{stream}.subspan(at, piece), &pings);
    }
    EXPECT_EQ(messages, 3);
    EXPECT_EQ(pings, 7U);
    EXPECT_EQ(checker.control_payload().size(), 2U);
  }
}

}  // namespace
}  // namespace corelane
