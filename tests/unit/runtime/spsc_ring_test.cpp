// Goal: SpscRing is a FIFO of bounded capacity whose elements appear in published batches, and its
// publish/empty pair loses no wake-up. Method: a plain deque as model under random operations on
// tiny rings; then two threads, under ThreadSanitizer too.
#include "runtime/spsc_ring.hpp"

#include <gtest/gtest.h>

#include <array>
#include <deque>
#include <thread>
#include <vector>

#include "runtime/random.hpp"

namespace corelane {
namespace {

using Ring = runtime::SpscRing<std::uint64_t>;

TEST(SpscRing, ShowsNothingBeforePublish) {
  Ring ring(4);
  EXPECT_TRUE(ring.try_push(1));
  EXPECT_TRUE(ring.try_push(2));
  EXPECT_EQ(ring.unpublished(), 2U);
  EXPECT_TRUE(ring.empty_seq_cst());
  EXPECT_TRUE(ring.peek(4).empty());
  EXPECT_TRUE(ring.publish());
  EXPECT_FALSE(ring.publish());
  EXPECT_EQ(ring.unpublished(), 0U);
  EXPECT_FALSE(ring.empty_seq_cst());
  EXPECT_EQ(ring.peek(4).size(), 2U);
}

TEST(SpscRing, TakesAsManyAsFitAndRefusesTheRest) {
  Ring ring(4);
  const std::array<std::uint64_t, 6> elements{0, 1, 2, 3, 4, 5};
  EXPECT_EQ(ring.push(elements), 4U);
  EXPECT_EQ(ring.push(elements), 0U);
  EXPECT_FALSE(ring.try_push(9));
  ring.publish();
  EXPECT_EQ(ring.peek(2).size(), 2U);
  ring.consume(2);
  EXPECT_EQ(ring.push(elements), 2U);
}

TEST(SpscRing, BehavesLikeABoundedDeque) {
  constexpr std::uint64_t kSeed = 20240607;
  runtime::Random random(kSeed);
  for (const std::size_t capacity : {1U, 2U, 8U}) {
    Ring ring(capacity);
    std::deque<std::uint64_t> pending;
    std::deque<std::uint64_t> readable;
    std::uint64_t next = 0;
    for (int step = 0; step < 20'000; ++step) {
      SCOPED_TRACE(testing::Message()
                   << "seed " << kSeed << " capacity " << capacity << " step " << step);
      switch (random.below(4)) {
        case 0: {
          const bool room = pending.size() + readable.size() < capacity;
          ASSERT_EQ(ring.try_push(next), room);
          if (room) pending.push_back(next++);
          break;
        }
        case 1: {
          std::vector<std::uint64_t> batch(random.below(2 * capacity + 1));
          for (std::size_t i = 0; i < batch.size(); ++i) batch[i] = next + i;
          const std::size_t room = capacity - pending.size() - readable.size();
          ASSERT_EQ(ring.push(batch), std::min(room, batch.size()));
          for (std::size_t i = 0; i < std::min(room, batch.size()); ++i) pending.push_back(next++);
          break;
        }
        case 2:
          ASSERT_EQ(ring.publish(), !pending.empty());
          readable.insert(readable.end(), pending.begin(), pending.end());
          pending.clear();
          break;
        default: {
          const std::size_t max = random.below(capacity + 1);
          const auto view = ring.peek(max);
          ASSERT_LE(view.size(), std::min(max, readable.size()));
          ASSERT_EQ(view.empty(), max == 0 || readable.empty());
          ASSERT_TRUE(std::equal(view.begin(), view.end(), readable.begin()));
          const std::size_t count = random.below(view.size() + 1);
          ring.consume(count);
          readable.erase(readable.begin(), readable.begin() + static_cast<std::ptrdiff_t>(count));
          ASSERT_EQ(ring.empty_seq_cst(), readable.empty());
        }
      }
    }
  }
}

// The consumer really sleeps (futex) whenever it finds nothing, the producer wakes it only when it
// says that it sleeps. One lost wake-up and the test hangs.
TEST(SpscRing, LosesNoElementAndNoWakeUpBetweenThreads) {
  constexpr std::uint64_t kElements = 200'000;
  Ring ring(64);
  std::atomic<std::uint32_t> sleeping{0};
  std::thread consumer([&] {
    std::uint64_t expected = 0;
    while (expected < kElements) {
      const auto view = ring.peek(16);
      if (!view.empty()) {
        for (const std::uint64_t element : view) ASSERT_EQ(element, expected++);
        ring.consume(view.size());
        continue;
      }
      sleeping.store(1, std::memory_order_seq_cst);
      if (ring.empty_seq_cst()) sleeping.wait(1);
      sleeping.store(0, std::memory_order_seq_cst);
    }
  });
  runtime::Random random(7);
  std::uint64_t next = 0;
  while (next < kElements) {
    for (std::uint64_t batch = 1 + random.below(8); batch > 0 && next < kElements; --batch) {
      if (!ring.try_push(next)) break;
      ++next;
    }
    if (!ring.publish()) {
      std::this_thread::yield();
    } else if (sleeping.load(std::memory_order_seq_cst) != 0) {
      sleeping.store(0, std::memory_order_seq_cst);
      sleeping.notify_one();
    }
  }
  consumer.join();
  EXPECT_TRUE(ring.empty_seq_cst());
}

}  // namespace
}  // namespace corelane
