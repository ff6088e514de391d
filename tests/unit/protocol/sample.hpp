#pragma once
// Helpers of the protocol tests: bytes from text, one frame of each body, and a way to see a
// frame's parts.

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/frame.hpp"
#include "protocol/message.hpp"
#include "protocol/verify.hpp"

namespace corelane::sample {

inline protocol::Bytes bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}
inline std::string text(protocol::Bytes data) {
  return std::string(reinterpret_cast<const char*>(data.data()), data.size());
}

// 00, 01, … with the first byte replaced, so that two of them differ.
inline protocol::Uuid uuid(std::uint8_t first) {
  protocol::Uuid result{};
  for (std::size_t i = 0; i < 16; ++i) result.data[i] = static_cast<std::uint8_t>(i);
  result.data[0] = first;
  return result;
}

inline const protocol::MessageHeader kFullHeader{.transaction_id = uuid(0xa1),
                                                 .timestamp = 1'700'000'000'123'456'789,
                                                 .trace_id = uuid(0xb2),
                                                 .span_id = 0x1122334455667788};

template <class Body>
std::vector<std::byte> frame(const protocol::MessageHeader& header, const Body& body) {
  std::vector<std::byte> out;
  EXPECT_NE(protocol::append_frame(out, header, body), 0u);
  return out;
}

// The Message in a frame that has to be well formed. The view lives as long as the frame.
inline protocol::MessageView open(std::vector<std::byte>&& frame) = delete;
inline protocol::MessageView open(protocol::Bytes frame) {
  const protocol::Frame parsed = protocol::next_frame(frame, protocol::kBufferBytesMax);
  EXPECT_EQ(parsed.status, protocol::FrameStatus::complete);
  EXPECT_EQ(parsed.consumed, frame.size());
  const protocol::VerifiedMessage message = protocol::verify_message(parsed.message);
  EXPECT_TRUE(message.ok);
  return message.view;
}

// Calls visit(header, body) for a frame of every body, with fields empty, small and large.
template <class Visit>
void for_each_body(const Visit& visit) {
  using namespace protocol;
  static const std::string long_text(3000, 'x');
  static const std::array<std::string_view, 3> channels{"news", "", "a.b.c"};
  static const std::array results{fbs::ChannelResult(7, 42, ErrorCode::none, 0, 0),
                                  fbs::ChannelResult(0, 0, ErrorCode::channel_name_invalid, 0, 0)};
  static const std::array<MessageHeader, 4> headers{
      MessageHeader{}, kFullHeader, MessageHeader{.transaction_id = uuid(1), .timestamp = 5},
      MessageHeader{.timestamp = 9, .trace_id = uuid(2)}};
  for (const MessageHeader& header : headers) {
    visit(header, WhoAmIBody{});
    visit(header, WhoAmIReplyBody{.session = uuid(3),
                                  .core = 1,
                                  .transport = Transport::websocket,
                                  .remote_address = "127.0.0.1:50312",
                                  .node = "node-1",
                                  .server_version = "0.1.0",
                                  .frame_bytes_max = 1 << 20,
                                  .subscriptions_max = 1000});
    visit(header, SubscribeBody{.channels = channels});
    visit(header, SubscribeBody{.channels = {}});
    visit(header, UnsubscribeBody{.channels = channels});
    visit(header, SubscribeReplyBody{.results = results});
    visit(header, UnsubscribeReplyBody{.results = results});
    visit(header,
          AckBody{.epoch = 1, .offset = ~0ull, .delivered = 200, .level = AckLevel::stored});
    visit(header, ErrorBody{.code = ErrorCode::overloaded,
                            .text = "queue full",
                            .failed_opcode = Opcode{60000},
                            .retry_after_ms = 250});
    for (const std::string_view data :
         {std::string_view{}, std::string_view{"hello"}, std::string_view{long_text}}) {
      visit(header, PingBody{.data = bytes(data)});
      visit(header, PongBody{.data = bytes(data), .server_time = 11});
      visit(header, PublishBody{.channel = "news", .data = bytes(data), .requires_ack = true});
      visit(header, SendBody{.session = uuid(4), .data = bytes(data), .requires_ack = true});
      visit(header, BroadcastBody{.data = bytes(data), .requires_ack = true, .include_self = true});
      visit(header, EventBody{.channel = "news", .epoch = 3, .offset = 4, .data = bytes(data)});
      visit(
          header,
          EventBody{
              .channel = data, .epoch = 3, .offset = 4, .data = bytes(data), .publisher = uuid(5)});
      visit(header, DirectMessageBody{.from = uuid(6), .data = bytes(data)});
      visit(header, BroadcastMessageBody{.from = uuid(7), .data = bytes(data)});
      visit(header, RawBody{.kOpcode = Opcode{65535}, .payload = bytes(data)});
    }
  }
}

}  // namespace corelane::sample
