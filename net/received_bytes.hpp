#pragma once
// ReceivedBytes: bytes that a stream has received, where they lie: a lease on a receive buffer of
// the core (runtime/buffer_pool.hpp), or a copy where buffers are scarce. Move-only; the destructor
// gives the buffer back. All on the core that received the bytes, and not longer than its network
// lives.
//
// The core has a bounded number of receive buffers (NetworkOptions): keep a lease for as long as
// the bytes are used, and copy what is kept longer.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include "runtime/assert.hpp"
#include "runtime/buffer_pool.hpp"
#include "runtime/shared_bytes.hpp"

namespace corelane::net {

class ReceivedBytes {
 public:
  ReceivedBytes() = default;
  ReceivedBytes(ReceivedBytes&& other) noexcept
      : pool_(std::exchange(other.pool_, nullptr)),
        data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        buffer_(other.buffer_),
        copy_(std::move(other.copy_)) {}
  ReceivedBytes& operator=(ReceivedBytes&& other) noexcept {
    if (this != &other) {
      reset();
      pool_ = std::exchange(other.pool_, nullptr);
      data_ = std::exchange(other.data_, nullptr);
      size_ = std::exchange(other.size_, 0);
      buffer_ = other.buffer_;
      copy_ = std::move(other.copy_);
    }
    return *this;
  }
  ~ReceivedBytes() { reset(); }

  static ReceivedBytes copy_of(std::span<const std::byte> bytes);

  std::span<const std::byte> bytes() const noexcept { return {data_, size_}; }
  std::string_view text() const noexcept { return {reinterpret_cast<const char*>(data_), size_}; }
  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  // At most size().
  void remove_prefix(std::size_t bytes) noexcept {
    RT_ASSERT(bytes <= size_);
    data_ += bytes;
    size_ -= static_cast<std::uint32_t>(bytes);
  }
  // Gives the buffer back now.
  void reset() noexcept {
    if (pool_ != nullptr) std::exchange(pool_, nullptr)->release(buffer_);
    copy_.reset();
    data_ = nullptr;
    size_ = 0;
  }

 private:
  friend class Stream;
  friend class TcpInput;

  // Takes over one lease of `buffer`.
  ReceivedBytes(runtime::BufferPool& pool, runtime::BufferId buffer,
                std::span<const std::byte> bytes) noexcept
      : pool_(&pool),
        data_(bytes.data()),
        size_(static_cast<std::uint32_t>(bytes.size())),
        buffer_(buffer) {}

  runtime::BufferPool* pool_ = nullptr;  // null: a copy, or nothing
  const std::byte* data_ = nullptr;
  std::uint32_t size_ = 0;
  runtime::BufferId buffer_ = runtime::kNoBuffer;
  runtime::SharedBytes copy_;
};

inline ReceivedBytes ReceivedBytes::copy_of(std::span<const std::byte> bytes) {
  ReceivedBytes copied;
  copied.copy_ = runtime::SharedBytes::copy(bytes);
  copied.data_ = copied.copy_.data();
  copied.size_ = static_cast<std::uint32_t>(bytes.size());
  return copied;
}

}  // namespace corelane::net
