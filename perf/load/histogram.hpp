#pragma once
// Histogram: how often each value occurred, in log-linear buckets: 64 to each power of two, so a
// value is known to 1.6 percent wherever it lies between 0 and 2^64. Recording is a few
// instructions and touches one line of memory. A value type of one thread; add() joins several.

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace corelane::perf {

class Histogram {
 public:
  void record(std::uint64_t value, std::uint64_t count = 1) noexcept {
    buckets_[bucket_of(value)] += count;
    count_ += count;
    sum_ += value * count;
    if (value > max_) max_ = value;
  }
  void add(const Histogram& other) noexcept;
  void clear() noexcept { *this = Histogram{}; }

  std::uint64_t count() const noexcept { return count_; }
  std::uint64_t max() const noexcept { return max_; }  // exact
  double mean() const noexcept;
  // The smallest value that at least `percent` of all do not exceed, rounded up to its bucket's
  // end, at most max(). 0 if nothing was recorded. `percent` in (0, 100].
  std::uint64_t percentile(double percent) const noexcept;

  static constexpr unsigned kSubBits = 6;
  static constexpr std::size_t kBuckets = std::size_t{64 - kSubBits + 1} << kSubBits;

  static constexpr std::size_t bucket_of(std::uint64_t value) noexcept {
    const auto bits = static_cast<unsigned>(std::bit_width(value));
    if (bits <= kSubBits + 1) return static_cast<std::size_t>(value);
    const unsigned shift = bits - (kSubBits + 1);
    return (std::size_t{shift} << kSubBits) + static_cast<std::size_t>(value >> shift);
  }
  // The largest value of a bucket.
  static constexpr std::uint64_t bucket_end(std::size_t bucket) noexcept {
    if (bucket < std::size_t{2} << kSubBits) return bucket;
    const std::size_t shift = (bucket >> kSubBits) - 1;
    const std::uint64_t top = bucket - (shift << kSubBits);
    return ((top + 1) << shift) - 1;
  }

 private:
  std::array<std::uint64_t, kBuckets> buckets_{};
  std::uint64_t count_ = 0;
  std::uint64_t sum_ = 0;
  std::uint64_t max_ = 0;
};

}  // namespace corelane::perf
