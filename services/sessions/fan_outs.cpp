#include "services/sessions/fan_outs.hpp"

#include "runtime/assert.hpp"
#include "services/sessions/sessions.hpp"

namespace corelane::services {

FanOuts::NextTurn::NextTurn(FanOuts& owner) noexcept
    : Timer([](runtime::Timer& timer) noexcept {
        FanOuts& self = static_cast<NextTurn&>(timer).fan_outs;
        self.core_.request_flush(runtime::FlushPhase::services, self.flush_hook_);
      }),
      fan_outs(owner) {}

FanOuts::FanOuts(std::uint32_t turn_max) noexcept
    : core_(runtime::Core::current()),
      turn_max_(turn_max),
      next_turn_(*this),
      flush_hook_{[](void* context) noexcept { static_cast<FanOuts*>(context)->step(); }, this,
                  false} {
  RT_ASSERT(turn_max > 0);
}

FanOuts::~FanOuts() {
  RT_ASSERT(settled());  // a node stops only after its lanes have settled
}

FanOuts& FanOuts::local() noexcept {
  return Sessions::local().fan_outs();
}

void FanOuts::go_on(Step step, void* context) noexcept {
  RT_ASSERT(step_ == nullptr);
  step_ = step;
  context_ = context;
  ++detours_;
  ++results_;
  core_.hold_lanes(true);
  core_.timers().add(next_turn_, core_.now());
}

void FanOuts::step() noexcept {
  const bool is_next_turn = turn_ != core_.counters().turns;
  steps_ += is_next_turn ? 1 : 0;
  if (!is_next_turn || !step_(context_)) {
    core_.timers().add(next_turn_, core_.now());
    return;
  }
  step_ = nullptr;
  --detours_;
  --results_;
  core_.hold_lanes(false);
}

}  // namespace corelane::services
