#pragma once
// Signals as events of a core: signalfd(2), polled by way of the ring.
//
//   const BlockedSignals blocked({SIGTERM, SIGINT, SIGHUP});   // in main(), before Runtime::run
//   ...
//   SignalStream signals(blocked);                             // on any core
//   for (;;) {
//     RT_TRY(const int signal, co_await signals.next());       // whichever comes first
//     if (signal != SIGHUP) break;
//     reload();
//   }
//
// The signals are blocked in the thread that constructs BlockedSignals and in the threads that it
// starts, so construct it before other threads start. A blocked signal waits for its stream, also
// one that comes before there is a stream or while nobody waits. Several equal signals that wait
// are one (signal(7)): a stream tells that there was a SIGHUP, not how many. A signal of the
// process reaches one stream: with two streams for it, on two cores, either may get it. One that is
// sent to a thread (pthread_kill) reaches a stream of that thread's core alone.

#include <csignal>
#include <initializer_list>

#include "runtime/result.hpp"
#include "runtime/task.hpp"
#include "runtime/types.hpp"

namespace corelane::runtime {

// Blocks the signals for this thread and those it starts; restores the mask when destroyed.
class BlockedSignals {
 public:
  explicit BlockedSignals(std::initializer_list<int> signals);
  ~BlockedSignals();
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;
  const sigset_t& set() const noexcept { return set_; }

 private:
  sigset_t set_;
  sigset_t previous_;
};

// On one core, any; `blocked` must outlive it. Destroyed only while nobody waits.
class SignalStream {
 public:
  explicit SignalStream(const BlockedSignals& blocked);
  ~SignalStream();
  SignalStream(const SignalStream&) = delete;
  SignalStream& operator=(const SignalStream&) = delete;

  // The errno of signalfd(2), 0 if there is one.
  int error() const noexcept { return create_errno_; }
  // The number of the next signal, the lowest of those that wait; one call at a time. A cancelled
  // call has taken none. Errors: cancelled, or the errno of signalfd(2), poll(2) or read(2).
  Task<Result<int>> next();

 private:
  Descriptor descriptor_;
  int create_errno_ = 0;
};

}  // namespace corelane::runtime
