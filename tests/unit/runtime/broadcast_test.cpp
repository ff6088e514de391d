// Goal: every subscription receives each value that is sent after it was made, in order; a slow one
// makes the sender wait, or misses the oldest values and is told how many, as it chose; closing,
// leaving and cancelling wake everybody who would wait for ever. Method: coroutines of one core,
// and random subscriptions against a plain model.
#include "runtime/broadcast.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "runtime/await.hpp"
#include "runtime/task_group.hpp"
#include "runtime/timeout.hpp"
#include "tests/support/on_cores.hpp"
#include "tests/support/prng.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::run_on_cores;
using Numbers = Broadcast<int>;

Task<void> collect(Numbers::Subscription from, std::vector<int>* into) {
  for (;;) {
    const auto got = co_await from.receive();
    if (!got) co_return;
    EXPECT_EQ(got->missed, 0u);
    into->push_back(got->value);
  }
}

TEST(Broadcast, GivesEachValueToEverySubscriptionThatWaits) {
  run_on_cores(1, []() -> Task<void> {
    Numbers numbers(4);
    std::vector<int> first;
    std::vector<int> second;
    TaskGroup group("subscribers");
    EXPECT_TRUE(co_await numbers.send(-1));  // nobody hears it
    group.spawn("first", collect, numbers.subscribe(OnSlow::wait), &first);
    for (int i = 0; i < 50; ++i) {
      if (i == 20) group.spawn("second", collect, numbers.subscribe(OnSlow::wait), &second);
      EXPECT_TRUE(co_await numbers.send(i));
    }
    numbers.close();
    co_await group.join();
    EXPECT_EQ(first.size(), 50u);
    EXPECT_EQ(second.size(), 30u);
    for (int i = 0; i < 50; ++i) EXPECT_EQ(first[static_cast<std::size_t>(i)], i);
    for (int i = 20; i < 50; ++i) EXPECT_EQ(second[static_cast<std::size_t>(i - 20)], i);
    EXPECT_EQ(numbers.subscriptions(), 0u);
  });
}

TEST(Broadcast, ASlowSubscriptionMissesTheOldestAndIsToldHowMany) {
  run_on_cores(1, []() -> Task<void> {
    Numbers numbers(4);
    auto slow = numbers.subscribe(OnSlow::miss);
    for (int i = 0; i < 10; ++i) EXPECT_TRUE(co_await numbers.send(i));
    EXPECT_EQ(slow.behind(), 10u);
    const auto got = co_await slow.receive();
    EXPECT_TRUE(got && got->value == 6 && got->missed == 6);
    for (int i = 7; i < 10; ++i) {
      const auto next = co_await slow.receive();
      EXPECT_TRUE(next && next->value == i && next->missed == 0);
    }
    numbers.close();
    const auto end = co_await slow.receive();
    EXPECT_TRUE(!end && end.error().code == ErrorCode::closed);
  });
}

TEST(Broadcast, TheSenderWaitsForTheSlowestThatIsWaitedForOrUntilItLeaves) {
  run_on_cores(1, []() -> Task<void> {
    Numbers numbers(2);
    auto fast = numbers.subscribe(OnSlow::wait);
    auto slow = std::make_optional(numbers.subscribe(OnSlow::wait));
    EXPECT_TRUE(co_await numbers.send(0));
    EXPECT_TRUE(co_await numbers.send(1));
    for (int i = 0; i < 2; ++i) EXPECT_TRUE(co_await fast.receive());
    int value = 2;
    EXPECT_FALSE(numbers.try_send(value));
    const auto late = co_await with_timeout(kMillisecond, numbers.send(99));
    EXPECT_TRUE(!late && late.error().code == ErrorCode::timed_out);
    std::vector<int> sent;
    TaskGroup group("senders");
    group.spawn(
        "sender",
        [](Numbers* to, std::vector<int>* done) -> Task<void> {
          for (int i = 2; i < 5; ++i) {
            EXPECT_TRUE(co_await to->send(i));
            done->push_back(i);
          }
        },
        &numbers, &sent);
    co_await Yield{};
    EXPECT_TRUE(sent.empty());
    EXPECT_TRUE(co_await slow->receive());  // room for one
    co_await Yield{};
    co_await Yield{};
    EXPECT_EQ(sent.size(), 1u);
    slow.reset();  // and the fast one has room for one more
    co_await Yield{};
    co_await Yield{};
    EXPECT_EQ(sent.size(), 2u);
    for (int i = 2; i < 5; ++i) {
      const auto got = co_await fast.receive();
      EXPECT_TRUE(got && got->value == i);
    }
    co_await group.join();
  });
}

