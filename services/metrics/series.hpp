#pragma once
// Series: what one core did in each of the last 300 seconds. A ring of its own, filled once a
// second by the metrics service (services/metrics/metrics.hpp).

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "runtime/types.hpp"

namespace corelane::services {

// Rates are per second, whatever time has passed; the others are as they are at the end.
struct SeriesPoint {
  std::uint64_t time_ms = 0;  // since the epoch, at its end
  std::uint32_t messages_in = 0;
  std::uint32_t messages_out = 0;
  std::uint64_t bytes_in = 0;  // of the network
  std::uint64_t bytes_out = 0;
  std::uint32_t cpu_permille = 0;  // of one CPU
  std::uint32_t turns = 0;
  std::uint32_t errors = 0;
  std::uint32_t sessions = 0;
  std::uint32_t connections = 0;
  std::uint32_t subscriptions = 0;
  std::uint64_t memory_bytes = 0;
  // Times of handlers that were measured in this second, in nanoseconds; 0: none was.
  std::uint64_t handler_p50 = 0;
  std::uint64_t handler_p99 = 0;
  std::uint64_t handler_max = 0;
};

class Series {
 public:
  static constexpr std::size_t kPoints = 300;
  static constexpr runtime::Nanoseconds kEvery = runtime::kSecond;

  void add(const SeriesPoint& point) noexcept {
    points_[next_] = point;
    next_ = (next_ + 1) % kPoints;
    if (count_ < kPoints) ++count_;
  }
  std::size_t count() const noexcept { return count_; }
  // The last `most` points, the oldest first.
  std::vector<SeriesPoint> last(std::size_t most) const;

 private:
  std::array<SeriesPoint, kPoints> points_;
  std::size_t next_ = 0;
  std::size_t count_ = 0;
};

}  // namespace corelane::services
