#pragma once
// World: a simulated machine for one test. It owns virtual time, chance, the network and files of
// all rings made while it lives, and the trace; a Runtime run inside it (linked with runtime_sim)
// has all its cores in the calling thread and does exactly the same for the same seed:
//
//   sim::World world{seed, Faults::swarm(seed, false)};
//   Runtime runtime{options};
//   runtime.run(main);
//   world.trace_hash();  // equal for equal seeds
//
// One world at a time (World::current()), and it outlives the rings. A core is turned only because
// its ring has a completion, its deadline has passed or a lane was held back from it: a lost
// wake-up is found as a deadlock. What the program does wrong with the ring (see Checks) ends the
// process with the reason, the seed, and what everybody waits for. The environment variable
// CORELANE_SEED repeats one seed (seeds()), CORELANE_TRACE names a file for the trace as text,
// CORELANE_RECORD one for the random decisions, and CORELANE_SCHEDULE one with those that count
// (schedule.hpp; corelane-sim-run makes it).

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/random.hpp"
#include "runtime/sim/faults.hpp"
#include "runtime/sim/file_system.hpp"
#include "runtime/sim/schedule.hpp"
#include "runtime/sim/trace.hpp"
#include "runtime/types.hpp"

namespace corelane::runtime::sim {

class Kernel;
struct RingState;

// What check_end() insists on, and when a run is given up.
struct Checks {
  bool operations_done = true;                 // nothing in flight on any ring
  bool sockets_closed = true;                  // no descriptor open
  bool buffers_home = true;                    // all provided buffers recycled
  Nanoseconds time_max = 24 * 3600 * kSecond;  // of virtual time
  std::uint64_t turns_max = 20'000'000;        // about half a minute: a test that spins for ever
};

struct Report {
  std::uint64_t seed = 0;
  Nanoseconds virtual_time = 0;
  Nanoseconds real_time = 0;
  std::uint64_t turns = 0;
  std::uint64_t completions = 0;    // posted
  std::uint64_t connections = 0;    // made
  std::uint64_t bytes_sent = 0;     // taken from programs
  std::uint64_t bytes_taken = 0;    // handed to programs
  std::uint64_t overflows = 0;      // completions that found the queue full
  std::uint64_t cancels_won = 0;    // operations ended by a cancel request
  std::uint64_t cancels_lost = 0;   // that completed although one was under way
  std::uint64_t closed_in_use = 0;  // descriptors closed with operations in flight on them
  std::array<std::uint64_t, kFaultKinds> faults{};

  std::string text() const;
};

class World {
 public:
  // The clock does not begin at 0, so that nobody takes 0 for a time that has passed.
  static constexpr Nanoseconds kStart = 1000 * kSecond;

  explicit World(std::uint64_t seed, const Faults& faults = {}, const Checks& checks = {});
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;
  static World* current() noexcept;

  std::uint64_t seed() const noexcept { return seed_; }
  const Faults& faults() const noexcept { return faults_; }
  // Faults from now on, for instance none() to see that everything settles. Buffer sizes of
  // existing sockets stay.
  void set_faults(const Faults& faults) noexcept { faults_ = faults; }
  Checks& checks() noexcept { return checks_; }

  Nanoseconds now() const noexcept { return now_; }  // exact; Ring::now() is coarser
  // Moves the wall clock against the monotonic one.
  void set_wall_clock(Nanoseconds since_epoch) noexcept { wall_start_ = since_epoch - now_; }
  Nanoseconds wall_now() const noexcept { return wall_start_ + now_; }
  FileSystem& files() noexcept { return files_; }
  // Something has happened to a descriptor that is not the world's (poll on a signalfd): operations
  // that wait for it are tried again.
  void outside_ready(std::int32_t descriptor);

  Trace& trace() noexcept { return trace_; }
  std::uint64_t trace_hash() const noexcept { return trace_.hash(); }
  // Folds a result of the program into the trace.
  void note(std::uint64_t first, std::uint64_t second = 0, std::uint64_t third = 0) noexcept;
  Report report() const;

