#pragma once
// Whether a test program that is built for both rings runs in the simulation: for bounds that hold
// under a virtual clock alone. The program's meson.build defines CORELANE_SIMULATED as 0 or 1; in
// another program the constant does not exist.

namespace corelane::tests {

#ifdef CORELANE_SIMULATED
inline constexpr bool kIsSimulated = CORELANE_SIMULATED != 0;
#endif

}  // namespace corelane::tests
