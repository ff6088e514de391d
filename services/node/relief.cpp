#include "services/node/relief.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "runtime/core.hpp"
#include "runtime/log.hpp"

namespace corelane::services {

using net::MemoryOver;
using runtime::MemoryAccount;
using runtime::MemoryPressure;

namespace {

constinit runtime::LogReason kRelieved("connections closed for want of memory");

}  // namespace

Relief::Relief(net::Network& network, std::size_t unfinished_bytes_max)
    : network_(network), next_turn_(*this, [](runtime::Timer& timer) noexcept {
        static_cast<NextTurn&>(timer).relief.step();
      }) {
  network_.core().memory().set_relief(relieve, this, unfinished_bytes_max);
}

Relief::~Relief() {
  network_.core().memory().set_relief(nullptr, nullptr, SIZE_MAX);
  network_.core().timers().cancel(next_turn_);
}

// Called at the end of each turn in which the core holds too much memory.
void Relief::relieve(void* relief) noexcept {
  auto& self = *static_cast<Relief*>(relief);
  if (self.next_turn_.queued() || self.network_.core().now() < self.next_pass_) return;
  self.begin();
  self.step();
}

// A pass over unfinished messages and bodies also ends small holders if the last pass found no
// other streams: their memory is given back at once.
void Relief::begin() {
  ++passes_;
  began_ = network_.core().now();
  const bool is_memory = network_.core().memory().reached(MemoryPressure::shedding);
  const MemoryOver over = is_memory ? MemoryOver::memory : MemoryOver::unfinished;
  const bool takes_small = takes_small_ && !is_memory;
  holders_ = net::MemoryHolders(over, takes_small ? 1 : net::MemoryHolders::kBytesMin);
  slot_ = 0;
  wanted_ = SIZE_MAX;
  ended_ = 0;
}

void Relief::step() {
  if (look() || end_some()) {
    network_.core().timers().add(next_turn_, network_.core().now() + 1);
  } else {
    end_pass();
  }
}

// True: there are more slots to list.
bool Relief::look() {
  const std::uint32_t slots = network_.stream_slots();
  if (slot_ >= slots) return false;
  const std::uint32_t to = slot_ + std::min(kSlotsInATurn, slots - slot_);
  network_.list(holders_, slot_, to);
  slot_ = to;
  return slot_ < slots;
}

// True: there are more streams to end. A stream's own memory counts as given back, also if the end
// of its operations frees it only later.
bool Relief::end_some() {
  const MemoryAccount& memory = network_.core().memory();
  wanted_ = std::min(wanted_, excess());
  for (std::size_t count = 0; wanted_ > 0; ++count) {
    if (count == kEndedInATurn) return true;
    const auto worst = holders_.take_worst();
    if (!worst) return false;
    const std::size_t before = memory.total();
    const auto own = network_.end_holder(*worst, holders_.over());
    if (!own) continue;
    ++ended_;
    const std::size_t given_back = before - std::min(before, memory.total());
    wanted_ -= std::min(wanted_, std::max(*own, given_back));
  }
  return false;
}

// Bytes above the goal of a pass: 7/8 of the limit of unfinished bytes, or the level below which
// requests are taken again.
std::size_t Relief::excess() const noexcept {
  const MemoryAccount& memory = network_.core().memory();
  if (holders_.over() == MemoryOver::memory) return memory.excess(MemoryPressure::no_memory);
  const std::size_t wanted = memory.unfinished_max() / 8 * 7;
  return memory.unfinished() - std::min(memory.unfinished(), wanted);
}

void Relief::end_pass() {
  runtime::Core& core = network_.core();
  const MemoryAccount& memory = core.memory();
  const runtime::Nanoseconds took = core.now() - began_;
  next_pass_ = core.now() + (ended_ == 0 ? std::max(kPause, kPauseShare * took) : 1);
  takes_small_ =
      holders_.over() == MemoryOver::unfinished && wanted_ > 0 && (takes_small_ || ended_ == 0);
  runtime::log_limited(kRelieved, runtime::LogLevel::warning, [&] {
    return fmt::format(
        "core {} holds {} MiB (limits.memory_bytes_max: {} a core), {} of them unfinished "
        "(limits.unfinished_bytes_max: {}): {} connections closed that held most and took least",
        core.id(), memory.total() >> 20, memory.budget() >> 20, memory.unfinished() >> 20,
        memory.unfinished_max() >> 20, ended_);
  });
}

}  // namespace corelane::services
