#pragma once
// Meter: counts what comes back and how long it took, of the whole run, of the measured interval
// and of each second in it. Faults: what a server did wrong. Values of one core; the workload
// writes, the driver reads.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "perf/load/histogram.hpp"
#include "runtime/types.hpp"

namespace corelane::perf {

// A second of the interval, or what was left of one at its end.
struct SeriesRow {
  double at = 0;  // seconds since the interval began
  double seconds = 0;
  std::uint64_t messages = 0;
  std::uint64_t p50_ns = 0;
  std::uint64_t p99_ns = 0;
  std::uint64_t max_ns = 0;
};

class Meter {
 public:
  // `count` messages came back `latency` after they were sent, or should have been.
  void record(runtime::Nanoseconds latency, std::uint64_t count = 1) noexcept {
    total_ += count;
    if (recording_) second_.record(latency > 0 ? static_cast<std::uint64_t>(latency) : 0, count);
  }
  // Messages of the run, the warm-up included.
  std::uint64_t total() const noexcept { return total_; }
  bool recording() const noexcept { return recording_; }

  void begin(runtime::Nanoseconds now) noexcept;
  // Ends a second of the series.
  void end_second(runtime::Nanoseconds now);
  // Ends the interval, and with it the last second.
  void end(runtime::Nanoseconds now);

  const Histogram& latency_ns() const noexcept { return interval_; }
  const std::vector<SeriesRow>& series() const noexcept { return series_; }

 private:
  std::uint64_t total_ = 0;
  bool recording_ = false;
  runtime::Nanoseconds began_ = 0;
  runtime::Nanoseconds second_began_ = 0;
  Histogram second_;
  Histogram interval_;
  std::vector<SeriesRow> series_;
};

struct Faults {
  std::uint64_t wrong = 0;   // connections that brought bytes which they should not
  std::uint64_t closed = 0;  // connections that ended by themselves
  std::uint64_t lost = 0;    // messages that never came
  std::string first;         // the first of them in words

  bool none() const noexcept { return wrong == 0 && closed == 0 && lost == 0; }
  [[gnu::cold]] void note_wrong(std::string what) { note(wrong, std::move(what)); }
  [[gnu::cold]] void note_closed(std::string what) { note(closed, std::move(what)); }
  [[gnu::cold]] void note_lost(std::uint64_t messages, std::string what) {
    note(lost, std::move(what));
    lost += messages - 1;
  }

 private:
  void note(std::uint64_t& count, std::string what) {
    ++count;
    if (first.empty()) first = std::move(what);
  }
};

}  // namespace corelane::perf
