#pragma once
// How many descriptors this process has open: counted before and after, it shows a leak.

#include <cstddef>
#include <filesystem>
#include <iterator>

namespace corelane::tests {

inline std::size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

}  // namespace corelane::tests
