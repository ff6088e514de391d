// Goal: a missing value is computed once in the whole server, and by another one if the first
// fails. Method: clients and coroutines on the cores of a node that ask for one key at a time.
#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <vector>

#include "runtime/task_group.hpp"
#include "services/framework.hpp"
#include "tests/unit/services/cache/cache_requests.hpp"

namespace corelane {
namespace {

using framework::cache;
using protocol::ErrorCode;
using protocol::Opcode;
using runtime::Core;
using runtime::CoreId;
using runtime::kMillisecond;
using runtime::kSecond;
using runtime::Task;
using services::Cache;
using tests::ask_cache;
using tests::cache_delete;
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

// --- Coroutines

std::atomic<int> computed;  // runs of the function
std::atomic<int> served;    // callers with the right value

struct Compute {
  Task<std::string> operator()() const {
    ++computed;
    co_await runtime::sleep_for(5 * kMillisecond);
    co_return std::string(3000, 'c');
  }
};

Task<void> ask(std::string key) {
  const auto got = co_await cache.get_or_compute(key, framework::seconds(60), Compute{});
  EXPECT_TRUE(got);
  if (!got) co_return;
  EXPECT_EQ(got->code, ErrorCode::none);
  if (got->value.text() == std::string(3000, 'c')) ++served;
}

Task<void> stampede(std::string key, int callers) {
  runtime::TaskGroup group("stampede");
  for (int i = 0; i < callers; ++i) group.spawn("ask", ask, key);
  co_await group.join();
}

TEST(CacheLease, ThreeHundredWhoMissAtOnceComputeOnce) {
  for (CoreId cores = 1; cores <= 2; ++cores) {
    with_node(tests::node_cores(cores), {}, [cores](NodeUnderTest&) -> Task<void> {
      for (CoreId owner = 0; owner < cores; ++owner) {
        computed = 0;
        served = 0;
        const std::string key = key_of_core(owner);
        runtime::TaskGroup group("cores");
        for (CoreId core = 0; core < cores; ++core) {
          group.spawn(
              "core",
              [](CoreId on, std::string of, int callers) -> Task<void> {
                auto function = [of, callers] { return stampede(of, callers); };
                co_await runtime::submit_to(on, std::move(function));
              },
              core, key, 300 / cores);
        }
        co_await group.join();
        EXPECT_EQ(computed, 1);
        EXPECT_EQ(served, 300);
        const auto there = co_await cache.get(key);
        EXPECT_EQ(there->value.text().size(), 3000u);
      }
    });
  }
}

std::atomic<int> attempts;

struct FailsTwice {
  Task<std::string> operator()() const {
    const int attempt = ++attempts;
    co_await runtime::sleep_for(kMillisecond);
    if (attempt <= 2) throw std::runtime_error("the source is away");
    co_return "third";
  }
};

Task<void> ask_one_that_fails(std::string key, int* failed, int* right) {
  try {
    const auto got = co_await cache.get_or_compute(key, 0, FailsTwice{});
    if (got && got->value.text() == "third") ++*right;
  } catch (const std::runtime_error&) {
    ++*failed;
  }
}

TEST(CacheLease, WhenTheFunctionFailsTheNextOneWhoWaitsComputes) {
  with_node(tests::node_cores(2), {}, [](NodeUnderTest&) -> Task<void> {
    for (CoreId owner = 0; owner < 2; ++owner) {
      attempts = 0;
      int failed = 0;
      int right = 0;
      runtime::TaskGroup group("callers");
      const std::string key = key_of_core(owner);
      for (int i = 0; i < 10; ++i) {
        group.spawn("ask", ask_one_that_fails, key, &failed, &right);
      }
      co_await group.join();
      EXPECT_EQ(failed, 2);
      EXPECT_EQ(right, 8);
      EXPECT_EQ(attempts, 3);
    }
  });
}

struct NeverEnds {
  Task<std::string> operator()() const {
    ++attempts;
    co_await runtime::sleep_for(3600 * kSecond);
    co_return "never";
  }
};

Task<void> ask_and_be_cancelled(std::string key) {
  const auto got = co_await cache.get_or_compute(key, 0, NeverEnds{});
  EXPECT_FALSE(got && got->value.text() == "never");
}

TEST(CacheLease, AHolderThatIsCancelledLetsTheLeaseGo) {
  with_node(tests::node_cores(2), {}, [](NodeUnderTest&) -> Task<void> {
    for (CoreId owner = 0; owner < 2; ++owner) {
      const std::string key = key_of_core(owner);
      attempts = 0;
      runtime::TaskGroup holder("holder");
      holder.spawn("holder", ask_and_be_cancelled, key);
      while (attempts == 0) co_await runtime::sleep_for(kMillisecond);
      computed = 0;
      served = 0;
      runtime::TaskGroup group("waits");
      group.spawn("ask", ask, key);
      co_await runtime::sleep_for(2 * kMillisecond);
      EXPECT_EQ(computed, 0);
      holder.cancel();
      co_await holder.join();
      co_await group.join();
      EXPECT_EQ(computed, 1);
      EXPECT_EQ(served, 1);
    }
  });
}

// --- Clients

Task<CacheReply> lease(ProtocolClient* client, std::string key, std::uint32_t wait_ms,
                       std::uint32_t lease_ms = 0) {
  const protocol::CacheLeaseBody body{.key = key, .wait_ms = wait_ms, .lease_ms = lease_ms};
  co_return co_await ask_cache(client, body);
}

TEST(CacheLease, OneClientComputesAndTheOthersGetWhatItStores) {
  for_every_owner([](NodeUnderTest& test, ProtocolClient* client, std::string key) -> Task<void> {
    const CacheReply holder = co_await lease(client, key, 0);
    EXPECT_EQ(holder.opcode, Opcode::CacheLeaseReply);
    EXPECT_EQ(holder.code, ErrorCode::key_missing);
    EXPECT_NE(holder.lease, 0u);
    ProtocolClient* other = co_await test.connect_on(0);
    const CacheReply at_once = co_await lease(other, key, 0);
    EXPECT_EQ(at_once.code, ErrorCode::key_missing);
    EXPECT_EQ(at_once.lease, 0u) << "another one computes it, and this one does not wait";
    const protocol::CacheLeaseBody wait{.key = key, .wait_ms = 60'000};
    const protocol::Uuid waits = other->send(wait);
    const CacheReply forged = co_await cache_set(client, key, "x", {.lease = holder.lease + 2});
    EXPECT_EQ(forged.code, ErrorCode::lease_lost);
    co_await other->settle();
    EXPECT_FALSE(other->has_reply(waits));
    const CacheReply stored = co_await cache_set(client, key, "done", {.lease = holder.lease});
    EXPECT_EQ(stored.code, ErrorCode::none);
    const ServerMessage message = co_await other->reply(waits);
    const CacheReply got = tests::read_cache_reply(message);
    EXPECT_EQ(got.code, ErrorCode::none);
    EXPECT_EQ(got.value, "done");
    EXPECT_EQ(got.version, stored.version);
    const CacheReply there = co_await lease(client, key, 0);
    EXPECT_EQ(there.value, "done");
    EXPECT_EQ(there.lease, 0u);
    const CacheReply again = co_await cache_set(client, key, "late", {.lease = holder.lease});
    EXPECT_EQ(again.code, ErrorCode::lease_lost);
    EXPECT_EQ(again.version, stored.version);
  });
}

// What the holder computes may be of the time before the deletion.
TEST(CacheLease, ADeletionTakesTheLeaseFromItsHolder) {
  for_every_owner([](NodeUnderTest& test, ProtocolClient* client, std::string key) -> Task<void> {
    const CacheReply holder = co_await lease(client, key, 0, 60'000);
    ProtocolClient* other = co_await test.connect_on(0);
    const protocol::CacheLeaseBody wait{.key = key, .wait_ms = 30'000};
    const protocol::Uuid waits = other->send(wait);
    // The wait has begun when the other's next request of the same core is answered.
    const CacheReply seen = co_await cache_get(other, key);
    EXPECT_EQ(seen.code, ErrorCode::key_missing);
    co_await cache_delete(client, key);
    const ServerMessage message = co_await other->reply(waits);
    const CacheReply next = tests::read_cache_reply(message);
    EXPECT_EQ(next.code, ErrorCode::key_missing);
    EXPECT_NE(next.lease, 0u);
    EXPECT_NE(next.lease, holder.lease);
    const CacheReply lost = co_await cache_set(client, key, "old", {.lease = holder.lease});
    EXPECT_EQ(lost.code, ErrorCode::lease_lost);
    const CacheReply stored = co_await cache_set(other, key, "new", {.lease = next.lease});
    EXPECT_EQ(stored.code, ErrorCode::none);
  });
}

TEST(CacheLease, ADeletionByPrefixTakesTheLeaseFromItsHolder) {
  for_every_owner([](NodeUnderTest&, ProtocolClient* client, std::string key) -> Task<void> {
    const CacheReply holder = co_await lease(client, key, 0, 60'000);
    EXPECT_NE(holder.lease, 0u);
    std::uint64_t cursor = 0;
    do {
      const protocol::CacheDeletePrefixBody body{.prefix = key, .cursor = cursor};
      const ServerMessage reply = co_await client->request(body);
      cursor = 0;
      open_reply<protocol::fbs::CacheDeletePrefixReply>(
          reply, [&](const auto& table) { cursor = table.cursor(); });
    } while (cursor != 0);
    const CacheReply lost = co_await cache_set(client, key, "old", {.lease = holder.lease});
    EXPECT_EQ(lost.code, ErrorCode::lease_lost);
  });
}

TEST(CacheLease, AWaitAndALeaseEndByTheirTime) {
  for_every_owner([](NodeUnderTest& test, ProtocolClient* client, std::string key) -> Task<void> {
    const CacheReply holder = co_await lease(client, key, 0, 1500);
    EXPECT_NE(holder.lease, 0u);
    ProtocolClient* other = co_await test.connect_on(0);
    const CacheReply too_short = co_await lease(other, key, 1);
    EXPECT_EQ(too_short.code, ErrorCode::key_missing);
    EXPECT_EQ(too_short.lease, 0u);
    client->abort();  // its holder is gone
    const CacheReply next = co_await lease(other, key, 60'000, 1);
    EXPECT_NE(next.lease, 0u);
    // This one does not store it in time, either.
    const CacheReply third = co_await lease(other, key, 60'000);
    EXPECT_NE(third.lease, 0u);
    const CacheReply late = co_await cache_set(other, key, "late", {.lease = next.lease});
    EXPECT_EQ(late.code, ErrorCode::lease_lost);
    const CacheReply stored = co_await cache_set(other, key, "x", {.lease = third.lease});
    EXPECT_EQ(stored.code, ErrorCode::none);
  });
}

TEST(CacheLease, AServerThatStopsAnswersWhoWaits) {
  for (CoreId cores = 1; cores <= 2; ++cores) {
    with_node(tests::node_cores(cores), {}, [cores](NodeUnderTest& test) -> Task<void> {
      ProtocolClient* client = co_await test.connect_on(0);
      const std::string key = key_of_core(static_cast<CoreId>(cores - 1));
      const CacheReply holder = co_await lease(client, key, 0, 60'000);
      EXPECT_NE(holder.lease, 0u);
      const protocol::CacheLeaseBody wait{.key = key, .wait_ms = 60'000};
      const protocol::Uuid waits = client->send(wait);
      co_await cache_get(client, key);
      co_await test.drain();
      const ServerMessage message = co_await client->reply(waits);
      EXPECT_EQ(message.opcode, Opcode::Error);
      EXPECT_EQ(message.error, ErrorCode::unavailable);
    });
  }
}

}  // namespace
}  // namespace corelane
