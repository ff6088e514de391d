#include "perf/load/load_driver.hpp"

#include <cerrno>

#include "perf/load/pacer.hpp"
#include "perf/load/progress.hpp"
#include "perf/load/system_call_counter.hpp"
#include "perf/load/wiring.hpp"
#include "runtime/await.hpp"
#include "runtime/task_group.hpp"

namespace corelane::perf {
namespace {

using runtime::Nanoseconds;

constexpr Nanoseconds kDrainTimeout = 5 * runtime::kSecond;
constexpr Nanoseconds kDrainStep = 10 * runtime::kMillisecond;
constexpr double kRateReached = 0.99;
constexpr std::uint64_t kLateNs = 1'000'000;  // a client so late at p99 is the bottleneck
constexpr double kBusyShare = 0.95;

// Everything that is read at both edges of the measured interval.
struct Edge {
  Nanoseconds at = 0;
  CpuTimes client;
  ProcessSample server{};
  std::uint64_t offered = 0;
  std::uint64_t outstanding = 0;
};

// One run: what lives from the first connection to the last report.
class Run {
 public:
  Run(const Settings& settings, LoadContext& context, Load& load)
      : settings_(settings), context_(context), load_(load) {}

  runtime::Task<runtime::Result<void>> go(LoadReport& report);

 private:
  runtime::Result<Edge> read_edge() const;
  runtime::Task<runtime::Result<void>> run_loaded(LoadReport& report);
  runtime::Task<runtime::Result<void>> measure(LoadReport& report);
  runtime::Task<void> pass_interval();
  runtime::Task<void> drain();
  void set_interval(LoadReport& report, const Edge& from, const Edge& to) const;

