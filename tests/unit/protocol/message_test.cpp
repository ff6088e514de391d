// Goal: frames laid out by hand are FlatBuffers that anybody can read, and say what they were
// given. Method: FlatBuffers' own verifier with alignment checks over every body and header;
// contents field by field through the generated accessors; the event template byte by byte against
// the general writer; buffers filled with a pattern, so that a byte that was not written shows.
#include "protocol/message.hpp"

#include <gtest/gtest.h>

#include "tests/support/bodies.hpp"
#include "tests/unit/protocol/sample.hpp"

namespace corelane {
namespace {

using namespace protocol;

TEST(WriteFrame, EveryFrameSatisfiesTheFlatBuffersVerifierWithAlignment) {
  int count = 0;
  sample::for_each_body([&count](const MessageHeader& header, const auto& body) {
    const auto frame = sample::frame(header, body);
    flatbuffers::Verifier verifier(reinterpret_cast<const std::uint8_t*>(frame.data()),
                                   frame.size());
    ASSERT_TRUE(fbs::VerifySizePrefixedMessageBuffer(verifier)) << opcode_name(body.kOpcode);
    const auto* message = fbs::GetSizePrefixedMessage(frame.data());
    EXPECT_EQ(message->opcode(), body.kOpcode);
    EXPECT_EQ(message->timestamp(), header.timestamp);
    EXPECT_EQ(message->span_id(), header.span_id);
    EXPECT_EQ(from_fbs(message->transaction_id()), header.transaction_id);
    EXPECT_EQ(from_fbs(message->trace_id()), header.trace_id);
    EXPECT_EQ((reinterpret_cast<const std::byte*>(message->payload()->data()) - frame.data()) % 8,
              0)
        << "a payload is as well aligned as its frame";
    ++count;
  });
  EXPECT_GT(count, 100);
}

TEST(WriteFrame, NeverLeavesAByteUnwritten) {
  sample::for_each_body([](const MessageHeader& header, const auto& body) {
    std::vector<std::byte> first(frame_bytes(header, body), std::byte{0xa5});
    std::vector<std::byte> second(frame_bytes(header, body), std::byte{0x5a});
    ASSERT_EQ(write_frame(std::span(first), header, body), first.size());
    ASSERT_EQ(write_frame(std::span(second), header, body), second.size());
    ASSERT_EQ(first, second) << opcode_name(body.kOpcode);
    EXPECT_EQ(first.size() % 8, 0u);
  });
}

TEST(WriteFrame, FitsExactlyAndWritesNothingOneByteShort) {
  sample::for_each_body([](const MessageHeader& header, const auto& body) {
    std::vector<std::byte> out(frame_bytes(header, body) - 1, std::byte{0xa5});
    const auto before = out;
    EXPECT_EQ(write_frame(std::span(out), header, body), 0u);
    EXPECT_EQ(out, before);
  });
}

TEST(WriteFrame, EnvelopeReadsBackAsItWasGiven) {
  const auto frame = sample::frame(
      sample::kFullHeader, RawBody{.kOpcode = Opcode{40000}, .payload = sample::bytes("payload")});
  const MessageView view = sample::open(frame);
  EXPECT_EQ(number(view.opcode), 40000);
  EXPECT_EQ(view.transaction_id, sample::kFullHeader.transaction_id);
  EXPECT_EQ(view.trace_id, sample::kFullHeader.trace_id);
  EXPECT_EQ(view.timestamp, sample::kFullHeader.timestamp);
  EXPECT_EQ(view.span_id, sample::kFullHeader.span_id);
  EXPECT_EQ(sample::text(view.payload), "payload");
}

TEST(WriteFrame, EveryBodyReadsBackAsItWasGiven) {
  sample::for_each_body([]<class Body>(const MessageHeader& header, const Body& body) {
    if constexpr (!std::is_same_v<Body, RawBody>) {
      const auto frame = sample::frame(header, body);
      const MessageView view = sample::open(frame);
      EXPECT_EQ(view.opcode, Body::kOpcode);
      tests::OpenedBody<Body> opened;
      tests::open_body(view.payload, opened);
      EXPECT_TRUE(tests::same_body(opened.body, body)) << opcode_name(Body::kOpcode);
    }
  });
}

TEST(EventTemplate, WritesTheBytesThatTheGeneralWriterWrites) {
  for (std::size_t name_bytes : {0u, 1u, 2u, 3u, 4u, 5u, 254u, 255u}) {
    const std::string channel(name_bytes, 'c');
    for (const bool with_publisher : {false, true}) {
      const EventTemplate events(channel, 77, with_publisher);
      for (std::size_t data_bytes = 0; data_bytes < 40; ++data_bytes) {
        const std::string data(data_bytes, 'd');
        const EventStamp stamp{.timestamp = 123, .offset = 456, .publisher = sample::uuid(9)};
        const EventBody body{.channel = channel,
                             .epoch = 77,
                             .offset = 456,
                             .data = sample::bytes(data),
                             .publisher = with_publisher ? stamp.publisher : kNilUuid};
        std::vector<std::byte> out(events.frame_bytes(data_bytes), std::byte{0xa5});
        ASSERT_EQ(events.write(out, stamp, sample::bytes(data)), out.size());
        ASSERT_EQ(out, sample::frame({.timestamp = 123}, body)) << name_bytes << ' ' << data_bytes;
      }
    }
  }
}

// With debug assertions before a byte is written; without them once the frame is laid.
TEST(LayFrameDeathTest, AWrongLengthEndsTheProcess) {
#ifdef NDEBUG
  const char* const why = "message.cpp:[0-9]+: assertion failed: laid == out.size\\(\\)";
#else
  const char* const why = "message.cpp:[0-9]+: assertion failed: out.size\\(\\) == frame_bytes";
#endif
  const std::string data(100, 'd');
  const PongBody body{.data = sample::bytes(data), .server_time = 1};
  const std::size_t right = frame_bytes({}, body);
  for (const std::size_t wrong : {std::size_t{8}, right - 8, right + 8}) {
    std::vector<std::byte> memory(right + 64);
    EXPECT_DEATH(lay_frame(std::span(memory).first(wrong), {}, body), why);
  }
}

TEST(EventTemplate, WritesNothingOneByteShort) {
  const EventTemplate events("news", 1, true);
  std::vector<std::byte> out(events.frame_bytes(64) - 1, std::byte{0xa5});
  const auto before = out;
  EXPECT_EQ(events.write(out, {}, sample::bytes(std::string(64, 'd'))), 0u);
  EXPECT_EQ(out, before);
}

}  // namespace
}  // namespace corelane
