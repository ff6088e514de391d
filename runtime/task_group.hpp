#pragma once
// TaskGroup (a nursery): where concurrent coroutines start, and where they are waited for. A group
// must be joined before it is destroyed; nothing runs detached. It belongs to the core that made
// it.
//
//   TaskGroup group("connections");
//   group.spawn("session", serve_session, std::move(socket), limits);   // arguments by value
//   group.cancel();            // a request to all of them, passed down to what they await
//   co_await group.join();
//
// A group that is made by its name belongs to the scope of the coroutine that joins it: while that
// waits in join(), a cancel of it (with_timeout, a group further up) cancels the group. Before the
// join it listens to nothing. A group that is made by TaskGroup::here() or in_group() belongs to
// the scope that it is made in from the beginning:
//
//   TaskGroup group = co_await TaskGroup::here("connections");
//
// A group that is made with a parent listens to that alone, and one with `nullptr` to nothing.
//
// in_group() makes a group, runs a function with it and joins it, however the function ends.
//
// A spawned function takes its arguments by value (they live in its frame) and must not be a lambda
// with captures: captures die with the lambda, not with the coroutine.
//
// It returns Task<void>; runtime/result_group.hpp keeps results and bounds how many tasks run.
//
// What a spawned task throws ends that task alone: it is counted and logged with its name
// (runtime/exception.hpp). A group that is left by an exception with tasks still running ends the
// process, for they may use what is unwound: catch it, and join.

#include <coroutine>
#include <cstddef>
#include <exception>
#include <type_traits>
#include <utility>

#include "runtime/awaitable.hpp"
#include "runtime/cancel.hpp"
#include "runtime/core.hpp"
#include "runtime/exception.hpp"
#include "runtime/owner.hpp"
#include "runtime/root.hpp"
#include "runtime/task.hpp"
#include "runtime/this_task.hpp"

namespace corelane::runtime {

namespace detail {

template <class Function>
inline constexpr bool kOutlivesItsCall = std::is_pointer_v<Function> || std::is_empty_v<Function>;

template <class T, class Function, class... Arguments>
concept Returns = std::is_same_v<std::invoke_result_t<Function&, Arguments...>, T>;

class GroupAwaiter;

// Prints what to do about it, and aborts.
[[noreturn, gnu::cold, gnu::noinline]] void group_left(const char* name,
                                                       std::size_t running) noexcept;

}  // namespace detail

class TaskGroup {
 public:
  explicit TaskGroup(const char* name) noexcept : scope_(nullptr, name), inherits_(true) {}
  // `parent`, if any, must outlive the group; cancelling it cancels the group.
  TaskGroup(const char* name, CancelScope* parent) noexcept
      : scope_(parent, name), inherits_(false) {
    if (parent != nullptr && !parent->has_parent()) [[unlikely]]
      list_scope(*parent);
  }
  // Gives a group whose parent is the scope of the coroutine that awaits this. Does not suspend.
  // The group must be joined within that scope. Not in a generator.
  [[nodiscard]] static detail::GroupAwaiter here(const char* name) noexcept;
  // Tasks that still run may use what the coroutine that leaves the group owns: join it on every
  // way out, or use in_group().
  ~TaskGroup() {
    if (running_ != 0) [[unlikely]]
      detail::group_left(scope_.name(), running_);
  }
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;

  // Runs function(arguments...), a Task<void>, until its first suspension before it returns. `name`
  // must be a literal; stall reports show it.
  template <class Function, class... Arguments>
  void spawn(const char* name, Function function, Arguments... arguments) {
    static_assert(
        detail::kOutlivesItsCall<Function>,
        "spawn a function or a lambda without captures: captures die before the task ends");
    if constexpr (!std::is_invocable_v<Function&, Arguments...>) {
      static_assert(std::is_invocable_v<Function&, Arguments...>,
                    "the spawned function cannot be called with these arguments: they are copied "
                    "into its frame, so it takes values");
    } else if constexpr (!detail::Returns<Task<void>, Function, Arguments...>) {
      static_assert(
          detail::Returns<Task<void>, Function, Arguments...>,
          "a spawned function returns Task<void>: nobody takes a value, ResultGroup does");
    } else {
      owner_.check("TaskGroup");
      ++running_;
      run(*this, name, function, std::move(arguments)...);
    }
  }

  void cancel() noexcept {
    owner_.check("TaskGroup");
    scope_.cancel();
  }
  bool cancelled() const noexcept { return scope_.cancelled(); }
  std::size_t running() const noexcept { return running_; }
  CancelScope& scope() noexcept { return scope_; }

