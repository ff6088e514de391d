#pragma once
// Stall reports: which handler held which core for how long, and where it was. A core that does not
// come back to its loop for 5 ms delays everybody it serves; the report names the culprit.
//
// Two parts. CoreProgress lives in the core; the loop says through it what runs and how long it
// took, at the price of two stores and a compare a step. StallMonitor is one thread for all cores:
// it looks at them every 2 ms while any is awake, and when one stays in a step it sends that
// thread a signal whose handler takes the backtrace. It parks while all cores sleep, so an idle
// process does not tick. The report itself is made by the core when the step ends, because only
// then is the duration known: nothing shorter than the threshold is reported and nothing longer is
// missed (only the backtrace is missing if the monitor was not scheduled in time). A step that goes
// on and on is reported by the monitor, once, as still running. What goes to the log is written by
// the monitor's thread, with the names of the functions (runtime/symbols.hpp): a core only keeps
// their addresses.
//
// A step's duration is its wall time less the time its thread was ready but not given a CPU (second
// field of /proc/thread-self/schedstat, as far as the monitor saw the step begin): being preempted
// is not the handler's fault, blocking in a system call is. Time throttled by a CPU quota counts.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "runtime/assert.hpp"
#include "runtime/cache_line.hpp"

namespace corelane::runtime {

class StallMonitor;

// Owned by the core. All functions but those of StallMonitor are called by the core's thread; they
// do their work also while no monitor is attached (simulations, tests), and then report nothing.
class CoreProgress {
 public:
  static constexpr std::size_t kFramesMax = 48;

  CoreProgress() = default;
  CoreProgress(const CoreProgress&) = delete;
  CoreProgress& operator=(const CoreProgress&) = delete;
  ~CoreProgress() { RT_ASSERT(monitor_ == nullptr); }

  // A step begins: one handler, one resumed coroutine, one piece of the loop's own work. The name
  // lives as long as the program.
  void begin(const char* name) noexcept {
    name_.store(name, std::memory_order_relaxed);
    // Release pairs with the acquire in StallMonitor::look_at(): the name is the new step's.
    step_.store(step_.load(std::memory_order_relaxed) + 2, std::memory_order_release);
  }

  // The step that began last has ended after so much wall time. May be left out for steps known to
  // be short; several steps may not be added up into one.
  void finished(std::int64_t duration_ns) noexcept {
    if (duration_ns >= threshold_ns_) [[unlikely]]
      finished_late(duration_ns);
  }

  // Around a wait that really sleeps: in between the core is not watched, and does not keep the
  // monitor ticking.
  void asleep() noexcept {
    step_.store(step_.load(std::memory_order_relaxed) | kUnwatched, std::memory_order_release);
  }
  void awake() noexcept;
  // While it is attached; else null.
  const StallMonitor* monitor() const noexcept { return monitor_; }

 private:
  friend class StallMonitor;

  static constexpr std::uint64_t kUnwatched = 1;  // in step_: asleep, or making a report

  [[gnu::cold, gnu::noinline]] void finished_late(std::int64_t duration_ns) noexcept;

  // Stored by the core. A step's number is even.
  alignas(kCacheLine) std::atomic<std::uint64_t> step_{kUnwatched};
  std::atomic<const char*> name_{""};
  // The core's own.
  StallMonitor* monitor_ = nullptr;
  std::int64_t threshold_ns_ = std::numeric_limits<std::int64_t>::max();
  std::uint32_t core_ = 0;
  int schedstat_fd_ = -1;

  // Stored by the monitor: the step whose backtrace it wants, and how long the thread had waited
  // for a CPU when the monitor found it still in the step baseline_step_.
  alignas(kCacheLine) std::atomic<std::uint64_t> wanted_step_{0};
  std::atomic<std::uint64_t> baseline_step_{0};
  std::atomic<std::int64_t> baseline_waiting_ns_{0};

  // The last step counted as a stall; the first of core and monitor to store it counts it.
  std::atomic<std::uint64_t> counted_step_{0};

  // Stored by the signal handler, which runs on the core's thread. The frames belong to the step
  // captured_step_ and stay until the monitor wants those of a later step.
  alignas(kCacheLine) std::atomic<std::uint64_t> captured_step_{0};
  std::size_t frame_count_ = 0;
  std::array<void*, kFramesMax> frames_{};
};

struct StallReport {
  std::uint32_t core = 0;
  const char* name = "";
  std::int64_t duration_ns = 0;   // so far, if still running
  std::int64_t preempted_ns = 0;  // not part of the duration
  bool still_running = false;
  std::uint64_t suppressed_before = 0;  // reports kept back since the last one
  std::span<void* const> backtrace;     // innermost first; empty if there was none in time
};

// One line for a log, and a line for each frame, with the names of the functions: it takes
// milliseconds, so it is not for a core.
std::string describe(const StallReport& report);

// One a process. Made before the cores start and destroyed after they have detached.
class StallMonitor {
 public:
  using Sink = std::function<void(const StallReport&)>;
  using Clock = std::int64_t (*)() noexcept;  // monotonic nanoseconds

