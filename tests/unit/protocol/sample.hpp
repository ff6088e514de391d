#pragma once
// Helpers of the protocol tests: bytes from text, one frame of each body, and a way to see a
// frame's parts.

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <vector>

#include "protocol/frame.hpp"
#include "protocol/members.hpp"
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

// Fills the members of a body with different values: text and data as given, numbers that use all
// of their bytes.
class Filler {
 public:
  explicit Filler(std::string_view text) : text_(text) {}

  void operator()(std::string_view& member) { member = text_; }
  void operator()(protocol::Bytes& member) { member = bytes(text_); }
  void operator()(protocol::Uuid& member) { member = uuid(next_++); }
  void operator()(std::span<const std::string_view>& member) { member = texts_; }
  void operator()(std::span<const protocol::fbs::ChannelResult>& member) { member = results_; }
  void operator()(std::span<const protocol::fbs::CacheResult>& member) { member = cache_results_; }
  void operator()(std::span<const protocol::fbs::CacheCounts>& member) { member = counts_; }
  void operator()(std::span<const protocol::fbs::QuotaLimit>& member) { member = limits_; }
  void operator()(std::span<const protocol::fbs::QuotaUse>& member) { member = uses_; }
  void operator()(bool& member) { member = true; }
  template <class Number>
    requires(std::is_integral_v<Number> || std::is_enum_v<Number>)
  void operator()(Number& member) {
    member = static_cast<Number>(0xf1f2f3f4f5f6f700 + next_++);
  }

 private:
  std::string_view text_;
  std::uint8_t next_ = 1;
  std::array<std::string_view, 3> texts_{text_, "", "a.b.c"};
  std::array<protocol::fbs::ChannelResult, 2> results_{
      protocol::fbs::ChannelResult(7, 42, protocol::ErrorCode::none, 0, 0),
      protocol::fbs::ChannelResult(0, 0, protocol::ErrorCode::channel_name_invalid, 0, 0)};
  std::array<protocol::fbs::CacheResult, 2> cache_results_{
      protocol::fbs::CacheResult(7, 42, 5, protocol::ErrorCode::none, 1),
      protocol::fbs::CacheResult(0, 0, 0, protocol::ErrorCode::key_missing, 0)};
  std::array<protocol::fbs::CacheCounts, 1> counts_{
      protocol::fbs::CacheCounts(1, 2, 3, 4, 5, 6, 7, 8, 9)};
  std::array<protocol::fbs::QuotaLimit, 2> limits_{
      protocol::fbs::QuotaLimit(100, 1'000'000'000, 200, protocol::Opcode::Publish,
                                protocol::fbs::QuotaMetric::bytes_in,
                                protocol::fbs::QuotaAction::reject, {}, 0, 0),
      protocol::fbs::QuotaLimit(1, 2, 3, {}, {}, {}, protocol::fbs::QuotaClass::light, 0, 0)};
  std::array<protocol::fbs::QuotaUse, 2> uses_{protocol::fbs::QuotaUse(-1, 2, 3, 4),
                                               protocol::fbs::QuotaUse(5, 6, 7, 8)};
};

// Calls visit(header, body) for a frame of every body with each form of the envelope, with fields
// empty, small and large.
template <class Visit>
void for_each_body(const Visit& visit) {
  using namespace protocol;
  static const std::string long_text(3000, 'x');
  static const std::array<MessageHeader, 4> headers{
      MessageHeader{}, kFullHeader, MessageHeader{.transaction_id = uuid(1), .timestamp = 5},
      MessageHeader{.timestamp = 9, .trace_id = uuid(2)}};
  for (const MessageHeader& header : headers) {
    const auto visit_all = [&]<class Body>(std::type_identity<Body>) {
      visit(header, Body{});
      for (const std::string_view text : {std::string_view{"hello"}, std::string_view{long_text}}) {
        Filler filler(text);
        Body body;
        std::apply([&](auto&... member) { (filler(member), ...); }, members(body));
        visit(header, body);
      }
    };
#define VISIT_ALL(Body) visit_all(std::type_identity<Body>{});
    PROTOCOL_BODIES(VISIT_ALL)
#undef VISIT_ALL
    for (const std::string_view text : {std::string_view{}, std::string_view{"hello"}}) {
      visit(header, RawBody{.kOpcode = Opcode{65535}, .payload = bytes(text)});
    }
  }
}

}  // namespace corelane::sample
