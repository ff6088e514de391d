// Goal: a channel across cores keeps each sender's order, loses no value whose send succeeded and
// no wake-up, and frees its memory, in whatever order cores take their turns. Method: senders on
// all cores in the simulation with faults, over seeds; each seed draws capacity, pauses, cancelled
// waits and the side that closes, and the values are counted against a plain model.
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "runtime/await.hpp"
#include "runtime/core_channel.hpp"
#include "runtime/runtime.hpp"
#include "runtime/sim/world.hpp"
#include "runtime/submit.hpp"
#include "runtime/task_group.hpp"
#include "runtime/timeout.hpp"

namespace corelane {
namespace {

using namespace runtime;

constexpr CoreId kCores = 3;
constexpr std::uint64_t kEach = 150;

struct Value {
  CoreId from;
  std::uint64_t number;
  std::shared_ptr<int> owned;
};

// What each core's sender was told, and what arrived.
struct Model {
  std::array<std::uint64_t, kCores> sent{};
  std::array<std::uint64_t, kCores> received{};
  bool in_order = true;
  std::shared_ptr<int> owned = std::make_shared<int>(0);
};

Task<void> send_some(CoreSender<Value> to, Model* model, bool closes) {
  const CoreId self = Core::current().id();
  for (std::uint64_t number = 0; number < kEach;) {
    Random& random = Core::current().random();
    if (random.chance(1, 16)) co_await sleep_for(200 * kMicrosecond);
    Value value{self, number, model->owned};
    bool sent = false;
    if (random.chance(1, 4)) {
      sent = to.try_send(value);
    } else if (random.chance(1, 8)) {
      sent = bool(co_await with_timeout(20 * kMicrosecond, to.send(std::move(value))));
    } else {
      sent = bool(co_await to.send(std::move(value)));
    }
    if (to.closed() && !sent) break;
    if (sent) model->sent[self] = ++number;
  }
  if (closes) to.close();
}

Task<void> run_sender(CoreId core, CoreSender<Value> to, Model* model, bool closes) {
  auto there = [to = std::move(to), model, closes]() mutable {
    return send_some(std::move(to), model, closes);
  };
  co_await submit_to(core, std::move(there));
}

void take(Model& model, const Value& value) {
  model.in_order = model.in_order && value.number == model.received[value.from];
  ++model.received[value.from];
}

Task<void> receive_all(CoreChannel<Value>* channel, Model* model, std::uint64_t close_after) {
  std::uint64_t total = 0;
  std::vector<Value> batch;
  for (;;) {
    Random& random = Core::current().random();
    if (random.chance(1, 16)) co_await sleep_for(200 * kMicrosecond);
    if (random.chance(1, 3)) {
      batch.clear();
      const auto count = co_await channel->receive_batch(batch, 1 + random.below(9));
      if (!count) co_return;
      for (const Value& value : batch) take(*model, value);
      total += *count;
    } else {
      const auto value = co_await with_timeout(kMillisecond, channel->receive());
      if (!value && value.error().code == ErrorCode::closed) co_return;
      if (!value) continue;
      take(*model, *value);
      ++total;
    }
    if (total >= close_after) channel->close();
  }
}

void run_channel(std::uint64_t seed) {
  SCOPED_TRACE(seed);
  Model model;
  sim::World world(seed, sim::Faults::swarm(seed, false));
  RuntimeOptions options;
  options.cores = kCores;
  options.lane_slots = 16;
  {
    Runtime runtime(options);
    const auto code = runtime.run([&model]() -> Task<int> {
      Random& random = Core::current().random();
      CoreChannel<Value> channel(1 + random.below(20));
      const bool receiver_closes = random.chance(1, 3);
      TaskGroup group("senders");
      for (CoreId core = 0; core < kCores; ++core) {
        const bool closes = random.chance(1, 6);
        group.spawn("sender", run_sender, core, channel.sender(core), &model, closes);
      }
      const std::uint64_t close_after = receiver_closes ? random.below(kEach) : UINT64_MAX;
      if (random.chance(1, 8)) {
        // The channel is destroyed while they send.
        auto dropped = std::make_unique<CoreChannel<Value>>(1 + random.below(4));
        group.spawn("dropped", run_sender, CoreId{2}, dropped->sender(2), &model, false);
        co_await sleep_for(100 * kMicrosecond);
        dropped.reset();
        channel.close();
        while (co_await channel.receive()) {
        }
        co_await group.join();
        model.sent = model.received = {};
        co_return 7;
      }
      co_await receive_all(&channel, &model, close_after);
      co_await group.join();
      co_return 7;
    });
    EXPECT_TRUE(code && *code == 7);
  }
  EXPECT_TRUE(model.in_order);
  EXPECT_EQ(model.sent, model.received);
  EXPECT_EQ(model.owned.use_count(), 1);
}

TEST(SimulatedCoreChannel, KeepsOrderAndLosesNothingHoweverCoresTakeTheirTurns) {
  for (const std::uint64_t seed : sim::seeds(1, 400)) run_channel(seed);
}

}  // namespace
}  // namespace corelane
