#include "runtime/sim/world.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <iterator>
#include <optional>

#include "runtime/sanitizer.hpp"
#include "runtime/sim/kernel.hpp"
#include "runtime/sim/ring_state.hpp"

#if RT_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

namespace corelane::runtime::sim {
namespace {

constinit World* current_world = nullptr;

// Time stands still during a turn: how often the program looks at the clock, which the stall
// detector does when the machine is slow, must not change the run. Only a turn that reads it more
// often than this waits for it to advance, and sees it advance by this much a read.
constexpr std::uint32_t kClockReadsFree = 1000;
constexpr Nanoseconds kClockReadCost = 1 * kMicrosecond;
constexpr Nanoseconds kWallStart = 1'767'225'600 * kSecond;  // 2026-01-01 00:00 UTC
constexpr std::size_t kInterleavedMax = 3;                   // turns within a turn
constexpr std::size_t kDescribedMax = 40;                    // lines of a kind in a failure

Nanoseconds real_now() noexcept {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return Nanoseconds{time.tv_sec} * kSecond + time.tv_nsec;
}

// How to repeat the run, printed when the process dies in a world, whatever the reason. Written
// when the world is made, because the handlers below may not format.
char epitaph[256];

void print_epitaph() noexcept {
  if (current_world == nullptr) return;
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, epitaph, std::strlen(epitaph));
}

void on_abort(int) {
  print_epitaph();
}  // the default action follows: abort() sees to it

void install_epitaph(std::uint64_t seed) {
  const auto end =
      fmt::format_to_n(epitaph, sizeof epitaph - 1,
                       "simulation: seed {}; to repeat it, set CORELANE_SEED={}\n", seed, seed);
  *end.out = '\0';
  std::signal(SIGABRT, on_abort);
#if RT_ASAN
  __sanitizer_set_death_callback([] { print_epitaph(); });
#endif
}

std::optional<std::uint64_t> number_from_environment(const char* name) {
  const char* text = std::getenv(name);
  if (text == nullptr) return std::nullopt;
  char* end = nullptr;
  const std::uint64_t value = std::strtoull(text, &end, 0);
  if (end == text || *end != '\0') {
    fmt::print(stderr, "{}={} is not a number\n", name, text);
    std::exit(2);
  }
  return value;
}

}  // namespace

World::World(std::uint64_t seed, const Faults& faults, const Checks& checks)
    : seed_(seed),
      faults_(faults),
      checks_(checks),
      schedule_(Schedule::of_environment()),
      random_(seed),
      entropy_(~seed),
      wall_start_(kWallStart - kStart),
      real_start_(real_now()),
      kernel_(std::make_unique<Kernel>(*this)) {
  RT_ASSERT(current_world == nullptr);
  RT_ASSERT(faults.clock_granularity > 0);
  current_world = this;
  if (schedule_ != nullptr) decide_sizes();
  install_epitaph(seed);
  if (const char* path = std::getenv("CORELANE_TRACE")) {
    if (!trace_.write_to_file(path)) fail("the file named by CORELANE_TRACE cannot be opened");
  }
}

World::~World() {
  for (const RingState* ring : kernel_->rings()) RT_ASSERT(ring == nullptr);
  kernel_.reset();
  current_world = nullptr;
  std::signal(SIGABRT, SIG_DFL);
}

World* World::current() noexcept {
  return current_world;
}

// --- Chance and time

namespace {

const char* name_of(DelayRange Faults::* range) noexcept {
  if (range == &Faults::step_delay) return "step_delay";
  if (range == &Faults::network_delay) return "network_delay";
  return "turn_cost";
}

}  // namespace

void World::about(CoreId core, const char* subject, std::uint64_t object) noexcept {
  if (schedule_ == nullptr) return;
  std::string text = core == kNoCore ? subject : fmt::format("core {}: {}", core, subject);
  if (object != 0) text += " on " + kernel_->name_of_object(object);
  schedule_->about(text, object != 0 ? kernel_->addresses_of(object) : "");
}

std::int64_t World::decide(const Schedule::Decision& decision) noexcept {
  return schedule_ == nullptr ? decision.drawn : schedule_->decide(decision, now_ - kStart);
}

