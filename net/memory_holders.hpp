#pragma once
// The choice of streams to end when a core holds too much memory. HeldMemory is the memory of one
// stream, in the network and in the layer above. MemoryHolders keeps the listed streams of the
// largest weight: bytes times the time since the peer last took a queued byte or sent part of an
// unfinished message. On one core.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "net/stream.hpp"
#include "runtime/types.hpp"

namespace corelane::net {

// The limit that is passed: that of all memory, or that of unfinished messages and bodies.
enum class MemoryOver : std::uint8_t { memory, unfinished };

inline constexpr std::string_view kOverMemory = "overloaded: limits.memory_bytes_max";
inline constexpr std::string_view kOverUnfinished = "overloaded: limits.unfinished_bytes_max";
constexpr std::string_view why_of(MemoryOver over) noexcept {
  return over == MemoryOver::memory ? kOverMemory : kOverUnfinished;
}

class HeldMemory {
 public:
  // `taken_at`: when the peer last took queued bytes.
  HeldMemory(MemoryOver over, runtime::Nanoseconds now, runtime::Nanoseconds taken_at) noexcept
      : over_(over), now_(now), taken_at_(taken_at) {}

  // Bytes of an unfinished message or body; its last part came at `sent_at`.
  void add_unfinished(std::size_t bytes, runtime::Nanoseconds sent_at) noexcept {
    own_ += bytes;
    weight_ += weigh(bytes, sent_at);
  }
  // Other memory that is freed with the stream.
  void add(std::size_t bytes) noexcept {
    if (over_ != MemoryOver::memory) return;
    own_ += bytes;
    weight_ += weigh(bytes, taken_at_);
  }
  // Memory that other streams may hold too, so ending this stream may not free it. It counts less,
  // so that streams with memory of their own are ended first.
  void add_shared(std::size_t bytes) noexcept {
    if (over_ != MemoryOver::memory) return;
    shared_ += bytes;
    weight_ += weigh(bytes, taken_at_) / kSharedShare;
  }

  std::size_t own() const noexcept { return own_; }
  std::size_t all() const noexcept { return own_ + shared_; }
  double weight() const noexcept { return weight_; }

 private:
  static constexpr double kSharedShare = 8;

  double weigh(std::size_t bytes, runtime::Nanoseconds since) const noexcept {
    return static_cast<double>(bytes) * static_cast<double>(now_ - since + runtime::kMillisecond);
  }

  MemoryOver over_;
  runtime::Nanoseconds now_;
  runtime::Nanoseconds taken_at_;
  std::size_t own_ = 0;
  std::size_t shared_ = 0;
  double weight_ = 0;
};

class MemoryHolders {
 public:
  // A stream that holds less is not ended.
  static constexpr std::size_t kBytesMin = 4096;
  // The number of streams that are kept; of more, those of the largest weight.
  static constexpr std::size_t kHoldersMax = 4096;

  struct Holder {
    StreamId stream;
    std::size_t bytes;
    double weight;
  };

  explicit MemoryHolders(MemoryOver over = MemoryOver::memory,
                         std::size_t bytes_min = kBytesMin) noexcept
      : over_(over), bytes_min_(bytes_min) {}

  void add(StreamId stream, const HeldMemory& held);
  // Removes and returns the holder of the largest weight. No add() after the first call.
  std::optional<Holder> take_worst();
  MemoryOver over() const noexcept { return over_; }

 private:
  MemoryOver over_;
  std::size_t bytes_min_;
  bool is_sorted_ = false;
  std::vector<Holder> holders_;  // a heap, the least weight first; then sorted, the largest last
};

}  // namespace corelane::net
