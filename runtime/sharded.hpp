#pragma once
// Crossing over: submit_to and call_on run a function on another core and await its result;
// Sharded<T> is one T on every core.
//
//   int n = co_await submit_to(3, [] { return table().size(); });        // a plain function
//   co_await submit_to(3, [id] { return close_session(id); });           // one that returns
//                                                                        // Task<T>
//   Result<int> m = co_await with_timeout(kSecond, submit_to(3, [] { return count(); }));
//
// What the function throws is thrown here.
//
// submit_to can be given up: in a scope that is cancelled (with_timeout, a group that ends) the
// wait ends at once, however long the other core takes: with ErrorCode::cancelled if the value is a
// Result<T>, else by throwing Cancelled. What was asked for is not undone: a plain function runs
// all the same, and a task that runs over there is cancelled like any other, by a message. Its late
// answer reaches nobody. So the function must own what it uses, by value: it may run, and is
// destroyed (on the core that sent it), after the frame that awaited it is gone. What it returns
// crosses to this core in either case. In a scope that is cancelled already nothing is sent.
//
// call_on cannot be given up: it waits for the answer whatever is cancelled, so its function may
// refer to locals of the caller, and nothing is allocated for it. For starting, stopping, and what
// must not be left half done.

#include <coroutine>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "runtime/assert.hpp"
#include "runtime/combine.hpp"
#include "runtime/core.hpp"
#include "runtime/exception.hpp"
#include "runtime/frame_pool.hpp"
#include "runtime/root.hpp"
#include "runtime/task.hpp"

namespace corelane::runtime {

namespace detail {

template <class T>
struct IsTask : std::false_type {
  using Value = T;
};
template <class T>
struct IsTask<Task<T>> : std::true_type {
  using Value = T;
};

// What a function that ran elsewhere has come to.
template <class Value>
class Outcome {
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

template <class Function>
class CallOn {
  using Returned = std::invoke_result_t<Function&>;
  using Value = typename IsTask<Returned>::Value;

 public:
  CallOn(CoreId core, Function function) : core_(core), function_(std::move(function)) {}

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> handle) noexcept {
    handle_ = handle;
    const CancelScope* scope = scope_of(handle);
    if (scope != nullptr) name_ = scope->name();
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
    void deliver(CoreId) const { Core::current().schedule(call->handle_, call->name_); }
  };

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
      CancelScope scope(nullptr, self.name_);
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
  Function function_;
  const char* name_ = "call_on";
  std::coroutine_handle<> handle_;
  Outcome<Value> outcome_;
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
    return true;
  }
  void end() noexcept { Core::current().schedule(handle_, name_); }
  const char* name() const noexcept { return name_; }

 private:
  std::coroutine_handle<> handle_;
  const char* name_ = "submit_to";
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

// A function on its way to another core and back. Its messages are the only ones who point to it:
// the request goes there, the reply comes back, and a request to cancel goes there and comes back,
// too. When all are back it is destroyed, here, by the waiter if there is one.
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

  Submission(Function&& function, ErrandWaiter& waiter, const char* name)
      : function_(std::move(function)), waiter_(&waiter), name_(name) {}

  void send(CoreId core) noexcept {
    core_ = core;
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
      CancelScope scope(&Core::current().begin_for_other(), self.name_);
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
  ErrandWaiter* waiter_;  // null: it was given up
  const char* name_;
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
      if (!begin(handle)) return false;
      submission_ = new Submission(std::move(submit_.function_), *this, name());
      submission_->send(submit_.core_);
      return true;
    }
    Value await_resume() {
      if (submission_ == nullptr) return detail::given_up<Value>();
      const std::unique_ptr<Submission, Destroy> back(submission_);
      return back->take();
    }

   private:
    struct Destroy {
      void operator()(Submission* submission) const noexcept { submission->destroy(); }
    };
    void on_cancel() noexcept override {
      submission_->give_up();
      submission_ = nullptr;
      end();
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

// Runs function() on every core, one after the other, and waits for all, by call_on. `function` is
// copied.
template <class Function>
Task<void> on_every_core(Function function) {
  const CoreId cores = Core::current().cores();
  for (CoreId core = 0; core < cores; ++core) co_await call_on(core, function);
}

// One T a core, made and destroyed on its core. The Sharded itself lives where it was made, usually
// in the main task, and outlives all use; local() may be called on any core after start().
template <class T>
class Sharded {
 public:
  Sharded() = default;
  ~Sharded() {
    for (const auto& instance : instances_) RT_ASSERT(instance.value == nullptr);
  }
  Sharded(const Sharded&) = delete;
  Sharded& operator=(const Sharded&) = delete;

  // Makes a T(arguments...) on every core, core 0 first. Arguments are copied for each. If a
  // constructor throws, those made before are destroyed, and it is thrown here.
  template <class... Arguments>
  Task<void> start(Arguments... arguments) {
    instances_.resize(Core::current().cores());
    std::exception_ptr failure;
    try {
      co_await on_every_core([this, arguments...] {
        instances_[Core::current().id()].value = std::make_unique<T>(arguments...);
      });
    } catch (...) {
      failure = std::current_exception();
    }
    if (failure) {
      co_await stop();
      std::rethrow_exception(failure);
    }
  }
  // The same, but returns what() of the exception; empty if there was none.
  template <class... Arguments>
  Task<std::string> try_start(Arguments... arguments) {
    std::string problem;
    try {
      co_await start(std::move(arguments)...);
    } catch (const std::exception& error) {
      problem = error.what();
    }
    co_return problem;
  }
  // Destroys all, the last core's first. Whatever a T has running must have ended before.
  Task<void> stop() {
    for (std::size_t core = instances_.size(); core-- > 0;) {
      co_await call_on(static_cast<CoreId>(core),
                       [this] { instances_[Core::current().id()].value.reset(); });
    }
  }

  T& local() noexcept {
    RT_DEBUG_ASSERT(instances_[Core::current().id()].value != nullptr);
    return *instances_[Core::current().id()].value;
  }
  T& operator*() noexcept { return local(); }
  T* operator->() noexcept { return &local(); }

 private:
  struct alignas(kCacheLine) Instance {
    std::unique_ptr<T> value;
  };
  std::vector<Instance> instances_;
};

}  // namespace corelane::runtime
