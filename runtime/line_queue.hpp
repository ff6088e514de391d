#pragma once
// LineQueue: text on its way from any thread to the one that writes it out. Bounded: a line that
// does not fit is lost and counted. A producer never waits: it tries for the queue a bounded number
// of times and then counts its lines as lost too. The consumer takes no lock, so that a producer
// never waits for a thread that is inside of write(2).

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "runtime/cache_line.hpp"

namespace corelane::runtime {

class LineQueue {
 public:
  // With its newline. PIPE_BUF of Linux: what is written at once is not mixed with the lines of
  // other processes.
  static constexpr std::size_t kLineBytesMax = 4096;
  static constexpr std::size_t kBytes = 64 * 1024;  // as much as a pipe of Linux holds

  // `memory` are kBytes, and outlive the queue.
  constexpr explicit LineQueue(char* memory) noexcept : bytes_(memory) {}
  LineQueue(const LineQueue&) = delete;
  LineQueue& operator=(const LineQueue&) = delete;

  // Takes whole lines, each with its newline and of at most kLineBytesMax, all or none; from any
  // thread. If lines were lost before, `notice` goes in front: the caller makes it from how many.
  // Lost lines are added to `lost`. After a loss the queue takes nothing before half of it is free,
  // so that a slow reader gets runs of lines and not a notice a line.
  using MakeNotice = std::size_t (*)(std::uint64_t lost, std::span<char> to) noexcept;
  bool push(std::string_view lines, std::atomic<std::uint64_t>& lost, MakeNotice notice) noexcept;

  // The consumer, one thread at a time. Copies as many of the next whole lines as fit (at least
  // kLineBytesMax must fit) and returns their bytes; they stay in the queue until they are dropped.
  std::size_t peek(std::span<char> to) const noexcept;
  void drop(std::size_t bytes) noexcept;

  bool empty() const noexcept {
    return tail_.load(std::memory_order_acquire) == head_.load(std::memory_order_acquire);
  }

 private:
  bool lock() noexcept;
  void append(std::string_view text) noexcept;

  // Positions only grow. Producers store head_, the consumer stores tail_; each release pairs with
  // the acquire of the other side: the bytes are there, or may be overwritten.
  alignas(kCacheLine) std::atomic<std::uint64_t> head_{0};
  std::atomic<bool> locked_{false};  // among producers
  alignas(kCacheLine) std::atomic<std::uint64_t> tail_{0};
  char* const bytes_;
};

}  // namespace corelane::runtime
