#pragma once
// MemoryAccount: the memory that one core holds for its peers, by kind, and the core's budget. Code
// that allocates memory whose amount a peer decides adds it here, and removes it when it frees
// it; the layers above ask reached() before they take on more. Belongs to one core
// (Core::memory()); plain counters, no locks, no allocation.
//
//   0 ....... 11/16 ............. 12/16 ............. 13/16 .......... budget
//   [  none  ] [ no new sessions ] [ no new memory   ] [ holders are closed ]
//
// The last part of the budget is for memory that is not counted: fragments of the allocator,
// connections, operations in flight of closed connections. (10,000 peers that read nothing,
// messages of 64 KiB: a process takes a fifth more than the counted memory.)
//
// The effect of each level: see services/README.md.

#include <array>
#include <cstddef>
#include <cstdint>

#include "runtime/assert.hpp"

namespace corelane::runtime {

enum class MemoryKind : std::uint8_t {
  receive_buffers,  // the groups of the buffer pool, whole
  queued,           // copies that wait to be sent
  shared,           // SharedBytes: those of this core, and those of others that it holds
  messages,         // joined, unfinished or whole, and answers that are kept until sent
  http,             // bodies of requests
  handlers,         // requests that handlers of the application serve
  cache,            // the values that the cache keeps, and its table
};
inline constexpr std::size_t kMemoryKinds = 7;

// Each level includes those before it.
enum class MemoryPressure : std::uint8_t {
  none,
  no_sessions,  // new sessions are refused
  no_memory,    // so are requests that need memory
  shedding,     // the holders of most memory that take least are closed
};

class MemoryAccount {
 public:
  // 0: no limit, there is never pressure.
  explicit MemoryAccount(std::size_t budget_bytes = 0) noexcept : budget_(budget_bytes) {
    const std::size_t sixteenth = budget_bytes / 16;
    for (std::size_t i = 0; i < kSixteenths.size(); ++i) {
      levels_[i] = budget_bytes == 0 ? SIZE_MAX : sixteenth * kSixteenths[i];
    }
  }

  void add(MemoryKind kind, std::size_t bytes) noexcept {
    held_[index(kind)] += bytes;
    total_ += bytes;
  }
  void remove(MemoryKind kind, std::size_t bytes) noexcept {
    RT_ASSERT(held_[index(kind)] >= bytes);  // an underflow would keep the core shedding
    held_[index(kind)] -= bytes;
    total_ -= bytes;
  }

  // The unfinished part of `messages` and `http`; it has a separate limit.
  void add_unfinished(std::size_t bytes) noexcept { unfinished_ += bytes; }
  void remove_unfinished(std::size_t bytes) noexcept {
    RT_ASSERT(unfinished_ >= bytes);
    unfinished_ -= bytes;
  }
  std::size_t unfinished() const noexcept { return unfinished_; }
  // SIZE_MAX: none.
  std::size_t unfinished_max() const noexcept { return unfinished_max_; }

  // Called at the end of each turn while the core holds too much (is_over()); the function closes
  // some of the holders. `unfinished_bytes_max`: see add_unfinished().
  using Relief = void (*)(void* context) noexcept;
  void set_relief(Relief function, void* context, std::size_t unfinished_bytes_max) noexcept {
    relief_ = function;
    relief_context_ = context;
    unfinished_max_ = unfinished_bytes_max;
  }
  bool is_over() const noexcept { return total_ > levels_.back() || unfinished_ > unfinished_max_; }
  void relieve() noexcept {
    if (relief_ != nullptr) relief_(relief_context_);
  }

  std::size_t budget() const noexcept { return budget_; }
  std::size_t total() const noexcept { return total_; }
  std::size_t held(MemoryKind kind) const noexcept { return held_[index(kind)]; }

  // True at this level and above it. `none` is always reached.
  bool reached(MemoryPressure pressure) const noexcept {
    return pressure == MemoryPressure::none ||
           total_ > levels_[static_cast<std::size_t>(pressure) - 1];
  }
  // Bytes to give back to get below `pressure`, which is not `none`.
  std::size_t excess(MemoryPressure pressure) const noexcept {
    RT_ASSERT(pressure != MemoryPressure::none);
    return reached(pressure) ? total_ - levels_[static_cast<std::size_t>(pressure) - 1] : 0;
  }

 private:
  static constexpr std::array<std::size_t, 3> kSixteenths{11, 12, 13};

  static constexpr std::size_t index(MemoryKind kind) noexcept {
    return static_cast<std::size_t>(kind);
  }

  std::size_t total_ = 0;
  std::size_t unfinished_ = 0;
  std::size_t unfinished_max_ = SIZE_MAX;
  std::array<std::size_t, 3> levels_{};
  std::array<std::size_t, kMemoryKinds> held_{};
  std::size_t budget_ = 0;
  Relief relief_ = nullptr;
  void* relief_context_ = nullptr;
};

}  // namespace corelane::runtime
