#pragma once
// The awaiters at the bottom: one ring operation, a sleep, a turn of the loop. Each is cancelled
// with the scope of the coroutine that awaits it, and ends by its own completion even then.

#include <coroutine>
#include <utility>

#include "runtime/cancel.hpp"
#include "runtime/core.hpp"
#include "runtime/duration.hpp"
#include "runtime/result.hpp"
#include "runtime/task.hpp"
#include "runtime/timer_heap.hpp"

namespace corelane::runtime {

// A completion's result as bytes, or the error it stands for.
inline Result<std::uint32_t> result_of(std::int32_t result) noexcept {
  if (result >= 0) return static_cast<std::uint32_t>(result);
  if (result == -ECANCELED) return fail(ErrorCode::cancelled);
  return Unexpected{Error::from_errno(-result)};
}

// Awaits one operation: prepare(ring, token) puts it on the submission queue. Memory that the
// operation points to must outlive the co_await; the awaiter itself, with everything in `prepare`,
// stays in the frame until the completion. Result: as io_uring's res, see result_of().
template <class Prepare>
class OperationAwaiter final : private Operations::Waiter, private Cancellable {
 public:
  explicit OperationAwaiter(Prepare prepare) noexcept : prepare_(std::move(prepare)) {}
  // `what` is a literal: lists of tasks show both (runtime/task_list.hpp).
  OperationAwaiter(const char* what, Descriptor descriptor, Prepare prepare) noexcept
      : prepare_(std::move(prepare)), what_(what), descriptor_(descriptor) {}

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
    CancelScope* scope = scope_of(handle);
    if (scope != nullptr && scope->cancelled()) return false;
    name_ = scope != nullptr ? scope->name() : "operation";
    handle_ = handle;
    Core& core = Core::current();
    begin_.set(core.now());
    token_ = core.operations().acquire(*this);
    prepare_(core.ring(), token_);
    if (scope != nullptr) scope->add(*this);
    return true;
  }
  Result<std::uint32_t> await_resume() const noexcept { return result_of(result_); }

 private:
  void complete(const Completion& completion) noexcept override {
    unlink();
    result_ = completion.result;
    Core::current().schedule(handle_, name_);
  }
  void on_cancel() noexcept override { Core::current().ring().cancel(token_); }
  bool outlasts_cancel() const noexcept override { return true; }
  bool describe_wait(Nanoseconds now, TaskWait& wait) const noexcept override {
    wait.kind = WaitKind::operation;
    wait.what = what_;
    wait.descriptor = descriptor_;
    wait.waited = begin_.waited(now);
    return true;
  }

  Prepare prepare_;
  std::coroutine_handle<> handle_;
  const char* name_ = "";
  const char* what_ = "operation";
  Descriptor descriptor_;
  Token token_;
  std::int32_t result_ = -ECANCELED;
  WaitBegin begin_;
};

// Suspends until `deadline` on Core::now(). False if it was cancelled before. It is its own timer:
// what sleeps in great numbers is small.
class SleepUntil final : private Cancellable, private Timer {
 public:
  explicit SleepUntil(Nanoseconds deadline) noexcept : Timer(&fire_timer) {
    deadline_ns = deadline;
  }

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
    CancelScope* scope = scope_of(handle);
    if (scope != nullptr && scope->cancelled()) return false;
    name_ = scope != nullptr ? scope->name() : "sleep";
    handle_ = handle;
    Core& core = Core::current();
    begin_.set(core.now());
    core.timers().add(*this, deadline_ns);
    if (scope != nullptr) scope->add(*this);
    return true;
  }
  bool await_resume() const noexcept { return elapsed_; }

 private:
  static void fire_timer(Timer& timer) noexcept { static_cast<SleepUntil&>(timer).wake(true); }
  void wake(bool elapsed) noexcept {
    unlink();
    elapsed_ = elapsed;
    Core::current().schedule(handle_, name_);
  }
  void on_cancel() noexcept override {
    Core::current().timers().cancel(*this);
    wake(false);
  }
  bool describe_wait(Nanoseconds now, TaskWait& wait) const noexcept override {
    wait.kind = WaitKind::timer;
    wait.at = deadline_ns;
    wait.waited = begin_.waited(now);
    return true;
  }

  std::coroutine_handle<> handle_;
  const char* name_ = "";
  bool elapsed_ = false;
  WaitBegin begin_;
};

inline AwaiterFrom<SleepUntil, Nanoseconds> sleep_until(Nanoseconds deadline) noexcept {
  return AwaiterFrom<SleepUntil, Nanoseconds>(deadline);
}

// A sleep that begins when it is awaited. Its time counts from there, on the ring's clock, however
// much work this turn has done before. (Reading the clock takes 20 ns.)
class [[nodiscard]] Sleep {
 public:
  explicit Sleep(Duration duration) noexcept : duration_(duration) {}
  SleepUntil operator co_await() const noexcept {
    return SleepUntil{after(Core::current().ring().now(), duration_.nanoseconds())};
  }

 private:
  Duration duration_;
};

// True when `duration` has passed, false if it was cancelled before.
inline Sleep sleep_for(Duration duration) noexcept {
  return Sleep{duration};
}

// Goes to the end of the ready queue: lets everything else run first. For long computations.
class Yield {
 public:
  Yield() noexcept {}
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> handle) const noexcept {
    CancelScope* scope = scope_of(handle);
    Core::current().schedule(handle, scope != nullptr ? scope->name() : "yield");
  }
  void await_resume() const noexcept {}
};

}  // namespace corelane::runtime
