#include "perf/load/opcode_units.hpp"

#include <algorithm>

#include "perf/load/websocket_units.hpp"
#include "protocol/frame.hpp"

namespace corelane::perf {
namespace {

using Kind = Unit::Kind;
using Bytes = std::span<const std::byte>;

constexpr std::size_t kFrameBytesMax = std::size_t{64} << 20;  // beyond any server's limit

OpcodeUnit parse_frame(Bytes bytes) {
  const protocol::Frame frame = protocol::next_frame(bytes, kFrameBytesMax);
  if (frame.status == protocol::FrameStatus::need_more) return {};
  if (frame.status != protocol::FrameStatus::complete) return {.unit = {.kind = Kind::wrong}};
  const protocol::VerifiedMessage message = protocol::verify_message(frame.message);
  return {.unit = {.kind = message.ok ? Kind::delivery : Kind::wrong, .consumed = frame.consumed},
          .message = message.view};
}

Unit parse_header(Bytes bytes, FanoutProtocol::State& state) {
  ws::FrameHeader header;
  const Unit unit = parse_server_frame(bytes, header);
  if (unit.kind != Kind::delivery) return unit;
  state = header.payload_bytes;
  return {.kind = Kind::skipped, .consumed = header.header_bytes};
}

}  // namespace

OpcodeUnit parse_opcode_unit(bool is_websocket, Bytes bytes, FanoutProtocol::State& state) {
  if (!is_websocket) return parse_frame(bytes);
  if (state == 0) return {.unit = parse_header(bytes, state)};
  const Bytes rest = bytes.first(std::min<std::size_t>(bytes.size(), state));
  const OpcodeUnit found = parse_frame(rest);
  // A frame that goes on behind the end of its message never comes.
  if (found.unit.kind == Kind::need_more && rest.size() == state) {
    return {.unit = {.kind = Kind::wrong}};
  }
  state -= found.unit.consumed;
  return found;
}

}  // namespace corelane::perf
