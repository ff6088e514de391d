#pragma once
// Inbox: functions that threads outside of the cores hand to a core. Any thread pushes without a
// lock. The push that finds the inbox empty rings the bell of the core's ring; the core then takes
// all at once. So an unused inbox costs its core nothing. It belongs to the Runtime and outlives
// the core: a push to a core that has ended is refused.

#include <atomic>
#include <cstdint>

#include "runtime/cache_line.hpp"

namespace corelane::runtime {

// An element of the inbox. It owns itself: either run() or drop() is called, and ends it.
class Posted {
 public:
  Posted(const Posted&) = delete;
  Posted& operator=(const Posted&) = delete;

  virtual void run() noexcept = 0;   // on the core
  virtual void drop() noexcept = 0;  // in place of run(), on any thread: the core has ended

 protected:
  Posted() = default;
  ~Posted() = default;

 private:
  friend class Inbox;
  Posted* next_ = nullptr;
};

class alignas(kCacheLine) Inbox {
 public:
  Inbox() = default;
  ~Inbox();
  Inbox(const Inbox&) = delete;
  Inbox& operator=(const Inbox&) = delete;

  // Any thread. Those of one thread are run in order. False: the core has ended, and `posted` is
  // the caller's still.
  bool push(Posted& posted) noexcept;
  // Has the core look at its lanes and here. Any thread.
  void ring() noexcept;
  std::uint32_t waiting() const noexcept { return waiting_.load(std::memory_order_relaxed); }

  // --- For the core
  void open(std::int32_t bell) noexcept;  // Ring::take_bell(); closed by ~Inbox
  void run() noexcept;
  void close() noexcept;

 private:
  Posted* take_all(Posted* leave) noexcept;

  std::atomic<Posted*> first_{nullptr};  // newest first
  std::atomic<std::int32_t> bell_{-1};
  std::atomic<std::uint32_t> waiting_{0};  // about: for a limit
};

}  // namespace corelane::runtime
