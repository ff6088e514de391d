// Measures a message between two cores of our runtime, without sockets and clients, so two CPUs
// suffice. Core 0 sends a message to core 1, which sends it back; the latency is half of a round
// trip. Also counts the wake-ups that the cores request from the kernel.
//
//   core_crossing [--seconds S] [--cpus A,B] [--gap US] [--same-core]
//
// Without --gap both cores run all the time, as under load. With it they sleep for that time before
// each message. --same-core: core 0 sends to itself, which shows the cost without the crossing.
// Prints one line of JSON with the same field names as corelane-load.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <utility>
#include <vector>

#include "perf/load/histogram.hpp"
#include "perf/load/json_text.hpp"
#include "runtime/await.hpp"
#include "runtime/core.hpp"
#include "runtime/runtime.hpp"
#include "runtime/sharded.hpp"
#include "runtime/task_group.hpp"
#include "runtime/wait_queue.hpp"

namespace corelane {
namespace {

using runtime::Core;
using runtime::CoreId;
using runtime::Nanoseconds;

constexpr int kWarmUp = 1000;  // until both run, so that nobody is woken by the first count

struct Options {
  double seconds = 1;
  std::vector<int> cpus{0, 1};
  double gap_us = 0;
  bool same_core = false;

  Nanoseconds gap() const noexcept { return static_cast<Nanoseconds>(gap_us * 1e3); }
};

// Core 0's: the message is back.
struct Waiting {
  bool back = false;
  Nanoseconds back_at = 0;
  runtime::WaitQueue queue{};
};
thread_local Waiting* waiting_here = nullptr;
thread_local bool keeps_running = false;

struct Return {
  void deliver(CoreId) const {
    waiting_here->back = true;
    waiting_here->back_at = Core::current().ring().now();
    waiting_here->queue.wake_all(runtime::WaitQueue::Outcome::granted);
  }
};
struct There {
  void deliver(CoreId from) const { Core::current().lanes().send(from, Return{}); }
};

// Runs on the core that must not sleep, until stop_running().
runtime::Task<void> run_without_sleep() {
  keeps_running = true;
  while (keeps_running) co_await runtime::Yield();
}
runtime::Task<void> keep_running(CoreId core) {
  co_await runtime::submit_to(core, run_without_sleep);
}

runtime::Task<std::uint64_t> wakes_of_all() {
  std::uint64_t sum = 0;
  for (CoreId core = 0; core < Core::current().cores(); ++core) {
    sum +=
        co_await runtime::submit_to(core, [] { return Core::current().lanes().counters().wakes; });
  }
  co_return sum;
}

struct Result {
  perf::Histogram one_way_ns;
  std::uint64_t wakes = 0;
};

// There and back; half of the time.
runtime::Task<Nanoseconds> cross_once(const Options& options) {
  Core& core = Core::current();
  waiting_here->back = false;
  const Nanoseconds began = core.ring().now();
  core.lanes().send(options.same_core ? CoreId{0} : CoreId{1}, There{});
  while (!waiting_here->back) {
    if (options.gap() == 0) {
      co_await runtime::Yield();
    } else {
      runtime::WaitQueue::Waiter waiter{waiting_here->queue};
      co_await waiter;
    }
  }
  co_return (waiting_here->back_at - began) / 2;
}

runtime::Task<void> cross(const Options& options, Result& result) {
  Core& core = Core::current();
  Waiting waiting;
  waiting_here = &waiting;
  for (int i = 0; i < kWarmUp; ++i) co_await cross_once(options);
  const std::uint64_t wakes_before = co_await wakes_of_all();
  const Nanoseconds end = core.ring().now() + static_cast<Nanoseconds>(options.seconds * 1e9);
  while (core.ring().now() < end) {
    if (options.gap() > 0) co_await runtime::sleep_for(options.gap());
    const Nanoseconds one_way = co_await cross_once(options);
    result.one_way_ns.record(static_cast<std::uint64_t>(one_way));
  }
  const std::uint64_t wakes_after = co_await wakes_of_all();
  result.wakes = wakes_after - wakes_before;
  waiting_here = nullptr;
}

runtime::Task<int> run(const Options& options, Result& result) {
  runtime::TaskGroup beside("running");
  if (options.gap() == 0) beside.spawn("running", keep_running, CoreId{1});
  co_await cross(options, result);
  co_await runtime::submit_to(1, [] { keeps_running = false; });
  co_await beside.join();
  co_return 0;
}

void print(const Options& options, const Result& result) {
  const perf::Histogram& latency = result.one_way_ns;
  const double messages = perf::to_double(2 * latency.count());
  fmt::print(
      R"({{"load":"core_crossing","seconds":{:.3f},"messages":{},"messages_per_second":{:.1f},)"
      R"("wakes_per_message":{:.6f},"latency_ns":{{"p50":{},"p90":{},"p99":{},"p99.9":{},)"
      R"("max":{}}}}})"
      "\n",
      options.seconds, 2 * latency.count(), perf::ratio(messages, options.seconds),
      perf::ratio(perf::to_double(result.wakes), messages), latency.percentile(50),
      latency.percentile(90), latency.percentile(99), latency.percentile(99.9), latency.max());
}

}  // namespace
}  // namespace corelane

int main(int argc, char** argv) {
  using namespace corelane;
  Options options;
  CLI::App app{"What a message between two cores takes."};
  app.add_option("--seconds", options.seconds)->check(CLI::Range(0.01, 3600.0));
  app.add_option("--cpus", options.cpus)->delimiter(',')->expected(2);
  app.add_option("--gap", options.gap_us, "microseconds of sleep before each message")
      ->check(CLI::Range(0.0, 1e6));
  app.add_flag("--same-core", options.same_core);
  CLI11_PARSE(app, argc, argv);
  runtime::RuntimeOptions how;
  how.cores = 2;
  how.cpus = options.cpus;
  how.stall_threshold = 0;
  Result result;
  runtime::Runtime runtime(how);
  const auto code = runtime.run([&] { return run(options, result); });
  if (!code) {
    fmt::print(stderr, "core_crossing: {}\n", describe(code.error()));
    return 1;
  }
  print(options, result);
  return *code;
}
