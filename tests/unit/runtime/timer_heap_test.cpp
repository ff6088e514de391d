// Goal: timers fire in order of deadline, then of queueing, each once, and never early. Method: a
// sorted multimap as model under random operations; timers that change the heap while firing.
#include "runtime/timer_heap.hpp"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <vector>

#include "runtime/random.hpp"

namespace corelane {
namespace {

struct Recorder : runtime::Timer {
  Recorder(int which, std::vector<int>& fired_order)
      : Timer([](Timer& timer) noexcept {
          auto& self = static_cast<Recorder&>(timer);
          EXPECT_FALSE(self.queued());
          self.order.push_back(self.number);
        }),
        number(which),
        order(fired_order) {}
  int number;
  std::vector<int>& order;
};

TEST(TimerHeap, EqualDeadlinesFireInOrderOfQueueing) {
  runtime::TimerHeap heap;
  std::vector<int> order;
  std::vector<std::unique_ptr<Recorder>> timers;
  for (int i = 0; i < 100; ++i) {
    timers.push_back(std::make_unique<Recorder>(i, order));
    heap.add(*timers.back(), 50);
  }
  heap.reschedule(*timers[0], 50);
  EXPECT_EQ(heap.fire_due(49, 1000), 0U);
  EXPECT_EQ(heap.fire_due(50, 1000), 100U);
  for (int i = 0; i < 99; ++i) EXPECT_EQ(order[static_cast<std::size_t>(i)], i + 1);
  EXPECT_EQ(order.back(), 0);
  EXPECT_EQ(heap.next_deadline(), runtime::TimerHeap::kNever);
}

TEST(TimerHeap, StopsAtTheGivenNumberAndGoesOnLater) {
  runtime::TimerHeap heap;
  std::vector<int> order;
  Recorder first(1, order);
  Recorder second(2, order);
  heap.add(second, 20);
  heap.add(first, -10);
  EXPECT_EQ(heap.next_deadline(), -10);
  EXPECT_EQ(heap.fire_due(30, 1), 1U);
  EXPECT_EQ(heap.next_deadline(), 20);
  EXPECT_EQ(heap.fire_due(30, 1), 1U);
  EXPECT_EQ(order, (std::vector{1, 2}));
}

TEST(TimerHeap, AFiringTimerMayQueueItselfAndCancelOthers) {
  struct Chain : runtime::Timer {
    Chain(runtime::TimerHeap& owner, Recorder& other)
        : Timer([](Timer& timer) noexcept {
            auto& self = static_cast<Chain&>(timer);
            self.heap.cancel(self.victim);
            if (++self.fired < 3) self.heap.add(self, self.deadline_ns + 1);
          }),
          heap(owner),
          victim(other) {}
    runtime::TimerHeap& heap;
    Recorder& victim;
    int fired = 0;
  };
  runtime::TimerHeap heap;
  std::vector<int> order;
  Recorder victim(1, order);
  Chain chain(heap, victim);
  heap.add(chain, 1);
  heap.add(victim, 1);
  EXPECT_EQ(heap.fire_due(2, 10), 2U);
  EXPECT_EQ(heap.next_deadline(), 3);
  EXPECT_EQ(heap.fire_due(3, 10), 1U);
  EXPECT_EQ(chain.fired, 3);
  EXPECT_TRUE(order.empty());
  EXPECT_FALSE(heap.cancel(victim));
}

TEST(TimerHeap, BehavesLikeASortedMultimap) {
  constexpr std::uint64_t kSeed = 4711;
  runtime::Random random(kSeed);
  runtime::TimerHeap heap;
  std::vector<int> order;
  std::vector<std::unique_ptr<Recorder>> timers;
  for (int i = 0; i < 300; ++i) timers.push_back(std::make_unique<Recorder>(i, order));
  std::multimap<std::int64_t, int> model;  // equal keys keep their order of insertion
  const auto forget = [&](int number) {
    for (auto entry = model.begin(); entry != model.end(); ++entry) {
      if (entry->second == number) return model.erase(entry), true;
    }
    return false;
  };
  std::int64_t now = 0;
  for (int step = 0; step < 30'000; ++step) {
    SCOPED_TRACE(testing::Message() << "seed " << kSeed << " step " << step);
    const int number = static_cast<int>(random.below(timers.size()));
    Recorder& timer = *timers[static_cast<std::size_t>(number)];
    // Few different deadlines, so that equal ones are ordinary.
    const std::int64_t deadline = now + random.between(-5, 40);
    if (random.chance(1, 8)) {
      now += random.between(0, 10);
      const std::size_t max = random.below(20);
      order.clear();
      const std::size_t fired = heap.fire_due(now, max);
      ASSERT_EQ(order.size(), fired);
      ASSERT_LE(fired, max);
      for (const int which : order) {
        ASSERT_EQ(model.begin()->second, which);
        ASSERT_LE(model.begin()->first, now);
        model.erase(model.begin());
      }
      ASSERT_TRUE(fired == max || model.empty() || model.begin()->first > now);
    } else if (random.chance(1, 3)) {
      ASSERT_EQ(heap.cancel(timer), forget(number));
    } else {
      forget(number);
      heap.reschedule(timer, deadline);
      model.emplace(deadline, number);
    }
    ASSERT_EQ(heap.size(), model.size());
    ASSERT_EQ(heap.next_deadline(),
              model.empty() ? runtime::TimerHeap::kNever : model.begin()->first);
  }
  for (auto& timer : timers) heap.cancel(*timer);
}

TEST(TimerHeapDeathTest, ATimerMayNotGoWhileQueued) {
  EXPECT_DEATH(
      {
        runtime::TimerHeap heap;
        std::vector<int> order;
        Recorder timer(1, order);
        heap.add(timer, 1);
      },
      "queued");
}

}  // namespace
}  // namespace corelane
