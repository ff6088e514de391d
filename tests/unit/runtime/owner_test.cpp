// Goal: in a debug build, an object of one core that another core uses ends the process with a hint
// instead of a data race. Method: death tests on two cores.
#include <gtest/gtest.h>

#include <thread>

#include "runtime/channel.hpp"
#include "runtime/combine.hpp"
#include "runtime/event.hpp"
#include "runtime/latch.hpp"
#include "runtime/mutex.hpp"
#include "runtime/semaphore.hpp"
#include "runtime/submit.hpp"
#include "runtime/task_group.hpp"
#include "tests/support/on_cores.hpp"
#include "tests/support/simulated.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::run_on_cores;

class Owner : public ::testing::Test {
 protected:
  void SetUp() override {
#ifdef NDEBUG
    GTEST_SKIP() << "owners are checked in debug builds";
#endif
    GTEST_FLAG_SET(death_test_style, tests::kDeathTestStyle);
  }
};

void send_from_another_core() {
  run_on_cores(2, []() -> Task<void> {
    Channel<int> channel(4);
    int value = 1;
    EXPECT_TRUE(channel.try_send(value));
    co_await call_on(1, [&channel] {
      int other = 2;
      return channel.try_send(other);
    });
  });
}

TEST_F(Owner, OfAChannelIsTheOnlyCoreThatMaySend) {
  EXPECT_DEATH(send_from_another_core(), "a Channel of core 0 is used on core 1");
}

void release_from_another_core() {
  run_on_cores(2, []() -> Task<void> {
    Semaphore semaphore(1);
    EXPECT_TRUE(semaphore.try_acquire());
    co_await call_on(1, [&semaphore] { semaphore.release(); });
  });
}

TEST_F(Owner, OfASemaphoreIsTheOnlyCoreThatMayRelease) {
  EXPECT_DEATH(release_from_another_core(), "a Semaphore of core 0 is used on core 1");
}

void spawn_from_another_core() {
  run_on_cores(2, []() -> Task<void> {
    TaskGroup group("group");
    group.spawn("first", []() -> Task<void> { co_return; });
    co_await call_on(1, [&group] { group.cancel(); });
    co_await group.join();
  });
}

TEST_F(Owner, OfATaskGroupIsTheOnlyCoreThatMayCancel) {
  EXPECT_DEATH(spawn_from_another_core(), "a TaskGroup of core 0 is used on core 1");
}

Task<Result<void>> leave_early() {
  TaskGroup group("connections");
  group.spawn("first", []() -> Task<void> { co_await sleep_for(kSecond); });
  co_return ErrorCode::closed;
}

TEST_F(Owner, OfTasksThatLeavesThemIsToldToJoin) {
  EXPECT_DEATH(run_on_cores(1, []() -> Task<void> { static_cast<void>(co_await leave_early()); }),
               "the TaskGroup \"connections\" is left while 1 of its tasks run.*in_group");
}

void set_from_another_core() {
  run_on_cores(2, []() -> Task<void> {
    Event event;
    EXPECT_FALSE(co_await with_timeout(kMicrosecond, event.wait()));
    co_await call_on(1, [&event] { event.set(); });
  });
}

void unlock_from_another_core() {
  run_on_cores(2, []() -> Task<void> {
    Mutex mutex;
    EXPECT_TRUE(mutex.try_lock());
    co_await call_on(1, [&mutex] { mutex.unlock(); });
  });
}

void count_down_on_a_thread() {
  run_on_cores(1, []() -> Task<void> {
    Latch latch(2);
    latch.count_down();
    std::thread([&latch] { latch.count_down(); }).join();
    co_return;
  });
}

TEST_F(Owner, OfAPrimitiveIsCheckedAlsoWhenNothingWaits) {
  EXPECT_DEATH(set_from_another_core(), "an? Event of core 0 is used on core 1");
  EXPECT_DEATH(unlock_from_another_core(), "a Mutex of core 0 is used on core 1");
  EXPECT_DEATH(count_down_on_a_thread(), "a Latch of core 0 is used on a thread that is no core");
}

// The owner is the first core that uses the object: it may be made elsewhere, or before the run.
TEST_F(Owner, IsTheFirstCoreThatUsesTheObject) {
  Channel<int> channel(4);
  run_on_cores(2, [&channel]() -> Task<void> {
    co_await call_on(1, [&channel]() -> Task<void> {
      EXPECT_TRUE(co_await channel.send(1));
      EXPECT_TRUE(co_await channel.receive());
    });
  });
}

}  // namespace
}  // namespace corelane
