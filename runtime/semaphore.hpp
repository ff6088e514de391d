#pragma once
// Semaphore: at most `permits` at once, among coroutines of one core, first come first served (a
// large request is not overtaken by small ones).

#include "runtime/result.hpp"
#include "runtime/wait_queue.hpp"

namespace corelane::runtime {

class Semaphore {
 public:
  explicit Semaphore(std::size_t permits) noexcept : available_(permits) {}

  // Suspends until `amount` permits are there. Error: cancelled.
  Task<Result<void>> acquire(std::size_t amount = 1) {
    if (waiting_.empty() && available_ >= amount) {
      available_ -= amount;
      co_return Result<void>{};
    }
    WaitQueue::Waiter waiter{waiting_, WaitQueue::OnCancel::wake, nullptr, amount};
    const WaitQueue::Outcome outcome = co_await waiter;
    if (outcome == WaitQueue::Outcome::granted) co_return Result<void>{};
    // Requests behind a large one that gave up may go on now.
    release(0);
    co_return fail(ErrorCode::cancelled);
  }
  bool try_acquire(std::size_t amount = 1) noexcept {
    if (!waiting_.empty() || available_ < amount) return false;
    available_ -= amount;
    return true;
  }
  void release(std::size_t amount = 1) noexcept {
    available_ += amount;
    while (!waiting_.empty() && waiting_.front().amount <= available_) {
      available_ -= waiting_.front().amount;
      waiting_.wake_front(WaitQueue::Outcome::granted);
    }
  }
  std::size_t available() const noexcept { return available_; }

 private:
  std::size_t available_;
  WaitQueue waiting_;
};

}  // namespace corelane::runtime
