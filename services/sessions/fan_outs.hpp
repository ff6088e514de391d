#pragma once
// FanOuts: the hand-over of one message to many sessions (a published run, a broadcast), in bounded
// steps. One a core, for all services; belongs to Sessions.
//
// In one turn a core hands messages to at most `turn_max` subscribers or slots of sessions. A
// larger fan-out goes on in the next turns. Until it has ended no message may overtake it, so
//   - the core takes no messages from its lanes, and
//   - requests between services of this core go through its own lane, as to another core, while
//     messages lie there: at_once() is false.
// Clients are still served. Their requests to this core wait in its own lane, whose bytes count
// and congest as in any lane. At most one fan-out of a core is unfinished.

#include <algorithm>
#include <cstdint>
#include <utility>

#include "runtime/core.hpp"

namespace corelane::services {

class FanOuts {
 public:
  // 30 to 100 ns each, since most sessions are not in the cache: at most 0.4 ms of a turn.
  static constexpr std::uint32_t kTurnMax = 4096;
  static constexpr std::uint32_t kFewShare = 16;  // 256 of 4,096 are few

  explicit FanOuts(std::uint32_t turn_max) noexcept;
  ~FanOuts();

  // True: `core` is this core, and may be called directly. Otherwise send().
  bool at_once(runtime::CoreId core) const noexcept { return core == core_.id() && detours_ == 0; }
  // A message between services, behind all earlier messages to that core, also to this core.
  template <runtime::LaneMessageBody Body>
  void send(runtime::CoreId to, const Body& body) {
    push<false>(to, body);
  }
  // The same for results, which a channel's owner sends to subscribers: runs and positions. Results
  // must not overtake each other, but may go ahead of requests.
  bool results_at_once(runtime::CoreId core) const noexcept {
    return core == core_.id() && results_ == 0;
  }
  template <runtime::LaneMessageBody Body>
  void send_result(runtime::CoreId to, const Body& body) {
    push<true>(to, body);
  }

  // Takes up to `wanted` of the rest of this turn's bound. A small fan-out (kFewShare) is never
  // cut, so that it does not take two turns.
  std::uint32_t take(std::uint32_t wanted) noexcept {
    if (const std::uint64_t turn = core_.counters().turns; turn != turn_) {
      turn_ = turn;
      left_ = turn_max_;
    }
    const std::uint32_t taken = wanted <= turn_max_ / kFewShare ? wanted : std::min(wanted, left_);
    left_ -= std::min(taken, left_);
    return taken;
  }
  // A fan-out: calls (owner.*kStep)(walk), which takes() its share of the turn and returns true at
  // the walk's end. A walk that has not ended moves to owner.*kWalk, and goes on from there in the
  // next turns. One at a time.
  template <auto kStep, auto kWalk, class Owner, class Walk>
  void run(Owner& owner, Walk walk) noexcept {
    if ((owner.*kStep)(walk)) [[likely]]
      return;
    owner.*kWalk = std::move(walk);
    go_on(
        [](void* context) noexcept {
          auto& self = *static_cast<Owner*>(context);
          return (self.*kStep)(self.*kWalk);
        },
        &owner);
  }

  // No fan-out is unfinished, and no message waits in the own lane.
  bool settled() const noexcept { return detours_ == 0; }
  std::uint64_t steps() const noexcept { return steps_; }  // without the first of each fan-out

 private:
  template <class Body, bool kIsResult>
  struct Detour {
    Body body;
    std::size_t lane_bytes() const noexcept
      requires requires(const Body& sent) { sent.lane_bytes(); }
    {
      return body.lane_bytes();
    }
    void deliver(runtime::CoreId from) const;
  };
  struct NextTurn : runtime::Timer {
    explicit NextTurn(FanOuts& owner) noexcept;
    FanOuts& fan_outs;
  };
  static FanOuts& local() noexcept;
  template <bool kIsResult, class Body>
  void push(runtime::CoreId to, const Body& body) {
    if (to != core_.id()) return core_.lanes().send(to, body);
    ++detours_;
    if constexpr (kIsResult) ++results_;
    core_.lanes().send(to, Detour<Body, kIsResult>{body});
  }
  using Step = bool (*)(void* context) noexcept;
  void go_on(Step step, void* context) noexcept;
  void step() noexcept;

  runtime::Core& core_;
  const std::uint32_t turn_max_;
  // Messages in the own lane, and 1 while a fan-out is unfinished; `results_` of them are results.
  std::uint32_t detours_ = 0;
  std::uint32_t results_ = 0;
  std::uint32_t left_ = 0;  // of the bound of turn_
  std::uint64_t turn_ = 0;
  std::uint64_t steps_ = 0;
  Step step_ = nullptr;
  void* context_ = nullptr;
  NextTurn next_turn_;
  runtime::Core::FlushHook flush_hook_;
};

template <class Body, bool kIsResult>
void FanOuts::Detour<Body, kIsResult>::deliver(runtime::CoreId from) const {
  FanOuts& fan_outs = local();
  --fan_outs.detours_;
  if constexpr (kIsResult) --fan_outs.results_;
  body.deliver(from);
}

}  // namespace corelane::services
