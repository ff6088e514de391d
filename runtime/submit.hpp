#pragma once
// Crossing over: submit_to and call_on run a function on another core and await its result.
//
//   int n = co_await submit_to(3, [] { return table().size(); });  // a plain function
//   co_await submit_to(3, [id] { return close_session(id); });     // one that returns a Task<T>
//   Result<int> m = co_await with_timeout(kSecond, submit_to(3, [] { return count(); }));
//
// An exception of the function is thrown by the co_await.
//
// submit_to can be given up: in a scope that is cancelled (with_timeout, a group that ends) the
// wait ends at once, however long the other core takes: with ErrorCode::cancelled if the value is a
// Result<T>, else by throwing Cancelled. The request is not undone: a plain function runs all the
// same, and a task that runs on the other core is cancelled like any other, by a message. A late
// answer is dropped. So the function must own what it uses, by value: it may run, and is destroyed
// (on the core that sent it), after the frame that awaited it is gone. Its result crosses to this
// core in either case. In a scope that is cancelled already nothing is sent.
//
// call_on cannot be given up: it waits for the answer also in a cancelled scope, so its function
// may refer to locals of the caller, and nothing is allocated for it. For starting, stopping, and
// work that must not be left half done.

#include <coroutine>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

#include "runtime/cancel.hpp"
#include "runtime/core.hpp"
#include "runtime/errand.hpp"
#include "runtime/frame_pool.hpp"
#include "runtime/root.hpp"
#include "runtime/task.hpp"
#include "runtime/types.hpp"

namespace corelane::runtime {

namespace detail {

// Awaits a task in a scope of its own; its value goes into an outcome.
template <class Value>
class AwaitOutcome {
 public:
  AwaitOutcome(Task<Value>& task, CancelScope& scope, Outcome<Value>& into) noexcept
      : task_(task), scope_(scope), into_(into) {}
  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> parent) noexcept {
    return !task_.start(&scope_, parent);
  }
  void await_resume() { into_.take_from(task_); }

 private:
  Task<Value>& task_;
  CancelScope& scope_;
  Outcome<Value>& into_;
};

// Listens for no cancel: it is linked for lists of tasks.
template <class Function>
class CallOn final : private Cancellable {
  using Returned = std::invoke_result_t<Function&>;
  using Value = typename IsTask<Returned>::Value;

 public:
  CallOn(CoreId core, Function function) : core_(core), function_(std::move(function)) {}

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> handle) noexcept {
    handle_ = handle;
    begin_.set(Core::current().now());
    CancelScope* scope = scope_of(handle);
    if (scope != nullptr) {
      name_ = scope->name();
      scope->watch(*this);
    }
    Core::current().lanes().send(core_, Request{this});
  }
  Value await_resume() { return outcome_.take(); }

 private:
  struct Request {
    CallOn* call;
    void deliver(CoreId from) const { call->run(from); }
  };
  struct Reply {
    CallOn* call;
    void deliver(CoreId) const {
      call->unlink();
      Core::current().schedule(call->handle_, call->name_);
    }
  };

  void on_cancel() noexcept override {}
  bool outlasts_cancel() const noexcept override { return true; }
  bool describe_wait(Nanoseconds now, TaskWait& wait) const noexcept override {
    wait.kind = WaitKind::core;
    wait.core = core_;
    wait.waited = begin_.waited(now);
    return true;
  }

  void run(CoreId home) {
    if constexpr (IsTask<Returned>::value) {
      run_task(*this, home);
    } else {
      outcome_.run(function_);
      reply(home);
    }
  }
  static RootCoroutine run_task(CallOn& self, CoreId home) {
    {
      CancelScope scope(&Core::current().task_roots(), self.name_, ScopeKind::task);
      try {
        auto task = self.function_();
        co_await AwaitOutcome<Value>(task, scope, self.outcome_);
      } catch (...) {
        self.outcome_.set_exception();
      }
    }
    self.reply(home);
  }
  void reply(CoreId home) { Core::current().lanes().send(home, Reply{this}); }

  CoreId core_;
  WaitBegin begin_;
  Function function_;
  const char* name_ = "call_on";
  std::coroutine_handle<> handle_;
  Outcome<Value> outcome_;
};

// A function on its way to another core and back. Only messages point to it: the request and its
// reply, and a request to cancel, which also comes back. When all messages are back it is destroyed
// on this core, by the waiter if there is one.
template <class Function>
class Submission final : public Errand {
 public:
  using Returned = std::invoke_result_t<Function&>;
  using Value = typename IsTask<Returned>::Value;

