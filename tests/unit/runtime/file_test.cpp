// Goal: files written by ring operations hold what was written, and errors come back as errnos.
#include "runtime/file.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <string>

#include "tests/support/on_cores.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::run_on_cores;

std::string temporary_path(const char* name) {
  return ::testing::TempDir() + name;
}

TEST(File, HoldsWhatWasWritten) {
  run_on_cores(1, []() -> Task<void> {
    const std::string path = temporary_path("corelane_file_test");
    std::string text;
    for (int i = 0; i < 10'000; ++i) text += std::to_string(i);
    auto opened = co_await File::open(path, O_CREAT | O_TRUNC | O_RDWR);
    EXPECT_TRUE(opened);
    if (!opened) co_return;
    File file = std::move(*opened);
    EXPECT_TRUE(co_await file.write_all_at(std::as_bytes(std::span{text}), 0));
    EXPECT_TRUE(co_await file.sync());
    const auto status = co_await file.status();
    EXPECT_TRUE(status && status->bytes == text.size());
    std::string back(text.size() + 10, '\0');
    const auto bytes = co_await file.read_all_at(std::as_writable_bytes(std::span{back}), 0);
    EXPECT_TRUE(bytes && *bytes == text.size());
    EXPECT_TRUE(co_await file.close());
    const auto whole = co_await read_file(path, text.size());
    EXPECT_TRUE(whole && *whole == text);
    const auto refused = co_await read_file(path, text.size() - 1);
    EXPECT_TRUE(!refused && refused.error().code == ErrorCode::limit_exceeded);
  });
}

TEST(File, SaysWhichErrorItWas) {
  run_on_cores(1, []() -> Task<void> {
    const auto missing = co_await File::open("/nonexistent/file", O_RDONLY);
    EXPECT_TRUE(!missing && missing.error() == Error::from_errno(ENOENT));
    const auto status = co_await File::status("/nonexistent/file");
    EXPECT_TRUE(!status && status.error() == Error::from_errno(ENOENT));
  });
}

}  // namespace
}  // namespace corelane
