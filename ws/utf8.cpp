#include "ws/utf8.hpp"

#include <immintrin.h>

#include <array>
#include <atomic>

// g++ 12 warns of its own header's _mm512_undefined_epi32() (GCC bug 105593, mended in 13).
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace corelane::ws {
namespace {

// 1. The automaton. A row of 64 bits a byte value holds, at six times the number of each state, six
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

Utf8State validate_scalar(Utf8State state, const std::byte* bytes, std::size_t size) noexcept {
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

// 2. Whole blocks (J. Keiser, D. Lemire: "Validating UTF-8 in less than one instruction per byte",
// 2021). Every error that two neighbouring bytes can show is one bit; three look-ups by nibble
// (high and low half of the first byte, high half of the second) give the bits that each half
// allows, and what all three allow is an error. "Two continuations in a row" is an error only where
// no third or fourth byte is due, which is computed from the bytes two and three places before.

struct NibbleRule {
  std::uint16_t first_high;   // bit n: the high half of the first byte may be n
  std::uint16_t first_low;    // the same for its low half
  std::uint16_t second_high;  // the same for the high half of the second byte
};

constexpr std::uint16_t kAnyNibble = 0xFFFF;
constexpr std::uint16_t kContinuation = 0x0F00;  // 8..B
constexpr std::uint8_t kTwoContinuations = 0x80;

constexpr std::array<NibbleRule, 8> kRules = {{
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

alignas(16) constexpr std::array<std::uint8_t, 16> kFirstHigh =
    nibble_table(&NibbleRule::first_high);
alignas(16) constexpr std::array<std::uint8_t, 16> kFirstLow = nibble_table(&NibbleRule::first_low);
alignas(16) constexpr std::array<std::uint8_t, 16> kSecondHigh =
    nibble_table(&NibbleRule::second_high);

__m128i load_table(const std::array<std::uint8_t, 16>& table) noexcept {
  return _mm_load_si128(reinterpret_cast<const __m128i*>(table.data()));
}

// The position of the last code point that may be unfinished before `at`: blocks only say that
// nothing is wrong so far, and the automaton takes over from a code point's first byte.
std::size_t resume_position(const std::byte* bytes, std::size_t at) noexcept {
  for (std::size_t back = 1; back <= 3 && back <= at; ++back) {
    const unsigned byte = std::to_integer<unsigned>(bytes[at - back]);
    if (byte >= 0xC0) return at - back;
    if (byte < 0x80) return at;
  }
  return at;
}

// Finishes the code point that an earlier chunk began. Returns the number of bytes it took.
std::size_t finish_code_point(Utf8State& state, const std::byte* bytes, std::size_t size) noexcept {
  std::size_t at = 0;
  while (at < size && state != Utf8State::accept && state != Utf8State::reject) {
    state = step(state, bytes[at++]);
  }
  return at;
}

#define WS_AVX2 __attribute__((target("avx2")))

WS_AVX2 __m256i load_256(const std::byte* bytes) noexcept {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes));
}

template <int kBack>
WS_AVX2 __m256i bytes_before_256(__m256i block, __m256i previous) noexcept {
  return _mm256_alignr_epi8(block, _mm256_permute2x128_si256(previous, block, 0x21), 16 - kBack);
}

WS_AVX2 __m256i block_errors_256(__m256i block, __m256i previous) noexcept {
  const __m256i low_nibbles = _mm256_set1_epi8(0x0F);
  const __m256i first = bytes_before_256<1>(block, previous);
  const __m256i first_high = _mm256_and_si256(_mm256_srli_epi16(first, 4), low_nibbles);
  const __m256i first_low = _mm256_and_si256(first, low_nibbles);
  const __m256i second_high = _mm256_and_si256(_mm256_srli_epi16(block, 4), low_nibbles);
  const __m256i pairs = _mm256_and_si256(
      _mm256_and_si256(
          _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(load_table(kFirstHigh)), first_high),
          _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(load_table(kFirstLow)), first_low)),
      _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(load_table(kSecondHigh)), second_high));
  // The top bit is set exactly for E0..FF two places before, and for F0..FF three places before.
  const __m256i third =
      _mm256_subs_epu8(bytes_before_256<2>(block, previous), _mm256_set1_epi8(0xE0 - 0x80));
  const __m256i fourth =
      _mm256_subs_epu8(bytes_before_256<3>(block, previous), _mm256_set1_epi8(0xF0 - 0x80));
  const __m256i due = _mm256_and_si256(_mm256_or_si256(third, fourth),
                                       _mm256_set1_epi8(static_cast<char>(kTwoContinuations)));
  return _mm256_xor_si256(pairs, due);
}

WS_AVX2 bool all_ascii_256(const std::byte* bytes, std::size_t size) noexcept {
  __m256i seen = load_256(bytes + size - 32);
  for (std::size_t at = 0; at + 32 <= size; at += 32) {
    seen = _mm256_or_si256(seen, load_256(bytes + at));
  }
  return _mm256_movemask_epi8(seen) == 0;
}

// Up to this size one pass that only asks whether all is ASCII comes first: small texts mostly are.
constexpr std::size_t kAsciiFirstBytesMax = 256;

