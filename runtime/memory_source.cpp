#include "runtime/memory_source.hpp"

#include <atomic>

#include "runtime/assert.hpp"

namespace corelane::runtime {
namespace {

// Set before there are threads.
constinit MemorySource* source = nullptr;
// Relaxed: all threads store the same, and nothing else is published.
constinit std::atomic<bool> is_in_use{false};

}  // namespace

void set_memory_source(MemorySource& new_source) noexcept {
  RT_ASSERT(source == nullptr);
  RT_ASSERT(!is_in_use.load(std::memory_order_relaxed));
  source = &new_source;
}

MemorySource* detail::memory_source() noexcept {
  if (source != nullptr) return source;
  if (!is_in_use.load(std::memory_order_relaxed)) is_in_use.store(true, std::memory_order_relaxed);
  return nullptr;
}

}  // namespace corelane::runtime
