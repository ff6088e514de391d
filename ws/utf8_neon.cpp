// The UTF-8 kernel for ARM64.
#include <arm_neon.h>

#include "ws/utf8_blocks.hpp"

namespace corelane::ws::detail {
namespace {

constexpr std::size_t kBlock = sizeof(uint8x16_t);

uint8x16_t load(const std::byte* bytes) noexcept {
  return vld1q_u8(reinterpret_cast<const std::uint8_t*>(bytes));
}

bool is_ascii(uint8x16_t block) noexcept {
  return vmaxvq_u8(block) < 0x80;
}

template <int kBack>
uint8x16_t bytes_before(uint8x16_t block, uint8x16_t previous) noexcept {
  return vextq_u8(previous, block, 16 - kBack);
}

// As in ws/utf8_x86.cpp, with a table look-up of 16 bytes.
uint8x16_t block_errors(uint8x16_t block, uint8x16_t previous) noexcept {
  const uint8x16_t first = bytes_before<1>(block, previous);
  const uint8x16_t first_high = vqtbl1q_u8(vld1q_u8(kFirstHigh.data()), vshrq_n_u8(first, 4));
  const uint8x16_t first_low =
      vqtbl1q_u8(vld1q_u8(kFirstLow.data()), vandq_u8(first, vdupq_n_u8(0x0F)));
  const uint8x16_t second_high = vqtbl1q_u8(vld1q_u8(kSecondHigh.data()), vshrq_n_u8(block, 4));
  const uint8x16_t pairs = vandq_u8(vandq_u8(first_high, first_low), second_high);
  // The top bit is set exactly for E0..FF two places before, and for F0..FF three places before.
  const uint8x16_t third = vqsubq_u8(bytes_before<2>(block, previous), vdupq_n_u8(0xE0 - 0x80));
  const uint8x16_t fourth = vqsubq_u8(bytes_before<3>(block, previous), vdupq_n_u8(0xF0 - 0x80));
  const uint8x16_t due = vandq_u8(vorrq_u8(third, fourth), vdupq_n_u8(kTwoContinuations));
  return veorq_u8(pairs, due);
}

Utf8State validate(Utf8State state, const std::byte* bytes, std::size_t size) noexcept {
  std::size_t at = finish_code_point(state, bytes, size);
  if (state != Utf8State::accept) return state;
  uint8x16_t previous = vdupq_n_u8(0);
  uint8x16_t errors = vdupq_n_u8(0);
  bool previous_is_ascii = true;
  for (; at + kBlock <= size; at += kBlock) {
    const uint8x16_t block = load(bytes + at);
    const bool block_is_ascii = is_ascii(block);
    if (!block_is_ascii || !previous_is_ascii) {
      errors = vorrq_u8(errors, block_errors(block, previous));
    }
    previous = block;
    previous_is_ascii = block_is_ascii;
  }
  if (vmaxvq_u8(errors) != 0) return Utf8State::reject;
  if (!previous_is_ascii) at = resume_position(bytes, at);
  return validate_scalar(Utf8State::accept, bytes + at, size - at);
}

}  // namespace

Utf8Kernel utf8_kernel_neon() noexcept {
  return &validate;
}

}  // namespace corelane::ws::detail
