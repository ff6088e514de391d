#pragma once
// Runs a test's coroutine on a runtime of its own: with threads and io_uring, or in the simulation,
// depending on which ring the test program is linked with.

#include <gtest/gtest.h>

#include <functional>

#include "runtime/runtime.hpp"

namespace corelane::tests {

// Small rings, so that overflow is ordinary.
inline runtime::RuntimeOptions small_options(runtime::CoreId cores) {
  runtime::RuntimeOptions options;
  options.cores = cores;
  options.ring = {.entries = 8, .completion_entries = 32, .direct_descriptors = 64};
  options.lane_slots = 16;
  options.stall_threshold = 0;
  return options;
}

inline void run_on_cores(const runtime::RuntimeOptions& options,
                         std::function<runtime::Task<void>()> body) {
  runtime::Runtime runtime(options);
  const auto code = runtime.run([&body]() -> runtime::Task<int> {
    co_await body();
    co_return 0;
  });
  ASSERT_TRUE(code) << describe(code.error());
}

inline void run_on_cores(runtime::CoreId cores, std::function<runtime::Task<void>()> body) {
  run_on_cores(small_options(cores), std::move(body));
}

}  // namespace corelane::tests
