// The page of GET /metrics.

#include <fmt/format.h>

#include <map>
#include <string>

#include "services/metrics/metrics.hpp"
#include "services/version.hpp"

namespace corelane::services {
namespace {

std::string with_core(runtime::CoreId core, const std::string& labels) {
  return fmt::format("core=\"{}\"{}{}", core, labels.empty() ? "" : ",", labels);
}

// The samples of one row; `next` is where those of each core go on.
void write_samples(runtime::MetricsText& out, const std::vector<CoreReading>& readings,
                   std::uint32_t row, std::vector<std::size_t>& next) {
  std::map<std::string, runtime::Histogram> joined;
  for (std::size_t i = 0; i < readings.size(); ++i) {
    const auto& samples = readings[i].samples;
    for (; next[i] < samples.size() && samples[next[i]].row == row; ++next[i]) {
      const MetricSample& sample = samples[next[i]];
      if (sample.histogram != nullptr) {
        joined[sample.labels].add(*sample.histogram);
      } else {
        out.sample(with_core(readings[i].core, sample.labels), sample.value);
      }
    }
  }
  // Without a core that did not answer they would go back, which stands for a new beginning.
  const bool is_whole = std::ranges::all_of(readings, &CoreReading::answered);
  if (!is_whole) return;
  for (const auto& [labels, histogram] : joined) {
    out.sample(labels, runtime::HistogramSteps(histogram));
  }
}

}  // namespace

std::string Metrics::page(const std::vector<CoreReading>& readings,
                          runtime::MetricsFormat format) const {
  std::string text;
  runtime::MetricsText out(text, format);
  out.family("corelane_build_info", MetricType::gauge, "The version that runs.");
  out.sample(fmt::format("version=\"{}\"", runtime::escape_label(version())), std::uint64_t{1});
  out.family("corelane_core_up", MetricType::gauge,
             "1 if the core has answered in time; the figures of the others are left out.");
  std::vector<runtime::CoreMetrics> cores;
  for (const CoreReading& reading : readings) {
    out.sample(with_core(reading.core, ""), std::uint64_t{reading.answered});
    if (reading.answered) cores.push_back(reading.runtime);
  }
  runtime::write_metrics(out, cores);
  std::vector<std::size_t> next(readings.size());
  const auto rows = table_.rows();
  for (std::uint32_t row = 0; row < rows.size(); ++row) {
    out.family(fmt::format("corelane_{}", rows[row].name), rows[row].type, rows[row].help);
    write_samples(out, readings, row, next);
  }
  out.finish();
  return text;
}

}  // namespace corelane::services
