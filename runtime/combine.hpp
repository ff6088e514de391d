#pragma once
// Several tasks at once, in the frame of the coroutine that awaits them (nothing outlives it):
//
//   auto [a, b] = co_await when_all(first(), second());
//   auto any = co_await when_any(first(), second());   // the losers are cancelled, all have ended
//   Result<T> r = co_await with_timeout(2 * kSecond, first());
//
// All run on the awaiting core and in its scope. A task of void contributes std::monostate.
//
// Exceptions: when all have ended, when_all throws that of the first task in order that threw;
// when_any that of the task that ended first, or else, for there is no value of it, that of the
// first in order. Those of the others are dropped.

#include <coroutine>
#include <cstdint>
#include <exception>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

#include "runtime/await.hpp"
#include "runtime/cancel.hpp"
#include "runtime/exception.hpp"
#include "runtime/result.hpp"
#include "runtime/root.hpp"
#include "runtime/task.hpp"

namespace corelane::runtime {

namespace detail {

template <class T>
using NonVoid = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

template <class T>
NonVoid<T> take_value(Task<T>& task) {
  if constexpr (std::is_void_v<T>) {
    task.take();
    return {};
  } else {
    return task.take();
  }
}

// Takes the exceptions of all tasks and throws one of them, if there is one: that of the task with
// this index, or else the first.
template <class... Ts>
void throw_one(std::tuple<Task<Ts>&...>& tasks, std::size_t preferred) {
  std::exception_ptr thrown;
  std::size_t index = 0;
  const auto look = [&](auto& task) {
    if (std::exception_ptr other = task.take_exception()) [[unlikely]] {
      if (!thrown || index == preferred) thrown = std::move(other);
    }
    ++index;
  };
  std::apply([&](auto&... task) { (look(task), ...); }, tasks);
  if (thrown) [[unlikely]]
    std::rethrow_exception(thrown);
}

// Counts children down, resumes the parent when the last one has ended, remembers the first.
class JoinState {
 public:
  static constexpr std::size_t kNobody = SIZE_MAX;

  explicit JoinState(std::size_t children) noexcept : left_(children) {}
  void ended(std::size_t index, CancelScope* others) noexcept {
    if (winner_ == kNobody) {
      winner_ = index;
      if (others != nullptr) others->cancel();
    }
    // The parent may destroy this object from here on.
    if (--left_ == 0 && parent_) parent_.resume();
  }
  bool suspend(std::coroutine_handle<> parent) noexcept {
    if (left_ == 0) return false;
    parent_ = parent;
    return true;
  }
  std::size_t winner() const noexcept { return winner_; }

 private:
  std::size_t left_;
  std::size_t winner_ = kNobody;
  std::coroutine_handle<> parent_;
};

// Starts a task and waits for its end, leaving its value where it is.
template <class T>
class AwaitEnd {
 public:
  AwaitEnd(Task<T>& task, CancelScope* scope) noexcept : task_(task), scope_(scope) {}
  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> parent) noexcept {
    return !task_.start(scope_, parent);
  }
  void await_resume() const noexcept {}

 private:
  Task<T>& task_;
  CancelScope* scope_;
};

// `others`: cancelled when the first child has ended; may be null.
template <class T>
RootCoroutine run_child(Task<T>& task, CancelScope* scope, JoinState& state, std::size_t index,
                        CancelScope* others) {
  co_await AwaitEnd<T>(task, scope);
  state.ended(index, others);
}

template <class... Ts>
class WhenAll {
 public:
  explicit WhenAll(Task<Ts>&... tasks) noexcept : tasks_(tasks...), state_(sizeof...(Ts)) {}
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> parent) {
    start(scope_of(parent), std::index_sequence_for<Ts...>{});
    return state_.suspend(parent);
  }
  std::tuple<NonVoid<Ts>...> await_resume() {
    throw_one(tasks_, 0);
    return std::apply([](auto&... task) { return std::tuple<NonVoid<Ts>...>{take_value(task)...}; },
                      tasks_);
  }

 private:
  template <std::size_t... Is>
  void start(CancelScope* scope, std::index_sequence<Is...>) {
    (run_child(std::get<Is>(tasks_), scope, state_, Is, nullptr), ...);
  }
  std::tuple<Task<Ts>&...> tasks_;
  JoinState state_;
};

