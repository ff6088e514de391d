#pragma once
// The vector instruction sets that the kernels of ws/mask.cpp and ws/utf8*.cpp are written for. On
// x86-64 the best one that the processor has is chosen once, at run time; on ARM64 every processor
// has NEON. Every path stays reachable by name, so that tests and benchmarks can run each one the
// host has.

#include <array>
#include <cstdint>

namespace corelane::ws {

enum class CpuPath : std::uint8_t {
  scalar,  // 8 bytes a step, the model that the others are tested against
#if defined(__x86_64__)
  avx2,
  avx512,  // needs F, BW, VL and DQ: every server since Skylake-SP and Zen 4
#elif defined(__aarch64__)
  neon,
#endif
};

#if defined(__x86_64__)
inline constexpr std::array kCpuPaths = {CpuPath::scalar, CpuPath::avx2, CpuPath::avx512};
#elif defined(__aarch64__)
inline constexpr std::array kCpuPaths = {CpuPath::scalar, CpuPath::neon};
#else
inline constexpr std::array kCpuPaths = {CpuPath::scalar};
#endif

inline bool cpu_has(CpuPath path) noexcept {
  switch (path) {
    case CpuPath::scalar:
      return true;
#if defined(__x86_64__)
    case CpuPath::avx2:
      return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("bmi2") != 0;
    case CpuPath::avx512:
      return __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
             __builtin_cpu_supports("avx512vl") != 0 && __builtin_cpu_supports("avx512dq") != 0 &&
             __builtin_cpu_supports("bmi2") != 0;
#elif defined(__aarch64__)
    case CpuPath::neon:
      return true;  // part of the ARMv8-A baseline
#endif
  }
  return false;
}

// The last one of the list that the processor has.
inline CpuPath best_cpu_path() noexcept {
  CpuPath best = CpuPath::scalar;
  for (const CpuPath path : kCpuPaths) {
    if (cpu_has(path)) best = path;
  }
  return best;
}

}  // namespace corelane::ws
