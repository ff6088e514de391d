#include "services/metrics/rows.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

namespace corelane::services {
namespace {

bool is_plain(std::string_view name) noexcept {
  return !name.empty() && name.front() >= 'a' && name.front() <= 'z' &&
         std::ranges::all_of(name, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
         });
}

// The rules of Prometheus that promtool checks, too, but only of rows that a test has shown it.
std::string_view problem_of(const MetricRow& row) noexcept {
  if (!is_plain(row.name)) return "its name is not of lower case letters, digits and _";
  const bool is_counter = row.type == MetricType::counter;
  if (row.name.ends_with("_total") != is_counter) return "counters alone end in _total";
  for (const std::string_view reserved : {"_count", "_sum", "_bucket", "_created", "_info"}) {
    if (row.name.ends_with(reserved)) return "the end of its name has another meaning";
  }
  if (row.type == MetricType::histogram && !row.name.ends_with("_seconds")) {
    return "histograms are of durations, and end in _seconds";
  }
  if (row.help.empty()) return "it has no help";
  if (row.read == nullptr) return "it has no function";
  return {};
}

std::string text_of(MetricReader::Labels labels) {
  std::string text;
  for (const auto& [name, value] : labels) {
    fmt::format_to(std::back_inserter(text), "{}{}=\"{}\"", text.empty() ? "" : ",", name,
                   runtime::escape_label(value));
  }
  return text;
}

}  // namespace

void MetricReader::add(Labels labels, std::uint64_t value) {
  to_.push_back({.row = row_, .labels = text_of(labels), .value = value, .histogram = nullptr});
}

void MetricReader::add(Labels labels, const runtime::Histogram& histogram) {
  to_.push_back({.row = row_,
                 .labels = text_of(labels),
                 .value = histogram.count(),
                 .histogram = std::make_unique<runtime::Histogram>(histogram)});
}

void MetricTable::add(std::span<const MetricRow> rows) {
  for (const MetricRow& row : rows) {
    const std::string_view problem = problem_of(row);
    if (!problem.empty()) {
      throw std::invalid_argument(fmt::format("metric {}: {}", row.name, problem));
    }
    if (std::ranges::find(rows_, row.name, &MetricRow::name) != rows_.end()) {
      throw std::invalid_argument(fmt::format("metric {}: there are two of this name", row.name));
    }
    rows_.push_back(row);
  }
}

std::vector<MetricSample> MetricTable::read() const {
  std::vector<MetricSample> samples;
  for (std::uint32_t i = 0; i < rows_.size(); ++i) {
    MetricReader reader(samples, i);
    rows_[i].read(reader);
  }
  return samples;
}

}  // namespace corelane::services
