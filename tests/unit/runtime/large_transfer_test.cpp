// Goal: one read or write of 4 GiB or more goes through, in pieces that the kernel takes. Method:
// 4 GiB of address space without memory behind it, a small file and /dev/null.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "runtime/combine.hpp"
#include "runtime/file.hpp"
#include "tests/support/on_cores.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::run_on_cores;

// Pages that are not written take no memory.
class Reserved {
 public:
  explicit Reserved(std::size_t bytes)
      : bytes_(bytes),
        base_(::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {}
  ~Reserved() {
    if (valid()) ::munmap(base_, bytes_);
  }
  Reserved(const Reserved&) = delete;
  Reserved& operator=(const Reserved&) = delete;
  bool valid() const noexcept { return base_ != MAP_FAILED; }
  std::span<std::byte> span() const noexcept { return {static_cast<std::byte*>(base_), bytes_}; }

 private:
  std::size_t bytes_;
  void* base_;
};

constexpr std::size_t kFourGiB = std::size_t{4} << 30;

TEST(LargeTransfer, AReadInto4GiBReadsAFileToItsEnd) {
  const Reserved memory(kFourGiB);
  if (!memory.valid()) GTEST_SKIP() << "no 4 GiB of address space";
  run_on_cores(1, [&memory]() -> Task<void> {
    const std::string path = ::testing::TempDir() + "corelane_large_transfer_test";
    constexpr std::string_view kText = "a file that is small";
    auto opened = co_await File::open(path, O_CREAT | O_TRUNC | O_RDWR);
    EXPECT_TRUE(opened);
    if (!opened) co_return;
    File file = std::move(*opened);
    EXPECT_TRUE(co_await file.write_all_at(std::as_bytes(std::span{kText}), 0));
    const auto bytes = co_await file.read_all_at(memory.span(), 0);
    EXPECT_TRUE(bytes && *bytes == kText.size());
    EXPECT_TRUE(co_await file.close());
  });
}

TEST(LargeTransfer, AWriteOf4GiBAndALittleEnds) {
  const Reserved memory(kFourGiB + 1000);
  if (!memory.valid()) GTEST_SKIP() << "no 4 GiB of address space";
  run_on_cores(1, [&memory]() -> Task<void> {
    auto opened = co_await File::open("/dev/null", O_WRONLY);
    EXPECT_TRUE(opened);
    if (!opened) co_return;
    File file = std::move(*opened);
    const auto written =
        co_await with_timeout(30 * kSecond, file.write_all_at(memory.span().first(kFourGiB), 0));
    EXPECT_TRUE(written);
    EXPECT_TRUE(co_await file.write_all_at(memory.span(), 0));
    EXPECT_TRUE(co_await file.close());
  });
}

}  // namespace
}  // namespace corelane