// The sizes are of the whole run: a schedule without them has the usual ones.
void World::decide_sizes() noexcept {
  const Faults quiet;
  about(kNoCore, "world");
  faults_.socket_buffer_bytes =
      static_cast<std::uint32_t>(decide({.what = "socket_buffer_bytes",
                                         .drawn = faults_.socket_buffer_bytes,
                                         .quiet = quiet.socket_buffer_bytes,
                                         .low = 1,
                                         .high = UINT32_MAX}));
  faults_.clock_granularity = decide({.what = "clock_granularity",
                                      .drawn = faults_.clock_granularity,
                                      .quiet = quiet.clock_granularity,
                                      .low = 1,
                                      .high = kSecond,
                                      .unit = " ns"});
}

bool World::chance(const char* what, std::uint32_t in_1000) noexcept {
  if (in_1000 == 0) return false;
  return decide({.what = what, .drawn = draws() && random_.chance(in_1000, 1000)}) != 0;
}

bool World::coin(const char* what) noexcept {
  return decide({.what = what, .drawn = draws() && random_.chance(1, 2)}) != 0;
}

std::size_t World::count(const char* what, std::size_t most) noexcept {
  const std::uint64_t drawn = draws() ? 1 + random_.below(most) : 1;
  return static_cast<std::size_t>(decide({.what = what,
                                          .drawn = static_cast<std::int64_t>(drawn),
                                          .quiet = 1,
                                          .low = 1,
                                          .high = static_cast<std::int64_t>(most)}));
}

bool World::hits(Fault kind) noexcept {
  const std::uint32_t chance = faults_.chance_of(kind);
  return chance != 0 && draws() && random_.chance(chance, 1000);
}

// A fault with its value, 0 if it does not happen.
std::int64_t World::fault(Fault kind, std::int64_t drawn, std::int64_t low, std::int64_t high,
                          const char* unit) noexcept {
  if (faults_.chance_of(kind) == 0) return 0;
  const std::int64_t value = decide(
      {.what = Faults::name_of(kind), .drawn = drawn, .low = low, .high = high, .unit = unit});
  if (value == 0) return 0;
  const auto index = static_cast<std::size_t>(kind);
  ++report_.faults[index];
  trace_.note(TraceKind::fault, now_, index, 0, 0);
  return value;
}

bool World::roll(Fault kind) noexcept {
  return fault(kind, hits(kind), 1, 1, "") != 0;
}

Nanoseconds World::late(Fault kind) noexcept {
  const auto [low, high] = faults_.long_delay;
  const Nanoseconds drawn = !hits(kind) ? 0 : low == high ? low : random_.between(low, high);
  return fault(kind, drawn, low, high, " ns");
}

std::size_t World::cut(Fault kind, std::size_t most) noexcept {
  const std::uint64_t drawn = hits(kind) ? 1 + random_.below(most) : 0;
  return static_cast<std::size_t>(
      fault(kind, static_cast<std::int64_t>(drawn), 1, static_cast<std::int64_t>(most), ""));
}

int World::error(Fault kind, std::span<const int> possible) noexcept {
  const int drawn = hits(kind) ? possible[random_.below(possible.size())] : 0;
  const auto errors = std::ranges::minmax(possible);
  return static_cast<int>(fault(kind, drawn, errors.min, errors.max, " (errno)"));
}

Nanoseconds World::draw(DelayRange Faults::* range) noexcept {
  const auto [low, high] = faults_.*range;
  if (low == high) return low;
  return decide({.what = name_of(range),
                 .drawn = draws() ? random_.between(low, high) : low,
                 .quiet = low,
                 .low = low,
                 .high = high,
                 .unit = " ns"});
}

Nanoseconds World::read_clock() noexcept {
  if (++clock_reads_ > kClockReadsFree) now_ += kClockReadCost;
  return coarse_now();
}

void World::note(std::uint64_t first, std::uint64_t second, std::uint64_t third) noexcept {
  trace_.note(TraceKind::user, now_, first, second, third);
}

