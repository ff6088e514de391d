// Goal: what coroutines of one core wait for each other with is fair, ends with the scope, and
// hands over without a gap. Method: scripted coroutines, over io_uring and in the simulation.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "runtime/await.hpp"
#include "runtime/combine.hpp"
#include "runtime/event.hpp"
#include "runtime/file.hpp"
#include "runtime/generator.hpp"
#include "runtime/interval.hpp"
#include "runtime/latch.hpp"
#include "runtime/mutex.hpp"
#include "runtime/semaphore.hpp"
#include "runtime/task_group.hpp"
#include "tests/support/on_cores.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::run_on_cores;

constexpr Nanoseconds kLong = 3600 * kSecond;

Task<void> waits_for(Event* event, int* woken, int* cancelled) {
  const auto waited = co_await event->wait();
  ++*(waited ? woken : cancelled);
}

TEST(Event, WakesAllThatWaitAndPassesWhileItIsSet) {
  run_on_cores(1, []() -> Task<void> {
    Event event;
    TaskGroup group("group");
    int woken = 0;
    int cancelled = 0;
    for (int i = 0; i < 3; ++i) group.spawn("waits", waits_for, &event, &woken, &cancelled);
    co_await Yield();
    EXPECT_EQ(woken, 0);
    event.set();
    group.spawn("passes", waits_for, &event, &woken, &cancelled);
    EXPECT_EQ(woken, 1) << "at once";
    co_await group.join();
    EXPECT_EQ(woken, 4);
    event.reset();
    group.spawn("waits", waits_for, &event, &woken, &cancelled);
    group.cancel();
    co_await group.join();
    EXPECT_EQ(cancelled, 1);
  });
}

struct Order {
  Mutex mutex;
  int inside = 0;
  int cancelled = 0;
  std::vector<int> seen;
};
Task<void> locks(Order* order, int index, Nanoseconds holds) {
  const auto lock = co_await order->mutex.lock();
  if (!lock) {
    ++order->cancelled;
    co_return;
  }
  EXPECT_EQ(++order->inside, 1);
  order->seen.push_back(index);
  co_await sleep_for(holds);
  --order->inside;
}

