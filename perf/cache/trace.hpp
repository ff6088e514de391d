#pragma once
// Traces of keys for hit ratios: numbers drawn by Zipf's law, alone or with scans in between, which
// read keys of their own one after the other (a backup, a crawler). The same seed gives the same
// trace.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "runtime/random.hpp"

namespace corelane::perf {

// Rank r of 0..keys-1 comes with a probability in proportion to 1 / (r + 1)^exponent.
class Zipf {
 public:
  Zipf(std::uint32_t keys, double exponent) : sums_(keys) {
    double sum = 0;
    for (std::uint32_t rank = 0; rank < keys; ++rank) {
      sum += 1 / std::pow(rank + 1, exponent);
      sums_[rank] = sum;
    }
  }
  std::uint32_t draw(runtime::Random& random) const noexcept {
    constexpr double kUnit = 1.0 / 9007199254740992.0;  // 2^-53
    const double at = static_cast<double>(random.next() >> 11) * kUnit * sums_.back();
    const auto found = std::upper_bound(sums_.begin(), sums_.end(), at) - sums_.begin();
    return static_cast<std::uint32_t>(
        std::min<std::ptrdiff_t>(found, static_cast<std::ptrdiff_t>(sums_.size()) - 1));
  }

 private:
  std::vector<double> sums_;
};

struct TraceOptions {
  std::uint32_t keys = 1'000'000;
  double exponent = 0.99;
  // Every so many draws, a scan reads so many keys; 0: no scans. The keys of all scans together are
  // four times those of Zipf, so one that is read again is long gone.
  std::uint32_t draws_between_scans = 0;
  std::uint32_t scan_keys = 0;
  // The most frequent keys change: every so many draws, the ranks move on by a hundredth of the
  // keys. 0: never.
  std::uint32_t draws_between_shifts = 0;
  std::uint64_t seed = 1;
};

class Trace {
 public:
  explicit Trace(const TraceOptions& options)
      : options_(options), zipf_(options.keys, options.exponent), random_(options.seed) {}

  std::uint32_t next() noexcept {
    if (scan_left_ > 0) {
      --scan_left_;
      scan_at_ = (scan_at_ + 1) % (4 * options_.keys);
      return options_.keys + scan_at_;
    }
    ++draws_;
    if (options_.draws_between_scans != 0 && draws_ % options_.draws_between_scans == 0) {
      scan_left_ = options_.scan_keys;
    }
    if (options_.draws_between_shifts != 0 && draws_ % options_.draws_between_shifts == 0) {
      shift_ += options_.keys / 100;
    }
    return (zipf_.draw(random_) + shift_) % options_.keys;
  }

 private:
  TraceOptions options_;
  Zipf zipf_;
  runtime::Random random_;
  std::uint64_t draws_ = 0;
  std::uint32_t shift_ = 0;
  std::uint32_t scan_left_ = 0;
  std::uint32_t scan_at_ = 0;
};

}  // namespace corelane::perf
