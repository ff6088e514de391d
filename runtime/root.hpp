#pragma once
// RootCoroutine: a coroutine that nobody awaits and that destroys itself when it ends. Only task
// groups and the runtime's main task start one: everything else is awaited or spawned in a group.

#include <coroutine>

#include "runtime/task.hpp"

namespace corelane::runtime::detail {

struct RootCoroutine {
  struct promise_type : PromiseBase {
    RootCoroutine get_return_object() const noexcept { return {}; }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
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
  T await_resume() noexcept { return task_.take(); }

 private:
  Task<T>& task_;
  CancelScope& scope_;
};

}  // namespace corelane::runtime::detail
