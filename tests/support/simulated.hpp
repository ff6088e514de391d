#pragma once
// Whether a test program that is linked for both rings runs in the simulation: for bounds that hold
// under a virtual clock alone. A program has on_uring.cpp or on_sim.cpp among its sources.

namespace corelane::tests {

extern const bool kIsSimulated;

}  // namespace corelane::tests
