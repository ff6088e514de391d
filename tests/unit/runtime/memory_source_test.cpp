// Goal: with a memory source every coroutine frame and every receive buffer comes from it and goes
// back to it, none by operator new. Method: a source that counts, which is set before main() for
// this program alone, beside a count of operator new.
#include "runtime/memory_source.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <memory_resource>

#include "net/tcp.hpp"
#include "runtime/await.hpp"
#include "runtime/submit.hpp"
#include "runtime/task_group.hpp"
#include "tests/support/counted_allocations.hpp"
#include "tests/support/on_cores.hpp"
#include "tests/support/tcp_pair.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::run_on_cores;

struct CountingSource final : MemorySource {
  void* allocate(std::size_t bytes, std::size_t alignment) noexcept override {
    ++(alignment == 16 ? frames : buffers);
    outstanding += static_cast<std::int64_t>(bytes);
    return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  }
  void deallocate(void* memory, std::size_t bytes, std::size_t) noexcept override {
    outstanding -= static_cast<std::int64_t>(bytes);
    std::free(memory);
  }

  std::atomic<std::size_t> frames{0};
  std::atomic<std::size_t> buffers{0};
  std::atomic<std::int64_t> outstanding{0};
};

CountingSource& source() {
  static CountingSource counting;
  return counting;
}

// Before a coroutine of gtest's tests can be made.
const bool kIsSet = [] {
  set_memory_source(source());
  return true;
}();

// Suspended once, with so many bytes in its frame.
template <std::size_t kBytes>
Task<void> hold() {
  std::array<std::byte, kBytes> kept;
  kept.fill(std::byte{7});
  co_await Yield{};
  EXPECT_EQ(kept.back(), std::byte{7});
}

// Frames of many sizes, also too large for a pool, in a group on this core.
Task<void> hold_many() {
  TaskGroup group("frames");
  for (int i = 0; i < 20; ++i) {
    group.spawn("hold", hold<16>);
    group.spawn("hold", hold<700>);
    group.spawn("hold", hold<3'000>);
    group.spawn("hold", hold<10'000>);
  }
  co_await group.join();
}

TEST(MemorySource, GivesAllFramesOfAllCoresAndGetsThemBack) {
  ASSERT_TRUE(kIsSet);
  const std::size_t before = source().frames;
  run_on_cores(2, []() -> Task<void> {
    for (const CoreId core : {CoreId{0}, CoreId{1}})
      co_await submit_to(core, [] { return hold_many(); });
  });
  // At least the four tasks and their roots, twenty times, on each core.
  EXPECT_GE(source().frames - before, 2u * 20 * 4);
  EXPECT_EQ(source().outstanding, 0);
}

TEST(MemorySource, LeavesNoFrameToOperatorNew) {
  run_on_cores(1, []() -> Task<void> {
    Core& core = Core::current();
    // The queue of ready coroutines has grown by then.
    for (int i = 0; i < 3; ++i) co_await hold_many();
    const std::size_t frames = source().frames;
    const std::uint64_t system = core.frame_pool().counters().system_allocations;
    TaskGroup group("frames");
    const std::size_t operator_new = tests::allocations;
    for (int i = 0; i < 50; ++i) group.spawn("hold", hold<1'500>);
    EXPECT_EQ(tests::allocations - operator_new, 0u);
    EXPECT_GE(source().frames - frames, 50u);
    if (FramePool::kEnabled) {
      EXPECT_EQ(source().frames - frames, core.frame_pool().counters().system_allocations - system);
    }
    co_await group.join();
  });
  EXPECT_EQ(source().outstanding, 0);
}

TEST(MemorySource, GivesTheReceiveBuffersAndGetsThemBack) {
  const std::size_t before = source().buffers;
  tests::with_pair(tests::tiny(), [](tests::TcpPair& pair) -> Task<void> {
    EXPECT_TRUE(co_await pair.client.write_all("into memory of the source"));
    EXPECT_TRUE(co_await pair.server.read_some());
  });
  EXPECT_EQ(source().buffers - before, 3u);  // small, medium, large
  EXPECT_EQ(source().outstanding, 0);
}

TEST(MemorySource, IsMadeOfAStandardResource) {
  std::pmr::monotonic_buffer_resource arena;
  FromResource from(static_cast<std::pmr::memory_resource&>(arena));
  void* const block = from.allocate(100, 16);
  EXPECT_NE(block, nullptr);
  from.deallocate(block, 100, 16);
}

TEST(MemorySourceDeathTest, IsSetOnceBeforeTheFirstFrame) {
  EXPECT_DEATH(set_memory_source(source()), "source == nullptr");
}

}  // namespace
}  // namespace corelane