TEST(Broadcast, ClosingEndsWaitsAndDestroyingItEndsItsSubscriptions) {
  run_on_cores(1, []() -> Task<void> {
    auto numbers = std::make_unique<Numbers>(1);
    auto kept = numbers->subscribe(OnSlow::wait);
    EXPECT_TRUE(co_await numbers->send(7));
    TaskGroup group("waiting");
    group.spawn(
        "sender",
        [](Numbers* to) -> Task<void> {
          const auto sent = co_await to->send(8);
          EXPECT_TRUE(!sent && sent.error().code == ErrorCode::closed);
        },
        numbers.get());
    std::vector<int> got;
    group.spawn("subscriber", collect, numbers->subscribe(OnSlow::wait), &got);
    numbers->close();
    const auto refused = co_await numbers->send(9);
    EXPECT_TRUE(!refused && refused.error().code == ErrorCode::closed);
    co_await group.join();
    EXPECT_TRUE(got.empty());
    const auto last = co_await kept.receive();  // what was sent before
    EXPECT_TRUE(last && last->value == 7);
    numbers.reset();
    const auto end = co_await kept.receive();
    EXPECT_TRUE(!end && end.error().code == ErrorCode::closed);
    EXPECT_EQ(kept.behind(), 0u);
  });
}

// Sends, receives, new subscriptions and leaving ones in random order; a subscription is modelled
// by a queue of its own.
TEST(Broadcast, AgreesWithAQueueForEachSubscription) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(seed);
    run_on_cores(1, [seed]() -> Task<void> {
      struct Modelled {
        Numbers::Subscription subscription;
        OnSlow on_slow;
        std::deque<int> queue{};
        std::uint64_t missed = 0;
      };
      tests::Prng prng(seed);
      const std::size_t capacity = 1 + prng.below(5);
      Numbers numbers(capacity);
      std::vector<std::unique_ptr<Modelled>> all;
      for (int step = 0; step < 500; ++step) {
        const std::uint64_t kind = prng.below(10);
        if (kind == 0 && all.size() < 6) {
          const OnSlow on_slow = prng.below(2) == 0 ? OnSlow::wait : OnSlow::miss;
          all.push_back(std::make_unique<Modelled>(numbers.subscribe(on_slow), on_slow));
        } else if (kind == 1 && !all.empty()) {
          all.erase(all.begin() + static_cast<std::ptrdiff_t>(prng.below(all.size())));
        } else if (kind < 6) {
          bool has_room = true;
          for (const auto& one : all) {
            has_room = has_room && (one->on_slow == OnSlow::miss || one->queue.size() < capacity);
          }
          int value = step;
          EXPECT_EQ(numbers.try_send(value), has_room);
          if (!has_room) continue;
          for (const auto& one : all) {
            one->queue.push_back(step);
            if (one->queue.size() <= capacity) continue;
            one->queue.pop_front();
            ++one->missed;
          }
        } else if (!all.empty()) {
          Modelled& one = *all[prng.below(all.size())];
          if (one.queue.empty()) continue;
          const auto got = co_await one.subscription.receive();
          EXPECT_TRUE(got && got->value == one.queue.front() && got->missed == one.missed);
          one.queue.pop_front();
          one.missed = 0;
        }
      }
    });
  }
}

}  // namespace
}  // namespace corelane
