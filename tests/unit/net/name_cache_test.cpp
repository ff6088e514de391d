// Goal: a name is asked for once at a time and once while its answer holds; what holds how long,
// and what is not kept, is RFC 2308's; the cache is bounded. Method: a resolver of the test, which
// counts; over both rings. Time passes in tests/fault/sim_names_test.cpp.
#include "net/name_cache.hpp"

#include <gtest/gtest.h>
#include <netdb.h>

#include <atomic>
#include <cerrno>
#include <stdexcept>
#include <string>
#include <utility>

#include "net/connect.hpp"
#include "tests/support/on_cores.hpp"
#include "tests/support/tcp_pair.hpp"

namespace corelane {
namespace {

using namespace runtime;
using net::NameAnswer;
using net::NameCache;
using net::NameCacheOptions;
using net::Resolver;
using tests::run_on_cores;

using Addresses = Result<std::vector<Address>>;

NameAnswer found_for(Nanoseconds time_to_live) {
  return {.addresses = {*Address::parse("127.0.0.2:0"), *Address::parse("[::1]:0")},
          .time_to_live = time_to_live};
}

// Counts on the threads of runtime::blocking; lives longer than the runtime.
struct Asked {
  std::atomic<int> count{0};
  Resolver answers(NameAnswer answer) {
    return [this, kept = std::move(answer)](const std::string&) {
      count.fetch_add(1, std::memory_order_relaxed);
      return kept;
    };
  }
};

Task<void> resolve_into(std::string name, Addresses* into) {
  *into = co_await NameCache::local().resolve(std::move(name), 80);
}

Error error_of(const Addresses& addresses) {
  return addresses ? Error{ErrorCode::system, 0} : addresses.error();
}

constexpr Error kNoSuchName{ErrorCode::invalid_argument, EAI_NONAME};

void with_cache(NameCacheOptions options, std::function<Task<void>(NameCache&)> body) {
  run_on_cores(1, [&]() -> Task<void> { co_await body(NameCache::local(options)); });
}

TEST(NameCache, AnAnswerThatHoldsIsGivenAgainWithTheCallersPort) {
  Asked asked;
  with_cache({.resolver = asked.answers(found_for(kSecond * 3600))},
             [&](NameCache& cache) -> Task<void> {
               const auto first = co_await cache.resolve("name.example", 80);
               const auto second = co_await cache.resolve("NAME.Example", 81);
               EXPECT_TRUE(first && second);
               if (!first || !second) co_return;
               EXPECT_EQ(first->size(), 2u);
               EXPECT_EQ(first->front().text(), "127.0.0.2:80");
               EXPECT_EQ(second->front().text(), "127.0.0.2:81");
               EXPECT_EQ(second->back().text(), "[::1]:81");
               EXPECT_EQ(asked.count, 1);
               EXPECT_EQ(cache.counters().hits, 1u);
               EXPECT_EQ(cache.counters().lookups, 1u);
               EXPECT_EQ(cache.names(), 1u);
             });
}

TEST(NameCache, IsWhatResolveAndConnectUseUnlessTheyAreGivenAResolver) {
  Asked asked;
  Asked other;
  with_cache({.resolver = asked.answers(found_for(kSecond * 3600))}, [&](NameCache&) -> Task<void> {
    EXPECT_TRUE(co_await net::resolve("name.example", 80));
    EXPECT_TRUE(co_await net::resolve("name.example", 80));
    EXPECT_EQ(asked.count, 1);
    const auto refused = co_await net::connect("name.example", 1);
    EXPECT_FALSE(refused);
    EXPECT_EQ(asked.count, 1);
    Resolver by_other = other.answers(found_for(kSecond * 3600));
    EXPECT_TRUE(co_await net::resolve("name.example", 80, by_other));
    EXPECT_TRUE(co_await net::resolve("name.example", 80, by_other));
    EXPECT_EQ(other.count, 2);
    EXPECT_EQ(asked.count, 1);
  });
}

TEST(NameCache, CallersOfANameThatIsBeingLookedUpWaitForThatLookup) {
  Asked asked;
  with_cache({.resolver = asked.answers(found_for(kSecond * 3600))},
             [&](NameCache& cache) -> Task<void> {
               std::vector<Addresses> got;
               for (int i = 0; i < 20; ++i) got.emplace_back(fail(ErrorCode::closed));
               TaskGroup group("callers");
               for (Addresses& one : got) {
                 group.spawn("caller", resolve_into, std::string("name.example"), &one);
               }
               EXPECT_EQ(cache.in_flight(), 1u);
               co_await group.join();
               for (const Addresses& one : got) EXPECT_TRUE(one);
               EXPECT_EQ(asked.count, 1);
               EXPECT_EQ(cache.counters().joined, 19u);
               EXPECT_EQ(cache.in_flight(), 0u);
             });
}

TEST(NameCache, ALookupGoesOnWhenTheCallerThatBeganItGivesUp) {
  Asked asked;
  with_cache({.resolver = asked.answers(found_for(kSecond * 3600))},
             [&](NameCache& cache) -> Task<void> {
               Addresses first = fail(ErrorCode::closed);
               Addresses second = fail(ErrorCode::closed);
               TaskGroup impatient("impatient");
               TaskGroup patient("patient");
               impatient.spawn("first", resolve_into, std::string("name.example"), &first);
               patient.spawn("second", resolve_into, std::string("name.example"), &second);
               impatient.cancel();
               co_await impatient.join();
               EXPECT_EQ(error_of(first), (Error{ErrorCode::cancelled, 0}));
               co_await patient.join();
               EXPECT_TRUE(second);
               EXPECT_EQ(asked.count, 1);
               // What everybody has given up is kept as well.
               TaskGroup gone("gone");
               gone.spawn("third", resolve_into, std::string("other.example"), &first);
               gone.cancel();
               co_await gone.join();
               EXPECT_TRUE(co_await cache.resolve("other.example", 80));
               EXPECT_EQ(asked.count, 2);
             });
}

TEST(NameCache, ADenialIsKeptIfItSaysHowLongItHolds) {
  Asked says;
  with_cache({.resolver = says.answers({.error = EAI_NONAME, .time_to_live = kSecond * 3600})},
             [&](NameCache& cache) -> Task<void> {
               EXPECT_EQ(error_of(co_await cache.resolve("a.example", 80)), kNoSuchName);
               EXPECT_EQ(error_of(co_await cache.resolve("a.example", 80)), kNoSuchName);
               EXPECT_EQ(says.count, 1);
               EXPECT_EQ(cache.counters().denial_hits, 1u);
             });
  Asked says_nothing;
  with_cache({.resolver = says_nothing.answers({.error = EAI_NONAME})},
             [&](NameCache& cache) -> Task<void> {
               EXPECT_EQ(error_of(co_await cache.resolve("a.example", 80)), kNoSuchName);
               EXPECT_EQ(error_of(co_await cache.resolve("a.example", 80)), kNoSuchName);
               EXPECT_EQ(says_nothing.count, 2);
               EXPECT_EQ(cache.names(), 0u);
             });
}

TEST(NameCache, AFailureOfTheNameServiceIsNotKept) {
  for (const int error : {EAI_AGAIN, EAI_FAIL, EAI_SYSTEM}) {
    Asked asked;
    with_cache({.resolver = asked.answers(
                    {.error = error, .system_error = EMFILE, .time_to_live = kSecond * 3600})},
               [&](NameCache& cache) -> Task<void> {
                 const Error expected = error == EAI_SYSTEM
                                            ? Error::from_errno(EMFILE)
                                            : Error{ErrorCode::invalid_argument, error};
                 EXPECT_EQ(error_of(co_await cache.resolve("a.example", 80)), expected);
                 EXPECT_EQ(error_of(co_await cache.resolve("a.example", 80)), expected);
                 EXPECT_EQ(asked.count, 2);
                 EXPECT_EQ(cache.counters().failed, 2u);
                 EXPECT_EQ(cache.names(), 0u);
               });
  }
}

TEST(NameCache, TheNameThatWasUsedLongestAgoGoes) {
  Asked asked;
  with_cache({.resolver = asked.answers(found_for(kSecond * 3600)), .names_max = 2},
             [&](NameCache& cache) -> Task<void> {
               // b is the oldest use when c comes; then a.
               for (const char* name : {"a", "b", "a", "c"})
                 EXPECT_TRUE(co_await cache.resolve(name, 1));
               EXPECT_EQ(asked.count, 3);
               EXPECT_EQ(cache.names(), 2u);
               EXPECT_EQ(cache.counters().evicted, 1u);
               EXPECT_TRUE(co_await cache.resolve("a", 1));
               EXPECT_TRUE(co_await cache.resolve("c", 1));
               EXPECT_EQ(asked.count, 3);
               EXPECT_TRUE(co_await cache.resolve("b", 1));
               EXPECT_EQ(asked.count, 4);
             });
}

TEST(NameCache, WithoutRoomForNamesEveryCallAsks) {
  Asked asked;
  with_cache({.resolver = asked.answers(found_for(kSecond * 3600)), .names_max = 0},
             [&](NameCache& cache) -> Task<void> {
               EXPECT_TRUE(co_await cache.resolve("a", 1));
               EXPECT_TRUE(co_await cache.resolve("a", 1));
               EXPECT_EQ(asked.count, 2);
               EXPECT_EQ(cache.names(), 0u);
             });
}

TEST(NameCache, LookupsInFlightAreBounded) {
  Asked asked;
  with_cache({.resolver = asked.answers(found_for(kSecond * 3600)), .lookups_max = 2},
             [&](NameCache& cache) -> Task<void> {
               Addresses one = fail(ErrorCode::closed);
               Addresses two = fail(ErrorCode::closed);
               TaskGroup group("callers");
               group.spawn("one", resolve_into, std::string("one"), &one);
               group.spawn("two", resolve_into, std::string("two"), &two);
               EXPECT_EQ(error_of(co_await cache.resolve("three", 1)),
                         (Error{ErrorCode::limit_exceeded, 2}));
               co_await group.join();
               EXPECT_TRUE(one && two);
               EXPECT_TRUE(co_await cache.resolve("three", 1));
               EXPECT_EQ(cache.counters().refused, 1u);
             });
}

TEST(NameCache, AFlushForgetsAlsoWhatIsBeingLookedUp) {
  Asked asked;
  with_cache({.resolver = asked.answers(found_for(kSecond * 3600))},
             [&](NameCache& cache) -> Task<void> {
               EXPECT_TRUE(co_await cache.resolve("known.example", 1));
               Addresses before = fail(ErrorCode::closed);
               Addresses behind = fail(ErrorCode::closed);
               TaskGroup group("callers");
               group.spawn("before", resolve_into, std::string("asked.example"), &before);
               cache.flush();
               EXPECT_EQ(cache.names(), 0u);
               // Not the answer to a question of before the flush.
               group.spawn("behind", resolve_into, std::string("asked.example"), &behind);
               EXPECT_EQ(cache.in_flight(), 2u);
               co_await group.join();
               EXPECT_TRUE(before && behind);
               EXPECT_EQ(asked.count, 3);
               EXPECT_EQ(cache.names(), 1u);
               EXPECT_TRUE(co_await cache.resolve("asked.example", 1));
               EXPECT_EQ(asked.count, 3);
               EXPECT_TRUE(co_await cache.resolve("known.example", 1));
               EXPECT_EQ(asked.count, 4);
             });
}

TEST(NameCache, OneNameIsForgotten) {
  Asked asked;
  with_cache({.resolver = asked.answers(found_for(kSecond * 3600))},
             [&](NameCache& cache) -> Task<void> {
               EXPECT_TRUE(co_await cache.resolve("a", 1));
               EXPECT_TRUE(co_await cache.resolve("b", 1));
               EXPECT_TRUE(cache.forget("A"));
               EXPECT_FALSE(cache.forget("a"));
               EXPECT_EQ(cache.names(), 1u);
               EXPECT_TRUE(co_await cache.resolve("b", 1));
               EXPECT_EQ(asked.count, 2);
               EXPECT_TRUE(co_await cache.resolve("a", 1));
               EXPECT_EQ(asked.count, 3);
             });
}

Task<void> resolve_throwing(NameCache* cache, int* caught) {
  try {
    static_cast<void>(co_await cache->resolve("name.example", 80));
  } catch (const std::runtime_error&) {
    ++*caught;
  }
}

TEST(NameCache, AnExceptionOfTheResolverReachesAllThatWaitAndIsNotKept) {
  int caught = 0;
  const auto throwing = [](const std::string&) -> NameAnswer { throw std::runtime_error("none"); };
  with_cache({.resolver = throwing}, [&](NameCache& cache) -> Task<void> {
    TaskGroup group("callers");
    group.spawn("one", resolve_throwing, &cache, &caught);
    group.spawn("two", resolve_throwing, &cache, &caught);
    co_await group.join();
    EXPECT_EQ(caught, 2);
    EXPECT_EQ(cache.names(), 0u);
  });
}

TEST(NameCache, NamesThatCannotBeAreRefusedWithoutAsking) {
  Asked asked;
  with_cache({.resolver = asked.answers(found_for(kSecond * 3600))},
             [&](NameCache& cache) -> Task<void> {
               const std::string most(NameCache::kNameBytesMax, 'a');
               EXPECT_TRUE(co_await cache.resolve(most, 1));
               EXPECT_EQ(error_of(co_await cache.resolve(most + "a", 1)), kNoSuchName);
               const std::string with_nul("a\0b", 3);
               EXPECT_EQ(error_of(co_await cache.resolve(with_nul, 1)), kNoSuchName);
               EXPECT_EQ(asked.count, 1);
               EXPECT_TRUE(co_await cache.resolve("127.0.0.1", 1));
               EXPECT_EQ(asked.count, 1);
             });
}

TEST(NameCache, AddressesOfANameAreBounded) {
  NameAnswer many;
  many.addresses.assign(NameCache::kAddressesKept + 1, *Address::parse("127.0.0.2:0"));
  Asked asked;
  with_cache({.resolver = asked.answers(many)}, [&](NameCache& cache) -> Task<void> {
    const auto got = co_await cache.resolve("a", 1);
    EXPECT_TRUE(got);
    if (got) {
      EXPECT_EQ(got->size(), NameCache::kAddressesKept);
    }
  });
}

Task<void> leave_a_lookup() {
  Addresses unused = fail(ErrorCode::closed);
  TaskGroup gone("gone");
  gone.spawn("asks", resolve_into, std::string("name.example"), &unused);
  gone.cancel();
  co_await gone.join();
}

TEST(NameCache, ACoreEndsWhileALookupIsInFlight) {
  Asked asked;
  with_cache({.resolver = asked.answers(found_for(kSecond))},
             [&](NameCache&) -> Task<void> { co_await leave_a_lookup(); });
}

}  // namespace
}  // namespace corelane
