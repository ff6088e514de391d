#pragma once
// Relief: what a core does while it holds too much memory (runtime::MemoryAccount): it looks at all
// streams and ends those that hold most and take least. One a core, beside its network.
//
// A pass is bounded in each turn, so that honest clients are served in between: some slots are
// looked at (the worst that were found are remembered), then some streams are ended. It goes on in
// the next turns, whatever the core holds by then, down to where requests are taken again: so it
// runs rarely.

#include <cstdint>

#include "net/memory_holders.hpp"
#include "net/network.hpp"
#include "runtime/timer_heap.hpp"
#include "runtime/types.hpp"

namespace corelane::services {

class Relief {
 public:
  // An end takes 13 us, so 64 of them 0.8 ms. A look touches the stream, its queue and what the
  // layer above has for it: some cache lines, which are mostly not in the cache.
  static constexpr std::uint32_t kSlotsInATurn = 8192;
  static constexpr std::size_t kEndedInATurn = 64;
  // Until the next pass after one that found no stream to end: the memory is then in operations
  // that are ending, or of streams that hold too little. At least this many times what the pass
  // took, so that looking takes a ninth of a core's time at most.
  static constexpr runtime::Nanoseconds kPause = 10 * runtime::kMillisecond;
  static constexpr runtime::Nanoseconds kPauseShare = 8;

  // `unfinished_bytes_max`: of the core. `network` outlives it.
  Relief(net::Network& network, std::size_t unfinished_bytes_max);
  ~Relief();
  Relief(const Relief&) = delete;
  Relief& operator=(const Relief&) = delete;

  std::uint64_t passes() const noexcept { return passes_; }

 private:
  struct NextTurn : runtime::Timer {
    NextTurn(Relief& owner, Fire fire_function) noexcept : Timer(fire_function), relief(owner) {}
    Relief& relief;
  };

  static void relieve(void* relief) noexcept;
  void begin();
  void step();
  bool look();
  bool end_some();
  void end_pass();
  std::size_t excess() const noexcept;

  net::Network& network_;
  net::MemoryHolders holders_;
  NextTurn next_turn_;  // queued while a pass goes on
  std::uint32_t slot_ = 0;
  std::size_t wanted_ = 0;  // bytes that are to be given back yet
  std::size_t ended_ = 0;
  bool takes_small_ = false;
  runtime::Nanoseconds began_ = 0;
  runtime::Nanoseconds next_pass_ = 0;
  std::uint64_t passes_ = 0;
};

}  // namespace corelane::services
