// runtime::blocking in a simulation: a function is called as an event of the world, after the time
// that an operation takes, and as many are under way at once as there would be threads.

#include <deque>
#include <memory>

#include "runtime/blocking.hpp"
#include "runtime/post.hpp"
#include "runtime/sim/kernel.hpp"
#include "runtime/sim/world.hpp"

namespace corelane::runtime {
namespace {

class SimulatedBlocking final : public BlockingPool {
 public:
  explicit SimulatedBlocking(Runtime& runtime)
      : BlockingPool(runtime.options()), runtime_(runtime) {}

  void run(BlockingJob& job) noexcept override {
    jobs_.push_back(&job);
    begin();
  }

 private:
  void begin() noexcept {
    while (!jobs_.empty() && running_ < runtime_.options().blocking_threads) {
      BlockingJob* const job = jobs_.front();
      jobs_.pop_front();
      ++running_;
      sim::World::current()->kernel().call_later([this, job, alive = std::weak_ptr(alive_)] {
        if (alive.expired()) return;  // the runtime has ended
        detail::set_runtime_of_thread(&runtime_);
        job->work();
        detail::set_runtime_of_thread(nullptr);
        --running_;
        begin();
      });
    }
  }

  Runtime& runtime_;
  std::deque<BlockingJob*> jobs_;
  std::uint32_t running_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace

std::unique_ptr<BlockingPool> make_blocking_pool(Runtime& runtime) {
  return std::make_unique<SimulatedBlocking>(runtime);
}

}  // namespace corelane::runtime
