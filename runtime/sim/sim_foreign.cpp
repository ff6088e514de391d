// The thread of runtime/foreign.hpp in a simulation: an actor whose steps are events of the world.

#include <memory>
#include <utility>

#include "runtime/foreign.hpp"
#include "runtime/post.hpp"
#include "runtime/sim/kernel.hpp"
#include "runtime/sim/world.hpp"

namespace corelane::runtime::detail {
namespace {

class Actor final : public ForeignThread, private ThreadWaker {
 public:
  explicit Actor(ForeignBase& of) noexcept : of_(of) {}

  ThreadWaker& waker() noexcept override { return *this; }
  Result<void> start(const char*) override {
    schedule();
    return {};
  }
  void join() noexcept override {}

 private:
  void wake() noexcept override { schedule(); }

  void schedule() {
    if (scheduled_) return;
    scheduled_ = true;
    sim::World::current()->kernel().call_later([this, alive = std::weak_ptr(alive_)] {
      if (alive.expired()) return;
      scheduled_ = false;
      set_runtime_of_thread(&of_.runtime());
      run();
      set_runtime_of_thread(nullptr);
    });
  }
  void run() {
    if (std::exchange(is_about_to_sleep_, false)) {
      if (!of_.going_to_sleep()) schedule();
      return;
    }
    switch (of_.step()) {
      case ForeignBase::Step::worked:
      case ForeignBase::Step::waits_for_room:
        schedule();
        break;
      case ForeignBase::Step::idle:
        // Cores may have turns between the last look at the lanes and the wake word.
        is_about_to_sleep_ = true;
        schedule();
        break;
      case ForeignBase::Step::ended:
        break;
    }
  }

  ForeignBase& of_;
  bool scheduled_ = false;
  bool is_about_to_sleep_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace

std::unique_ptr<ForeignThread> make_foreign_thread(ForeignBase& of) {
  return std::make_unique<Actor>(of);
}

}  // namespace corelane::runtime::detail
