// Goal: frames laid out by hand are FlatBuffers that anybody can read, and say what they were
// given. Method: FlatBuffers' own verifier with alignment checks over every body and header;
// contents field by field through the generated accessors; the event template byte by byte against
// the general writer; buffers filled with a pattern, so that a byte that was not written shows.
#include "protocol/message.hpp"

#include <gtest/gtest.h>

#include "tests/unit/protocol/sample.hpp"

namespace corelane {
namespace {

using namespace protocol;

template <class T>
struct Opened {
  MessageView view;
  AlignedScratch scratch;
  VerifiedPayload<T> payload;
};

template <class T, class Body>
Opened<T> roundtrip(const std::vector<std::byte>& frame, const Body& body) {
  Opened<T> opened;
  opened.view = sample::open(frame);
  EXPECT_EQ(opened.view.opcode, body.kOpcode);
  opened.payload = verify_payload<T>(opened.view.payload, opened.scratch);
  EXPECT_EQ(opened.payload.code, ErrorCode::none);
  return opened;
}

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

TEST(WriteFrame, WhoAmIReplyReadsBack) {
  const WhoAmIReplyBody body{.session = sample::uuid(1),
                             .core = 3,
                             .transport = Transport::tcp,
                             .remote_address = "[::1]:9",
                             .node = "n",
                             .server_version = "0.1.0",
                             .frame_bytes_max = 77,
                             .subscriptions_max = 88};
  const auto frame = sample::frame({}, body);
  const auto opened = roundtrip<fbs::WhoAmIReply>(frame, body);
  EXPECT_EQ(from_fbs(opened.payload->session()), body.session);
  EXPECT_EQ(opened.payload->core(), 3);
  EXPECT_EQ(opened.payload->transport(), Transport::tcp);
  EXPECT_EQ(text_of(opened.payload->remote_address()), "[::1]:9");
  EXPECT_EQ(text_of(opened.payload->node()), "n");
  EXPECT_EQ(text_of(opened.payload->server_version()), "0.1.0");
  EXPECT_EQ(opened.payload->frame_bytes_max(), 77u);
  EXPECT_EQ(opened.payload->subscriptions_max(), 88u);
}

TEST(WriteFrame, PingAndPongReadBack) {
  const PingBody ping{.data = sample::bytes("data")};
  const auto ping_frame = sample::frame({}, ping);
  EXPECT_EQ(sample::text(bytes_of(roundtrip<fbs::PingRequest>(ping_frame, ping).payload->data())),
            "data");
  const PongBody pong{.data = sample::bytes("data"), .server_time = 123456789};
  const auto pong_frame = sample::frame({}, pong);
  const auto opened = roundtrip<fbs::PongReply>(pong_frame, pong);
  EXPECT_EQ(sample::text(bytes_of(opened.payload->data())), "data");
  EXPECT_EQ(opened.payload->server_time(), 123456789u);
}

TEST(WriteFrame, ChannelListsAndTheirResultsReadBackInOrder) {
  const std::array<std::string_view, 3> channels{"news", "", "a.b"};
  const SubscribeBody subscribe{.channels = channels};
  const auto frame = sample::frame({}, subscribe);
  const auto opened = roundtrip<fbs::SubscribeRequest>(frame, subscribe);
  ASSERT_EQ(opened.payload->channels()->size(), 3u);
  for (unsigned i = 0; i < 3; ++i) {
    EXPECT_EQ(opened.payload->channels()->Get(i)->string_view(), channels[i]);
  }
  const std::array results{fbs::ChannelResult(1, 2, ErrorCode::none, 0, 0),
                           fbs::ChannelResult(3, 4, ErrorCode::not_subscribed, 0, 0)};
  const UnsubscribeReplyBody reply{.results = results};
  const auto reply_frame = sample::frame({}, reply);
  const auto reply_opened = roundtrip<fbs::UnsubscribeReply>(reply_frame, reply);
  ASSERT_EQ(reply_opened.payload->results()->size(), 2u);
  const auto* second = reply_opened.payload->results()->Get(1);
  EXPECT_EQ(second->epoch(), 3u);
  EXPECT_EQ(second->offset(), 4u);
  EXPECT_EQ(second->code(), ErrorCode::not_subscribed);
}

TEST(WriteFrame, PublishSendAndBroadcastReadBack) {
  const PublishBody publish{.channel = "news", .data = sample::bytes("d"), .requires_ack = true};
  const auto publish_frame = sample::frame({}, publish);
  const auto published = roundtrip<fbs::PublishRequest>(publish_frame, publish);
  EXPECT_EQ(text_of(published.payload->channel()), "news");
  EXPECT_EQ(sample::text(bytes_of(published.payload->data())), "d");
  EXPECT_TRUE(published.payload->requires_ack());

  const SendBody send{.session = sample::uuid(2), .data = sample::bytes("d")};
  const auto send_frame = sample::frame({}, send);
  const auto sent = roundtrip<fbs::SendRequest>(send_frame, send);
  EXPECT_EQ(from_fbs(sent.payload->session()), sample::uuid(2));
  EXPECT_EQ(sample::text(bytes_of(sent.payload->data())), "d");
  EXPECT_FALSE(sent.payload->requires_ack());

  const BroadcastBody broadcast{.data = sample::bytes("d"), .include_self = true};
  const auto broadcast_frame = sample::frame({}, broadcast);
  const auto cast = roundtrip<fbs::BroadcastRequest>(broadcast_frame, broadcast);
  EXPECT_FALSE(cast.payload->requires_ack());
  EXPECT_TRUE(cast.payload->include_self());
}

TEST(WriteFrame, AckAndErrorReadBack) {
  const AckBody ack{.epoch = 1, .offset = 2, .delivered = 3, .level = AckLevel::stored};
  const auto ack_frame = sample::frame({}, ack);
  const auto acked = roundtrip<fbs::AckReply>(ack_frame, ack);
  EXPECT_EQ(acked.payload->epoch(), 1u);
  EXPECT_EQ(acked.payload->offset(), 2u);
  EXPECT_EQ(acked.payload->delivered(), 3u);
  EXPECT_EQ(acked.payload->level(), AckLevel::stored);

  const ErrorBody error{.code = ErrorCode::draining,
                        .text = "going away",
                        .failed_opcode = Opcode{300},
                        .retry_after_ms = 1500};
  const auto error_frame = sample::frame({}, error);
  const auto failed = roundtrip<fbs::ErrorReply>(error_frame, error);
  EXPECT_EQ(failed.payload->code(), ErrorCode::draining);
  EXPECT_EQ(text_of(failed.payload->text()), "going away");
  EXPECT_EQ(number(failed.payload->failed_opcode()), 300);
  EXPECT_EQ(failed.payload->retry_after_ms(), 1500u);
}

TEST(WriteFrame, DeliveriesReadBack) {
  const EventBody event{.channel = "news",
                        .epoch = 5,
                        .offset = 6,
                        .data = sample::bytes("d"),
                        .publisher = sample::uuid(8)};
  const auto event_frame = sample::frame({}, event);
  const auto got = roundtrip<fbs::ChannelEvent>(event_frame, event);
  EXPECT_EQ(text_of(got.payload->channel()), "news");
  EXPECT_EQ(got.payload->epoch(), 5u);
  EXPECT_EQ(got.payload->offset(), 6u);
  EXPECT_EQ(sample::text(bytes_of(got.payload->data())), "d");
  EXPECT_EQ(from_fbs(got.payload->publisher()), sample::uuid(8));

  const DirectMessageBody direct{.from = sample::uuid(1), .data = sample::bytes("x")};
  const auto direct_frame = sample::frame({}, direct);
  EXPECT_EQ(from_fbs(roundtrip<fbs::DirectEvent>(direct_frame, direct).payload->from()),
            sample::uuid(1));
  const BroadcastMessageBody cast{.from = sample::uuid(2), .data = sample::bytes("yz")};
  const auto cast_frame = sample::frame({}, cast);
  const auto cast_got = roundtrip<fbs::BroadcastEvent>(cast_frame, cast);
  EXPECT_EQ(from_fbs(cast_got.payload->from()), sample::uuid(2));
  EXPECT_EQ(sample::text(bytes_of(cast_got.payload->data())), "yz");
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
