#pragma once
// The vector instruction sets that the kernels of ws/mask.cpp and ws/utf8.cpp are written for. The
// build's baseline is x86-64-v3; what lies above it is chosen once, at run time. Every path stays
// reachable by name, so that tests and benchmarks can run each one the host has.

#include <cstdint>

namespace corelane::ws {

enum class CpuPath : std::uint8_t {
  scalar,  // 8 bytes a step, the model that the others are tested against
  avx2,
  avx512,  // needs F, BW, VL and DQ: every server since Skylake-SP and Zen 4
};

inline bool cpu_has(CpuPath path) noexcept {
  switch (path) {
    case CpuPath::scalar:
      return true;
    case CpuPath::avx2:
      return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("bmi2") != 0;
    case CpuPath::avx512:
      return __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
             __builtin_cpu_supports("avx512vl") != 0 && __builtin_cpu_supports("avx512dq") != 0 &&
             __builtin_cpu_supports("bmi2") != 0;
  }
  return false;
}

inline CpuPath best_cpu_path() noexcept {
  if (cpu_has(CpuPath::avx512)) return CpuPath::avx512;
  return cpu_has(CpuPath::avx2) ? CpuPath::avx2 : CpuPath::scalar;
}

}  // namespace corelane::ws
