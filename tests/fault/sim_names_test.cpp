// Goal: a name is asked for again when its answer does not hold any more, not before and not later,
// within the bounds that the options set. Method: the cache of names in the simulation, whose clock
// is virtual, beside a model over seeds.
#include <gtest/gtest.h>
#include <netdb.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "net/name_cache.hpp"
#include "runtime/combine.hpp"
#include "runtime/sim/world.hpp"
#include "tests/support/on_cores.hpp"
#include "tests/support/prng.hpp"

namespace corelane {
namespace {

using namespace runtime;
using net::NameAnswer;
using net::NameCache;
using net::NameCacheOptions;

constexpr Nanoseconds kDay = 24 * 3600 * kSecond;

NameAnswer found(std::optional<Nanoseconds> time_to_live) {
  return {.addresses = {*Address::parse("127.0.0.2:0")}, .time_to_live = time_to_live};
}
NameAnswer denied(std::optional<Nanoseconds> time_to_live) {
  return {.error = EAI_NONAME, .time_to_live = time_to_live};
}

// How long an answer is kept: known a millisecond before, asked for again at the time itself. (The
// answer came a turn before its caller goes on.)
void expect_kept_for(const NameAnswer& answer, Nanoseconds life, NameCacheOptions options = {}) {
  const sim::World world(1);
  options.resolver = [&answer](const std::string&) { return answer; };
  tests::run_on_cores(1, [&]() -> Task<void> {
    NameCache& cache = NameCache::local(options);
    static_cast<void>(co_await cache.resolve("a", 1));
    const Nanoseconds answered = Core::current().now();
    co_await sleep_until(answered + life - kMillisecond);
    static_cast<void>(co_await cache.resolve("a", 1));
    EXPECT_EQ(cache.counters().lookups, 1u);
    co_await sleep_until(answered + life);
    static_cast<void>(co_await cache.resolve("a", 1));
    EXPECT_EQ(cache.counters().lookups, 2u);
    EXPECT_EQ(cache.counters().expired, 1u);
  });
}

TEST(SimNames, AnAnswerIsKeptForItsTimeToLiveWithinTheBounds) {
  expect_kept_for(found(100 * kSecond), 100 * kSecond);
  expect_kept_for(found(kDay), 3600 * kSecond);
  expect_kept_for(found(kDay), 2 * kSecond, {.time_to_live_max = 2 * kSecond});
  expect_kept_for(found(0), 5 * kSecond, {.time_to_live_min = 5 * kSecond});
  expect_kept_for(found({}), 10 * kSecond);
  expect_kept_for(found({}), 3 * kSecond, {.time_to_live_unknown = 3 * kSecond});
}

TEST(SimNames, ADenialIsKeptForItsTimeToLiveBelowTheBound) {
  expect_kept_for(denied(7 * kSecond), 7 * kSecond);
  expect_kept_for(denied(kDay), 60 * kSecond);
  expect_kept_for(denied(kDay), 600 * kSecond, {.denial_max = 600 * kSecond});
  // The lower bound is for addresses.
  expect_kept_for(denied(7 * kSecond), 7 * kSecond, {.time_to_live_min = 100 * kSecond});
}

TEST(SimNames, AnAnswerThatDoesNotHoldIsGivenToThoseThatWaitAndNotKept) {
  const sim::World world(1);
  tests::run_on_cores(1, []() -> Task<void> {
    NameCache& cache =
        NameCache::local({.resolver = [](const std::string&) { return found(Nanoseconds{0}); }});
    EXPECT_TRUE(co_await cache.resolve("a", 1));
    EXPECT_TRUE(co_await cache.resolve("a", 1));
    EXPECT_EQ(cache.counters().lookups, 2u);
    EXPECT_EQ(cache.names(), 0u);
  });
}

// One caller after the other, so that the model is a map: name to the time until which it is known.
Task<void> compare(std::uint64_t seed) {
  constexpr std::size_t kNamesMax = 4;
  tests::Prng random(seed);
  NameAnswer answer;
  NameCache& cache = NameCache::local(
      {.resolver = [&answer](const std::string&) { return answer; }, .names_max = kNamesMax});
  std::map<std::string, Nanoseconds> until;
  std::vector<std::string> by_use;  // the last one used at the end
  const auto forget = [&](const std::string& name) {
    until.erase(name);
    std::erase(by_use, name);
  };
  for (int step = 0; step < 300; ++step) {
    const std::string name(1, static_cast<char>('a' + random.below(7)));
    if (random.chance(1, 40)) {
      cache.flush();
      until.clear();
      by_use.clear();
    }
    if (random.chance(1, 20)) {
      EXPECT_EQ(cache.forget(name), until.contains(name));
      forget(name);
    }
    if (random.chance(1, 3)) co_await sleep_for(Nanoseconds(random.below(20)) * kSecond);
    const auto life = static_cast<Nanoseconds>(random.below(30)) * kSecond;
    const bool is_found = random.chance(2, 3);
    answer = is_found ? found(life) : denied(life);
    const bool is_known = until.contains(name) && Core::current().now() < until[name];
    const std::uint64_t lookups = cache.counters().lookups;
    static_cast<void>(co_await cache.resolve(name, 1));
    EXPECT_EQ(cache.counters().lookups - lookups, is_known ? 0u : 1u) << step;
    const Nanoseconds known_until = is_known ? until[name] : Core::current().now() + life;
    forget(name);
    if (is_known || life > 0) {
      until[name] = known_until;
      by_use.push_back(name);
    }
    if (by_use.size() > kNamesMax) forget(std::string(by_use.front()));
    EXPECT_EQ(cache.names(), by_use.size()) << step;
  }
}

TEST(SimNames, TheCacheAgreesWithAModelOver50Seeds) {
  for (const std::uint64_t seed : sim::seeds(1, 50)) {
    SCOPED_TRACE(seed);
    const sim::World world(seed);
    tests::run_on_cores(1, [seed]() -> Task<void> { co_await compare(seed); });
    if (HasFailure()) return;
  }
}

Task<void> ask(std::string name, int patience, int* answered, int* given_up) {
  const auto got = co_await with_timeout(patience * kMicrosecond,
                                         NameCache::local().resolve(std::move(name), 1));
  ++*(got ? answered : given_up);
}

TEST(SimNames, CallersThatComeAndGoShareOneLookupOfEachNameOver100Seeds) {
  int given_up_at_all = 0;
  for (const std::uint64_t seed : sim::seeds(1, 100)) {
    SCOPED_TRACE(seed);
    const sim::World world(seed);
    std::map<std::string, int> asked;
    tests::run_on_cores(1, [&]() -> Task<void> {
      NameCache::local({.resolver = [&](const std::string& name) {
        ++asked[name];
        return found(kDay);
      }});
      tests::Prng random(seed);
      int answered = 0;
      int given_up = 0;
      TaskGroup group("callers");
      for (int i = 0; i < 100; ++i) {
        group.spawn("caller", ask, std::string(1, static_cast<char>('a' + random.below(5))),
                    static_cast<int>(1 + random.below(300)), &answered, &given_up);
        if (random.chance(1, 4)) co_await sleep_for(Nanoseconds(random.below(60'000)));
      }
      co_await group.join();
      EXPECT_EQ(answered + given_up, 100);
      given_up_at_all += given_up;
    });
    for (const auto& [name, count] : asked) EXPECT_EQ(count, 1) << name;
    if (HasFailure()) return;
  }
  EXPECT_GT(given_up_at_all, 0);
}

}  // namespace
}  // namespace corelane
