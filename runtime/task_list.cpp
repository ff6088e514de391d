#include "runtime/task_list.hpp"

#include <fmt/format.h>

#include <iterator>
#include <utility>

#include "runtime/cancel.hpp"
#include "runtime/core.hpp"
#include "runtime/log.hpp"
#include "runtime/sharded.hpp"
#include "runtime/submit.hpp"

namespace corelane::runtime {
namespace {

// Scopes within scopes; deeper ones are left out.
constexpr std::uint32_t kDepthMax = 64;
constexpr std::size_t kNoTask = SIZE_MAX;
// Of a walk: a task, a group and a wait are a step each. A task may wait for very many things.
constexpr std::size_t kStepsMax = 4 * kListedTasksMax;

class Lister {
 public:
  Lister(TaskList& list, std::size_t tasks_max) noexcept : list_(list), tasks_max_(tasks_max) {}

  // What is in a scope: of the task with this index, or of none.
  void visit(const CancelScope& scope, std::size_t task, std::uint32_t depth,
             std::uint32_t nested) {
    if (nested == kDepthMax) {
      list_.is_cut = true;
      return;
    }
    scope.for_each([&](const CancelScope::Child& child) {
      if (steps_++ == kStepsMax) cut();
      if (is_full_) return false;
      if (child.scope != nullptr) {
        visit_child(*child.scope, scope, task, depth, nested + 1);
      } else {
        add_wait(*child.wait, scope, task, depth);
      }
      return !is_full_;
    });
  }

 private:
  void cut() noexcept {
    is_full_ = true;
    list_.is_cut = true;
  }
  void visit_child(const CancelScope& child, const CancelScope& parent, std::size_t task,
                   std::uint32_t depth, std::uint32_t nested) {
    switch (child.kind()) {
      case ScopeKind::task:
        if (const std::size_t added = add_task(child, parent.name(), depth); added != kNoTask) {
          visit(child, added, depth + 1, nested);
        }
        return;
      case ScopeKind::part:
        visit(child, task, depth, nested);
        return;
      case ScopeKind::group:
        visit_group(child, task, depth, nested);
        return;
    }
  }
  void visit_group(const CancelScope& group, std::size_t task, std::uint32_t depth,
                   std::uint32_t nested) {
    if (task != kNoTask) {
      std::size_t tasks = 0;
      std::size_t steps = 0;
      group.for_each([&](const CancelScope::Child& child) {
        if (child.scope != nullptr) ++tasks;
        return ++steps < kListedTasksMax;
      });
      if (tasks != 0) {
        TaskWait wait;
        wait.kind = WaitKind::group;
        wait.what = group.name();
        wait.tasks = tasks;
        add_wait_to(task, wait);
      }
    }
    visit(group, kNoTask, depth, nested);
  }
  std::size_t add_task(const CancelScope& scope, const char* group, std::uint32_t depth) {
    if (list_.tasks.size() == tasks_max_) {
      cut();
      return kNoTask;
    }
    list_.tasks.push_back({.name = scope.name(),
                           .group = group,
                           .depth = depth,
                           .is_cancelled = scope.cancelled(),
                           .waits = {}});
    return list_.tasks.size() - 1;
  }
  void add_wait(const Cancellable& listener, const CancelScope& scope, std::size_t task,
                std::uint32_t depth) {
    TaskWait wait;
    if (!CancelScope::describe(listener, list_.at, wait)) return;
    // A wait right in a scope that somebody has made by hand.
    if (task == kNoTask) task = add_task(scope, scope.name(), depth);
    if (task != kNoTask) add_wait_to(task, wait);
  }
  void add_wait_to(std::size_t task, const TaskWait& wait) {
    std::vector<TaskWait>& waits = list_.tasks[task].waits;
    if (waits.size() < kTaskWaitsMax) {
      waits.push_back(wait);
    } else {
      list_.is_cut = true;
    }
  }

