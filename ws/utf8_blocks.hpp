#pragma once
// What the kernels of ws/utf8.cpp, ws/utf8_x86.cpp and ws/utf8_neon.cpp share: the automaton's
// step, the rules by which whole blocks are judged, and the way from a block back to the automaton.
// Internal to ws/. The loop over blocks stands once for each width: a function with a target
// attribute cannot share a template with one of another target.

#include <array>
#include <cstddef>
#include <cstdint>

#include "ws/utf8.hpp"

namespace corelane::ws::detail {

Utf8State validate_scalar(Utf8State state, const std::byte* bytes, std::size_t size) noexcept;

// Finishes the code point that an earlier chunk began. Returns the number of bytes it took.
std::size_t finish_code_point(Utf8State& state, const std::byte* bytes, std::size_t size) noexcept;

// Whole blocks (J. Keiser, D. Lemire: "Validating UTF-8 in less than one instruction per byte",
// 2021). Every error that two neighbouring bytes can show is one bit; three look-ups by nibble
// (high and low half of the first byte, high half of the second) give the bits that each half
// allows, and what all three allow is an error. "Two continuations in a row" is an error only where
// no third or fourth byte is due, which is computed from the bytes two and three places before.

struct NibbleRule {
  std::uint16_t first_high;   // bit n: the high half of the first byte may be n
  std::uint16_t first_low;    // the same for its low half
  std::uint16_t second_high;  // the same for the high half of the second byte
};

inline constexpr std::uint16_t kAnyNibble = 0xFFFF;
inline constexpr std::uint16_t kContinuation = 0x0F00;  // 8..B
inline constexpr std::uint8_t kTwoContinuations = 0x80;

inline constexpr std::array<NibbleRule, 8> kRules = {{
    {0xF000, kAnyNibble, 0xF0FF},                // a lead without its continuation
    {0x00FF, kAnyNibble, kContinuation},         // a continuation after ASCII
    {1 << 0xC, 0x0003, kContinuation},           // C0, C1: overlong
    {1 << 0xE, 1 << 0x0, 0x0300},                // E0 80..9F: overlong
    {1 << 0xE, 1 << 0xD, 0x0C00},                // ED A0..BF: surrogate
    {1 << 0xF, 0xFFF0, 0x0E00},                  // F4 90 and above
    {1 << 0xF, 0xFFE1, 0x0100},                  // F0 80..8F overlong, F5..FF 80..8F too large
    {kContinuation, kAnyNibble, kContinuation},  // two continuations, kTwoContinuations
}};

constexpr std::array<std::uint8_t, 16> nibble_table(std::uint16_t NibbleRule::* half) {
  std::array<std::uint8_t, 16> table{};
  for (unsigned rule = 0; rule < kRules.size(); ++rule) {
    for (unsigned nibble = 0; nibble < 16; ++nibble) {
      if ((kRules[rule].*half >> nibble & 1) != 0) {
        table[nibble] = static_cast<std::uint8_t>(table[nibble] | 1U << rule);
      }
    }
  }
  return table;
}

alignas(16) inline constexpr std::array<std::uint8_t, 16> kFirstHigh =
    nibble_table(&NibbleRule::first_high);
alignas(16) inline constexpr std::array<std::uint8_t, 16> kFirstLow =
    nibble_table(&NibbleRule::first_low);
alignas(16) inline constexpr std::array<std::uint8_t, 16> kSecondHigh =
    nibble_table(&NibbleRule::second_high);

// The position of the last code point that may be unfinished before `at`: blocks only say that
// nothing is wrong so far, and the automaton takes over from a code point's first byte.
inline std::size_t resume_position(const std::byte* bytes, std::size_t at) noexcept {
  for (std::size_t back = 1; back <= 3 && back <= at; ++back) {
    const unsigned byte = std::to_integer<unsigned>(bytes[at - back]);
    if (byte >= 0xC0) return at - back;
    if (byte < 0x80) return at;
  }
  return at;
}

// Up to this size one pass that only asks whether all is ASCII comes first: small texts mostly are.
inline constexpr std::size_t kAsciiFirstBytesMax = 256;

// Each on its own architecture, for processors that have the instructions (cpu_has).
Utf8Kernel utf8_kernel_avx2() noexcept;
Utf8Kernel utf8_kernel_avx512() noexcept;
Utf8Kernel utf8_kernel_neon() noexcept;

}  // namespace corelane::ws::detail
