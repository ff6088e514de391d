// TimerHeap and CoarseTimer: adding, moving, cancelling and expiring among many others.

#include <memory>
#include <vector>

#include "perf/micro/workload.hpp"
#include "runtime/coarse_timer.hpp"
#include "runtime/random.hpp"
#include "runtime/timer_heap.hpp"
#include "runtime/types.hpp"

namespace corelane::perf {
namespace {

using runtime::kSecond;
using runtime::Nanoseconds;

std::vector<Nanoseconds> delays(std::size_t count) {
  runtime::Random random(kSeed);
  std::vector<Nanoseconds> result(count);
  for (Nanoseconds& delay : result) delay = random.between(1, 60 * kSecond);
  return result;
}

// `timers` sleepers are queued; an operation is what one of them does.
class Heap : public Workload {
 public:
  explicit Heap(std::size_t timers) : delays_(delays(4096)) {
    for (std::size_t i = 0; i < timers; ++i) {
      sleepers_.push_back(std::make_unique<Sleeper>(*this));
      heap_.add(*sleepers_.back(), delay());
    }
  }
  ~Heap() override {
    for (const auto& sleeper : sleepers_) heap_.cancel(*sleeper);
  }

 protected:
  // Sleeps again when it has fired.
  struct Sleeper : runtime::Timer {
    explicit Sleeper(Heap& heap) noexcept
        : Timer([](runtime::Timer& timer) noexcept {
            Heap& self = static_cast<Sleeper&>(timer).owner;
            self.heap_.add(timer, self.delay());
          }),
          owner(heap) {}
    Heap& owner;
  };
  Nanoseconds delay() { return now_ + delays_[next_++ % delays_.size()]; }

  runtime::TimerHeap heap_;
  std::vector<std::unique_ptr<Sleeper>> sleepers_;
  std::vector<Nanoseconds> delays_;
  std::size_t next_ = 0;
  Nanoseconds now_ = 0;
};

// A deadline that is set and then not needed: an operation that ends in time.
class HeapAddCancel final : public Heap {
 public:
  using Heap::Heap;
  std::uint64_t run(std::uint64_t operations) override {
    runtime::Timer timer([](runtime::Timer&) noexcept {});
    std::uint64_t sum = 0;
    for (std::uint64_t i = 0; i < operations; ++i) {
      heap_.add(timer, delay());
      sum += heap_.cancel(timer) ? 1u : 0u;
    }
    return sum;
  }
};

// The first of all fires and is queued again.
class HeapFireAdd final : public Heap {
 public:
  using Heap::Heap;
  std::uint64_t run(std::uint64_t operations) override {
    std::uint64_t fired = 0;
    for (std::uint64_t i = 0; i < operations; ++i) {
      now_ = heap_.next_deadline();
      fired += heap_.fire_due(now_, 1);
    }
    return fired;
  }
};

struct Connections {
  std::vector<runtime::CoarseLink>* links;
  runtime::CoarseLink& operator()(std::uint32_t slot) const noexcept { return (*links)[slot]; }
};

class Wheel : public Workload {
 public:
  explicit Wheel(std::uint32_t objects)
      : links_(objects), delays_(delays(4096)), wheel_({}, 0, Connections{&links_}) {
    for (std::uint32_t slot = 0; slot < objects; ++slot) wheel_.add(slot, delay());
  }
  ~Wheel() override {
    for (std::uint32_t slot = 0; slot < links_.size(); ++slot) wheel_.cancel(slot);
  }

 protected:
  Nanoseconds delay() { return now_ + delays_[next_++ % delays_.size()]; }

  std::vector<runtime::CoarseLink> links_;
  std::vector<Nanoseconds> delays_;
  runtime::CoarseTimer<Connections> wheel_;
  std::size_t next_ = 0;
  Nanoseconds now_ = 0;
};

// Something came on a connection: its idle deadline moves.
class WheelReschedule final : public Wheel {
 public:
  using Wheel::Wheel;
  std::uint64_t run(std::uint64_t operations) override {
    const auto objects = static_cast<std::uint32_t>(links_.size());
    std::uint64_t sum = 0;
    for (std::uint64_t i = 0; i < operations; ++i) {
      const std::uint32_t slot = at_;
      at_ = at_ + 1 == objects ? 0 : at_ + 1;
      wheel_.reschedule(slot, delay());
      sum += links_[slot].due_tick;
    }
    return sum;
  }

 private:
  std::uint32_t at_ = 0;
};

// Deadlines expire and are set again, tick by tick; an operation is one expired deadline.
class WheelExpire final : public Wheel {
 public:
  using Wheel::Wheel;
  std::uint64_t run(std::uint64_t operations) override {
    std::uint64_t fired = 0;
    std::uint64_t sum = 0;
    while (fired < operations) {
      now_ = wheel_.next_due();
      wheel_.advance(now_, operations - fired, [&](std::uint32_t slot) {
        ++fired;
        sum += slot;
        wheel_.add(slot, delay());
      });
    }
    return sum;
  }
};

}  // namespace

void add_timer_cases(Cases& cases) {
  for (const std::size_t timers : {100u, 100'000u}) {
    const std::string parameter = "/timers:" + std::to_string(timers);
    cases.add<HeapAddCancel>({.name = "timer_heap/add_cancel" + parameter}, timers);
    cases.add<HeapFireAdd>({.name = "timer_heap/fire_add" + parameter}, timers);
  }
  for (const std::uint32_t objects : {100u, 100'000u}) {
    const std::string parameter = "/objects:" + std::to_string(objects);
    cases.add<WheelReschedule>({.name = "coarse_timer/reschedule" + parameter}, objects);
    cases.add<WheelExpire>({.name = "coarse_timer/expire" + parameter}, objects);
  }
}

}  // namespace corelane::perf