  TaskList& list_;
  const std::size_t tasks_max_;
  std::size_t steps_ = 0;
  bool is_full_ = false;
};

double seconds(Nanoseconds time) noexcept {
  return static_cast<double>(time) / static_cast<double>(kSecond);
}

std::string what_is_waited_for(const TaskWait& wait, Nanoseconds now) {
  switch (wait.kind) {
    case WaitKind::timer:
      return wait.at == kNever ? "timer without end"
                               : fmt::format("timer with {:.3f} s left", seconds(wait.at - now));
    case WaitKind::operation:
      if (!wait.descriptor.valid()) return wait.what;
      return fmt::format("{} of {} {}", wait.what,
                         wait.descriptor.direct ? "direct descriptor" : "descriptor",
                         wait.descriptor.number);
    case WaitKind::queue:
      return wait.what;
    case WaitKind::reply:
      return "answer";
    case WaitKind::core:
      return fmt::format("core {}", wait.core);
    case WaitKind::thread:
      return "function that blocks";
    case WaitKind::group:
      return fmt::format("the {} task{} of {}", wait.tasks, wait.tasks == 1 ? "" : "s", wait.what);
    case WaitKind::none:
      break;
  }
  return "nothing that is known";
}

void describe_task(const ListedTask& task, Nanoseconds now, std::string& text) {
  text.append(2 * std::size_t{task.depth} + 2, ' ');
  text += task.name;
  text += task.is_cancelled ? " (cancelled): " : ": ";
  if (task.waits.empty()) text += "runs, or waits unseen";
  bool is_first = true;
  bool has_other = false;
  for (const TaskWait& wait : task.waits) has_other = has_other || wait.kind != WaitKind::group;
  for (const TaskWait& wait : task.waits) {
    // A group beside a wait is there, but is not waited for.
    const bool is_waited_for = wait.kind != WaitKind::group || !has_other;
    text += is_first ? "" : "; ";
    text += is_waited_for ? "waits for " : "has ";
    text += describe(wait, now);
    is_first = false;
  }
  text += '\n';
}

}  // namespace

TaskList list_tasks(std::size_t tasks_max) {
  Core& core = Core::current();
  TaskList list;
  list.core = core.id();
  list.at = core.now();
  Lister(list, tasks_max).visit(core.task_roots(), kNoTask, 0, 0);
  return list;
}

Task<std::vector<TaskList>> list_all_tasks(std::size_t tasks_max) {
  std::vector<TaskList> lists;
  const CoreId cores = Core::current().cores();
  lists.reserve(cores);
  for (CoreId core = 0; core < cores; ++core) {
    lists.push_back(co_await submit_to(core, [tasks_max] { return list_tasks(tasks_max); }));
  }
  co_return lists;
}

std::string describe(const TaskWait& wait, Nanoseconds now) {
  std::string text = what_is_waited_for(wait, now);
  if (wait.kind != WaitKind::none && wait.kind != WaitKind::group) {
    fmt::format_to(std::back_inserter(text), ", for {:.3f} s", seconds(wait.waited));
  }
  return text;
}

std::string describe(const TaskList& list) {
  std::string text = fmt::format("core {}: {} task{}{}\n", list.core, list.tasks.size(),
                                 list.tasks.size() == 1 ? "" : "s",
                                 list.is_cut ? ", and more that are left out" : "");
  for (const ListedTask& task : list.tasks) describe_task(task, list.at, text);
  return text;
}

Task<void> log_all_tasks(std::size_t tasks_max) {
  co_await on_every_core([tasks_max] { log_block(describe(list_tasks(tasks_max))); });
}

Task<void> log_tasks_at_signals(const BlockedSignals* blocked) {
  SignalStream signals(*blocked);
  for (;;) {
    const auto signal = co_await signals.next();
    if (!signal && signal.error().code != ErrorCode::cancelled) {
      log(LogLevel::warning,
          fmt::format("no lists of tasks at signals: {}", describe(signal.error())));
    }
    if (!signal) co_return;
    co_await log_all_tasks();
  }
}

}  // namespace corelane::runtime
