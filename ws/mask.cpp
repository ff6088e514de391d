#include "ws/mask.hpp"

#include <immintrin.h>

#include <atomic>

namespace ws {
namespace {

// From here on whole cache lines are worth aligning to; below, the extra step costs more than the
// split lines it avoids.
constexpr std::size_t kAlignFromBytes = 512;

std::size_t bytes_to_boundary(const std::byte* at, std::size_t boundary) noexcept {
  const auto address = std::bit_cast<std::uintptr_t>(at);
  return (boundary - address % boundary) % boundary;
}

void mask_scalar(const std::byte* from, std::byte* to, std::size_t size,
                 std::uint32_t key) noexcept {
  const std::uint64_t pattern = std::uint64_t{key} << 32 | key;
  std::size_t at = 0;
  for (; at + 8 <= size; at += 8) {
    std::uint64_t word;
    std::memcpy(&word, from + at, 8);
    word ^= pattern;
    std::memcpy(to + at, &word, 8);
  }
  for (; at < size; ++at) to[at] = from[at] ^ static_cast<std::byte>(key >> (8 * (at % 4)));
}

__attribute__((target("avx2"))) __m256i load_256(const std::byte* from) noexcept {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}

__attribute__((target("avx2"))) void store_256(std::byte* to, __m256i value) noexcept {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), value);
}

// The first and the last vector are loaded before anything is stored and stored last; the loop
// between them may start at an aligned address and overlap both, since every store carries the
// final value of its bytes.
__attribute__((target("avx2"))) void mask_avx2(const std::byte* from, std::byte* to,
                                               std::size_t size, std::uint32_t key) noexcept {
  const std::size_t tail_at = size - 32;
  const __m256i tail_key = _mm256_set1_epi32(static_cast<int>(detail::turn_key(key, tail_at)));
  const __m256i head_key = _mm256_set1_epi32(static_cast<int>(key));
  const __m256i head = _mm256_xor_si256(load_256(from), head_key);
  const __m256i tail = _mm256_xor_si256(load_256(from + tail_at), tail_key);
  std::size_t at = size < kAlignFromBytes ? 32 : bytes_to_boundary(to, 32);
  const __m256i pattern = _mm256_set1_epi32(static_cast<int>(detail::turn_key(key, at)));
  for (; at + 128 <= size; at += 128) {
    const __m256i a = _mm256_xor_si256(load_256(from + at), pattern);
    const __m256i b = _mm256_xor_si256(load_256(from + at + 32), pattern);
    const __m256i c = _mm256_xor_si256(load_256(from + at + 64), pattern);
    const __m256i d = _mm256_xor_si256(load_256(from + at + 96), pattern);
    store_256(to + at, a);
    store_256(to + at + 32, b);
    store_256(to + at + 64, c);
    store_256(to + at + 96, d);
  }
  for (; at + 32 <= size; at += 32) {
    store_256(to + at, _mm256_xor_si256(load_256(from + at), pattern));
  }
  store_256(to, head);
  store_256(to + tail_at, tail);
}

#define WS_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,bmi2")))

// As above. No masked stores for the ends: what is loaded soon after one from bytes that it skipped
// (the next frame's header) would wait until it has reached the cache.
WS_AVX512 void mask_avx512(const std::byte* from, std::byte* to, std::size_t size,
                           std::uint32_t key) noexcept {
  if (size < 64) {
    mask_avx2(from, to, size, key);
    return;
  }
  const std::size_t tail_at = size - 64;
  const __m512i tail_key = _mm512_set1_epi32(static_cast<int>(detail::turn_key(key, tail_at)));
  const __m512i head_key = _mm512_set1_epi32(static_cast<int>(key));
  const __m512i head = _mm512_xor_si512(_mm512_loadu_si512(from), head_key);
  const __m512i tail = _mm512_xor_si512(_mm512_loadu_si512(from + tail_at), tail_key);
  std::size_t at = size < kAlignFromBytes ? 64 : bytes_to_boundary(to, 64);
  const __m512i pattern = _mm512_set1_epi32(static_cast<int>(detail::turn_key(key, at)));
  for (; at + 256 <= size; at += 256) {
    const __m512i a = _mm512_xor_si512(_mm512_loadu_si512(from + at), pattern);
    const __m512i b = _mm512_xor_si512(_mm512_loadu_si512(from + at + 64), pattern);
    const __m512i c = _mm512_xor_si512(_mm512_loadu_si512(from + at + 128), pattern);
    const __m512i d = _mm512_xor_si512(_mm512_loadu_si512(from + at + 192), pattern);
    _mm512_storeu_si512(to + at, a);
    _mm512_storeu_si512(to + at + 64, b);
    _mm512_storeu_si512(to + at + 128, c);
    _mm512_storeu_si512(to + at + 192, d);
  }
  for (; at + 64 <= size; at += 64) {
    _mm512_storeu_si512(to + at, _mm512_xor_si512(_mm512_loadu_si512(from + at), pattern));
  }
  _mm512_storeu_si512(to, head);
  _mm512_storeu_si512(to + tail_at, tail);
}

void choose_then_mask(const std::byte* from, std::byte* to, std::size_t size,
                      std::uint32_t key) noexcept;

// Relaxed: every core that races here stores the same constant, and nothing else is published.
constinit std::atomic<MaskKernel> chosen_kernel{&choose_then_mask};

void choose_then_mask(const std::byte* from, std::byte* to, std::size_t size,
                      std::uint32_t key) noexcept {
  const MaskKernel kernel = mask_kernel(best_cpu_path());
  chosen_kernel.store(kernel, std::memory_order_relaxed);
  kernel(from, to, size, key);
}

}  // namespace

MaskKernel mask_kernel(CpuPath path) noexcept {
  if (!cpu_has(path)) return nullptr;
  switch (path) {
    case CpuPath::scalar:
      return &mask_scalar;
    case CpuPath::avx2:
      return &mask_avx2;
    case CpuPath::avx512:
      return &mask_avx512;
  }
  return nullptr;
}

void detail::mask_long(const std::byte* from, std::byte* to, std::size_t size,
                       std::uint32_t key) noexcept {
  chosen_kernel.load(std::memory_order_relaxed)(from, to, size, key);
}

}  // namespace ws
