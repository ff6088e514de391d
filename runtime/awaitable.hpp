#pragma once
// What can be awaited, and its result: for functions that take tasks and other awaitables alike
// (when_all, with_timeout). A task of void contributes std::monostate to a list of results.

#include <concepts>
#include <coroutine>
#include <type_traits>
#include <utility>
#include <variant>

#include "runtime/result.hpp"
#include "runtime/task.hpp"

namespace corelane::runtime {

namespace detail {

template <class T>
using NonVoid = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

template <class T>
struct IsTask : std::false_type {
  using Value = T;
};
template <class T>
struct IsTask<Task<T>> : std::true_type {
  using Value = T;
};

template <class T>
struct IsResult : std::false_type {
  using Value = T;
};
template <class T, class E>
struct IsResult<Result<T, E>> : std::true_type {
  using Value = T;
};

template <class A>
concept Awaiter = requires(A& awaiter) {
  { awaiter.await_ready() } -> std::convertible_to<bool>;
  awaiter.await_resume();
};

template <class A>
decltype(auto) awaiter_of(A&& awaitable) {
  if constexpr (requires { std::forward<A>(awaitable).operator co_await(); }) {
    return std::forward<A>(awaitable).operator co_await();
  } else {
    return std::forward<A>(awaitable);
  }
}

}  // namespace detail

// An rvalue of A can be awaited: a task, or what has the three functions of an awaiter, itself or
// by its operator co_await.
template <class A>
concept Awaitable = detail::Awaiter<A> || requires(A&& awaitable) {
  { std::forward<A>(awaitable).operator co_await() } -> detail::Awaiter;
};

// What `co_await` of an rvalue of A gives.
template <Awaitable A>
using AwaitResult = decltype(detail::awaiter_of(std::declval<A>()).await_resume());

namespace detail {

template <class T>
NonVoid<T> take_value(Task<T>& task) {
  if constexpr (std::is_void_v<T>) {
    task.take();
    return {};
  } else {
    return task.take();
  }
}

// The body threw, or returned a Result that holds an error. After the task's end.
template <class T>
bool has_failed(const Task<T>& task) noexcept {
  if constexpr (IsResult<T>::value) {
    const T* const value = task.value_if();
    return value == nullptr || !value->has_value();
  } else {
    return task.threw();
  }
}

template <class A>
Task<AwaitResult<A>> await_it(A awaitable) {
  if constexpr (std::is_void_v<AwaitResult<A>>) {
    co_await std::move(awaitable);
  } else {
    co_return co_await std::move(awaitable);
  }
}

// A task that ends with what `awaitable` gives: itself, if it is one.
template <class T>
Task<T> as_task(Task<T>&& task) noexcept {
  return std::move(task);
}
template <class A>
  requires(Awaitable<std::remove_cvref_t<A>> && !IsTask<std::remove_cvref_t<A>>::value)
Task<AwaitResult<std::remove_cvref_t<A>>> as_task(A&& awaitable) {
  using Own = std::remove_cvref_t<A>;
  static_assert(std::is_constructible_v<Own, A&&>,
                "this cannot be moved: await it in a task of its own");
  return await_it<Own>(std::forward<A>(awaitable));
}

template <class A>
using AsTask = decltype(as_task(std::declval<A>()));

}  // namespace detail

}  // namespace corelane::runtime
