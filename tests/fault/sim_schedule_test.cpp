// Goal: the random decisions of a run can be written, and a run from a file makes those decisions
// and no others. Method: cores, coroutines and a file in worlds with the files of
// CORELANE_RECORD and CORELANE_SCHEDULE; the traces, the reports and the lines are compared.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "runtime/await.hpp"
#include "runtime/file.hpp"
#include "runtime/runtime.hpp"
#include "runtime/sim/world.hpp"
#include "runtime/submit.hpp"
#include "runtime/task_group.hpp"

namespace corelane {
namespace {

using namespace runtime;

// A folder for the files of a test; puts the environment back at the end.
class Files {
 public:
  Files() {
    std::string name = (std::filesystem::temp_directory_path() / "schedule.XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    leave();
  }
  ~Files() {
    leave();
    std::filesystem::remove_all(folder_);
  }
  Files(const Files&) = delete;
  Files& operator=(const Files&) = delete;

  // The worlds made from now on. Empty: without.
  void use(const std::string& record, const std::string& schedule) const {
    leave();
    if (!record.empty()) ::setenv("CORELANE_RECORD", path(record).c_str(), 1);
    if (!schedule.empty()) ::setenv("CORELANE_SCHEDULE", path(schedule).c_str(), 1);
  }
  std::vector<std::string> lines(const std::string& name) const {
    std::ifstream file(path(name));
    std::vector<std::string> found;
    for (std::string line; std::getline(file, line);) found.push_back(line);
    return found;
  }
  void write(const std::string& name, const std::vector<std::string>& lines) const {
    std::ofstream file(path(name));
    for (const std::string& line : lines) file << line << '\n';
  }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }

 private:
  static void leave() {
    ::unsetenv("CORELANE_RECORD");
    ::unsetenv("CORELANE_SCHEDULE");
  }

