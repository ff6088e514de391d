// Runtime::run with threads: one a core, pinned, the calling thread being core 0.

#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <latch>
#include <optional>
#include <system_error>
#include <thread>
#include <vector>

#include "runtime/blocking.hpp"
#include "runtime/runtime.hpp"
#include "runtime/runtime_driver.hpp"
#include "runtime/stall_monitor.hpp"

namespace corelane::runtime {
namespace {

void pin_to(int cpu) noexcept {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(cpu), &set);
  // A CPU that has been taken from us costs the pinning, not the program.
  pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

// Restores the calling thread's affinity: run() borrows the thread.
class AffinityGuard {
 public:
  AffinityGuard() noexcept {
    known_ = pthread_getaffinity_np(pthread_self(), sizeof set_, &set_) == 0;
  }
  ~AffinityGuard() {
    if (known_) pthread_setaffinity_np(pthread_self(), sizeof set_, &set_);
  }
  AffinityGuard(const AffinityGuard&) = delete;
  AffinityGuard& operator=(const AffinityGuard&) = delete;

 private:
  cpu_set_t set_{};
  bool known_ = false;
};

struct Start {
  Runtime& runtime;
  std::latch rings_made;
  std::latch cores_stopped;
  std::latch calls_ended{1};  // those that block
  std::atomic<std::int32_t> first_errno{0};
  std::optional<StallMonitor> monitor{};
};

// The life of one core. `main` is for core 0.
void run_core(Start& start, CoreId id, RuntimeDriver::Main main, int& exit_code) {
  const RuntimeOptions& options = start.runtime.options();
  if (!options.cpus.empty()) pin_to(options.cpus[id % options.cpus.size()]);
  auto ring = Ring::create(id, options.ring);
  if (ring) {
    RuntimeDriver::make_core(start.runtime, id, std::move(*ring));
  } else {
    std::int32_t none = 0;
    start.first_errno.compare_exchange_strong(none, ring.error().detail);
  }
  start.rings_made.arrive_and_wait();
  if (start.first_errno.load() == 0) {
    Core& core = start.runtime.core(id);
    const Core::Scope scope(core);
    if (start.monitor) start.monitor->attach(core.id(), core.progress());
    if (main) RuntimeDriver::start_main(start.runtime, std::move(main), exit_code);
    core.run();
    if (start.monitor) start.monitor->detach(core.progress());
    // A sleeping peer may still be about to be woken through a ring: all stop before one is gone.
    start.cores_stopped.arrive_and_wait();
    // A blocking call that still runs uses memory that its core destroys.
    if (id == 0) {
      RuntimeDriver::set_blocking_pool(start.runtime, nullptr);
      start.calls_ended.count_down();
    }
    start.calls_ended.wait();
  }
  RuntimeDriver::destroy_core(start.runtime, id);
}

}  // namespace

Result<int> Runtime::run(std::function<Task<int>()> main) {
  const AffinityGuard guard;
  Start start{.runtime = *this,
              .rings_made = std::latch(options_.cores),
              .cores_stopped = std::latch(options_.cores)};
  if (options_.stall_threshold != 0) {
    StallMonitor::Options monitor;
    monitor.threshold_ns = options_.stall_threshold;
    monitor.sink = options_.stall_sink;
    try {
      start.monitor.emplace(std::move(monitor));
    } catch (const std::system_error& error) {
      RuntimeDriver::set_failed_step(*this, StartStep::thread);
      return Unexpected{Error::from_errno(error.code().value())};
    }
  }
  RuntimeDriver::set_blocking_pool(*this, make_blocking_pool(*this));
  int exit_code = 0;
  int unused = 0;
  std::vector<std::thread> threads;
  for (CoreId id = 1; id < options_.cores; ++id) {
    try {
      threads.emplace_back([&start, id, &unused] { run_core(start, id, {}, unused); });
    } catch (const std::system_error& error) {
      // The cores that exist wait for all; they then find the error, and end.
      RuntimeDriver::set_failed_step(*this, StartStep::thread);
      std::int32_t none = 0;
      start.first_errno.compare_exchange_strong(none, error.code().value());
      start.rings_made.count_down(options_.cores - id);
      break;
    }
  }
  run_core(start, 0, std::move(main), exit_code);
  for (std::thread& thread : threads) thread.join();
  if (const std::int32_t error = start.first_errno.load()) {
    return Unexpected{Error::from_errno(error)};
  }
  return exit_code;
}

}  // namespace corelane::runtime