  // Suspends until no task of the group runs. One joiner at a time. A cancel of the joiner's scope
  // goes to the tasks; the join waits for their ends all the same.
  class Join {
   public:
    explicit Join(TaskGroup& group) noexcept : group_(group) {}
    bool await_ready() const noexcept { return group_.running_ == 0; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> joiner) noexcept {
      RT_ASSERT(!group_.joiner_);
      group_.owner_.check("TaskGroup");
      group_.joiner_ = joiner;
      CancelScope* const scope = group_.inherits_ ? scope_of(joiner) : nullptr;
      if (scope == nullptr) return;
      group_.unlist();
      is_attached_ = true;
      group_.scope_.attach(*scope);
    }
    void await_resume() const noexcept {
      if (is_attached_) group_.scope_.detach();
    }

   private:
    TaskGroup& group_;
    bool is_attached_ = false;
  };
  Join join() noexcept { return Join{*this}; }

 private:
  // The root of a task. It tells the group of its end when all it has is destroyed.
  struct Root {
    struct promise_type : InFramePool {
      template <class... Arguments>
      explicit promise_type(TaskGroup& its_group, Arguments&...) noexcept : group(its_group) {}
      Root get_return_object() const noexcept { return {}; }
      std::suspend_never initial_suspend() const noexcept { return {}; }
      std::suspend_never final_suspend() const noexcept {
        group.finished();
        return {};
      }
      void return_void() const noexcept {}
      void unhandled_exception() const noexcept { std::terminate(); }

      TaskGroup& group;
    };
  };
  template <class Function, class... Arguments>
  static Root run(TaskGroup& group, const char* name, Function function, Arguments... arguments) {
    CancelScope scope(&group.scope_, name, ScopeKind::task);
    try {
      detail::StartedTask task([&] { return function(std::move(arguments)...); });
      if (!task.start(scope)) {
        // A task is suspended: lists of tasks find the group.
        if (!group.scope_.has_parent()) group.list();
        co_await task;
      }
      task.take();
    } catch (...) {
      detail::report_escaped(scope);
    }
  }
  [[gnu::always_inline]] void finished() noexcept {
    RT_ASSERT(running_ > 0);
    --running_;
    if (running_ == 0 && (is_listed_ || joiner_)) finished_all();
  }
  [[gnu::noinline]] void finished_all() noexcept {
    unlist();
    if (joiner_) Core::current().schedule(std::exchange(joiner_, {}), scope_.name());
  }
  // A group without a parent is linked to the core while one of its tasks is suspended: not before,
  // because it may have been made for another core, and not after, because it may outlive its core.
  void list() noexcept {
    is_listed_ = true;
    scope_.attach(Core::current().task_roots());
  }
  void unlist() noexcept {
    if (!is_listed_) return;
    is_listed_ = false;
    scope_.detach();
  }
  [[gnu::cold]] static void list_scope(CancelScope& scope) noexcept {
    if (Core* const core = Core::current_or_null()) scope.attach(core->task_roots());
  }

  CancelScope scope_;
  bool inherits_;
  bool is_listed_ = false;
  OwnerCheck owner_;
  std::size_t running_ = 0;
  std::coroutine_handle<> joiner_;
};

namespace detail {

class GroupAwaiter final : public KeepScope {
 public:
  explicit GroupAwaiter(const char* name) noexcept : name_(name) {}
  TaskGroup await_resume() const noexcept { return TaskGroup(name_, scope_or_null()); }

 private:
  const char* name_;
};

}  // namespace detail

inline detail::GroupAwaiter TaskGroup::here(const char* name) noexcept {
  return detail::GroupAwaiter(name);
}

// Runs body(group), a function or lambda that returns a task, with a group of its own, which
// belongs to the scope that this is awaited in, and joins the group however the body ends: so an
// early return and an exception are safe, while tasks of the group may use the body's captures. If
// the body fails, by an exception or by a Result that holds an error, the group is cancelled first.
// The value, or the exception, is the body's.
//
//   co_return co_await in_group("pair", [&](TaskGroup& group) -> Task<Result<void>> {
//     group.spawn("one way", pump, &left, &right);
//     co_return co_await pump_back(right, left);
//   });
template <class Body>
[[nodiscard]] std::invoke_result_t<Body&, TaskGroup&> in_group(const char* name, Body body) {
  using Value = typename detail::IsTask<std::invoke_result_t<Body&, TaskGroup&>>::Value;
  static_assert(!std::is_reference_v<Value>, "the value is kept over the join: return a pointer");
  TaskGroup group = co_await TaskGroup::here(name);
  std::exception_ptr thrown;
  try {
    if constexpr (std::is_void_v<Value>) {
      co_await body(group);
      co_await group.join();
      co_return;
    } else {
      Value value = co_await body(group);
      if constexpr (detail::IsResult<Value>::value) {
        if (!value) group.cancel();
      }
      co_await group.join();
      co_return std::move(value);
    }
  } catch (...) {
    thrown = std::current_exception();
  }
  group.cancel();
  co_await group.join();
  std::rethrow_exception(thrown);
}

}  // namespace corelane::runtime
