#include "runtime/runtime.hpp"

#include "runtime/exception.hpp"
#include "runtime/log.hpp"
#include "runtime/root.hpp"
#include "runtime/runtime_driver.hpp"

namespace corelane::runtime {

Runtime::Runtime(const RuntimeOptions& options)
    : options_(options),
      lanes_(options.cores, options.lane_slots, options.threads_max),
      inboxes_(std::make_unique<Inbox[]>(options.cores)),
      cores_(options.cores) {}

Runtime::~Runtime() = default;

namespace {

struct StopCore {
  void deliver(CoreId) const noexcept { Core::current().stop(); }
};

detail::RootCoroutine run_main(Runtime& runtime, RuntimeDriver::Main main, int& exit_code) {
  CancelScope scope(&Core::current().task_roots(), "main", ScopeKind::task);
  try {
    auto task = main();
    exit_code = co_await detail::AwaitInScope<int>(task, scope);
  } catch (...) {
    Core::current().count_exception();
    log(LogLevel::error,
        "the main task ended with an exception: " + describe(std::current_exception()));
    exit_code = kMainThrew;
  }
  // Sent last, so that it arrives behind everything that this core has sent.
  Lanes& lanes = Core::current().lanes();
  for (CoreId core = 0; core < runtime.cores(); ++core) lanes.send(core, StopCore{});
}

}  // namespace

Core::Options RuntimeDriver::core_options(const Runtime& runtime, CoreId core) noexcept {
  return {.id = core,
          .seed = runtime.options_.seed,
          .lane_poll = runtime.options_.cores > 1 ? runtime.options_.lane_poll : 0,
          .memory_bytes_max =
              static_cast<std::size_t>(runtime.options_.memory_bytes_max / runtime.options_.cores)};
}

void RuntimeDriver::make_core(Runtime& runtime, CoreId core, std::unique_ptr<Ring> ring) {
  runtime.cores_[core] =
      std::make_unique<Core>(runtime, runtime.lanes_, std::move(ring), core_options(runtime, core));
}

void RuntimeDriver::destroy_core(Runtime& runtime, CoreId core) noexcept {
  runtime.cores_[core].reset();
}

void RuntimeDriver::set_blocking_pool(Runtime& runtime, std::unique_ptr<BlockingPool> pool) {
  runtime.blocking_pool_ = std::move(pool);
}

void RuntimeDriver::set_failed_step(Runtime& runtime, StartStep step) noexcept {
  runtime.failed_step_ = step;
}

void RuntimeDriver::start_main(Runtime& runtime, Main main, int& exit_code) {
  run_main(runtime, std::move(main), exit_code);
}

}  // namespace corelane::runtime
