#pragma once
// What a task can ask about itself: whether it is asked to stop, and to be told when it is.
//
//   // Between two steps of work:
//   const bool is_over = co_await this_task::cancelled();
//   if (is_over) co_return;
//   // While on_stop lives:
//   const auto on_stop = co_await this_task::on_cancel([&] { parser.give_up(); });
//   // For work that is cancelled with this task and goes on after this wait:
//   start(library, co_await this_task::scope());
//
// None of these suspends. They are for tasks that run in a scope, which all tasks of a Runtime do:
// the main task, spawned tasks, functions of submit_to and call_on, and what those await.

#include <coroutine>
#include <utility>

#include "runtime/assert.hpp"
#include "runtime/cancel.hpp"
#include "runtime/task.hpp"

namespace corelane::runtime {

// Calls a function once when a scope is cancelled, while it lives: at once if the scope is
// cancelled already. The function runs on the scope's core, in the code that cancels: it is short,
// and throws nothing. It is moved out before it is called, so it may destroy the registration.
template <class Function>
class [[nodiscard]] OnCancel final : private Cancellable {
 public:
  OnCancel(CancelScope& scope, Function function) : function_(std::move(function)) {
    if (scope.cancelled()) {
      function_();
    } else {
      scope.add(*this);
    }
  }
  ~OnCancel() { unlink(); }

 private:
  void on_cancel() noexcept override {
    Function function = std::move(function_);
    function();
  }

  Function function_;
};

namespace detail {

// A coroutine that may be resumed in another scope each time (runtime/generator.hpp).
template <class Promise>
inline constexpr bool kHasScopePerStep = requires { Promise::kHasScopePerStep; };

// Ready in all but name: the scope is known only where a coroutine would suspend.
class AwaitScope {
 public:
  AwaitScope() noexcept {}
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
    scope_ = scope_of(handle);
    return false;
  }

  CancelScope& scope() const noexcept {
    RT_ASSERT(scope_ != nullptr);
    return *scope_;
  }
  CancelScope* scope_or_null() const noexcept { return scope_; }

 private:
  CancelScope* scope_ = nullptr;
};
// For uses that keep the scope.
class KeepScope : public AwaitScope {
 public:
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
    static_assert(!kHasScopePerStep<Promise>,
                  "a generator has another scope in each next(): await this in a task");
    return AwaitScope::await_suspend(handle);
  }
};

class ScopeAwaiter final : public KeepScope {
 public:
  ScopeAwaiter() noexcept {}  // so that it is no aggregate: g++ 12
  CancelScope& await_resume() const noexcept { return scope(); }
};
class CancelledAwaiter final : public AwaitScope {
 public:
  CancelledAwaiter() noexcept {}
  bool await_resume() const noexcept { return scope().cancelled(); }
};
class NameAwaiter final : public AwaitScope {
 public:
  NameAwaiter() noexcept {}
  const char* await_resume() const noexcept { return scope().name(); }
};
template <class Function>
class OnCancelAwaiter final : public KeepScope {
 public:
  explicit OnCancelAwaiter(Function function) : function_(std::move(function)) {}
  OnCancel<Function> await_resume() { return OnCancel<Function>(scope(), std::move(function_)); }

 private:
  Function function_;
};

}  // namespace detail

namespace this_task {

// The scope that the task runs in: it lives until the task has ended.
[[nodiscard]] inline detail::ScopeAwaiter scope() noexcept {
  return {};
}
// The task is asked to stop: its next wait ends at once.
[[nodiscard]] inline detail::CancelledAwaiter cancelled() noexcept {
  return {};
}
// A literal: what the task was spawned as.
[[nodiscard]] inline detail::NameAwaiter name() noexcept {
  return {};
}
// A registration, an OnCancel. `function` owns nothing (g++ 12), or is named and moved in.
template <class Function>
[[nodiscard]] detail::OnCancelAwaiter<Function> on_cancel(Function function) {
  return detail::OnCancelAwaiter<Function>(std::move(function));
}

}  // namespace this_task

}  // namespace corelane::runtime
