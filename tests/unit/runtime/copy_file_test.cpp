// Goal: a copy has the bytes, the holes and the permissions of its source, and appears whole or not
// at all. Method: files of a few sizes, over io_uring and in the simulation; a source that shrinks,
// grows and has no size; cancels while it is copied.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "runtime/cancel.hpp"
#include "runtime/directory.hpp"
#include "runtime/task_group.hpp"
#include "runtime/timeout.hpp"
#include "tests/support/open_descriptors.hpp"
#include "tests/support/own_folder.hpp"
#include "tests/support/simulated.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::in_own_folder;
using tests::listing_of;

constexpr std::size_t kMiB = std::size_t{1} << 20;

std::string some_bytes(std::size_t count) {
  std::string bytes(count, '\0');
  std::uint64_t state = count;
  for (char& byte : bytes) {
    state = state * 6364136223846793005 + 1442695040888963407;
    byte = static_cast<char>(state >> 56);
  }
  return bytes;
}

TEST(CopyFile, HasTheBytesOfItsSource) {
  in_own_folder([](const std::string& folder) -> Task<void> {
    for (const std::size_t size : {std::size_t{0}, std::size_t{1}, kMiB, 3 * kMiB + 17}) {
      const std::string bytes = some_bytes(size);
      EXPECT_TRUE(co_await replace_file(folder + "/from", bytes, 0640));
      std::uint64_t last = 0;
      bool is_in_order = true;
      const auto copied = co_await copy_file(
          folder + "/from", folder + "/to", [&](std::uint64_t done, std::uint64_t total) {
            is_in_order = is_in_order && done > last && total == size;
            last = done;
          });
      EXPECT_TRUE(copied && *copied == size);
      EXPECT_TRUE(is_in_order);
      EXPECT_EQ(last, size);
      const auto back = co_await read_file(folder + "/to", size);
      EXPECT_TRUE(back && *back == bytes);
      const auto status = co_await File::status(folder + "/to");
      EXPECT_TRUE(status && (status->mode & 07777) == 0640);
    }
    EXPECT_EQ(co_await listing_of(folder), "from/to");
  });
}

TEST(CopyFile, OverItselfKeepsIt) {
  in_own_folder([](const std::string& folder) -> Task<void> {
    EXPECT_TRUE(co_await replace_file(folder + "/file", "content"));
    EXPECT_TRUE(co_await copy_file(folder + "/file", folder + "/file"));
    const auto back = co_await read_file(folder + "/file", 100);
    EXPECT_TRUE(back && *back == "content");
  });
}

TEST(CopyFile, FailsWithoutATrace) {
  in_own_folder([](const std::string& folder) -> Task<void> {
    EXPECT_TRUE(co_await replace_file(folder + "/file", "content"));
    const auto missing = co_await copy_file(folder + "/none", folder + "/to");
    EXPECT_TRUE(!missing && missing.error() == Error::from_errno(ENOENT));
    const auto directory = co_await copy_file(folder, folder + "/to");
    EXPECT_TRUE(!directory && directory.error().code == ErrorCode::invalid_argument);
    const auto onto = co_await copy_file(folder + "/file", folder);
    EXPECT_FALSE(onto);
    EXPECT_EQ(co_await listing_of(folder), "file");
  });
}

TEST(CopyFile, WhoseProgressThrowsLeavesNothing) {
  const std::size_t before = tests::open_descriptors();
  in_own_folder([](const std::string& folder) -> Task<void> {
    EXPECT_TRUE(co_await replace_file(folder + "/from", some_bytes(2 * kMiB)));
    std::string thrown;
    try {
      (void)co_await copy_file(folder + "/from", folder + "/to", [](std::uint64_t, std::uint64_t) {
        throw std::runtime_error("no");
      });
    } catch (const std::runtime_error& error) {
      thrown = error.what();
    }
    EXPECT_EQ(thrown, "no");
    EXPECT_EQ(co_await listing_of(folder), "from");
  });
  EXPECT_EQ(tests::open_descriptors(), before);
}

