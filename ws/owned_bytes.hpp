#pragma once
// A growing byte buffer with one owner and with room for a frame header in front of its bytes: what
// a message is joined in, inflated into or deflated into, and what a reply may keep until the
// kernel has sent it. Blocks come from a pool of the calling thread and go home to the pool of the
// thread that destroys the handle; messages of ordinary size cost no allocation in steady state.
//
//   block:  [ room, kRoomBytes ][ bytes, size() ][ spare, up to capacity() ]
//
// The bytes begin at a 16-byte boundary, so that a verifier may read them where they lie.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

#include "ws/frame.hpp"

namespace corelane::ws {

class OwnedBytes {
 public:
  static constexpr std::size_t kRoomBytes = 16;
  static constexpr std::size_t kCapacityMin = 256;
  static_assert(kRoomBytes >= kServerHeaderBytesMax && kRoomBytes % 16 == 0);

  OwnedBytes() noexcept = default;
  OwnedBytes(OwnedBytes&& other) noexcept
      : block_(std::exchange(other.block_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        capacity_(std::exchange(other.capacity_, 0)) {}
  OwnedBytes& operator=(OwnedBytes&& other) noexcept {
    if (this != &other) {
      reset();
      block_ = std::exchange(other.block_, nullptr);
      size_ = std::exchange(other.size_, 0);
      capacity_ = std::exchange(other.capacity_, 0);
    }
    return *this;
  }
  ~OwnedBytes() {
    if (block_ != nullptr) reset();
  }

  static OwnedBytes copy_of(std::span<const std::byte> bytes);

  std::span<std::byte> bytes() noexcept { return {data(), size_}; }
  std::span<const std::byte> bytes() const noexcept { return {block_ + kRoomBytes, size_}; }
  // kRoomBytes bytes directly before data() may be overwritten. Null while nothing was ever grown.
  std::byte* data() noexcept { return block_ == nullptr ? nullptr : block_ + kRoomBytes; }
  std::size_t size() const noexcept { return size_; }
  std::size_t capacity() const noexcept { return capacity_; }

  // Makes the capacity at least `capacity`, keeping the bytes. Capacities are powers of two up to
  // 64 KiB and multiples of 64 KiB above.
  void reserve(std::size_t capacity);
  // Appends `size` bytes of unspecified content and returns the first of them. Linear in what was
  // appended over the life of the buffer; the capacity stays at most the larger of kCapacityMin and
  // twice the size.
  std::byte* grow(std::size_t size);
  // Forgets the bytes from `size` on; `size` is at most size().
  void truncate(std::size_t size) noexcept;
  // Gives the block back.
  void reset() noexcept;

 private:
  std::byte* block_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;  // without the room
};

}  // namespace corelane::ws
