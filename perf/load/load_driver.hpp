#pragma once
// Runs a load on a core of its own: opens it, warms up, measures the interval second by second,
// lets it run dry, and gathers what both sides have used. All workloads but `idle` go through here.

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "perf/load/histogram.hpp"
#include "perf/load/load.hpp"
#include "perf/load/meter.hpp"
#include "perf/load/process_sample.hpp"
#include "perf/load/settings.hpp"
#include "runtime/result.hpp"

namespace corelane::perf {

// How an open loop went.
struct OpenLoopReport {
  double rate_sent = 0;       // messages a second that were offered to the connections
  bool reached = false;       // 99 % of the wanted rate was sent, and the backlog did not grow
  std::uint64_t backlog = 0;  // outstanding at the end of the interval
  Histogram lag_ns;           // how late the client was itself
};

struct LoadReport {
  // Figures of the measured interval.
  double seconds = 0;
  Histogram latency_ns;
  std::vector<SeriesRow> series;
  CpuTimes client;
  std::optional<ProcessSample> server;               // what it used
  std::optional<std::uint64_t> server_system_calls;  // empty: not asked for, or refused
  std::string system_calls_refused;                  // why
  std::optional<OpenLoopReport> open_loop;

  // From start to end.
  std::uint64_t messages_total = 0;
  Faults faults;

  std::string own_json;  // Load::own_json()
  std::string own_text;

  std::uint64_t messages() const noexcept { return latency_ns.count(); }
  double client_cpu_share() const noexcept;
  // Then the server could do more than this shows: only its CPU per message counts. An open loop
  // polls its clock, so there it is the client's lateness that tells.
  bool client_is_bottleneck() const noexcept;
};

using MakeLoad = std::function<std::unique_ptr<Load>(LoadContext& context)>;

// Runs a runtime of its own on the calling thread. Errors: those of Load::open(), of the ring, and
// ESRCH for a server_pid that does not exist.
runtime::Result<LoadReport> run_load(const Settings& settings, const net::NetworkOptions& network,
                                     const MakeLoad& make);

}  // namespace corelane::perf
