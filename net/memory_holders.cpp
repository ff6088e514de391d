#include "net/memory_holders.hpp"

#include <algorithm>

#include "runtime/assert.hpp"

namespace corelane::net {
namespace {

bool is_worse(const MemoryHolders::Holder& a, const MemoryHolders::Holder& b) noexcept {
  return a.weight > b.weight;
}

}  // namespace

void MemoryHolders::add(StreamId stream, const HeldMemory& held) {
  RT_ASSERT(!is_sorted_);
  if (held.all() < bytes_min_) return;
  const Holder holder{.stream = stream, .bytes = held.all(), .weight = held.weight()};
  if (holders_.size() == kHoldersMax) {
    if (!is_worse(holder, holders_.front())) return;
    std::ranges::pop_heap(holders_, is_worse);
    holders_.back() = holder;
  } else {
    holders_.push_back(holder);
  }
  std::ranges::push_heap(holders_, is_worse);
}

std::optional<MemoryHolders::Holder> MemoryHolders::take_worst() {
  if (!is_sorted_) {
    std::ranges::sort_heap(holders_, is_worse);
    std::ranges::reverse(holders_);
    is_sorted_ = true;
  }
  if (holders_.empty()) return std::nullopt;
  const Holder worst = holders_.back();
  holders_.pop_back();
  return worst;
}

}  // namespace corelane::net
