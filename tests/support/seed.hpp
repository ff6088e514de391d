// The seed of a random test. `Seed seed = test_seed();` at the top of a TEST takes the seed from
// the environment (CORELANE_SEED, decimal or 0x-hexadecimal) or draws a new one, prints it at once,
// so that a crash shows it too, and adds it to every failure of its scope. The seed is mixed with
// the test's name: two tests under one seed walk different paths, and the same test replays the
// same path. Lives on the stack of the test's body.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <string_view>

#include "tests/support/prng.hpp"

namespace corelane::tests {

class [[nodiscard]] Seed {
 public:
  // `value` as it is set in CORELANE_SEED; `name` is the test's full name.
  Seed(std::uint64_t value, std::string_view name);
  Seed(Seed const&) = delete;
  Seed& operator=(Seed const&) = delete;

  // The value of CORELANE_SEED that runs this again.
  std::uint64_t value() const { return value_; }
  // The value mixed with the test's name: what to seed a simulation with.
  std::uint64_t mixed() const { return mixed_; }
  // A generator that begins at mixed(); each call gives the same one.
  Prng prng() const { return Prng(mixed_); }

 private:
  std::uint64_t value_;
  std::uint64_t mixed_;
  testing::ScopedTrace trace_;
};

// The seed of the running test. A CORELANE_SEED that is not a 64-bit number ends the process with a
// message: a typing error must not look like a replay.
Seed test_seed();

}  // namespace corelane::tests
