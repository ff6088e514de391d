// Goal: our frames are the published test vectors, byte for byte, and every vector, also those that
// a foreign builder made, says here what it says elsewhere. Method: protocol_vectors.json holds hex
// and content; protocol_vectors.py checks the same file with generated Python code. To add a
// vector, add it to our_frames() and give the line that the test prints to `protocol_vectors.py
// --add`.
#include <gtest/gtest.h>

#include <boost/json/src.hpp>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "protocol/frame.hpp"
#include "protocol/message.hpp"
#include "protocol/verify.hpp"

namespace corelane {
namespace {

using namespace protocol;
namespace json = boost::json;

std::string hex(Bytes bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string result;
  for (const std::byte byte : bytes) {
    result += kDigits[static_cast<unsigned>(byte) >> 4];
    result += kDigits[static_cast<unsigned>(byte) & 15];
  }
  return result;
}

std::vector<std::byte> unhex(std::string_view text) {
  std::vector<std::byte> result;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    result.push_back(
        static_cast<std::byte>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16)));
  }
  return result;
}

json::string decimal(std::uint64_t value) {
  return json::string(std::to_string(value));
}

json::object content(const fbs::WhoAmIRequest*) {
  return {};
}
json::object content(const fbs::WhoAmIReply* t) {
  return {{"session", to_text(from_fbs(t->session()))},
          {"core", t->core()},
          {"transport", fbs::EnumNameTransport(t->transport())},
          {"remote_address", text_of(t->remote_address())},
          {"node", text_of(t->node())},
          {"server_version", text_of(t->server_version())},
          {"frame_bytes_max", t->frame_bytes_max()},
          {"subscriptions_max", t->subscriptions_max()}};
}
json::object content(const fbs::PingRequest* t) {
  return {{"data", hex(bytes_of(t->data()))}};
}
json::object content(const fbs::PongReply* t) {
  return {{"data", hex(bytes_of(t->data()))}, {"server_time", decimal(t->server_time())}};
}
template <class List>
json::object channels_of(const List* t) {
  json::array channels;
  for (const auto* channel : *t->channels()) channels.emplace_back(text_of(channel));
  return {{"channels", channels}};
}
json::object content(const fbs::SubscribeRequest* t) {
  return channels_of(t);
}
json::object content(const fbs::UnsubscribeRequest* t) {
  return channels_of(t);
}
template <class List>
json::object results_of(const List* t) {
  json::array results;
  for (const auto* result : *t->results()) {
    results.push_back(json::object{{"epoch", decimal(result->epoch())},
                                   {"offset", decimal(result->offset())},
                                   {"code", error_code_name(result->code())}});
  }
  return {{"results", results}};
}
json::object content(const fbs::SubscribeReply* t) {
  return results_of(t);
}
json::object content(const fbs::UnsubscribeReply* t) {
  return results_of(t);
}
json::object content(const fbs::PublishRequest* t) {
  return {{"channel", text_of(t->channel())},
          {"data", hex(bytes_of(t->data()))},
          {"requires_ack", t->requires_ack()}};
}
json::object content(const fbs::SendRequest* t) {
  return {{"session", to_text(from_fbs(t->session()))},
          {"data", hex(bytes_of(t->data()))},
          {"requires_ack", t->requires_ack()}};
}
json::object content(const fbs::BroadcastRequest* t) {
  return {{"data", hex(bytes_of(t->data()))},
          {"requires_ack", t->requires_ack()},
          {"include_self", t->include_self()}};
}
json::object content(const fbs::AckReply* t) {
  return {{"epoch", decimal(t->epoch())},
          {"offset", decimal(t->offset())},
          {"delivered", t->delivered()},
          {"level", fbs::EnumNameAckLevel(t->level())}};
}
json::object content(const fbs::ErrorReply* t) {
  return {{"code", error_code_name(t->code())},
          {"text", text_of(t->text())},
          {"failed_opcode", number(t->failed_opcode())},
          {"retry_after_ms", t->retry_after_ms()}};
}
json::object content(const fbs::ChannelEvent* t) {
  return {{"channel", text_of(t->channel())},
          {"epoch", decimal(t->epoch())},
          {"offset", decimal(t->offset())},
          {"data", hex(bytes_of(t->data()))},
          {"publisher", to_text(from_fbs(t->publisher()))}};
}
template <class Delivery>
json::object delivery(const Delivery* t) {
  return {{"from", to_text(from_fbs(t->from()))}, {"data", hex(bytes_of(t->data()))}};
}
json::object content(const fbs::DirectEvent* t) {
  return delivery(t);
}
json::object content(const fbs::BroadcastEvent* t) {
  return delivery(t);
}

