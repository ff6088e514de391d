#pragma once
// Pacer: offers messages to a load at a fixed rate. Message i is due at start + i / rate, whatever
// became of those before it, and its latency counts from then: what the server, or this client,
// holds up is seen as latency and not as fewer messages. (A closed loop would wait with the server,
// and so would leave out the very messages that had to wait: coordinated omission.)

#include <cstdint>

#include "perf/load/histogram.hpp"
#include "perf/load/load.hpp"
#include "runtime/task.hpp"
#include "runtime/types.hpp"

namespace corelane::perf {

class Pacer {
 public:
  Pacer(double rate, runtime::Nanoseconds start) noexcept : rate_(rate), start_(start) {}

  runtime::Nanoseconds due_at(std::uint64_t message) const noexcept {
    return start_ + static_cast<runtime::Nanoseconds>(static_cast<double>(message) * 1e9 / rate_);
  }
  // The next message, if it is due by now.
  bool take(runtime::Nanoseconds now, runtime::Nanoseconds& due) noexcept {
    due = due_at(taken_);
    if (due > now) return false;
    ++taken_;
    return true;
  }
  runtime::Nanoseconds next_due() const noexcept { return due_at(taken_); }
  std::uint64_t taken() const noexcept { return taken_; }

 private:
  double rate_;
  runtime::Nanoseconds start_;
  std::uint64_t taken_ = 0;
};

// Offers to `load` what is due until the context says stop. Sleeps while nothing is due for long
// and polls the clock before, as a timer's wake-up would be latency that nobody asked for. Records
// into `lag_ns`, while the meter records, how late each message was offered.
runtime::Task<void> pace(LoadContext* context, Load* load, Pacer* pacer, Histogram* lag_ns);

}  // namespace corelane::perf
