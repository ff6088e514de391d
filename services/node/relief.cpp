// What a core does at the end of a turn in which it holds too much memory (runtime::MemoryAccount).

#include <fmt/format.h>

#include <algorithm>

#include "net/memory_holders.hpp"
#include "runtime/core.hpp"
#include "runtime/log.hpp"
#include "services/node/node.hpp"

namespace corelane::services {
namespace {

constinit runtime::LogReason kRelieved("connections closed for want of memory");

// A pass looks at every connection, so one that finds none to end is not repeated at once: the
// memory is then held by operations that are ending, or by connections that hold too little each.
constexpr runtime::Nanoseconds kPause = 10 * runtime::kMillisecond;

}  // namespace

// Down to an eighth below the limit, and to the level at which requests are taken again, so that
// this runs rarely.
void CoreNode::relieve(void* node) noexcept {
  auto& self = *static_cast<CoreNode*>(node);
  runtime::Core& core = runtime::Core::current();
  if (core.now() < self.next_relief_) return;
  ++self.relief_passes_;
  const runtime::MemoryAccount& memory = core.memory();
  net::MemoryHolders holders;
  std::size_t excess = 0;
  if (memory.unfinished() > memory.unfinished_max()) {
    excess = memory.unfinished() - memory.unfinished_max() / 8 * 7;
  }
  self.endpoint_.list(holders);
  for (const auto& endpoint : self.endpoints_) endpoint->list(holders);
  self.http_.list(holders);
  self.tcp_.list(holders);
  if (memory.reached(runtime::MemoryPressure::shedding)) {
    excess = std::max(excess, memory.excess(runtime::MemoryPressure::no_memory));
    self.network_.list(holders);
  }
  const std::size_t total = memory.total();
  const std::size_t unfinished = memory.unfinished();
  const std::size_t ended = holders.end_worst(excess);
  if (ended == 0) self.next_relief_ = core.now() + kPause;
  runtime::log_limited(kRelieved, runtime::LogLevel::warning, [&] {
    return fmt::format(
        "core {} holds {} MiB (limits.memory_bytes_max: {} a core), {} of them unfinished "
        "(limits.unfinished_bytes_max: {}): {} connections closed that hold most and take least",
        core.id(), total >> 20, memory.budget() >> 20, unfinished >> 20,
        memory.unfinished_max() >> 20, ended);
  });
}

}  // namespace corelane::services
