#pragma once
// Masking and unmasking of frame payloads (RFC 6455 section 5.3): byte i of a payload is XORed with
// byte i mod 4 of the key, so both directions are the same function. Pure code, any core, no
// allocation. Messages of at most kInlineMaskBytesMax bytes are handled inline; longer ones go
// through one indirect call to the kernel that fits the processor.

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "ws/cpu_path.hpp"

namespace corelane::ws {

using MaskKey = std::array<std::byte, 4>;  // in the order of the wire

inline constexpr std::size_t kInlineMaskBytesMax = 32;

// Writes `size` masked bytes of `from` to `to`, which may overlap it only from below: from their
// first byte to their last, no store reaches what is still to be loaded. `key` is the key in memory
// order, already turned to the first byte. Needs size >= 32.
using MaskKernel = void (*)(const std::byte* from, std::byte* to, std::size_t size,
                            std::uint32_t key) noexcept;

// The kernel of one path, for tests and benchmarks; null if this processor lacks it.
MaskKernel mask_kernel(CpuPath path) noexcept;

namespace detail {

void mask_long(const std::byte* from, std::byte* to, std::size_t size, std::uint32_t key) noexcept;

inline std::uint32_t turn_key(std::uint32_t key, std::size_t offset) noexcept {
  return std::rotr(key, static_cast<int>((offset % 4) * 8));
}

// Masks the first and the last sizeof(Word) bytes. Both are loaded before either is stored: where
// they overlap, both stores carry the same bytes.
template <class Word>
inline void mask_two_ends(const std::byte* from, std::byte* to, std::size_t size,
                          std::uint32_t key) noexcept {
  Word head;
  Word tail;
  const std::size_t tail_at = size - sizeof(Word);
  std::memcpy(&head, from, sizeof(Word));
  std::memcpy(&tail, from + tail_at, sizeof(Word));
  const std::uint32_t tail_key = turn_key(key, tail_at);
  if constexpr (sizeof(Word) == 4) {
    head ^= key;
    tail ^= tail_key;
  } else {
    head ^= static_cast<Word>(key) << 32 | key;
    tail ^= static_cast<Word>(tail_key) << 32 | tail_key;
  }
  std::memcpy(to, &head, sizeof(Word));
  std::memcpy(to + tail_at, &tail, sizeof(Word));
}

inline void mask_short(const std::byte* from, std::byte* to, std::size_t size,
                       std::uint32_t key) noexcept {
  if (size > 16) {
    std::array<std::uint64_t, 4> words;
    const std::size_t tail_at = size - 16;
    std::memcpy(&words[0], from, 16);
    std::memcpy(&words[2], from + tail_at, 16);
    const std::uint32_t tail_key = turn_key(key, tail_at);
    const std::uint64_t head_pattern = std::uint64_t{key} << 32 | key;
    const std::uint64_t tail_pattern = std::uint64_t{tail_key} << 32 | tail_key;
    words[0] ^= head_pattern;
    words[1] ^= head_pattern;
    words[2] ^= tail_pattern;
    words[3] ^= tail_pattern;
    std::memcpy(to, &words[0], 16);
    std::memcpy(to + tail_at, &words[2], 16);
  } else if (size >= 8) {
    mask_two_ends<std::uint64_t>(from, to, size, key);
  } else if (size >= 4) {
    mask_two_ends<std::uint32_t>(from, to, size, key);
  } else {
    for (std::size_t i = 0; i < size; ++i) {
      to[i] = from[i] ^ static_cast<std::byte>(key >> (8 * i));
    }
  }
}

}  // namespace detail

// Masks `bytes` in place. `offset` is the position of the first byte within the frame's payload.
inline void apply_mask(std::span<std::byte> bytes, MaskKey key, std::size_t offset = 0) noexcept {
  const std::uint32_t word = detail::turn_key(std::bit_cast<std::uint32_t>(key), offset);
  if (bytes.size() <= kInlineMaskBytesMax) {
    detail::mask_short(bytes.data(), bytes.data(), bytes.size(), word);
  } else {
    detail::mask_long(bytes.data(), bytes.data(), bytes.size(), word);
  }
}

// The same while copying `from` to `to`, which holds at least from.size() bytes and overlaps it
// from below or not at all: joining a message, or moving it up to the one before it, costs one pass
// instead of two.
inline void copy_masked(std::span<const std::byte> from, std::byte* to, MaskKey key,
                        std::size_t offset = 0) noexcept {
  const std::uint32_t word = detail::turn_key(std::bit_cast<std::uint32_t>(key), offset);
  if (from.size() <= kInlineMaskBytesMax) {
    detail::mask_short(from.data(), to, from.size(), word);
  } else {
    detail::mask_long(from.data(), to, from.size(), word);
  }
}

}  // namespace corelane::ws
