// The production pool of runtime::blocking: threads that wait for jobs. Calls that block take
// microseconds at the least, so a mutex for each is no cost; and a core that finds it taken waits
// only as long as another puts a pointer into the queue.

#include <pthread.h>
#include <signal.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "runtime/blocking.hpp"
#include "runtime/log.hpp"
#include "runtime/post.hpp"

namespace corelane::runtime {
namespace {

class BlockingThreads final : public BlockingPool {
 public:
  explicit BlockingThreads(Runtime& runtime) : BlockingPool(runtime.options()), runtime_(runtime) {}
  ~BlockingThreads() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      // The errands of those that nobody has begun are destroyed by their cores.
      jobs_.clear();
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  void run(BlockingJob& job) noexcept override {
    {
      const std::lock_guard lock(mutex_);
      jobs_.push_back(&job);
      if (jobs_.size() > idle_ && threads_.size() < runtime_.options().blocking_threads)
        add_thread();
    }
    changed_.notify_one();
  }

 private:
  // With every signal blocked: they are for the cores and their signalfd.
  void add_thread() noexcept {
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
      threads_.emplace_back([this] { serve(); });
      pthread_setname_np(threads_.back().native_handle(), "blocking");
    } catch (const std::system_error& error) {
      // The next call tries again; with none at all nothing would ever run.
      if (threads_.empty()) fail_without_threads(error);
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  [[noreturn]] static void fail_without_threads(const std::system_error& error) noexcept {
    log(LogLevel::error, error.what());
    assertion_failed("no thread for blocking calls: see ulimit -u", __FILE__, __LINE__);
  }

  void serve() noexcept {
    detail::set_runtime_of_thread(&runtime_);
    std::unique_lock lock(mutex_);
    for (;;) {
      ++idle_;
      changed_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
      --idle_;
      if (stopping_) return;
      BlockingJob* const job = jobs_.front();
      jobs_.pop_front();
      lock.unlock();
      job->work();
      lock.lock();
    }
  }

  Runtime& runtime_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<BlockingJob*> jobs_;
  std::vector<std::thread> threads_;
  std::size_t idle_ = 0;
  bool stopping_ = false;
};

}  // namespace

std::unique_ptr<BlockingPool> make_blocking_pool(Runtime& runtime) {
  return std::make_unique<BlockingThreads>(runtime);
}

}  // namespace corelane::runtime
