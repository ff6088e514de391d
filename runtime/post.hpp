#pragma once
// Handing work to a core from anywhere. post(core, function) runs a function on a core, in a turn
// of its own: from a core, from a thread of the runtime's that is none (a handler of
// runtime/foreign.hpp, a function of blocking), or, with the Runtime named, from any thread.
//
//   std::thread watcher([&runtime, core] {
//     while (wait_for_change()) post(runtime, core, [] { reload(); });
//   });
//
// Nobody waits for it: the function must own what it uses, and what it throws is counted and logged
// (runtime/exception.hpp). Functions that one thread posts to one core run in order.

#include <type_traits>
#include <utility>

#include "runtime/assert.hpp"
#include "runtime/core.hpp"
#include "runtime/exception.hpp"
#include "runtime/inbox.hpp"
#include "runtime/runtime.hpp"

namespace corelane::runtime {

// Functions that wait in one core's inbox, from all threads together. That many of them take 1 ms
// or more to run.
inline constexpr std::uint32_t kPostedMax = 65'536;

namespace detail {

// The runtime whose thread this is: a core's, or that of a thread of its own. Null: neither.
Runtime* runtime_of_thread() noexcept;
void set_runtime_of_thread(Runtime* runtime) noexcept;

template <class Function>
class PostedFunction final : public Posted {
 public:
  explicit PostedFunction(Function function) : function_(std::move(function)) {}
  void run() noexcept override {
    try {
      function_();
    } catch (...) {
      report_escaped("post");
    }
    delete this;
  }
  void drop() noexcept override { delete this; }

 private:
  Function function_;
};

}  // namespace detail

// False, and the function is destroyed without being called: kPostedMax wait already, or the core
// has ended. Before run() starts the cores it is kept for them. Any thread; takes no lock.
template <class Function>
bool post(Runtime& runtime, CoreId core, Function function) {
  static_assert(std::is_void_v<std::invoke_result_t<Function&>>,
                "nobody would await a task: spawn it in a group of the core");
  RT_ASSERT(core < runtime.cores());
  Inbox& inbox = runtime.inbox(core);
  if (inbox.waiting() >= kPostedMax) return false;
  Posted* const posted = new detail::PostedFunction<Function>(std::move(function));
  if (inbox.push(*posted)) return true;
  posted->drop();
  return false;
}
template <class Function>
bool post(CoreId core, Function function) {
  Runtime* const runtime = detail::runtime_of_thread();
  RT_ASSERT(runtime != nullptr);
  return post(*runtime, core, std::move(function));
}

}  // namespace corelane::runtime
