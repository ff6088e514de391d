#pragma once
// Task<T>: a lazy coroutine. It starts when it is awaited, once. Awaited in the expression that
// makes it, it may refer to the caller's locals. It may also be named, stored and collected: then
// it owns its arguments, for what they refer to may be gone by the time it starts.
//
//   const int n = co_await count(table);
//   Task<int> later = count_of(7);                  // not started
//   std::vector<Task<int>> several;                 // for when_all: runtime/combine.hpp
//   several.push_back(std::move(later));
//
// T is void, a value or a reference. The frame comes from the core's free lists
// (runtime/frame_pool.hpp). A Task is moved only before it starts or after its end, and one that
// was started must have finished before it is destroyed.
//
// await_suspend starts the child and returns false if it is done already: symmetric transfer grows
// the stack under sanitizers and at -O0 with g++ 12 (tests/unit/runtime/compiler_canary_test.cpp),
// the speed is the same. A child that finishes later resumes its parent from its final suspend
// point.
//
// No `if`, `while` or `switch` with a co_await in its condition where no block around it has a
// local: name the result first. g++ 12 puts the hidden variable of such a condition ahead of the
// frame's head, and the coroutine never starts; the first suspend point asserts that it did not.
//
// The cancel scope is inherited from the awaiting coroutine: see runtime/cancel.hpp. An exception
// that leaves the coroutine is thrown again in the awaiting one; at a root (a task of a TaskGroup,
// the main task) it is counted and logged, and the process goes on: see runtime/exception.hpp.
// A frame that cannot be allocated ends the process.

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <new>
#include <type_traits>
#include <utility>

#include "runtime/assert.hpp"
#include "runtime/cancel.hpp"
#include "runtime/frame_pool.hpp"

namespace corelane::runtime {

// In a block of the core's free lists: promises with their frames, and other small objects.
struct InFramePool {
  static void* operator new(std::size_t bytes) { return allocate_frame(bytes); }
  static void operator delete(void* frame, std::size_t bytes) noexcept {
    deallocate_frame(frame, bytes);
  }
};

// What a task has: the coroutine that continues after it, and the scope it runs in.
struct PromiseBase : InFramePool {
  std::coroutine_handle<> continuation{};
  CancelScope* scope = nullptr;

  struct Final {
    bool await_ready() const noexcept { return false; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> self) const noexcept {
      // The parent may destroy this frame from here on.
      if (auto parent = self.promise().continuation) parent.resume();
    }
    void await_resume() const noexcept {}
  };
  class Initial {
   public:
    explicit Initial(const PromiseBase& promise) noexcept : promise_(promise) {}
    bool await_ready() const noexcept { return false; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> self) const noexcept {
      RT_DEBUG_ASSERT(&self.promise() == &promise_);
    }
    void await_resume() const noexcept {}

   private:
    const PromiseBase& promise_;
  };
  Initial initial_suspend() const noexcept { return Initial{*this}; }
  Final final_suspend() const noexcept { return {}; }
};

// The scope of the coroutine that awaits, for awaiters: nullptr for a coroutine of another kind.
template <class Promise>
CancelScope* scope_of(std::coroutine_handle<Promise> handle) noexcept {
  if constexpr (requires { handle.promise().scope; }) {
    return handle.promise().scope;
  } else {
    return nullptr;
  }
}

template <class T>
class [[nodiscard]] Task;

// An awaitable that makes its awaiter, an A, when it is awaited: an awaiter lives in lists and does
// not move, but what a function returns may be moved (into with_timeout, for example) until then.
template <class A, class Argument>
class [[nodiscard]] AwaiterFrom {
 public:
  explicit AwaiterFrom(Argument argument) noexcept : argument_(argument) {}
  A operator co_await() const noexcept { return A(argument_); }

 private:
  Argument argument_;
};

namespace detail {

// The outcome of a task. The check for a value, which is needed anyway, also finds an exception, so
// that tasks without exceptions pay nothing.
enum class TaskOutcome : std::uint8_t { none, value, exception };

// Moves the exception out. The code that starts a task takes its outcome, so no destructor of a
// task has to check for an exception.
inline std::exception_ptr move_out(std::exception_ptr& exception) noexcept {
  std::exception_ptr moved = std::move(exception);
  exception.~exception_ptr();  // NOLINT(bugprone-use-after-move): what is left of it
  return moved;
}

template <class T>
struct TaskPromise : PromiseBase {
  union {
    T value;
    std::exception_ptr exception;
  };
  TaskOutcome outcome = TaskOutcome::none;

  TaskPromise() noexcept {}
  ~TaskPromise() {
    if (outcome == TaskOutcome::value) value.~T();
  }
  Task<T> get_return_object() noexcept;
  template <class U>
  void return_value(U&& result) noexcept(std::is_nothrow_constructible_v<T, U&&>) {
    ::new (static_cast<void*>(&value)) T(std::forward<U>(result));
    outcome = TaskOutcome::value;
  }
  void unhandled_exception() noexcept {
    if (outcome == TaskOutcome::value) value.~T();  // a local's destructor threw behind co_return
    ::new (static_cast<void*>(&exception)) std::exception_ptr(std::current_exception());
    outcome = TaskOutcome::exception;
  }
  bool threw() const noexcept { return outcome == TaskOutcome::exception; }
  std::exception_ptr take_exception() noexcept {
    if (!threw()) return nullptr;
    outcome = TaskOutcome::none;
    return move_out(exception);
  }
  T take() {
    if (outcome != TaskOutcome::value) [[unlikely]]
      fail_to_take();
    return std::move(value);
  }

