#pragma once
// Semaphore: at most `permits` at once, among coroutines of one core, first come first served (a
// large request is not overtaken by small ones).
//
//   const auto permit = co_await semaphore.acquire_guarded();   // released at the end of the block
//   if (!permit) co_return permit.error();

#include <cstddef>

#include "runtime/guard.hpp"
#include "runtime/owner.hpp"
#include "runtime/result.hpp"
#include "runtime/wait_queue.hpp"

namespace corelane::runtime {

class Semaphore {
 public:
  explicit Semaphore(std::size_t permits) noexcept : available_(permits) {}

  // Suspends until `amount` permits are there. Error: cancelled.
  Task<Result<void>> acquire(std::size_t amount = 1) {
    owner_.check("Semaphore");
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
    owner_.check("Semaphore");
    if (!waiting_.empty() || available_ < amount) return false;
    available_ -= amount;
    return true;
  }
  void release(std::size_t amount = 1) noexcept {
    owner_.check("Semaphore");
    available_ += amount;
    while (!waiting_.empty() && waiting_.front().amount <= available_) {
      available_ -= waiting_.front().amount;
      waiting_.wake_front(WaitQueue::Outcome::granted);
    }
  }
  std::size_t available() const noexcept { return available_; }
  // Coroutines that wait for permits.
  std::size_t waiting() const noexcept { return waiting_.size(); }

  // Permits that are released when it is destroyed, on the semaphore's core, or by its release().
  using Guard = detail::Guard<Semaphore>;
  // Error: cancelled.
  Task<Result<Guard>> acquire_guarded(std::size_t amount = 1) {
    const auto acquired = co_await acquire(amount);
    if (!acquired) co_return acquired.error();
    co_return Guard(*this, amount);
  }

 private:
  friend class detail::Guard<Semaphore>;
  void give_back(std::size_t amount) noexcept { release(amount); }

  OwnerCheck owner_;
  std::size_t available_;
  WaitQueue waiting_{"semaphore"};
};

}  // namespace corelane::runtime
