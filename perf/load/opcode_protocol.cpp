#include "perf/load/opcode_protocol.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include "perf/load/websocket_units.hpp"
#include "protocol/frame.hpp"
#include "protocol/message.hpp"
#include "protocol/verify.hpp"

namespace perf {
namespace {

using Kind = Unit::Kind;
using Bytes = std::span<const std::byte>;

constexpr std::size_t kFrameBytesMax = std::size_t{64} << 20;  // beyond any server's limit

Unit refused(std::string_view why) noexcept {
  return {.kind = Kind::refused, .consumed = 0, .payload = std::as_bytes(std::span{why})};
}

// State, over WebSocket: bytes left of the message that the stream is in.
class OpcodeProtocol final : public FanoutProtocol {
 public:
  explicit OpcodeProtocol(bool is_websocket) noexcept : is_websocket_(is_websocket) {}

  void greet(std::vector<std::byte>& to, Role role) const override {
    if (role == Role::publisher) return;
    const std::array channels{kChannel};
    append(to, protocol::SubscribeBody{.channels = channels});
  }
  bool is_confirmed_in_stream(Role role) const override { return role == Role::subscriber; }
  void publish(std::vector<std::byte>& to, Bytes payload) const override {
    append(to, protocol::PublishBody{.channel = kChannel, .data = payload});
  }
  void answer_ping(std::vector<std::byte>& to, Bytes payload) const override {
    append_client_frame(to, ws::Opcode::pong, payload);
  }
  Unit parse(Bytes bytes, State& state) const override {
    if (!is_websocket_) return parse_frame(bytes);
    if (state == 0) return parse_header(bytes, state);
    const Bytes rest = bytes.first(std::min<std::size_t>(bytes.size(), state));
    const Unit unit = parse_frame(rest);
    // A frame that goes on behind the end of its message never comes.
    if (unit.kind == Kind::need_more && rest.size() == state) return {.kind = Kind::wrong};
    state -= unit.consumed;
    return unit;
  }
  bool may_be_delivery(std::byte first, State state) const override {
    return !is_websocket_ || state != 0 || !begins_control(first);
  }

 private:
  template <class Body>
  void append(std::vector<std::byte>& to, const Body& body) const {
    if (!is_websocket_) {
      protocol::append_frame(to, {}, body);
      return;
    }
    frame_.clear();
    protocol::append_frame(frame_, {}, body);
    append_client_frame(to, ws::Opcode::binary, frame_);
  }

  static Unit parse_header(Bytes bytes, State& state) {
    ws::FrameHeader header;
    Unit unit = parse_server_frame(bytes, header);
    if (unit.kind != Kind::delivery) return unit;
    state = header.payload_bytes;
    return {.kind = Kind::skipped, .consumed = header.header_bytes};
  }

  Unit parse_frame(Bytes bytes) const {
    const protocol::Frame frame = protocol::next_frame(bytes, kFrameBytesMax);
    if (frame.status == protocol::FrameStatus::need_more) return {};
    if (frame.status != protocol::FrameStatus::complete) return {.kind = Kind::wrong};
    const protocol::VerifiedMessage message = protocol::verify_message(frame.message);
    Unit unit{.kind = Kind::wrong};
    if (message.ok) unit = parse_message(message.view);
    unit.consumed = frame.consumed;
    return unit;
  }

  Unit parse_message(const protocol::MessageView& message) const {
    switch (message.opcode) {
      case protocol::Opcode::Event: {
        const auto event =
            protocol::verify_payload<protocol::fbs::ChannelEvent>(message.payload, scratch_);
        if (!event || protocol::text_of(event->channel()) != kChannel) return {.kind = Kind::wrong};
        return {
            .kind = Kind::delivery, .consumed = 0, .payload = protocol::bytes_of(event->data())};
      }
      case protocol::Opcode::SubscribeReply: {
        const auto reply =
            protocol::verify_payload<protocol::fbs::SubscribeReply>(message.payload, scratch_);
        if (!reply || reply->results()->size() != 1) return {.kind = Kind::wrong};
        const auto code = reply->results()->Get(0)->code();
        if (code != protocol::ErrorCode::none) return refused(protocol::error_code_name(code));
        return {.kind = Kind::confirmed};
      }
      case protocol::Opcode::Error: {
        const auto error =
            protocol::verify_payload<protocol::fbs::ErrorReply>(message.payload, scratch_);
        return error ? refused(protocol::error_code_name(error->code()))
                     : Unit{.kind = Kind::wrong};
      }
      default:
        return {.kind = Kind::skipped};
    }
  }

  bool is_websocket_;
  mutable std::vector<std::byte> frame_;      // to be masked
  mutable protocol::AlignedScratch scratch_;  // of payloads, until the next one
};

}  // namespace

std::unique_ptr<FanoutProtocol> make_opcode_protocol(bool is_websocket) {
  return std::make_unique<OpcodeProtocol>(is_websocket);
}

}  // namespace perf
