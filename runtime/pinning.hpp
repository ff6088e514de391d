#pragma once
// Whether each core should be pinned to a CPU. The scheduler cannot move a pinned core away from a
// CPU that something else uses, so pinning pays only where the CPUs are the program's own:
//
//   options.cores = 4;
//   options.cpus = cpus_worth_pinning(options.cores);   // empty: not pinned
//
// Measured: perf/README.md, "Pinning". Any thread, before the runtime starts.

#include <vector>

#include "runtime/host.hpp"
#include "runtime/types.hpp"

namespace corelane::runtime {

struct PinAdvice {
  bool is_worth_it = false;
  const char* why = "";  // the end of a sentence
};

// CPUs are taken as the program's own if there is one for each core and somebody has set them apart
// (an affinity mask, a cpuset, isolcpus=), or if cores would move between NUMA nodes; and if no
// quota, no other virtual machine and no other program takes their time away.
PinAdvice advise_pinning(const HostFacts& host, CoreId cores) noexcept;

// For RuntimeOptions::cpus: the allowed CPUs of this host, or none.
std::vector<int> cpus_worth_pinning(CoreId cores);

// From these shares of the time on, the CPUs are shared (HostFacts::cpu_stolen, cpu_pressure). A
// quiet host has less of both.
inline constexpr double kStolenMax = 0.01;
inline constexpr double kPressureMax = 0.10;

}  // namespace corelane::runtime
