#pragma once
// Something on every core: on_every_core runs a function there, Sharded<T> is one T on each.
//
//   Sharded<Table> tables;
//   co_await tables.start(64);   // a Table(64) on every core
//   tables.local().insert(key);  // on any core: its own
//   co_await tables.stop();

#include <cstddef>
#include <exception>
#include <memory>
#include <utility>
#include <vector>

#include "runtime/assert.hpp"
#include "runtime/cache_line.hpp"
#include "runtime/core.hpp"
#include "runtime/submit.hpp"
#include "runtime/task.hpp"
#include "runtime/types.hpp"

namespace corelane::runtime {

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
  // Without stop() before, on an error's way out for example, this core's instance is destroyed at
  // once and the others in the background, each on its core: a T may then use nothing that dies
  // with this object's frame. Only from the main task's core is it certain to run before the cores
  // end. Outside of a core all are destroyed right here: the cores have ended.
  ~Sharded() {
    Core* const here = Core::current_or_null();
    for (std::size_t i = 0; i < instances_.size(); ++i) {
      const auto core = static_cast<CoreId>(i);
      T* const left = instances_[i].value.release();
      if (left == nullptr) continue;
      if (here == nullptr || core == here->id()) {
        delete left;
      } else {
        here->lanes().send(core, Destroy{left});
      }
    }
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
  struct Destroy {
    T* instance;
    void deliver(CoreId) const { delete instance; }
  };
  std::vector<Instance> instances_;
};

}  // namespace corelane::runtime
