// Compiled for every x86-64 processor (runtime/meson.build). It calls nothing but functions of
// libc: what is inline in a header may come from a file that is compiled for more.

#include "runtime/cpu_level.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cerrno>

#ifndef CORELANE_CPU_LEVEL
#error "runtime/meson.build says which level the other files are compiled for"
#endif

namespace corelane::runtime {
namespace {

enum class Word : std::uint8_t { leaf1_ecx, leaf7_ebx, extended1_ecx, xcr0 };

// A feature, the level that first needs it, and the bits that show it.
struct CpuFeature {
  CpuLevel level;
  const char* name;
  Word word;
  std::uint32_t bits;
};

constexpr std::uint32_t bit(unsigned number) noexcept {
  return std::uint32_t{1} << number;
}

constexpr std::uint32_t kOsSavesYmm = 0x06;
constexpr std::uint32_t kOsSavesZmm = 0xe6;

// x86-64 psABI, table 3.1. Below them are those of every x86-64 processor.
constexpr CpuFeature kFeatures[] = {
    {CpuLevel::v2, "SSE3", Word::leaf1_ecx, bit(0)},
    {CpuLevel::v2, "SSSE3", Word::leaf1_ecx, bit(9)},
    {CpuLevel::v2, "CMPXCHG16B", Word::leaf1_ecx, bit(13)},
    {CpuLevel::v2, "SSE4.1", Word::leaf1_ecx, bit(19)},
    {CpuLevel::v2, "SSE4.2", Word::leaf1_ecx, bit(20)},
    {CpuLevel::v2, "POPCNT", Word::leaf1_ecx, bit(23)},
    {CpuLevel::v2, "LAHF", Word::extended1_ecx, bit(0)},
    {CpuLevel::v3, "FMA", Word::leaf1_ecx, bit(12)},
    {CpuLevel::v3, "MOVBE", Word::leaf1_ecx, bit(22)},
    {CpuLevel::v3, "OSXSAVE", Word::leaf1_ecx, bit(27)},
    {CpuLevel::v3, "AVX", Word::leaf1_ecx, bit(28)},
    {CpuLevel::v3, "F16C", Word::leaf1_ecx, bit(29)},
    {CpuLevel::v3, "BMI1", Word::leaf7_ebx, bit(3)},
    {CpuLevel::v3, "AVX2", Word::leaf7_ebx, bit(5)},
    {CpuLevel::v3, "BMI2", Word::leaf7_ebx, bit(8)},
    {CpuLevel::v3, "LZCNT", Word::extended1_ecx, bit(5)},
    {CpuLevel::v3, "YMM-state", Word::xcr0, kOsSavesYmm},
    {CpuLevel::v4, "AVX512F", Word::leaf7_ebx, bit(16)},
    {CpuLevel::v4, "AVX512DQ", Word::leaf7_ebx, bit(17)},
    {CpuLevel::v4, "AVX512CD", Word::leaf7_ebx, bit(28)},
    {CpuLevel::v4, "AVX512BW", Word::leaf7_ebx, bit(30)},
    {CpuLevel::v4, "AVX512VL", Word::leaf7_ebx, bit(31)},
    {CpuLevel::v4, "ZMM-state", Word::xcr0, kOsSavesZmm},
};

bool has(const CpuWords& words, const CpuFeature& feature) noexcept {
  std::uint32_t word = 0;
  switch (feature.word) {
    case Word::leaf1_ecx:
      word = words.leaf1_ecx;
      break;
    case Word::leaf7_ebx:
      word = words.leaf7_ebx;
      break;
    case Word::extended1_ecx:
      word = words.extended1_ecx;
      break;
    case Word::xcr0:
      word = words.xcr0;
      break;
  }
  return (word & feature.bits) == feature.bits;
}

#if defined(__x86_64__)
std::uint32_t read_xcr0() noexcept {
  std::uint32_t low;
  std::uint32_t high;
  // Not the intrinsic, which needs -mxsave.
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}
#endif

}  // namespace

CpuWords read_cpu_words() noexcept {
  CpuWords words = {};
#if defined(__x86_64__)
  std::uint32_t a;
  std::uint32_t b;
  std::uint32_t c;
  std::uint32_t d;
  if (__get_cpuid(1, &a, &b, &c, &d) != 0) words.leaf1_ecx = c;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) != 0) words.leaf7_ebx = b;
  if (__get_cpuid(0x8000'0001, &a, &b, &c, &d) != 0) words.extended1_ecx = c;
  if ((words.leaf1_ecx & bit(27)) != 0) words.xcr0 = read_xcr0();
#endif
  return words;
}

CpuLevel level_of(const CpuWords& words) noexcept {
  CpuLevel level = CpuLevel::v4;
  for (const CpuFeature& feature : kFeatures) {
    const auto below = static_cast<CpuLevel>(static_cast<unsigned>(feature.level) - 1);
    if (!has(words, feature) && below < level) level = below;
  }
  return level;
}

void write_missing(const CpuWords& words, CpuLevel level, char* text, std::size_t size) noexcept {
  text[0] = '\0';
  std::size_t used = 0;
  for (const CpuFeature& feature : kFeatures) {
    if (feature.level > level || has(words, feature)) continue;
    const int more = snprintf(text + used, size - used, "%s%s", used == 0 ? "" : " ", feature.name);
    used += static_cast<std::size_t>(more);
    if (used >= size) return;
  }
}

CpuLevel cpu_level() noexcept {
  return level_of(read_cpu_words());
}

CpuLevel cpu_level_needed() noexcept {
  return static_cast<CpuLevel>(CORELANE_CPU_LEVEL);
}

void require_cpu_level(const CpuWords& words, CpuLevel needed) noexcept {
  const CpuLevel level = level_of(words);
  if (level >= needed) return;
  char missing[256];
  write_missing(words, needed, missing, sizeof missing);
  char text[1024];
  const int bytes =
      snprintf(text, sizeof text,
               "%s: this build needs an x86-64-v%u processor (Intel since Haswell, AMD since "
               "Excavator), and "
               "this one is x86-64-v%u: it lacks %s.\n"
               "Fix: give the virtual machine the processor of its host (QEMU: -cpu host; libvirt: "
               "host-passthrough; Proxmox: host), or build for less: meson configure build/release "
               "-Dcpu_level=v2.\n",
               program_invocation_short_name, static_cast<unsigned>(needed),
               static_cast<unsigned>(level), missing);
  // Not by way of stdio or the log: neither has been set up, and both are compiled for more.
  const std::size_t length =
      static_cast<std::size_t>(bytes) < sizeof text ? static_cast<std::size_t>(bytes) : sizeof text;
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text, length);
  _exit(kCpuExitCode);
}

namespace {

// 101 is the first that a program may take: before all static initialisers of its own, and behind
// those of the shared libraries, which are compiled for every processor.
[[gnu::constructor(101)]] void check_before_all() noexcept {
  require_cpu_level(read_cpu_words(), cpu_level_needed());
}

}  // namespace
}  // namespace corelane::runtime
