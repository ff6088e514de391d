// Goal: framing finds exactly the frames that are there, in whatever pieces they come, and refuses
// a size from its first 4 bytes alone. Method: runs of real frames, cut at every position; sizes at
// each limit and one past it.
#include "protocol/frame.hpp"

#include <gtest/gtest.h>

#include "protocol/bytes.hpp"
#include "tests/unit/protocol/sample.hpp"

namespace corelane {
namespace {

using protocol::Frame;
using protocol::FrameStatus;

std::vector<std::byte> with_size(std::uint32_t message_bytes, std::size_t bytes_present) {
  std::vector<std::byte> result(protocol::kFrameSizeBytes + bytes_present);
  protocol::store(result.data(), message_bytes);
  return result;
}

TEST(Frame, FedByteByByteYieldsTheSameMessagesAsAllAtOnce) {
  std::vector<std::byte> run;
  std::vector<std::string> expected;
  for (const char* data : {"one", "two", "", "four"}) {
    const auto frame = sample::frame({}, protocol::PingBody{.data = sample::bytes(data)});
    expected.push_back(sample::text(std::span(frame).subspan(4)));
    run.insert(run.end(), frame.begin(), frame.end());
  }
  std::vector<std::string> found;
  std::vector<std::byte> pending;
  std::size_t needed = protocol::kFrameSizeBytes;
  for (const std::byte byte : run) {
    pending.push_back(byte);
    const Frame frame = protocol::next_frame(pending, 4096);
    if (frame.status == FrameStatus::need_more) {
      ASSERT_GT(frame.needed, pending.size());
      needed = frame.needed;
      continue;
    }
    ASSERT_EQ(frame.status, FrameStatus::complete);
    ASSERT_EQ(frame.consumed, needed) << "the last hint was the frame's length";
    found.push_back(sample::text(frame.message));
    pending.erase(pending.begin(), pending.begin() + static_cast<std::ptrdiff_t>(frame.consumed));
  }
  EXPECT_TRUE(pending.empty());
  EXPECT_EQ(found, expected);
}

TEST(Frame, IsCompleteAtTheLimitAndTooLargeOnePastIt) {
  const auto bytes = with_size(96, 96);
  EXPECT_EQ(protocol::next_frame(bytes, 100).status, FrameStatus::complete);
  EXPECT_EQ(protocol::next_frame(bytes, 99).status, FrameStatus::too_large);
}

TEST(Frame, TooLargeIsKnownFromTheSizeAlone) {
  EXPECT_EQ(protocol::next_frame(with_size(0xffffffff, 0), 1 << 20).status, FrameStatus::too_large);
  EXPECT_EQ(protocol::next_frame(with_size(0x7fffffff, 0), ~std::size_t{0}).status,
            FrameStatus::too_large)
      << "2 GiB is refused whatever limit is configured";
}

TEST(Frame, SmallerThanAnyMessageIsMalformed) {
  EXPECT_EQ(protocol::next_frame(with_size(0, 0), 100).status, FrameStatus::malformed);
  EXPECT_EQ(protocol::next_frame(with_size(11, 11), 100).status, FrameStatus::malformed);
  EXPECT_EQ(protocol::next_frame(with_size(12, 12), 100).status, FrameStatus::complete);
}

TEST(FrameCursor, WalksEveryFrameOfAMessageAndEnds) {
  std::vector<std::byte> message;
  for (int i = 0; i < 3; ++i) protocol::append_frame(message, {}, protocol::WhoAmIBody{});
  protocol::FrameCursor cursor(message, 4096);
  int count = 0;
  while (!cursor.at_end()) {
    ASSERT_EQ(cursor.next().status, FrameStatus::complete);
    ++count;
  }
  EXPECT_EQ(count, 3);
}

TEST(FrameCursor, EveryCutInsideAFrameIsMalformedAndEndsTheWalk) {
  std::vector<std::byte> message;
  const std::size_t first = protocol::append_frame(message, {}, protocol::WhoAmIBody{});
  protocol::append_frame(message, {}, protocol::PingBody{.data = sample::bytes("data")});
  for (std::size_t cut = 0; cut < message.size(); ++cut) {
    protocol::FrameCursor cursor(protocol::Bytes(message).first(cut), 4096);
    std::size_t complete = 0;
    FrameStatus last = FrameStatus::complete;
    while (!cursor.at_end()) {
      last = cursor.next().status;
      if (last == FrameStatus::complete) ++complete;
    }
    EXPECT_EQ(complete, cut >= first ? 1u : 0u) << cut;
    EXPECT_EQ(last, cut == first ? FrameStatus::complete : FrameStatus::malformed) << cut;
  }
}

}  // namespace
}  // namespace corelane
