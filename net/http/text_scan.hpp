#pragma once
// Finds where a run of characters ends, 32 at a time: what a head consists of is a few long runs
// (names, targets, values), each ended by a character that cannot be in it. With AVX2, which the
// build's baseline has. Pure code.

#include <immintrin.h>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace corelane::net::http {

// Of a text that is scanned so many bytes before its end must be readable: the last block is loaded
// from its end.
inline constexpr std::size_t kScanBytesMin = 32;

// A set of ASCII characters: a table for one, and rows for 32 at once. Bit h of row l stands for
// the character 16 * h + l, which two shuffles look up; no byte above 0x7f is in it.
class AsciiSet {
 public:
  template <class Contains>
  constexpr explicit AsciiSet(Contains contains) {
    for (unsigned c = 0; c < 128; ++c) {
      if (contains(static_cast<char>(c))) {
        table_[c] = true;
        rows_[c % 16] = static_cast<std::uint8_t>(rows_[c % 16] | 1u << c / 16);
      }
    }
  }
  constexpr bool contains(char c) const noexcept { return table_[static_cast<unsigned char>(c)]; }

 private:
  friend class TextScan;
  std::array<bool, 256> table_{};
  std::array<std::uint8_t, 16> rows_{};
};

class TextScan {
 public:
  // The first character from `at` on that is not in the set; `end` if there is none.
  static const char* skip(const AsciiSet& set, const char* at, const char* end) noexcept {
    const __m256i rows = _mm256_broadcastsi128_si256(
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(set.rows_.data())));
    const __m256i bits = _mm256_setr_epi8(1, 2, 4, 8, 16, 32, 64, -128, 0, 0, 0, 0, 0, 0, 0, 0, 1,
                                          2, 4, 8, 16, 32, 64, -128, 0, 0, 0, 0, 0, 0, 0, 0);
    return find(at, end, [rows, bits](__m256i text) noexcept {
      // A byte above 0x7f has no row in a shuffle, nor a bit.
      const __m256i row = _mm256_shuffle_epi8(rows, text);
      const __m256i high = _mm256_and_si256(_mm256_srli_epi16(text, 4), _mm256_set1_epi8(0x0f));
      const __m256i hit = _mm256_and_si256(row, _mm256_shuffle_epi8(bits, high));
      return _mm256_cmpeq_epi8(hit, _mm256_setzero_si256());
    });
  }

  // The same for what a field value may hold (RFC 9110 section 5.5): no control but HTAB.
  static const char* skip_field_text(const char* at, const char* end) noexcept {
    return find(at, end, [](__m256i text) noexcept {
      const __m256i control =
          _mm256_cmpeq_epi8(_mm256_min_epu8(text, _mm256_set1_epi8(0x1f)), text);
      const __m256i tab = _mm256_cmpeq_epi8(text, _mm256_set1_epi8('\t'));
      const __m256i del = _mm256_cmpeq_epi8(text, _mm256_set1_epi8(0x7f));
      return _mm256_or_si256(_mm256_andnot_si256(tab, control), del);
    });
  }

 private:
  // `stops` gives 0xff for a character that ends the run.
  template <class Stops>
  static const char* find(const char* at, const char* end, Stops stops) noexcept {
    constexpr std::ptrdiff_t kBlock = kScanBytesMin;
    const auto stops_at = [stops](const char* block) noexcept {
      const __m256i text = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block));
      return static_cast<std::uint32_t>(_mm256_movemask_epi8(stops(text)));
    };
    for (; end - at >= kBlock; at += kBlock) {
      const std::uint32_t found = stops_at(at);
      if (found != 0) return at + std::countr_zero(found);
    }
    if (at == end) return end;
    const std::uint32_t found = stops_at(end - kBlock) >> (kBlock - (end - at));
    return found != 0 ? at + std::countr_zero(found) : end;
  }
};

}  // namespace corelane::net::http
