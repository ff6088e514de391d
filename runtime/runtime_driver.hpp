#pragma once
// What the two implementations of Runtime::run (threads, simulation) are made of. Not for users.

#include <functional>
#include <memory>

#include "runtime/core.hpp"
#include "runtime/runtime.hpp"

namespace corelane::runtime {

struct RuntimeDriver {
  using Main = std::function<Task<int>()>;

  static Core::Options core_options(const Runtime& runtime, CoreId core) noexcept;
  // On the thread that will run the core.
  static void make_core(Runtime& runtime, CoreId core, std::unique_ptr<Ring> ring);
  static void destroy_core(Runtime& runtime, CoreId core) noexcept;
  // Null destroys the pool; its destructor waits for the functions that run in it.
  static void set_blocking_pool(Runtime& runtime, std::unique_ptr<BlockingPool> pool);
  static void set_failed_step(Runtime& runtime, StartStep step) noexcept;
  // On core 0, inside a Core::Scope: starts the main task, which stops all cores when it has ended.
  static void start_main(Runtime& runtime, Main main, int& exit_code);
};

}  // namespace corelane::runtime
