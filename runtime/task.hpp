#pragma once
// Task<T>: a lazy coroutine. It starts when it is awaited, is immovable, and is awaited in the
// expression that makes it, so references to the caller's locals are safe in it. Its frame comes
// from the core's free lists (runtime/frame_pool.hpp). A Task that was started must have finished
// before it is destroyed.
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
// The cancel scope is inherited from the awaiting coroutine: see runtime/cancel.hpp. Exceptions do
// not cross a coroutine: one that escapes aborts the process with its text.

#include <coroutine>
#include <cstddef>
#include <new>
#include <utility>

#include "runtime/assert.hpp"
#include "runtime/cancel.hpp"
#include "runtime/frame_pool.hpp"

namespace corelane::runtime {

[[noreturn, gnu::cold]] void abort_on_exception() noexcept;

// What every coroutine of ours has: who continues after it, and the scope it runs in.
struct PromiseBase {
  std::coroutine_handle<> continuation{};
  CancelScope* scope = nullptr;

  static void* operator new(std::size_t bytes) { return allocate_frame(bytes); }
  static void operator delete(void* frame, std::size_t bytes) noexcept {
    deallocate_frame(frame, bytes);
  }

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
  void unhandled_exception() const noexcept { abort_on_exception(); }
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

namespace detail {

template <class T>
struct TaskPromise : PromiseBase {
  union {
    T value;
  };
  bool has_value = false;

  TaskPromise() noexcept {}
  ~TaskPromise() {
    if (has_value) value.~T();
  }
  Task<T> get_return_object() noexcept;
  template <class U>
  void return_value(U&& result) noexcept {
    ::new (static_cast<void*>(&value)) T(std::forward<U>(result));
    has_value = true;
  }
  T take() noexcept {
    RT_ASSERT(has_value);
    return std::move(value);
  }
};

template <>
struct TaskPromise<void> : PromiseBase {
  Task<void> get_return_object() noexcept;
  void return_void() const noexcept {}
  void take() const noexcept {}
};

}  // namespace detail

template <class T>
class [[nodiscard]] Task {
 public:
  using promise_type = detail::TaskPromise<T>;
  using value_type = T;
  using Handle = std::coroutine_handle<promise_type>;

  explicit Task(Handle handle) noexcept : handle_(handle) {}
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;
  ~Task() {
    RT_ASSERT(!started_ || handle_.done());
    handle_.destroy();
  }

  class Awaiter {
   public:
    explicit Awaiter(Task& task) noexcept : task_(task) {}
    bool await_ready() const noexcept { return false; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> parent) noexcept {
      return !task_.start(scope_of(parent), parent);
    }
    T await_resume() noexcept { return task_.handle_.promise().take(); }

   private:
    Task& task_;
  };
  Awaiter operator co_await() && noexcept { return Awaiter{*this}; }

  // For what builds on tasks (when_all, groups): starts it in `scope`; `continuation` is resumed
  // when it finishes later. Returns true if it has finished already, and then resumes nobody.
  bool start(CancelScope* scope, std::coroutine_handle<> continuation) noexcept {
    RT_ASSERT(!started_);
    started_ = true;
    handle_.promise().scope = scope;
    handle_.resume();
    if (handle_.done()) return true;
    handle_.promise().continuation = continuation;
    return false;
  }
  T take() noexcept { return handle_.promise().take(); }

 private:
  Handle handle_;
  bool started_ = false;
};

namespace detail {

template <class T>
Task<T> TaskPromise<T>::get_return_object() noexcept {
  return Task<T>{std::coroutine_handle<TaskPromise>::from_promise(*this)};
}
inline Task<void> TaskPromise<void>::get_return_object() noexcept {
  return Task<void>{std::coroutine_handle<TaskPromise>::from_promise(*this)};
}

}  // namespace detail

}  // namespace corelane::runtime
