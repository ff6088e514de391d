#pragma once
// The stream of our own protocol, over TCP or in binary WebSocket messages, unit by unit: frames
// with their verified envelopes, and WebSocket's control frames between them. Pure functions.

#include <cstddef>
#include <cstdint>
#include <span>

#include "perf/load/fanout_protocol.hpp"
#include "protocol/verify.hpp"

namespace corelane::perf {

// `unit.kind` is `delivery` for a message, which is then `message`; never `confirmed`.
struct OpcodeUnit {
  Unit unit;
  protocol::MessageView message{};  // lies in what was parsed
};

// `state`, over WebSocket: bytes left of the message that the stream is in.
OpcodeUnit parse_opcode_unit(bool is_websocket, std::span<const std::byte> bytes,
                             FanoutProtocol::State& state);

}  // namespace corelane::perf
