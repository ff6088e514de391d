// Lanes: their instructions, with both ends on one thread, and their time between two threads that
// both run (nobody sleeps, so nobody is woken).

#include <sched.h>

#include <atomic>
#include <memory>
#include <thread>

#include "perf/micro/two_cpus.hpp"
#include "perf/micro/workload.hpp"
#include "runtime/cpu.hpp"
#include "runtime/lanes.hpp"

namespace corelane::perf {
namespace {

using runtime::CoreId;
using runtime::Lanes;

struct Add {
  std::uint64_t* sum;
  std::uint64_t value;
  void deliver(CoreId) const { *sum += value; }
};

struct End {
  explicit End(runtime::LaneMatrix& matrix, CoreId core)
      : ring(*runtime::Ring::create(core, {})), lanes(matrix, core, *ring) {}
  std::unique_ptr<runtime::Ring> ring;
  Lanes lanes;
};

// Sent in batches, each flushed and received before the next; an operation is one message.
class SendReceive final : public Workload {
 public:
  explicit SendReceive(std::uint64_t batch) : batch_(batch) {}
  std::uint64_t run(std::uint64_t operations) override {
    std::uint64_t sum = 0;
    for (std::uint64_t sent = 0; sent < operations;) {
      for (std::uint64_t i = 0; i < batch_; ++i) from_.lanes.send(1, Add{&sum, ++sent});
      from_.lanes.flush();
      to_.lanes.receive();
    }
    return sum;
  }

 private:
  std::uint64_t batch_;
  runtime::LaneMatrix matrix_{2, 1024};
  End from_{matrix_, 0};
  End to_{matrix_, 1};
};

// A core on each of two threads; the second one runs `serve` until it is told to stop.
class TwoCores : public Workload {
 public:
  ~TwoCores() override {
    stop_.store(true, std::memory_order_relaxed);  // Publishes nothing; join() orders the rest.
    second_.join();
  }

 protected:
  // One turn of an end; gives the CPU away where there is only one.
  bool turn(End& end) const noexcept {
    const bool received = end.lanes.receive() != 0;
    end.lanes.flush();
    if (!received) {
      if (cpus_.shared()) sched_yield();
      runtime::relax_cpu();
    }
    return received;
  }

  // The second thread's data stands on lines that the first does not write.
  TwoCpus cpus_;
  runtime::LaneMatrix matrix_{2, 1024};
  std::atomic<bool> stop_{false};
  alignas(runtime::kCacheLine) End first_{matrix_, 0};
  // tidy: allow banned_call: a core of the runtime would sleep, which is not what is measured
  alignas(runtime::kCacheLine) std::thread second_{[this] {
    pin_to(cpus_.second());
    End end(matrix_, 1);
    end_of_second_ = &end;
    while (!stop_.load(std::memory_order_relaxed)) turn(end);
  }};

 private:
  static inline thread_local End* end_of_second_ = nullptr;

 protected:
  // On the second thread, inside deliver().
  static Lanes& lanes_of_second() noexcept { return end_of_second_->lanes; }
};

// There and back; an operation is one round trip.
class PingPong final : public TwoCores {
 public:
  std::uint64_t run(std::uint64_t operations) override {
    std::uint64_t sum = 0;
    for (std::uint64_t i = 0; i < operations; ++i) {
      first_.lanes.send(1, Ping{&sum, i});
      first_.lanes.flush();
      const std::uint64_t before = first_.lanes.counters().received;
      while (first_.lanes.counters().received == before) turn(first_);
    }
    return sum;
  }

 private:
  struct Ping {
    std::uint64_t* sum;
    std::uint64_t value;
    void deliver(CoreId from) const { lanes_of_second().send(from, Add{sum, value}); }
  };
};

// The yardstick: a counter there and a counter back, which is what the two caches cost here.
class BareFlags final : public Workload {
 public:
  ~BareFlags() override {
    there_.store(kStop, std::memory_order_relaxed);  // Publishes nothing.
    second_.join();
  }
  std::uint64_t run(std::uint64_t operations) override {
    // Release and acquire pair as a lane's tail does, there and back.
    for (std::uint64_t i = 0; i < operations; ++i) {
      there_.store(++at_, std::memory_order_release);
      while (back_.load(std::memory_order_acquire) != at_) wait();
    }
    return operations;
  }

 private:
  static constexpr std::uint64_t kStop = ~std::uint64_t{0};
  void wait() const noexcept {
    if (cpus_.shared()) sched_yield();
    runtime::relax_cpu();
  }

  TwoCpus cpus_;
  std::uint64_t at_ = 0;
  alignas(runtime::kCacheLine) std::atomic<std::uint64_t> there_{0};
  alignas(runtime::kCacheLine) std::atomic<std::uint64_t> back_{0};
  // tidy: allow banned_call: a core of the runtime would sleep, which is not what is measured
  alignas(runtime::kCacheLine) std::thread second_{[this] {
    pin_to(cpus_.second());
    for (std::uint64_t seen = 0; seen != kStop;) {
      const std::uint64_t now = there_.load(std::memory_order_acquire);
      if (now == seen) {
        wait();
        continue;
      }
      seen = now;
      back_.store(seen, std::memory_order_release);
    }
  }};
};

// One way, `batch` messages a turn, as fast as the other end takes them; an operation is a message.
class OneWay final : public TwoCores {
 public:
  explicit OneWay(std::uint64_t batch) : batch_(batch) {}
  std::uint64_t run(std::uint64_t operations) override {
    done_.store(0, std::memory_order_relaxed);  // The first message is published after it.
    std::uint64_t left = operations;
    while (left != 0) {
      const std::uint64_t now = left < batch_ ? left : batch_;
      for (std::uint64_t i = 0; i < now; ++i) {
        first_.lanes.send(1, Count{&counted_, &done_, --left == 0});
      }
      do {
        first_.lanes.flush();
      } while (first_.lanes.backlogged());
    }
    // Acquire pairs with the last message's release: counted_ is read behind it.
    while (done_.load(std::memory_order_acquire) == 0) {
      if (cpus_.shared()) sched_yield();
    }
    const std::uint64_t counted = counted_;
    counted_ = 0;
    return counted;
  }

 private:
  struct Count {
    std::uint64_t* counted;
    std::atomic<std::uint64_t>* done;
    bool last;
    void deliver(CoreId) const {
      ++*counted;
      if (last) done->store(1, std::memory_order_release);  // Pairs with the acquire in run().
    }
  };

  std::uint64_t batch_;
  alignas(runtime::kCacheLine) std::uint64_t counted_ = 0;
  alignas(runtime::kCacheLine) std::atomic<std::uint64_t> done_{0};
};

}  // namespace

void add_lane_cases(Cases& cases) {
  for (const std::uint64_t batch : {1u, 64u}) {
    const std::string parameter = "/batch:" + std::to_string(batch);
    cases.add<SendReceive>({.name = "lane/send_receive" + parameter, .counted = 6400}, batch);
    cases.add<OneWay>({.name = "lane/one_way" + parameter, .counted = 0}, batch);
  }
  cases.add<PingPong>({.name = "lane/ping_pong", .counted = 0});
  cases.add<BareFlags>({.name = "lane/bare_ping_pong", .counted = 0});
}

}  // namespace corelane::perf
