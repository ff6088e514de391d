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
// A spawned function takes its arguments by value (they live in its frame) and must not be a lambda
// with captures: captures die with the lambda, not with the coroutine.
//
// What a spawned task throws ends that task alone: it is counted and logged with its name
// (runtime/exception.hpp). A group that is left by an exception with tasks still running ends the
// process, for they may use what is unwound: catch it, and join.

#include <coroutine>
#include <cstddef>
#include <type_traits>
#include <utility>

#include "runtime/cancel.hpp"
#include "runtime/core.hpp"
#include "runtime/exception.hpp"
#include "runtime/root.hpp"
#include "runtime/task.hpp"

namespace corelane::runtime {

class TaskGroup {
 public:
  // `parent`, if any, must outlive the group; cancelling it cancels the group.
  explicit TaskGroup(const char* name, CancelScope* parent = nullptr) noexcept
      : scope_(parent, name) {}
  ~TaskGroup() { RT_ASSERT(running_ == 0); }
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;

  // Runs function(arguments...), a Task<void>, until its first suspension before it returns. `name`
  // must be a literal; stall reports show it.
  template <class Function, class... Arguments>
  void spawn(const char* name, Function function, Arguments... arguments) {
    static_assert(std::is_pointer_v<Function> || std::is_empty_v<Function>,
                  "spawn a function or a lambda without captures");
    ++running_;
    run(*this, name, function, std::move(arguments)...);
  }

  void cancel() noexcept { scope_.cancel(); }
  bool cancelled() const noexcept { return scope_.cancelled(); }
  std::size_t running() const noexcept { return running_; }
  CancelScope& scope() noexcept { return scope_; }

  // Suspends until no task of the group runs. One joiner at a time. Is not itself cancelled.
  class Join {
   public:
    explicit Join(TaskGroup& group) noexcept : group_(group) {}
    bool await_ready() const noexcept { return group_.running_ == 0; }
    void await_suspend(std::coroutine_handle<> joiner) noexcept {
      RT_ASSERT(!group_.joiner_);
      group_.joiner_ = joiner;
    }
    void await_resume() const noexcept {}

   private:
    TaskGroup& group_;
  };
  Join join() noexcept { return Join{*this}; }

 private:
  template <class Function, class... Arguments>
  static detail::RootCoroutine run(TaskGroup& group, const char* name, Function function,
                                   Arguments... arguments) {
    {
      CancelScope scope(&group.scope_, name);
      try {
        auto task = function(std::move(arguments)...);
        co_await detail::AwaitInScope<void>(task, scope);
      } catch (...) {
        detail::report_escaped(scope);
      }
    }
    group.finished();
  }
  void finished() noexcept {
    RT_ASSERT(running_ > 0);
    if (--running_ == 0 && joiner_) {
      Core::current().schedule(std::exchange(joiner_, {}), scope_.name());
    }
  }

  CancelScope scope_;
  std::size_t running_ = 0;
  std::coroutine_handle<> joiner_;
};

}  // namespace corelane::runtime
