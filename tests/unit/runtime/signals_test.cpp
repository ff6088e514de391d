// Goal: signals come as events of a core, and only those that were asked for. Method: this process
// signals itself.
#include "runtime/signals.hpp"

#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "runtime/await.hpp"
#include "runtime/submit.hpp"
#include "runtime/task_group.hpp"
#include "runtime/timeout.hpp"
#include "tests/support/on_cores.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::run_on_cores;

// More than a read of a signalfd by way of the ring bears.
constexpr int kForeignSignals = 1000;

volatile std::sig_atomic_t foreign_signals = 0;

void count_signal(int) {
  foreign_signals = foreign_signals + 1;
}

Task<void> expect_signal(SignalStream* signals, int number) {
  const auto signal = co_await signals->next();
  EXPECT_TRUE(signal) << describe(signal.error());
  if (signal) {
    EXPECT_EQ(*signal, number);
  }
}

TEST(Signals, ComeInTheOrderOfTheirNumbers) {
  const BlockedSignals blocked({SIGHUP, SIGTERM});
  run_on_cores(1, [&]() -> Task<void> {
    SignalStream signals(blocked);
    ::pthread_kill(::pthread_self(), SIGTERM);
    ::pthread_kill(::pthread_self(), SIGHUP);
    co_await expect_signal(&signals, SIGHUP);
    co_await expect_signal(&signals, SIGTERM);
  });
}

// Of a process, not of a thread: any core takes them.
TEST(Signals, ReachAnyCoreAgainAndAgain) {
  const BlockedSignals blocked({SIGHUP, SIGTERM});
  run_on_cores(3, [&]() -> Task<void> {
    for (CoreId core = 0; core < 3; ++core) {
      co_await submit_to(core, [&blocked]() -> Task<void> {
        SignalStream signals(blocked);
        for (int i = 0; i < 50; ++i) {
          const int number = i % 2 == 0 ? SIGTERM : SIGHUP;
          TaskGroup waiting("signals");
          waiting.spawn("signals", expect_signal, &signals, number);
          ::kill(::getpid(), number);
          co_await waiting.join();
        }
      });
    }
  });
}

TEST(Signals, ThatComeWhileNobodyWaitsAreOne) {
  const BlockedSignals blocked({SIGHUP, SIGTERM});
  run_on_cores(1, [&]() -> Task<void> {
    for (int i = 0; i < 3; ++i) ::kill(::getpid(), SIGHUP);
    SignalStream signals(blocked);
    co_await expect_signal(&signals, SIGHUP);
    const auto none = co_await with_timeout(10 * kMillisecond, signals.next());
    EXPECT_TRUE(!none && none.error().code == ErrorCode::timed_out);
    // The cancelled wait took nothing.
    ::kill(::getpid(), SIGTERM);
    co_await expect_signal(&signals, SIGTERM);
  });
}

TEST(Signals, SignalsWithHandlersOfTheirOwnDoNotEndTheWait) {
  const BlockedSignals blocked({SIGHUP});
  struct sigaction counting{};
  counting.sa_handler = count_signal;
  struct sigaction before{};
  ASSERT_EQ(::sigaction(SIGUSR1, &counting, &before), 0);
  foreign_signals = 0;
  run_on_cores(1, [&]() -> Task<void> {
    SignalStream signals(blocked);
    TaskGroup waiting("signals");
    waiting.spawn("signals", expect_signal, &signals, SIGHUP);
    for (int i = 0; i < kForeignSignals; ++i) {
      ::pthread_kill(::pthread_self(), SIGUSR1);
      co_await sleep_for(kMicrosecond);  // the ring looks at the signalfd again
    }
    ::pthread_kill(::pthread_self(), SIGHUP);
    co_await waiting.join();
  });
  EXPECT_EQ(foreign_signals, kForeignSignals);
  ::sigaction(SIGUSR1, &before, nullptr);
}

}  // namespace
}  // namespace corelane
