// Goal: a channel across cores keeps the order of each sender, loses and duplicates no value and no
// wake-up, waits when it is full, and ends from either side with everything that was sent; its
// memory is freed whichever side goes first, and nothing is allocated in steady state. Method: the
// same program over io_uring and in the simulation; tests/fault has it over seeds.
#include "runtime/core_channel.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "runtime/await.hpp"
#include "runtime/submit.hpp"
#include "runtime/task_group.hpp"
#include "runtime/timeout.hpp"
#include "tests/support/on_cores.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::run_on_cores;

struct Value {
  CoreId from;
  std::uint64_t number;
};

Task<std::uint64_t> send_numbers(CoreSender<Value>& to, std::uint64_t first, std::uint64_t count) {
  for (std::uint64_t number = first; number < first + count; ++number) {
    const auto sent = co_await to.send({.from = Core::current().id(), .number = number});
    if (!sent) co_return number - first;
  }
  co_return count;
}

// A sender for each core, and this many values of each.
Task<void> send_from(CoreId core, CoreSender<Value> to, std::uint64_t count) {
  auto there = [to = std::move(to), count]() mutable -> Task<void> {
    CoreSender<Value> mine = std::move(to);
    EXPECT_EQ(co_await send_numbers(mine, 0, count), count);
  };
  co_await submit_to(core, std::move(there));
}

TEST(CoreChannel, KeepsTheOrderOfEachSenderAndLosesNothing) {
  constexpr CoreId kCores = 3;
  constexpr std::uint64_t kEach = 5000;
  for (const std::size_t capacity :
       {std::size_t{1}, std::size_t{2}, std::size_t{7}, std::size_t{256}}) {
    run_on_cores(kCores, [capacity]() -> Task<void> {
      CoreChannel<Value> channel(capacity);
      TaskGroup group("senders");
      for (CoreId core = 0; core < kCores; ++core) {
        group.spawn("sender", send_from, core, channel.sender(core), kEach / capacity + 20);
      }
      std::vector<std::uint64_t> next(kCores, 0);
      for (;;) {
        const auto value = co_await channel.receive();
        if (!value) {
          EXPECT_EQ(value.error().code, ErrorCode::closed);
          break;
        }
        EXPECT_EQ(value->number, next[value->from]++);
      }
      for (const std::uint64_t got : next) EXPECT_EQ(got, kEach / capacity + 20);
      co_await group.join();
    });
  }
}

TEST(CoreChannel, ReceivesInBatchesOfAtMostSoMany) {
  run_on_cores(2, []() -> Task<void> {
    CoreChannel<Value> channel(64);
    TaskGroup group("senders");
    group.spawn("sender", send_from, CoreId{1}, channel.sender(1), std::uint64_t{1000});
    std::vector<Value> batch;
    std::uint64_t next = 0;
    for (;;) {
      batch.clear();
      const auto count = co_await channel.receive_batch(batch, 10);
      if (!count) break;
      EXPECT_EQ(*count, batch.size());
      EXPECT_GE(*count, 1u);
      EXPECT_LE(*count, 10u);
      for (const Value& value : batch) EXPECT_EQ(value.number, next++);
    }
    EXPECT_EQ(next, 1000u);
    co_await group.join();
  });
}