// All children have ended; `index` names the first that did.
template <class... Ts>
struct AnyOf {
  std::size_t index;
  std::tuple<NonVoid<Ts>...> values;
};

// Races tasks: the first that ends has the others cancelled. Results in its index when all have
// ended; what they have come to stays in them.
template <class... Ts>
class Race {
 public:
  explicit Race(Task<Ts>&... tasks) noexcept : tasks_(tasks...), state_(sizeof...(Ts)) {}
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> parent) {
    scope_.emplace(scope_of(parent), "when_any");
    start(std::index_sequence_for<Ts...>{});
    return state_.suspend(parent);
  }
  std::size_t await_resume() noexcept {
    scope_.reset();
    return state_.winner();
  }

 protected:
  std::tuple<Task<Ts>&...> tasks_;

 private:
  template <std::size_t... Is>
  void start(std::index_sequence<Is...>) {
    (run_child(std::get<Is>(tasks_), &*scope_, state_, Is, &*scope_), ...);
  }
  JoinState state_;
  std::optional<CancelScope> scope_;
};

template <class... Ts>
class WhenAny : public Race<Ts...> {
 public:
  using Race<Ts...>::Race;
  AnyOf<Ts...> await_resume() {
    const std::size_t winner = Race<Ts...>::await_resume();
    throw_one(this->tasks_, winner);
    return std::apply(
        [winner](auto&... task) {
          return AnyOf<Ts...>{winner, std::tuple<NonVoid<Ts>...>{take_value(task)...}};
        },
        this->tasks_);
  }
};

inline Task<bool> sleep_task(Nanoseconds duration) {
  co_return co_await sleep_for(duration);
}

template <class T>
struct TimeoutResult {
  using Type = Result<T>;
};
template <class T>
struct TimeoutResult<Result<T>> {
  using Type = Result<T>;
};

}  // namespace detail

// The tasks are temporaries of the same co_await expression, or outlive it.
template <class... Ts>
[[nodiscard]] auto when_all(Task<Ts>&&... tasks) noexcept {
  return detail::WhenAll<Ts...>{tasks...};
}

template <class... Ts>
[[nodiscard]] auto when_any(Task<Ts>&&... tasks) noexcept {
  return detail::WhenAny<Ts...>{tasks...};
}

// The task's value; `timed_out` if `duration` passed first (the task was cancelled and has ended
// all the same). A task of Result<T> that succeeded although it was late keeps its value. What it
// throws is thrown, but for Cancelled, which is the error.
template <class T>
Task<typename detail::TimeoutResult<T>::Type> with_timeout(Nanoseconds duration, Task<T>&& task) {
  using Outcome = typename detail::TimeoutResult<T>::Type;
  auto sleep = detail::sleep_task(duration);
  const bool late = co_await detail::Race<T, bool>(task, sleep) == 1;
  const ErrorCode reason = sleep.take() ? ErrorCode::timed_out : ErrorCode::cancelled;
  try {
    if constexpr (std::is_same_v<Outcome, T>) {
      T value = task.take();
      if (late && !value && value.error().code == ErrorCode::cancelled) co_return fail(reason);
      co_return std::move(value);
    } else if constexpr (std::is_void_v<T>) {
      task.take();
      if (late) co_return fail(reason);
      co_return Outcome{};
    } else {
      Outcome value{task.take()};
      if (late) co_return fail(reason);
      co_return std::move(value);
    }
  } catch (const Cancelled&) {
    co_return fail(reason);
  }
}

namespace detail {

template <class Awaitable>
Task<typename Awaitable::Value> await_it(Awaitable awaitable) {
  co_return co_await std::move(awaitable);
}

}  // namespace detail

// The same for what is awaited like a task but is none: submit_to.
template <class Awaitable>
  requires requires { typename Awaitable::Value; }
Task<typename detail::TimeoutResult<typename Awaitable::Value>::Type> with_timeout(
    Nanoseconds duration, Awaitable awaitable) {
  co_return co_await with_timeout(duration, detail::await_it(std::move(awaitable)));
}

}  // namespace corelane::runtime
