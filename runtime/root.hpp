#pragma once
// RootCoroutine: a coroutine that nobody awaits and that destroys itself when it ends. Only task
// groups and the runtime's main task start one: everything else is awaited or spawned in a group.
// Its body catches what its task throws: an exception has nowhere to go from here.

#include <coroutine>
#include <exception>

#include "runtime/task.hpp"

namespace corelane::runtime::detail {

struct RootCoroutine {
  struct promise_type : InFramePool {
    RootCoroutine get_return_object() const noexcept { return {}; }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() const noexcept { std::terminate(); }
  };
};

// Awaits a task in a scope of its own.
template <class T>
class AwaitInScope {
 public:
  AwaitInScope(Task<T>& task, CancelScope& scope) noexcept : task_(task), scope_(scope) {}
  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> parent) noexcept {
    return !task_.start(&scope_, parent);
  }
  T await_resume() { return task_.take(); }

 private:
  Task<T>& task_;
  CancelScope& scope_;
};

// The task of a root, and its awaiter once it has been started and is not done: one object in the
// root's frame, made in place. There are as many of these frames as tasks.
class StartedTask {
 public:
  template <class Make>
  explicit StartedTask(Make make) : task_(make()) {}
  // True if it has finished already: then it is not awaited.
  bool start(CancelScope& scope) noexcept { return task_.start(&scope, {}); }
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> root) noexcept { task_.continue_with(root); }
  void await_resume() const noexcept {}
  void take() { task_.take(); }

 private:
  Task<void> task_;
};

}  // namespace corelane::runtime::detail
