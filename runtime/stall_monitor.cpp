#include "runtime/stall_monitor.hpp"

#include <execinfo.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <iterator>
#include <utility>

#include "runtime/log.hpp"
#include "runtime/symbols.hpp"
#include "runtime/thread_times.hpp"

namespace corelane::runtime {
namespace {

constexpr std::int64_t kMinuteNs = 60'000'000'000;
// Parking and waking the monitor costs a core a futex call, so it is not done in every short pause.
constexpr int kIdleTicksBeforeParking = 20;
// The frames of the signal handler itself and of the kernel's return trampoline.
constexpr std::size_t kOwnFrames = 2;

constinit thread_local CoreProgress* this_thread_progress = nullptr;

int stall_signal() noexcept {
  return SIGRTMIN + 1;
}

std::int64_t monotonic_ns() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

void sleep_for(std::int64_t duration_ns) noexcept {
  const timespec duration{.tv_sec = duration_ns / 1'000'000'000,
                          .tv_nsec = duration_ns % 1'000'000'000};
  ::clock_nanosleep(CLOCK_MONOTONIC, 0, &duration, nullptr);
}

}  // namespace

// What the monitor's thread remembers of a core between ticks.
struct StallMonitor::Watch {
  CoreProgress* progress;
  pthread_t thread;
  pid_t thread_id;
  std::uint64_t step = CoreProgress::kUnwatched;
  std::int64_t first_seen_ns = 0;  // of this step
  bool has_baseline = false;
  ThreadTimes baseline{};
  bool backtrace_wanted = false;
  bool reported = false;
};

std::string describe(const StallReport& report) {
  std::string text = fmt::format("stall: core {} {} {:.1f} ms by {}", report.core,
                                 report.still_running ? "still held after" : "was held",
                                 static_cast<double>(report.duration_ns) / 1e6, report.name);
  const auto out = std::back_inserter(text);
  if (report.preempted_ns > 0) {
    fmt::format_to(out, ", preempted {:.1f} ms", static_cast<double>(report.preempted_ns) / 1e6);
  }
  if (report.suppressed_before > 0) {
    fmt::format_to(out, ", {} earlier reports left out", report.suppressed_before);
  }
  text += report.backtrace.empty() ? ", no backtrace\n" : ", backtrace:\n";
  if (report.backtrace.empty()) return text;
  // The first one is where the signal arrived, the others are where calls return to.
  fmt::format_to(out, "  {}\n", describe_address(report.backtrace.front()));
  for (const void* frame : report.backtrace.subspan(1)) {
    fmt::format_to(out, "  {}\n", describe_return_address(frame));
  }
  return text;
}

void CoreProgress::finished_late(std::int64_t duration_ns) noexcept {
  const std::uint64_t step = step_.load(std::memory_order_relaxed);
  // The report may take long itself (a sink of the application) and reads the frames of this step.
  asleep();
  monitor_->report_finished(*this, step, duration_ns);
  awake();
}

StallMonitor::StallMonitor(Options options)
    : options_([&options] {
        if (options.clock == nullptr) options.clock = monotonic_ns;
        return std::move(options);
      }()),
      reported_at_(options_.reports_per_minute, std::numeric_limits<std::int64_t>::min() / 2) {
  RT_ASSERT(options_.threshold_ns > 0);
  RT_ASSERT(options_.tick_ns > 0);
  // The first call loads libgcc and allocates; the calls in the signal handler must not.
  void* frame = nullptr;
  ::backtrace(&frame, 1);

  // The action is never taken back: a signal still pending then would end the process.
  struct sigaction action{};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  ::sigemptyset(&action.sa_mask);
  const int installed = ::sigaction(stall_signal(), &action, nullptr);
  RT_ASSERT(installed == 0);

  // The thread inherits a full mask, so that the process's signals go to other threads.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { run(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::pthread_setname_np(thread_.native_handle(), "stall-monitor");
}

StallMonitor::~StallMonitor() {
  // Both seq_cst, like their partners in park(): either it sees the word, or we see it parked.
  stopping_.store(true, std::memory_order_seq_cst);
  unpark();
  thread_.join();
  log_pending();
  RT_ASSERT(watches_.empty());
}

void StallMonitor::attach(std::uint32_t core, CoreProgress& progress) {
  RT_ASSERT(this_thread_progress == nullptr);
  RT_ASSERT(progress.monitor_ == nullptr);
  progress.core_ = core;
  progress.schedstat_fd_ = ::open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
  progress.threshold_ns_ = options_.threshold_ns;
  progress.monitor_ = this;
  this_thread_progress = &progress;

  sigset_t ours;
  ::sigemptyset(&ours);
  ::sigaddset(&ours, stall_signal());
  ::pthread_sigmask(SIG_UNBLOCK, &ours, nullptr);
  {
    const std::lock_guard lock(watches_mutex_);
    watches_.push_back(
        {.progress = &progress, .thread = ::pthread_self(), .thread_id = ::gettid()});
  }
  progress.awake();
}

void StallMonitor::detach(CoreProgress& progress) noexcept {
  RT_ASSERT(this_thread_progress == &progress);
  progress.asleep();
  {
    // Afterwards no further signal is sent to this thread; one on its way finds no progress.
    const std::lock_guard lock(watches_mutex_);
    std::erase_if(watches_, [&](const Watch& watch) { return watch.progress == &progress; });
  }
  this_thread_progress = nullptr;
  progress.monitor_ = nullptr;
  progress.threshold_ns_ = std::numeric_limits<std::int64_t>::max();
  if (progress.schedstat_fd_ >= 0) ::close(progress.schedstat_fd_);
  progress.schedstat_fd_ = -1;
}

// Runs on the core's thread, anywhere in its code: only what is async-signal-safe.
void StallMonitor::on_signal(int) noexcept {
  CoreProgress* const progress = this_thread_progress;
  if (progress == nullptr) return;
  const int saved_errno = errno;
  // Acquire pairs with the release in want_backtrace(): the monitor has done with the old frames.
  const std::uint64_t wanted = progress->wanted_step_.load(std::memory_order_acquire);
  // Relaxed: both are stored by this very thread. A step that has ended is not captured.
  if (wanted == progress->step_.load(std::memory_order_relaxed) &&
      wanted != progress->captured_step_.load(std::memory_order_relaxed)) {
    const int count = ::backtrace(progress->frames_.data(), CoreProgress::kFramesMax);
    progress->frame_count_ = static_cast<std::size_t>(std::max(count, 0));
    // Release pairs with the acquire in captured_frames().
    progress->captured_step_.store(wanted, std::memory_order_release);
  }
  errno = saved_errno;
}

std::span<void* const> StallMonitor::captured_frames(const CoreProgress& progress,
                                                     std::uint64_t step) noexcept {
  // Acquire pairs with the release in on_signal(): the frames are written.
  if (progress.captured_step_.load(std::memory_order_acquire) != step) return {};
  const std::span<void* const> all(progress.frames_.data(), progress.frame_count_);
  return all.subspan(std::min(kOwnFrames, all.size()));
}

void StallMonitor::run() noexcept {
  int idle_ticks = 0;
  while (!stopping_.load(std::memory_order_relaxed)) {
    ticks_.fetch_add(1, std::memory_order_relaxed);
    idle_ticks = look_at_all() ? 0 : idle_ticks + 1;
    log_pending();
    if (idle_ticks > kIdleTicksBeforeParking) {
      park();
      idle_ticks = 0;
    } else {
      sleep_for(options_.tick_ns);
    }
  }
}

bool StallMonitor::look_at_all() noexcept {
  const std::int64_t now_ns = monotonic_ns();
  const std::lock_guard lock(watches_mutex_);
  bool awake = false;
  for (Watch& watch : watches_) awake |= look_at(watch, now_ns);
  return awake;
}

// True if the core is awake.
bool StallMonitor::look_at(Watch& watch, std::int64_t now_ns) noexcept {
  CoreProgress& progress = *watch.progress;
  // Acquire pairs with the release in begin(): the name read for a report is this step's.
  const std::uint64_t step = progress.step_.load(std::memory_order_acquire);
  if (step != watch.step) {
    watch = {.progress = watch.progress,
             .thread = watch.thread,
             .thread_id = watch.thread_id,
             .step = step,
             .first_seen_ns = now_ns};
    return (step & CoreProgress::kUnwatched) == 0;
  }
  if ((step & CoreProgress::kUnwatched) != 0) return false;

  if (!watch.has_baseline) {
    watch.has_baseline = true;
    watch.baseline = thread_times(progress.schedstat_fd_);
    progress.baseline_waiting_ns_.store(watch.baseline.waiting_ns, std::memory_order_relaxed);
    // Release pairs with the acquire in report_finished().
    progress.baseline_step_.store(step, std::memory_order_release);
  }
  const std::int64_t wall_ns = now_ns - watch.first_seen_ns;
  // At two fifths, a tick, because the step may be a tick older than its first sight, and the
  // signal has to arrive before a step just over the threshold ends.
  if (!watch.backtrace_wanted && wall_ns >= options_.threshold_ns * 2 / 5) want_backtrace(watch);
  if (!watch.reported && wall_ns >= options_.still_running_ns) report_still_running(watch, wall_ns);
  return true;
}

void StallMonitor::want_backtrace(Watch& watch) noexcept {
  watch.backtrace_wanted = true;
  // Release pairs with the acquire in on_signal().
  watch.progress->wanted_step_.store(watch.step, std::memory_order_release);
  // The thread lives: detach() needs the lock that we hold.
  if (::pthread_kill(watch.thread, stall_signal()) == 0) {
    signals_.fetch_add(1, std::memory_order_relaxed);
  }
}

bool StallMonitor::any_awake() noexcept {
  const std::lock_guard lock(watches_mutex_);
  return std::ranges::any_of(watches_, [](const Watch& watch) {
    // Its partner is the store in CoreProgress::awake().
    const std::uint64_t step = watch.progress->step_.load(std::memory_order_seq_cst);
    return (step & CoreProgress::kUnwatched) == 0;
  });
}

void StallMonitor::park() noexcept {
  // Its partners are the loads in CoreProgress::awake() and, through unpark(), in the destructor:
  // they store first and then load this, we store this first and then load theirs.
  parked_.store(1, std::memory_order_seq_cst);
  // Of a core that has slept since log_pending(). A later report wakes the monitor (awake()).
  bool has_pending = false;
  {
    const std::lock_guard lock(report_mutex_);
    has_pending = !pending_.empty();
  }
  if (has_pending || any_awake() || stopping_.load(std::memory_order_seq_cst)) {
    parked_.store(0, std::memory_order_relaxed);
    return;
  }
  parked_.wait(1, std::memory_order_acquire);
}

void StallMonitor::unpark() noexcept {
  if (parked_.exchange(0, std::memory_order_seq_cst) != 0) parked_.notify_one();
}

void StallMonitor::count_stall(CoreProgress& progress, std::uint64_t step) noexcept {
  // Relaxed: only which of the two came first matters.
  if (progress.counted_step_.exchange(step, std::memory_order_relaxed) != step) {
    stalls_.fetch_add(1, std::memory_order_relaxed);
  }
}

void StallMonitor::report_finished(CoreProgress& progress, std::uint64_t step,
                                   std::int64_t wall_ns) noexcept {
  std::int64_t preempted_ns = 0;
  // Acquire pairs with the release in look_at(): the delay was read during this step.
  if (progress.baseline_step_.load(std::memory_order_acquire) == step) {
    preempted_ns = thread_times(progress.schedstat_fd_).waiting_ns -
                   progress.baseline_waiting_ns_.load(std::memory_order_relaxed);
  }
  if (wall_ns - preempted_ns < options_.threshold_ns) return;
  count_stall(progress, step);
  StallReport report{.core = progress.core_,
                     .name = progress.name_.load(std::memory_order_relaxed),
                     .duration_ns = wall_ns - preempted_ns,
                     .preempted_ns = preempted_ns,
                     .backtrace = captured_frames(progress, step)};
  deliver(report);
}

void StallMonitor::report_still_running(Watch& watch, std::int64_t wall_ns) noexcept {
  CoreProgress& progress = *watch.progress;
  const ThreadTimes times = thread_times(progress.schedstat_fd_);
  // A wait for a CPU that still lasts is in no number yet. So a thread that may be in one is judged
  // by the time it ran, and only a blocked one by all that was not waiting.
  std::int64_t preempted_ns = times.waiting_ns - watch.baseline.waiting_ns;
  if (times.running_ns != 0 && is_runnable(watch.thread_id)) {
    preempted_ns =
        std::max<std::int64_t>(0, wall_ns - (times.running_ns - watch.baseline.running_ns));
  }
  const std::int64_t held_ns = wall_ns - preempted_ns;
  if (held_ns < options_.still_running_ns) return;
  // The signal was sent, but the thread has had no CPU since: its backtrace is worth another look.
  if (held_ns < 2 * options_.still_running_ns && captured_frames(progress, watch.step).empty() &&
      is_runnable(watch.thread_id)) {
    return;
  }
  watch.reported = true;
  const char* const name = progress.name_.load(std::memory_order_relaxed);
  // Its partner is the release in begin(): if the step is still the same, the name is its name.
  if (progress.step_.load(std::memory_order_acquire) != watch.step) return;
  count_stall(progress, watch.step);
  StallReport report{.core = progress.core_,
                     .name = name,
                     .duration_ns = held_ns,
                     .preempted_ns = preempted_ns,
                     .still_running = true,
                     .backtrace = captured_frames(progress, watch.step)};
  deliver(report);
}

void StallMonitor::deliver(StallReport& report) noexcept {
  const std::lock_guard lock(report_mutex_);
  if (!may_report(options_.clock())) {
    ++suppressed_since_report_;
    suppressed_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  report.suppressed_before = std::exchange(suppressed_since_report_, 0);
  reports_.fetch_add(1, std::memory_order_relaxed);
  if (options_.sink) {
    options_.sink(report);
    return;
  }
  Pending& pending = pending_.emplace_back();
  pending.report = report;
  std::ranges::copy(report.backtrace, pending.frames.begin());
}

// On the monitor's thread: the names of the frames take milliseconds, and are read from a file.
void StallMonitor::log_pending() noexcept {
  std::vector<Pending> pending;
  {
    const std::lock_guard lock(report_mutex_);
    pending.swap(pending_);
  }
  for (Pending& one : pending) {
    one.report.backtrace = {one.frames.data(), one.report.backtrace.size()};
    log_block(describe(one.report));
  }
}

// Any minute holds at most as many reports as reported_at_: its oldest must be a minute old.
bool StallMonitor::may_report(std::int64_t now_ns) noexcept {
  if (reported_at_.empty()) return false;
  if (now_ns - reported_at_[reported_next_] < kMinuteNs) return false;
  reported_at_[reported_next_] = now_ns;
  reported_next_ = (reported_next_ + 1) % reported_at_.size();
  return true;
}

StallMonitor::Counters StallMonitor::counters() const noexcept {
  // Relaxed: statistics, each for itself.
  return {.stalls = stalls_.load(std::memory_order_relaxed),
          .reports = reports_.load(std::memory_order_relaxed),
          .suppressed = suppressed_.load(std::memory_order_relaxed),
          .ticks = ticks_.load(std::memory_order_relaxed),
          .signals = signals_.load(std::memory_order_relaxed)};
}

bool StallMonitor::parked() const noexcept {
  return parked_.load(std::memory_order_relaxed) != 0;
}

}  // namespace corelane::runtime