void World::outside_ready(std::int32_t descriptor) {
  kernel_->outside_ready(descriptor);
}

// --- The loop

namespace {

bool has_reason_to_turn(const RingState& ring, Nanoseconds coarse_now) noexcept {
  return !ring.completions.empty() || !ring.overflow.empty() || ring.lanes_held_back ||
         ring.deadline <= coarse_now;
}

}  // namespace

bool World::runnable(std::size_t actor) const {
  const RingState& ring = *driven_[actor];
  return ring.held_until <= now_ && has_reason_to_turn(ring, coarse_now());
}

// When something can happen next: an event, a deadline as the coarse clock shows it, or the end of
// a slow core's pause.
Nanoseconds World::next_time(std::span<Actor> actors) const {
  Nanoseconds next = kernel_->next_event();
  for (std::size_t i = 0; i < actors.size(); ++i) {
    const RingState& ring = *driven_[i];
    if (actors[i].finished()) continue;
    if (has_reason_to_turn(ring, coarse_now())) {
      next = std::min(next, ring.held_until);
    } else if (ring.deadline != kNever) {
      const Nanoseconds step = faults_.clock_granularity;
      const Nanoseconds shown = (ring.deadline + step - 1) / step * step;
      next = std::min(next, std::max(shown, ring.held_until));
    }
  }
  return next;
}

void World::drive(std::span<Actor> actors) {
  driven_.clear();
  actors_ = actors;
  for (const Actor& actor : actors) {
    driven_.push_back(kernel_->ring_of(actor.core));
    RT_ASSERT(driven_.back() != nullptr);
  }
  for (;;) {
    kernel_->run_due();
    if (turn_one(nullptr)) continue;
    if (std::ranges::all_of(actors, [](const Actor& actor) { return actor.finished(); })) break;
    const Nanoseconds next = next_time(actors);
    if (next == kNever) fail("deadlock: cores wait, and nothing is left that could wake them");
    if (next - kStart > checks_.time_max) fail("the run takes more virtual time than allowed");
    now_ = std::max(now_, next);
  }
  actors_ = {};
  driven_.clear();
}

// Gives a ready actor a turn, but not the actor of this ring. False: no actor is ready.
bool World::turn_one(const RingState* but) {
  ready_.clear();
  for (std::size_t i = 0; i < actors_.size(); ++i) {
    if (driven_[i] != but && !actors_[i].finished() && runnable(i)) ready_.push_back(i);
  }
  if (ready_.empty()) return false;
  const std::size_t chosen = ready_.size() == 1 ? ready_.front() : choose_ready();
  last_turned_ = chosen;
  turn(actors_[chosen], chosen);
  return true;
}

// Quiet is one after the other, so that a core that always has work does not starve the others.
std::size_t World::choose_ready() {
  const auto next = std::ranges::upper_bound(ready_, last_turned_);
  const std::size_t quiet = next != ready_.end() ? *next : ready_.front();
  const std::size_t drawn = draws() ? ready_[random_.below(ready_.size())] : quiet;
  about(kNoCore, "next turn");
  const auto chosen =
      static_cast<std::size_t>(decide({.what = "core",
                                       .drawn = static_cast<std::int64_t>(drawn),
                                       .quiet = static_cast<std::int64_t>(quiet),
                                       .high = static_cast<std::int64_t>(actors_.size()) - 1}));
  return std::ranges::binary_search(ready_, chosen) ? chosen : quiet;
}

void World::interleave(const RingState& within) {
  about(within.core, "going to sleep");
  if (is_interleaved_) return;
  const std::size_t turns = cut(Fault::interleave, kInterleavedMax);
  if (turns == 0) return;
  is_interleaved_ = true;
  const std::uint32_t clock_reads = clock_reads_;
  for (std::size_t left = turns; left > 0; --left) {
    if (!turn_one(&within)) break;
  }
  clock_reads_ = clock_reads;
  is_interleaved_ = false;
}

