// Goal: the requests of the cache beside get, set and delete, over the wire. Method: whole nodes of
// one and two cores, a client on each core, keys of each core.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/services/cache/cache_requests.hpp"

namespace corelane {
namespace {

using protocol::ErrorCode;
using protocol::Opcode;
using runtime::CoreId;
using runtime::Task;
using tests::ask_cache;
using tests::bytes_of;
using tests::cache_get;
using tests::cache_set;
using tests::CacheReply;
using tests::for_every_owner;
using tests::key_of_core;
using tests::NodeUnderTest;
using tests::open_reply;
using tests::ProtocolClient;
using tests::ServerMessage;
using tests::with_node;

TEST(CacheRequests, ATouchGivesAnotherTimeToLive) {
  for_every_owner([](NodeUnderTest&, ProtocolClient* client, std::string key) -> Task<void> {
    const protocol::CacheTouchBody touch{.key = key, .ttl_ms = 60'000, .sliding = true};
    const CacheReply missing = co_await ask_cache(client, touch);
    EXPECT_EQ(missing.opcode, Opcode::CacheTouchReply);
    EXPECT_EQ(missing.code, ErrorCode::key_missing);
    const CacheReply set = co_await cache_set(client, key, "x");
    const CacheReply touched = co_await ask_cache(client, touch);
    EXPECT_EQ(touched.code, ErrorCode::none);
    EXPECT_EQ(touched.version, set.version);
    const CacheReply got = co_await cache_get(client, key);
    EXPECT_GT(got.ttl_left_ms, 0u);
    EXPECT_LE(got.ttl_left_ms, 60'000u);
    EXPECT_EQ(got.flags, 1u);
  });
}

TEST(CacheRequests, AnIncrementAddsWithinItsBounds) {
  for_every_owner([](NodeUnderTest&, ProtocolClient* client, std::string key) -> Task<void> {
    protocol::CacheIncrementBody body{.key = key, .by = -3, .initial = 10, .low = 0, .high = 10};
    for (const std::int64_t expected : {7, 4, 1}) {
      const CacheReply sum = co_await ask_cache(client, body);
      EXPECT_EQ(sum.opcode, Opcode::CacheIncrementReply);
      EXPECT_EQ(sum.code, ErrorCode::none);
      EXPECT_EQ(sum.number, expected);
    }
    const CacheReply below = co_await ask_cache(client, body);
    EXPECT_EQ(below.code, ErrorCode::out_of_bounds);
    EXPECT_EQ(below.number, 1);
    co_await cache_set(client, key, "9223372036854775807");
    const protocol::CacheIncrementBody one{.key = key, .by = 1};
    const CacheReply over = co_await ask_cache(client, one);
    EXPECT_EQ(over.code, ErrorCode::out_of_bounds);
    co_await cache_set(client, key, "no number");
    const CacheReply none = co_await ask_cache(client, one);
    EXPECT_EQ(none.code, ErrorCode::not_a_number);
  });
}

TEST(CacheRequests, AnAppendMakesTheValueLonger) {
  for_every_owner([](NodeUnderTest&, ProtocolClient* client, std::string key) -> Task<void> {
    const std::string part(700, 'p');
    for (std::size_t n = 1; n <= 3; ++n) {
      const protocol::CacheAppendBody body{.key = key, .data = bytes_of(part), .ttl_ms = 60'000};
      const CacheReply appended = co_await ask_cache(client, body);
      EXPECT_EQ(appended.opcode, Opcode::CacheAppendReply);
      EXPECT_EQ(appended.code, ErrorCode::none);
      const CacheReply got = co_await cache_get(client, key);
      EXPECT_EQ(got.value.size(), n * part.size());
      EXPECT_EQ(got.version, appended.version);
    }
  });
}

Task<ServerMessage> multi_get(ProtocolClient* client, std::vector<std::string> keys) {
  const std::vector<std::string_view> views(keys.begin(), keys.end());
  const protocol::CacheMultiGetBody body{.keys = views};
  co_return co_await client->request(body);
}

TEST(CacheRequests, AMultiGetAnswersEachKeyOnItsOwn) {
  for_every_owner([](NodeUnderTest&, ProtocolClient* client, std::string key) -> Task<void> {
    const CoreId cores = runtime::Core::current().cores();
    std::vector<std::string> keys;
    for (std::size_t i = 0; i < 20; ++i) {
      keys.push_back(key_of_core(static_cast<CoreId>(i % cores), key + "/", i));
      if (i % 4 != 0) co_await cache_set(client, keys[i], std::string(i * 150, 'v'));
    }
    const ServerMessage reply = co_await multi_get(client, keys);
    EXPECT_EQ(reply.opcode, Opcode::CacheMultiGetReply);
    open_reply<protocol::fbs::CacheMultiGetReply>(reply, [&](const auto& table) {
      std::size_t at = 0;
      EXPECT_EQ(table.results()->size(), keys.size());
      for (std::size_t i = 0; i < keys.size() && i < table.results()->size(); ++i) {
        const auto& result = *table.results()->Get(static_cast<unsigned>(i));
        EXPECT_EQ(result.code(), i % 4 == 0 ? ErrorCode::key_missing : ErrorCode::none);
        EXPECT_EQ(result.value_bytes(), i % 4 == 0 ? 0 : i * 150);
        at += result.value_bytes();
      }
      EXPECT_EQ(at, table.values()->size());
    });
  });
}

TEST(CacheRequests, AMultiGetNamesAThousandKeysAndNotOneMore) {
  with_node(1, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect_on(0);
    std::vector<std::string> keys(1000, "k");
    const ServerMessage most = co_await multi_get(client, keys);
    EXPECT_EQ(most.opcode, Opcode::CacheMultiGetReply);
    keys.push_back("k");
    const ServerMessage more = co_await multi_get(client, keys);
    tests::expect_error(more, ErrorCode::too_many_channels, Opcode::CacheMultiGet);
  });
}

// What has no room in one frame is told, and can be had alone.
TEST(CacheRequests, AMultiGetThatIsTooLargeTellsWhichValuesAreLeftOut) {
  with_node(2, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect_on(0);
    std::vector<std::string> keys;
    for (int i = 0; i < 5; ++i) {
      keys.push_back("large " + std::to_string(i));
      co_await cache_set(client, keys.back(), std::string(300'000, 'v'));
    }
    const ServerMessage reply = co_await multi_get(client, keys);
    EXPECT_EQ(reply.opcode, Opcode::CacheMultiGetReply);
    int whole = 0;
    open_reply<protocol::fbs::CacheMultiGetReply>(reply, [&](const auto& table) {
      for (const auto* result : *table.results()) {
        if (result->code() == ErrorCode::none) ++whole;
        if (result->code() != ErrorCode::none) {
          EXPECT_EQ(result->code(), ErrorCode::payload_too_large);
          EXPECT_GT(result->version(), 0u);
        }
      }
    });
    EXPECT_EQ(whole, 3);
  });
}

TEST(CacheRequests, AScanNamesEveryKeyOnceAndADeletionByPrefixTakesThemAll) {
  for (CoreId cores = 1; cores <= 2; ++cores) {
    with_node(tests::node_cores(cores), {}, [](NodeUnderTest& test) -> Task<void> {
      ProtocolClient* client = co_await test.connect_on(0);
      for (int i = 0; i < 200; ++i) {
        co_await cache_set(client, "a/" + std::to_string(i), "12345");
        co_await cache_set(client, "b/" + std::to_string(i), "x");
      }
      std::map<std::string, int> found;
      std::uint64_t cursor = 0;
      int requests = 0;
      do {
        const protocol::CacheScanBody body{.prefix = "a/", .cursor = cursor, .count = 20};
        const ServerMessage reply = co_await client->request(body);
        EXPECT_EQ(reply.opcode, Opcode::CacheScanReply);
        cursor = 0;
        open_reply<protocol::fbs::CacheScanReply>(reply, [&](const auto& table) {
          cursor = table.cursor();
          EXPECT_EQ(table.keys()->size(), table.results()->size());
          for (const auto* key : *table.keys()) ++found[key->str()];
          for (const auto* result : *table.results()) EXPECT_EQ(result->value_bytes(), 5u);
        });
      } while (cursor != 0 && ++requests < 1000);
      EXPECT_EQ(found.size(), 200u);
      for (const auto& [key, times] : found) EXPECT_EQ(times, 1) << key;
      std::uint64_t deleted = 0;
      do {
        const protocol::CacheDeletePrefixBody body{.prefix = "a/", .cursor = cursor};
        const ServerMessage reply = co_await client->request(body);
        cursor = 0;
        open_reply<protocol::fbs::CacheDeletePrefixReply>(reply, [&](const auto& table) {
          cursor = table.cursor();
          deleted += table.deleted();
        });
      } while (cursor != 0);
      EXPECT_EQ(deleted, 200u);
      const CacheReply gone = co_await cache_get(client, "a/5");
      EXPECT_EQ(gone.code, ErrorCode::key_missing);
      const CacheReply kept = co_await cache_get(client, "b/5");
      EXPECT_EQ(kept.code, ErrorCode::none);
      const ServerMessage stats = co_await client->request(protocol::CacheStatsBody{});
      EXPECT_EQ(stats.opcode, Opcode::CacheStatsReply);
      open_reply<protocol::fbs::CacheStatsReply>(stats, [&](const auto& table) {
        EXPECT_EQ(table.prefixes()->size(), 1u);
        const auto& counts = *table.counts()->Get(0);
        EXPECT_EQ(counts.entries(), 200u);
        EXPECT_EQ(counts.sets(), 400u);
        EXPECT_EQ(counts.hits(), 1u);
        EXPECT_EQ(counts.misses(), 1u);
        EXPECT_GT(table.memory_used(), 0u);
        EXPECT_LE(table.memory_used(), table.memory_max());
      });
    });
  }
}

}  // namespace
}  // namespace corelane
