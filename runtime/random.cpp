#include "runtime/random.hpp"

#include <sys/random.h>

#include <cerrno>

namespace corelane::runtime {

std::uint64_t entropy_seed() noexcept {
  std::uint64_t seed = 0;
  ssize_t count = 0;
  // Up to 256 bytes come whole once the kernel's pool is ready; before, a signal may interrupt.
  do {
    count = ::getrandom(&seed, sizeof seed, 0);
  } while (count < 0 && errno == EINTR);
  RT_ASSERT(count == static_cast<ssize_t>(sizeof seed));
  return seed;
}

}  // namespace corelane::runtime
