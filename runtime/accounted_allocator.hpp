#pragma once
// AccountedAllocator: for containers whose size a peer decides. Every allocated byte counts in the
// memory account of the current core. On a thread that is no core (a test of a codec) nothing is
// counted.

#include <cstddef>
#include <memory>
#include <vector>

#include "runtime/core.hpp"

namespace corelane::runtime {

template <class T, MemoryKind kKind>
class AccountedAllocator {
 public:
  using value_type = T;
  template <class Other>
  struct rebind {
    using other = AccountedAllocator<Other, kKind>;
  };

  AccountedAllocator() = default;
  template <class Other>
  explicit(false) AccountedAllocator(const AccountedAllocator<Other, kKind>&) noexcept {}

  T* allocate(std::size_t count) {
    T* const memory = std::allocator<T>().allocate(count);
    if (Core* const core = Core::current_or_null()) core->memory().add(kKind, count * sizeof(T));
    return memory;
  }
  void deallocate(T* memory, std::size_t count) noexcept {
    if (Core* const core = Core::current_or_null()) core->memory().remove(kKind, count * sizeof(T));
    std::allocator<T>().deallocate(memory, count);
  }
  friend bool operator==(const AccountedAllocator&, const AccountedAllocator&) noexcept {
    return true;
  }
};

template <MemoryKind kKind>
using AccountedBytes = std::vector<std::byte, AccountedAllocator<std::byte, kKind>>;

// clear() keeps the memory.
template <class Container>
void release_memory(Container& container) noexcept {
  Container{}.swap(container);
}

}  // namespace corelane::runtime