  static void* operator new(std::size_t bytes) {
    static_assert(alignof(Submission) <= 16, "as a coroutine's frame");
    return allocate_frame(bytes);
  }
  static void operator delete(void* block, std::size_t bytes) noexcept {
    deallocate_frame(block, bytes);
  }

  explicit Submission(Function&& function) : function_(std::move(function)) {}

  void send(CoreId core, ErrandWaiter& waiter, const char* name) noexcept {
    core_ = core;
    waiter_ = &waiter;
    name_ = name;
    Core::current().send_away(*this);
    Core::current().lanes().send(core, Request{this});
  }
  void give_up() noexcept {
    waiter_ = nullptr;
    if constexpr (IsTask<Returned>::value) {
      ++under_way_;
      Core::current().lanes().send(core_, Cancel{this});
    }
  }
  Value take() { return outcome_.take(); }
  void destroy() noexcept override { delete this; }

 private:
  struct Request {
    Submission* submission;
    void deliver(CoreId from) const { submission->run(from); }
  };
  struct Reply {
    Submission* submission;
    void deliver(CoreId) const { submission->came_back(); }
  };
  struct Cancel {
    Submission* submission;
    void deliver(CoreId from) const {
      if (submission->scope_ != nullptr) submission->scope_->cancel();
      Core::current().lanes().send(from, Reply{submission});
    }
  };

  // --- On the other core
  void run(CoreId home) {
    if constexpr (IsTask<Returned>::value) {
      run_task(*this, home);
    } else {
      outcome_.run(function_);
      Core::current().lanes().send(home, Reply{this});
    }
  }
  static RootCoroutine run_task(Submission& self, CoreId home) {
    {
      CancelScope scope(&Core::current().begin_for_other(), self.name_, ScopeKind::task);
      self.scope_ = &scope;
      try {
        auto task = self.function_();
        co_await AwaitOutcome<Value>(task, scope, self.outcome_);
      } catch (...) {
        self.outcome_.set_exception();
      }
      self.scope_ = nullptr;
    }
    Core::current().end_for_other();
    Core::current().lanes().send(home, Reply{&self});
  }

  // --- At home
  void came_back() noexcept {
    if (--under_way_ != 0) return;
    Core::current().is_back(*this);
    if (waiter_ == nullptr) {
      delete this;
    } else {
      waiter_->came_back();
    }
  }

  Function function_;
  Outcome<Value> outcome_;
  ErrandWaiter* waiter_ = nullptr;  // null: it was given up
  const char* name_ = nullptr;
  CancelScope* scope_ = nullptr;  // the other core's, while its task runs
  CoreId core_ = kNoCore;
  std::uint16_t under_way_ = 1;  // messages
};

}  // namespace detail

// What submit_to returns: to be awaited, or passed to with_timeout.
template <class Function>
class [[nodiscard]] SubmitTo {
  using Submission = detail::Submission<Function>;

 public:
  using Value = typename Submission::Value;

  SubmitTo(CoreId core, Function function) : core_(core), function_(std::move(function)) {}

  class Awaiter final : private detail::ErrandWaiter {
   public:
    explicit Awaiter(SubmitTo& submit) noexcept : submit_(submit) {}
    bool await_ready() const noexcept { return false; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> handle) {
      // Allocated before this wait is registered in the scope: the allocation may throw.
      auto submission = std::make_unique<Submission>(std::move(submit_.function_));
      if (!begin(handle)) return false;
      submission_ = submission.release();
      submission_->send(submit_.core_, *this, name());
      return true;
    }
    Value await_resume() {
      if (submission_ == nullptr) return detail::given_up<Value>();
      const std::unique_ptr<Submission> back(submission_);
      return back->take();
    }

   private:
    void on_cancel() noexcept override {
      submission_->give_up();
      submission_ = nullptr;
      end();
    }
    bool describe_wait(Nanoseconds now, TaskWait& wait) const noexcept override {
      wait.kind = WaitKind::core;
      wait.core = submit_.core_;
      wait.waited = waited(now);
      return true;
    }
    SubmitTo& submit_;
    Submission* submission_ = nullptr;
  };
  Awaiter operator co_await() && noexcept { return Awaiter{*this}; }

 private:
  CoreId core_;
  Function function_;
};

// Also for the own core: the function runs in the next turn.
template <class Function>
[[nodiscard]] auto submit_to(CoreId core, Function function) {
  return SubmitTo<Function>(core, std::move(function));
}
template <class Function>
[[nodiscard]] auto call_on(CoreId core, Function function) {
  return detail::CallOn<Function>(core, std::move(function));
}

}  // namespace corelane::runtime
