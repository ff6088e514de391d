#include "runtime/histogram.hpp"

#include <cmath>

#include "runtime/assert.hpp"

namespace corelane::runtime {

void Histogram::add(const Histogram& other) noexcept {
  for (std::size_t i = 0; i < kBuckets; ++i) buckets_[i] += other.buckets_[i];
  count_ += other.count_;
  sum_ += other.sum_;
  max_ = std::max(max_, other.max_);
}

std::uint64_t Histogram::percentile(double percent) const noexcept {
  RT_ASSERT(percent > 0);
  RT_ASSERT(percent <= 100);
  if (count_ == 0) return 0;
  const auto rank =
      static_cast<std::uint64_t>(std::ceil(percent / 100 * static_cast<double>(count_)));
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i + 1 < kBuckets; ++i) {
    seen += buckets_[i];
    if (seen < rank) continue;
    const std::uint64_t begin = bucket_begin(i);
    return std::min(begin + (bucket_begin(i + 1) - begin) / 2, max_);
  }
  return max_;
}

std::uint64_t Histogram::count_below(unsigned bits) const noexcept {
  RT_ASSERT(bits >= kSubBits);
  RT_ASSERT(bits < kValueBits);
  const std::size_t end = bucket_of(std::uint64_t{1} << bits);
  std::uint64_t count = 0;
  for (std::size_t i = 0; i < end; ++i) count += buckets_[i];
  return count;
}

HistogramSteps::HistogramSteps(const Histogram& of) noexcept : count(of.count()), sum(of.sum()) {
  for (unsigned bits = kFirst; bits <= kLast; ++bits) below[bits - kFirst] = of.count_below(bits);
}

}  // namespace corelane::runtime
