#pragma once
// Instructions that differ between processors: a time counter that is cheaper to read than a clock,
// and the hint of a loop that polls. x86-64 and ARM64. Any thread.

#include <cstdint>

namespace corelane::runtime {

#if defined(__x86_64__)

// Ticks of a counter that runs at one rate on all CPUs (x86-64: the time stamp counter, 8 ns a
// reading, 1 to 5 GHz; ARM64: the generic timer's virtual count, 1 MHz to 1 GHz).
inline std::uint64_t read_ticks() noexcept {
  return __builtin_ia32_rdtsc();
}

// Ticks that take at least 1 ms and at most 5 ms. (x86-64 does not tell its counter's rate to every
// guest of a virtual machine: 5 ms at 1 GHz, 1.2 ms at 4 GHz.)
inline std::uint64_t ticks_of_some_ms() noexcept {
  return 5'000'000;
}

inline void relax_cpu() noexcept {
  __builtin_ia32_pause();
}

#elif defined(__aarch64__)

inline std::uint64_t read_ticks() noexcept {
  std::uint64_t ticks;
  __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
  return ticks;
}

inline std::uint64_t ticks_of_some_ms() noexcept {
  std::uint64_t ticks_a_second;
  __asm__("mrs %0, cntfrq_el0" : "=r"(ticks_a_second));
  return ticks_a_second / 500;
}

inline void relax_cpu() noexcept {
  __asm__ volatile("isb" ::: "memory");  // `yield` does nothing on processors without SMT
}

#else
#error "runtime/cpu.hpp knows x86-64 and ARM64"
#endif

}  // namespace corelane::runtime
