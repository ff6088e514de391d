#include "runtime/frame_pool.hpp"

#include "runtime/assert.hpp"
#include "runtime/memory_source.hpp"

namespace corelane::runtime {
namespace {

constexpr std::size_t kFrameAlignment = 16;

void* take_block(std::size_t bytes) noexcept {
  MemorySource* const source = detail::memory_source();
  if (source == nullptr) return ::operator new(bytes);
  void* const block = source->allocate(bytes, kFrameAlignment);
  RT_ASSERT(block != nullptr);  // the memory source has no more: a frame cannot do without
  return block;
}

void give_block(void* block, std::size_t bytes) noexcept {
  if (MemorySource* const source = detail::memory_source()) {
    source->deallocate(block, bytes, kFrameAlignment);
  } else {
    ::operator delete(block);
  }
}

}  // namespace

FramePool::~FramePool() {
  RT_ASSERT(current_ != this);
  trim();
}

void* FramePool::allocate_from_system(std::size_t bytes) noexcept {
  ++counters_.system_allocations;
  counters_.system_bytes += block_bytes(bytes);
  return take_block(block_bytes(bytes));
}

void FramePool::deallocate_to_system(void* frame, std::size_t bytes) noexcept {
  ++counters_.system_frees;
  counters_.system_bytes -= block_bytes(bytes);
  give_block(frame, block_bytes(bytes));
}

void* FramePool::allocate_without(std::size_t bytes) noexcept {
  return take_block(block_bytes(bytes));
}

void FramePool::deallocate_without(void* frame, std::size_t bytes) noexcept {
  give_block(frame, block_bytes(bytes));
}

void FramePool::trim() noexcept {
  for (std::size_t index = 0; index < kClasses; ++index) {
    FreeBlock*& first = free_[index];
    while (first != nullptr) {
      FreeBlock* const next = first->next;
      ++counters_.system_frees;
      give_block(first, bytes_of(index));
      first = next;
    }
  }
  counters_.system_bytes -= counters_.retained_bytes;
  counters_.retained_bytes = 0;
}

}  // namespace corelane::runtime
