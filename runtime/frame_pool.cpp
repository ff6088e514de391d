#include "runtime/frame_pool.hpp"

#include "runtime/assert.hpp"

namespace corelane::runtime {

FramePool::~FramePool() {
  RT_ASSERT(current_ != this);
  trim();
}

void* FramePool::allocate_from_system(std::size_t bytes) noexcept {
  ++counters_.system_allocations;
  counters_.system_bytes += block_bytes(bytes);
  return ::operator new(block_bytes(bytes));
}

void FramePool::trim() noexcept {
  for (FreeBlock*& first : free_) {
    while (first != nullptr) {
      FreeBlock* const next = first->next;
      ++counters_.system_frees;
      ::operator delete(static_cast<void*>(first));
      first = next;
    }
  }
  counters_.system_bytes -= counters_.retained_bytes;
  counters_.retained_bytes = 0;
}

}  // namespace corelane::runtime
