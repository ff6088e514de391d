#include "perf/load/progress.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

namespace corelane::perf {

Progress::~Progress() {
  if (open_line_) std::fputc('\n', stderr);
}

void Progress::show() noexcept {
  if (!shown_ || meter_.series().empty()) return;
  const SeriesRow& row = meter_.series().back();
  const bool over = ::isatty(STDERR_FILENO) == 1;
  fmt::print(stderr,
             "{}{} {:4.0f} s of {:.0f}: {:10.0f} messages/s, p50 {:.1f} us, p99 {:.1f} us{}",
             over ? "\r" : "", settings_.load, row.at + row.seconds,
             static_cast<double>(settings_.duration) / 1e9,
             static_cast<double>(row.messages) / row.seconds, static_cast<double>(row.p50_ns) / 1e3,
             static_cast<double>(row.p99_ns) / 1e3, over ? "   " : "\n");
  std::fflush(stderr);
  open_line_ = over;
}

}  // namespace corelane::perf
