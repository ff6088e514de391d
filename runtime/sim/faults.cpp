#include "runtime/sim/faults.hpp"

#include <fmt/format.h>

#include <array>
#include <cstdlib>
#include <iterator>
#include <string_view>

#include "runtime/random.hpp"

namespace corelane::runtime::sim {
namespace {

struct Kind {
  const char* name;
  std::uint32_t Faults::* chance;
  std::uint32_t most;  // of swarm(), n in 1000
  bool breaking;
};

constexpr std::array kKinds{
    Kind{"short_read", &Faults::short_read, 700, false},
    Kind{"short_write", &Faults::short_write, 500, false},
    Kind{"reset", &Faults::reset, 5, true},
    Kind{"multishot_end", &Faults::multishot_end, 300, false},
    Kind{"no_buffers", &Faults::no_buffers, 200, false},
    Kind{"accept_failure", &Faults::accept_failure, 200, true},
    Kind{"connect_failure", &Faults::connect_failure, 200, true},
    Kind{"delayed_completion", &Faults::delayed_completion, 100, false},
    Kind{"late_cancel", &Faults::late_cancel, 600, false},
    Kind{"lane_reorder", &Faults::lane_reorder, 500, false},
    Kind{"slow_core", &Faults::slow_core, 50, false},
    Kind{"file_error", &Faults::file_error, 100, true},
    Kind{"interleave", &Faults::interleave, 400, false},
};

static_assert(kKinds.size() == kFaultKinds);

}  // namespace

std::uint32_t Faults::chance_of(Fault kind) const noexcept {
  return this->*kKinds[static_cast<std::size_t>(kind)].chance;
}

const char* Faults::name_of(Fault kind) noexcept {
  return kKinds[static_cast<std::size_t>(kind)].name;
}

Faults Faults::harsh() {
  Faults faults;
  for (const Kind& kind : kKinds) {
    if (!kind.breaking) faults.*kind.chance = kind.most / 2;
  }
  faults.socket_buffer_bytes = 700;
  faults.clock_granularity = 4 * kMicrosecond;
  return faults;
}

Faults Faults::swarm(std::uint64_t seed, bool breaking) {
  // The faults' random numbers must differ from the world's, which have the same seed.
  Random random{seed ^ 0x5a17'f00d'0b5e'55edULL};
  Faults faults;
  const auto draw = [&](const Kind& kind) {
    const bool on = random.chance(1, 2);
    const auto chance = static_cast<std::uint32_t>(random.between(1, kind.most));
    if (on && (breaking || !kind.breaking)) faults.*kind.chance = chance;
  };
  // New kinds are drawn last, so that a seed keeps its faults of the other kinds.
  for (std::size_t i = 0; i + 1 < kKinds.size(); ++i) draw(kKinds[i]);
  constexpr std::array<std::uint32_t, 5> kSizes{64, 300, 1500, 8192, 65536};
  faults.socket_buffer_bytes = kSizes[random.below(kSizes.size())];
  constexpr std::array<Nanoseconds, 4> kGranularities{1, 1000, 4 * kMicrosecond, kMillisecond};
  faults.clock_granularity = kGranularities[random.below(kGranularities.size())];
  faults.network_delay.high = faults.network_delay.low + random.between(0, 2 * kMillisecond);
  faults.step_delay.high = faults.step_delay.low + random.between(0, 100 * kMicrosecond);
  draw(kKinds.back());
  return faults;
}

Faults Faults::of_environment(std::uint64_t seed, const Faults& otherwise) {
  const char* text = std::getenv("CORELANE_FAULTS");
  if (text == nullptr) return otherwise;
  const std::string_view name = text;
  if (name == "quiet" || name == "none") return none();
  if (name == "swarm") return swarm(seed, false);
  if (name == "breaking") return swarm(seed, true);
  if (name == "harsh") return harsh();
  fmt::print(stderr, "CORELANE_FAULTS={} is none of: quiet, swarm, breaking, harsh\n", name);
  std::exit(2);
}

std::string Faults::text() const {
  const Faults quiet;
  std::string text;
  auto out = std::back_inserter(text);
  for (const Kind& kind : kKinds) {
    if (this->*kind.chance != 0) fmt::format_to(out, "{}={} ", kind.name, this->*kind.chance);
  }
  const auto range = [&](const char* name, const DelayRange& mine, const DelayRange& usual) {
    if (mine.low != usual.low || mine.high != usual.high) {
      fmt::format_to(out, "{}={}..{}ns ", name, mine.low, mine.high);
    }
  };
  range("step_delay", step_delay, quiet.step_delay);
  range("network_delay", network_delay, quiet.network_delay);
  range("turn_cost", turn_cost, quiet.turn_cost);
  range("long_delay", long_delay, quiet.long_delay);
  fmt::format_to(out, "clock_granularity={}ns socket_buffer_bytes={}", clock_granularity,
                 socket_buffer_bytes);
  return text;
}

}  // namespace corelane::runtime::sim