// Until the condition holds, turn by turn; fails if it does not.
template <class Condition>
Task<void> until(Condition condition) {
  for (int look = 0; look < 400'000 && !condition(); ++look) co_await sleep_for(50 * kMicrosecond);
  EXPECT_TRUE(condition());
}

TEST(CoreChannel, WaitsWhileTheRingIsFullAndGoesOnWhenSomeAreTaken) {
  run_on_cores(2, []() -> Task<void> {
    CoreChannel<Value> channel(8);
    std::atomic<std::uint64_t> sent = 0;
    TaskGroup group("senders");
    auto to = std::make_shared<CoreSender<Value>>(channel.sender(1));
    group.spawn(
        "sender",
        [](std::shared_ptr<CoreSender<Value>> sender,
           std::atomic<std::uint64_t>* count) -> Task<void> {
          co_await call_on(1, [sender = sender.get(), count]() -> Task<void> {
            for (std::uint64_t number = 0; number < 20; ++number) {
              EXPECT_TRUE(co_await sender->send({.from = 1, .number = number}));
              ++*count;
            }
          });
        },
        to, &sent);
    co_await until([&] { return channel.size() == 8; });
    co_await call_on(1, [] {});
    EXPECT_EQ(sent.load(), 8u);
    for (std::uint64_t number = 0; number < 20; ++number) {
      const auto value = co_await channel.receive();
      EXPECT_TRUE(value && value->number == number);
    }
    co_await group.join();
    EXPECT_EQ(sent.load(), 20u);
    EXPECT_FALSE(channel.try_receive());
  });
}

TEST(CoreChannel, AWaitingSendAndAWaitingReceiveCanBeCancelled) {
  run_on_cores(2, []() -> Task<void> {
    CoreChannel<Value> channel(2);
    CoreSender<Value> own = channel.sender(0);
    const auto none = co_await with_timeout(kMillisecond, channel.receive());
    EXPECT_TRUE(!none && none.error().code == ErrorCode::timed_out);
    EXPECT_EQ(co_await send_numbers(own, 0, 2), 2u);
    const auto full = co_await with_timeout(kMillisecond, own.send({.from = 0, .number = 99}));
    EXPECT_TRUE(!full && full.error().code == ErrorCode::timed_out);
    Value untouched{.from = 0, .number = 98};
    EXPECT_FALSE(own.try_send(untouched));
    // The cancelled values are not there, and the channel goes on.
    for (std::uint64_t number = 0; number < 2; ++number) {
      const auto value = co_await channel.receive();
      EXPECT_TRUE(value && value->number == number);
    }
    EXPECT_FALSE(channel.try_receive());
    EXPECT_TRUE(co_await own.send({.from = 0, .number = 2}));
    const auto value = co_await channel.receive();
    EXPECT_TRUE(value && value->number == 2);
  });
}

TEST(CoreChannel, ClosedByTheReceiverGivesWhatWasSentAndThenEnds) {
  run_on_cores(2, []() -> Task<void> {
    CoreChannel<Value> channel(16);
    std::atomic<std::uint64_t> sent = 0;
    TaskGroup group("senders");
    auto body = [to = channel.sender(1), &sent]() mutable -> Task<void> {
      CoreSender<Value> mine = std::move(to);
      sent = co_await send_numbers(mine, 0, 1'000'000'000);
      EXPECT_TRUE(mine.closed());
      Value late{.from = 1, .number = 0};
      EXPECT_FALSE(mine.try_send(late));
      const auto refused = co_await mine.send(late);
      EXPECT_TRUE(!refused && refused.error().code == ErrorCode::closed);
    };
    auto sender = std::make_shared<decltype(body)>(std::move(body));
    group.spawn(
        "sender",
        [](decltype(sender) run) -> Task<void> {
          co_await call_on(1, [run = run.get()] { return (*run)(); });
        },
        sender);
    std::uint64_t received = 0;
    for (; received < 100; ++received) EXPECT_TRUE(co_await channel.receive());
    channel.close();
    while (co_await channel.receive()) ++received;
    co_await group.join();
    EXPECT_EQ(received, sent.load());
  });
}

TEST(CoreChannel, ClosedByASenderEndsTheOthersBehindWhatItHasSent) {
  run_on_cores(3, []() -> Task<void> {
    CoreChannel<Value> channel(4);
    CoreSender<Value> waiting = channel.sender(0);
    EXPECT_EQ(co_await send_numbers(waiting, 0, 4), 4u);
    auto close = [to = channel.sender(2)]() mutable -> Task<void> {
      CoreSender<Value> mine = std::move(to);
      EXPECT_TRUE(co_await mine.send({.from = 2, .number = 0}));
      mine.close();
      EXPECT_TRUE(mine.closed());
    };
    co_await submit_to(2, std::move(close));
    const auto sent = co_await waiting.send({.from = 0, .number = 4});
    EXPECT_TRUE(!sent && sent.error().code == ErrorCode::closed);
    std::uint64_t received = 0;
    while (co_await channel.receive()) ++received;
    EXPECT_EQ(received, 5u);
  });
}

TEST(CoreChannel, EndsWhenAllSendersAreGone) {
  run_on_cores(2, []() -> Task<void> {
    CoreChannel<Value> channel(4);
    {
      CoreSender<Value> first = channel.sender(1);  // dropped on this core
      CoreSender<Value> second = channel.sender(0);
      EXPECT_TRUE(co_await second.send({.from = 0, .number = 1}));
    }
    EXPECT_TRUE(co_await channel.receive());
    const auto end = co_await channel.receive();
    EXPECT_TRUE(!end && end.error().code == ErrorCode::closed);
    // And goes on with a new one.
    CoreSender<Value> third = channel.sender(0);
    EXPECT_TRUE(co_await third.send({.from = 0, .number = 2}));
    EXPECT_TRUE(co_await channel.receive());
  });
}

TEST(CoreChannel, AValueMayOwnMemoryAndIsDestroyedOnceWhereverItEnds) {
  auto watched = std::make_shared<int>(7);
  run_on_cores(2, [watched]() -> Task<void> {
    auto kept = std::make_unique<CoreChannel<std::shared_ptr<int>>>(8);
    auto body = [to = kept->sender(1), watched]() mutable -> Task<void> {
      CoreSender<std::shared_ptr<int>> mine = std::move(to);
      for (int i = 0; i < 6; ++i) EXPECT_TRUE(co_await mine.send(watched));
      co_await until([&] { return mine.closed(); });  // the channel is gone
    };
    TaskGroup group("senders");
    auto sender = std::make_shared<decltype(body)>(std::move(body));
    group.spawn(
        "sender",
        [](decltype(sender) run) -> Task<void> {
          co_await call_on(1, [run = run.get()] { return (*run)(); });
        },
        sender);
    co_await until([&] { return kept->size() == 6; });
    EXPECT_TRUE(co_await kept->receive());
    kept.reset();
    co_await group.join();
    sender.reset();
  });
  EXPECT_EQ(watched.use_count(), 1);
}

TEST(CoreChannel, FreesTheRingsOfSendersThatAreGone) {
  run_on_cores(2, []() -> Task<void> {
    CoreChannel<int> channel(8);
    const CoreSender<int> kept = channel.sender(0);
    for (int i = 0; i < 20; ++i) {
      auto body = [to = channel.sender(1), i]() mutable -> Task<void> {
        CoreSender<int> mine = std::move(to);
        EXPECT_TRUE(co_await mine.send(i));
      };
      co_await submit_to(1, std::move(body));
    }
    co_await until([&] { return channel.size() == 20; });
    EXPECT_EQ(channel.senders(), 21u);
    for (int i = 0; i < 20; ++i) {
      const auto value = co_await channel.receive();
      EXPECT_TRUE(value && *value == i);
    }
    co_await until([&] { return channel.senders() == 1; });
    // One that leaves nothing in its ring, and is dropped on another core than its own.
    {
      const CoreSender<int> idle = channel.sender(1);
    }
    EXPECT_EQ(channel.senders(), 2u);
    co_await until([&] { return channel.senders() == 1; });
  });
}

// Senders that nobody sends with, dropped with their functions when the runtime ends.
TEST(CoreChannel, IsFreedAtTheEndOfTheRuntimeToo) {
  auto watched = std::make_shared<int>(7);
  run_on_cores(2, [watched]() -> Task<void> {
    CoreChannel<std::shared_ptr<int>> channel(8);
    CoreSender<std::shared_ptr<int>> own = channel.sender(0);
    EXPECT_TRUE(co_await own.send(watched));
    auto never = [to = channel.sender(1)]() mutable { return to.closed(); };
    const auto given_up = co_await with_timeout(Nanoseconds{1}, submit_to(1, std::move(never)));
    static_cast<void>(given_up);
  });
  EXPECT_EQ(watched.use_count(), 1);
}

}  // namespace
}  // namespace corelane
