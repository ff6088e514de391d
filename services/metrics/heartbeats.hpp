#pragma once
// Heartbeats: when each core of a node last turned its loop, for any core to read. A core that does
// not come back to its loop stores nothing.

#include <array>
#include <atomic>
#include <span>

#include "runtime/cache_line.hpp"
#include "runtime/types.hpp"

namespace corelane::services {

class Heartbeats {
 public:
  // A core that has not turned for longer does not count as alive.
  static constexpr runtime::Nanoseconds kAliveWithin = 2 * runtime::kSecond;
  // Cores that sleep are woken this often.
  static constexpr runtime::Nanoseconds kEvery = 500 * runtime::kMillisecond;

  // On that core. `now` is a point on the ring's clock, never 0. Relaxed: nothing else is read by
  // it.
  void beat(runtime::CoreId core, runtime::Nanoseconds now) noexcept {
    beats_[core].at.store(now, std::memory_order_relaxed);
  }
  // The core stops: it does not count any more.
  void end(runtime::CoreId core) noexcept { beat(core, 0); }
  // The first core below `cores` that has not turned in time; kNoCore: all have.
  runtime::CoreId first_late(runtime::CoreId cores, runtime::Nanoseconds now) const noexcept {
    for (runtime::CoreId core = 0; core < cores; ++core) {
      const runtime::Nanoseconds at = beats_[core].at.load(std::memory_order_relaxed);
      if (at != 0 && now - at > kAliveWithin) return core;
    }
    return runtime::kNoCore;
  }

 private:
  // A line each: cores write theirs twice a second.
  struct alignas(runtime::kCacheLine) Beat {
    std::atomic<runtime::Nanoseconds> at{0};  // 0: it does not count
  };
  std::array<Beat, runtime::kCoresMax> beats_;
};

}  // namespace corelane::services