 private:
  [[noreturn, gnu::cold, gnu::noinline]] void fail_to_take() {
    RT_ASSERT(outcome == TaskOutcome::exception);
    std::rethrow_exception(take_exception());
  }
};

// A reference is a pointer in the frame.
template <class T>
struct TaskPromise<T&> : TaskPromise<T*> {
  Task<T&> get_return_object() noexcept;
  void return_value(T& result) noexcept { TaskPromise<T*>::return_value(&result); }
  T& take() { return *TaskPromise<T*>::take(); }
};

// Without a value there is no outcome member, so a mark in the scope pointer means an exception:
// the scope is not used after the body has ended. One compare, and nothing to initialise.
template <>
struct TaskPromise<void> : PromiseBase {
  union {
    std::exception_ptr exception;
  };

  TaskPromise() noexcept {}
  ~TaskPromise() {}
  Task<void> get_return_object() noexcept;
  void return_void() const noexcept {}
  void unhandled_exception() noexcept {
    ::new (static_cast<void*>(&exception)) std::exception_ptr(std::current_exception());
    scope = threw_mark();
  }
  bool threw() const noexcept { return scope == threw_mark(); }
  std::exception_ptr take_exception() noexcept {
    if (!threw()) return nullptr;
    scope = nullptr;
    return move_out(exception);
  }
  void take() {
    if (threw()) [[unlikely]]
      rethrow();
  }

 private:
  [[noreturn, gnu::cold, gnu::noinline]] void rethrow() {
    std::rethrow_exception(take_exception());
  }
  // No scope has this address: scopes are aligned.
  static CancelScope* threw_mark() noexcept {
    return reinterpret_cast<CancelScope*>(std::uintptr_t{1});  // NOLINT(performance-no-int-to-ptr)
  }
};

}  // namespace detail

template <class T>
class [[nodiscard]] Task {
 public:
  using promise_type = detail::TaskPromise<T>;
  using value_type = T;
  using Handle = std::coroutine_handle<promise_type>;

  explicit Task(Handle handle) noexcept : handle_(handle) {}
  Task(Task&& other) noexcept : handle_(other.handle_), state_(other.state_) { other.leave(); }
  Task& operator=(Task&& other) noexcept {
    if (this == &other) return *this;
    this->~Task();
    return *::new (static_cast<void*>(this)) Task(std::move(other));
  }
  ~Task() {
    RT_ASSERT(state_ != State::started || handle_.done());
    handle_.destroy();
  }

  // It has the handle itself, not the task, which the compiler then need not keep in memory.
  class Awaiter {
   public:
    explicit Awaiter(Handle handle) noexcept : handle_(handle) {}
    bool await_ready() const noexcept { return false; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> parent) noexcept {
      return !run(handle_, scope_of(parent), parent);
    }
    T await_resume() { return handle_.promise().take(); }

   private:
    Handle handle_;
  };
  Awaiter operator co_await() && noexcept { return begin(); }
  Awaiter operator co_await() & noexcept { return begin(); }

  // For what builds on tasks (when_all, groups): starts it in `scope`; `continuation` is resumed
  // when it finishes later. Returns true if it has finished already: then it resumes nothing.
  bool start(CancelScope* scope, std::coroutine_handle<> continuation) noexcept {
    begin();
    return run(handle_, scope, continuation);
  }
  // For a caller of start() that learns its continuation later: before anything else can run.
  void continue_with(std::coroutine_handle<> continuation) noexcept {
    handle_.promise().continuation = continuation;
  }
  // The value, or throws what the body threw. Once, after its end.
  T take() { return handle_.promise().take(); }
  bool threw() const noexcept { return handle_.promise().threw(); }
  // The exception of the body; null: none. Either this or take() must be called.
  std::exception_ptr take_exception() noexcept { return handle_.promise().take_exception(); }
  // The value where it is, after the end: null if the body threw.
  std::add_pointer_t<const T> value_if() const noexcept
    requires(std::is_object_v<T>)
  {
    const promise_type& promise = handle_.promise();
    return promise.outcome == detail::TaskOutcome::value ? &promise.value : nullptr;
  }

 private:
  enum class State : std::uint8_t { fresh, started, moved };

  Awaiter begin() noexcept {
    RT_ASSERT(state_ == State::fresh);
    state_ = State::started;
    return Awaiter{handle_};
  }
  static bool run(Handle handle, CancelScope* scope,
                  std::coroutine_handle<> continuation) noexcept {
    handle.promise().scope = scope;
    handle.resume();
    if (handle.done()) return true;
    handle.promise().continuation = continuation;
    return false;
  }
  // The handle of a task that was moved: a coroutine that does nothing when it is destroyed, so
  // that the destructor has nothing to look for.
  static Handle moved_from() noexcept {
    return Handle::from_address(std::noop_coroutine().address());
  }
  void leave() noexcept {
    RT_ASSERT(state_ != State::started || handle_.done());
    handle_ = moved_from();
    state_ = State::moved;
  }

  Handle handle_;
  State state_ = State::fresh;
};

namespace detail {

template <class T>
Task<T> TaskPromise<T>::get_return_object() noexcept {
  return Task<T>{std::coroutine_handle<TaskPromise>::from_promise(*this)};
}
template <class T>
Task<T&> TaskPromise<T&>::get_return_object() noexcept {
  return Task<T&>{std::coroutine_handle<TaskPromise>::from_promise(*this)};
}
inline Task<void> TaskPromise<void>::get_return_object() noexcept {
  return Task<void>{std::coroutine_handle<TaskPromise>::from_promise(*this)};
}

}  // namespace detail

}  // namespace corelane::runtime
