#include "ws/frame.hpp"

#include <algorithm>

#include "runtime/assert.hpp"
#include "ws/utf8.hpp"

namespace corelane::ws {
namespace {

std::uint16_t load_big_endian_16(const std::byte* from) noexcept {
  std::uint16_t value;
  std::memcpy(&value, from, sizeof value);
  return __builtin_bswap16(value);
}

std::uint64_t load_big_endian_64(const std::byte* from) noexcept {
  std::uint64_t value;
  std::memcpy(&value, from, sizeof value);
  return __builtin_bswap64(value);
}

void store_big_endian_16(std::byte* to, std::uint16_t value) noexcept {
  value = __builtin_bswap16(value);
  std::memcpy(to, &value, sizeof value);
}

void store_big_endian_64(std::byte* to, std::uint64_t value) noexcept {
  value = __builtin_bswap64(value);
  std::memcpy(to, &value, sizeof value);
}

std::size_t write_header(std::byte* to, FrameStart start, std::uint64_t payload_bytes,
                         unsigned mask_bit) noexcept {
  RT_DEBUG_ASSERT(payload_bytes >> 63 == 0);
  RT_DEBUG_ASSERT(!is_control(start.opcode) || payload_bytes <= kControlPayloadBytesMax);
  RT_DEBUG_ASSERT(!is_control(start.opcode) || start.is_final);
  to[0] = static_cast<std::byte>((start.is_final ? 0x80U : 0U) | (start.rsv1 ? 0x40U : 0U) |
                                 static_cast<unsigned>(start.opcode));
  if (payload_bytes <= kControlPayloadBytesMax) {
    to[1] = static_cast<std::byte>(mask_bit | payload_bytes);
    return 2;
  }
  if (payload_bytes <= 0xFFFF) {
    to[1] = static_cast<std::byte>(mask_bit | 126U);
    store_big_endian_16(to + 2, static_cast<std::uint16_t>(payload_bytes));
    return 4;
  }
  to[1] = static_cast<std::byte>(mask_bit | 127U);
  store_big_endian_64(to + 2, payload_bytes);
  return 10;
}

}  // namespace

HeaderStatus detail::parse_long_header(std::span<const std::byte> bytes,
                                       FrameHeader& header) noexcept {
  const bool is_masked = (bytes[1] & std::byte{0x80}) != std::byte{0};
  const std::size_t length_bytes = header.payload_bytes == 126 ? 2 : 8;
  if (length_bytes == 8 && bytes.size() > 2 && (bytes[2] & std::byte{0x80}) != std::byte{0}) {
    return HeaderStatus::error;
  }
  if (bytes.size() < 2 + length_bytes) return HeaderStatus::need_more;
  header.payload_bytes = length_bytes == 2 ? load_big_endian_16(bytes.data() + 2)
                                           : load_big_endian_64(bytes.data() + 2);
  const std::uint64_t shortest_form_above = length_bytes == 2 ? 125 : 0xFFFF;
  if (header.payload_bytes <= shortest_form_above) return HeaderStatus::error;
  const std::size_t key_at = 2 + length_bytes;
  header.mask_key = MaskKey{};
  header.header_bytes = static_cast<std::uint8_t>(key_at + (is_masked ? 4 : 0));
  if (bytes.size() < header.header_bytes) return HeaderStatus::need_more;
  if (is_masked) std::memcpy(header.mask_key.data(), bytes.data() + key_at, 4);
  return HeaderStatus::complete;
}

[[gnu::cold]] Breach header_breach(std::span<const std::byte> bytes, FrameRules rules) noexcept {
  const unsigned first = std::to_integer<unsigned>(bytes[0]);
  const unsigned second = std::to_integer<unsigned>(bytes[1]);
  if (detail::opening_is_valid(first, second, rules)) {
    const bool is_eight_bytes = (second & 0x7F) == 127;
    const bool has_top_bit = (bytes[2] & std::byte{0x80}) != std::byte{0};
    return is_eight_bytes && has_top_bit ? Breach::impossible_length : Breach::long_length_form;
  }
  const unsigned opcode = first & 0x0F;
  const bool is_control_frame = opcode >= 8;
  if ((opcode & 7) > 2) return Breach::unknown_opcode;
  const bool may_be_compressed = rules.rsv1_negotiated && (opcode == 1 || opcode == 2);
  if ((first & (may_be_compressed ? 0x30 : 0x70)) != 0) return Breach::reserved_bits;
  const bool is_masked = second >> 7 != 0;
  if (is_masked != (rules.receiver == Role::server)) {
    return is_masked ? Breach::masked : Breach::unmasked;
  }
  if (is_control_frame) {
    return (first & 0x80) == 0 ? Breach::fragmented_control : Breach::large_control;
  }
  return opcode == 0 ? Breach::nothing_to_continue : Breach::unfinished_before;
}

std::size_t write_server_header(std::byte* to, FrameStart start,
                                std::uint64_t payload_bytes) noexcept {
  return write_header(to, start, payload_bytes, 0);
}

std::size_t write_client_header(std::byte* to, FrameStart start, std::uint64_t payload_bytes,
                                MaskKey key) noexcept {
  const std::size_t key_at = write_header(to, start, payload_bytes, 0x80);
  std::memcpy(to + key_at, key.data(), key.size());
  return key_at + key.size();
}

std::size_t write_close_payload(std::span<std::byte, kControlPayloadBytesMax> to, CloseCode code,
                                std::string_view reason) noexcept {
  if (code == CloseCode::no_status) return 0;
  RT_ASSERT(may_travel(code));
  store_big_endian_16(to.data(), static_cast<std::uint16_t>(code));
  std::size_t size = std::min(reason.size(), to.size() - 2);
  if (size < reason.size()) {
    const auto is_continuation = [](char byte) { return (byte & 0xC0) == 0x80; };
    while (size > 0 && is_continuation(reason[size])) --size;
  }
  if (size > 0) std::memcpy(to.data() + 2, reason.data(), size);
  return 2 + size;
}

ClosePayload parse_close_payload(std::span<const std::byte> payload) noexcept {
  if (payload.empty()) return {};
  if (payload.size() == 1) return {.fault = Breach::close_of_one_byte};
  const auto code = load_big_endian_16(payload.data());
  if (!may_travel(code)) return {.fault = Breach::close_code};
  const std::span<const std::byte> reason = payload.subspan(2);
  if (!is_valid_utf8(reason)) return {.fault = Breach::close_reason};
  return {.code = static_cast<CloseCode>(code),
          .reason = {reinterpret_cast<const char*>(reason.data()), reason.size()}};
}

}  // namespace corelane::ws
