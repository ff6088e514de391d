// corelane-micro: every case of perf/micro in one program.
//
//   corelane-micro [--benchmark_filter=REGEX ...]   times them with Google Benchmark
//   corelane-micro --list    their names, and how many operations are counted
//   corelane-micro --check   runs the small ones, twice: the sums must repeat
//   corelane-micro --count [TEXT]   counts instructions (of cases with TEXT in their names); only
//                                   inside callgrind

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>
#define PERF_HAS_CALLGRIND 1
#else
#define PERF_HAS_CALLGRIND 0
#endif

#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

#include "perf/micro/workload.hpp"

namespace corelane {
namespace {

using perf::Case;
using perf::Workload;

// Divides into every batch that the cases make.
constexpr std::uint64_t kStep = 64;

// Operations between two looks at the clock: at least 20 us, so that the look costs nothing.
std::uint64_t batch_of(Workload& work) {
  using Clock = std::chrono::steady_clock;
  std::uint64_t batch = kStep;
  for (;;) {
    const auto start = Clock::now();
    std::uint64_t sum = work.run(batch);
    perf::keep(sum);
    if (Clock::now() - start > std::chrono::microseconds(20)) return batch;
    batch *= 2;
  }
}

// Google Benchmark asks several times, with growing numbers of iterations; making a million
// sessions each time would take longer than all the rest.
struct Prepared {
  const Case* of = nullptr;
  std::unique_ptr<Workload> work;
  std::string label;
  benchmark::IterationCount batch = 0;  // repetitions must all have the same
};

void time_case(benchmark::State& state, const Case& of) {
  static Prepared prepared;
  if (prepared.of != &of) {
    prepared = {};  // the old one goes before a new one takes its thread's place
    prepared.of = &of;
    prepared.work = of.make();
    prepared.label = fmt::format("sum {:x}", prepared.work->run(kStep));
    prepared.batch = static_cast<benchmark::IterationCount>(batch_of(*prepared.work));
  }
  Workload* work = prepared.work.get();
  state.SetLabel(prepared.label);
  while (state.KeepRunningBatch(prepared.batch)) {
    std::uint64_t sum = work->run(static_cast<std::uint64_t>(prepared.batch));
    perf::keep(sum);
  }
  const auto operations = state.iterations();
  if (of.options.bytes != 0) {
    state.SetBytesProcessed(operations * static_cast<std::int64_t>(of.options.bytes));
  }
  if (of.options.items != 1) {
    state.SetItemsProcessed(operations * static_cast<std::int64_t>(of.options.items));
  }
}

int list(const perf::Cases& cases) {
  for (const Case& of : cases.all()) {
    fmt::print("{}\t{}\n", of.options.name, of.options.counted);
  }
  return 0;
}

int check(const perf::Cases& cases) {
  int failed = 0;
  int number = 0;
  for (const Case& of : cases.all()) {
    if (!of.options.is_small) continue;
    const std::uint64_t first = of.make()->run(kStep);
    const std::uint64_t second = of.make()->run(kStep);
    const bool repeats = first != 0 && first == second;
    if (!repeats) ++failed;
    fmt::print("{} {} - {}\n# sum {:x}, again {:x}\n", repeats ? "ok" : "not ok", ++number,
               of.options.name, first, second);
  }
  fmt::print("1..{}\n", number);
  return failed == 0 ? 0 : 1;
}

// Each case runs N operations and then 2 N, in a dump of its own each: the difference is N
// operations without what surrounds them. Only the run is instrumented, not its preparation.
int count([[maybe_unused]] const perf::Cases& cases, [[maybe_unused]] std::string_view text) {
#if PERF_HAS_CALLGRIND
  if (RUNNING_ON_VALGRIND == 0) {
    fmt::print(stderr, "--count needs: valgrind --tool=callgrind --instr-atstart=no\n");
    return 2;
  }
  for (const Case& of : cases.all()) {
    const std::uint64_t operations = of.options.counted;
    if (operations == 0 || of.options.name.find(text) == std::string::npos) continue;
    const auto work = of.make();
    std::uint64_t sum = work->run(2 * operations);  // grows what grows
    for (const std::uint64_t times : {1u, 2u}) {
      const std::string dump = fmt::format("{} {}", of.options.name, times * operations);
      CALLGRIND_START_INSTRUMENTATION;
      CALLGRIND_ZERO_STATS;
      sum += work->run(times * operations);
      CALLGRIND_DUMP_STATS_AT(dump.c_str());
      CALLGRIND_STOP_INSTRUMENTATION;
    }
    perf::keep(sum);
  }
  return 0;
#else
  fmt::print(stderr, "built without valgrind/callgrind.h\n");
  return 2;
#endif
}

}  // namespace
}  // namespace corelane

int main(int argc, char** argv) {
  using namespace corelane;
  perf::Cases cases;
  perf::add_task_cases(cases);
  perf::add_frame_pool_cases(cases);
  perf::add_lane_cases(cases);
  perf::add_core_channel_cases(cases);
  perf::add_timer_cases(cases);
  perf::add_slab_cases(cases);
  perf::add_stream_cases(cases);
  perf::add_frame_cases(cases);
  perf::add_kernel_cases(cases);
  perf::add_http_cases(cases);
  perf::add_protocol_cases(cases);
  perf::add_dispatch_cases(cases);
  perf::add_session_cases(cases);
  perf::add_channel_cases(cases);
  perf::add_cache_cases(cases);

  const std::string_view mode = argc > 1 ? argv[1] : "";
  if (mode == "--list") return list(cases);
  if (mode == "--check") return check(cases);
  if (mode == "--count") return count(cases, argc > 2 ? argv[2] : "");
  for (const Case& of : cases.all()) {
    benchmark::RegisterBenchmark(of.options.name.c_str(),
                                 [&of](benchmark::State& state) { time_case(state, of); });
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
