#pragma once
// NullCore: one core on a NullRing, driven turn by turn by the benchmark on its own thread.

#include <functional>
#include <utility>

#include "perf/micro/null_ring.hpp"
#include "perf/micro/workload.hpp"
#include "runtime/core.hpp"
#include "runtime/runtime.hpp"
#include "runtime/runtime_driver.hpp"

namespace corelane::perf {

class NullCore {
 public:
  NullCore() : runtime_(options()), core_(make(runtime_)), peer_(NullPeer::of_this_thread()) {}
  NullCore(const NullCore&) = delete;
  NullCore& operator=(const NullCore&) = delete;

  runtime::Core& core() noexcept { return core_; }
  NullPeer& peer() noexcept { return peer_; }
  void turn() noexcept { core_.turn(); }

  // Runs a task to its end, after which the core must only be destroyed: for taking down.
  void run_last(const std::function<runtime::Task<void>()>& task) {
    int code = 0;
    runtime::RuntimeDriver::start_main(runtime_, [&task] { return zero_after(task); }, code);
    core_.run();
  }

 private:
  static runtime::Task<int> zero_after(const std::function<runtime::Task<void>()>& task) {
    co_await task();
    co_return 0;
  }
  static runtime::RuntimeOptions options() {
    runtime::RuntimeOptions options;
    options.cores = 1;
    options.seed = kSeed;
    options.stall_threshold = 0;
    return options;
  }
  static runtime::Core& make(runtime::Runtime& runtime) {
    runtime::RuntimeDriver::make_core(runtime, 0, *runtime::Ring::create(0, {}));
    return runtime.core(0);
  }

  runtime::Runtime runtime_;
  runtime::Core& core_;
  runtime::Core::Scope scope_{core_};
  NullPeer& peer_;
};

}  // namespace corelane::perf