TEST(CopyFile, ThatIsCancelledLeavesNothing) {
  const std::size_t before = tests::open_descriptors();
  in_own_folder([](const std::string& folder) -> Task<void> {
    EXPECT_TRUE(co_await replace_file(folder + "/from", some_bytes(4 * kMiB)));
    for (std::uint64_t at = 1; at <= 3; ++at) {
      TaskGroup group("copies");
      const auto copies = [](const std::string* in, TaskGroup* own,
                             std::uint64_t cancel_at) -> Task<void> {
        std::uint64_t calls = 0;
        const auto copied =
            co_await copy_file(*in + "/from", *in + "/to", [&](std::uint64_t, std::uint64_t) {
              if (++calls == cancel_at) own->cancel();
            });
        EXPECT_TRUE(!copied && copied.error().code == ErrorCode::cancelled);
        EXPECT_EQ(calls, cancel_at);
      };
      group.spawn("copies", copies, &folder, &group, at);
      co_await group.join();
      EXPECT_EQ(co_await listing_of(folder), "from");
    }
  });
  EXPECT_EQ(tests::open_descriptors(), before);
}

TEST(CopyFile, OfASourceThatChangesEndsAtTheOldOrTheNewEnd) {
  in_own_folder([](const std::string& folder) -> Task<void> {
    const std::string bytes = some_bytes(4 * kMiB);
    for (const bool grows : {false, true}) {
      EXPECT_TRUE(co_await replace_file(folder + "/from", bytes));
      auto changed = co_await File::open(folder + "/from", O_WRONLY);
      EXPECT_TRUE(changed);
      bool has_changed = false;
      const auto copied =
          co_await copy_file(folder + "/from", folder + "/to", [&](std::uint64_t, std::uint64_t) {
            if (has_changed || tests::kIsSimulated) return;
            has_changed = true;
            const std::size_t size = grows ? 6 * kMiB : 2 * kMiB;
            EXPECT_EQ(::ftruncate(changed->descriptor().number, static_cast<off_t>(size)), 0);
          });
      const std::size_t expected = grows || tests::kIsSimulated ? 4 * kMiB : 2 * kMiB;
      EXPECT_TRUE(copied && *copied == expected);
      const auto back = co_await read_file(folder + "/to", 8 * kMiB);
      EXPECT_TRUE(back && *back == bytes.substr(0, expected));
    }
  });
}

TEST(CopyFile, KeepsHoles) {
  if (tests::kIsSimulated) GTEST_SKIP() << "files in memory have no holes";
  in_own_folder([](const std::string& folder) -> Task<void> {
    {
      auto file = co_await File::open(folder + "/from", O_CREAT | O_WRONLY);
      EXPECT_TRUE(file);
      const std::string bytes = some_bytes(5000);
      EXPECT_TRUE(co_await file->write_all_at(std::as_bytes(std::span{bytes}), 64 * kMiB));
      EXPECT_EQ(::ftruncate(file->descriptor().number, 256 * kMiB), 0);
    }
    const auto copied = co_await copy_file(folder + "/from", folder + "/to");
    EXPECT_TRUE(copied && *copied == 256 * kMiB);
    struct stat from{};
    struct stat to{};
    EXPECT_EQ(::stat((folder + "/from").c_str(), &from), 0);
    EXPECT_EQ(::stat((folder + "/to").c_str(), &to), 0);
    EXPECT_EQ(to.st_size, from.st_size);
    if (from.st_blocks < 1000) {
      EXPECT_LT(to.st_blocks, 1000);
    }
    auto file = co_await File::open(folder + "/to", O_RDONLY);
    std::string back(5000, '\0');
    EXPECT_TRUE(file);
    EXPECT_TRUE(co_await file->read_all_at(std::as_writable_bytes(std::span{back}), 64 * kMiB));
    EXPECT_EQ(back, some_bytes(5000));
  });
}

TEST(CopyFile, OfAFileWithoutASizeTakesAllOfIt) {
  if (tests::kIsSimulated) GTEST_SKIP() << "there is no /proc";
  in_own_folder([](const std::string& folder) -> Task<void> {
    const auto copied = co_await copy_file("/proc/self/maps", folder + "/to");
    EXPECT_TRUE(copied && *copied > 100);
  });
}

}  // namespace
}  // namespace corelane