  struct Options {
    std::int64_t threshold_ns = 5'000'000;
    // Each look wakes a CPU: at 1 ms it was 4 to 6 % of the CPU of a server at a third of its load.
    std::int64_t tick_ns = 2'000'000;
    std::int64_t still_running_ns = 100'000'000;
    std::uint32_t reports_per_minute = 5;
    Clock clock = nullptr;  // of the limit above; default: CLOCK_MONOTONIC
    Sink sink{};            // default: describe() to the log, on the monitor's thread
  };

  struct Counters {
    std::uint64_t stalls = 0;      // steps at or above the threshold, each once
    std::uint64_t reports = 0;     // given to the sink
    std::uint64_t suppressed = 0;  // not given to the sink because of the limit
    std::uint64_t ticks = 0;       // of the monitor's thread
    std::uint64_t signals = 0;     // sent to ask for a backtrace
  };

  // The sink is called on the stalled core's thread or on the monitor's, one call at a time. The
  // signal SIGRTMIN+1 belongs to the monitor from here on.
  explicit StallMonitor(Options options);
  StallMonitor(const StallMonitor&) = delete;
  StallMonitor& operator=(const StallMonitor&) = delete;
  ~StallMonitor();

  // On the core's thread, before its first step and after its last; at most one core a thread.
  // attach() opens one descriptor and unblocks the signal in this thread.
  void attach(std::uint32_t core, CoreProgress& progress);
  void detach(CoreProgress& progress) noexcept;

  Counters counters() const noexcept;
  // True while the monitor's thread waits for a core to wake up.
  bool parked() const noexcept;

 private:
  friend class CoreProgress;
  struct Watch;

  static void on_signal(int) noexcept;
  static std::span<void* const> captured_frames(const CoreProgress& progress,
                                                std::uint64_t step) noexcept;

  void run() noexcept;
  bool look_at_all() noexcept;
  bool look_at(Watch& watch, std::int64_t now_ns) noexcept;
  void want_backtrace(Watch& watch) noexcept;
  bool any_awake() noexcept;
  void park() noexcept;
  [[gnu::cold]] void unpark() noexcept;
  void report_finished(CoreProgress& progress, std::uint64_t step, std::int64_t wall_ns) noexcept;
  void report_still_running(Watch& watch, std::int64_t wall_ns) noexcept;
  void count_stall(CoreProgress& progress, std::uint64_t step) noexcept;
  void deliver(StallReport& report) noexcept;
  void log_pending() noexcept;
  bool may_report(std::int64_t now_ns) noexcept;

  const Options options_;

  std::mutex watches_mutex_;  // attach, detach and the monitor's thread; never the cores' steps
  std::vector<Watch> watches_;

  // For the log.
  struct Pending {
    StallReport report;
    std::array<void*, CoreProgress::kFramesMax> frames{};
  };

  std::mutex report_mutex_;                // sink and limit
  std::vector<Pending> pending_;           // at most what the limit admits
  std::vector<std::int64_t> reported_at_;  // the last reports_per_minute reports, as a ring
  std::size_t reported_next_ = 0;
  std::uint64_t suppressed_since_report_ = 0;

  std::atomic<std::uint64_t> stalls_{0};
  std::atomic<std::uint64_t> reports_{0};
  std::atomic<std::uint64_t> suppressed_{0};
  std::atomic<std::uint64_t> ticks_{0};
  std::atomic<std::uint64_t> signals_{0};

  // Read by every core that wakes up; written when the monitor parks and is woken.
  alignas(kCacheLine) std::atomic<std::uint32_t> parked_{0};
  alignas(kCacheLine) std::atomic<bool> stopping_{false};
  std::thread thread_;
};

inline void CoreProgress::awake() noexcept {
  const std::uint64_t next = (step_.load(std::memory_order_relaxed) | kUnwatched) + 1;
  // Both seq_cst, like their partners in StallMonitor::park(), which stores parked_ and then loads
  // step_: either the monitor sees that we are awake, or we see that it has parked.
  step_.store(next, std::memory_order_seq_cst);
  if (monitor_ != nullptr && monitor_->parked_.load(std::memory_order_seq_cst) != 0) [[unlikely]]
    monitor_->unpark();
}

}  // namespace corelane::runtime