template <class T>
json::object content_of(Bytes payload) {
  AlignedScratch scratch;
  const auto verified = verify_payload<T>(payload, scratch);
  EXPECT_TRUE(verified);
  return verified ? content(verified.table) : json::object{};
}

json::object payload_content(Opcode opcode, Bytes payload) {
  switch (opcode) {
    case Opcode::WhoAmI:
      return content_of<fbs::WhoAmIRequest>(payload);
    case Opcode::Ping:
      return content_of<fbs::PingRequest>(payload);
    case Opcode::Pong:
      return content_of<fbs::PongReply>(payload);
    case Opcode::ClientSubscribe:
      return content_of<fbs::SubscribeRequest>(payload);
    case Opcode::ClientUnsubscribe:
      return content_of<fbs::UnsubscribeRequest>(payload);
    case Opcode::Publish:
      return content_of<fbs::PublishRequest>(payload);
    case Opcode::Send:
      return content_of<fbs::SendRequest>(payload);
    case Opcode::Broadcast:
      return content_of<fbs::BroadcastRequest>(payload);
    case Opcode::Ack:
      return content_of<fbs::AckReply>(payload);
    case Opcode::Error:
      return content_of<fbs::ErrorReply>(payload);
    case Opcode::Event:
      return content_of<fbs::ChannelEvent>(payload);
    case Opcode::WhoAmIReply:
      return content_of<fbs::WhoAmIReply>(payload);
    case Opcode::SubscribeReply:
      return content_of<fbs::SubscribeReply>(payload);
    case Opcode::UnsubscribeReply:
      return content_of<fbs::UnsubscribeReply>(payload);
    case Opcode::DirectMessage:
      return content_of<fbs::DirectEvent>(payload);
    case Opcode::BroadcastMessage:
      return content_of<fbs::BroadcastEvent>(payload);
    default:
      return {{"raw", hex(payload)}};
  }
}

Uuid id(std::uint8_t fill) {
  Uuid result{};
  std::fill(std::begin(result.data), std::end(result.data), fill);
  return result;
}

using NamedFrame = std::pair<std::string, std::vector<std::byte>>;

std::vector<NamedFrame> our_frames() {
  static constexpr std::string_view kText = "hello";
  static constexpr std::array<std::string_view, 2> kChannels{"news", "a.b"};
  const Bytes data = std::as_bytes(std::span(kText.data(), kText.size()));
  const MessageHeader header{.transaction_id = id(0x11), .timestamp = 1'700'000'000'000'000'000};
  const MessageHeader traced{.transaction_id = id(0x11),
                             .timestamp = 1'700'000'000'000'000'000,
                             .trace_id = id(0x22),
                             .span_id = 0x0102030405060708};
  const MessageHeader unasked{.timestamp = 1'700'000'000'000'000'000};
  const Uuid session = id(0x33);
  const std::array subscribed{fbs::ChannelResult(7, 42, ErrorCode::none, 0, 0),
                              fbs::ChannelResult(0, 0, ErrorCode::already_subscribed, 0, 0)};
  const std::array unsubscribed{fbs::ChannelResult(7, 43, ErrorCode::none, 0, 0),
                                fbs::ChannelResult(0, 0, ErrorCode::not_subscribed, 0, 0)};
  std::vector<NamedFrame> frames;
  const auto add = [&frames](const char* name, const MessageHeader& h, const auto& body) {
    append_frame(frames.emplace_back(name, std::vector<std::byte>{}).second, h, body);
  };
  add("whoami", header, WhoAmIBody{});
  add("ping", header, PingBody{.data = data});
  add("pong", header, PongBody{.data = data, .server_time = 1'700'000'000'000'000'001});
  add("subscribe", header, SubscribeBody{.channels = kChannels});
  add("unsubscribe", header, UnsubscribeBody{.channels = kChannels});
  add("publish", header, PublishBody{.channel = "news", .data = data, .requires_ack = true});
  add("publish-traced", traced, PublishBody{.channel = "news", .data = data});
  add("send", header, SendBody{.session = session, .data = data, .requires_ack = true});
  add("broadcast", header, BroadcastBody{.data = data, .include_self = true});
  add("ack", header, AckBody{.epoch = 7, .offset = 43, .delivered = 200});
  add("error", header,
      ErrorBody{.code = ErrorCode::unknown_session,
                .text = "no such session",
                .failed_opcode = Opcode::Send});
  add("event", unasked,
      EventBody{.channel = "news", .epoch = 7, .offset = 43, .data = data, .publisher = session});
  add("event-anonymous", unasked,
      EventBody{.channel = "news", .epoch = 7, .offset = 44, .data = data});
  add("whoami-reply", header,
      WhoAmIReplyBody{.session = session,
                      .core = 1,
                      .transport = Transport::websocket,
                      .remote_address = "127.0.0.1:50312",
                      .node = "node-1",
                      .server_version = "0.1.0",
                      .frame_bytes_max = 1 << 20,
                      .subscriptions_max = 1000});
  add("subscribe-reply", header, SubscribeReplyBody{.results = subscribed});
  add("unsubscribe-reply", header, UnsubscribeReplyBody{.results = unsubscribed});
  add("direct-message", unasked, DirectMessageBody{.from = session, .data = data});
  add("broadcast-message", unasked, BroadcastMessageBody{.from = session, .data = data});
  add("custom", header, RawBody{.kOpcode = Opcode{65535}, .payload = data});
  return frames;
}

