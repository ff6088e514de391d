#pragma once
// A core that is descheduled, in the simulation: all that happens waits for its next turn.

#include "runtime/core.hpp"
#include "runtime/sim/kernel.hpp"
#include "runtime/sim/ring_state.hpp"
#include "runtime/sim/world.hpp"

namespace corelane::tests {

// From the end of this turn on, once what it sends has been handed over.
inline void lose_cpu(runtime::sim::World& world, runtime::Nanoseconds span) {
  const runtime::CoreId core = runtime::Core::current().id();
  for (runtime::sim::RingState* ring : world.kernel().rings()) {
    if (ring != nullptr && ring->core == core) ring->held_until = world.now() + span;
  }
}

}  // namespace corelane::tests
