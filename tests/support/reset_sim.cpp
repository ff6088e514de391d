#include <gtest/gtest.h>

#include "runtime/sim/world.hpp"
#include "tests/support/http_site.hpp"

namespace corelane::tests {

runtime::Task<void> reset(HttpClient& client) {
  EXPECT_NE(client.stream(), nullptr);
  runtime::sim::World& world = *runtime::sim::World::current();
  const runtime::sim::Faults before = world.faults();
  runtime::sim::Faults breaking = before;
  breaking.reset = 1000;
  world.set_faults(breaking);
  client.send("x");  // the step that breaks the connection
  co_await client.until_closed();
  world.set_faults(before);
}

}  // namespace corelane::tests
