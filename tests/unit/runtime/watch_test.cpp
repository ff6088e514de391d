// Goal: what happens to names and contents in a watched directory is told, in order, with moves in
// pairs; lost events are told too. Method: a folder of the test's own; a queue that overflows.
#include "runtime/watch.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "runtime/combine.hpp"
#include "runtime/directory.hpp"
#include "runtime/timeout.hpp"
#include "tests/support/open_descriptors.hpp"
#include "tests/support/own_folder.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::in_own_folder;

Task<WatchEvent> next_of(Watcher& watcher) {
  auto event = co_await watcher.next();
  EXPECT_TRUE(event);
  co_return event ? std::move(*event) : WatchEvent{};
}

Task<void> expect_next(Watcher& watcher, WatchKind kind, std::string name) {
  const auto event = co_await next_of(watcher);
  EXPECT_EQ(static_cast<std::uint32_t>(event.kind), static_cast<std::uint32_t>(kind)) << name;
  EXPECT_EQ(event.name, name);
}

TEST(Watcher, TellsOfNamesAndContents) {
  in_own_folder([](const std::string& folder) -> Task<void> {
    auto watcher = Watcher::make();
    EXPECT_TRUE(watcher);
    const auto id = co_await watcher->add(folder);
    EXPECT_TRUE(id);
    const std::string odd = "a\nb " + std::string(200, 'x');
    {
      auto file = co_await File::open(folder + "/" + odd, O_CREAT | O_WRONLY);
      EXPECT_TRUE(file);
      EXPECT_TRUE(co_await file->write_all_at(std::as_bytes(std::span{odd}), 0));
      EXPECT_TRUE(co_await file->close());
    }
    EXPECT_TRUE(co_await rename_path(folder + "/" + odd, folder + "/moved"));
    EXPECT_TRUE(co_await make_directory(folder + "/below"));
    EXPECT_TRUE(co_await remove_file(folder + "/moved"));
    co_await expect_next(*watcher, WatchKind::created, odd);
    co_await expect_next(*watcher, WatchKind::closed_after_writing, odd);
    const auto from = co_await next_of(*watcher);
    const auto to = co_await next_of(*watcher);
    EXPECT_TRUE(from.kind == WatchKind::moved_from && from.name == odd);
    EXPECT_TRUE(to.kind == WatchKind::moved_to && to.name == "moved");
    EXPECT_TRUE(from.cookie != 0 && from.cookie == to.cookie);
    EXPECT_EQ(from.watch, *id);
    const auto made = co_await next_of(*watcher);
    EXPECT_TRUE(made.kind == WatchKind::created && made.is_directory && made.name == "below");
    co_await expect_next(*watcher, WatchKind::removed, "moved");
  });
}

TEST(Watcher, TellsNothingMoreOfWatchesThatWereRemoved) {
  in_own_folder([](const std::string& folder) -> Task<void> {
    auto watcher = Watcher::make();
    EXPECT_TRUE(watcher);
    EXPECT_TRUE(co_await make_directory(folder + "/one"));
    EXPECT_TRUE(co_await make_directory(folder + "/two"));
    const auto one = co_await watcher->add(folder + "/one");
    const auto two = co_await watcher->add(folder + "/two");
    EXPECT_TRUE(one && two && *one != *two);
    EXPECT_TRUE(watcher->remove(*one));
    EXPECT_EQ(watcher->remove(*one).error(), Error::from_errno(EINVAL));
    EXPECT_TRUE(co_await make_directory(folder + "/one/untold"));
    EXPECT_TRUE(co_await make_directory(folder + "/two/told"));
    const auto ended = co_await next_of(*watcher);
    EXPECT_TRUE(ended.kind == WatchKind::ended && ended.watch == *one);
    const auto told = co_await next_of(*watcher);
    EXPECT_TRUE(told.watch == *two && told.name == "told");
    const auto missing = co_await watcher->add(folder + "/none");
    EXPECT_TRUE(!missing && missing.error() == Error::from_errno(ENOENT));
    const auto cut = co_await watcher->add(folder + std::string("\0none", 5));
    EXPECT_TRUE(!cut && cut.error().code == ErrorCode::invalid_argument);
    // The directory itself.
    EXPECT_TRUE(co_await remove_directory(folder + "/two/told"));
    EXPECT_TRUE(co_await remove_directory(folder + "/two"));
    co_await expect_next(*watcher, WatchKind::removed, "told");
    co_await expect_next(*watcher, WatchKind::self_removed, "");
    co_await expect_next(*watcher, WatchKind::ended, "");
  });
}

TEST(Watcher, WaitsAndIsCancelledWithoutALoss) {
  const std::size_t before = tests::open_descriptors();
  in_own_folder([](const std::string& folder) -> Task<void> {
    auto watcher = Watcher::make();
    EXPECT_TRUE(watcher);
    EXPECT_TRUE(co_await watcher->add(folder, kWatchChanges));
    for (int i = 0; i < 20; ++i) {
      const auto none = co_await with_timeout(i * kMicrosecond, watcher->next());
      EXPECT_TRUE(!none && none.error().code == ErrorCode::timed_out);
      const std::string name = "name" + std::to_string(i);
      const auto [made, event] =
          co_await when_all(make_directory(folder + "/" + name), watcher->next());
      EXPECT_TRUE(made);
      EXPECT_TRUE(event && event->name == name);
    }
    const auto given_up = co_await with_timeout(Nanoseconds{0}, watcher->add(folder));
    EXPECT_TRUE(given_up || given_up.error().code == ErrorCode::timed_out);
    watcher->close();
    const auto closed = co_await watcher->next();
    EXPECT_TRUE(!closed && closed.error().code == ErrorCode::closed);
    const auto closed_too = co_await watcher->add(folder);
    EXPECT_TRUE(!closed_too && closed_too.error().code == ErrorCode::closed);
  });
  EXPECT_EQ(tests::open_descriptors(), before);
}

TEST(Watcher, TellsOfEventsThatWereLost) {
  std::size_t queued_max = 0;
  std::ifstream("/proc/sys/fs/inotify/max_queued_events") >> queued_max;
  if (queued_max == 0 || queued_max > 100'000) {
    GTEST_SKIP() << "fs.inotify.max_queued_events is " << queued_max;
  }
  in_own_folder([queued_max](const std::string& folder) -> Task<void> {
    auto watcher = Watcher::make();
    EXPECT_TRUE(watcher);
    EXPECT_TRUE(co_await watcher->add(folder, kWatchChanges));
    // Two of different names, in turn: the kernel merges an event with an equal one before it.
    for (std::size_t i = 0; i < queued_max; ++i) {
      const std::string path = folder + "/" + std::to_string(i % 2);
      const int file = ::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
      EXPECT_GE(file, 0);
      ::close(file);
    }
    std::size_t events = 0;
    for (;; ++events) {
      const auto event = co_await next_of(*watcher);
      if (event.kind != WatchKind::overflow) continue;
      EXPECT_EQ(event.watch, WatchId::none);
      break;
    }
    EXPECT_EQ(events, queued_max);
    EXPECT_TRUE(co_await make_directory(folder + "/after"));
    co_await expect_next(*watcher, WatchKind::created, "after");
  });
}

}  // namespace
}  // namespace corelane
