// What a task that sleeps costs in memory: spawns them in a group, and looks at the process' memory
// before and after. Then it cancels them, and waits for their end.
//
//   sleeping_tasks [--tasks N] [--frame-bytes-max B]
//
// Prints one line of JSON: resident bytes, bytes of coroutine frames, and the time to spawn one and
// to end one. Exit status 1 if the frames of a task are larger than the limit.

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdint>
#include <fstream>

#include "perf/load/json_text.hpp"
#include "runtime/await.hpp"
#include "runtime/core.hpp"
#include "runtime/frame_pool.hpp"
#include "runtime/runtime.hpp"
#include "runtime/task_group.hpp"

namespace corelane {
namespace {

using runtime::FramePool;
using runtime::Nanoseconds;

struct Figures {
  double resident_bytes = 0;
  double frame_bytes = 0;
  double spawn_ns = 0;
  double end_ns = 0;
  std::uint64_t ended = 0;
};

std::uint64_t resident_bytes() {
  std::uint64_t all = 0;
  std::uint64_t resident = 0;
  std::ifstream("/proc/self/statm") >> all >> resident;
  return resident * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

runtime::Task<void> wait_long(std::uint64_t* ended) {
  co_await runtime::sleep_for(std::chrono::hours(24));
  ++*ended;
}

runtime::Task<int> run(std::uint64_t tasks, Figures& figures) {
  runtime::Core& core = runtime::Core::current();
  runtime::TaskGroup group("sleeping");
  const double count = perf::to_double(tasks);
  const std::uint64_t resident = resident_bytes();
  const std::uint64_t frames = FramePool::current()->counters().system_bytes;
  const Nanoseconds began = core.ring().now();
  for (std::uint64_t i = 0; i < tasks; ++i) group.spawn("sleep", wait_long, &figures.ended);
  figures.spawn_ns = static_cast<double>(core.ring().now() - began) / count;
  figures.resident_bytes = perf::to_double(resident_bytes() - resident) / count;
  figures.frame_bytes =
      perf::to_double(FramePool::current()->counters().system_bytes - frames) / count;
  const Nanoseconds ends = core.ring().now();
  group.cancel();
  co_await group.join();
  figures.end_ns = static_cast<double>(core.ring().now() - ends) / count;
  co_return figures.ended == tasks ? 0 : 1;
}

}  // namespace
}  // namespace corelane

int main(int argc, char** argv) {
  using namespace corelane;
  std::uint64_t tasks = 1'000'000;
  CLI::App app{"What a task that sleeps costs in memory."};
  app.add_option("--tasks", tasks)->check(CLI::Range(1, 100'000'000))->capture_default_str();
  double seconds = 0;
  double frame_bytes_max = 1e9;
  app.add_option("--frame-bytes-max", frame_bytes_max);
  app.add_option("--seconds", seconds, "accepted, as perf/run gives it to all programs");
  CLI11_PARSE(app, argc, argv);
  runtime::RuntimeOptions options;
  options.cores = 1;
  options.stall_threshold = 0;
  Figures figures;
  runtime::Runtime runtime(options);
  const auto code = runtime.run([&] { return run(tasks, figures); });
  if (!code) {
    fmt::print(stderr, "sleeping_tasks: {}\n", describe(code.error()));
    return 1;
  }
  fmt::print(
      R"({{"load":"sleeping_tasks","tasks":{},"rss_bytes_per_task":{:.1f},)"
      R"("frame_bytes_per_task":{:.1f},"spawn_ns_per_task":{:.1f},"end_ns_per_task":{:.1f}}})"
      "\n",
      tasks, figures.resident_bytes, figures.frame_bytes, figures.spawn_ns, figures.end_ns);
  if (figures.frame_bytes > frame_bytes_max) {
    fmt::print(stderr, "sleeping_tasks: the frames of a task are too large\n");
    return 1;
  }
  return *code;
}
