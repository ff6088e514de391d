#pragma once
// All suspended tasks of a core, and what each waits for: for the question why nothing happens.
//
//   core 0: 3 tasks
//     main: waits for the 2 tasks of connections
//       session: waits for read of descriptor 7, for 3.214 s
//       session: waits for timer with 0.400 s left, for 0.601 s
//
// The list is walked when it is asked for, from the scopes that a cancel goes through
// (runtime/cancel.hpp): groups hold their tasks, and a task's scope holds what it waits for. Tasks
// pay for it with the time at which each wait began, 4 bytes.
//
// Known limits: a task that runs, is about to, or waits for something that hears no cancel (an
// awaiter of the application's own) is listed without a wait. Handlers that are no coroutines are
// not tasks. The time of a wait is accurate to a millisecond and a turn.
//
// In a program of your own, on any core, with SIGUSR1 blocked before threads start:
//
//   const BlockedSignals blocked({SIGUSR1});
//   group.spawn("task lists", log_tasks_at_signals, &blocked);   // ends when it is cancelled

#include <cstddef>
#include <string>
#include <vector>

#include "runtime/signals.hpp"
#include "runtime/task.hpp"
#include "runtime/task_wait.hpp"
#include "runtime/types.hpp"

namespace corelane::runtime {

struct ListedTask {
  const char* name = "";      // what it was spawned as
  const char* group = "";     // the name of its group, or "core" for the main task and such
  std::uint32_t depth = 0;    // tasks of a group that a task waits for are one deeper than it
  bool is_cancelled = false;  // it is asked to stop
  // Several if it waits for several things at once (when_all), at most kTaskWaitsMax; none: see
  // WaitKind::none.
  std::vector<TaskWait> waits;
};

struct TaskList {
  CoreId core = 0;
  Nanoseconds at = 0;  // on the ring's clock
  std::vector<ListedTask> tasks;
  bool is_cut = false;  // there are more tasks, or waits of a task
};

// More tasks would keep a core from its work: listing takes 0.1 to 0.3 us for each.
inline constexpr std::size_t kListedTasksMax = 10'000;
inline constexpr std::size_t kTaskWaitsMax = 16;

// Those of this core, at most `tasks_max`, the newest of a group first. Does not suspend.
TaskList list_tasks(std::size_t tasks_max = kListedTasksMax);
// Those of all cores, each listed on its own.
Task<std::vector<TaskList>> list_all_tasks(std::size_t tasks_max = kListedTasksMax);

// "timer with 0.400 s left, for 0.601 s".
std::string describe(const TaskWait& wait, Nanoseconds now);
// Lines, as above.
std::string describe(const TaskList& list);

// Writes the list of each core to the log, whatever its level; as much as the log's queue takes.
inline constexpr std::size_t kLoggedTasksMax = 500;
Task<void> log_all_tasks(std::size_t tasks_max = kLoggedTasksMax);
// Does that at each of these signals, until it is cancelled. For a group.
Task<void> log_tasks_at_signals(const BlockedSignals* blocked);

}  // namespace corelane::runtime