  std::string folder_;
};

Task<void> write_on(CoreId core) {
  co_await submit_to(core, []() -> Task<void> {
    const std::string name = "/file" + std::to_string(Core::current().id());
    File file = *co_await File::open(name, O_CREAT | O_WRONLY);
    const std::string text(100, 'x');
    EXPECT_TRUE(co_await file.write_all_at(std::as_bytes(std::span{text}), 0));
    co_await sleep_for(kMillisecond);
    EXPECT_TRUE(co_await file.close());
  });
}

struct Ended {
  std::uint64_t hash = 0;
  sim::Report report;
  sim::Faults faults;
};

Ended run(std::uint64_t seed) {
  sim::World world(seed, sim::Faults::harsh());
  RuntimeOptions options;
  options.cores = 3;
  options.stall_threshold = 0;
  Runtime runtime(options);
  const auto code = runtime.run([]() -> Task<int> {
    TaskGroup group("writers");
    for (CoreId core = 0; core < 3; ++core) group.spawn("writer", write_on, core);
    co_await group.join();
    co_return 0;
  });
  EXPECT_TRUE(code);
  return {.hash = world.trace_hash(), .report = world.report(), .faults = world.faults()};
}

bool holds(const std::string& line, const std::string& text) {
  return line.find(text) != std::string::npos;
}

TEST(SimulatedSchedule, ARecordedRunDoesTheSameFromItsFileAndWritesTheSameFile) {
  const Files files;
  for (const std::uint64_t seed : sim::seeds(1, 20)) {
    SCOPED_TRACE(seed);
    files.use("", "");
    const std::uint64_t plain = run(seed).hash;
    files.use("first", "");
    EXPECT_EQ(run(seed).hash, plain);
    files.use("second", "first");
    EXPECT_EQ(run(seed).hash, plain);
    EXPECT_GT(files.lines("first").size(), 20u);
    EXPECT_EQ(files.lines("first"), files.lines("second"));
  }
}

TEST(SimulatedSchedule, WithoutDecisionsNoFaultHappensAndAllSeedsDoTheSame) {
  const Files files;
  files.write("none", {"# nothing", ""});
  files.use("rest", "none");
  const Ended first = run(1);
  const Ended second = run(2);
  EXPECT_EQ(first.hash, second.hash);
  EXPECT_EQ(std::ranges::count(first.report.faults, 0u), std::ptrdiff_t{sim::kFaultKinds});
  EXPECT_EQ(first.faults.socket_buffer_bytes, sim::Faults{}.socket_buffer_bytes);
  EXPECT_EQ(first.faults.clock_granularity, sim::Faults{}.clock_granularity);
  EXPECT_TRUE(files.lines("rest").empty());
}

TEST(SimulatedSchedule, ADecisionInTheFileHappensAndNoOther) {
  const Files files;
  std::string write;
  for (std::uint64_t seed = 1; write.empty() && seed < 100; ++seed) {
    files.use("seed" + std::to_string(seed), "");
    run(seed);
    for (const std::string& line : files.lines("seed" + std::to_string(seed))) {
      if (holds(line, "core 0: write on file 1 #1: short_write = ")) write = line;
    }
  }
  ASSERT_FALSE(write.empty());
  files.write("one", {write});
  files.use("again", "one");
  const Ended shortened = run(3);
  EXPECT_EQ(shortened.report.faults[static_cast<std::size_t>(sim::Fault::short_write)], 1u);
  EXPECT_EQ(std::ranges::count(shortened.report.faults, 0u), std::ptrdiff_t{sim::kFaultKinds} - 1);
  ASSERT_EQ(files.lines("again").size(), 1u);
  EXPECT_TRUE(holds(files.lines("again").front(), ": write on file"));
}

TEST(SimulatedSchedule, ADelayIsThatOfTheFileUnlessTheSeedCouldNotHaveDrawnIt) {
  const Files files;
  const auto virtual_time = [&files](const std::string& delay) {
    files.write(delay, {"0 ms  core 1: open #1: delayed_completion = " + delay + " ns"});
    files.use("", delay);
    return run(1).report.virtual_time;
  };
  const Nanoseconds longest = virtual_time("5000000");
  EXPECT_EQ(virtual_time("3000000"), longest - 2 * kMillisecond);
  const Nanoseconds quiet = virtual_time("5000001");
  EXPECT_LT(quiet, longest - 4 * kMillisecond);
  EXPECT_EQ(virtual_time("99999"), quiet);
  EXPECT_EQ(virtual_time("-1"), quiet);
}

TEST(SimulatedSchedule, TheSecondWorldOfAProcessHasNamesOfItsOwn) {
  const Files files;
  files.use("worlds", "");
  run(1);
  const std::size_t first = files.lines("worlds").size();
  run(1);
  const std::vector<std::string> lines = files.lines("worlds");
  ASSERT_EQ(lines.size(), 2 * first);
  for (std::size_t i = 0; i < first; ++i) {
    EXPECT_FALSE(holds(lines[i], "world 2: "));
    std::string second = lines[first + i];
    second.erase(second.find("world 2: "), 9);
    EXPECT_EQ(second, lines[i]);
  }
}

// Two cores that always have work: each must get on.
TEST(SimulatedSchedule, WithoutDecisionsCoresTakeTurns) {
  const Files files;
  files.write("none", {});
  files.use("", "none");
  sim::World world(1);
  Runtime runtime({.cores = 2});
  bool is_there = false;
  const auto code = runtime.run([&is_there]() -> Task<int> {
    TaskGroup group("other");
    group.spawn(
        "other",
        [](bool* there) -> Task<void> {
          co_await submit_to(1, [there]() -> Task<void> {
            for (int i = 0; i < 100; ++i) co_await Yield{};
            *there = true;
          });
        },
        &is_there);
    int turns = 0;
    while (!is_there && ++turns < 10'000) co_await Yield{};
    co_await group.join();
    co_return turns < 10'000 ? 0 : 1;
  });
  ASSERT_TRUE(code);
  EXPECT_EQ(*code, 0);
}

TEST(SimulatedScheduleDeathTest, AFileThatIsNotThereOrNoScheduleEndsTheProcess) {
  const Files files;
  files.use("", "missing");
  EXPECT_EXIT(run(1), testing::ExitedWithCode(2), "CORELANE_SCHEDULE=.*missing cannot be read");
  for (const char* line : {"text", "1 ms  ", "1 ms  core 0: turn #1: turn_cost = much"}) {
    files.write("wrong", {"# a comment", line});
    files.use("", "wrong");
    EXPECT_EXIT(run(1), testing::ExitedWithCode(2), "wrong:2: no decision of a simulation") << line;
  }
}

}  // namespace
}  // namespace corelane
