#pragma once
// Histogram: how often values occurred, in log-linear buckets: 64 to each power of two. Values up
// to 127 are exact; beyond that percentile() errs by at most 1/128 (0.8 %). For durations in
// nanoseconds: values of 2^kValueBits and more (68 s) share the last bucket, but count(), sum() and
// max() are exact for all. 16 KiB; recording takes a few instructions and touches two lines.
//
// A value type of one core; add() joins those of several. Nothing here allocates or throws.

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace corelane::runtime {

class Histogram {
 public:
  static constexpr unsigned kSubBits = 6;
  static constexpr unsigned kValueBits = 36;
  static constexpr std::size_t kBuckets = std::size_t{kValueBits - kSubBits + 1} << kSubBits;

  void record(std::uint64_t value) noexcept {
    ++buckets_[bucket_of(value)];
    ++count_;
    sum_ += value;
    if (value > max_) max_ = value;
  }
  void add(const Histogram& other) noexcept;
  void clear() noexcept { *this = Histogram{}; }

  std::uint64_t count() const noexcept { return count_; }
  std::uint64_t sum() const noexcept { return sum_; }
  std::uint64_t max() const noexcept { return max_; }
  // The middle of the bucket that holds the smallest value which at least `percent` of all values
  // do not exceed; at most max(). 0 if nothing was recorded. `percent` in (0, 100].
  std::uint64_t percentile(double percent) const noexcept;
  // The number of values below 2^bits. `bits` in [kSubBits, kValueBits).
  std::uint64_t count_below(unsigned bits) const noexcept;

  static constexpr std::size_t bucket_of(std::uint64_t value) noexcept {
    const auto bits = static_cast<unsigned>(std::bit_width(value));
    if (bits <= kSubBits + 1) return static_cast<std::size_t>(value);
    const unsigned shift = bits - (kSubBits + 1);
    const std::size_t bucket =
        (std::size_t{shift} << kSubBits) + static_cast<std::size_t>(value >> shift);
    return std::min(bucket, kBuckets - 1);
  }
  // The smallest value of a bucket, and of the next one for `bucket` + 1.
  static constexpr std::uint64_t bucket_begin(std::size_t bucket) noexcept {
    if (bucket < std::size_t{2} << kSubBits) return bucket;
    const std::size_t shift = (bucket >> kSubBits) - 1;
    return std::uint64_t{bucket - (shift << kSubBits)} << shift;
  }

 private:
  std::array<std::uint64_t, kBuckets> buckets_{};
  std::uint64_t count_ = 0;
  std::uint64_t sum_ = 0;
  std::uint64_t max_ = 0;
};

// What a page of metrics shows of a histogram: the number of values below each power of two from
// 2^kFirst to 2^kLast. Of a few hundred bytes, so it may cross cores by value.
struct HistogramSteps {
  static constexpr unsigned kFirst = 8;  // 256 ns
  static constexpr unsigned kLast = 34;  // 17 s

  HistogramSteps() = default;
  explicit HistogramSteps(const Histogram& of) noexcept;

  std::array<std::uint64_t, kLast - kFirst + 1> below{};
  std::uint64_t count = 0;
  std::uint64_t sum = 0;
};

}  // namespace corelane::runtime
