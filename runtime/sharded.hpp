#pragma once
// Crossing over: submit_to runs a function on another core and awaits its result; Sharded<T> is one
// T on every core.
//
//   int n = co_await submit_to(3, [] { return table().size(); });        // a plain function
//   co_await submit_to(3, [id] { return close_session(id); });           // one that returns
//   Task<T>
//
// The request lives in the awaiting frame until the answer is back, so nothing is allocated but
// what the function itself does; captures are read on the other core while this one waits, and are
// destroyed here. A submit is not cancelled: the other core finishes what it was asked to do.

#include <coroutine>
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

template <class Function>
class SubmitTo {
  using Returned = std::invoke_result_t<Function&>;
  using Value = typename IsTask<Returned>::Value;

 public:
  SubmitTo(CoreId core, Function function) : core_(core), function_(std::move(function)) {}

  bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> handle) noexcept {
    handle_ = handle;
    const CancelScope* scope = scope_of(handle);
    if (scope != nullptr) name_ = scope->name();
    Core::current().lanes().send(core_, Request{this});
  }
  Value await_resume() noexcept {
    if constexpr (!std::is_void_v<Value>) return std::move(*value_);
  }

 private:
  struct Request {
    SubmitTo* submit;
    void deliver(CoreId from) const { submit->run(from); }
  };
  struct Reply {
    SubmitTo* submit;
    void deliver(CoreId) const { Core::current().schedule(submit->handle_, submit->name_); }
  };

  void run(CoreId home) {
    if constexpr (IsTask<Returned>::value) {
      run_task(*this, home);
    } else {
      if constexpr (std::is_void_v<Value>) {
        function_();
      } else {
        value_.emplace(function_());
      }
      reply(home);
    }
  }
  static RootCoroutine run_task(SubmitTo& self, CoreId home) {
    {
      CancelScope scope(nullptr, self.name_);
      auto task = self.function_();
      if constexpr (std::is_void_v<Value>) {
        co_await AwaitInScope<Value>(task, scope);
      } else {
        self.value_.emplace(co_await AwaitInScope<Value>(task, scope));
      }
    }
    self.reply(home);
  }
  void reply(CoreId home) { Core::current().lanes().send(home, Reply{this}); }

  CoreId core_;
  Function function_;
  const char* name_ = "submit_to";
  std::coroutine_handle<> handle_;
  std::optional<NonVoid<Value>> value_;
};

}  // namespace detail

// Also for the own core: the function runs in the next turn.
template <class Function>
[[nodiscard]] auto submit_to(CoreId core, Function function) {
  return detail::SubmitTo<Function>(core, std::move(function));
}

// Runs function() on every core, one after the other, and waits for all. `function` is copied.
template <class Function>
Task<void> on_every_core(Function function) {
  const CoreId cores = Core::current().cores();
  for (CoreId core = 0; core < cores; ++core) co_await submit_to(core, function);
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

  // Makes a T(arguments...) on every core, core 0 first. Arguments are copied for each.
  template <class... Arguments>
  Task<void> start(Arguments... arguments) {
    instances_.resize(Core::current().cores());
    co_await on_every_core([this, arguments...] {
      instances_[Core::current().id()].value = std::make_unique<T>(arguments...);
    });
  }
  // The same for parts whose constructor may throw: returns what() of the first that did, after
  // those made before have been destroyed; empty if none did.
  template <class... Arguments>
  Task<std::string> try_start(Arguments... arguments) {
    instances_.resize(Core::current().cores());
    std::string problem;
    co_await on_every_core([this, &problem, arguments...] {
      if (!problem.empty()) return;
      try {
        instances_[Core::current().id()].value = std::make_unique<T>(arguments...);
      } catch (const std::exception& error) {
        problem = error.what();
      }
    });
    if (!problem.empty()) co_await stop();
    co_return problem;
  }
  // Destroys all, the last core's first. Whatever a T has running must have ended before.
  Task<void> stop() {
    for (std::size_t core = instances_.size(); core-- > 0;) {
      co_await submit_to(static_cast<CoreId>(core),
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
