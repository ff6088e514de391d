// Channels across cores: the instructions of a value, with both ends on one core, and the time of a
// value between two cores that both run (nobody sleeps, so nobody is woken).

#include <sched.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "perf/micro/null_ring.hpp"
#include "perf/micro/two_cpus.hpp"
#include "perf/micro/workload.hpp"
#include "runtime/await.hpp"
#include "runtime/core_channel.hpp"
#include "runtime/cpu.hpp"
#include "runtime/runtime.hpp"
#include "runtime/runtime_driver.hpp"
#include "runtime/task.hpp"
#include "runtime/task_group.hpp"

namespace corelane::perf {
namespace {

using runtime::Core;
using runtime::CoreChannel;
using runtime::CoreId;
using runtime::CoreSender;
using runtime::Task;

constexpr std::size_t kSlots = 1024;

// Cores whose turns the benchmark runs; their rings do nothing.
class Cores {
 public:
  explicit Cores(CoreId count) : runtime_(options(count)) {}
  Core& make(CoreId core) {
    runtime::RuntimeDriver::make_core(runtime_, core, *runtime::Ring::create(core, {}));
    return runtime_.core(core);
  }
  void destroy(CoreId core) { runtime::RuntimeDriver::destroy_core(runtime_, core); }

 private:
  static runtime::RuntimeOptions options(CoreId count) {
    runtime::RuntimeOptions options;
    options.cores = count;
    options.seed = kSeed;
    options.stall_threshold = 0;
    options.lane_poll = 0;
    return options;
  }
  runtime::Runtime runtime_;
};

// Sends as many values as it is told to, with co_await; ends when it is told to send none.
Task<void> send_all(CoreSender<std::uint64_t>* to, std::atomic<std::uint64_t>* wanted) {
  for (;;) {
    // Acquire and release: a number that was taken is reset before the next one.
    const std::uint64_t count = wanted->exchange(0, std::memory_order_acq_rel);
    for (std::uint64_t number = 1; number <= count; ++number) {
      if (!co_await to->send(number)) co_return;
    }
    if (count == 0) co_await runtime::Yield();
    if (to->closed()) co_return;
  }
}

// Adds up what it receives, one by one or in batches.
struct Received {
  std::uint64_t count = 0;
  std::uint64_t sum = 0;
};
Task<void> receive_all(CoreChannel<std::uint64_t>* channel, std::size_t batch, Received* received) {
  std::vector<std::uint64_t> values;
  values.reserve(batch);
  for (;;) {
    if (batch == 1) {
      const auto value = co_await channel->receive();
      if (!value) co_return;
      ++received->count;
      received->sum += *value;
    } else {
      values.clear();
      const auto count = co_await channel->receive_batch(values, batch);
      if (!count) co_return;
      received->count += *count;
      for (const std::uint64_t value : values) received->sum += value;
    }
  }
}

// Both ends on one core: an operation is one value.
class OnOneCore final : public Workload {
 public:
  explicit OnOneCore(std::size_t batch) {
    group_.spawn("send", send_all, &sender_, &wanted_);
    group_.spawn("receive", receive_all, &channel_, batch, &received_);
  }
  ~OnOneCore() override {
    channel_.close();
    while (group_.running() != 0) core_.turn();
  }
  std::uint64_t run(std::uint64_t operations) override {
    const Received before = received_;
    wanted_.store(operations, std::memory_order_relaxed);  // Read on this thread.
    while (received_.count - before.count < operations) core_.turn();
    return received_.sum - before.sum;
  }

 private:
  Cores cores_{1};
  Core& core_{cores_.make(0)};
  Core::Scope scope_{core_};
  CoreChannel<std::uint64_t> channel_{kSlots};
  CoreSender<std::uint64_t> sender_{channel_.sender(0)};
  std::atomic<std::uint64_t> wanted_{0};
  Received received_;
  runtime::TaskGroup group_{"channel"};
};

// From core 1, on a thread of its own, to core 0: an operation is one value.
class BetweenTwoCores final : public Workload {
 public:
  explicit BetweenTwoCores(std::size_t batch) {
    group_.spawn("receive", receive_all, &channel_, batch, &received_);
  }
  ~BetweenTwoCores() override {
    channel_.close();
    while (group_.running() != 0 || !stopped_.load(std::memory_order_acquire)) turn(core_);
    second_.join();
  }
  std::uint64_t run(std::uint64_t operations) override {
    const Received before = received_;
    wanted_.store(operations, std::memory_order_release);  // Pairs with the exchange in send_all().
    while (received_.count - before.count < operations) turn(core_);
    return received_.sum - before.sum;
  }

 private:
  // Gives the CPU away where there is only one.
  void turn(Core& core) const {
    core.turn();
    if (cpus_.shared()) sched_yield();
    runtime::relax_cpu();
  }
  void run_second() {
    pin_to(cpus_.second());
    {
      Core& core = cores_.make(1);
      const Core::Scope scope(core);
      runtime::TaskGroup group("channel");
      group.spawn("send", send_all, &sender_, &wanted_);
      while (group.running() != 0) turn(core);
    }
    cores_.destroy(1);
    stopped_.store(true, std::memory_order_release);  // Pairs with the acquire in the destructor.
  }

  TwoCpus cpus_;
  Cores cores_{2};
  Core& core_{cores_.make(0)};
  Core::Scope scope_{core_};
  CoreChannel<std::uint64_t> channel_{kSlots};
  CoreSender<std::uint64_t> sender_{channel_.sender(1)};
  Received received_;
  runtime::TaskGroup group_{"channel"};
  alignas(runtime::kCacheLine) std::atomic<std::uint64_t> wanted_{0};
  std::atomic<bool> stopped_{false};
  // tidy: allow banned_call: a core of the runtime would sleep, which is not what is measured
  std::thread second_{[this] { run_second(); }};
};

}  // namespace

void add_core_channel_cases(Cases& cases) {
  for (const std::size_t batch : {std::size_t{1}, std::size_t{256}}) {
    const std::string parameter = "/batch:" + std::to_string(batch);
    cases.add<OnOneCore>({.name = "core_channel/one_core" + parameter, .counted = 6400}, batch);
    cases.add<BetweenTwoCores>({.name = "core_channel/two_cores" + parameter, .counted = 0}, batch);
  }
}

}  // namespace corelane::perf
