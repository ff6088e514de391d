#include "runtime/blocking.hpp"

#include <algorithm>

namespace corelane::runtime {

BlockingPool::BlockingPool(const RuntimeOptions& options)
    : share_(std::max(options.blocking_queue_max / options.cores, 1u)) {
  for (CoreId core = 0; core < options.cores; ++core) {
    permits_.push_back(std::make_unique<Semaphore>(share_));
  }
}

std::size_t BlockingPool::calls(CoreId core) const noexcept {
  return share_ - permits_[core]->available();
}

std::size_t BlockingPool::waits(CoreId core) const noexcept {
  return permits_[core]->waiting();
}

BlockingPool::~BlockingPool() = default;

BlockingJob::BlockingJob(Semaphore& permits) noexcept
    : home_(Core::current().runtime().inbox(Core::current().id())), permits_(permits) {}

void BlockingJob::send(detail::ErrandWaiter& waiter) noexcept {
  waiter_ = &waiter;
  Core::current().send_away(*this);
  Core::current().runtime().blocking_pool().run(*this);
}

void BlockingJob::give_up() noexcept {
  waiter_ = nullptr;
  is_abandoned_.store(true, std::memory_order_relaxed);
}

void BlockingJob::work() noexcept {
  if (!is_abandoned_.load(std::memory_order_relaxed)) call();
  home_.push(*this);
}

void BlockingJob::run() noexcept {
  Core::current().is_back(*this);
  permits_.release();
  if (waiter_ == nullptr) {
    destroy();
  } else {
    waiter_->came_back();
  }
}

}  // namespace corelane::runtime
