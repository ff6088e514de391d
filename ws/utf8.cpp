#include "ws/utf8.hpp"

#include <array>
#include <atomic>

#include "ws/utf8_blocks.hpp"

namespace corelane::ws {
namespace {

// The automaton. A row of 64 bits a byte value holds, at six times the number of each state, six
// times the number of the next state: a step is one load, which does not depend on the state, and
// one shift, which is all that the next step waits for.

constexpr Utf8State step_by_rule(Utf8State state, unsigned byte) {
  const auto within = [byte](unsigned low, unsigned high) { return byte >= low && byte <= high; };
  switch (state) {
    case Utf8State::accept:
      if (within(0x00, 0x7F)) return Utf8State::accept;
      if (within(0xC2, 0xDF)) return Utf8State::tail_1;
      if (byte == 0xE0) return Utf8State::after_e0;
      if (byte == 0xED) return Utf8State::after_ed;
      if (within(0xE1, 0xEF)) return Utf8State::tail_2;
      if (byte == 0xF0) return Utf8State::after_f0;
      if (within(0xF1, 0xF3)) return Utf8State::tail_3;
      return byte == 0xF4 ? Utf8State::after_f4 : Utf8State::reject;
    case Utf8State::tail_1:
      return within(0x80, 0xBF) ? Utf8State::accept : Utf8State::reject;
    case Utf8State::tail_2:
      return within(0x80, 0xBF) ? Utf8State::tail_1 : Utf8State::reject;
    case Utf8State::tail_3:
      return within(0x80, 0xBF) ? Utf8State::tail_2 : Utf8State::reject;
    case Utf8State::after_e0:
      return within(0xA0, 0xBF) ? Utf8State::tail_1 : Utf8State::reject;
    case Utf8State::after_ed:
      return within(0x80, 0x9F) ? Utf8State::tail_1 : Utf8State::reject;
    case Utf8State::after_f0:
      return within(0x90, 0xBF) ? Utf8State::tail_2 : Utf8State::reject;
    case Utf8State::after_f4:
      return within(0x80, 0x8F) ? Utf8State::tail_2 : Utf8State::reject;
    case Utf8State::reject:
      return Utf8State::reject;
  }
  return Utf8State::reject;
}

constexpr std::array<std::uint64_t, 256> kRows = [] {
  std::array<std::uint64_t, 256> rows{};
  for (unsigned byte = 0; byte < 256; ++byte) {
    for (unsigned state = 0; state <= 48; state += 6) {
      const auto next = step_by_rule(static_cast<Utf8State>(state), byte);
      rows[byte] |= std::uint64_t{static_cast<std::uint8_t>(next)} << state;
    }
  }
  return rows;
}();

Utf8State step(Utf8State state, std::byte byte) noexcept {
  const std::uint64_t row = kRows[std::to_integer<std::size_t>(byte)];
  return static_cast<Utf8State>((row >> static_cast<std::uint8_t>(state)) & 63);
}

}  // namespace

Utf8State detail::validate_scalar(Utf8State state, const std::byte* bytes,
                                  std::size_t size) noexcept {
  std::size_t at = 0;
  while (at < size) {
    if (state == Utf8State::accept) {
      std::uint64_t word;
      while (at + 8 <= size) {
        std::memcpy(&word, bytes + at, 8);
        if ((word & 0x8080808080808080U) != 0) break;
        at += 8;
      }
    }
    const std::size_t stop = size - at < 16 ? size : at + 16;
    for (; at < stop; ++at) state = step(state, bytes[at]);
    if (state == Utf8State::reject) return state;
  }
  return state;
}

std::size_t detail::finish_code_point(Utf8State& state, const std::byte* bytes,
                                      std::size_t size) noexcept {
  std::size_t at = 0;
  while (at < size && state != Utf8State::accept && state != Utf8State::reject) {
    state = step(state, bytes[at++]);
  }
  return at;
}

namespace {

Utf8State choose_then_validate(Utf8State state, const std::byte* bytes, std::size_t size) noexcept;

// Relaxed: every core that races here stores the same constant, and nothing else is published.
constinit std::atomic<Utf8Kernel> chosen_kernel{&choose_then_validate};

Utf8State choose_then_validate(Utf8State state, const std::byte* bytes, std::size_t size) noexcept {
  const Utf8Kernel kernel = utf8_kernel(best_cpu_path());
  chosen_kernel.store(kernel, std::memory_order_relaxed);
  return kernel(state, bytes, size);
}

}  // namespace

Utf8Kernel utf8_kernel(CpuPath path) noexcept {
  if (!cpu_has(path)) return nullptr;
  switch (path) {
    case CpuPath::scalar:
      return &detail::validate_scalar;
#if defined(__x86_64__)
    case CpuPath::avx2:
      return detail::utf8_kernel_avx2();
    case CpuPath::avx512:
      return detail::utf8_kernel_avx512();
#elif defined(__aarch64__)
    case CpuPath::neon:
      return detail::utf8_kernel_neon();
#endif
  }
  return nullptr;
}

bool Utf8Validator::consume_long(std::span<const std::byte> bytes) noexcept {
  state_ = chosen_kernel.load(std::memory_order_relaxed)(state_, bytes.data(), bytes.size());
  return state_ != Utf8State::reject;
}

}  // namespace corelane::ws
