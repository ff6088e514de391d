#pragma once
// Duration: how long a public wait may last. It is made of a std::chrono duration or of the
// project's constants. A bare number does not compile, for its unit is unknown: sleep_for(10). But
// a number of type std::int64_t does, in nanoseconds: it is the type of the constants
// (Nanoseconds).
//
//   co_await sleep_for(std::chrono::milliseconds(10));
//   co_await sleep_for(10 * kMillisecond);
//
// A value beyond what nanoseconds in 64 bits can count (292 years) becomes kNever. A negative
// duration has passed already. Any thread.

#include <concepts>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "runtime/types.hpp"

namespace corelane::runtime {

namespace detail {

// A std::chrono::duration, without the header of it, which every program would pay for.
template <class D>
concept ChronoDuration = requires(const D& duration) {
  typename D::rep;
  typename D::period;
  duration.count();
  D::period::num;
  D::period::den;
};

}  // namespace detail

class Duration {
 public:
  // NOLINTBEGIN(google-explicit-constructor): durations are passed as they are written
  template <detail::ChronoDuration D>
  constexpr Duration(const D& duration) noexcept : nanoseconds_(nanoseconds_of(duration)) {}
  template <std::same_as<Nanoseconds> T>
  constexpr Duration(T nanoseconds) noexcept : nanoseconds_(nanoseconds) {}
  // A number without a unit: write 10 * kMillisecond, or std::chrono::milliseconds(10).
  template <class T>
    requires(std::is_arithmetic_v<T> && !std::same_as<T, Nanoseconds>)
  Duration(T without_a_unit) = delete;
  // NOLINTEND(google-explicit-constructor)

  constexpr Nanoseconds nanoseconds() const noexcept { return nanoseconds_; }
  friend constexpr bool operator==(Duration, Duration) = default;

 private:
  template <class D>
  static constexpr Nanoseconds nanoseconds_of(const D& duration) noexcept {
    using Period = typename D::period;
    if constexpr (std::is_integral_v<typename D::rep>) {
      constexpr auto kNum = static_cast<Nanoseconds>(Period::num);
      constexpr auto kDen = static_cast<Nanoseconds>(Period::den);
      if (!std::in_range<Nanoseconds>(duration.count())) return kNever;
      const auto count = static_cast<Nanoseconds>(duration.count());
      if constexpr (kSecond % kDen == 0) {
        Nanoseconds product = 0;
        if (!__builtin_mul_overflow(count, kSecond / kDen * kNum, &product)) return product;
        return count > 0 ? kNever : INT64_MIN;
      }
    }
    constexpr double kUnit = static_cast<double>(kSecond) * static_cast<double>(Period::num) /
                             static_cast<double>(Period::den);
    constexpr double kLimit = 9.2e18 / kUnit;
    const auto count = static_cast<double>(duration.count());
    if (!(count < kLimit)) return kNever;  // also what is no number
    if (count <= -kLimit) return INT64_MIN;
    return static_cast<Nanoseconds>(count * kUnit);
  }

  Nanoseconds nanoseconds_;
};

}  // namespace corelane::runtime
