#include "perf/load/meter.hpp"

namespace corelane::perf {
namespace {

double in_seconds(runtime::Nanoseconds ns) noexcept {
  return static_cast<double>(ns) / 1e9;
}

}  // namespace

void Meter::begin(runtime::Nanoseconds now) noexcept {
  recording_ = true;
  began_ = second_began_ = now;
}

void Meter::end_second(runtime::Nanoseconds now) {
  series_.push_back({.at = in_seconds(second_began_ - began_),
                     .seconds = in_seconds(now - second_began_),
                     .messages = second_.count(),
                     .p50_ns = second_.percentile(50),
                     .p99_ns = second_.percentile(99),
                     .max_ns = second_.max()});
  second_began_ = now;
  interval_.add(second_);
  second_.clear();
}

void Meter::end(runtime::Nanoseconds now) {
  end_second(now);
  recording_ = false;
}

}  // namespace corelane::perf