WS_AVX2 Utf8State validate_avx2(Utf8State state, const std::byte* bytes,
                                std::size_t size) noexcept {
  std::size_t at = finish_code_point(state, bytes, size);
  if (state != Utf8State::accept) return state;
  if (size - at >= 32 && size - at <= kAsciiFirstBytesMax && all_ascii_256(bytes + at, size - at)) {
    return state;
  }
  __m256i previous = _mm256_setzero_si256();
  __m256i errors = _mm256_setzero_si256();
  bool previous_is_ascii = true;
  for (; at + 32 <= size; at += 32) {
    const __m256i block = load_256(bytes + at);
    const bool is_ascii = _mm256_movemask_epi8(block) == 0;
    if (!is_ascii || !previous_is_ascii) {
      errors = _mm256_or_si256(errors, block_errors_256(block, previous));
    }
    previous = block;
    previous_is_ascii = is_ascii;
  }
  if (_mm256_testz_si256(errors, errors) == 0) return Utf8State::reject;
  if (!previous_is_ascii) at = resume_position(bytes, at);
  return validate_scalar(Utf8State::accept, bytes + at, size - at);
}

#define WS_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,bmi2")))

template <int kBack>
WS_AVX512 __m512i bytes_before_512(__m512i block, __m512i previous) noexcept {
  return _mm512_alignr_epi8(block, _mm512_alignr_epi64(block, previous, 6), 16 - kBack);
}

WS_AVX512 __m512i block_errors_512(__m512i block, __m512i previous) noexcept {
  const __m512i low_nibbles = _mm512_set1_epi8(0x0F);
  const __m512i first = bytes_before_512<1>(block, previous);
  const __m512i first_high = _mm512_and_si512(_mm512_srli_epi16(first, 4), low_nibbles);
  const __m512i first_low = _mm512_and_si512(first, low_nibbles);
  const __m512i second_high = _mm512_and_si512(_mm512_srli_epi16(block, 4), low_nibbles);
  const __m512i pairs = _mm512_and_si512(
      _mm512_and_si512(
          _mm512_shuffle_epi8(_mm512_broadcast_i32x4(load_table(kFirstHigh)), first_high),
          _mm512_shuffle_epi8(_mm512_broadcast_i32x4(load_table(kFirstLow)), first_low)),
      _mm512_shuffle_epi8(_mm512_broadcast_i32x4(load_table(kSecondHigh)), second_high));
  const __m512i third =
      _mm512_subs_epu8(bytes_before_512<2>(block, previous), _mm512_set1_epi8(0xE0 - 0x80));
  const __m512i fourth =
      _mm512_subs_epu8(bytes_before_512<3>(block, previous), _mm512_set1_epi8(0xF0 - 0x80));
  const __m512i due = _mm512_and_si512(_mm512_or_si512(third, fourth),
                                       _mm512_set1_epi8(static_cast<char>(kTwoContinuations)));
  return _mm512_xor_si512(pairs, due);
}

// The last, shorter block is loaded with zeros behind it; the zeros would make an unfinished code
// point look wrong, so the automaton decides about the last code point.
WS_AVX512 Utf8State validate_avx512(Utf8State state, const std::byte* bytes,
                                    std::size_t size) noexcept {
  std::size_t at = finish_code_point(state, bytes, size);
  if (state != Utf8State::accept) return state;
  __m512i previous = _mm512_setzero_si512();
  __m512i errors = _mm512_setzero_si512();
  bool previous_is_ascii = true;
  for (; at + 64 <= size; at += 64) {
    const __m512i block = _mm512_loadu_si512(bytes + at);
    const bool is_ascii = _mm512_movepi8_mask(block) == 0;
    if (!is_ascii || !previous_is_ascii) {
      errors = _mm512_or_si512(errors, block_errors_512(block, previous));
    }
    previous = block;
    previous_is_ascii = is_ascii;
  }
  if (at < size) {
    const auto rest = static_cast<unsigned>(size - at);
    const __mmask64 present = _cvtu64_mask64(_bzhi_u64(~0ULL, rest));
    const __m512i block = _mm512_maskz_loadu_epi8(present, bytes + at);
    const bool is_ascii = _mm512_movepi8_mask(block) == 0;
    if (!is_ascii || !previous_is_ascii) {
      const __m512i found = _mm512_maskz_mov_epi8(present, block_errors_512(block, previous));
      errors = _mm512_or_si512(errors, found);
    }
    previous_is_ascii = is_ascii;
    at = size;
  }
  if (_mm512_test_epi8_mask(errors, errors) != 0) return Utf8State::reject;
  if (previous_is_ascii) return Utf8State::accept;
  at = resume_position(bytes, at);
  return validate_scalar(Utf8State::accept, bytes + at, size - at);
}

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
      return &validate_scalar;
    case CpuPath::avx2:
      return &validate_avx2;
    case CpuPath::avx512:
      return &validate_avx512;
  }
  return nullptr;
}

bool Utf8Validator::consume_long(std::span<const std::byte> bytes) noexcept {
  state_ = chosen_kernel.load(std::memory_order_relaxed)(state_, bytes.data(), bytes.size());
  return state_ != Utf8State::reject;
}

}  // namespace corelane::ws
