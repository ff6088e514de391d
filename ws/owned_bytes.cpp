#include "ws/owned_bytes.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <new>

#include "runtime/assert.hpp"
#include "runtime/core.hpp"

namespace corelane::ws {
namespace {

// Up to kStepBytes capacities double, above they are its multiples: a buffer that grows up to a
// limit then passes it by less than one step. Up to the default message limit they are pooled.
constexpr std::size_t kStepBytes = std::size_t{64} << 10;
constexpr std::size_t kPooledCapacityMax = std::size_t{1} << 20;
constexpr std::size_t kDoublingClasses =
    std::bit_width(kStepBytes) - std::bit_width(OwnedBytes::kCapacityMin) + 1;
constexpr std::size_t kClasses = kDoublingClasses + kPooledCapacityMax / kStepBytes - 1;

constexpr std::size_t round_capacity(std::size_t wanted) noexcept {
  if (wanted <= OwnedBytes::kCapacityMin) return OwnedBytes::kCapacityMin;
  if (wanted <= kStepBytes) return std::bit_ceil(wanted);
  return (wanted + kStepBytes - 1) / kStepBytes * kStepBytes;
}

// The pool's list for a rounded capacity of at most kPooledCapacityMax.
constexpr std::size_t class_of(std::size_t capacity) noexcept {
  if (capacity > kStepBytes) return kDoublingClasses + capacity / kStepBytes - 2;
  return static_cast<std::size_t>(std::bit_width(capacity) -
                                  std::bit_width(OwnedBytes::kCapacityMin));
}
static_assert(class_of(OwnedBytes::kCapacityMin) == 0);
static_assert(class_of(kStepBytes) + 1 == class_of(2 * kStepBytes));
static_assert(class_of(kPooledCapacityMax) == kClasses - 1);

// One pool holds at most this much: 64 connections at depth 16 with messages of 16 KiB, halved,
// since only messages that span receive buffers are joined.
constexpr std::size_t kPooledBytesMax = std::size_t{8} << 20;

struct FreeBlock {
  FreeBlock* next;
  std::size_t capacity;
};

// Trivially destructible, so that handles which outlive the thread's other objects stay safe.
struct BlockPool {
  std::array<FreeBlock*, kClasses> free{};
  std::size_t pooled_bytes = 0;
  bool is_closed = false;
};
constinit thread_local BlockPool pool;

void free_block(void* block, std::size_t capacity) noexcept {
  ::operator delete(block, capacity + OwnedBytes::kRoomBytes);
}

// Empties the pool when the thread ends; blocks that come home later are freed at once.
struct PoolGuard {
  ~PoolGuard() {
    pool.is_closed = true;
    for (FreeBlock*& first : pool.free) {
      while (FreeBlock* block = first) {
        first = block->next;
        free_block(block, block->capacity);
      }
    }
    pool.pooled_bytes = 0;
  }
  void touch() const noexcept {}
};
thread_local PoolGuard pool_guard;

// Readers and compressors that run on no core are of tests.
runtime::MemoryAccount* account() noexcept {
  runtime::Core* const core = runtime::Core::current_or_null();
  return core != nullptr ? &core->memory() : nullptr;
}

std::byte* allocate_block(std::size_t capacity) {
  if (auto* memory = account()) memory->add(runtime::MemoryKind::messages, capacity);
  if (capacity <= kPooledCapacityMax) {
    FreeBlock*& first = pool.free[class_of(capacity)];
    if (FreeBlock* block = first) {
      first = block->next;
      pool.pooled_bytes -= capacity;
      return reinterpret_cast<std::byte*>(block);
    }
  }
  return static_cast<std::byte*>(::operator new(capacity + OwnedBytes::kRoomBytes));
}

void release_block(std::byte* block, std::size_t capacity) noexcept {
  if (auto* memory = account()) memory->remove(runtime::MemoryKind::messages, capacity);
  const bool is_poolable = capacity <= kPooledCapacityMax && !pool.is_closed;
  if (!is_poolable || pool.pooled_bytes + capacity > kPooledBytesMax) {
    free_block(block, capacity);
    return;
  }
  pool_guard.touch();
  FreeBlock*& first = pool.free[class_of(capacity)];
  first = ::new (static_cast<void*>(block)) FreeBlock{.next = first, .capacity = capacity};
  pool.pooled_bytes += capacity;
}

}  // namespace

OwnedBytes OwnedBytes::copy_of(std::span<const std::byte> bytes) {
  OwnedBytes copy;
  std::byte* to = copy.grow(bytes.size());
  if (!bytes.empty()) std::memcpy(to, bytes.data(), bytes.size());
  return copy;
}

void OwnedBytes::reserve(std::size_t capacity) {
  if (block_ != nullptr && capacity <= capacity_) return;
  RT_ASSERT(capacity <= std::size_t{1} << 62);
  const std::size_t rounded = round_capacity(capacity);
  std::byte* block = allocate_block(rounded);
  if (size_ > 0) std::memcpy(block + kRoomBytes, block_ + kRoomBytes, size_);
  if (block_ != nullptr) release_block(block_, capacity_);
  block_ = block;
  capacity_ = rounded;
}

std::byte* OwnedBytes::grow(std::size_t size) {
  if (block_ == nullptr || size > capacity_ - size_) {
    reserve(std::max(size_ + size, std::min(2 * capacity_, 2 * size_)));
  }
  std::byte* const at = block_ + kRoomBytes + size_;
  size_ += size;
  return at;
}

void OwnedBytes::truncate(std::size_t size) noexcept {
  RT_ASSERT(size <= size_);
  size_ = size;
}

void OwnedBytes::reset() noexcept {
  if (block_ != nullptr) release_block(block_, capacity_);
  block_ = nullptr;
  size_ = 0;
  capacity_ = 0;
}

}  // namespace corelane::ws
