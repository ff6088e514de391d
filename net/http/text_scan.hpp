#pragma once
// Finds where a run of characters ends, 32 at a time (16 on ARM64, and in a build for x86-64-v2,
// which has no AVX2): a head consists of a few long runs (names, targets, values), each ended by a
// character that cannot be in it. Pure code.

#if defined(__x86_64__)
#include <immintrin.h>
#else
#include <arm_neon.h>
#endif

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace corelane::net::http {

// Bytes in front of the end of a scanned text that must be readable: the last block is loaded from
// the end.
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

namespace detail {

// As many bytes as one instruction of the build's baseline takes, and what TextScan does with them.
#if defined(__AVX2__)
struct TextBlock {
  __m256i bytes;

  static constexpr std::ptrdiff_t kBytes = 32;
  static TextBlock load(const char* from) noexcept {
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))};
  }
  static TextBlock repeat(char c) noexcept { return {_mm256_set1_epi8(c)}; }
  // Rows for look_up(): `row` in each half of 16 bytes.
  static TextBlock rows(const std::uint8_t* row) noexcept {
    return {_mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(row)))};
  }
  // Byte i of the rows for a byte whose low half is i; 0 for a byte above 0x7f.
  TextBlock look_up(TextBlock by) const noexcept { return {_mm256_shuffle_epi8(bytes, by.bytes)}; }
  TextBlock high_halves() const noexcept {
    return {_mm256_and_si256(_mm256_srli_epi16(bytes, 4), _mm256_set1_epi8(0x0f))};
  }
  TextBlock least(TextBlock other) const noexcept { return {_mm256_min_epu8(bytes, other.bytes)}; }
  TextBlock equals(TextBlock other) const noexcept {
    return {_mm256_cmpeq_epi8(bytes, other.bytes)};
  }
  TextBlock both(TextBlock other) const noexcept { return {_mm256_and_si256(bytes, other.bytes)}; }
  TextBlock either(TextBlock other) const noexcept { return {_mm256_or_si256(bytes, other.bytes)}; }
  TextBlock without(TextBlock other) const noexcept {
    return {_mm256_andnot_si256(other.bytes, bytes)};
  }
  // Bit i: the highest bit of byte i.
  std::uint32_t high_bits() const noexcept {
    return static_cast<std::uint32_t>(_mm256_movemask_epi8(bytes));
  }
};
#elif defined(__x86_64__)
struct TextBlock {
  __m128i bytes;

  static constexpr std::ptrdiff_t kBytes = 16;
  static TextBlock load(const char* from) noexcept {
    return {_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))};
  }
  static TextBlock repeat(char c) noexcept { return {_mm_set1_epi8(c)}; }
  static TextBlock rows(const std::uint8_t* row) noexcept {
    return {_mm_loadu_si128(reinterpret_cast<const __m128i*>(row))};
  }
  TextBlock look_up(TextBlock by) const noexcept { return {_mm_shuffle_epi8(bytes, by.bytes)}; }
  TextBlock high_halves() const noexcept {
    return {_mm_and_si128(_mm_srli_epi16(bytes, 4), _mm_set1_epi8(0x0f))};
  }
  TextBlock least(TextBlock other) const noexcept { return {_mm_min_epu8(bytes, other.bytes)}; }
  TextBlock equals(TextBlock other) const noexcept { return {_mm_cmpeq_epi8(bytes, other.bytes)}; }
  TextBlock both(TextBlock other) const noexcept { return {_mm_and_si128(bytes, other.bytes)}; }
  TextBlock either(TextBlock other) const noexcept { return {_mm_or_si128(bytes, other.bytes)}; }
  TextBlock without(TextBlock other) const noexcept {
    return {_mm_andnot_si128(other.bytes, bytes)};
  }
  std::uint32_t high_bits() const noexcept {
    return static_cast<std::uint32_t>(_mm_movemask_epi8(bytes));
  }
};
#else
struct TextBlock {
  uint8x16_t bytes;

  static constexpr std::ptrdiff_t kBytes = 16;
  static TextBlock load(const char* from) noexcept {
    return {vld1q_u8(reinterpret_cast<const std::uint8_t*>(from))};
  }
  static TextBlock repeat(char c) noexcept { return {vdupq_n_u8(static_cast<std::uint8_t>(c))}; }
  static TextBlock rows(const std::uint8_t* row) noexcept { return {vld1q_u8(row)}; }
  // The look-up gives 0 for every index past the table: bit 7 stays in the index.
  TextBlock look_up(TextBlock by) const noexcept {
    return {vqtbl1q_u8(bytes, vandq_u8(by.bytes, vdupq_n_u8(0x8f)))};
  }
  TextBlock high_halves() const noexcept { return {vshrq_n_u8(bytes, 4)}; }
  TextBlock least(TextBlock other) const noexcept { return {vminq_u8(bytes, other.bytes)}; }
  TextBlock equals(TextBlock other) const noexcept { return {vceqq_u8(bytes, other.bytes)}; }
  TextBlock both(TextBlock other) const noexcept { return {vandq_u8(bytes, other.bytes)}; }
  TextBlock either(TextBlock other) const noexcept { return {vorrq_u8(bytes, other.bytes)}; }
  TextBlock without(TextBlock other) const noexcept { return {vbicq_u8(bytes, other.bytes)}; }
  std::uint32_t high_bits() const noexcept {
    constexpr std::uint8_t kBits[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x16_t high = vcltzq_s8(vreinterpretq_s8_u8(bytes));
    const uint8x16_t bits = vandq_u8(high, vld1q_u8(kBits));
    return std::uint32_t{vaddv_u8(vget_low_u8(bits))} | std::uint32_t{vaddv_u8(vget_high_u8(bits))}
                                                            << 8;
  }
};
#endif
static_assert(TextBlock::kBytes <= static_cast<std::ptrdiff_t>(kScanBytesMin));

// A bit for each high half below 8; none for the others.
inline constexpr std::uint8_t kHalfBits[16] = {1, 2, 4, 8, 16, 32, 64, 128};

}  // namespace detail

class TextScan {
 public:
  // The first character from `at` on that is not in the set; `end` if there is none.
  static const char* skip(const AsciiSet& set, const char* at, const char* end) noexcept {
    const Block rows = Block::rows(set.rows_.data());
    const Block bits = Block::rows(detail::kHalfBits);
    return find(at, end, [rows, bits](Block text) noexcept {
      // A byte above 0x7f has no row in a look-up, nor a bit.
      const Block hit = rows.look_up(text).both(bits.look_up(text.high_halves()));
      return hit.equals(Block::repeat(0));
    });
  }

  // The same for what a field value may hold (RFC 9110 section 5.5): no control but HTAB.
  static const char* skip_field_text(const char* at, const char* end) noexcept {
    return find(at, end, [](Block text) noexcept {
      const Block control = text.least(Block::repeat(0x1f)).equals(text);
      const Block tab = text.equals(Block::repeat('\t'));
      const Block del = text.equals(Block::repeat(0x7f));
      return control.without(tab).either(del);
    });
  }

 private:
  using Block = detail::TextBlock;

  // `stops` gives 0xff for a character that ends the run.
  template <class Stops>
  static const char* find(const char* at, const char* end, Stops stops) noexcept {
    constexpr std::ptrdiff_t kBlock = Block::kBytes;
    const auto stops_at = [stops](const char* block) noexcept {
      return stops(Block::load(block)).high_bits();
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
