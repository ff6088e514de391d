// Goal: a Slab finds an object by its present name and by no other, keeps it in place, and destroys
// each exactly once. Method: a map as model under random operations; counted objects.
#include "runtime/slab.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "runtime/random.hpp"

namespace corelane {
namespace {

struct Counted {
  static inline int alive = 0;
  explicit Counted(int number) : value(number) { ++alive; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;
  ~Counted() { --alive; }
  int value;
};

TEST(Slab, DefaultNameFindsNothing) {
  runtime::Slab<int> slab(4);
  EXPECT_EQ(slab.get({}), nullptr);
  const auto first = slab.emplace(5);
  EXPECT_EQ(slab.get({}), nullptr);
  EXPECT_EQ(slab.get(first.id), first.value);
  EXPECT_EQ(slab.get(77, 1), nullptr);
  EXPECT_EQ(slab.get(first.id.slot, 0xffffffff), nullptr);
  slab.clear();
}

TEST(Slab, OldNameOfAReusedSlotIsStale) {
  runtime::Slab<int> slab(4);
  const auto old = slab.emplace(1);
  slab.erase(old.id.slot);
  EXPECT_EQ(slab.get(old.id), nullptr);
  // Nor does the generation of the free slot, which somebody may guess, find anything.
  EXPECT_EQ(slab.get(old.id.slot, old.id.generation + 1), nullptr);
  const auto reused = slab.emplace(2);
  EXPECT_EQ(reused.id.slot, old.id.slot);
  EXPECT_EQ(slab.get(old.id), nullptr);
  EXPECT_EQ(*slab.get(reused.id), 2);
  EXPECT_EQ(slab.id_of(reused.id.slot), reused.id);
  slab.erase(reused.id.slot);
}

TEST(Slab, UsesTheSlotFreedLastFirst) {
  runtime::Slab<int> slab(8);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(slab.emplace(i).id.slot, static_cast<std::uint32_t>(i));
  slab.erase(1);
  slab.erase(3);
  EXPECT_EQ(slab.emplace(0).id.slot, 3U);
  EXPECT_EQ(slab.emplace(0).id.slot, 1U);
  EXPECT_EQ(slab.emplace(0).id.slot, 4U);
  slab.clear();
  EXPECT_EQ(slab.count(), 0U);
}

TEST(Slab, RefusesMoreThanItsLimit) {
  runtime::Slab<int> slab(2);
  const auto first = slab.emplace(1);
  const auto second = slab.emplace(2);
  EXPECT_NE(second.value, nullptr);
  EXPECT_EQ(slab.emplace(3).value, nullptr);
  slab.erase(first.id.slot);
  EXPECT_NE(slab.emplace(3).value, nullptr);
  slab.clear();
}

TEST(Slab, GenerationStaysWithinItsBitsAndNeverLooksFreeWhenTaken) {
  runtime::Slab<int, 3> slab(1);
  for (int reuse = 0; reuse < 20; ++reuse) {
    const auto entry = slab.emplace(reuse);
    EXPECT_LE(entry.id.generation, 7U);
    EXPECT_EQ(entry.id.generation % 2, 1U);
    EXPECT_EQ(slab.get(entry.id), entry.value);
    slab.erase(entry.id.slot);
    EXPECT_EQ(slab.get(entry.id), nullptr);
  }
}

TEST(Slab, BehavesLikeAMapOfNames) {
  constexpr std::uint64_t kSeed = 99;
  runtime::Random random(kSeed);
  runtime::Slab<Counted> slab(6000);
  struct Known {
    runtime::Slab<Counted>::Id id;
    Counted* address;
    int value;
  };
  std::vector<Known> alive;
  std::vector<runtime::Slab<Counted>::Id> dead;
  for (int step = 0; step < 60'000; ++step) {
    SCOPED_TRACE(testing::Message() << "seed " << kSeed << " step " << step);
    if (alive.empty() || random.chance(6, 11)) {
      const auto entry = slab.emplace(step);
      if (alive.size() == slab.limit()) {
        ASSERT_EQ(entry.value, nullptr);
        continue;
      }
      alive.push_back({entry.id, entry.value, step});
    } else {
      const std::size_t victim = random.below(alive.size());
      slab.erase(alive[victim].id.slot);
      dead.push_back(alive[victim].id);
      alive[victim] = alive.back();
      alive.pop_back();
    }
    ASSERT_EQ(slab.count(), alive.size());
    ASSERT_EQ(Counted::alive, static_cast<int>(alive.size()));
    if (!alive.empty()) {
      const Known& some = alive[random.below(alive.size())];
      ASSERT_EQ(slab.get(some.id), some.address);
      ASSERT_EQ(slab.at(some.id.slot).value, some.value);
    }
    if (!dead.empty()) {
      ASSERT_EQ(slab.get(dead[random.below(dead.size())]), nullptr);
    }
  }
  std::size_t visited = 0;
  slab.for_each([&](auto id, Counted& object) {
    ++visited;
    EXPECT_EQ(slab.get(id), &object);
  });
  EXPECT_EQ(visited, alive.size());
  slab.clear();
  EXPECT_EQ(Counted::alive, 0);
}

TEST(Slab, HoldsAMillionAtEightBytesOfOverhead) {
  constexpr std::uint32_t kMillion = 1'000'000;
  runtime::Slab<std::uint64_t> slab(kMillion);
  for (std::uint32_t i = 0; i < kMillion; ++i) ASSERT_EQ(*slab.emplace(i).value, i);
  EXPECT_EQ(slab.emplace(0U).value, nullptr);
  // The last chunk may be unused for the most part.
  EXPECT_LE(slab.memory_bytes(), kMillion * 16ULL + 65536);
  EXPECT_EQ(slab.at(kMillion / 2), kMillion / 2);
  const std::size_t memory = slab.memory_bytes();
  slab.clear();
  for (std::uint32_t i = 0; i < kMillion; ++i) ASSERT_NE(slab.emplace(i).value, nullptr);
  EXPECT_EQ(slab.memory_bytes(), memory);
  slab.clear();
}

TEST(Slab, KeepsTheAlignmentOfItsObjects) {
  struct alignas(64) Wide {
    char bytes[64];
  };
  runtime::Slab<Wide> slab(100);
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(reinterpret_cast<std::uintptr_t>(slab.emplace().value) % 64, 0U);
  }
  slab.clear();
}

TEST(SlabDeathTest, ForgottenObjectsAreAnError) {
  EXPECT_DEATH(
      {
        runtime::Slab<int> slab(1);
        (void)slab.emplace(1);
      },
      "count_ == 0");
}

#if RT_ASAN
TEST(SlabDeathTest, UseAfterEraseIsFound) {
  runtime::Slab<std::uint64_t> slab(1);
  std::uint64_t* const stale = slab.emplace(1U).value;
  slab.erase(0);
  EXPECT_DEATH(*static_cast<volatile std::uint64_t*>(stale) = 2, "use-after-poison");
}
#endif

}  // namespace
}  // namespace corelane
