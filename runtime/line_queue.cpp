#include "runtime/line_queue.hpp"

#include <sched.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "runtime/assert.hpp"

namespace corelane::runtime {
namespace {

constexpr std::size_t kNoticeBytesMax = 256;
// A producer holds the queue for the copy of a line. If it is descheduled there, yielding lets
// it go on; that it does not come back at all is no reason to stop a core.
constexpr int kLockTries = 200;
constexpr int kTriesBeforeYielding = 100;

std::uint64_t count_lines(std::string_view text) noexcept {
  return static_cast<std::uint64_t>(std::count(text.begin(), text.end(), '\n'));
}

}  // namespace

bool LineQueue::lock() noexcept {
  for (int i = 0; i < kLockTries; ++i) {
    // Acquire pairs with the release at the end of push().
    if (!locked_.exchange(true, std::memory_order_acquire)) return true;
    if (i >= kTriesBeforeYielding) ::sched_yield();
  }
  return false;
}

bool LineQueue::push(std::string_view lines, std::atomic<std::uint64_t>& lost,
                     MakeNotice notice) noexcept {
  if (!lock()) {
    lost.fetch_add(count_lines(lines), std::memory_order_relaxed);
    return false;
  }
  const std::uint64_t used =
      head_.load(std::memory_order_relaxed) - tail_.load(std::memory_order_acquire);
  std::size_t free = kBytes - used;
  bool taken = lines.size() <= free;
  if (notice != nullptr && lost.load(std::memory_order_relaxed) != 0) {
    taken = free >= kBytes / 2 && lines.size() + kNoticeBytesMax <= free;
    const std::uint64_t count = taken ? lost.exchange(0, std::memory_order_relaxed) : 0;
    if (count != 0) {
      std::array<char, kNoticeBytesMax> text;
      append({text.data(), notice(count, text)});
    }
  }
  if (taken) append(lines);
  locked_.store(false, std::memory_order_release);
  if (!taken) lost.fetch_add(count_lines(lines), std::memory_order_relaxed);
  return taken;
}

void LineQueue::append(std::string_view text) noexcept {
  const std::uint64_t head = head_.load(std::memory_order_relaxed);
  const std::size_t at = head % kBytes;
  const std::size_t first = std::min(text.size(), kBytes - at);
  std::memcpy(bytes_ + at, text.data(), first);
  std::memcpy(bytes_, text.data() + first, text.size() - first);
  head_.store(head + text.size(), std::memory_order_release);
}

std::size_t LineQueue::peek(std::span<char> to) const noexcept {
  RT_DEBUG_ASSERT(to.size() >= kLineBytesMax);
  const std::uint64_t tail = tail_.load(std::memory_order_relaxed);
  const std::uint64_t used = head_.load(std::memory_order_acquire) - tail;
  const std::size_t bytes = std::min<std::size_t>(used, to.size());
  const std::size_t at = tail % kBytes;
  const std::size_t first = std::min(bytes, kBytes - at);
  std::memcpy(to.data(), bytes_ + at, first);
  std::memcpy(to.data() + first, bytes_, bytes - first);
  if (bytes == used) return bytes;
  const std::size_t newline = std::string_view(to.data(), bytes).rfind('\n');
  return newline == std::string_view::npos ? bytes : newline + 1;
}

void LineQueue::drop(std::size_t bytes) noexcept {
  tail_.store(tail_.load(std::memory_order_relaxed) + bytes, std::memory_order_release);
}

}  // namespace corelane::runtime
