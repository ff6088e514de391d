#pragma once
// Loads and stores of little-endian numbers at any address, and rounding. A frame lies in a receive
// buffer at whatever address the bytes before it left, so that wire bytes are never read through a
// cast pointer.

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "protocol/assert.hpp"

namespace corelane::protocol {

static_assert(std::endian::native == std::endian::little,
              "loads and stores copy bytes as they are; a big-endian host needs swaps here");

template <class T>
constexpr T load(const std::byte* from) noexcept {
  if (std::is_constant_evaluated()) {
    std::array<std::byte, sizeof(T)> bytes{};
    for (std::size_t i = 0; i < sizeof(T); ++i) bytes[i] = from[i];
    return std::bit_cast<T>(bytes);
  }
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

template <class T>
constexpr void store(std::byte* to, T value) noexcept {
  if (std::is_constant_evaluated()) {
    const auto bytes = std::bit_cast<std::array<std::byte, sizeof(T)>>(value);
    for (std::size_t i = 0; i < sizeof(T); ++i) to[i] = bytes[i];
  } else {
    std::memcpy(to, &value, sizeof value);
  }
}

// alignment is a power of two.
constexpr std::size_t align_up(std::size_t value, std::size_t alignment) noexcept {
  PROTOCOL_DEBUG_ASSERT(std::has_single_bit(alignment));
  return (value + alignment - 1) & ~(alignment - 1);
}

inline bool is_aligned(const void* pointer, std::size_t alignment) noexcept {
  return (reinterpret_cast<std::uintptr_t>(pointer) & (alignment - 1)) == 0;
}

}  // namespace corelane::protocol
