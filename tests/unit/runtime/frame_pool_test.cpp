// Goal: in steady state frames cost no system allocation, and any pool or none may free a frame.
// Method: the pool's counters; AddressSanitizer builds bypass the pool and check the bytes instead.
#include "runtime/frame_pool.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "runtime/random.hpp"

namespace corelane {
namespace {

using runtime::FramePool;

class PoolScope {
 public:
  explicit PoolScope(FramePool* pool) : before_(FramePool::use(pool)) {}
  PoolScope(const PoolScope&) = delete;
  PoolScope& operator=(const PoolScope&) = delete;
  ~PoolScope() { FramePool::use(before_); }

 private:
  FramePool* before_;
};

void* filled_frame(std::size_t bytes) {
  void* const frame = runtime::allocate_frame(bytes);
  std::memset(frame, 0x5a, bytes);
  return frame;
}

TEST(FramePool, WorksWithoutAPool) {
  ASSERT_EQ(FramePool::current(), nullptr);
  for (const std::size_t bytes : {1U, 64U, 65U, 4096U, 4097U, 100'000U}) {
    runtime::deallocate_frame(filled_frame(bytes), bytes);
  }
}

TEST(FramePool, AllocatesNothingInSteadyState) {
  FramePool pool;
  const PoolScope scope(&pool);
  runtime::Random random(5);
  std::vector<std::size_t> sizes;
  for (int i = 0; i < 50; ++i) sizes.push_back(1 + random.below(FramePool::kPooledBytesMax));
  std::uint64_t system_allocations = 0;
  for (int round = 0; round < 10; ++round) {
    std::vector<void*> frames;
    for (const std::size_t bytes : sizes) frames.push_back(filled_frame(bytes));
    for (std::size_t i = 0; i < sizes.size(); ++i) runtime::deallocate_frame(frames[i], sizes[i]);
    if (round == 0) system_allocations = pool.counters().system_allocations;
    ASSERT_EQ(pool.counters().system_allocations, system_allocations);
  }
  if (FramePool::kEnabled) {
    EXPECT_EQ(system_allocations, 50U);
    EXPECT_EQ(pool.counters().reuses, 450U);
  }
}

TEST(FramePool, ReusesWithinASizeClassOnly) {
  if (!FramePool::kEnabled) GTEST_SKIP() << "frames bypass the pool under AddressSanitizer";
  FramePool pool;
  const PoolScope scope(&pool);
  void* const small = filled_frame(1);
  runtime::deallocate_frame(small, 1);
  constexpr std::size_t kClass = FramePool::kClassBytes;
  void* const larger = filled_frame(kClass + 1);
  EXPECT_EQ(pool.counters().reuses, 0U);
  void* const same_class = filled_frame(kClass);
  EXPECT_EQ(same_class, small);
  runtime::deallocate_frame(larger, kClass + 1);
  runtime::deallocate_frame(same_class, kClass);
  EXPECT_EQ(pool.counters().retained_bytes, 3 * kClass);
}

TEST(FramePool, GivesLargeFramesBackAtOnce) {
  if (!FramePool::kEnabled) GTEST_SKIP() << "frames bypass the pool under AddressSanitizer";
  FramePool pool;
  const PoolScope scope(&pool);
  runtime::deallocate_frame(filled_frame(4097), 4097);
  EXPECT_EQ(pool.counters().retained_bytes, 0U);
  EXPECT_EQ(pool.counters().system_allocations, 1U);
  EXPECT_EQ(pool.counters().system_frees, 1U);
}

TEST(FramePool, KeepsNoMoreThanItsLimit) {
  if (!FramePool::kEnabled) GTEST_SKIP() << "frames bypass the pool under AddressSanitizer";
  FramePool pool(1024);
  const PoolScope scope(&pool);
  std::vector<void*> frames;
  for (int i = 0; i < 10; ++i) frames.push_back(filled_frame(256));
  for (void* frame : frames) runtime::deallocate_frame(frame, 256);
  EXPECT_EQ(pool.counters().retained_bytes, 1024U);
  EXPECT_EQ(pool.counters().system_frees, 6U);
  pool.trim();
  EXPECT_EQ(pool.counters().retained_bytes, 0U);
  EXPECT_EQ(pool.counters().system_frees, 10U);
}

TEST(FramePool, AnyPoolOrNoneMayFreeAFrame) {
  FramePool first;
  FramePool second;
  void* from_first = nullptr;
  void* from_none = filled_frame(100);
  {
    const PoolScope scope(&first);
    from_first = filled_frame(100);
    runtime::deallocate_frame(from_none, 100);
    from_none = filled_frame(128);
    if (FramePool::kEnabled) {
      EXPECT_EQ(first.counters().reuses, 1U);
    }
  }
  {
    const PoolScope scope(&second);
    runtime::deallocate_frame(from_first, 100);
    void* const reused = filled_frame(128);
    if (FramePool::kEnabled) {
      EXPECT_EQ(reused, from_first);
    }
    runtime::deallocate_frame(reused, 128);
  }
  runtime::deallocate_frame(from_none, 128);
}

}  // namespace
}  // namespace corelane