  const Settings& settings_;
  LoadContext& context_;
  Load& load_;
  Pacer pacer_{1, 0};
  Histogram lag_ns_;
};

runtime::Result<Edge> Run::read_edge() const {
  Edge edge;
  if (settings_.server_pid != 0) {
    const auto server = sample_process(settings_.server_pid);
    if (!server) return runtime::Unexpected{server.error()};
    edge.server = *server;
  }
  edge.at = context_.network.core().ring().now();
  edge.client = own_cpu_times();
  edge.offered = pacer_.taken();
  edge.outstanding = load_.outstanding();
  return edge;
}

void Run::set_interval(LoadReport& report, const Edge& from, const Edge& to) const {
  report.seconds = static_cast<double>(to.at - from.at) / 1e9;
  report.client = to.client - from.client;
  if (settings_.server_pid != 0) report.server = to.server - from.server;
  if (!settings_.is_open_loop()) return;
  OpenLoopReport open;
  open.rate_sent = static_cast<double>(to.offered - from.offered) / report.seconds;
  open.backlog = to.outstanding;
  const double grown = static_cast<double>(to.outstanding) - static_cast<double>(from.outstanding);
  open.reached = open.rate_sent >= kRateReached * settings_.rate &&
                 grown <= (1 - kRateReached) * static_cast<double>(to.offered - from.offered);
  open.lag_ns = lag_ns_;
  report.open_loop = open;
}

runtime::Task<void> Run::pass_interval() {
  runtime::Core& core = context_.network.core();
  Progress progress(settings_.shows_progress, settings_, context_.meter);
  context_.meter.begin(core.ring().now());
  const Nanoseconds began = core.now();
  const Nanoseconds ends = began + settings_.duration;
  for (Nanoseconds next = began + runtime::kSecond; next < ends; next += runtime::kSecond) {
    co_await runtime::sleep_until(next);
    context_.meter.end_second(core.ring().now());
    progress.show();
  }
  co_await runtime::sleep_until(ends);
}

runtime::Task<runtime::Result<void>> Run::measure(LoadReport& report) {
  co_await runtime::sleep_for(settings_.warmup);
  SystemCallCounter calls;
  if (settings_.counts_system_calls) calls.open(settings_.server_pid);
  const auto from = read_edge();
  if (!from) co_return runtime::Unexpected{from.error()};
  load_.on_interval(true);
  calls.start();
  co_await pass_interval();
  const auto count = calls.stop();
  const auto to = read_edge();
  if (!to) co_return runtime::Unexpected{to.error()};
  context_.meter.end(to->at);
  load_.on_interval(false);
  report.latency_ns = context_.meter.latency_ns();
  report.series = context_.meter.series();
  report.server_system_calls = count;
  report.system_calls_refused = calls.refused();
  set_interval(report, *from, *to);
  co_return runtime::Result<void>{};
}

runtime::Task<void> Run::drain() {
  const Nanoseconds deadline = context_.network.core().now() + kDrainTimeout;
  while (load_.outstanding() != 0 && context_.faults.none() &&
         context_.network.core().now() < deadline) {
    co_await runtime::sleep_for(kDrainStep);
  }
  if (load_.outstanding() != 0 && context_.faults.none()) {
    context_.faults.note_lost(load_.outstanding(), load_.describe_lost());
  }
}

runtime::Task<runtime::Result<void>> Run::run_loaded(LoadReport& report) {
  runtime::TaskGroup beside("load");
  beside.spawn("background", [](Load* load) { return load->background(); }, &load_);
  if (settings_.is_open_loop()) {
    pacer_ = Pacer(settings_.rate, context_.network.core().ring().now());
    beside.spawn("pacing", pace, &context_, &load_, &pacer_, &lag_ns_);
  } else {
    load_.start();
  }
  const auto measured = co_await measure(report);
  context_.stopping = true;
  load_.stop();
  if (measured) co_await drain();
  beside.cancel();
  co_await beside.join();
  if (!measured) co_return runtime::Unexpected{measured.error()};
  co_return runtime::Result<void>{};
}

runtime::Task<runtime::Result<void>> Run::go(LoadReport& report) {
  const auto opened = co_await load_.open();
  if (!opened) co_return runtime::Unexpected{opened.error()};
  if (context_.faults.none()) {
    const auto measured = co_await run_loaded(report);
    if (!measured) co_return runtime::Unexpected{measured.error()};
  }
  report.messages_total = context_.meter.total();
  report.faults = context_.faults;
  report.own_json = load_.own_json();
  report.own_text = load_.own_text();
  co_return runtime::Result<void>{};
}

// What the streams' handlers refer to: it outlives the network.
struct Parts {
  Meter meter;
  Faults faults;
  std::optional<Opener> opener;
  std::optional<LoadContext> context;
  std::unique_ptr<Load> load;
};

runtime::Task<runtime::Result<void>> run_parts(const Settings& settings, const MakeLoad& make,
                                               net::Network& network, Parts& parts,
                                               LoadReport& report) {
  parts.opener.emplace(network, settings);
  parts.context.emplace(LoadContext{.settings = settings,
                                    .network = network,
                                    .opener = *parts.opener,
                                    .meter = parts.meter,
                                    .faults = parts.faults});
  parts.load = make(*parts.context);
  Run run(settings, *parts.context, *parts.load);
  co_return co_await run.go(report);
}

}  // namespace

double LoadReport::client_cpu_share() const noexcept {
  return seconds == 0 ? 0 : static_cast<double>(client.total_ns()) / 1e9 / seconds;
}

bool LoadReport::client_is_bottleneck() const noexcept {
  if (open_loop) return open_loop->lag_ns.percentile(99) > kLateNs;
  return client_cpu_share() >= kBusyShare;
}

runtime::Result<LoadReport> run_load(const Settings& settings, const net::NetworkOptions& network,
                                     const MakeLoad& make) {
  auto parts = std::make_unique<Parts>();
  LoadReport report;
  const auto outcome = run_with_network(
      settings, network,
      [&](net::Network& on) { return run_parts(settings, make, on, *parts, report); },
      [&] {
        if (parts->context) parts->context->stopping = true;
      });
  if (!outcome) return runtime::Unexpected{outcome.error()};
  return report;
}

}  // namespace corelane::perf
