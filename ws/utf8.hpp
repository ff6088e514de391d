#pragma once
// Incremental UTF-8 validation (RFC 3629: no surrogates, nothing above U+10FFFF, shortest forms
// only). The state between two chunks is one byte, so a text message is checked as it arrives and
// the chunk that holds the first impossible byte is the one that is refused (RFC 6455 section 8.1).
// Pure code, any core, no allocation.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "ws/cpu_path.hpp"

namespace corelane::ws {

// A state of the automaton, times six: its place in the 64-bit rows of ws/utf8.cpp.
enum class Utf8State : std::uint8_t {
  accept = 0,     // between two code points
  tail_1 = 6,     // one continuation byte is missing
  tail_2 = 12,    // two
  tail_3 = 18,    // three
  after_e0 = 24,  // the next is A0..BF (shorter forms exist below)
  after_ed = 30,  // the next is 80..9F (surrogates above)
  after_f0 = 36,  // the next is 90..BF (shorter forms exist below)
  after_f4 = 42,  // the next is 80..8F (above U+10FFFF otherwise)
  reject = 48,    // a byte was impossible; final
};

// Continues from `state` over `size` bytes and returns the state after them.
using Utf8Kernel = Utf8State (*)(Utf8State state, const std::byte* bytes,
                                 std::size_t size) noexcept;

// The kernel of one path, for tests and benchmarks; null if this processor lacks it.
Utf8Kernel utf8_kernel(CpuPath path) noexcept;

class Utf8Validator {
 public:
  // False once the bytes so far cannot be the beginning of valid UTF-8; it stays false.
  bool consume(std::span<const std::byte> bytes) noexcept {
    if (state_ == Utf8State::accept && bytes.size() <= 16 && is_short_ascii(bytes)) return true;
    return consume_long(bytes);
  }

  // True if the bytes so far end with a whole code point.
  bool complete() const noexcept { return state_ == Utf8State::accept; }
  Utf8State state() const noexcept { return state_; }
  void reset() noexcept { state_ = Utf8State::accept; }

 private:
  static bool is_short_ascii(std::span<const std::byte> bytes) noexcept {
    std::uint64_t head = 0;
    std::uint64_t tail = 0;
    if (bytes.size() >= 8) {
      std::memcpy(&head, bytes.data(), 8);
      std::memcpy(&tail, bytes.data() + bytes.size() - 8, 8);
    } else {
      for (const std::byte byte : bytes) head |= std::to_integer<std::uint64_t>(byte);
    }
    return ((head | tail) & 0x8080808080808080U) == 0;
  }
  bool consume_long(std::span<const std::byte> bytes) noexcept;

  Utf8State state_ = Utf8State::accept;
};
static_assert(sizeof(Utf8Validator) == 1);

// True if all of it is valid and whole.
inline bool is_valid_utf8(std::span<const std::byte> bytes) noexcept {
  Utf8Validator validator;
  return validator.consume(bytes) && validator.complete();
}

}  // namespace corelane::ws
