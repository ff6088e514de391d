// Runtime::run in a simulated world: all cores in the calling thread, turned by the world. Without
// a world of the caller's it makes a quiet one of its own, so that a program written for threads
// runs here as it is.

#include <fmt/format.h>

#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/blocking.hpp"
#include "runtime/runtime.hpp"
#include "runtime/runtime_driver.hpp"
#include "runtime/sim/world.hpp"

namespace corelane::runtime {
namespace {

// Lists lanes that hold messages, and cores that are marked as asleep: shows a lost wake-up.
std::string describe_lanes(LaneMatrix& lanes) {
  std::string text;
  auto out = std::back_inserter(text);
  for (CoreId to = 0; to < lanes.cores(); ++to) {
    const bool asleep = lanes.word(to).sleeping.load() != 0;
    fmt::format_to(out, "core {} is {}marked as asleep\n", to, asleep ? "" : "not ");
    for (CoreId from = 0; from < lanes.cores(); ++from) {
      if (from == to || lanes.lane(from, to).empty_seq_cst()) continue;
      fmt::format_to(out, "  messages wait in the lane from core {} to core {}\n", from, to);
    }
  }
  return text;
}

}  // namespace

Result<int> Runtime::run(std::function<Task<int>()> main) {
  std::optional<sim::World> own;
  if (sim::World::current() == nullptr) {
    const std::uint64_t seed = sim::seeds(1, 1).front();
    own.emplace(seed, sim::Faults::of_environment(seed, sim::Faults::none()));
  }
  sim::World& world = *sim::World::current();
  // Polling waits for other cores to act; here none runs during a core's turn.
  options_.lane_poll = 0;
  std::vector<sim::World::Actor> actors;
  for (CoreId id = 0; id < options_.cores; ++id) {
    auto ring = Ring::create(id, options_.ring);
    if (!ring) return Unexpected{ring.error()};
    RuntimeDriver::make_core(*this, id, std::move(*ring));
    Core& core = *cores_[id];
    actors.push_back({.core = id,
                      .turn =
                          [&core] {
                            const Core::Scope scope(core);
                            core.turn();
                          },
                      .finished = [&core] { return core.finished(); }});
  }
  world.set_dump([this] { return describe_lanes(lanes_); });
  RuntimeDriver::set_blocking_pool(*this, make_blocking_pool(*this));
  int exit_code = 0;
  {
    const Core::Scope scope(*cores_[0]);
    RuntimeDriver::start_main(*this, std::move(main), exit_code);
  }
  world.drive(actors);
  RuntimeDriver::set_blocking_pool(*this, nullptr);
  world.check_end();
  world.set_dump({});
  for (CoreId id = 0; id < options_.cores; ++id) RuntimeDriver::destroy_core(*this, id);
  return exit_code;
}

}  // namespace corelane::runtime
