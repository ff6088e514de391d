#pragma once
// UUIDs as the wire has them: 16 bytes in the order of the text form. In memory they are Boost's
// type; this header converts between that, the generated struct and text. Nothing allocates except
// to_text().

#include <array>
#include <boost/uuid/uuid.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/assert.hpp"
#include "protocol/fbs.hpp"

namespace corelane::protocol {

using Uuid = boost::uuids::uuid;
inline constexpr Uuid kNilUuid{};
inline constexpr std::size_t kUuidTextBytes = 36;

static_assert(sizeof(Uuid) == 16 && alignof(Uuid) == 1);
static_assert(sizeof(fbs::UUID) == 16 && alignof(fbs::UUID) == 1, "a UUID is read at any address");

// A field that is absent reads as the nil UUID.
inline Uuid from_fbs(const fbs::UUID* wire) noexcept {
  Uuid result{};
  if (wire != nullptr) std::memcpy(result.data, wire, sizeof result.data);
  return result;
}

inline fbs::UUID to_fbs(const Uuid& uuid) noexcept {
  fbs::UUID result;
  std::memcpy(static_cast<void*>(&result), uuid.data, sizeof uuid.data);
  return result;
}

// Lower case, with dashes after 8, 12, 16 and 20 digits; no terminator.
inline void write_text(const Uuid& uuid, std::array<char, kUuidTextBytes>& text) noexcept {
  constexpr char kDigits[] = "0123456789abcdef";
  std::size_t at = 0;
  for (std::size_t i = 0; i < sizeof uuid.data; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text[at++] = '-';
    text[at++] = kDigits[uuid.data[i] >> 4];
    text[at++] = kDigits[uuid.data[i] & 15];
  }
  PROTOCOL_DEBUG_ASSERT(at == kUuidTextBytes);
}

inline std::string to_text(const Uuid& uuid) {
  std::array<char, kUuidTextBytes> text;
  write_text(uuid, text);
  return std::string(text.data(), text.size());
}

// Takes the 36-character form, in upper or lower case, and nothing else: no braces, no missing
// dashes.
inline std::optional<Uuid> parse_uuid(std::string_view text) noexcept {
  if (text.size() != kUuidTextBytes) return std::nullopt;
  const auto digit = [](char c) -> int {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  Uuid result{};
  std::size_t at = 0;
  for (std::size_t i = 0; i < sizeof result.data; ++i) {
    if ((i == 4 || i == 6 || i == 8 || i == 10) && text[at++] != '-') return std::nullopt;
    const int high = digit(text[at]);
    const int low = digit(text[at + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    result.data[i] = static_cast<std::uint8_t>(high << 4 | low);
    at += 2;
  }
  return result;
}

}  // namespace corelane::protocol
