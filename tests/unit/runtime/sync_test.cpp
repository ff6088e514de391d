// Goal: channels and semaphores are fair, bounded, and cancel and close without losing what was
// handed over. Method: scripted coroutines on one core.
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "runtime/await.hpp"
#include "runtime/channel.hpp"
#include "runtime/semaphore.hpp"
#include "runtime/task_group.hpp"
#include "tests/support/on_cores.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::run_on_cores;

TEST(Channel, KeepsOrderAndBlocksTheSenderWhenFull) {
  run_on_cores(1, []() -> Task<void> {
    Channel<int> channel(2);
    TaskGroup group("test");
    group.spawn(
        "sender",
        [](Channel<int>* out) -> Task<void> {
          for (int i = 0; i < 100; ++i) {
            EXPECT_TRUE(co_await out->send(i));
            EXPECT_LE(out->size(), 2u);
          }
          out->close();
        },
        &channel);
    std::vector<int> seen;
    for (;;) {
      auto item = co_await channel.receive();
      if (!item) {
        EXPECT_EQ(item.error().code, ErrorCode::closed);
        break;
      }
      seen.push_back(*item);
    }
    co_await group.join();
    EXPECT_EQ(seen.size(), 100u);
    for (int i = 0; i < 100; ++i) EXPECT_EQ(seen[static_cast<std::size_t>(i)], i);
  });
}

TEST(Channel, TrySendTakesTheValueOnlyIfThereIsRoomOrAReceiver) {
  run_on_cores(1, []() -> Task<void> {
    Channel<std::unique_ptr<int>> channel(1);
    auto first = std::make_unique<int>(1);
    auto second = std::make_unique<int>(2);
    EXPECT_TRUE(channel.try_send(first));
    EXPECT_EQ(first, nullptr);
    EXPECT_FALSE(channel.try_send(second));
    EXPECT_NE(second, nullptr);
    EXPECT_EQ(**co_await channel.receive(), 1);
    TaskGroup group("test");
    int received = 0;
    group.spawn(
        "receiver",
        [](Channel<std::unique_ptr<int>>* from, int* to) -> Task<void> {
          const auto item = co_await from->receive();
          if (item) *to = **item;
        },
        &channel, &received);
    co_await Yield{};
    EXPECT_TRUE(channel.try_send(second));
    EXPECT_EQ(channel.size(), 0u) << "it was handed to the waiter";
    co_await group.join();
    EXPECT_EQ(received, 2);
    channel.close();
    auto late = std::make_unique<int>(3);
    EXPECT_FALSE(channel.try_send(late));
    EXPECT_NE(late, nullptr);
  });
}

TEST(Semaphore, TryAcquireNeverOvertakesAWaiter) {
  run_on_cores(1, []() -> Task<void> {
    Semaphore semaphore(2);
    EXPECT_FALSE(semaphore.try_acquire(3));
    EXPECT_EQ(semaphore.available(), 2u);
    EXPECT_TRUE(semaphore.try_acquire());
    TaskGroup group("test");
    group.spawn(
        "waiting", [](Semaphore* of) -> Task<void> { EXPECT_TRUE(co_await of->acquire(2)); },
        &semaphore);
    co_await Yield{};
    EXPECT_FALSE(semaphore.try_acquire()) << "one is free, but it is the other's turn";
    semaphore.release();
    co_await group.join();
    EXPECT_EQ(semaphore.available(), 0u);
  });
}

TEST(Channel, CloseWakesWaitingReceiversAndSenders) {
  run_on_cores(1, []() -> Task<void> {
    Channel<int> empty(1);
    Channel<int> full(1);
    EXPECT_TRUE(co_await full.send(1));
    TaskGroup group("test");
    int closed = 0;
    group.spawn(
        "receiver",
        [](Channel<int>* from, int* count) -> Task<void> {
          const auto item = co_await from->receive();
          *count += !item && item.error().code == ErrorCode::closed;
        },
        &empty, &closed);
    group.spawn(
        "sender",
        [](Channel<int>* to, int* count) -> Task<void> {
          const auto sent = co_await to->send(2);
          *count += !sent && sent.error().code == ErrorCode::closed;
        },
        &full, &closed);
    empty.close();
    full.close();
    co_await group.join();
    EXPECT_EQ(closed, 2);
    const auto rest = co_await full.receive();
    EXPECT_TRUE(rest) << "what was in the channel at close can still be received";
  });
}

TEST(Channel, ACancelledReceiverLeavesTheItemToTheNext) {
  run_on_cores(1, []() -> Task<void> {
    Channel<int> channel(1);
    TaskGroup group("test");
    group.spawn(
        "receiver",
        [](Channel<int>* from) -> Task<void> {
          const auto item = co_await from->receive();
          EXPECT_FALSE(item);
        },
        &channel);
    group.cancel();
    co_await group.join();
    EXPECT_TRUE(co_await channel.send(3));
    const auto item = co_await channel.receive();
    EXPECT_TRUE(item && *item == 3);
  });
}

TEST(Semaphore, NeverGivesOutMoreThanItHasAndIsFirstComeFirstServed) {
  run_on_cores(1, []() -> Task<void> {
    Semaphore semaphore(3);
    TaskGroup group("test");
    struct State {
      Semaphore* semaphore;
      int inside = 0;
      int most = 0;
      std::vector<int> order;
    } state{&semaphore, 0, 0, {}};
    for (int i = 0; i < 20; ++i) {
      group.spawn(
          "worker",
          [](State* s, int index) -> Task<void> {
            const std::size_t amount = index % 5 == 4 ? 3 : 1;
            EXPECT_TRUE(co_await s->semaphore->acquire(amount));
            s->order.push_back(index);
            s->inside += static_cast<int>(amount);
            s->most = std::max(s->most, s->inside);
            co_await sleep_for(10 * kMicrosecond);
            s->inside -= static_cast<int>(amount);
            s->semaphore->release(amount);
          },
          &state, i);
    }
    co_await group.join();
    EXPECT_EQ(state.most, 3);
    EXPECT_EQ(semaphore.available(), 3u);
    for (int i = 0; i < 20; ++i) EXPECT_EQ(state.order[static_cast<std::size_t>(i)], i);
  });
}

TEST(Semaphore, ACancelledLargeRequestLetsTheOnesBehindItGo) {
  run_on_cores(1, []() -> Task<void> {
    Semaphore semaphore(1);
    TaskGroup large("large");
    TaskGroup small("small");
    large.spawn(
        "large", [](Semaphore* s) -> Task<void> { EXPECT_FALSE(co_await s->acquire(2)); },
        &semaphore);
    bool entered = false;
    small.spawn(
        "small",
        [](Semaphore* s, bool* in) -> Task<void> {
          EXPECT_TRUE(co_await s->acquire(1));
          *in = true;
          s->release(1);
        },
        &semaphore, &entered);
    EXPECT_FALSE(entered);
    large.cancel();
    co_await large.join();
    co_await small.join();
    EXPECT_TRUE(entered);
  });
}

}  // namespace
}  // namespace corelane
