#pragma once
// The unit in which cores contend for memory. Data written by different cores lies on different
// lines. (std::hardware_destructive_interference_size differs between compilers, so it may not
// decide a layout.)

#include <cstddef>

namespace corelane::runtime {

inline constexpr std::size_t kCacheLine = 64;

}  // namespace corelane::runtime
