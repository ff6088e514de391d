#pragma once
// TimeQueue: when messages were sent, or due, the oldest first: a queue that allocates only to
// grow. A value of one core.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "runtime/assert.hpp"
#include "runtime/types.hpp"

namespace corelane::perf {

class TimeQueue {
 public:
  explicit TimeQueue(std::size_t expected = 1) { grow(expected); }

  void push(runtime::Nanoseconds time) {
    if (size() == times_.size()) grow(2 * times_.size());
    times_[end_++ & (times_.size() - 1)] = time;
  }
  runtime::Nanoseconds pop() noexcept {
    RT_DEBUG_ASSERT(begin_ != end_);
    return times_[begin_++ & (times_.size() - 1)];
  }
  std::uint64_t size() const noexcept { return end_ - begin_; }

 private:
  void grow(std::size_t wanted) {
    std::vector<runtime::Nanoseconds> larger(std::bit_ceil(wanted));
    for (std::uint64_t i = begin_; i != end_; ++i) {
      larger[i & (larger.size() - 1)] = times_[i & (times_.size() - 1)];
    }
    times_.swap(larger);
  }

  std::vector<runtime::Nanoseconds> times_;  // a power of two
  std::uint64_t begin_ = 0;
  std::uint64_t end_ = 0;
};

}  // namespace corelane::perf
