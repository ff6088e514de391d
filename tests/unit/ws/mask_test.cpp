// Goal: every kernel that this host has masks as RFC 6455 section 5.3 defines it and touches
// nothing else. Method: all small sizes at all alignments and key offsets, and large sizes, against
// a loop over single bytes; blocks of exact size with guard bytes around them; moves to overlapping
// places below.
#include "ws/mask.hpp"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "tests/support/prng.hpp"

namespace corelane {
namespace {

using ws::CpuPath;
using ws::MaskKey;

constexpr MaskKey kKey = {std::byte{0x12}, std::byte{0xFE}, std::byte{0x80}, std::byte{0x7B}};

void mask_by_definition(std::span<std::byte> bytes, MaskKey key, std::size_t offset) {
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] ^= key[(i + offset) % 4];
}

std::vector<std::byte> random_bytes(std::size_t size) {
  std::vector<std::byte> bytes(size);
  tests::Prng prng{size};
  prng.fill(bytes);
  return bytes;
}

TEST(Mask, FollowsTheDefinitionAtAllSizesAlignmentsAndOffsets) {
  constexpr std::size_t kGuard = 64;
  for (std::size_t size = 0; size <= 300; ++size) {
    for (std::size_t shift = 0; shift < 64; shift += size < 80 ? 1 : 7) {
      for (std::size_t offset = 0; offset < 4; ++offset) {
        std::vector<std::byte> bytes = random_bytes(kGuard + shift + size + kGuard);
        std::vector<std::byte> expected = bytes;
        mask_by_definition(std::span{expected}.subspan(kGuard + shift, size), kKey, offset);
        ws::apply_mask(std::span{bytes}.subspan(kGuard + shift, size), kKey, offset);
        ASSERT_EQ(bytes, expected) << "size " << size << " shift " << shift << " at " << offset;
      }
    }
  }
}

TEST(Mask, EveryKernelOfThisHostAgreesWithTheDefinition) {
  constexpr std::size_t kGuard = 64;
  for (const CpuPath path : ws::kCpuPaths) {
    const ws::MaskKernel kernel = ws::mask_kernel(path);
    if (kernel == nullptr) continue;
    std::vector<std::size_t> sizes;
    for (std::size_t size = 32; size <= 700; ++size) sizes.push_back(size);
    for (const std::size_t size : {1000U, 4095U, 4096U, 4097U, 16384U, 65537U}) {
      sizes.push_back(size);
    }
    for (const std::size_t size : sizes) {
      for (std::size_t shift = 0; shift < 64; shift += 1 + size % 5) {
        std::vector<std::byte> bytes = random_bytes(kGuard + shift + size + kGuard);
        std::vector<std::byte> expected = bytes;
        mask_by_definition(std::span{expected}.subspan(kGuard + shift, size), kKey, 0);
        std::byte* const at = bytes.data() + kGuard + shift;
        kernel(at, at, size, std::bit_cast<std::uint32_t>(kKey));
        ASSERT_EQ(bytes, expected)
            << "path " << static_cast<int>(path) << " size " << size << " shift " << shift;
      }
    }
  }
}

TEST(Mask, EveryKernelMovesDownByAnyDistanceThatOverlaps) {
  for (const CpuPath path : ws::kCpuPaths) {
    const ws::MaskKernel kernel = ws::mask_kernel(path);
    if (kernel == nullptr) continue;
    for (const std::size_t size : {32U, 33U, 63U, 64U, 65U, 127U, 200U, 511U, 512U, 640U, 1025U}) {
      for (std::size_t down = 1; down <= 300; down += 1 + down / 8) {
        std::vector<std::byte> bytes = random_bytes(down + size);
        std::vector<std::byte> expected(bytes.begin() + static_cast<std::ptrdiff_t>(down),
                                        bytes.end());
        mask_by_definition(expected, kKey, 0);
        kernel(bytes.data() + down, bytes.data(), size, std::bit_cast<std::uint32_t>(kKey));
        bytes.resize(size);
        ASSERT_EQ(bytes, expected)
            << "path " << static_cast<int>(path) << " size " << size << " down " << down;
      }
    }
  }
}

TEST(Mask, CopyingMasksTheCopyAndLeavesTheSource) {
  for (std::size_t size = 0; size <= 1100; size += 1 + size / 40) {
    for (std::size_t shift = 0; shift < 40; shift += 3) {
      const std::vector<std::byte> source = random_bytes(size);
      std::vector<std::byte> expected = source;
      mask_by_definition(expected, kKey, 3);
      std::vector<std::byte> copy(size + shift);
      ws::copy_masked(source, copy.data() + shift, kKey, 3);
      ASSERT_EQ(
          std::vector<std::byte>(copy.begin() + static_cast<std::ptrdiff_t>(shift), copy.end()),
          expected)
          << size;
      ASSERT_EQ(source, random_bytes(size));
    }
  }
}

TEST(Mask, PiecesOfAPayloadMaskLikeTheWhole) {
  std::vector<std::byte> whole = random_bytes(2000);
  std::vector<std::byte> pieces = whole;
  ws::apply_mask(whole, kKey);
  tests::Prng prng{42};
  for (std::size_t at = 0; at < pieces.size();) {
    const std::size_t size = std::min<std::size_t>(pieces.size() - at, 1 + prng.below(150));
    ws::apply_mask(std::span{pieces}.subspan(at, size), kKey, at);
    at += size;
  }
  EXPECT_EQ(pieces, whole);
}

TEST(Mask, TheHostRunsTheBestPathItHas) {
  EXPECT_TRUE(ws::cpu_has(ws::best_cpu_path()));
  EXPECT_NE(ws::mask_kernel(ws::best_cpu_path()), nullptr);
}

}  // namespace
}  // namespace corelane
