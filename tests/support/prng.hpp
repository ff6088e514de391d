// A small seeded generator for tests: the same seed gives the same numbers on every machine and
// with every library, which the distributions of <random> do not promise. SplitMix64 (Steele, Lea,
// Flood: "Fast splittable pseudorandom number generators", 2014). Not for keys. A value: copy it to
// replay from where it stands. One thread at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <span>

namespace corelane::tests {

class Prng {
 public:
  using result_type = std::uint64_t;

  explicit Prng(std::uint64_t seed) : state_(seed) {}

  // Satisfies uniform_random_bit_generator, so that std::shuffle takes it.
  static constexpr result_type min() { return 0; }
  static constexpr result_type max() { return std::numeric_limits<result_type>::max(); }
  result_type operator()() { return next(); }

  std::uint64_t next() {
    state_ += 0x9e37'79b9'7f4a'7c15U;
    std::uint64_t mixed = state_;
    mixed = (mixed ^ (mixed >> 30U)) * 0xbf58'476d'1ce4'e5b9U;
    mixed = (mixed ^ (mixed >> 27U)) * 0x94d0'49bb'1331'11ebU;
    return mixed ^ (mixed >> 31U);
  }

  // In [0, count). `count` must not be 0. Takes the high half of a 128-bit product, whose bias is
  // below 2^-32 for the counts that tests use.
  std::uint64_t below(std::uint64_t count) {
    if (count == 0) std::abort();
    return static_cast<std::uint64_t>((static_cast<Wide>(next()) * count) >> 64U);
  }

  // In [first, last], both included; `first` must not be above `last`.
  std::uint64_t between(std::uint64_t first, std::uint64_t last) {
    if (first > last) std::abort();
    std::uint64_t const span = last - first;
    return span == max() ? next() : first + below(span + 1);
  }

  // True `times` out of `of`.
  bool chance(std::uint64_t times, std::uint64_t of) { return below(of) < times; }

  void fill(std::span<std::byte> bytes) {
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(next() >> 56U);
  }

  // A generator of its own for a part of the test, so that one part's draws do not shift another's.
  Prng split() { return Prng(next()); }

 private:
  __extension__ using Wide = unsigned __int128;

  std::uint64_t state_;
};

// Random weights for the kinds of events of a random test: each kind gets 0 to 100, about a third
// are off, at least one is on. A run in which some kinds are missing reaches states that an even
// mixture never does.
template <std::size_t Count>
class EventMix {
  static_assert(Count > 0);

 public:
  explicit EventMix(Prng& prng) {
    for (std::uint64_t& weight : weights_) {
      weight = prng.chance(1, 3) ? 0 : prng.between(1, 100);
      total_ += weight;
    }
    if (total_ == 0) {
      weights_[prng.below(Count)] = 1;
      total_ = 1;
    }
  }

  // The index of a kind, drawn by weight.
  std::size_t draw(Prng& prng) const {
    std::uint64_t rest = prng.below(total_);
    for (std::size_t kind = 0; kind < Count; ++kind) {
      if (rest < weights_[kind]) return kind;
      rest -= weights_[kind];
    }
    std::abort();
  }

  std::uint64_t weight(std::size_t kind) const { return weights_[kind]; }

 private:
  std::array<std::uint64_t, Count> weights_{};
  std::uint64_t total_ = 0;
};

}  // namespace corelane::tests
