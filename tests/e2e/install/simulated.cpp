// A program outside the tree on the simulated ring: two cores sleep for an hour, which takes no
// real time, and one asks the other. Prints "simulated" and the virtual minutes.

#include <corelane/runtime.hpp>
#include <corelane/runtime/sim/world.hpp>

#include <cstdio>

namespace runtime = corelane::runtime;

namespace {

runtime::Task<int> wait_an_hour() {
  const runtime::Nanoseconds begin = runtime::Core::current().now();
  co_await runtime::sleep_for(3600 * runtime::kSecond);
  const runtime::CoreId other =
      co_await runtime::submit_to(1, [] { return runtime::Core::current().id(); });
  const runtime::Nanoseconds took = runtime::Core::current().now() - begin;
  std::printf("simulated %lld minutes, core %u\n",
              static_cast<long long>(took / (60 * runtime::kSecond)), static_cast<unsigned>(other));
  co_return 0;
}

}  // namespace

int main() {
  runtime::sim::World world{7, runtime::sim::Faults::swarm(7, false)};
  runtime::Runtime cores({.cores = 2});
  const auto code = cores.run(wait_an_hour);
  return code ? *code : 1;
}
