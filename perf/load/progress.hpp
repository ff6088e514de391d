#pragma once
// Progress: one line on stderr while a load runs, written over each second on a terminal.

#include "perf/load/meter.hpp"
#include "perf/load/settings.hpp"

namespace corelane::perf {

class Progress {
 public:
  // Both outlive it.
  Progress(bool shown, const Settings& settings, const Meter& meter) noexcept
      : shown_(shown), settings_(settings), meter_(meter) {}
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // After a second of the series has ended.
  void show() noexcept;

 private:
  bool shown_;
  const Settings& settings_;
  const Meter& meter_;
  bool open_line_ = false;  // the terminal's cursor is behind a line of ours
};

}  // namespace corelane::perf
