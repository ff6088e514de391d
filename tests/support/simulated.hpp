#pragma once
// Whether a test program that is linked for both rings runs in the simulation: for bounds that hold
// under a virtual clock alone. A program has on_uring.cpp or on_sim.cpp among its sources.

namespace corelane::tests {

extern const bool kIsSimulated;

// Where other cores have threads, a death test needs a process of its own, "threadsafe". qemu-user
// cannot start one, but runs the simulation alone, which has one thread.
extern const char* const kDeathTestStyle;

}  // namespace corelane::tests
