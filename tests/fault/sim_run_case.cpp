// A program for sim_run_test.py, with bugs to choose from:
//
//   correct         none
//   lost_wake_up    a reader that is late between its look at the queue and its wait sleeps for
//   ever two_slow_writes an invariant that holds unless two of twenty writes take more than 1 ms
//   hangs           does not come back, for every third seed
//   crashes         for every seed
//
// Prints the hash of the world's trace at the end. It makes no world of its own.

#include <fcntl.h>
#include <fmt/core.h>

#include <csignal>
#include <deque>
#include <string>
#include <string_view>

#include "runtime/await.hpp"
#include "runtime/event.hpp"
#include "runtime/file.hpp"
#include "runtime/runtime.hpp"
#include "runtime/sim/world.hpp"
#include "runtime/submit.hpp"
#include "runtime/task_group.hpp"

namespace corelane {
namespace {

using namespace runtime;

constexpr int kItems = 6;

// A queue of one core and its log, with or without the bug.
struct Queue {
  std::deque<int> items;
  Event filled;
  File log;
  bool resets_late = false;
};

// An open may fail, where faults may.
Task<File> open_file(std::string path) {
  for (;;) {
    auto file = co_await File::open(path, O_CREAT | O_WRONLY);
    if (file) co_return std::move(*file);
  }
}

Task<int> take(Queue* queue) {
  if (!queue->resets_late) queue->filled.reset();
  if (queue->items.empty()) {
    const std::string line = "the queue is empty\n";
    static_cast<void>(co_await queue->log.write_all_at(std::as_bytes(std::span{line}), 0));
    // With the bug, what was put since the look at the queue sets an event that is reset here.
    if (queue->resets_late) queue->filled.reset();
    static_cast<void>(co_await queue->filled.wait());
  }
  const int item = queue->items.front();
  queue->items.pop_front();
  co_return item;
}

Task<void> put_from_the_other_core(Queue* queue) {
  for (int item = 0; item < kItems; ++item) {
    co_await sleep_for(2 * kMillisecond);
    co_await submit_to(0, [queue, item] {
      queue->items.push_back(item);
      queue->filled.set();
    });
  }
}

Task<int> run_queue(bool resets_late) {
  Queue queue;
  queue.resets_late = resets_late;
  queue.log = co_await open_file("/log");
  TaskGroup group("queue");
  group.spawn(
      "put",
      [](Queue* to) -> Task<void> {
        co_await submit_to(1, [to] { return put_from_the_other_core(to); });
      },
      &queue);
  int wrong = 0;
  for (int item = 0; item < kItems; ++item) wrong += (co_await take(&queue)) != item;
  co_await group.join();
  static_cast<void>(co_await queue.log.close());
  co_return wrong;
}

Task<int> count_slow_writes() {
  File file = co_await open_file("/file");
  int slow = 0;
  for (int i = 0; i < 20; ++i) {
    const std::string text = "text";
    const Nanoseconds begin = sim::World::current()->now();
    static_cast<void>(co_await file.write_all_at(std::as_bytes(std::span{text}), 0));
    slow += sim::World::current()->now() - begin > kMillisecond;
  }
  static_cast<void>(co_await file.close());
  if (slow >= 2) fmt::print("{} writes were slow: this has failed\n", slow);
  co_return slow >= 2 ? 3 : 0;
}

Task<int> run_case(std::string_view name) {
  int code = 0;
  if (name == "correct" || name == "lost_wake_up") {
    code = co_await run_queue(name == "lost_wake_up");
  } else if (name == "two_slow_writes") {
    code = co_await count_slow_writes();
  } else if (name == "hangs" && sim::World::current()->seed() % 3 == 0) {
    for (volatile bool hangs = true; hangs;) {
    }
  } else if (name == "crashes") {
    static_cast<void>(std::raise(SIGSEGV));
  }
  fmt::print("trace {:#x}\n", sim::World::current()->trace_hash());
  co_return code;
}

}  // namespace
}  // namespace corelane

int main(int argc, char** argv) {
  const std::string_view name = argc > 1 ? argv[1] : "correct";
  corelane::runtime::RuntimeOptions options;
  options.cores = 2;
  options.stall_threshold = 0;
  corelane::runtime::Runtime runtime(options);
  return runtime.run([name] { return corelane::run_case(name); }).value_or(1);
}
