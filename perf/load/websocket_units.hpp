#pragma once
// WebSocket frames as units of a fan-out stream, and frames of a client. Pure functions.

#include <array>
#include <cstddef>
#include <span>
#include <vector>

#include "perf/load/fanout_protocol.hpp"
#include "ws/frame.hpp"

namespace corelane::perf {

constexpr bool begins_control(std::byte first) noexcept {
  return ws::is_control(static_cast<ws::Opcode>(first & std::byte{0x0F}));
}

// The frame at the front: control frames as whole units; a data frame as `delivery` as soon as its
// header is there, and the caller takes it from `header`. A message of several frames is wrong.
inline Unit parse_server_frame(std::span<const std::byte> bytes, ws::FrameHeader& header) noexcept {
  using Kind = Unit::Kind;
  const auto status = ws::parse_frame_header(bytes, {.receiver = ws::Role::client}, header);
  if (status == ws::HeaderStatus::need_more) return {};
  if (status == ws::HeaderStatus::error || !header.is_final) return {.kind = Kind::wrong};
  if (!ws::is_control(header.opcode)) return {.kind = Kind::delivery};
  Unit unit{.consumed = header.header_bytes + static_cast<std::size_t>(header.payload_bytes)};
  if (bytes.size() < unit.consumed) return {};
  unit.payload = bytes.first(unit.consumed).subspan(header.header_bytes);
  unit.kind = header.opcode == ws::Opcode::ping    ? Kind::ping
              : header.opcode == ws::Opcode::close ? Kind::refused
                                                   : Kind::skipped;
  if (unit.kind == Kind::refused) {
    // The code travels as two bytes; a reason for people may follow.
    unit.payload = unit.payload.size() > 2 ? unit.payload.subspan(2) : std::span<const std::byte>{};
  }
  return unit;
}

inline void append_client_frame(std::vector<std::byte>& to, ws::Opcode opcode,
                                std::span<const std::byte> payload) {
  constexpr ws::MaskKey kMaskKey{std::byte{0x5a}, std::byte{0xc3}, std::byte{0x1f},
                                 std::byte{0x86}};
  const std::size_t at = to.size();
  to.resize(at + ws::client_header_bytes(payload.size()) + payload.size());
  const std::size_t header =
      ws::write_client_header(to.data() + at, {.opcode = opcode}, payload.size(), kMaskKey);
  ws::copy_masked(payload, to.data() + at + header, kMaskKey);
}

}  // namespace corelane::perf
