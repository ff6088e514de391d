#pragma once
// Deadlines of tasks, and clean-up that a cancel does not reach.
//
//   Result<T> r = co_await with_timeout(2 * kSecond, first());        // ends with its scope, too
//   co_await shield(std::chrono::seconds(1), say_goodbye(stream));    // not with its scope
//
// Both pass a cancel down to the task and wait until it has ended: nothing outlives the co_await.
// The time counts from the co_await, on the ring's clock.

#include <coroutine>
#include <cstdint>
#include <functional>
#include <optional>
#include <type_traits>
#include <utility>

#include "runtime/await.hpp"
#include "runtime/awaitable.hpp"
#include "runtime/cancel.hpp"
#include "runtime/core.hpp"
#include "runtime/duration.hpp"
#include "runtime/exception.hpp"
#include "runtime/result.hpp"
#include "runtime/task.hpp"
#include "runtime/timer_heap.hpp"

namespace corelane::runtime {

namespace detail {

template <class T>
struct TimeoutResult {
  using Type = Result<T>;
};
template <class T>
struct TimeoutResult<Result<T>> {
  using Type = Result<T>;
};
template <class T>
struct TimeoutResult<T&> {
  using Type = Result<std::reference_wrapper<T>>;
};

// How a task ended that has a deadline.
enum class Ended : std::uint8_t {
  in_time,
  timed_out,  // its deadline passed before
  cancelled,  // its scope was cancelled before
};

// Starts a task in a scope of its own, which a timer cancels, and waits for its end. The value
// stays in the task. No allocation.
template <class T>
class WithDeadline {
 public:
  // `outer`: the scope that cancels the task too; none for a shield.
  enum class Outer : bool { inherited, none };

  WithDeadline(Task<T>& task, Duration duration, Outer outer) noexcept
      : task_(task), duration_(duration), outer_(outer), timer_(*this) {}

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> parent) {
    CancelScope* const scope = scope_of(parent);
    if (outer_ == Outer::inherited && scope != nullptr) {
      scope_.emplace(scope, scope->name(), ScopeKind::part);
    } else {
      // What a shield keeps is a task to itself in lists.
      scope_.emplace(&Core::current().task_roots(),
                     scope != nullptr ? scope->name() : "with_timeout", ScopeKind::task);
    }
    // Before the task works: that is part of its time.
    const Nanoseconds deadline = after(Core::current().ring().now(), duration_.nanoseconds());
    if (task_.start(&*scope_, parent)) return false;
    if (deadline != kNever) Core::current().timers().add(timer_, deadline);
    return true;
  }
  Ended await_resume() noexcept {
    Core::current().timers().cancel(timer_);
    Ended ended = Ended::in_time;
    if (timed_out_) {
      ended = Ended::timed_out;
    } else if (scope_->cancelled()) {
      ended = Ended::cancelled;
    }
    scope_.reset();
    return ended;
  }

 private:
  struct OwnTimer : Timer {
    explicit OwnTimer(WithDeadline& wait) noexcept : Timer(&fire_timer), owner(wait) {}
    static void fire_timer(Timer& timer) noexcept { static_cast<OwnTimer&>(timer).owner.pass(); }
    WithDeadline& owner;
  };
  void pass() noexcept {
    timed_out_ = !scope_->cancelled();
    scope_->cancel();
  }

  Task<T>& task_;
  Duration duration_;
  Outer outer_;
  bool timed_out_ = false;
  OwnTimer timer_;
  std::optional<CancelScope> scope_;
};

template <class T>
Task<typename TimeoutResult<T>::Type> end_by(Duration duration, Task<T> task,
                                             typename WithDeadline<T>::Outer outer) {
  using Outcome = typename TimeoutResult<T>::Type;
  WithDeadline<T> deadline(task, duration, outer);
  const Ended ended = co_await deadline;
  const bool late = ended != Ended::in_time;
  const ErrorCode reason = ended == Ended::timed_out ? ErrorCode::timed_out : ErrorCode::cancelled;
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

}  // namespace detail

// The task's value; `timed_out` if `duration` passed first (the task was cancelled and has ended
// all the same), `cancelled` if the scope was cancelled first. A task of Result<T> that succeeded
// although it was late keeps its value; any other value is dropped then. What the task throws is
// thrown, but for Cancelled, which is the error.
template <class T>
[[nodiscard]] Task<typename detail::TimeoutResult<T>::Type> with_timeout(Duration duration,
                                                                         Task<T> task) {
  return detail::end_by<T>(duration, std::move(task), detail::WithDeadline<T>::Outer::inherited);
}
// The same for what is awaited like a task but is none: submit_to, sleep_for.
template <Awaitable A>
  requires(!detail::IsTask<A>::value)
[[nodiscard]] auto with_timeout(Duration duration, A awaitable) {
  return with_timeout(duration, detail::as_task(std::move(awaitable)));
}

// Runs a task that a cancel of the scope does not reach, for clean-up that takes some waits: it is
// cancelled when `at_most` has passed and not before. Result: as with_timeout.
template <class T>
[[nodiscard]] Task<typename detail::TimeoutResult<T>::Type> shield(Duration at_most, Task<T> task) {
  return detail::end_by<T>(at_most, std::move(task), detail::WithDeadline<T>::Outer::none);
}
template <Awaitable A>
  requires(!detail::IsTask<A>::value)
[[nodiscard]] auto shield(Duration at_most, A awaitable) {
  return shield(at_most, detail::as_task(std::move(awaitable)));
}

}  // namespace corelane::runtime