  // --- For drivers: sim_runtime.cpp, and tests that have rings but no cores

  struct Actor {
    CoreId core = 0;                 // whose ring decides when it is turned
    std::function<void()> turn;      // ends with Ring::wait()
    std::function<bool()> finished;  // not turned any more
  };
  // Turns the actors until all are finished. Actors' rings exist throughout.
  void drive(std::span<Actor> actors);
  // Called when a deadlock is reported: returns the driver's description of the waits.
  void set_dump(std::function<std::string()> dump) { dump_ = std::move(dump); }
  // Fails unless everything is as checks() say. Rings must still exist.
  void check_end();
  // Prints the reason, the state and how to repeat it, and aborts.
  [[noreturn]] void fail(std::string_view reason);

  // --- For the kernel and the rings

  Kernel& kernel() noexcept { return *kernel_; }
  std::uint64_t entropy() noexcept { return entropy_.next(); }
  // All chance of the simulation, as decisions of the schedule: what they are about, and the kinds.
  void about(CoreId core, const char* subject, std::uint64_t object = 0) noexcept;
  bool roll(Fault kind) noexcept;
  Nanoseconds late(Fault kind) noexcept;                          // the delay; 0: not late
  std::size_t cut(Fault kind, std::size_t most) noexcept;         // what is left; 0: not cut
  int error(Fault kind, std::span<const int> possible) noexcept;  // errno; 0: none
  bool chance(const char* what, std::uint32_t in_1000) noexcept;
  bool coin(const char* what) noexcept;
  // In [1, most]; 1 is quiet.
  std::size_t count(const char* what, std::size_t most) noexcept;
  Nanoseconds draw(DelayRange Faults::* range) noexcept;
  // Within the turn of the core of this ring: others may have turns. Not within those again.
  void interleave(const RingState& within);
  Nanoseconds coarse_now() const noexcept { return now_ - now_ % faults_.clock_granularity; }
  Nanoseconds read_clock() noexcept;
  Report& counters() noexcept { return report_; }

 private:
  bool runnable(std::size_t actor) const;
  Nanoseconds next_time(std::span<Actor> actors) const;
  bool turn_one(const RingState* but);
  std::size_t choose_ready();
  // Whether the seed decides: no schedule is replayed.
  bool draws() const noexcept { return schedule_ == nullptr || !schedule_->replays(); }
  std::int64_t decide(const Schedule::Decision& decision) noexcept;
  bool hits(Fault kind) noexcept;
  std::int64_t fault(Fault kind, std::int64_t drawn, std::int64_t low, std::int64_t high,
                     const char* unit) noexcept;
  void decide_sizes() noexcept;
  void turn(Actor& actor, std::size_t index);
  std::string describe_waiters() const;

  const std::uint64_t seed_;
  Faults faults_;
  Checks checks_;
  std::unique_ptr<Schedule> schedule_;  // null: the seed decides, and nobody wants to know
  Random random_;
  Random entropy_;
  Trace trace_;
  FileSystem files_;
  Nanoseconds now_ = kStart;
  std::uint32_t clock_reads_ = 0;  // in this turn
  Nanoseconds wall_start_;
  Nanoseconds real_start_;
  Report report_;
  std::function<std::string()> dump_;
  std::unique_ptr<Kernel> kernel_;
  std::span<Actor> actors_;         // while drive() runs
  std::vector<RingState*> driven_;  // their rings
  std::vector<std::size_t> ready_;  // of them, those that may be turned
  std::size_t last_turned_ = 0;     // of actors_
  bool is_interleaved_ = false;     // a turn within a turn
};

// The seeds a test runs: first, first + 1, ... `count` of them; or only that of the environment
// variable CORELANE_SEED; or as many as CORELANE_SEEDS says.
std::vector<std::uint64_t> seeds(std::uint64_t first, std::size_t count);

}  // namespace corelane::runtime::sim
