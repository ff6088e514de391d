#pragma once
// Which streams are ended when a core holds too much memory. HeldMemory is the memory that one
// stream holds, of the network and of the layer above together; MemoryHolders are the worst of the
// streams that were looked at, by bytes times the time since their peers last took, or sent,
// something. On one core.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "net/stream.hpp"
#include "runtime/types.hpp"

namespace corelane::net {

// What there is too much of: all memory, or messages and bodies that are not whole yet.
enum class MemoryOver : std::uint8_t { memory, unfinished };

inline constexpr std::string_view kOverMemory = "overloaded: limits.memory_bytes_max";
inline constexpr std::string_view kOverUnfinished = "overloaded: limits.unfinished_bytes_max";
constexpr std::string_view why_of(MemoryOver over) noexcept {
  return over == MemoryOver::memory ? kOverMemory : kOverUnfinished;
}

class HeldMemory {
 public:
  // `taken_at`: when the peer last took something of what is queued for it.
  HeldMemory(MemoryOver over, runtime::Nanoseconds now, runtime::Nanoseconds taken_at) noexcept
      : over_(over), now_(now), taken_at_(taken_at) {}

  // Of something that is not whole yet, of which some last came at `sent_at`.
  void add_unfinished(std::size_t bytes, runtime::Nanoseconds sent_at) noexcept {
    own_ += bytes;
    weight_ += weigh(bytes, sent_at);
  }
  // Anything else that goes when the stream goes.
  void add(std::size_t bytes) noexcept {
    if (over_ != MemoryOver::memory) return;
    own_ += bytes;
    weight_ += weigh(bytes, taken_at_);
  }
  // What others may hold, too, so that it may stay when the stream goes. Those that hold memory of
  // their own go first.
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
  // Less is not worth a connection.
  static constexpr std::size_t kBytesMin = 4096;
  // The worst that are remembered, whatever the number of those that hold something.
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
  // The worst that is left. Nothing can be added any more.
  std::optional<Holder> take_worst();
  MemoryOver over() const noexcept { return over_; }

 private:
  MemoryOver over_;
  std::size_t bytes_min_;
  bool is_sorted_ = false;
  std::vector<Holder> holders_;  // a heap, the best at its front; then sorted, the worst at the end
};

}  // namespace corelane::net
