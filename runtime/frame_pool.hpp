#pragma once
// FramePool: coroutine frames without the allocator. Free lists by size class (32 bytes apart, up
// to 4 KiB); what is larger goes to operator new. One pool a core, used by that core only. It
// belongs to the core object; FramePool::use() makes it the present one of the thread. In a
// simulation many cores share one thread and the pool is switched with the core.
//
// A frame carries no header: its size is known again when it is freed, and it goes to the pool that
// is present then. That is the pool it came from, because work never changes core; and it is
// correct otherwise too, since every block is a block of operator new (or of the process' memory
// source: runtime/memory_source.hpp) with its class's full size. So any pool, or none, may free it.
// With AddressSanitizer all frames go straight to operator new and delete, so that a use after the
// end of a coroutine is found where it happens.

#include <array>
#include <cstddef>
#include <cstdint>
#include <new>

#include "runtime/sanitizer.hpp"

namespace corelane::runtime {

class FramePool {
 public:
  static constexpr std::size_t kClassBytes = 32;
  static constexpr std::size_t kPooledBytesMax = 4096;
  // Kept for reuse at most, unless told otherwise: what 64,000 coroutines of 1 KiB leave behind.
  static constexpr std::size_t kRetainedBytesMax = 64 * 1024 * 1024;
  // False when frames bypass the pools in this build.
  static constexpr bool kEnabled = RT_ASAN == 0;

  struct Counters {
    std::uint64_t system_allocations = 0;  // by operator new, of any size
    std::uint64_t reuses = 0;              // out of a free list
    std::uint64_t system_bytes = 0;        // got by operator new and not given back
    std::uint64_t system_frees = 0;        // by operator delete: too large, or the pool is full
    std::uint64_t retained_bytes = 0;      // in free lists now
  };

  explicit FramePool(std::size_t retained_bytes_max = kRetainedBytesMax) noexcept
      : retained_bytes_max_(retained_bytes_max) {}
  FramePool(const FramePool&) = delete;
  FramePool& operator=(const FramePool&) = delete;
  // Must not be any thread's present pool any more.
  ~FramePool();

  // The pool of the code that runs now; null where there is none.
  static FramePool* current() noexcept { return current_; }
  // Makes a pool (or none) the present one of this thread; returns the one before.
  static FramePool* use(FramePool* pool) noexcept {
    FramePool* const before = current_;
    current_ = pool;
    return before;
  }

  void* allocate(std::size_t bytes) noexcept {
    const std::size_t index = class_of(bytes);
    if (index < kClasses) [[likely]] {
      if (FreeBlock* const block = free_[index]) [[likely]] {
        free_[index] = block->next;
        counters_.retained_bytes -= bytes_of(index);
        ++counters_.reuses;
        return block;
      }
    }
    return allocate_from_system(bytes);
  }

  void deallocate(void* frame, std::size_t bytes) noexcept {
    const std::size_t index = class_of(bytes);
    if (index < kClasses && counters_.retained_bytes + bytes_of(index) <= retained_bytes_max_)
        [[likely]] {
      counters_.retained_bytes += bytes_of(index);
      free_[index] = ::new (frame) FreeBlock{free_[index]};
      return;
    }
    deallocate_to_system(frame, bytes);
  }

  // Gives all free blocks back to the system, for instance after a load peak.
  void trim() noexcept;

  const Counters& counters() const noexcept { return counters_; }

  // Without a pool. `bytes` is that of a frame, not of its block.
  static void* allocate_without(std::size_t bytes) noexcept;
  static void deallocate_without(void* frame, std::size_t bytes) noexcept;

  // What operator new must be asked for, so that any pool may take the block over.
  static constexpr std::size_t block_bytes(std::size_t bytes) noexcept {
    const std::size_t index = class_of(bytes);
    return index < kClasses ? bytes_of(index) : bytes;
  }

 private:
  struct FreeBlock {
    FreeBlock* next;
  };
  static constexpr std::size_t kClasses = kPooledBytesMax / kClassBytes;

  // Zero bytes have no class (the difference wraps), like too many.
  static constexpr std::size_t class_of(std::size_t bytes) noexcept {
    return (bytes - 1) / kClassBytes;
  }
  static constexpr std::size_t bytes_of(std::size_t index) noexcept {
    return (index + 1) * kClassBytes;
  }

  [[gnu::cold, gnu::noinline]] void* allocate_from_system(std::size_t bytes) noexcept;
  [[gnu::cold, gnu::noinline]] void deallocate_to_system(void* frame, std::size_t bytes) noexcept;

  static constinit inline thread_local FramePool* current_ = nullptr;

  std::array<FreeBlock*, kClasses> free_{};
  Counters counters_;
  const std::size_t retained_bytes_max_;
};

// For a promise's operator new and delete. Any thread, with a present pool or without. Memory is
// aligned to 16 bytes. Running out of it aborts: what operator new throws meets noexcept.
inline void* allocate_frame(std::size_t bytes) noexcept {
  if constexpr (FramePool::kEnabled) {
    if (FramePool* const pool = FramePool::current()) [[likely]]
      return pool->allocate(bytes);
  }
  return FramePool::allocate_without(bytes);
}

inline void deallocate_frame(void* frame, std::size_t bytes) noexcept {
  if constexpr (FramePool::kEnabled) {
    if (FramePool* const pool = FramePool::current()) [[likely]]
      return pool->deallocate(frame, bytes);
  }
  FramePool::deallocate_without(frame, bytes);
}

}  // namespace corelane::runtime
