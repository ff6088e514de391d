// Goal: files written by ring operations hold what was written, and errors come back as errnos.
#include "runtime/file.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "runtime/blocking.hpp"
#include "runtime/combine.hpp"
#include "runtime/task_group.hpp"
#include "tests/support/on_cores.hpp"
#include "tests/support/simulated.hpp"

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

std::size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

File opens_null() {
  const int number = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  EXPECT_GE(number, 0);
  return File(Descriptor{.number = number, .direct = false});
}

// Sets a flag when its core has stopped and takes nothing any more.
class AtTheEnd final : public CoreResident {
 public:
  explicit AtTheEnd(std::atomic<bool>& flag) noexcept : flag_(flag) {}
  ~AtTheEnd() override { flag_ = true; }
  void begin_stop() noexcept override {}
  bool at_rest() const noexcept override { return true; }

 private:
  std::atomic<bool>& flag_;
};

// The result comes home when the core has ended, and is destroyed with the core.
TEST(File, OfACallThatWasGivenUpClosesWhenTheCoreIsGone) {
  const std::size_t before = open_descriptors();
  std::atomic<bool> has_begun = false;
  std::atomic<bool> has_ended = false;
  run_on_cores(1, [&]() -> Task<void> {
    Core::current().adopt(std::make_unique<AtTheEnd>(has_ended));
    auto opens = [&has_begun, &has_ended] {
      has_begun = true;
      // The simulation has one thread: there the call ends in time.
      while (!tests::kIsSimulated && !has_ended) std::this_thread::yield();
      return opens_null();
    };
    TaskGroup group("given up");
    const auto waits = [](decltype(opens)* function) -> Task<void> {
      EXPECT_FALSE(co_await with_timeout(kNever, blocking(*function)));
    };
    group.spawn("waits", waits, &opens);
    while (!tests::kIsSimulated && !has_begun) co_await sleep_for(100 * kMicrosecond);
    group.cancel();
    co_await group.join();
  });
  EXPECT_EQ(open_descriptors(), before);
}

TEST(File, ThatIsDestroyedOutsideOfACoreClosesAtOnce) {
  const std::size_t before = open_descriptors();
  {
    const File file = opens_null();
    EXPECT_EQ(open_descriptors(), before + 1);
  }
  EXPECT_EQ(open_descriptors(), before);
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
