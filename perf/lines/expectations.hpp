#pragma once
// Expectations that hold for each count of a server in steady state, for any protocol. Cores are
// threads 0 and 1.
//
// One other thread is part of a server, and it comes rarely: the stall monitor looks at each core's
// progress every 2 ms, and when all cores have slept for 20 looks it parks, for the first core that
// works again to wake. Its accesses are known by its functions and bounded by the time that passed.

#include <cstdint>
#include <string_view>
#include <vector>

#include "perf/lines/line_counter.hpp"

namespace corelane::perf::lines {

inline constexpr unsigned kBothCores = 0b11;

// The count is complete, and both cores did a fair share of it.
void expect_a_whole_count(const Report& report);

// Cores take no mutex and free no memory of another thread. They lock lines only where a core goes
// to sleep and where it wakes from that (Lanes::going_to_sleep and CoreProgress::awake, in
// Core::wait), at most `sleeps_max` times besides a few timers a second; and in the functions of
// `others`, at most `others_max` times.
void expect_no_lock_but_around_sleep(const Report& report, std::uint64_t sleeps_max,
                                     const std::vector<std::string_view>& others = {},
                                     std::uint64_t others_max = 0);

// The monitor costs what it says above.
void expect_a_rare_monitor(const Report& report);

// Lines that one core writes and the other one touches, without the word that says that the monitor
// has parked.
std::vector<const SharedLine*> lines_between_cores(const Report& report);
void expect_no_line_between_cores(const Report& report);

}  // namespace corelane::perf::lines