void World::turn(Actor& actor, std::size_t index) {
  RingState& ring = *driven_[index];
  about(ring.core, "turn");
  if (const Nanoseconds delay = late(Fault::slow_core); delay != 0) {
    ring.held_until = now_ + delay;
    return;
  }
  if (++report_.turns > checks_.turns_max) fail("the run takes more turns than allowed");
  ++ring.turns;
  ring.deadline = kNever;
  ring.lanes_held_back = false;
  clock_reads_ = 0;
  trace_.note(TraceKind::turn, now_, actor.core, ring.completions.size(), 0);
  actor.turn();
  about(ring.core, "turn");
  now_ += draw(&Faults::turn_cost);
}

// --- Ends

void World::check_end() {
  // Operations with Sink::ignore may still run after the end of their program: completes them.
  while (kernel_->ignored_in_flight() && kernel_->next_event() != kNever) {
    now_ = std::max(now_, kernel_->next_event());
    kernel_->run_due();
  }
  if (checks_.operations_done && kernel_->operations_in_flight() != 0) {
    fail("the run has ended with operations in flight");
  }
  if (checks_.sockets_closed && !kernel_->describe_descriptors(1).empty()) {
    fail("the run has ended with descriptors open");
  }
  if (!checks_.buffers_home) return;
  for (const RingState* ring : kernel_->rings()) {
    if (ring == nullptr) continue;
    for (const auto& group : ring->groups) {
      if (group != nullptr && group->held_by_program() != 0) {
        fail(fmt::format("the run has ended with {} provided buffers of core {} not recycled",
                         group->held_by_program(), ring->core));
      }
    }
  }
}

std::string World::describe_waiters() const {
  std::string text;
  auto out = std::back_inserter(text);
  for (const RingState* ring : kernel_->rings()) {
    if (ring == nullptr) continue;
    fmt::format_to(out, "core {}: {} turns, {} completions waiting, ", ring->core, ring->turns,
                   ring->completions.size() + ring->overflow.size());
    if (ring->deadline == kNever) {
      fmt::format_to(out, "no deadline\n");
    } else {
      fmt::format_to(out, "deadline in {} ns\n", ring->deadline - now_);
    }
  }
  text += "operations in flight:\n" + kernel_->describe_operations(kDescribedMax);
  text += "descriptors open:\n" + kernel_->describe_descriptors(kDescribedMax);
  if (dump_) text += dump_();
  return text;
}

void World::fail(std::string_view reason) {
  fmt::print(stderr, "simulation failed: {}\nat {} ns of virtual time, after {} turns; {}\n{}",
             reason, now_ - kStart, report_.turns, faults_.text(), describe_waiters());
  std::fflush(stderr);
  trace_.flush();
  std::abort();
}

// --- Reports

Report World::report() const {
  Report report = report_;
  report.seed = seed_;
  report.virtual_time = now_ - kStart;
  report.real_time = real_now() - real_start_;
  return report;
}

std::string Report::text() const {
  std::string text = fmt::format(
      "seed {}: {:.6f} s virtual in {:.6f} s real ({:.0f} x), {} turns, {} completions, {} "
      "connections, {} bytes sent, {} taken, {} overflows, cancels {} won {} lost, {} closed in "
      "use",
      seed, static_cast<double>(virtual_time) / kSecond, static_cast<double>(real_time) / kSecond,
      static_cast<double>(virtual_time) / static_cast<double>(std::max<Nanoseconds>(real_time, 1)),
      turns, completions, connections, bytes_sent, bytes_taken, overflows, cancels_won,
      cancels_lost, closed_in_use);
  for (std::size_t i = 0; i < kFaultKinds; ++i) {
    if (faults[i] == 0) continue;
    fmt::format_to(std::back_inserter(text), ", {} {}", faults[i],
                   Faults::name_of(static_cast<Fault>(i)));
  }
  return text;
}

std::vector<std::uint64_t> seeds(std::uint64_t first, std::size_t count) {
  if (const auto only = number_from_environment("CORELANE_SEED")) return {*only};
  count = number_from_environment("CORELANE_SEEDS").value_or(count);
  std::vector<std::uint64_t> list(count);
  for (std::size_t i = 0; i < count; ++i) list[i] = first + i;
  return list;
}

}  // namespace corelane::runtime::sim
