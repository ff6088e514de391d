// Coroutines of one core that wait for each other: a bounded channel, a semaphore, a latch.

#include <corelane/runtime.hpp>

#include <chrono>
#include <cstdio>

using namespace corelane;
using namespace std::chrono_literals;
using runtime::Task;

namespace {

struct Shared {
  runtime::Channel<int> numbers{2};  // send() waits while 2 are in it
  runtime::Semaphore permits{2};     // 2 consumers work at once
  runtime::Latch consumers_ended{3};
  int running = 0;
  int running_max = 0;
  int sum = 0;
};

Task<void> produce(Shared* shared) {
  for (int i = 1; i <= 10; ++i) {
    const auto sent = co_await shared->numbers.send(i);
    if (!sent) co_return;
  }
  shared->numbers.close();  // what is in it is still received
}

Task<void> consume(Shared* shared) {
  for (;;) {
    const auto number = co_await shared->numbers.receive();
    if (!number) break;
    const auto permit = co_await shared->permits.acquire_guarded();
    if (!permit) break;
    shared->running_max = std::max(shared->running_max, ++shared->running);
    co_await runtime::sleep_for(1ms);
    shared->sum += *number;
    --shared->running;
  }
  shared->consumers_ended.count_down();
}

Task<int> run() {
  Shared shared;  // of this core, so nothing in it needs a lock
  runtime::TaskGroup group("pipeline");
  group.spawn("producer", produce, &shared);
  for (int i = 0; i < 3; ++i) group.spawn("consumer", consume, &shared);
  const auto all = co_await shared.consumers_ended.wait();
  co_await group.join();
  std::printf("sum %d, at most %d at once\n", shared.sum, shared.running_max);
  co_return all ? 0 : 1;
}

}  // namespace

int main() {
  runtime::Runtime cores({.cores = 1});
  return cores.run(run).value_or(1);
}
