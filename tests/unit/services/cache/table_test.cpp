// Goal: what a cache table promises beside single operations: bounded work, no allocations, memory
// that is counted and given back, walks that survive changes, namespaces, and which entries give
// way. Method: each on a table of its own, at sizes where the promise would show if it were broken.
#include "services/cache/table.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "tests/support/counted_allocations.hpp"
#include "tests/support/on_cores.hpp"
#include "tests/support/prng.hpp"

namespace corelane {
namespace {

using namespace services;
using runtime::kMillisecond;
using runtime::kSecond;
using runtime::Nanoseconds;
using runtime::SharedBytes;
using runtime::Task;

constexpr Nanoseconds kNow = 1000 * kSecond;
constexpr std::size_t kMiB = 1024 * 1024;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}
std::string numbered(std::size_t number) {
  return fmt::format("key:{:012}", number);
}

CacheOptions options_of(std::size_t bytes_max) {
  CacheOptions options;
  options.bytes_max = bytes_max;
  options.hash_seed = 12345;
  return options;
}
CacheTable::SetOptions for_ms(std::uint64_t ms) {
  return {.lifetime = {.kind = CacheLifetime::Kind::span, .ms = ms}};
}

bool put(CacheTable& table, std::string_view key, std::string_view value,
         const CacheTable::SetOptions& options = {}, Nanoseconds now = kNow) {
  return table.set(table.key(key), bytes_of(value), options, now).status == CacheStatus::ok;
}
bool has(CacheTable& table, std::string_view key, Nanoseconds now = kNow) {
  return table.peek(table.key(key), now).status == CacheStatus::ok;
}
void on_a_core(void (*body)()) {
  tests::run_on_cores(1, [body]() -> Task<void> {
    body();
    co_return;
  });
}

TEST(CacheTable, ExpiresManyKeysOfOneSecondInBoundedSteps) {
  on_a_core([] {
    CacheTable table(options_of(64 * kMiB));
    constexpr std::size_t kKeys = 200'000;
    tests::Prng prng(3);
    for (std::size_t i = 0; i < kKeys; ++i) {
      ASSERT_TRUE(put(table, numbered(i), "value", for_ms(60'000 + prng.below(1000))));
    }
    EXPECT_GT(table.next_expiry(), kNow);
    EXPECT_LE(table.next_expiry(), kNow + 60 * kSecond);
    const Nanoseconds late = kNow + 61 * kSecond;
    EXPECT_EQ(table.get(table.key(numbered(0)), late).status, CacheStatus::missing);
    constexpr std::uint32_t kSteps = 1000;
    std::size_t calls = 0;
    for (bool more = true; more; ++calls) {
      const std::size_t before = table.size();
      more = table.expire(late, kSteps);
      EXPECT_LE(before - table.size(), kSteps);
      ASSERT_LT(calls, 7 * kKeys / kSteps);  // a step a level, and one for the end of the entry
    }
    EXPECT_GE(calls, kKeys / kSteps);
    EXPECT_EQ(table.size(), 0u);
    EXPECT_EQ(table.counters().expired, kKeys);
    EXPECT_EQ(table.next_expiry(), runtime::kNever);
  });
}

TEST(CacheTable, AnEntryIsThereUntilItsLastMillisecond) {
  on_a_core([] {
    CacheTable table(options_of(kMiB));
    for (const std::uint64_t ms : {1u, 63u, 64u, 65u, 4095u, 4096u, 4097u, 300'000u, 86'400'000u}) {
      const std::string key = std::to_string(ms);
      ASSERT_TRUE(put(table, key, "value", for_ms(ms)));
      const Nanoseconds end = kNow + static_cast<Nanoseconds>(ms) * kMillisecond;
      EXPECT_TRUE(has(table, key, end - 1));
      EXPECT_FALSE(has(table, key, end));
      while (table.expire(end - 1, 10)) {
      }
      EXPECT_TRUE(has(table, key, end - 1));
      while (table.expire(end, 10)) {
      }
      EXPECT_EQ(table.size(), 0u) << ms;
    }
  });
}

TEST(CacheTable, ASlidingEntryLivesWhileItIsRead) {
  on_a_core([] {
    // The wheel handles short spans in its first level, long ones on their way down to it.
    for (const std::uint64_t span : {40u, 1000u}) {
      CacheTable table(options_of(kMiB));
      const CacheKey key = table.key("session");
      const auto ms = static_cast<Nanoseconds>(span) * kMillisecond;
      table.set(key, bytes_of("value"),
                {.lifetime = {.kind = CacheLifetime::Kind::span, .sliding = true, .ms = span}},
                kNow);
      Nanoseconds now = kNow;
      for (int i = 0; i < 100; ++i) {
        now += ms * 9 / 10;
        while (table.expire(now, 100)) {
        }
        const CacheFound found = table.get(key, now);
        ASSERT_EQ(found.status, CacheStatus::ok);
        EXPECT_EQ(found.ttl_ms, span);
      }
      now += ms - kMillisecond;
      EXPECT_EQ(table.peek(key, now).ttl_ms, 1u);  // which does not slide
      now += kMillisecond;
      EXPECT_EQ(table.get(key, now).status, CacheStatus::missing);
    }
  });
}

TEST(CacheTable, AWalkVisitsOnceWhatIsThereThroughoutWhateverElseComesAndGoes) {
  on_a_core([] {
    CacheTable table(options_of(64 * kMiB));
    for (std::size_t i = 0; i < 1000; ++i) put(table, fmt::format("stay:{}", i), "value");
    std::set<std::string> seen;
    std::uint64_t cursor = 0;
    std::size_t pieces = 0;
    do {
      const CacheWalk walk = table.scan(
          "stay:", cursor, 20, kNow,
          [](void* context, std::string_view key, const CacheFound&) {
            EXPECT_TRUE(static_cast<std::set<std::string>*>(context)->emplace(key).second) << key;
          },
          &seen);
      EXPECT_LE(walk.examined, 100u);
      cursor = walk.next;
      // The table grows to 40 times its size, and shrinks again.
      const std::size_t step = ++pieces % 400;
      for (std::size_t i = 0; i < 200; ++i) {
        const std::string other = fmt::format("other:{}", (step % 200) * 200 + i);
        if (step < 200) {
          put(table, other, "value");
        } else {
          table.remove(table.key(other), 0, kNow);
        }
      }
    } while (cursor != 0);
    EXPECT_EQ(seen.size(), 1000u);
    EXPECT_GT(pieces, 40u);
  });
}

TEST(CacheTable, DeletesAPrefixInPiecesAndLeavesOthers) {
  on_a_core([] {
    CacheTable table(options_of(16 * kMiB));
    for (std::size_t i = 0; i < 20'000; ++i) {
      put(table, fmt::format("{}:{}", i % 4 == 0 ? "go" : "stay", i), "value");
    }
    std::uint64_t cursor = 0;
    std::uint64_t deleted = 0;
    do {
      const std::size_t before = table.size();
      const CacheWalk walk = table.remove_prefix("go:", cursor, 100, kNow);
      EXPECT_LE(walk.examined, 200u);
      EXPECT_EQ(before - table.size(), walk.matched);
      deleted += walk.matched;
      cursor = walk.next;
    } while (cursor != 0);
    EXPECT_EQ(deleted, 5000u);
    EXPECT_EQ(table.size(), 15'000u);
  });
}

TEST(CacheTable, ValuesThatReadersHoldCountUntilTheyLetGo) {
  on_a_core([] {
    CacheTable table(options_of(4 * kMiB));
    const std::string large(256 * 1024, 'v');
    std::vector<SharedBytes> held;
    for (std::size_t i = 0; i < 100; ++i) {
      if (put(table, numbered(i), large)) {
        held.push_back(table.get(table.key(numbered(i)), kNow).block->share());
      }
      ASSERT_LE(table.memory().used, 4 * kMiB);
    }
    // Readers hold all memory: nothing can give way.
    EXPECT_GE(held.size(), 10u);
    EXPECT_LE(held.size(), 15u);
    EXPECT_EQ(table.set(table.key("more"), bytes_of(large), {}, kNow).status,
              CacheStatus::no_memory);
    EXPECT_GT(table.memory().held, 3 * kMiB / 2);
    // They wait for nobody's socket, so the core counts them as the cache's, not as shared blocks.
    EXPECT_EQ(runtime::Core::current().memory().held(runtime::MemoryKind::shared), 0u);
    EXPECT_GT(runtime::Core::current().memory().held(runtime::MemoryKind::cache), 3 * kMiB);
    EXPECT_EQ(std::memcmp(held.front().data(), large.data(), large.size()), 0);
    held.clear();
    EXPECT_TRUE(put(table, "more", large));
    while (table.expire(kNow, 100)) {
    }
    EXPECT_LT(table.memory().held, 4096u);
  });
}

TEST(CacheTable, WhatCanNeverFitIsTooLargeAndChangesNothing) {
  on_a_core([] {
    CacheTable table(options_of(kMiB));
    ASSERT_TRUE(put(table, "key", "old"));
    ASSERT_TRUE(put(table, "other", "other"));
    const std::string large(1000 * 1024, 'v');
    const std::string larger(kCacheValueBytesMax + 1, 'v');
    EXPECT_EQ(table.set(table.key("key"), bytes_of(large), {}, kNow).status,
              CacheStatus::too_large);
    EXPECT_EQ(table.set(table.key("key"), bytes_of(larger), {}, kNow).status,
              CacheStatus::too_large);
    EXPECT_TRUE(has(table, "other"));
    EXPECT_EQ(table.get(table.key("key"), kNow).bytes.size(), 3u);
    EXPECT_EQ(table.counters().refused, 2u);
    EXPECT_EQ(table.set(table.key(""), {}, {}, kNow).status, CacheStatus::key_invalid);
    EXPECT_EQ(table.set(table.key(std::string(1025, 'k')), {}, {}, kNow).status,
              CacheStatus::key_invalid);
    EXPECT_TRUE(put(table, std::string(1024, 'k'), ""));
    const CacheFound empty = table.get(table.key(std::string(1024, 'k')), kNow);
    EXPECT_EQ(empty.status, CacheStatus::ok);  // an empty value is not a missing one
    EXPECT_TRUE(empty.bytes.empty());
  });
}

TEST(CacheTable, AnEntryOf16And64BytesTakesLessThanThreeQuartersOfRedis) {
  on_a_core([] {
    // redis-server 7.0.15: 168.5 bytes of used_memory for each of a million such keys.
    constexpr double kRedis = 168.5;
    CacheTable table(options_of(64 * kMiB));
    const std::size_t before = table.memory().used;
    const std::string value(64, 'v');
    for (std::size_t keys = 1; keys <= 400'000; ++keys) {
      ASSERT_TRUE(put(table, numbered(keys), value));
      // Also on the way, whatever the state of growth.
      if (keys < 100'000 || keys % 10'000 != 0) continue;
      const double each =
          static_cast<double>(table.memory().used - before) / static_cast<double>(keys);
      EXPECT_LE(each, 0.75 * kRedis) << keys;
    }
    EXPECT_EQ(table.size(), 400'000u);
  });
}

TEST(CacheTable, ReadsAllocateNothingAndWritesOnlyTheirBlocks) {
  on_a_core([] {
    CacheTable table(options_of(2 * kMiB));
    tests::Prng prng(5);
    const std::string value(200, 'v');
    const std::string large(3000, 'v');
    const auto write = [&](std::size_t number) {
      put(table, numbered(number), std::string_view(value).substr(0, 30 + number % 170),
          number % 2 == 0 ? for_ms(1000 + number) : CacheTable::SetOptions{});
    };
    for (std::size_t i = 0; i < 50'000; ++i) write(prng.below(40'000));  // full, and evicting
    ASSERT_GT(table.counters().evicted_budget, 10'000u);
    std::vector<CacheKey> keys;
    std::vector<std::string> names;
    for (std::size_t i = 0; i < 1000; ++i) names.push_back(numbered(i));
    for (const std::string& name : names) keys.push_back(table.key(name));

    std::size_t before = tests::allocations;
    std::uint64_t found = 0;
    for (const CacheKey& key : keys) found += table.get(key, kNow).bytes.size();
    EXPECT_EQ(tests::allocations - before, 0u);
    EXPECT_GT(found, 0u);

    // Pages are reused: a few are made while others are given back.
    before = tests::allocations;
    for (const CacheKey& key : keys) {
      table.set(key, bytes_of(value), {}, kNow);
      table.set(key, bytes_of("short"), for_ms(5000), kNow);
      table.increment(key, {}, kNow);
    }
    EXPECT_LE(tests::allocations - before, 50u);

    before = tests::allocations;
    for (std::size_t i = 0; i < 100; ++i) table.set(keys[i], bytes_of(large), {}, kNow);
    EXPECT_GE(tests::allocations - before, 100u);
    EXPECT_LE(tests::allocations - before, 110u);
  });
}

TEST(CacheTable, GivesMemoryOfOneSizeToAnother) {
  on_a_core([] {
    const auto fill = [](CacheTable& table, std::size_t bytes, std::string_view prefix) {
      const std::string value(bytes, 'v');
      for (std::size_t i = 0; i < 60'000; ++i) put(table, fmt::format("{}{}", prefix, i), value);
    };
    const auto count = [](CacheTable& table, std::string_view prefix) {
      std::uint64_t cursor = 0;
      std::size_t found = 0;
      do {
        const CacheWalk walk = table.scan(
            prefix, cursor, 1000, kNow, [](void*, std::string_view, const CacheFound&) {}, nullptr);
        found += walk.matched;
        cursor = walk.next;
      } while (cursor != 0);
      return found;
    };
    CacheTable alone(options_of(4 * kMiB));
    fill(alone, 700, "b");
    CacheTable changed(options_of(4 * kMiB));
    fill(changed, 60, "a");
    ASSERT_GT(count(changed, "a"), 30'000u);
    tests::Prng prng(1);
    for (int i = 0; i < 20'000; ++i) {
      const std::string key = fmt::format("a{}", 59'999 - 15 * prng.below(2000));
      changed.get(changed.key(key), kNow);  // those stay, one here and one there
    }
    fill(changed, 700, "b");
    EXPECT_LE(changed.memory().used, 4 * kMiB);
    EXPECT_GT(count(changed, "b"), count(alone, "b") * 3 / 4);
  });
}

TEST(CacheTable, AnEntryThatMovesWhileItIsReplacedStaysWhole) {
  on_a_core([] {
    CacheTable table(options_of(kMiB));
    std::size_t keys = 0;
    while (table.counters().evicted_budget == 0) {
      ASSERT_TRUE(put(table, numbered(keys), fmt::format("small {}", keys)));
      ++keys;
    }
    // Every page keeps some entries; room for larger ones is made by emptying pages.
    for (std::size_t i = 0; i < keys; ++i) {
      if (i % 8 != 0) table.remove(table.key(numbered(i)), 0, kNow);
    }
    const std::uint64_t evicted = table.counters().evicted_budget;
    std::size_t written = 0;
    tests::Prng prng(4);
    std::vector<std::size_t> order;
    for (std::size_t i = 8; i < keys; i += 8) order.push_back(i);
    std::shuffle(order.begin(), order.end(), prng);
    for (const std::size_t i : order) {
      const std::string large = fmt::format("{:0300}", i);
      if (!has(table, numbered(i))) continue;
      ASSERT_TRUE(put(table, numbered(i), large, for_ms(1000 + i)));
      EXPECT_EQ(table.peek(table.key(numbered(i)), kNow).ttl_ms, 1000 + i);
      ++written;
    }
    EXPECT_GT(written, 600u);
    EXPECT_EQ(table.counters().evicted_budget, evicted);
    for (std::size_t i = 8; i < keys; i += 8) {
      const CacheFound found = table.peek(table.key(numbered(i)), kNow);
      if (found.status != CacheStatus::ok) continue;
      EXPECT_EQ(
          std::string_view(reinterpret_cast<const char*>(found.bytes.data()), found.bytes.size()),
          fmt::format("{:0300}", i));
    }
  });
}

TEST(CacheTable, AScanOfManyKeysDoesNotEvictWhatIsReadOften) {
  on_a_core([] {
    CacheTable table(options_of(2 * kMiB));
    const std::string value(64, 'v');
    const auto read = [&](std::size_t number) {
      const std::string key = numbered(number);
      if (table.get(table.key(key), kNow).status != CacheStatus::ok) put(table, key, value);
    };
    for (int round = 0; round < 5; ++round) {
      for (std::size_t i = 0; i < 5000; ++i) read(i);
    }
    for (std::size_t i = 0; i < 200'000; ++i) read(1'000'000 + i);
    std::size_t left = 0;
    for (std::size_t i = 0; i < 5000; ++i) left += has(table, numbered(i)) ? 1U : 0U;
    EXPECT_GE(left, 4900u);
    EXPECT_GT(table.counters().evicted_budget, 100'000u);
  });
}

TEST(CacheTable, ExpiredEntriesGiveWayBeforeLivingOnes) {
  on_a_core([] {
    CacheTable table(options_of(kMiB));
    const std::string value(100, 'v');
    std::size_t keys = 0;
    while (table.memory().used < kMiB - 2 * CachePages::kPageBytes - 8192) {
      put(table, numbered(keys), value, keys % 2 == 0 ? for_ms(10) : CacheTable::SetOptions{});
      ++keys;
    }
    ASSERT_EQ(table.counters().evicted_budget, 0u);
    const Nanoseconds later = kNow + kSecond;
    for (std::size_t i = 0; i < keys / 3; ++i) {
      ASSERT_TRUE(put(table, numbered(keys + i), value, {}, later));
    }
    // A write looks only so far; expire() takes the wheel on between writes.
    EXPECT_LE(table.counters().evicted_budget, keys / 100);
    EXPECT_GT(table.counters().expired, keys / 4);
    std::size_t left = 0;
    for (std::size_t i = 1; i < keys; i += 2) left += has(table, numbered(i), later) ? 1U : 0U;
    EXPECT_GE(left, keys / 2 - keys / 100 - 1);
  });
}

TEST(CacheTable, ANamespaceHasALimitALifetimeAndCountersOfItsOwn) {
  on_a_core([] {
    const std::vector<CacheNamespaceOptions> spaces{
        {.prefix = "page:", .bytes_max = 200'000, .default_ttl_ms = 500},
        {.prefix = "page:hot:", .bytes_max = 0, .default_ttl_ms = 0}};
    CacheOptions options = options_of(4 * kMiB);
    options.namespaces = spaces;
    CacheTable table(options);
    ASSERT_EQ(table.namespaces(), 3u);
    EXPECT_EQ(table.namespace_prefix(1), "page:");
    const std::string value(100, 'v');
    for (std::size_t i = 0; i < 5000; ++i) {
      ASSERT_TRUE(put(table, fmt::format("page:{}", i), value));
      ASSERT_LE(table.counters(1).bytes, 200'000u);
    }
    for (std::size_t i = 0; i < 3000; ++i) put(table, fmt::format("page:hot:{}", i), value);
    for (std::size_t i = 0; i < 3000; ++i) put(table, fmt::format("other:{}", i), value);
    EXPECT_GT(table.counters(1).evicted_namespace, 3000u);
    EXPECT_GT(table.counters(1).entries, 1200u);
    EXPECT_EQ(table.counters(2).entries, 3000u);
    EXPECT_EQ(table.counters(0).entries, 3000u);
    EXPECT_EQ(table.get(table.key("page:4999"), kNow).ttl_ms, 500u);
    EXPECT_EQ(table.get(table.key("page:hot:1"), kNow).ttl_ms, 0u);
    EXPECT_EQ(table.get(table.key("page:none"), kNow).status, CacheStatus::missing);
    EXPECT_EQ(table.counters(1).hits, 1u);
    EXPECT_EQ(table.counters(1).misses, 1u);
    EXPECT_EQ(table.counters(2).hits, 1u);
    EXPECT_EQ(table.counters().hits, 2u);
    const std::string large(300'000, 'v');
    EXPECT_EQ(table.set(table.key("page:large"), bytes_of(large), {}, kNow).status,
              CacheStatus::too_large);
    // For the budget of all, the fullest gives way: not the one that holds 3,000 entries.
    for (std::size_t i = 0; i < 60'000; ++i) put(table, fmt::format("other:{}", i), value);
    EXPECT_GT(table.counters(0).evicted_budget, 10'000u);
    EXPECT_EQ(table.counters(2).entries, 3000u);
  });
}

TEST(CacheTable, VersionsOfAKeyGrowOverItsDeletion) {
  on_a_core([] {
    CacheTable table(options_of(kMiB));
    const CacheKey key = table.key("key");
    std::uint64_t last = 0;
    for (int i = 0; i < 10; ++i) {
      const CacheChanged set = table.set(key, bytes_of("value"), {}, kNow);
      EXPECT_GT(set.version, last);
      const CacheChanged gone = table.remove(key, set.version, kNow);
      EXPECT_EQ(gone.status, CacheStatus::ok);
      EXPECT_GT(gone.version, set.version);
      last = gone.version;
    }
  });
}

TEST(CacheTable, ASmallerBudgetIsReachedInSteps) {
  on_a_core([] {
    CacheTable table(options_of(8 * kMiB));
    const std::string value(100, 'v');
    for (std::size_t i = 0; i < 40'000; ++i) put(table, numbered(i), value);
    ASSERT_GT(table.memory().used, 5 * kMiB);
    table.set_bytes_max(kMiB);
    for (int calls = 0; table.expire(kNow, 100); ++calls) ASSERT_LT(calls, 1000);
    EXPECT_LE(table.memory().used, kMiB);
    EXPECT_GT(table.size(), 5000u);
    const std::size_t counted = runtime::Core::current().memory().held(runtime::MemoryKind::cache);
    EXPECT_EQ(counted, table.memory().pages + table.memory().index + table.memory().ghosts);
  });
}

}  // namespace
}  // namespace corelane
