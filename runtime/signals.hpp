#pragma once
// Signals as events of a core: signalfd(2), polled by way of the ring. The signals are blocked in
// the whole process from construction on, so construct it before other threads start (or in
// main()).

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

// On one core; `blocked` must outlive it. close_now() semantics: destroyed only while nobody waits.
class SignalStream {
 public:
  explicit SignalStream(const BlockedSignals& blocked);
  ~SignalStream();
  SignalStream(const SignalStream&) = delete;
  SignalStream& operator=(const SignalStream&) = delete;

  // The errno of signalfd(2), 0 if there is one.
  int error() const noexcept { return create_errno_; }
  // The number of the next signal. Errors: cancelled, or the errno of signalfd(2), poll(2) or
  // read(2).
  Task<Result<int>> next();

 private:
  Descriptor descriptor_;
  int create_errno_ = 0;
};

}  // namespace corelane::runtime
