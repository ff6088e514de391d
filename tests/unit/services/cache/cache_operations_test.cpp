// Goal: the cache as a coroutine of an application uses it: framework::cache. Method: coroutines on
// the cores of a node, with keys of their own core and of another one.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "services/framework.hpp"
#include "tests/unit/services/cache/cache_requests.hpp"

namespace corelane {
namespace {

using framework::cache;
using protocol::ErrorCode;
using runtime::CoreId;
using runtime::Task;
using tests::key_of_core;
using tests::NodeUnderTest;
using tests::with_node;

Task<void> put(std::string key, std::string value, framework::cache_set_options how = {}) {
  const auto set = co_await cache.set(key, value, how);
  EXPECT_EQ(set->code, ErrorCode::none) << key;
}

// Runs the body on core 0 with a key of each core.
using OperationTest = Task<void> (*)(std::string key);
void for_each_owner(OperationTest body) {
  for (CoreId cores = 1; cores <= 2; ++cores) {
    with_node(tests::node_cores(cores), {}, [cores, body](NodeUnderTest&) -> Task<void> {
      for (CoreId owner = 0; owner < cores; ++owner) {
        SCOPED_TRACE(testing::Message() << "a key of core " << owner << " of " << cores);
        co_await body(key_of_core(owner));
      }
    });
  }
}

TEST(CacheOperations, AHandlerSetsGetsAndRemoves) {
  for_each_owner([](std::string key) -> Task<void> {
    const auto missing = co_await cache.get(key);
    EXPECT_EQ(missing->code, ErrorCode::key_missing);
    const auto set = co_await cache.set(key, "Ada", {.ttl = framework::seconds(60)});
    EXPECT_EQ(set->code, ErrorCode::none);
    const auto got = co_await cache.get(key);
    EXPECT_EQ(got->code, ErrorCode::none);
    EXPECT_EQ(got->value.text(), "Ada");
    EXPECT_EQ(got->version, set->version);
    EXPECT_GT(got->ttl_left_ms, 0u);
    const auto same = co_await cache.get(key, set->version);
    EXPECT_EQ(same->code, ErrorCode::not_modified);
    const auto exists = co_await cache.set(key, "x", {.create_only = true});
    EXPECT_EQ(exists->code, ErrorCode::key_exists);
    const auto mismatch = co_await cache.set(key, "x", {.if_version = set->version + 1});
    EXPECT_EQ(mismatch->code, ErrorCode::version_mismatch);
    EXPECT_EQ(mismatch->version, set->version);
    const auto touched = co_await cache.touch(key, framework::cache_forever);
    EXPECT_EQ(touched->code, ErrorCode::none);
    const auto forever = co_await cache.get(key);
    EXPECT_EQ(forever->ttl_left_ms, 0u);
    const auto removed = co_await cache.remove(key);
    EXPECT_EQ(removed->code, ErrorCode::none);
    const auto replaced = co_await cache.set(key, "x", {.replace_only = true});
    EXPECT_EQ(replaced->code, ErrorCode::key_missing);
    const auto untouched = co_await cache.touch(key, framework::seconds(1));
    EXPECT_EQ(untouched->code, ErrorCode::key_missing);
  });
}

TEST(CacheOperations, NumbersAndAppendsKeepWhatIsThere) {
  for_each_owner([](std::string key) -> Task<void> {
    const auto first = co_await cache.increment(key, 5, 100);
    EXPECT_EQ(first->number, 105);
    const auto second = co_await cache.increment(key, -10);
    EXPECT_EQ(second->number, 95);
    EXPECT_GT(second->version, first->version);
    const auto text = co_await cache.get(key);
    EXPECT_EQ(text->value.text(), "95");
    const auto longer = co_await cache.append(key, framework::bytes_of("x"));
    EXPECT_EQ(longer->code, ErrorCode::none);
    const auto none = co_await cache.increment(key);
    EXPECT_EQ(none->code, ErrorCode::not_a_number);
    const auto appended = co_await cache.get(key);
    EXPECT_EQ(appended->value.text(), "95x");
  });
}

TEST(CacheOperations, AValueThatIsHeldStaysAsItWas) {
  for_each_owner([](std::string key) -> Task<void> {
    const std::string large(50'000, 'a');
    co_await put(key, large);
    const auto held = co_await cache.get(key);
    co_await put(key, std::string(50'000, 'b'));
    const auto removed = co_await cache.remove(key);
    EXPECT_EQ(removed->code, ErrorCode::none);
    EXPECT_TRUE(held->value.text() == large);
  });
}

TEST(CacheOperations, WhatCannotBeStoredIsTold) {
  for_each_owner([](std::string key) -> Task<void> {
    const auto invalid = co_await cache.set("", "x");
    EXPECT_EQ(invalid->code, ErrorCode::key_invalid);
    const auto larger = co_await cache.set(key, std::string(1024 * 1024 + 1, 'x'));
    EXPECT_EQ(larger->code, ErrorCode::payload_too_large);
  });
}

TEST(CacheOperations, AMultiGetAnswersEachKeyOnItsOwn) {
  with_node(2, [](NodeUnderTest&) -> Task<void> {
    const std::string mine = key_of_core(0);
    const std::string others = key_of_core(1);
    co_await put(mine, "mine");
    co_await put(others, std::string(5000, 'o'));
    const std::string_view keys[] = {others, "missing", mine, "", mine};
    const auto many = co_await cache.multi_get(keys);
    EXPECT_EQ(many->got.size(), 5u);
    if (many->got.size() != 5) co_return;
    EXPECT_EQ(many->got[0].value.bytes().size(), 5000u);
    EXPECT_EQ(many->got[1].code, ErrorCode::key_missing);
    EXPECT_EQ(many->got[2].value.text(), "mine");
    EXPECT_EQ(many->got[3].code, ErrorCode::key_invalid);
    EXPECT_EQ(many->got[4].value.text(), "mine");
    const auto none = co_await cache.multi_get({});
    EXPECT_TRUE(none->got.empty());
  });
}

TEST(CacheOperations, AWalkFindsEveryKeyOnceAndRemovesAll) {
  for (CoreId cores = 1; cores <= 2; ++cores) {
    with_node(tests::node_cores(cores), {}, [](NodeUnderTest&) -> Task<void> {
      for (int i = 0; i < 500; ++i) {
        co_await put("in/" + std::to_string(i), "x");
        co_await put("out/" + std::to_string(i), "x");
      }
      std::vector<int> found(500);
      std::uint64_t cursor = 0;
      do {
        const auto step = co_await services::Cache::scan("in/", cursor, 10);
        EXPECT_LT(step->keys.size(), 100u) << "about 10";
        for (const services::CacheKeyFound& key : step->keys) {
          const auto n = static_cast<std::size_t>(std::stoi(key.key.substr(3)));
          ++found[n];
          EXPECT_EQ(key.value_bytes, 1u);
        }
        cursor = step->cursor;
      } while (cursor != 0);
      EXPECT_TRUE(found == std::vector<int>(500, 1));
      std::uint64_t removed = 0;
      do {
        const auto step = co_await services::Cache::remove_prefix("in/", cursor);
        removed += step->removed;
        cursor = step->cursor;
      } while (cursor != 0);
      EXPECT_EQ(removed, 500u);
      const auto gone = co_await cache.get("in/7");
      EXPECT_EQ(gone->code, ErrorCode::key_missing);
      const auto kept = co_await cache.get("out/7");
      EXPECT_EQ(kept->code, ErrorCode::none);
      const auto bad = co_await services::Cache::scan("", std::uint64_t{99} << 32, 10);
      EXPECT_TRUE(bad->keys.empty());
      EXPECT_EQ(bad->cursor, 0u) << "a core that is none";
      const auto report = co_await services::Cache::report();
      EXPECT_EQ(report->spaces.size(), 1u);
      EXPECT_EQ(report->spaces[0].counters.entries, 500u);
      EXPECT_EQ(report->spaces[0].counters.deletes, 500u);
      EXPECT_LE(report->memory_used, report->memory_max);
    });
  }
}

TEST(CacheOperations, ANamespaceHasATimeToLiveOfItsOwn) {
  services::NodeOptions options;
  options.cache.namespaces = {"session: ttl=30m memory=8MiB", "session:admin: ttl=1m"};
  with_node(tests::node_cores(2), options, [](NodeUnderTest&) -> Task<void> {
    co_await put("session:1", "x");
    co_await put("session:admin:1", "x");
    co_await put("other", "x");
    co_await put("session:2", "x", {.ttl = framework::cache_forever});
    const auto session = co_await cache.get("session:1");
    EXPECT_GT(session->ttl_left_ms, 60'000u);
    EXPECT_LE(session->ttl_left_ms, 1'800'000u);
    const auto admin = co_await cache.get("session:admin:1");
    EXPECT_GT(admin->ttl_left_ms, 0u);
    EXPECT_LE(admin->ttl_left_ms, 60'000u);
    const auto other = co_await cache.get("other");
    EXPECT_EQ(other->ttl_left_ms, 0u);
    const auto forever = co_await cache.get("session:2");
    EXPECT_EQ(forever->ttl_left_ms, 0u);
    const auto report = co_await services::Cache::report();
    EXPECT_EQ(report->spaces.size(), 3u);
    for (const services::CacheReport::Space& space : report->spaces) {
      const std::uint64_t expected = space.prefix == "session:" ? 2 : 1;
      EXPECT_EQ(space.counters.entries, expected) << space.prefix;
    }
  });
}

TEST(CacheOperations, NamespacesThatCannotBeEndTheStart) {
  for (const std::vector<std::string>& bad :
       {std::vector<std::string>{"a ttl=1x"}, {"a memory=1"}, {"a other=1"}, {"a", "a"}, {""}}) {
    services::CacheServiceOptions options;
    options.namespaces = bad;
    EXPECT_THROW(services::cache_namespaces(options, 2), std::invalid_argument) << bad[0];
  }
}

}  // namespace
}  // namespace corelane
