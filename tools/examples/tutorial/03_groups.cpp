// Concurrent tasks: a group waits for all of its tasks, a deadline cancels them.

#include <corelane/runtime.hpp>

#include <chrono>
#include <cstdio>

using namespace corelane;
using namespace std::chrono_literals;
using runtime::Task;

namespace {

Task<void> work(int number, runtime::Duration time) {
  const bool has_slept = co_await runtime::sleep_for(time);
  std::printf("task %d %s\n", number, has_slept ? "is done" : "was cancelled");
}

Task<void> work_in_parallel() {
  runtime::TaskGroup group("workers");
  group.spawn("worker", work, 1, 100ms);
  group.spawn("worker", work, 2, 200ms);
  group.spawn("worker", work, 3, 1h);
  co_await group.join();
}

Task<int> square(int number) {
  co_await runtime::sleep_for(10ms);
  co_return number* number;
}

Task<int> run() {
  const auto done = co_await runtime::with_timeout(500ms, work_in_parallel());
  std::printf("the group: %s\n", done ? "done" : describe(done.error()).c_str());

  const auto [four, nine] = co_await runtime::when_all(square(2), square(3));
  std::printf("when_all: %d and %d\n", four, nine);

  const auto first = co_await runtime::when_any(square(4), runtime::sleep_for(1h));
  std::printf("when_any: number %zu was first\n", first.index);
  co_return 0;
}

}  // namespace

int main() {
  runtime::Runtime cores({.cores = 1});
  return cores.run(run).value_or(1);
}
