#pragma once
// The frame header of RFC 6455 section 5.2, in both roles: bytes to header and header to bytes.
// Stateless and pure; what a parser must know about the connection comes in as FrameRules. Breaches
// are found as soon as the bytes that show them are there: everything in the first two bytes
// before a length or key has arrived. Every breach is a protocol error (close code 1002).

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "ws/breach.hpp"
#include "ws/close_code.hpp"
#include "ws/mask.hpp"

namespace corelane::ws {

inline constexpr std::size_t kServerHeaderBytesMax = 10;  // 2 + 8 of length
inline constexpr std::size_t kClientHeaderBytesMax = 14;  // the same + 4 of key
inline constexpr std::size_t kControlPayloadBytesMax = 125;
inline constexpr std::size_t kControlFrameBytesMax =
    kClientHeaderBytesMax + kControlPayloadBytesMax;

// Which end of the connection we are. A client masks what it sends, a server never does.
enum class Role : std::uint8_t { server, client };

enum class Opcode : std::uint8_t {
  continuation = 0,
  text = 1,
  binary = 2,
  close = 8,
  ping = 9,
  pong = 10,
};

constexpr bool is_control(Opcode opcode) noexcept {
  return (static_cast<std::uint8_t>(opcode) & 8) != 0;
}

struct FrameRules {
  Role receiver = Role::server;
  bool rsv1_negotiated = false;  // permessage-deflate is on: RSV1 marks a compressed message
  bool in_message = false;       // a fragmented message is unfinished
};

struct FrameHeader {
  std::uint64_t payload_bytes = 0;  // below 2^63
  MaskKey mask_key{};               // zeros if the frame is not masked
  Opcode opcode{};
  bool is_final = false;
  bool rsv1 = false;
  std::uint8_t header_bytes = 0;  // 2..14
};

enum class HeaderStatus : std::uint8_t {
  need_more,
  complete,
  error,  // the connection must be failed with CloseCode::protocol_error
};

namespace detail {
HeaderStatus parse_long_header(std::span<const std::byte> bytes, FrameHeader& header) noexcept;

// Checks all rules that depend only on the first two bytes.
inline bool opening_is_valid(unsigned first, unsigned second, FrameRules rules) noexcept {
  constexpr unsigned kKnownOpcodes = 0x0707;  // bits 0, 1, 2, 8, 9, 10
  const unsigned opcode = first & 0x0F;
  if ((kKnownOpcodes >> opcode & 1) == 0) return false;
  if ((first & 0x70) != 0) {
    const bool may_be_compressed = opcode == 1 || opcode == 2;
    if ((first & 0x30) != 0 || !rules.rsv1_negotiated || !may_be_compressed) return false;
  }
  if ((second >> 7 != 0) != (rules.receiver == Role::server)) return false;
  if (opcode >= 8) return (first & 0x80) != 0 && (second & 0x7F) <= kControlPayloadBytesMax;
  return (opcode == 0) == rules.in_message;
}
}  // namespace detail

// Reads the header at the front of `bytes`. On `complete`, header.header_bytes says where the
// payload begins. Lengths must be in their shortest form and below 2^63.
inline HeaderStatus parse_frame_header(std::span<const std::byte> bytes, FrameRules rules,
                                       FrameHeader& header) noexcept {
  if (bytes.size() < 2) return HeaderStatus::need_more;
  const unsigned first = std::to_integer<unsigned>(bytes[0]);
  const unsigned second = std::to_integer<unsigned>(bytes[1]);
  if (!detail::opening_is_valid(first, second, rules)) [[unlikely]]
    return HeaderStatus::error;
  header.opcode = static_cast<Opcode>(first & 0x0F);
  header.is_final = (first & 0x80) != 0;
  header.rsv1 = (first & 0x40) != 0;
  header.payload_bytes = second & 0x7F;
  if (header.payload_bytes > kControlPayloadBytesMax) {
    return detail::parse_long_header(bytes, header);
  }
  if (second >> 7 == 0) {
    header.mask_key = MaskKey{};
    header.header_bytes = 2;
    return HeaderStatus::complete;
  }
  if (bytes.size() < 6) return HeaderStatus::need_more;
  std::memcpy(header.mask_key.data(), bytes.data() + 2, 4);
  header.header_bytes = 6;
  return HeaderStatus::complete;
}

// Which rule the header breaks that parse_frame_header() found an error in.
Breach header_breach(std::span<const std::byte> bytes, FrameRules rules) noexcept;

// A frame to be sent.
struct FrameStart {
  Opcode opcode = Opcode::binary;
  bool is_final = true;
  bool rsv1 = false;
};

constexpr std::size_t server_header_bytes(std::uint64_t payload_bytes) noexcept {
  if (payload_bytes <= kControlPayloadBytesMax) return 2;
  return payload_bytes <= 0xFFFF ? 4 : 10;
}
constexpr std::size_t client_header_bytes(std::uint64_t payload_bytes) noexcept {
  return server_header_bytes(payload_bytes) + 4;
}

// Writes the header of a server's frame to `to`, which holds at least
// server_header_bytes(payload_bytes) bytes. Returns the number written.
std::size_t write_server_header(std::byte* to, FrameStart start,
                                std::uint64_t payload_bytes) noexcept;

// The same for a client's frame; the caller then masks the payload with the same key, which is
// fresh and unpredictable for each frame (RFC 6455 section 10.3).
std::size_t write_client_header(std::byte* to, FrameStart start, std::uint64_t payload_bytes,
                                MaskKey key) noexcept;

// A close frame's payload: the code and as much of the reason, in whole code points, as fits into
// 125 bytes; nothing for CloseCode::no_status. `code` may travel, `reason` is UTF-8. Returns the
// number of bytes.
std::size_t write_close_payload(std::span<std::byte, kControlPayloadBytesMax> to, CloseCode code,
                                std::string_view reason) noexcept;

// The content of a peer's close frame (RFC 6455 section 7.4). `fault` is `none` if it is well
// formed.
struct ClosePayload {
  Breach fault = Breach::none;
  CloseCode code = CloseCode::no_status;
  std::string_view reason = {};  // lies in the payload
};
ClosePayload parse_close_payload(std::span<const std::byte> payload) noexcept;

}  // namespace corelane::ws
