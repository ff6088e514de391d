#include "runtime/timer_heap.hpp"

#include <algorithm>

namespace corelane::runtime {

bool TimerHeap::earlier(const Entry& left, const Entry& right) noexcept {
  if (left.deadline_ns != right.deadline_ns) return left.deadline_ns < right.deadline_ns;
  // Cyclic order: sequence numbers wrap, but 2^31 timers are never queued at once.
  return static_cast<std::int32_t>(left.timer->sequence - right.timer->sequence) < 0;
}

void TimerHeap::place(std::size_t index, const Entry& entry) noexcept {
  entries_[index] = entry;
  entry.timer->heap_index = static_cast<std::uint32_t>(index);
}

void TimerHeap::sift_up(std::size_t index, const Entry& entry) noexcept {
  while (index > 0) {
    const std::size_t parent = (index - 1) / kArity;
    if (!earlier(entry, entries_[parent])) break;
    place(index, entries_[parent]);
    index = parent;
  }
  place(index, entry);
}

void TimerHeap::sift_down(std::size_t index, const Entry& entry) noexcept {
  const std::size_t size = entries_.size();
  for (;;) {
    const std::size_t first = index * kArity + 1;
    if (first >= size) break;
    std::size_t best = first;
    for (std::size_t child = first + 1; child < std::min(first + kArity, size); ++child) {
      if (earlier(entries_[child], entries_[best])) best = child;
    }
    if (!earlier(entries_[best], entry)) break;
    place(index, entries_[best]);
    index = best;
  }
  place(index, entry);
}

void TimerHeap::settle(std::size_t index, const Entry& entry) noexcept {
  if (index > 0 && earlier(entry, entries_[(index - 1) / kArity])) {
    sift_up(index, entry);
  } else {
    sift_down(index, entry);
  }
}

void TimerHeap::add(Timer& timer, std::int64_t deadline_ns) {
  RT_ASSERT(!timer.queued());
  RT_ASSERT(entries_.size() < Timer::kNotQueued);
  timer.deadline_ns = deadline_ns;
  timer.sequence = next_sequence_++;
  const Entry entry{deadline_ns, &timer};
  entries_.push_back(entry);
  sift_up(entries_.size() - 1, entry);
}

void TimerHeap::remove(std::size_t index) noexcept {
  RT_ASSERT(index < entries_.size());
  entries_[index].timer->heap_index = Timer::kNotQueued;
  const Entry last = entries_.back();
  entries_.pop_back();
  if (index < entries_.size()) settle(index, last);
}

bool TimerHeap::cancel(Timer& timer) noexcept {
  if (!timer.queued()) return false;
  RT_ASSERT(entries_[timer.heap_index].timer == &timer);
  remove(timer.heap_index);
  return true;
}

void TimerHeap::reschedule(Timer& timer, std::int64_t deadline_ns) {
  if (!timer.queued()) return add(timer, deadline_ns);
  RT_ASSERT(entries_[timer.heap_index].timer == &timer);
  timer.deadline_ns = deadline_ns;
  timer.sequence = next_sequence_++;
  settle(timer.heap_index, {deadline_ns, &timer});
}

std::size_t TimerHeap::fire_due(std::int64_t now_ns, std::size_t max) noexcept {
  std::size_t fired = 0;
  while (fired < max && !entries_.empty() && entries_.front().deadline_ns <= now_ns) {
    Timer& timer = *entries_.front().timer;
    remove(0);
    ++fired;
    timer.fire(timer);
  }
  return fired;
}

}  // namespace corelane::runtime
