#pragma once
// CpuLevel: the level of the x86-64 instruction set that this processor has, and the one that this
// build needs (x86-64 psABI, "microarchitecture levels"; the build option cpu_level). Every program
// that runs a real ring compares the two before its static initialisers run: on a processor below
// the level it says what is missing on stderr and ends with kCpuExitCode, instead of with SIGILL
// somewhere.
//
// On ARM64 there is one level, which every processor has: both are v1 there.
//
// cpu_level.cpp is compiled for every x86-64 processor, so this header has no inline functions and
// no templates: the linker may keep the copy of another file, which is compiled for more.

#include <cstddef>
#include <cstdint>

namespace corelane::runtime {

enum class CpuLevel : std::uint8_t { v1 = 1, v2, v3, v4 };

// What the instructions cpuid and xgetbv tell, as far as the levels depend on it; 0 for leaves that
// the processor does not have.
struct CpuWords {
  std::uint32_t leaf1_ecx;
  std::uint32_t leaf7_ebx;
  std::uint32_t extended1_ecx;  // leaf 0x8000'0001
  std::uint32_t xcr0;           // the registers that the operating system saves
};

CpuWords read_cpu_words() noexcept;
CpuLevel level_of(const CpuWords& words) noexcept;
// "AVX2 BMI2": what the level needs and the processor lacks, cut to `size` with its terminator.
void write_missing(const CpuWords& words, CpuLevel level, char* text, std::size_t size) noexcept;

CpuLevel cpu_level() noexcept;         // of this processor
CpuLevel cpu_level_needed() noexcept;  // by this build

inline constexpr int kCpuExitCode = 6;
// Returns if the processor has the level; else writes to stderr and ends the process.
void require_cpu_level(const CpuWords& words, CpuLevel needed) noexcept;

}  // namespace corelane::runtime
