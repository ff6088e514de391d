#pragma once
// AsyncGenerator<T>: a coroutine that gives values one after the other, and may wait between them.
//
//   AsyncGenerator<Line> lines_of(File& file) { ... co_yield line; ... }
//
//   auto lines = lines_of(file);
//   for (;;) {
//     std::optional<Line> line = co_await lines.next();   // none: it has ended
//     if (!line) break;
//   }
//
// It is lazy, belongs to one core, and runs only within next(), in the scope of the coroutine that
// awaits it. It may be destroyed before its end between two calls of next(); then it is unwound at
// its co_yield. What its body throws, next() throws. The frame comes from the core's free lists.
//
// Each next() may run the body in another scope, and the scope may be gone at the next one. So
// nothing in the body stays registered over a co_yield: this_task::scope() and on_cancel() do not
// compile there (in a task that the body awaits they do), and no TaskGroup with running tasks is
// open at a co_yield. this_task::cancelled() and name() are those of the current next().
//
// No `co_yield Aggregate{...}` of an owning aggregate: g++ 12 destroys it twice. Name it first.

#include <coroutine>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

#include "runtime/assert.hpp"
#include "runtime/task.hpp"

namespace corelane::runtime {

template <class T>
class [[nodiscard]] AsyncGenerator {
  static_assert(!std::is_reference_v<T>, "values are stored: give a pointer, or a value");

 public:
  struct promise_type : PromiseBase {
    static constexpr bool kHasScopePerStep = true;  // runtime/this_task.hpp
    std::optional<T> current;
    std::exception_ptr thrown;
    bool is_at_rest = true;  // at its beginning, at a co_yield or at its end

    class Yielded {
     public:
      Yielded() noexcept {}
      bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<promise_type> self) const noexcept {
        // The consumer may ask for the next value, or destroy this frame, from here on.
        if (auto consumer = std::exchange(self.promise().continuation, {})) consumer.resume();
      }
      void await_resume() const noexcept {}
    };
    AsyncGenerator get_return_object() noexcept {
      return AsyncGenerator{std::coroutine_handle<promise_type>::from_promise(*this)};
    }
    template <class U>
    Yielded yield_value(U&& value) {
      current.emplace(std::forward<U>(value));
      is_at_rest = true;
      return Yielded();
    }
    void return_void() noexcept { is_at_rest = true; }
    void unhandled_exception() noexcept {
      thrown = std::current_exception();
      is_at_rest = true;
    }
  };
  using Handle = std::coroutine_handle<promise_type>;

  explicit AsyncGenerator(Handle handle) noexcept : handle_(handle) {}
  // Between two calls of next().
  AsyncGenerator(AsyncGenerator&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  AsyncGenerator& operator=(AsyncGenerator&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~AsyncGenerator() {
    if (!handle_) return;
    RT_ASSERT(handle_.promise().is_at_rest);
    handle_.destroy();
  }

  class Next {
   public:
    explicit Next(Handle handle) noexcept : handle_(handle) {}
    bool await_ready() const noexcept { return handle_.done(); }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> consumer) noexcept {
      promise_type& promise = handle_.promise();
      RT_ASSERT(promise.is_at_rest);
      promise.is_at_rest = false;
      promise.scope = scope_of(consumer);
      handle_.resume();
      if (promise.is_at_rest) return false;
      promise.continuation = consumer;
      return true;
    }
    std::optional<T> await_resume() {
      promise_type& promise = handle_.promise();
      if (promise.thrown) [[unlikely]]
        std::rethrow_exception(std::exchange(promise.thrown, nullptr));
      return std::exchange(promise.current, std::nullopt);
    }

   private:
    Handle handle_;
  };
  // Suspends until the generator gives a value, or ends: then it gives none, however often it is
  // asked. One call at a time.
  [[nodiscard]] Next next() noexcept {
    RT_ASSERT(handle_);
    return Next(handle_);
  }

 private:
  Handle handle_;
};

}  // namespace corelane::runtime
