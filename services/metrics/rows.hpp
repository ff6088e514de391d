#pragma once
// Rows of metrics: what a service shows at GET /metrics and in NodeMetrics. They stand in its
// folder and are merged when the node is made:
//
//   constexpr MetricRow kMetrics[] = {
//       {.name = "greeter_greetings_total",
//        .type = MetricType::counter,
//        .help = "Greetings.",
//        .read = [](MetricReader& to) { to.add(Greeter::local().counters().greetings); }},
//   };
//   static std::span<const MetricRow> metrics() noexcept;   // of the service's class
//
// Names follow Prometheus' rules: the unit in the plural (_seconds, _bytes), _total for counters
// alone. On the page they begin with "corelane_". Counters and gauges have a series for each core;
// histograms are joined over all cores when they are read.

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/histogram.hpp"
#include "runtime/metrics.hpp"

namespace corelane::services {

using runtime::MetricType;

// One value of one row on one core.
struct MetricSample {
  std::uint32_t row = 0;  // its number in the table
  std::string labels;     // kind="shared", without the core's
  std::uint64_t value = 0;
  std::unique_ptr<runtime::Histogram> histogram;  // of rows of this type
};

// Takes the values of a row on the core that runs.
class MetricReader {
 public:
  using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;

  MetricReader(std::vector<MetricSample>& to, std::uint32_t row) noexcept : to_(to), row_(row) {}

  void add(std::uint64_t value) { add({}, value); }
  // Names of labels are literals; any text may be a value. The values of one label are few: clients
  // must not be able to make more of them.
  void add(Labels labels, std::uint64_t value);
  // Durations in nanoseconds, copied.
  void add(Labels labels, const runtime::Histogram& histogram);

 private:
  std::vector<MetricSample>& to_;
  const std::uint32_t row_;
};

struct MetricRow {
  std::string_view name;  // without "corelane_"; of a static storage duration, like `help`
  MetricType type = MetricType::gauge;
  std::string_view help;  // a sentence
  // On every core, in its turn. Must not suspend; bounded by a few hundred microseconds.
  void (*read)(MetricReader& to) = nullptr;
};

// The rows of all services of a node. Filled before the cores start, then read by all.
class MetricTable {
 public:
  // Throws std::invalid_argument for a name that is taken or against the rules, and for a row
  // without help or function.
  void add(std::span<const MetricRow> rows);
  std::span<const MetricRow> rows() const noexcept { return rows_; }
  // The values of this core.
  std::vector<MetricSample> read() const;

 private:
  std::vector<MetricRow> rows_;
};

}  // namespace corelane::services
