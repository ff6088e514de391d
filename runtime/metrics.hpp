#pragma once
// What a core has counted and what it holds now, as values and as text for Prometheus (exposition
// format 0.0.4, or OpenMetrics 1.0). Everything is read where it is counted anyway; nothing is kept
// for it.
//
//   const std::vector<CoreMetrics> all = co_await all_metrics();
//   std::string page = prometheus_text(all);                // Content-Type: kPrometheusType
//
// MetricsText writes families of an application's own behind it.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/core.hpp"
#include "runtime/histogram.hpp"
#include "runtime/lanes.hpp"
#include "runtime/memory_account.hpp"
#include "runtime/ring.hpp"
#include "runtime/stall_monitor.hpp"
#include "runtime/task.hpp"
#include "runtime/types.hpp"

namespace corelane::runtime {

struct CoreMetrics {
  CoreId core = 0;
  // Since the core's start.
  Core::Counters loop{};
  Ring::Counters ring{};
  Lanes::Counters lanes{};
  HistogramSteps turns{};  // nanoseconds: Core::turn_times()
  Nanoseconds busy = 0;    // CPU time of the core's thread, the kernel's for it included
  // Now.
  std::size_t ready = 0;             // coroutines that the next turn resumes
  std::size_t tasks = 0;             // suspended, counted up to kCountedTasksMax
  std::size_t frame_bytes = 0;       // of coroutines that are alive, and other blocks of their pool
  std::size_t frame_bytes_kept = 0;  // for reuse
  std::size_t timers = 0;
  std::size_t operations = 0;      // that coroutines wait for
  std::size_t answers = 0;         // that coroutines wait for (runtime/reply.hpp)
  bool congested = false;          // Lanes::congested()
  std::size_t lane_backlog = 0;    // messages that wait for room in a lane to another core
  std::size_t blocking_calls = 0;  // of this core in the blocking pool: running, or waiting there
  std::size_t blocking_waits = 0;  // and on the core, for a place in the pool
  std::size_t memory_budget = 0;   // 0: no limit
  std::size_t memory_unfinished = 0;
  std::array<std::size_t, kMemoryKinds> memory{};  // by MemoryKind
  // Of the process; the same on every core, zero without a stall monitor.
  StallMonitor::Counters stalls{};
};

// Counting more tasks would take a core from its work: 10 to 30 ns each.
inline constexpr std::size_t kCountedTasksMax = 10'000;

// Of this core. Does not suspend.
CoreMetrics core_metrics() noexcept;
// CPU time of the calling thread, the kernel's for it included: CoreMetrics::busy.
Nanoseconds thread_cpu_time() noexcept;
// Of all cores, core 0 first, each at its own time.
Task<std::vector<CoreMetrics>> all_metrics();

enum class MetricsFormat : std::uint8_t { prometheus, open_metrics };
inline constexpr std::string_view kPrometheusType = "text/plain; version=0.0.4; charset=utf-8";
inline constexpr std::string_view kOpenMetricsType =
    "application/openmetrics-text; version=1.0.0; charset=utf-8";

enum class MetricType : std::uint8_t { counter, gauge, histogram };

// Appends to a text. Names and labels are not checked: names are literals of the program; values of
// labels that are not are escaped by the caller (escape_label).
class MetricsText {
 public:
  explicit MetricsText(std::string& text, MetricsFormat format = MetricsFormat::prometheus) noexcept
      : text_(text), format_(format) {}
  // The HELP and TYPE lines; the samples of the family follow at once. Names of counters end with
  // _total, those of histograms name the unit: _seconds.
  void family(std::string_view name, MetricType type, std::string_view help);
  // `labels`: core="0",kind="shared", or empty.
  void sample(std::string_view labels, std::uint64_t value);
  void sample(std::string_view labels, double value);
  // One series of a family of type histogram: durations in nanoseconds, written in seconds.
  void sample(std::string_view labels, const HistogramSteps& steps);
  // Behind the last family: OpenMetrics ends with a line of its own.
  void finish();

 private:
  void begin_sample(std::string_view labels, std::string_view suffix = {});

  std::string& text_;
  const MetricsFormat format_;
  std::string name_;
};

// A value of a label as it stands between its quotes.
std::string escape_label(std::string_view value);

// corelane_runtime_...{core="0"}, families in a fixed order.
void write_metrics(MetricsText& out, std::span<const CoreMetrics> cores);
// A whole page of them.
std::string prometheus_text(std::span<const CoreMetrics> cores,
                            MetricsFormat format = MetricsFormat::prometheus);

}  // namespace corelane::runtime
