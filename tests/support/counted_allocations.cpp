#include "tests/support/counted_allocations.hpp"

#include <malloc.h>

#include <cstdlib>
#include <new>

namespace corelane::tests {

volatile std::size_t allocations = 0;
volatile std::size_t live_bytes = 0;

}  // namespace corelane::tests

using corelane::tests::allocations;
using corelane::tests::live_bytes;

// Not inline: g++ 12 would see malloc and delete, or new and free, paired after inlining one of
// two.
[[gnu::noinline]] void* operator new(std::size_t bytes) {
  void* memory = std::malloc(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) std::abort();
  allocations = allocations + 1;
  live_bytes = live_bytes + malloc_usable_size(memory);
  return memory;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  live_bytes = live_bytes - malloc_usable_size(memory);
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t /*bytes*/) noexcept {
  ::operator delete(memory);
}
