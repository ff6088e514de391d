#include "runtime/shared_bytes.hpp"

#include <malloc.h>

#include <new>

#include "runtime/core.hpp"

namespace corelane::runtime {

// The message that takes a proxy's share home.
struct SharedBytes::GoHome {
  Block* block;
  void deliver(CoreId) const noexcept { SharedBytes{block}.reset(); }
};

SharedBytes SharedBytes::allocate(std::size_t capacity, MemoryKind kind) {
  void* memory = ::operator new(sizeof(Block) + capacity);
  auto* data = static_cast<std::byte*>(memory) + sizeof(Block);
  Core& core = Core::current();
  core.memory().add(kind, capacity);
  return SharedBytes{::new (memory) Block{.data = data,
                                          .capacity = capacity,
                                          .count = 1,
                                          .origin = nullptr,
                                          .home = core.id(),
                                          .kind = kind}};
}

SharedBytes SharedBytes::copy(std::span<const std::byte> bytes) {
  SharedBytes shared = allocate(bytes.size());
  if (!bytes.empty()) std::memcpy(shared.data(), bytes.data(), bytes.size());
  return shared;
}

std::size_t SharedBytes::memory_bytes() const noexcept {
  RT_DEBUG_ASSERT(block_->origin == nullptr);
  return ::malloc_usable_size(block_);
}

SharedBytes::Loan SharedBytes::lend() const noexcept {
  RT_ASSERT(block_ != nullptr);
  RT_ASSERT(block_->origin == nullptr);
  RT_DEBUG_ASSERT(block_->home == Core::current().id());
  ++block_->count;
  return {block_};
}

SharedBytes SharedBytes::adopt(Loan loan) {
  auto* origin = static_cast<Block*>(loan.block);
  Core& core = Core::current();
  // A lane to the own core brings the handle itself.
  if (origin->home == core.id()) return SharedBytes{origin};
  // data, capacity and home were written before the lane was published and never change.
  core.memory().add(MemoryKind::shared, origin->capacity);
  return SharedBytes{new Block{.data = origin->data,
                               .capacity = origin->capacity,
                               .count = 1,
                               .origin = origin,
                               .home = origin->home,
                               .kind = MemoryKind::shared}};
}

void SharedBytes::release(Block* block) noexcept {
  Core& core = Core::current();
  core.memory().remove(block->kind, block->capacity);
  if (block->origin == nullptr) {
    RT_DEBUG_ASSERT(block->home == core.id());
    ::operator delete(static_cast<void*>(block));
    return;
  }
  core.lanes().send(block->home, GoHome{block->origin});
  delete block;
}

}  // namespace corelane::runtime
