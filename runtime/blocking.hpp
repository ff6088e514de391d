#pragma once
// Calls that block (a library's, getaddrinfo, a file system without io_uring) on a few threads that
// are no cores:
//
//   auto function = [name] { return look_up(name); };   // owns its string, so it is named: g++ 12
//   const auto addresses = co_await blocking(function);
//   const auto soon = co_await with_timeout(kSecond, blocking(std::move(function)));
//
// The result, or an exception, comes back to the calling core. The wait can be cancelled, like a
// wait in submit_to (runtime/submit.hpp). After a cancel, a started function still runs to its end,
// so it must own the data that it uses; a function that has not started is not run. The return
// value is destroyed on the core.
//
// The first call starts RuntimeOptions::blocking_threads threads. At most blocking_queue_max calls
// of all cores together run or wait for a thread, and each core has its share of them; further
// calls wait on their core, in FIFO order. Functions run outside of any core: no Core::current(),
// no co_await; post() is the only way to a core. Runtime::run waits for functions that still
// run.
//
// In a simulation a function runs in the single thread, after a seeded delay; at most
// blocking_threads functions are under way at once.

#include <atomic>
#include <coroutine>
#include <memory>
#include <type_traits>
#include <utility>

#include "runtime/errand.hpp"
#include "runtime/inbox.hpp"
#include "runtime/result.hpp"
#include "runtime/runtime.hpp"
#include "runtime/semaphore.hpp"
#include "runtime/task.hpp"

namespace corelane::runtime {

// One call: goes from its core to a thread, and comes home through the core's inbox.
class BlockingJob : public detail::Errand, public Posted {
 public:
  // Hands the job to the pool. It holds one of the core's permits and returns it on that core.
  void send(detail::ErrandWaiter& waiter) noexcept;
  // The wait was cancelled: the job destroys itself on its home core.
  void give_up() noexcept;
  // On a thread of the pool: calls the function unless the wait was cancelled; posts the job home.
  void work() noexcept;
  // Posted to the home core. A core that ends destroys its jobs, as it does its errands.
  void run() noexcept final;
  void drop() noexcept final {}

 protected:
  explicit BlockingJob(Semaphore& permits) noexcept;
  virtual void call() noexcept = 0;

 private:
  Inbox& home_;
  Semaphore& permits_;  // of the home core
  detail::ErrandWaiter* waiter_ = nullptr;
  // Stored by the core, read by the thread before it begins; relaxed, for it is only a hint.
  std::atomic<bool> is_abandoned_{false};
};

// Makes the pool of the production runtime, or of the simulation.
std::unique_ptr<BlockingPool> make_blocking_pool(Runtime& runtime);

namespace detail {

template <class Function>
class BlockingCall final : public BlockingJob {
 public:
  using Value = std::invoke_result_t<Function&>;
  static_assert(!IsTask<Value>::value, "a function that blocks returns its result, no task");

  BlockingCall(Function&& function, Semaphore& permits)
      : BlockingJob(permits), function_(std::move(function)) {}
  Value take() { return outcome_.take(); }
  void destroy() noexcept override { delete this; }

 private:
  void call() noexcept override { outcome_.run(function_); }

  Function function_;
  Outcome<Value> outcome_;
};

// Awaits a call that has a permit.
template <class Function>
class AwaitBlocking final : private ErrandWaiter {
 public:
  using Call = BlockingCall<Function>;

  AwaitBlocking(std::unique_ptr<Call>& call, Semaphore& permits) noexcept
      : call_(call), permits_(permits) {}
  bool await_ready() const noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
    if (!begin(handle)) {
      permits_.release();
      call_.reset();
      return false;
    }
    call_->send(*this);
    return true;
  }
  typename Call::Value await_resume() {
    if (call_ == nullptr) return given_up<typename Call::Value>();
    return call_->take();
  }

 private:
  void on_cancel() noexcept override {
    call_.release()->give_up();
    end();
  }
  bool describe_wait(Nanoseconds now, TaskWait& wait) const noexcept override {
    wait.kind = WaitKind::thread;
    wait.waited = waited(now);
    return true;
  }

  std::unique_ptr<Call>& call_;
  Semaphore& permits_;
};

}  // namespace detail

// Cancelled: as submit_to.
template <class Function>
Task<std::invoke_result_t<Function&>> blocking(Function function) {
  Semaphore& permits = Core::current().runtime().blocking_pool().permits(Core::current().id());
  // Allocated before a permit is taken: the allocation may throw, and would then have to give the
  // permit back.
  auto call = std::make_unique<detail::BlockingCall<Function>>(std::move(function), permits);
  const auto permitted = co_await permits.acquire();
  if (!permitted) co_return detail::given_up<std::invoke_result_t<Function&>>();
  co_return co_await detail::AwaitBlocking<Function>(call, permits);
}

}  // namespace corelane::runtime
