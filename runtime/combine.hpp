#pragma once
// Several tasks at once, in the frame of the coroutine that awaits them (nothing outlives it):
//
//   auto [a, b] = co_await when_all(first(), submit_to(3, count));  // all, whatever they come to
//   auto both = co_await try_all(first(), second());                // or the first failure
//   auto any = co_await when_any(first(), sleep_for(kSecond));      // the losers are cancelled
//   std::vector<int> ns = co_await when_all(std::move(tasks));      // a std::vector<Task<int>>
//
// Each takes tasks, and whatever else can be awaited, or one std::vector of tasks. All run on the
// awaiting core and in its scope, and all have ended when the co_await ends. A task of void
// contributes std::monostate.
//
// Exceptions: when all have ended, when_all throws the exception of the first task in order that
// threw, when_any that of the task that ended first, try_all that of the task that failed first.
// The exceptions of the other tasks are dropped. A loser of when_any that throws has no value: a
// submit_to that is given up throws Cancelled, for example.

#include <coroutine>
#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "runtime/assert.hpp"
#include "runtime/await.hpp"
#include "runtime/awaitable.hpp"
#include "runtime/cancel.hpp"
#include "runtime/result.hpp"
#include "runtime/root.hpp"
#include "runtime/task.hpp"
#include "runtime/timeout.hpp"

namespace corelane::runtime {

namespace detail {

template <class... Ts, class Function>
void for_each_task(std::tuple<Task<Ts>...>& tasks, Function&& function) {
  std::size_t index = 0;
  std::apply([&](auto&... task) { (function(task, index++), ...); }, tasks);
}
template <class T, class Function>
void for_each_task(std::vector<Task<T>>& tasks, Function&& function) {
  for (std::size_t index = 0; index < tasks.size(); ++index) function(tasks[index], index);
}

template <class... Ts>
std::tuple<NonVoid<Ts>...> take_values(std::tuple<Task<Ts>...>& tasks) {
  return std::apply([](auto&... task) { return std::tuple<NonVoid<Ts>...>{take_value(task)...}; },
                    tasks);
}
template <class T>
std::vector<NonVoid<T>> take_values(std::vector<Task<T>>& tasks) {
  std::vector<NonVoid<T>> values;
  values.reserve(tasks.size());
  for (Task<T>& task : tasks) values.push_back(take_value(task));
  return values;
}

// The values of the tasks that returned, as optionals; the exceptions of the others are dropped.
template <class T>
using Optional = std::optional<std::conditional_t<
    std::is_reference_v<T>, std::reference_wrapper<std::remove_reference_t<T>>, NonVoid<T>>>;
template <class T>
Optional<T> take_if_returned(Task<T>& task) {
  if (const std::exception_ptr dropped = task.take_exception()) [[unlikely]]
    return std::nullopt;
  return Optional<T>{take_value(task)};
}
template <class... Ts>
std::tuple<Optional<Ts>...> take_returned(std::tuple<Task<Ts>...>& tasks) {
  return std::apply(
      [](auto&... task) { return std::tuple<Optional<Ts>...>{take_if_returned(task)...}; }, tasks);
}
template <class T>
std::vector<Optional<T>> take_returned(std::vector<Task<T>>& tasks) {
  std::vector<Optional<T>> values;
  values.reserve(tasks.size());
  for (Task<T>& task : tasks) values.push_back(take_if_returned(task));
  return values;
}

// What a task of a Result gives when it has not failed.
template <class T>
using Succeeded = NonVoid<typename IsResult<T>::Value>;
template <class T>
Succeeded<T> take_success(Task<T>& task) {
  if constexpr (!IsResult<T>::value) {
    return take_value(task);
  } else if constexpr (std::is_void_v<typename IsResult<T>::Value>) {
    task.take().value();
    return {};
  } else {
    return task.take().value();
  }
}
template <class... Ts>
std::tuple<Succeeded<Ts>...> take_successes(std::tuple<Task<Ts>...>& tasks) {
  return std::apply(
      [](auto&... task) { return std::tuple<Succeeded<Ts>...>{take_success(task)...}; }, tasks);
}
template <class T>
std::vector<Succeeded<T>> take_successes(std::vector<Task<T>>& tasks) {
  std::vector<Succeeded<T>> values;
  values.reserve(tasks.size());
  for (Task<T>& task : tasks) values.push_back(take_success(task));
  return values;
}

// Takes the exceptions of all tasks and throws the first one in order, if there is one.
template <class Tasks>
void throw_first(Tasks& tasks) {
  std::exception_ptr thrown;
  for_each_task(tasks, [&](auto& task, std::size_t) {
    if (std::exception_ptr other = task.take_exception()) [[unlikely]] {
      if (!thrown) thrown = std::move(other);
    }
  });
  if (thrown) [[unlikely]]
    std::rethrow_exception(thrown);
}

// If the task with this index threw, takes the exceptions of all tasks and throws its exception.
template <class Tasks>
void throw_of(Tasks& tasks, std::size_t thrower) {
  bool has_thrown = false;
  for_each_task(tasks, [&](auto& task, std::size_t index) {
    if (index == thrower) has_thrown = task.threw();
  });
  if (!has_thrown) return;
  std::exception_ptr thrown;
  for_each_task(tasks, [&](auto& task, std::size_t index) {
    std::exception_ptr other = task.take_exception();
    if (index == thrower) thrown = std::move(other);
  });
  std::rethrow_exception(thrown);
}

// Takes the outcomes of all tasks, of which one has failed: throws its exception, or returns its
// error.
template <class Tasks>
Error drop_all_but_failure(Tasks& tasks, std::size_t failed) {
  std::exception_ptr thrown;
  Error error{};
  for_each_task(tasks, [&](auto& task, std::size_t index) {
    std::exception_ptr other = task.take_exception();
    if (index != failed) return;
    thrown = std::move(other);
    using Value = typename std::remove_reference_t<decltype(task)>::value_type;
    if constexpr (IsResult<Value>::value) {
      static_assert(std::is_same_v<typename Value::error_type, Error>);
      if (!thrown) error = task.value_if()->error();
    }
  });
  if (thrown) std::rethrow_exception(thrown);
  return error;
}

// When the others are cancelled.
enum class JoinMode : std::uint8_t {
  all,        // never
  any,        // when the first has ended
  fail_fast,  // when the first has failed
};

// Counts children down, resumes the parent when the last one has ended, remembers the first that
// decided.
class JoinState {
 public:
  static constexpr std::size_t kNobody = SIZE_MAX;

