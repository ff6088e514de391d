// The UTF-8 kernels for AVX2 and AVX-512.
#include <immintrin.h>

#include "ws/utf8_blocks.hpp"

// g++ 12 warns of its own header's _mm512_undefined_epi32() (GCC bug 105593, mended in 13).
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace corelane::ws::detail {
namespace {

__m128i load_table(const std::array<std::uint8_t, 16>& table) noexcept {
  return _mm_load_si128(reinterpret_cast<const __m128i*>(table.data()));
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

}  // namespace

Utf8Kernel utf8_kernel_avx2() noexcept {
  return &validate_avx2;
}

Utf8Kernel utf8_kernel_avx512() noexcept {
  return &validate_avx512;
}

}  // namespace corelane::ws::detail
