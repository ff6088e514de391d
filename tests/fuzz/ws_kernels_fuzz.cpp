// Goal: the vector kernels for masking and UTF-8 agree with the scalar ones on every input,
// alignment and cut. Method: the first four bytes are the key, the fifth the cut, the rest the
// payload.
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

#include "ws/mask.hpp"
#include "ws/utf8.hpp"

namespace corelane {
namespace {

using ws::CpuPath;
using ws::Utf8State;

void demand(bool holds) {
  if (!holds) std::abort();
}

void check_mask(std::span<const std::byte> payload, ws::MaskKey key, std::size_t cut) {
  std::vector<std::byte> expected(payload.begin(), payload.end());
  for (std::size_t i = 0; i < expected.size(); ++i) expected[i] ^= key[i % 4];
  std::vector<std::byte> cut_in_two(payload.begin(), payload.end());
  ws::apply_mask(std::span{cut_in_two}.first(cut), key);
  ws::apply_mask(std::span{cut_in_two}.subspan(cut), key, cut);
  demand(cut_in_two == expected);
  if (payload.size() < 32) return;
  for (const CpuPath path : ws::kCpuPaths) {
    const ws::MaskKernel kernel = ws::mask_kernel(path);
    if (kernel == nullptr) continue;
    std::vector<std::byte> copy(payload.size());
    kernel(payload.data(), copy.data(), payload.size(), std::bit_cast<std::uint32_t>(key));
    demand(copy == expected);
  }
}

void check_utf8(std::span<const std::byte> payload, std::size_t cut) {
  const ws::Utf8Kernel scalar = ws::utf8_kernel(CpuPath::scalar);
  const Utf8State expected = scalar(Utf8State::accept, payload.data(), payload.size());
  for (const CpuPath path : ws::kCpuPaths) {
    const ws::Utf8Kernel kernel = ws::utf8_kernel(path);
    if (kernel == nullptr) continue;
    demand(kernel(Utf8State::accept, payload.data(), payload.size()) == expected);
    const Utf8State half = kernel(Utf8State::accept, payload.data(), cut);
    demand(kernel(half, payload.data() + cut, payload.size() - cut) == expected);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 5) return 0;
  ws::MaskKey key;
  std::memcpy(key.data(), data, key.size());
  const std::span payload{reinterpret_cast<const std::byte*>(data) + 5, size - 5};
  const std::size_t cut = payload.empty() ? 0 : data[4] % (payload.size() + 1);
  check_mask(payload, key, cut);
  check_utf8(payload, cut);
  return 0;
}

}  // namespace corelane
