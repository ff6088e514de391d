#pragma once
// Waiting for an answer that may come late: from another core, from a thread that is no core, from
// a service that answers some turns later.
//
//   const Result<Answer> answer =
//       co_await ask<Answer>([&](ReplyName to) { lanes.send(owner, Ask{.answer_to = to, ...}); });
//   ...
//   give<Answer>(to, Answer{...});  // on core to.core, at most once with effect
//
// The wait can be given up: cancelling the scope of the coroutine that awaits (with_timeout, a
// group that ends) ends it at once with ErrorCode::cancelled. A ReplyName is {core, slot,
// generation}; the answer of a wait that was given up finds the generation gone, and is dropped.
// A cancelled wait does not undo the request.

#include <coroutine>
#include <cstdint>
#include <optional>
#include <utility>

#include "runtime/assert.hpp"
#include "runtime/cancel.hpp"
#include "runtime/core.hpp"
#include "runtime/exception.hpp"
#include "runtime/result.hpp"
#include "runtime/task.hpp"
#include "runtime/types.hpp"

namespace corelane::runtime {

namespace detail {

// One for each type: tells answers of different types apart.
template <class T>
inline constexpr char kReplyType = 0;

template <class T>
struct ReplyWaiter : ReplyWaiterBase {
  ReplyWaiter() noexcept : ReplyWaiterBase{&kReplyType<T>} {}
  virtual void take(T&& answer) noexcept = 0;

 protected:
  ~ReplyWaiter() = default;
};

}  // namespace detail

// `ask(ReplyName)` is called once, when the coroutine suspends; the answer may come before it
// returns. Not called, and the result is `cancelled`, if the scope is cancelled already. If it
// throws, so does the co_await; if it throws after the answer has come, the answer counts, and the
// exception is counted and logged (runtime/exception.hpp).
template <class T, class Ask>
class ReplyAwaiter final : private detail::ReplyWaiter<T>, private Cancellable {
 public:
  explicit ReplyAwaiter(Ask ask) noexcept : ask_(std::move(ask)) {}

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) {
    CancelScope* scope = scope_of(handle);
    if (scope != nullptr && scope->cancelled()) return false;
    handle_ = handle;
    name_ = scope != nullptr ? scope->name() : "reply";
    if (scope != nullptr) scope->add(*this);
    begin_.set(Core::current().now());
    reply_ = Core::current().await_reply(*this);
    try {
      ask_(reply_);
    } catch (...) {
      return was_over_when_it_threw();
    }
    return true;
  }
  Result<T> await_resume() noexcept {
    if (!answer_) return fail(ErrorCode::cancelled);
    return std::move(*answer_);
  }

 private:
  // In a catch block. Rethrows, unless the coroutine is scheduled already: it then cannot get the
  // exception.
  [[gnu::cold, gnu::noinline]] bool was_over_when_it_threw() {
    if (Core::current().take_reply(reply_) == nullptr) {
      detail::report_escaped(name_);
      return true;
    }
    unlink();
    throw;
  }
  void take(T&& answer) noexcept override {
    unlink();
    answer_.emplace(std::move(answer));
    Core::current().schedule(handle_, name_);
  }
  void on_cancel() noexcept override {
    Core::current().forget_reply(reply_);
    Core::current().schedule(handle_, name_);
  }
  bool describe_wait(Nanoseconds now, TaskWait& wait) const noexcept override {
    wait.kind = WaitKind::reply;
    wait.waited = begin_.waited(now);
    return true;
  }

  Ask ask_;
  std::coroutine_handle<> handle_;
  const char* name_ = "";
  ReplyName reply_;
  WaitBegin begin_;
  std::optional<T> answer_;
};

template <class T, class Ask>
[[nodiscard]] ReplyAwaiter<T, Ask> ask(Ask how) noexcept {
  return ReplyAwaiter<T, Ask>{std::move(how)};
}

// Answers. False: the wait was given up, or was answered before. On core `to.core`.
template <class T>
bool give(const ReplyName& to, T answer) noexcept {
  detail::ReplyWaiterBase* waiter = Core::current().take_reply(to);
  if (waiter == nullptr) return false;
  RT_ASSERT(waiter->type == &detail::kReplyType<T>);
  static_cast<detail::ReplyWaiter<T>*>(waiter)->take(std::move(answer));
  return true;
}

}  // namespace corelane::runtime
