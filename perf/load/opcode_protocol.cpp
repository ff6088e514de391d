#include "perf/load/opcode_protocol.hpp"

#include <array>
#include <string>
#include <string_view>

#include "perf/load/opcode_units.hpp"
#include "perf/load/websocket_units.hpp"
#include "protocol/message.hpp"
#include "protocol/verify.hpp"

namespace corelane::perf {
namespace {

using Kind = Unit::Kind;
using Bytes = std::span<const std::byte>;

Unit refused(std::string_view why) noexcept {
  return {.kind = Kind::refused, .consumed = 0, .payload = std::as_bytes(std::span{why})};
}

class OpcodeProtocol final : public FanoutProtocol {
 public:
  OpcodeProtocol(bool is_websocket, std::string_view channel)
      : is_websocket_(is_websocket), channel_(channel) {}

  void greet(std::vector<std::byte>& to, Role role) const override {
    if (role == Role::publisher) return;
    const std::array<std::string_view, 1> channels{channel_};
    append(to, protocol::SubscribeBody{.channels = channels});
  }
  bool is_confirmed_in_stream(Role role) const override { return role == Role::subscriber; }
  void publish(std::vector<std::byte>& to, Bytes payload) const override {
    append(to, protocol::PublishBody{.channel = channel_, .data = payload});
  }
  void answer_ping(std::vector<std::byte>& to, Bytes payload) const override {
    append_client_frame(to, ws::Opcode::pong, payload);
  }
  Unit parse(Bytes bytes, State& state) const override {
    const OpcodeUnit found = parse_opcode_unit(is_websocket_, bytes, state);
    if (found.unit.kind != Kind::delivery) return found.unit;
    Unit unit = parse_message(found.message);
    unit.consumed = found.unit.consumed;
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

  Unit parse_message(const protocol::MessageView& message) const {
    switch (message.opcode) {
      case protocol::Opcode::Event: {
        const auto event =
            protocol::verify_payload<protocol::fbs::ChannelEvent>(message.payload, scratch_);
        if (!event || protocol::text_of(event->channel()) != channel_) return {.kind = Kind::wrong};
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
  std::string channel_;
  mutable std::vector<std::byte> frame_;      // to be masked
  mutable protocol::AlignedScratch scratch_;  // of payloads, until the next one
};

}  // namespace

std::unique_ptr<FanoutProtocol> make_opcode_protocol(bool is_websocket, std::string_view channel) {
  return std::make_unique<OpcodeProtocol>(is_websocket, channel);
}

}  // namespace corelane::perf
