#pragma once
// The small words that every folder shares: core ids, descriptors, points in time.

#include <cstdint>

namespace corelane::runtime {

// A core is a pinned thread with its own ring; 0 is the one that runs the program's main task.
using CoreId = std::uint16_t;
inline constexpr CoreId kCoresMax = 256;
inline constexpr CoreId kNoCore = 0xffff;
// Threads that are no cores (runtime/foreign.hpp), at most: they have numbers behind the cores'.
inline constexpr CoreId kThreadsMax = 64;

// Nanoseconds on the monotonic clock of the runtime (virtual in a simulation). Points and spans of
// time are both plain integers: they are compared and added on every turn.
using Nanoseconds = std::int64_t;
inline constexpr Nanoseconds kMicrosecond = 1'000;
inline constexpr Nanoseconds kMillisecond = 1'000'000;
inline constexpr Nanoseconds kSecond = 1'000'000'000;
inline constexpr Nanoseconds kNever = INT64_MAX;

// A point in time `duration` after another: kNever, and not an overflow, if that is beyond what can
// be counted.
constexpr Nanoseconds after(Nanoseconds point, Nanoseconds duration) noexcept {
  Nanoseconds sum = 0;
  if (!__builtin_add_overflow(point, duration, &sum)) return sum;
  return duration > 0 ? kNever : INT64_MIN;
}

// A file descriptor as one core's ring knows it: a number in the process' table, or a *direct* one,
// an index into the ring's own table (no table lock shared between cores, no reference count that
// bounces). Direct descriptors are meaningless outside their ring.
struct Descriptor {
  std::int32_t number = -1;
  bool direct = false;

  bool valid() const noexcept { return number >= 0; }
  friend bool operator==(const Descriptor&, const Descriptor&) = default;
};

}  // namespace corelane::runtime
