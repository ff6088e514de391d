// Goal: names and contents are what a plain model says after each operation, whatever fails: an
// operation is done as a whole or not at all. Method: random operations on a few names, compared
// with a map, over seeds with every fault, also errors of the disk; cancels at random times.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/directory.hpp"
#include "runtime/random.hpp"
#include "runtime/runtime.hpp"
#include "runtime/sim/world.hpp"
#include "runtime/timeout.hpp"

namespace corelane {
namespace {

using namespace runtime;

constexpr int kSteps = 40;
const std::string kFolder = "/tmp/files";

// Names and contents, as the directory lists them and the files hold them.
using Files = std::map<std::string, std::string>;

class Session {
 public:
  explicit Session(sim::World& world)
      : world_(world), random_(world.seed()), faults_(world.faults()) {}

  Task<void> run() {
    world_.set_faults(sim::Faults::none());
    EXPECT_TRUE(co_await make_directory(kFolder));
    for (int i = 0; i < kSteps; ++i) {
      world_.set_faults(faults_);
      Files wanted = model_;
      const Result<void> result = co_await step(wanted);
      world_.set_faults(sim::Faults::none());
      const Files found = co_await look();
      if (result) {
        EXPECT_EQ(found, wanted) << last_;
      } else {
        EXPECT_TRUE(found == model_ || found == wanted) << last_ << describe(result.error());
        ++failed_;
      }
      model_ = found;
    }
  }
  int failed() const noexcept { return failed_; }

 private:
  std::string name() { return std::string(1, static_cast<char>('a' + random_.below(4))); }

  // `wanted`: what it makes of the files if it succeeds.
  Task<Result<void>> step(Files& wanted) {
    const std::string one = name();
    const std::string two = name();
    last_ = one + " " + two + " ";
    switch (random_.below(4)) {
      case 0: {
        last_ += "replace ";
        const std::size_t bytes = random_.below(5000);
        wanted[one] = std::string(bytes, static_cast<char>('a' + random_.below(26)));
        co_return co_await cut_short(replace_file(kFolder + "/" + one, wanted[one]));
      }
      case 1: {
        last_ += "copy ";
        const auto source = wanted.find(one);
        if (source != wanted.end()) wanted[two] = source->second;
        co_return co_await cut_short(copy(one, two));
      }
      case 2: {
        last_ += "rename ";
        auto moved = wanted.extract(one);
        if (!moved.empty()) wanted[two] = std::move(moved.mapped());
        co_return co_await cut_short(rename_path(kFolder + "/" + one, kFolder + "/" + two));
      }
      default:
        last_ += "remove ";
        wanted.erase(one);
        co_return co_await cut_short(remove_file(kFolder + "/" + one));
    }
  }

  static Task<Result<void>> copy(std::string from, std::string to) {
    const auto copied = co_await copy_file(kFolder + "/" + from, kFolder + "/" + to);
    if (!copied) co_return Unexpected{copied.error()};
    co_return Result<void>{};
  }

  Task<Result<void>> cut_short(Task<Result<void>> task) {
    if (random_.chance(2, 3)) co_return co_await std::move(task);
    const auto duration = static_cast<Nanoseconds>(random_.below(kMillisecond));
    co_return co_await with_timeout(duration, std::move(task));
  }

  // Without what a failed removal of a temporary file has left.
  static Task<Files> look() {
    Files files;
    auto entries = list_directory(kFolder);
    for (;;) {
      const auto entry = co_await entries.next();
      if (!entry) break;
      EXPECT_TRUE(*entry);
      if (!*entry) break;
      const std::string& found = (*entry)->name;
      if (found.starts_with(".tmp-")) continue;
      auto content = co_await read_file(kFolder + "/" + found, 100'000);
      EXPECT_TRUE(content);
      if (content) files[found] = std::move(*content);
    }
    co_return files;
  }

  sim::World& world_;
  Random random_;
  const sim::Faults faults_;
  Files model_;
  std::string last_;
  int failed_ = 0;
};

TEST(SimulatedFiles, AreWhatAModelSaysWhateverFails) {
  int failed = 0;
  for (const std::uint64_t seed : sim::seeds(1, 200)) {
    SCOPED_TRACE(seed);
    sim::World world(seed, sim::Faults::swarm(seed, true));
    Runtime runtime(RuntimeOptions{});
    Session session(world);
    const auto code = runtime.run([&session]() -> Task<int> {
      co_await session.run();
      co_return 0;
    });
    EXPECT_TRUE(code);
    failed += session.failed();
  }
  EXPECT_GT(failed, 100) << "the faults reach nothing";
}

// Errors of the disk come through listings, removals and renames, with their errnos.
TEST(SimulatedFiles, FailWithTheErrorsOfADisk) {
  std::map<int, int> seen;
  for (const std::uint64_t seed : sim::seeds(1, 20)) {
    sim::Faults faults;
    faults.file_error = 500;
    faults.short_read = 500;
    sim::World world(seed, faults);
    Runtime runtime(RuntimeOptions{});
    const auto code = runtime.run([&seen]() -> Task<int> {
      const auto count = [&seen](const Result<void>& result) {
        if (!result) ++seen[result.error().detail];
      };
      for (int i = 0; i < 20; ++i) {
        count(co_await make_directory("/tmp/new"));
        count(co_await rename_path("/tmp/new", "/tmp/moved"));
        count(co_await remove_directory("/tmp/moved"));
        auto entries = list_directory("/tmp");
        for (;;) {
          const auto entry = co_await entries.next();
          if (!entry) break;
          if (!*entry) ++seen[entry->error().detail];
        }
      }
      co_return 0;
    });
    EXPECT_TRUE(code);
  }
  EXPECT_GT(seen[EIO], 0);
  EXPECT_GT(seen[ENOSPC], 0);
  for (const auto& [number, times] : seen) {
    EXPECT_TRUE(number == EIO || number == ENOSPC || number == ENOENT || number == EEXIST ||
                number == EINTR || number == ENOTEMPTY)
        << number << " " << times;
  }
}

}  // namespace
}  // namespace corelane