json::array published_vectors() {
  std::ifstream file(PROTOCOL_VECTORS);
  if (!file) return {};
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  return json::parse(text).as_object().at("vectors").as_array();
}

TEST(ProtocolVectors, OurFramesAreTheVectorsByteForByte) {
  const json::array vectors = published_vectors();
  for (const auto& [name, frame] : our_frames()) {
    std::string published;
    for (const json::value& vector : vectors) {
      if (vector.at("name").as_string() == name) published = vector.at("hex").as_string().c_str();
    }
    EXPECT_EQ(published, hex(frame)) << "protocol_vectors.py --add " << name << ' ' << hex(frame);
  }
}

TEST(ProtocolVectors, EveryVectorSaysHereWhatItSaysInTheFile) {
  const json::array vectors = published_vectors();
  EXPECT_GE(vectors.size(), our_frames().size());
  for (const json::value& vector : vectors) {
    SCOPED_TRACE(vector.at("name").as_string().c_str());
    const auto bytes = unhex(vector.at("hex").as_string());
    const Frame frame = next_frame(bytes, kFrameBytesMaxDefault);
    ASSERT_EQ(frame.status, FrameStatus::complete);
    ASSERT_EQ(frame.consumed, bytes.size());
    const VerifiedMessage message = verify_message(frame.message);
    ASSERT_TRUE(message.ok);
    EXPECT_EQ(vector.at("opcode").to_number<std::uint16_t>(), number(message.view.opcode));
    const json::object envelope{{"transaction_id", to_text(message.view.transaction_id)},
                                {"timestamp", decimal(message.view.timestamp)},
                                {"trace_id", to_text(message.view.trace_id)},
                                {"span_id", decimal(message.view.span_id)}};
    EXPECT_EQ(vector.at("message"), json::value(envelope)) << json::serialize(envelope);
    const json::object payload = payload_content(message.view.opcode, message.view.payload);
    EXPECT_EQ(vector.at("payload"), json::value(payload)) << json::serialize(payload);
  }
}

// Later versions must still read what this one wrote: an opcode that is served has a vector.
TEST(ProtocolVectors, EveryServedOpcodeHasOne) {
  std::vector<bool> seen(65536);
  for (const json::value& vector : published_vectors()) {
    seen[vector.at("opcode").to_number<std::uint16_t>()] = true;
  }
  for (const Opcode opcode : fbs::EnumValuesOpcode()) {
    const bool reserved_for_later =
        opcode == Opcode::None || (number(opcode) >= 9 && number(opcode) <= 18);
    EXPECT_EQ(seen[number(opcode)], !reserved_for_later) << opcode_name(opcode);
  }
}

}  // namespace
}  // namespace corelane
