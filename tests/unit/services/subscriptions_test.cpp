// Goal: a session's list of subscriptions agrees with a plain map whatever is added and removed,
// and finding a channel costs the same however many there are: clients choose how many, and how
// often they ask. Method: random changes beside a model; counts of the entries that are looked at.
#include "services/sessions/subscriptions.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <vector>

namespace corelane {
namespace {

using services::Subscription;
using services::Subscriptions;

constexpr std::uint64_t kSeed = 0x1234'5678'9abc'def1;

TEST(Subscriptions, AgreeWithAMapWhateverIsAddedAndRemoved) {
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    // Few channels and many, so that lists of all sizes lose their first, inner and last entries.
    const std::uint32_t channels = std::uint32_t{4} << (seed % 8);
    Subscriptions list;
    std::map<std::uint32_t, std::uint32_t> model;  // channel → position
    for (std::uint32_t step = 0; step < 4000; ++step) {
      const auto channel = static_cast<std::uint32_t>(random() % channels);
      const std::uint32_t index = list.find(channel, seed);
      ASSERT_EQ(index != Subscriptions::kNone, model.contains(channel));
      if (index == Subscriptions::kNone) {
        list.add({.channel = channel, .position = step}, seed);
        model[channel] = step;
        ASSERT_EQ(list[list.size() - 1].channel, channel);
      } else {
        ASSERT_EQ(list[index].channel, channel);
        ASSERT_EQ(list[index].position, model[channel]);
        const Subscription last = list[list.size() - 1];
        list.remove(index, seed);
        model.erase(channel);
        if (index < list.size()) {
          ASSERT_EQ(list[index].channel, last.channel);
        }
      }
      ASSERT_EQ(list.size(), model.size());
    }
    for (const auto& [channel, position] : model) {
      const std::uint32_t index = list.find(channel, seed);
      ASSERT_NE(index, Subscriptions::kNone);
      EXPECT_EQ(list[index].position, position);
    }
  }
}

struct Steps {
  double mean;
  std::uint32_t max;
};

// For each channel that is held, and as many that are not.
Steps steps_among(std::uint32_t count, std::uint32_t stride) {
  Subscriptions list;
  for (std::uint32_t i = 0; i < count; ++i) list.add({.channel = i * stride, .position = i}, kSeed);
  Steps steps{0, 0};
  for (std::uint32_t i = 0; i < 2 * count; ++i) {
    const std::uint32_t one = list.find_steps(i * stride, kSeed);
    steps.mean += one;
    steps.max = std::max(steps.max, one);
  }
  steps.mean /= 2 * count;
  return steps;
}

TEST(Subscriptions, AreFoundInAFewStepsAmongAnyNumber) {
  EXPECT_LE(steps_among(Subscriptions::kScanned, 1).max, Subscriptions::kScanned);
  for (const std::uint32_t count : {17u, 100u, 1000u, 100'000u}) {
    // Slots side by side, and such as share their lower bits.
    for (const std::uint32_t stride : {1u, 3u, 64u, 1024u, 4096u}) {
      SCOPED_TRACE(testing::Message() << count << " channels, every " << stride << "th slot");
      const Steps steps = steps_among(count, stride);
      EXPECT_LE(steps.mean, 4);
      EXPECT_LE(steps.max, 32u);
    }
  }
}

}  // namespace
}  // namespace corelane
