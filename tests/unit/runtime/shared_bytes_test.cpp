// Goal: bytes that several cores hold are there until the last of them has let go, and then their
// home core has its memory back. Method: blocks lent to each core, whose counts of memory are
// looked at before and after.
#include "runtime/shared_bytes.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "runtime/submit.hpp"
#include "tests/support/on_cores.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::run_on_cores;

constexpr std::array kData{std::byte{1}, std::byte{2}, std::byte{3}};

TEST(SharedBytes, GoHomeWhenTheLastCoreHasLetThemGo) {
  run_on_cores(3, []() -> Task<void> {
    SharedBytes block = SharedBytes::copy(kData);
    for (CoreId core = 0; core < 3; ++core) {
      const SharedBytes::Loan loan = block.lend();
      co_await submit_to(core, [loan] {
        const std::size_t before = Core::current().shared_bytes();
        {
          SharedBytes held = SharedBytes::adopt(loan);
          const SharedBytes second = held.share();
          held.reset();
          EXPECT_EQ(Core::current().shared_bytes(), kData.size());
          EXPECT_TRUE(std::equal(kData.begin(), kData.end(), second.data()));
        }
        EXPECT_EQ(Core::current().shared_bytes(), before);
      });
    }
    EXPECT_EQ(Core::current().shared_bytes(), kData.size());
    block.reset();
    // What the others have sent home is ahead of the answer of submit_to() in their lanes.
    EXPECT_EQ(Core::current().shared_bytes(), 0u);
  });
}

TEST(SharedBytes, CountAsTheirKindAtHomeAndAsSharedOnOtherCores) {
  run_on_cores(2, []() -> Task<void> {
    SharedBytes block = SharedBytes::allocate(100, MemoryKind::cache);
    const SharedBytes::Loan loan = block.lend();
    co_await submit_to(1, [loan] {
      const SharedBytes held = SharedBytes::adopt(loan);
      EXPECT_EQ(Core::current().memory().held(MemoryKind::shared), 100u);
      EXPECT_EQ(Core::current().memory().held(MemoryKind::cache), 0u);
    });
    EXPECT_EQ(Core::current().memory().held(MemoryKind::cache), 100u);
    EXPECT_EQ(Core::current().shared_bytes(), 0u);
    block.reset();
    EXPECT_EQ(Core::current().memory().held(MemoryKind::cache), 0u);
  });
}

// The home core releases its handle first.
TEST(SharedBytes, StayUntilAnotherCoreHasLetThemGo) {
  run_on_cores(2, []() -> Task<void> {
    SharedBytes block = SharedBytes::copy(kData);
    const SharedBytes::Loan loan = block.lend();
    block.reset();
    EXPECT_EQ(Core::current().shared_bytes(), kData.size());
    const std::size_t elsewhere = co_await submit_to(1, [loan] {
      const SharedBytes held = SharedBytes::adopt(loan);
      EXPECT_TRUE(std::equal(kData.begin(), kData.end(), held.data()));
      return Core::current().shared_bytes();
    });
    EXPECT_EQ(elsewhere, kData.size());
    EXPECT_EQ(Core::current().shared_bytes(), 0u);
  });
}

}  // namespace
}  // namespace corelane