  explicit JoinState(std::size_t children) noexcept : left_(children) {}
  void decided(std::size_t index, CancelScope* others) noexcept {
    if (winner_ != kNobody) return;
    winner_ = index;
    if (others != nullptr) others->cancel();
  }
  void ended() noexcept {
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

template <JoinMode kMode, class T>
RootCoroutine run_child(Task<T>& task, CancelScope* scope, JoinState& state, std::size_t index) {
  co_await AwaitEnd<T>(task, scope);
  if constexpr (kMode == JoinMode::any) {
    state.decided(index, scope);
  } else if constexpr (kMode == JoinMode::fail_fast) {
    if (has_failed(task)) state.decided(index, scope);
  }
  state.ended();
}

// Runs tasks, a tuple or a vector of them, to their ends. They keep what they came to.
template <JoinMode kMode, class Tasks>
class Joining {
 public:
  Joining(Tasks tasks, std::size_t count) noexcept : tasks_(std::move(tasks)), state_(count) {}
  Joining(Joining&&) noexcept = default;
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> parent) {
    CancelScope* scope = scope_of(parent);
    if constexpr (kMode != JoinMode::all) {
      scope = &scope_.scope.emplace(scope, scope != nullptr ? scope->name() : "when_any",
                                    ScopeKind::part);
    }
    for_each_task(tasks_, [&](auto& task, std::size_t index) {
      run_child<kMode>(task, scope, state_, index);
    });
    return state_.suspend(parent);
  }

 protected:
  ~Joining() = default;
  // The task that decided, once.
  std::size_t finish() noexcept {
    scope_.scope.reset();
    return state_.winner();
  }
  Tasks& tasks() noexcept { return tasks_; }

 private:
  // Empty until it is awaited, so it can be moved until then.
  struct MovableScope {
    MovableScope() = default;
    MovableScope(MovableScope&&) noexcept {}
    std::optional<CancelScope> scope;
  };
  Tasks tasks_;
  JoinState state_;
  MovableScope scope_;
};

template <class Tasks>
class [[nodiscard]] WhenAll final : public Joining<JoinMode::all, Tasks> {
 public:
  using Joining<JoinMode::all, Tasks>::Joining;
  auto await_resume() {
    throw_first(this->tasks());
    return take_values(this->tasks());
  }
};

template <class Tasks>
class [[nodiscard]] TryAll final : public Joining<JoinMode::fail_fast, Tasks> {
 public:
  using Joining<JoinMode::fail_fast, Tasks>::Joining;
  auto await_resume() {
    using Values = decltype(take_successes(this->tasks()));
    const std::size_t failed = this->finish();
    if (failed != JoinState::kNobody) {
      return Result<Values>{Unexpected{drop_all_but_failure(this->tasks(), failed)}};
    }
    return Result<Values>{take_successes(this->tasks())};
  }
};

// All children have ended; `index` names the first that did. Its value is there; another task's is
// empty if the task threw.
template <class Values>
struct AnyOf {
  std::size_t index;
  Values values;  // a tuple, or a vector, of optionals
};

template <class Tasks>
class [[nodiscard]] WhenAny final : public Joining<JoinMode::any, Tasks> {
 public:
  using Joining<JoinMode::any, Tasks>::Joining;
  auto await_resume() {
    const std::size_t winner = this->finish();
    throw_of(this->tasks(), winner);
    using Values = decltype(take_returned(this->tasks()));
    return AnyOf<Values>{winner, take_returned(this->tasks())};
  }
};

template <template <class> class Kind, class... As>
auto join_of(As&&... awaitables) {
  using Tasks = std::tuple<AsTask<As>...>;
  return Kind<Tasks>{Tasks{as_task(std::forward<As>(awaitables))...}, sizeof...(As)};
}
template <template <class> class Kind, class T>
auto join_of_range(std::vector<Task<T>> tasks) {
  const std::size_t count = tasks.size();
  return Kind<std::vector<Task<T>>>{std::move(tasks), count};
}

// No std::vector holds references: such tasks return pointers, or are awaited as a list.
template <class T>
concept KeptInAVector = !std::is_reference_v<T>;

// A named task is moved in.
template <class A>
concept AwaitableAndMoved = Awaitable<A> && !std::is_lvalue_reference_v<A>;

}  // namespace detail

// Runs all to their ends: a tuple of their values. A named task is moved in. Awaited once.
template <detail::AwaitableAndMoved... As>
  requires(sizeof...(As) > 0)
[[nodiscard]] auto when_all(As&&... awaitables) {
  return detail::join_of<detail::WhenAll>(std::forward<As>(awaitables)...);
}
// The same for any number of tasks: a vector of their values, in order.
template <detail::KeptInAVector T>
[[nodiscard]] auto when_all(std::vector<Task<T>> tasks) {
  return detail::join_of_range<detail::WhenAll>(std::move(tasks));
}

// Runs all to their ends, but when one fails, by an exception or by a Result that holds an error,
// cancels the others: a Result of the tuple of their values, where a Result<T> contributes its T,
// or the error of the task that failed first.
template <detail::AwaitableAndMoved... As>
  requires(sizeof...(As) > 0)
[[nodiscard]] auto try_all(As&&... awaitables) {
  return detail::join_of<detail::TryAll>(std::forward<As>(awaitables)...);
}
template <detail::KeptInAVector T>
[[nodiscard]] auto try_all(std::vector<Task<T>> tasks) {
  return detail::join_of_range<detail::TryAll>(std::move(tasks));
}

// Cancels the others when the first has ended, and waits for the ends of all: {index, values}. Each
// value is an optional, empty if a loser threw.
template <detail::AwaitableAndMoved... As>
  requires(sizeof...(As) > 0)
[[nodiscard]] auto when_any(As&&... awaitables) {
  return detail::join_of<detail::WhenAny>(std::forward<As>(awaitables)...);
}
// At least one task.
template <class T>
[[nodiscard]] auto when_any(std::vector<Task<T>> tasks) {
  RT_ASSERT(!tasks.empty());
  return detail::join_of_range<detail::WhenAny>(std::move(tasks));
}

}  // namespace corelane::runtime
