#pragma once
// Loads and stores of little-endian numbers at any address, and rounding. A frame lies in a receive
// buffer at whatever address the bytes before it left, so that wire bytes are never read through a
// cast pointer.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "protocol/assert.hpp"

namespace corelane::protocol {

static_assert(std::endian::native == std::endian::little,
              "loads and stores copy bytes as they are; a big-endian host needs swaps here");

template <class T>
T load(const std::byte* from) noexcept {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

template <class T>
void store(std::byte* to, T value) noexcept {
  std::memcpy(to, &value, sizeof value);
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
