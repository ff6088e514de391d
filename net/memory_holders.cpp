#include "net/memory_holders.hpp"

#include <algorithm>

namespace corelane::net {

std::size_t MemoryHolders::end_worst(std::size_t bytes) {
  const auto is_better = [](const Holder& a, const Holder& b) { return a.weight < b.weight; };
  std::ranges::make_heap(holders_, is_better);
  std::size_t ended = 0;
  for (std::size_t freed = 0; freed < bytes && !holders_.empty(); ++ended) {
    std::ranges::pop_heap(holders_, is_better);
    const Holder worst = holders_.back();
    holders_.pop_back();
    freed += worst.bytes;
    worst.end(worst.table, worst.slot);
  }
  return ended;
}

}  // namespace corelane::net
