#pragma once
// Relief: ends streams while the core holds too much memory (runtime::MemoryAccount). It lists all
// streams and ends those that hold most and take least. One a core, beside its network.
//
// The work of a pass is bounded in each turn, so that honest clients are served in between. First
// some turns list a part of the slots each, then some turns end a part of the streams each. A pass
// goes on below the level that began it, down to the level where requests are taken again. So
// passes are rare.

#include <cstdint>

#include "net/memory_holders.hpp"
#include "net/network.hpp"
#include "runtime/timer_heap.hpp"
#include "runtime/types.hpp"

namespace corelane::services {

class Relief {
 public:
  // Ending a stream takes 13 us, 64 streams 0.8 ms. Listing a stream touches the stream, its queue
  // and its state in the layer above: some cache lines, mostly misses.
  static constexpr std::uint32_t kSlotsInATurn = 8192;
  static constexpr std::size_t kEndedInATurn = 64;
  // The pause after a pass that found no stream to end: the memory then belongs to operations that
  // are ending, or to streams that hold too little. The pause is at least kPauseShare times the
  // duration of the pass, so passes take at most a ninth of a core's time.
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
  std::size_t wanted_ = 0;  // bytes still to be given back
  std::size_t ended_ = 0;
  bool takes_small_ = false;
  runtime::Nanoseconds began_ = 0;
  runtime::Nanoseconds next_pass_ = 0;
  std::uint64_t passes_ = 0;
};

}  // namespace corelane::services
