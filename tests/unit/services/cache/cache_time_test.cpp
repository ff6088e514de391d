// Goal: times to live, as clients see them. Method: in the simulation, where an hour passes at
// once.
#include <gtest/gtest.h>

#include "tests/unit/services/cache/cache_requests.hpp"

namespace corelane {
namespace {

using protocol::ErrorCode;
using runtime::kMillisecond;
using runtime::kSecond;
using runtime::Task;
using tests::cache_get;
using tests::cache_set;
using tests::CacheReply;
using tests::NodeUnderTest;
using tests::ProtocolClient;

TEST(CacheTime, AKeyIsMissingFromTheEndOfItsTimeToLiveOn) {
  tests::for_every_owner([](NodeUnderTest&, ProtocolClient* client, std::string key) -> Task<void> {
    co_await cache_set(client, key, "x", {.ttl_ms = 10'000});
    co_await runtime::sleep_for(9 * kSecond);
    const CacheReply there = co_await cache_get(client, key);
    EXPECT_EQ(there.code, ErrorCode::none);
    EXPECT_GT(there.ttl_left_ms, 0u);
    EXPECT_LE(there.ttl_left_ms, 1000u);
    co_await runtime::sleep_for(1001 * kMillisecond);
    const CacheReply gone = co_await cache_get(client, key);
    EXPECT_EQ(gone.code, ErrorCode::key_missing);
    const CacheReply again = co_await cache_set(client, key, "y");
    EXPECT_GT(again.version, there.version);
  });
}

TEST(CacheTime, EachReadStartsASlidingTimeToLiveOver) {
  tests::for_every_owner([](NodeUnderTest&, ProtocolClient* client, std::string key) -> Task<void> {
    co_await cache_set(client, key, "x", {.ttl_ms = 10'000, .sliding = true});
    for (int i = 0; i < 5; ++i) {
      co_await runtime::sleep_for(9 * kSecond);
      const CacheReply there = co_await cache_get(client, key);
      EXPECT_EQ(there.code, ErrorCode::none);
    }
    co_await runtime::sleep_for(10 * kSecond + kMillisecond);
    const CacheReply gone = co_await cache_get(client, key);
    EXPECT_EQ(gone.code, ErrorCode::key_missing);
  });
}

// Nobody asks for them: the timer gives their memory back.
TEST(CacheTime, ExpiredValuesGiveTheirMemoryBackWithoutBeingRead) {
  tests::with_node(2, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect_on(0);
    const auto entries = [](services::CoreNode&) {
      return services::Cache::local().table().size();
    };
    for (int i = 0; i < 200; ++i) {
      co_await cache_set(client, "long " + std::to_string(i), "x", {.ttl_ms = 3'600'000});
      co_await cache_set(client, "short " + std::to_string(i), std::string(3000, 'v'),
                         {.ttl_ms = 5000 + static_cast<std::uint64_t>(i)});
    }
    const std::uint64_t all = co_await test.total(entries);
    EXPECT_EQ(all, 400u);
    co_await runtime::sleep_for(10 * kSecond);
    const std::uint64_t rest = co_await test.total(entries);
    EXPECT_EQ(rest, 200u);
    const std::uint64_t expired = co_await test.total(
        [](services::CoreNode&) { return services::Cache::local().table().counters().expired; });
    EXPECT_EQ(expired, 200u);
    co_await runtime::sleep_for(3600 * kSecond);
    const std::uint64_t none = co_await test.total(entries);
    EXPECT_EQ(none, 0u);
  });
}

}  // namespace
}  // namespace corelane
