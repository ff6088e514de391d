#pragma once
// SharedBytes: immutable bytes with many holders, counted without atomics. The block belongs to the
// core that made it (its home). Holders on the home core count in the block; another core that was
// given a handle over a lane counts in a small proxy of its own, and when that one is unused, one
// message takes it home. N subscribers cost N handles of 8 bytes, not N copies.
//
//   home:   block {count: local handles + proxies}  <--------- released over a lane ----+
//   core 2: proxy {count: local handles} --- last handle gone --------------------------+

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

#include "runtime/assert.hpp"
#include "runtime/memory_account.hpp"
#include "runtime/types.hpp"

namespace corelane::runtime {

class SharedBytes {
  struct Block {
    std::byte* data;
    std::size_t capacity;
    std::uint64_t count;
    Block* origin;  // a proxy's block at home; nullptr at home
    CoreId home;
    MemoryKind kind;  // as which its memory counts on the core of this block
  };

 public:
  SharedBytes() = default;
  SharedBytes(SharedBytes&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  SharedBytes& operator=(SharedBytes&& other) noexcept {
    if (this != &other) {
      reset();
      block_ = std::exchange(other.block_, nullptr);
    }
    return *this;
  }
  ~SharedBytes() { reset(); }

  // Room for `capacity` bytes; fill them through data() before anybody else sees the block. It
  // counts as `kind` at home, and as `shared` on other cores that hold it.
  static SharedBytes allocate(std::size_t capacity, MemoryKind kind = MemoryKind::shared);
  static SharedBytes copy(std::span<const std::byte> bytes);

  // One more handle on this core.
  SharedBytes share() const noexcept {
    RT_ASSERT(block_ != nullptr);
    ++block_->count;
    return SharedBytes{block_};
  }
  explicit operator bool() const noexcept { return block_ != nullptr; }
  std::byte* data() noexcept { return block_->data; }
  const std::byte* data() const noexcept { return block_->data; }
  std::size_t capacity() const noexcept { return block_->capacity; }
  // Nobody else holds it: neither this core nor another one. On the home core.
  bool is_unique() const noexcept {
    RT_ASSERT(block_ != nullptr);
    return block_->count == 1 && block_->origin == nullptr;
  }
  // What the block takes of the allocator, its head included. On the home core.
  std::size_t memory_bytes() const noexcept;
  void reset() noexcept {
    if (block_ != nullptr && --block_->count == 0) release(block_);
    block_ = nullptr;
  }

  // For places that store many handles of several kinds (net's send queue): the handle as a
  // pointer. What release_raw() gave must go back through from_raw() once.
  void* release_raw() noexcept { return std::exchange(block_, nullptr); }
  static SharedBytes from_raw(void* raw) noexcept { return SharedBytes{static_cast<Block*>(raw)}; }

  // For a lane message: `lend()` on the home core, `adopt()` exactly once on the other.
  struct Loan {
    void* block;
    std::size_t capacity() const noexcept { return static_cast<Block*>(block)->capacity; }
  };
  Loan lend() const noexcept;
  static SharedBytes adopt(Loan loan);

 private:
  struct GoHome;

  explicit SharedBytes(Block* block) noexcept : block_(block) {}
  static void release(Block* block) noexcept;

  Block* block_ = nullptr;
};

}  // namespace corelane::runtime
