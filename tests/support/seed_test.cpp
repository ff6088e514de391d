// Goal: a random test can be replayed from what it printed. Method: seeds are set through the
// environment as a person would set them; failures are caught by gtest's own checker and searched
// for the seed.
#include "tests/support/seed.hpp"

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

namespace corelane::tests {
namespace {

// Sets CORELANE_SEED for a scope and puts the caller's value back.
class SeedVariable {
 public:
  explicit SeedVariable(char const* value) {
    if (char const* const before = std::getenv("CORELANE_SEED")) before_ = before;
    if (value != nullptr) {
      setenv("CORELANE_SEED", value, 1);
    } else {
      unsetenv("CORELANE_SEED");
    }
  }
  ~SeedVariable() {
    if (before_) {
      setenv("CORELANE_SEED", before_->c_str(), 1);
    } else {
      unsetenv("CORELANE_SEED");
    }
  }
  SeedVariable(SeedVariable const&) = delete;
  SeedVariable& operator=(SeedVariable const&) = delete;

 private:
  std::optional<std::string> before_;
};

TEST(Seed, the_environment_sets_it_in_decimal_and_in_hexadecimal) {
  for (char const* const text : {"48879", "0xbeef"}) {
    SeedVariable const variable(text);
    EXPECT_EQ(test_seed().value(), 48879U) << text;
  }
  SeedVariable const variable("18446744073709551615");
  EXPECT_EQ(test_seed().value(), UINT64_MAX);
}

TEST(Seed, without_the_environment_two_draws_differ) {
  SeedVariable const variable(nullptr);
  EXPECT_NE(test_seed().value(), test_seed().value());
}

TEST(Seed, the_same_value_under_two_names_gives_two_paths_and_under_one_name_one_path) {
  Seed const one(7, "Suite.one");
  Seed const two(7, "Suite.two");
  Seed const one_again(7, "Suite.one");
  EXPECT_NE(one.mixed(), two.mixed());
  EXPECT_EQ(one.mixed(), one_again.mixed());
  EXPECT_EQ(one.prng().next(), one_again.prng().next());
}

TEST(Seed, a_failure_in_its_scope_names_the_value_to_replay_with) {
  EXPECT_NONFATAL_FAILURE(
      {
        Seed const seed(123456, "Suite.fails");
        ADD_FAILURE() << "planted";
      },
      "CORELANE_SEED=123456");
}

TEST(SeedDeathTest, a_value_that_is_no_number_ends_the_process_and_names_the_variable) {
  for (char const* const text : {"", "0x", "12a", "-1", "18446744073709551616"}) {
    SeedVariable const variable(text);
    EXPECT_DEATH((void)test_seed().value(), "CORELANE_SEED must be a 64-bit number") << text;
  }
}

TEST(Prng, the_first_numbers_of_a_seed_are_those_of_splitmix64) {
  // The reference vector for seed 1234567, published with the algorithm's usual test programs.
  Prng prng(1234567);
  constexpr std::array<std::uint64_t, 5> kExpected = {6457827717110365317U, 3203168211198807973U,
                                                      9817491932198370423U, 4593380528125082431U,
                                                      16408922859458223821U};
  for (std::uint64_t const expected : kExpected) EXPECT_EQ(prng.next(), expected);
}

TEST(Prng, ranges_hold_their_ends_and_reach_them) {
  Seed const seed = test_seed();
  Prng prng = seed.prng();
  std::array<int, 4> seen{};
  for (int draw = 0; draw < 1000; ++draw) {
    std::uint64_t const value = prng.between(3, 6);
    ASSERT_GE(value, 3U);
    ASSERT_LE(value, 6U);
    ++seen[value - 3];
    ASSERT_LT(prng.below(10), 10U);
  }
  EXPECT_TRUE(std::ranges::all_of(seen, [](int count) { return count > 100; }));
  EXPECT_EQ(prng.between(9, 9), 9U);
  EXPECT_EQ(prng.below(1), 0U);
  EXPECT_TRUE(prng.chance(1, 1));
  EXPECT_FALSE(prng.chance(0, 5));
}

TEST(Prng, the_full_range_does_not_overflow) {
  Prng drawn(11);
  Prng raw(11);
  EXPECT_EQ(drawn.between(0, UINT64_MAX), raw.next());
}

TEST(Prng, fill_writes_every_byte_and_repeats) {
  std::vector<std::byte> first(257);
  std::vector<std::byte> second(257);
  Prng(5).fill(first);
  Prng(5).fill(second);
  EXPECT_EQ(first, second);
  EXPECT_LT(std::ranges::count(first, std::byte{0}), 16);
}

TEST(EventMix, a_kind_with_weight_zero_is_never_drawn_and_the_others_are) {
  Seed const seed = test_seed();
  Prng prng = seed.prng();
  int kinds_off = 0;
  for (int round = 0; round < 200; ++round) {
    EventMix<4> const mix(prng);
    std::array<int, 4> drawn{};
    for (int draw = 0; draw < 50; ++draw) ++drawn[mix.draw(prng)];
    for (std::size_t kind = 0; kind < 4; ++kind) {
      if (mix.weight(kind) != 0) continue;
      ++kinds_off;
      EXPECT_EQ(drawn[kind], 0);
    }
  }
  EXPECT_GT(kinds_off, 100);
}

}  // namespace
}  // namespace corelane::tests
