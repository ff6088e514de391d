#pragma once
// The parts that submit_to and blocking share: a function that runs elsewhere (on another core, on
// a thread of the pool) in a block of its own, an errand (runtime/core.hpp), and a wait for it that
// can be given up. All of it belongs to the core that sent the errand, except the function and its
// outcome while the function runs.

#include <coroutine>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

#include "runtime/awaitable.hpp"
#include "runtime/cancel.hpp"
#include "runtime/core.hpp"
#include "runtime/exception.hpp"
#include "runtime/result.hpp"
#include "runtime/task.hpp"
#include "runtime/timeout.hpp"

namespace corelane::runtime::detail {

// The outcome of a function that ran elsewhere.
template <class Value>
class Outcome {
  static_assert(!std::is_reference_v<Value>,
                "a reference to what another core owns: return a value");

 public:
  // Calls a function that returns no task.
  template <class Function>
  void run(Function& function) noexcept {
    try {
      if constexpr (std::is_void_v<Value>) {
        function();
        value_.emplace();
      } else {
        value_.emplace(function());
      }
    } catch (...) {
      exception_ = std::current_exception();
    }
  }
  void set_exception() noexcept { exception_ = std::current_exception(); }
  void take_from(Task<Value>& task) { value_.emplace(take_value(task)); }
  Value take() {
    if (!value_) [[unlikely]]
      std::rethrow_exception(exception_);
    if constexpr (!std::is_void_v<Value>) return std::move(*value_);
  }

 private:
  std::optional<NonVoid<Value>> value_;
  std::exception_ptr exception_;
};

// A wait for an errand that can be given up.
class ErrandWaiter : protected Cancellable {
 public:
  // The errand is back: it is the waiter's from here on.
  void came_back() noexcept {
    unlink();
    Core::current().schedule(handle_, name_);
  }

 protected:
  ErrandWaiter() = default;
  ~ErrandWaiter() = default;
  // False: the scope is cancelled already.
  template <class Promise>
  bool begin(std::coroutine_handle<Promise> handle) noexcept {
    CancelScope* scope = scope_of(handle);
    if (scope != nullptr) {
      if (scope->cancelled()) return false;
      name_ = scope->name();
      scope->add(*this);
    }
    handle_ = handle;
    begin_.set(Core::current().now());
    return true;
  }
  Nanoseconds waited(Nanoseconds now) const noexcept { return begin_.waited(now); }
  void end() noexcept { Core::current().schedule(handle_, name_); }
  const char* name() const noexcept { return name_; }

 private:
  std::coroutine_handle<> handle_;
  const char* name_ = "submit_to";
  WaitBegin begin_;
};

// The result of a wait that was given up.
template <class Value>
Value given_up() {
  if constexpr (std::is_same_v<typename TimeoutResult<Value>::Type, Value>) {
    return Value{fail(ErrorCode::cancelled)};
  } else {
    throw Cancelled();
  }
}

}  // namespace corelane::runtime::detail
