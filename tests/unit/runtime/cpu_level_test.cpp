// Goal: a processor has the level of the psABI whose features it has all, and one below the build's
// is told what it lacks and ends with its own exit code. Method: made-up answers of cpuid, one
// feature taken away at a time; a child process for the end; this processor against the compiler's
// own opinion. (tests/e2e/cpu_level_test.py runs the program on an emulated one.)
#include "runtime/cpu_level.hpp"

#include <gtest/gtest.h>

#include <array>
#include <string>

namespace corelane::runtime {
namespace {

// QEMU's `-cpu Nehalem`, `Haswell`, `Skylake-Server`.
constexpr CpuWords kNehalem{
    .leaf1_ecx = 0x8098'2201, .leaf7_ebx = 0, .extended1_ecx = 0x1, .xcr0 = 0};
constexpr CpuWords kHaswell{
    .leaf1_ecx = 0xfeda'3203, .leaf7_ebx = 0x0000'07a9, .extended1_ecx = 0x21, .xcr0 = 0x7};
constexpr CpuWords kSkylakeServer{
    .leaf1_ecx = 0xfeda'3203, .leaf7_ebx = 0xd19b'47a9, .extended1_ecx = 0x121, .xcr0 = 0xe7};

std::string missing(const CpuWords& words, CpuLevel level, std::size_t size = 512) {
  std::string text(size, 'x');
  write_missing(words, level, text.data(), size);
  return text.c_str();
}

TEST(CpuLevel, IsThatOfTheProcessorsFeatures) {
  EXPECT_EQ(level_of({}), CpuLevel::v1);
  EXPECT_EQ(level_of(kNehalem), CpuLevel::v2);
  EXPECT_EQ(level_of(kHaswell), CpuLevel::v3);
  EXPECT_EQ(level_of(kSkylakeServer), CpuLevel::v4);
  EXPECT_EQ(missing(kHaswell, CpuLevel::v3), "");
  EXPECT_EQ(missing(kSkylakeServer, CpuLevel::v4), "");
}

TEST(CpuLevel, WithoutOneFeatureIsBelowTheLevelThatNeedsIt) {
  struct Feature {
    const char* name;
    std::uint32_t CpuWords::* word;
    unsigned bit;
    CpuLevel left;
  };
  for (const Feature& feature : std::array{
           Feature{"SSE4.2", &CpuWords::leaf1_ecx, 20, CpuLevel::v1},
           Feature{"POPCNT", &CpuWords::leaf1_ecx, 23, CpuLevel::v1},
           Feature{"AVX2", &CpuWords::leaf7_ebx, 5, CpuLevel::v2},
           Feature{"BMI2", &CpuWords::leaf7_ebx, 8, CpuLevel::v2},
           Feature{"LZCNT", &CpuWords::extended1_ecx, 5, CpuLevel::v2},
           Feature{"MOVBE", &CpuWords::leaf1_ecx, 22, CpuLevel::v2},
           Feature{"AVX512BW", &CpuWords::leaf7_ebx, 30, CpuLevel::v3},
       }) {
    CpuWords words = kSkylakeServer;
    words.*feature.word &= ~(std::uint32_t{1} << feature.bit);
    EXPECT_EQ(level_of(words), feature.left) << feature.name;
    EXPECT_EQ(missing(words, CpuLevel::v4), feature.name);
  }
}

// AVX in the processor is of no use under a kernel or a hypervisor that does not save its
// registers.
TEST(CpuLevel, NeedsTheRegistersToBeSaved) {
  CpuWords words = kHaswell;
  words.xcr0 = 0x3;
  EXPECT_EQ(level_of(words), CpuLevel::v2);
  EXPECT_EQ(missing(words, CpuLevel::v3), "YMM-state");
}

TEST(CpuLevel, TheListOfWhatIsMissingIsCutToItsRoom) {
  EXPECT_EQ(missing(kNehalem, CpuLevel::v3, 8), "FMA MOV");
}

TEST(CpuLevelDeathTest, BelowTheBuildsEndsTheProcessWithItsReason) {
  require_cpu_level(kHaswell, CpuLevel::v3);  // goes on
  EXPECT_EXIT(require_cpu_level(kNehalem, CpuLevel::v3), testing::ExitedWithCode(kCpuExitCode),
              "this build needs an x86-64-v3 processor.* this one is x86-64-v2: it lacks FMA .*AVX2"
              "(.|\n)*Fix: .*-cpu host.*-Dcpu_level=v2");
}

TEST(CpuLevel, OfThisProcessorIsWhatTheCompilersLibrarySays) {
  EXPECT_GE(cpu_level(), cpu_level_needed());
#if defined(__x86_64__)
  EXPECT_EQ(cpu_level() >= CpuLevel::v3, __builtin_cpu_supports("avx2") != 0 &&
                                             __builtin_cpu_supports("bmi2") != 0 &&
                                             __builtin_cpu_supports("fma") != 0);
#endif
}

}  // namespace
}  // namespace corelane::runtime