TEST(Mutex, IsHandedOverInOrderAndNobodyIsInsideTwice) {
  run_on_cores(1, []() -> Task<void> {
    Order order;
    TaskGroup group("group");
    for (int i = 0; i < 10; ++i) group.spawn("locks", locks, &order, i, 10 * kMicrosecond);
    co_await group.join();
    EXPECT_EQ(order.seen, (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
    EXPECT_FALSE(order.mutex.is_locked());
  });
}

TEST(Mutex, IsNotLostToACancelledWaiter) {
  run_on_cores(1, []() -> Task<void> {
    Order order;
    TaskGroup first("first");
    TaskGroup second("second");
    first.spawn("holds", locks, &order, 0, kMillisecond);
    second.spawn("gives up", locks, &order, 1, kLong);
    first.spawn("waits", locks, &order, 2, kMicrosecond);
    second.cancel();
    co_await second.join();
    co_await first.join();
    EXPECT_EQ(order.cancelled, 1);
    EXPECT_EQ(order.seen, (std::vector<int>{0, 2}));
    EXPECT_TRUE(order.mutex.try_lock());
    order.mutex.unlock();
  });
}

// The lock is handed over, and in the same turn its new holder is cancelled: it has the lock.
TEST(Mutex, ThatIsHandedToACoroutineWhichIsCancelledInTheSameTurnIsHeldAndReleased) {
  run_on_cores(1, []() -> Task<void> {
    Order order;
    TaskGroup group("group");
    TaskGroup given_up("given up");
    EXPECT_TRUE(order.mutex.try_lock());
    given_up.spawn("granted", locks, &order, 1, kLong);
    group.spawn("waits", locks, &order, 2, kMicrosecond);
    order.mutex.unlock();
    given_up.cancel();
    EXPECT_TRUE(order.mutex.is_locked());
    co_await given_up.join();
    co_await group.join();
    EXPECT_EQ(order.cancelled, 0);
    EXPECT_EQ(order.seen, (std::vector<int>{1, 2}));
    EXPECT_FALSE(order.mutex.is_locked());
  });
}

TEST(Mutex, ALockReleasesBeforeItTakesAnotherOneAndEarlierOnDemand) {
  run_on_cores(1, []() -> Task<void> {
    Mutex one;
    Mutex other;
    auto held = co_await one.lock();
    auto next = co_await other.lock();
    *held = std::move(*next);
    EXPECT_FALSE(one.is_locked());
    EXPECT_TRUE(other.is_locked());
    held->release();
    EXPECT_FALSE(other.is_locked());
    held->release();
    Semaphore permits(3);
    auto two = co_await permits.acquire_guarded(2);
    auto last = co_await permits.acquire_guarded(1);
    *two = std::move(*last);
    EXPECT_EQ(permits.available(), 2u);
    two->release();
    EXPECT_EQ(permits.available(), 3u);
  });
}

struct Box {
  Mutex mutex;
  ConditionVariable changed;
  int value = 0;
};
Task<void> takes(Box* box, int wanted, int* result) {
  auto lock = co_await box->mutex.lock();
  const auto waited =
      co_await box->changed.wait_until(*lock, [box, wanted] { return box->value >= wanted; });
  EXPECT_TRUE(box->mutex.is_locked()) << "also when it was cancelled";
  *result = waited ? box->value : -1;
}

TEST(ConditionVariable, WaitsForItsConditionAndHoldsTheLockAfterwards) {
  run_on_cores(1, []() -> Task<void> {
    Box box;
    TaskGroup group("group");
    TaskGroup given_up("given up");
    int small = 0;
    int large = 0;
    group.spawn("small", takes, &box, 1, &small);
    group.spawn("large", takes, &box, 3, &large);
    int never = 0;
    given_up.spawn("never", takes, &box, 100, &never);
    for (int i = 0; i < 3; ++i) {
      co_await sleep_for(kMicrosecond);
      const auto lock = co_await box.mutex.lock();
      ++box.value;
      box.changed.notify_all();
    }
    co_await group.join();
    EXPECT_EQ(small, 1);
    EXPECT_EQ(large, 3);
    given_up.cancel();
    co_await given_up.join();
    EXPECT_EQ(never, -1);
  });
}

TEST(Semaphore, AGuardReleasesItsPermitsAtTheEndOfItsBlock) {
  run_on_cores(1, []() -> Task<void> {
    Semaphore semaphore(3);
    {
      auto guard = co_await semaphore.acquire_guarded(2);
      EXPECT_TRUE(guard);
      EXPECT_EQ(semaphore.available(), 1u);
      Semaphore::Guard moved = std::move(*guard);
      EXPECT_EQ(semaphore.available(), 1u);
    }
    EXPECT_EQ(semaphore.available(), 3u);
  });
}

Task<void> counts_down(Latch* latch, Nanoseconds delay) {
  co_await sleep_for(delay);
  latch->count_down();
}

TEST(Latch, OpensWhenAllHaveCountedDown) {
  run_on_cores(1, []() -> Task<void> {
    Latch latch(3);
    TaskGroup group("group");
    for (int i = 0; i < 3; ++i) group.spawn("counts", counts_down, &latch, i * kMicrosecond);
    EXPECT_FALSE(latch.is_open());
    EXPECT_TRUE(co_await latch.wait());
    EXPECT_TRUE(co_await latch.wait());
    co_await group.join();
  });
}

Task<void> plays(Barrier* barrier, int rounds, std::vector<int>* at, std::size_t self, int* last) {
  for (int i = 0; i < rounds; ++i) {
    for (const int other : *at) EXPECT_LE(std::abs(other - i), 1);
    (*at)[self] = i + 1;
    co_await sleep_for(static_cast<Nanoseconds>(self) * kMicrosecond);
    const auto met = co_await barrier->arrive_and_wait();
    EXPECT_TRUE(met);
    if (met && *met) ++*last;
  }
}

TEST(Barrier, KeepsItsPartiesInStep) {
  run_on_cores(1, []() -> Task<void> {
    Barrier barrier(4);
    std::vector<int> at(4);
    int last = 0;
    TaskGroup group("group");
    for (std::size_t i = 0; i < 4; ++i) group.spawn("plays", plays, &barrier, 20, &at, i, &last);
    co_await group.join();
    EXPECT_EQ(at, (std::vector<int>(4, 20)));
    EXPECT_EQ(last, 20);
  });
}

Task<void> arrives(Barrier* at, int* met) {
  const auto arrived = co_await at->arrive_and_wait();
  if (arrived) ++*met;
}

TEST(Barrier, TakesBackAnArrivalThatIsCancelled) {
  run_on_cores(1, []() -> Task<void> {
    Barrier barrier(2);
    int met = 0;
    TaskGroup given_up("given up");
    given_up.spawn("arrives", arrives, &barrier, &met);
    given_up.cancel();
    co_await given_up.join();
    TaskGroup group("group");
    group.spawn("first", arrives, &barrier, &met);
    co_await Yield();
    EXPECT_EQ(met, 0);
    group.spawn("second", arrives, &barrier, &met);
    co_await group.join();
    EXPECT_EQ(met, 2);
  });
}

TEST(Barrier, TakesBackAnArrivalBeforeTheCancelledCoroutineRuns) {
  run_on_cores(1, []() -> Task<void> {
    Barrier barrier(2);
    int met = 0;
    TaskGroup given_up("given up");
    TaskGroup group("group");
    given_up.spawn("arrives", arrives, &barrier, &met);
    given_up.cancel();
    group.spawn("first", arrives, &barrier, &met);
    co_await given_up.join();
    co_await Yield();
    EXPECT_EQ(met, 0);
    group.spawn("second", arrives, &barrier, &met);
    co_await group.join();
    EXPECT_EQ(met, 2);
  });
}

AsyncGenerator<std::unique_ptr<int>> numbers(int count, Nanoseconds delay, int* ended) {
  struct AtEnd {
    int* flag;
    ~AtEnd() { ++*flag; }
  } at_end{ended};
  for (int i = 0; i < count; ++i) {
    if (delay != 0 && i % 2 == 0) co_await sleep_for(delay);
    co_yield std::make_unique<int>(i);
  }
}

TEST(AsyncGenerator, GivesItsValuesInOrderAndThenNone) {
  run_on_cores(1, []() -> Task<void> {
    for (const Nanoseconds delay : {Nanoseconds{0}, kMicrosecond}) {
      int ended = 0;
      auto source = numbers(100, delay, &ended);
      for (int i = 0; i < 100; ++i) {
        const auto value = co_await source.next();
        EXPECT_TRUE(value && **value == i);
      }
      EXPECT_FALSE(co_await source.next());
      EXPECT_FALSE(co_await source.next());
      EXPECT_EQ(ended, 1);
    }
  });
}

TEST(AsyncGenerator, OfAMillionValuesKeepsTheStackFlat) {
  run_on_cores(1, []() -> Task<void> {
    int ended = 0;
    auto source = numbers(1'000'000, 0, &ended);
    std::int64_t sum = 0;
    for (;;) {
      const auto value = co_await source.next();
      if (!value) break;
      sum += **value;
    }
    EXPECT_EQ(sum, 499'999'500'000);
  });
}

AsyncGenerator<int> throws_after(int count) {
  for (int i = 0; i < count; ++i) co_yield i;
  throw std::runtime_error("no more");
}
AsyncGenerator<bool> sleeps() {
  for (;;) co_yield co_await sleep_for(kLong);
}

TEST(AsyncGenerator, IsUnwoundWhenItIsDroppedThrowsAndIsCancelledLikeATask) {
  run_on_cores(1, []() -> Task<void> {
    int ended = 0;
    {
      auto dropped = numbers(100, kMicrosecond, &ended);
      EXPECT_TRUE(co_await dropped.next());
      auto moved = std::move(dropped);
      EXPECT_TRUE(co_await moved.next());
    }
    EXPECT_EQ(ended, 1);
    {
      auto never = numbers(100, 0, &ended);
    }
    EXPECT_EQ(ended, 1);
    auto throwing = throws_after(1);
    EXPECT_TRUE(co_await throwing.next());
    bool threw = false;
    try {
      co_await throwing.next();
    } catch (const std::runtime_error&) {
      threw = true;
    }
    EXPECT_TRUE(threw);
    auto sleeping = sleeps();
    const auto cancelled = co_await with_timeout(kMillisecond, sleeping.next());
    EXPECT_FALSE(cancelled);
  });
}

TEST(Interval, TicksWithoutDriftAndTellsOfMissedTicks) {
  run_on_cores(1, []() -> Task<void> {
    const Nanoseconds before = Core::current().ring().now();
    Interval every(kMillisecond);
    const Nanoseconds after = Core::current().ring().now();
    Nanoseconds ticks = 0;
    for (int i = 0; i < 10; ++i) {
      ticks += static_cast<Nanoseconds>(co_await every.next());
      EXPECT_GE(Core::current().now() - before, ticks * kMillisecond);
      // Each wait comes late. An interval that counts its period from there falls behind.
      EXPECT_LT(Core::current().now() - after, (ticks + 1) * kMillisecond);
      co_await sleep_for(kMillisecond * 13 / 10);
    }
    EXPECT_GE(ticks, 10);
    co_await sleep_for(10 * kMillisecond);
    EXPECT_GE(co_await every.next(), 10u);
    const auto cancelled = co_await with_timeout(Nanoseconds{0}, every.next());
    EXPECT_FALSE(cancelled);
  });
}

Task<Result<void>> returns_early(std::string path) {
  auto file = co_await File::open(std::move(path), O_CREAT | O_RDWR);
  if (!file) co_return file.error();
  co_return ErrorCode::invalid_argument;
}

// Lowers RLIMIT_NOFILE while it lives.
class DescriptorLimit {
 public:
  explicit DescriptorLimit(rlim_t most) {
    EXPECT_EQ(::getrlimit(RLIMIT_NOFILE, &before_), 0);
    rlimit lower = before_;
    lower.rlim_cur = std::min(most, before_.rlim_cur);
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &lower), 0);
  }
  ~DescriptorLimit() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  DescriptorLimit(const DescriptorLimit&) = delete;
  DescriptorLimit& operator=(const DescriptorLimit&) = delete;

 private:
  rlimit before_{};
};

TEST(File, ThatAnErrorPathLeavesOpenClosesInTheBackground) {
  run_on_cores(1, []() -> Task<void> {
    const std::string path = ::testing::TempDir() + "corelane_primitives_test";
    // More than the process may have open at once, if they stayed open. (The simulation has a
    // limit of its own.)
    const DescriptorLimit limit(256);
    for (int i = 0; i < 3000; ++i) {
      const auto early = co_await returns_early(path);
      EXPECT_EQ(early.error().code, ErrorCode::invalid_argument);
      if (early.error().code != ErrorCode::invalid_argument) break;
    }
  });
}

}  // namespace
}  // namespace corelane
