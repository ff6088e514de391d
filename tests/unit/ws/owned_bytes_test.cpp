// Goal: an OwnedBytes keeps its bytes through growth and moves, never holds much more than it was
// given, and its blocks are used again. Method: random appends against a string; addresses
// compared.
#include "ws/owned_bytes.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <string>
#include <thread>

#include "tests/support/seed.hpp"
#include "tests/unit/ws/wire.hpp"

namespace corelane {
namespace {

using tests::wire::as_bytes;
using tests::wire::as_string;
using ws::OwnedBytes;

TEST(OwnedBytes, KeepsWhatWasAppendedAndHoldsAtMostTwiceOfIt) {
  const tests::Seed seed = tests::test_seed();
  tests::Prng prng = seed.prng();
  for (int round = 0; round < 200; ++round) {
    OwnedBytes bytes;
    std::string model;
    for (std::uint64_t left = prng.below(40); left > 0; --left) {
      std::string piece(prng.below(prng.chance(1, 10) ? 200000 : 300), static_cast<char>(left));
      std::memcpy(bytes.grow(piece.size()), piece.data(), piece.size());
      model += piece;
      ASSERT_LE(bytes.capacity(),
                std::max(OwnedBytes::kCapacityMin,
                         2 * model.size() + (64U << 10) * (model.size() > (64U << 10) ? 1 : 0)));
    }
    OwnedBytes moved = std::move(bytes);
    ASSERT_EQ(as_string(moved.bytes()), model);
    ASSERT_EQ(bytes.size(), 0U);
  }
}

TEST(OwnedBytes, BytesBeginAtSixteenWithRoomInFront) {
  for (const std::size_t size : {0U, 1U, 300U, 70000U, 3000000U}) {
    OwnedBytes bytes;
    std::byte* const at = bytes.grow(size);
    EXPECT_EQ(std::bit_cast<std::uintptr_t>(at) % 16, 0U);
    std::memset(at - OwnedBytes::kRoomBytes, 0x5A, OwnedBytes::kRoomBytes + size);
  }
}

TEST(OwnedBytes, ABlockThatWentHomeIsUsedAgain) {
  OwnedBytes first = OwnedBytes::copy_of(as_bytes("hello"));
  const std::byte* const at = first.data();
  first.reset();
  OwnedBytes second = OwnedBytes::copy_of(as_bytes("world"));
  EXPECT_EQ(second.data(), at);
  EXPECT_EQ(as_string(second.bytes()), "world");
}

TEST(OwnedBytes, ABlockMayGoHomeOnAnotherThread) {
  OwnedBytes bytes = OwnedBytes::copy_of(as_bytes(std::string(100000, 'q')));
  std::thread other{[moved = std::move(bytes)]() mutable {
    moved.reset();
    OwnedBytes again = OwnedBytes::copy_of(as_bytes("there"));
    EXPECT_EQ(as_string(again.bytes()), "there");
  }};
  other.join();
}

}  // namespace
}  // namespace corelane
