// Goal: CacheGet, CacheSet and CacheDelete do what protocol/README.md promises, for keys of the
// session's own core and of another one, over every transport. Method: whole nodes of one and two
// cores; the simulation runs the same.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "runtime/timeout.hpp"
#include "services/reply/reply.hpp"
#include "tests/unit/services/cache/cache_requests.hpp"

namespace corelane {
namespace {

using protocol::CacheCondition;
using protocol::ErrorCode;
using protocol::Opcode;
using runtime::Core;
using runtime::CoreId;
using runtime::MemoryKind;
using runtime::Task;
using services::Cache;
using tests::bytes_of;
using tests::cache_delete;
using tests::cache_get;
using tests::cache_set;
using tests::CacheReply;
using tests::for_every_owner;
using tests::key_of_core;
using tests::NodeUnderTest;
using tests::ProtocolClient;
using tests::ServerMessage;
using tests::Via;
using tests::with_node;

Task<void> set_and_get_sizes(NodeUnderTest&, ProtocolClient* client, std::string key) {
  std::uint64_t before = 0;
  for (const std::size_t size : {0u, 1u, 7u, 8u, 1023u, 1024u, 1025u, 1031u, 4096u, 300'001u}) {
    std::string value(size, 'v');
    for (std::size_t i = 0; i < size; ++i) value[i] = static_cast<char>(i * 7 + size);
    const CacheReply set = co_await cache_set(client, key, value);
    EXPECT_EQ(set.opcode, Opcode::CacheSetReply);
    EXPECT_EQ(set.code, ErrorCode::none);
    EXPECT_GT(set.version, before) << "versions grow";
    before = set.version;
    for (int i = 0; i < 2; ++i) {
      const CacheReply got = co_await cache_get(client, key);
      EXPECT_EQ(got.opcode, Opcode::CacheGetReply);
      EXPECT_EQ(got.code, ErrorCode::none);
      EXPECT_EQ(got.version, set.version);
      EXPECT_EQ(got.ttl_left_ms, 0u);
      EXPECT_EQ(got.flags, 0u);
      EXPECT_TRUE(got.value == value) << "a value of " << size << " bytes";
    }
  }
}

TEST(CacheRequests, AValueOfAnySizeIsReadAsItWasWritten) {
  for (const Via via : {Via::websocket, Via::tcp, Via::compressed}) {
    SCOPED_TRACE(static_cast<int>(via));
    for_every_owner(set_and_get_sizes, {}, via);
  }
}

// One client writes the frames of several requests in a row, so that heads and shared values of
// many replies lie in one queue.
TEST(CacheRequests, RepliesOfARowOfRequestsKeepTheirValuesApart) {
  for_every_owner([](NodeUnderTest&, ProtocolClient* client, std::string key) -> Task<void> {
    std::vector<std::string> keys;
    for (std::size_t i = 0; i < 12; ++i) {
      keys.push_back(key + "/" + std::to_string(i));
      co_await cache_set(client, keys[i], std::string(i * 300, static_cast<char>('a' + i)));
    }
    std::vector<protocol::Uuid> asked;
    for (int round = 0; round < 5; ++round) {
      for (const std::string& each : keys) {
        asked.push_back(client->send(protocol::CacheGetBody{.key = each}));
      }
    }
    for (std::size_t i = 0; i < asked.size(); ++i) {
      const ServerMessage message = co_await client->reply(asked[i]);
      const CacheReply got = tests::read_cache_reply(message);
      const std::size_t n = i % keys.size();
      EXPECT_TRUE(got.value == std::string(n * 300, static_cast<char>('a' + n))) << n;
    }
  });
}

TEST(CacheRequests, AMissingKeyAndAnEmptyValueAreDifferentAnswers) {
  for_every_owner([](NodeUnderTest&, ProtocolClient* client, std::string key) -> Task<void> {
    const CacheReply missing = co_await cache_get(client, key);
    EXPECT_EQ(missing.opcode, Opcode::CacheGetReply);
    EXPECT_EQ(missing.code, ErrorCode::key_missing);
    EXPECT_EQ(missing.version, 0u);
    EXPECT_EQ(missing.value, "");
    const CacheReply set = co_await cache_set(client, key, "");
    const CacheReply empty = co_await cache_get(client, key);
    EXPECT_EQ(empty.code, ErrorCode::none);
    EXPECT_EQ(empty.version, set.version);
    EXPECT_EQ(empty.value, "");
  });
}

TEST(CacheRequests, AConditionThatFailsChangesNothingAndTellsTheVersion) {
  for_every_owner([](NodeUnderTest&, ProtocolClient* client, std::string key) -> Task<void> {
    const CacheReply absent =
        co_await cache_set(client, key, "x", {.condition = CacheCondition::replace_only});
    EXPECT_EQ(absent.opcode, Opcode::CacheSetReply);
    EXPECT_EQ(absent.code, ErrorCode::key_missing);
    EXPECT_EQ(absent.version, 0u);
    const CacheReply no_version = co_await cache_set(
        client, key, "x", {.version = 7, .condition = CacheCondition::if_version});
    EXPECT_NE(no_version.code, ErrorCode::none);
    EXPECT_EQ(no_version.version, 0u);
    const CacheReply created =
        co_await cache_set(client, key, "first", {.condition = CacheCondition::create_only});
    EXPECT_EQ(created.code, ErrorCode::none);
    const CacheReply exists =
        co_await cache_set(client, key, "x", {.condition = CacheCondition::create_only});
    EXPECT_EQ(exists.code, ErrorCode::key_exists);
    EXPECT_EQ(exists.version, created.version);
    const CacheReply mismatch = co_await cache_set(
        client, key, "x",
        {.version = created.version + 1, .condition = CacheCondition::if_version});
    EXPECT_EQ(mismatch.code, ErrorCode::version_mismatch);
    EXPECT_EQ(mismatch.version, created.version);
    const CacheReply still = co_await cache_get(client, key);
    EXPECT_EQ(still.value, "first");
    const CacheReply second =
        co_await cache_set(client, key, "second",
                           {.version = created.version, .condition = CacheCondition::if_version});
    EXPECT_EQ(second.code, ErrorCode::none);
    EXPECT_GT(second.version, created.version);
    const CacheReply third =
        co_await cache_set(client, key, "third", {.condition = CacheCondition::replace_only});
    EXPECT_EQ(third.code, ErrorCode::none);
    const CacheReply last = co_await cache_get(client, key);
    EXPECT_EQ(last.value, "third");
    EXPECT_EQ(last.version, third.version);
  });
}

TEST(CacheRequests, AGetOfTheVersionThatItsClientHasIsNotModified) {
  for_every_owner([](NodeUnderTest&, ProtocolClient* client, std::string key) -> Task<void> {
    const CacheReply set = co_await cache_set(client, key, std::string(2000, 'x'));
    const CacheReply same = co_await cache_get(client, key, set.version);
    EXPECT_EQ(same.code, ErrorCode::not_modified);
    EXPECT_EQ(same.version, set.version);
    EXPECT_EQ(same.value, "");
    const CacheReply older = co_await cache_get(client, key, set.version - 1);
    EXPECT_EQ(older.code, ErrorCode::none);
    EXPECT_EQ(older.value.size(), 2000u);
    co_await cache_delete(client, key);
    const CacheReply gone = co_await cache_get(client, key, set.version);
    EXPECT_EQ(gone.code, ErrorCode::key_missing);
  });
}

TEST(CacheRequests, ADeleteTakesTheVersionItNamesAndVersionsGrowBeyondIt) {
  for_every_owner([](NodeUnderTest&, ProtocolClient* client, std::string key) -> Task<void> {
    const CacheReply nothing = co_await cache_delete(client, key);
    EXPECT_EQ(nothing.opcode, Opcode::CacheDeleteReply);
    EXPECT_EQ(nothing.code, ErrorCode::key_missing);
    const CacheReply set = co_await cache_set(client, key, "x");
    const CacheReply mismatch = co_await cache_delete(client, key, set.version + 1);
    EXPECT_EQ(mismatch.code, ErrorCode::version_mismatch);
    EXPECT_EQ(mismatch.version, set.version);
    const CacheReply deleted = co_await cache_delete(client, key, set.version);
    EXPECT_EQ(deleted.code, ErrorCode::none);
    EXPECT_GE(deleted.version, set.version);
    const CacheReply gone = co_await cache_get(client, key);
    EXPECT_EQ(gone.code, ErrorCode::key_missing);
    const CacheReply again = co_await cache_set(client, key, "y");
    EXPECT_GT(again.version, deleted.version);
    const CacheReply any = co_await cache_delete(client, key);
    EXPECT_EQ(any.code, ErrorCode::none);
  });
}

TEST(CacheRequests, AGetTellsWhatIsLeftOfTheTimeToLive) {
  for_every_owner([](NodeUnderTest&, ProtocolClient* client, std::string key) -> Task<void> {
    co_await cache_set(client, key, "x", {.ttl_ms = 3'600'000, .sliding = true});
    const CacheReply got = co_await cache_get(client, key);
    EXPECT_GT(got.ttl_left_ms, 1'800'000u);
    EXPECT_LE(got.ttl_left_ms, 3'600'000u);
    EXPECT_EQ(got.flags, 1u) << "sliding";
    co_await cache_set(client, key, "x", {.ttl_ms = UINT64_MAX});
    const CacheReply forever = co_await cache_get(client, key);
    EXPECT_EQ(forever.ttl_left_ms, 0u);
    EXPECT_EQ(forever.flags, 0u);
  });
}

// --- What is refused

TEST(CacheRequests, KeysAndValuesAreTakenAtTheirLimitsAndRefusedOnePast) {
  services::NodeOptions options;
  options.cache.value_bytes_max = 5000;
  for_every_owner(
      [](NodeUnderTest&, ProtocolClient* client, std::string key) -> Task<void> {
        std::string longest = key;
        longest.resize(1024, 'k');
        const CacheReply at_limit = co_await cache_set(client, longest, "x");
        EXPECT_EQ(at_limit.code, ErrorCode::none);
        const CacheReply found = co_await cache_get(client, longest);
        EXPECT_EQ(found.value, "x");
        for (const std::string& bad : {longest + "k", std::string{}, std::string{"\xff\xfe"}}) {
          const CacheReply set = co_await cache_set(client, bad, "x");
          EXPECT_EQ(set.opcode, Opcode::Error);
          EXPECT_EQ(set.code, ErrorCode::key_invalid);
          EXPECT_NE(set.value.find("1024 bytes (cache.key_bytes_max)"), set.value.npos)
              << set.value;
        }
        const CacheReply get = co_await cache_get(client, longest + "k");
        EXPECT_EQ(get.code, ErrorCode::key_invalid);
        const CacheReply removed = co_await cache_delete(client, "");
        EXPECT_EQ(removed.code, ErrorCode::key_invalid);

        const CacheReply largest = co_await cache_set(client, key, std::string(5000, 'v'));
        EXPECT_EQ(largest.code, ErrorCode::none);
        const CacheReply larger = co_await cache_set(client, key, std::string(5001, 'v'));
        EXPECT_EQ(larger.opcode, Opcode::Error);
        EXPECT_EQ(larger.code, ErrorCode::payload_too_large);
        EXPECT_EQ(larger.retry_after_ms, 0u);
        const CacheReply kept = co_await cache_get(client, key);
        EXPECT_EQ(kept.value.size(), 5000u);
      },
      options);
}

TEST(CacheRequests, APayloadThatIsNoneIsRefusedUnderItsTransactionId) {
  for_every_owner([](NodeUnderTest&, ProtocolClient* client, std::string key) -> Task<void> {
    for (const Opcode opcode : {Opcode::CacheGet, Opcode::CacheSet, Opcode::CacheDelete}) {
      for (const std::string_view payload : {"", "not a table at all"}) {
        const protocol::RawBody body{.kOpcode = opcode, .payload = bytes_of(payload)};
        const ServerMessage reply = co_await client->request(body);
        tests::expect_error(reply, ErrorCode::malformed_payload, opcode);
      }
    }
    const CacheReply unknown =
        co_await cache_set(client, key, "x", {.condition = static_cast<CacheCondition>(4)});
    EXPECT_EQ(unknown.code, ErrorCode::malformed_payload);
    const CacheReply missing = co_await cache_get(client, key);
    EXPECT_EQ(missing.code, ErrorCode::key_missing);
  });
}

// --- Memory

Task<std::size_t> held(CoreId core, MemoryKind kind) {
  co_return co_await runtime::submit_to(core,
                                        [kind] { return Core::current().memory().held(kind); });
}
// Blocks of values, on their owner.
Task<std::size_t> held_values(CoreId core) {
  const std::size_t cached = co_await held(core, MemoryKind::cache);
  const std::size_t shared = co_await held(core, MemoryKind::shared);
  co_return cached + shared;
}
Task<std::uint64_t> hits(NodeUnderTest* test) {
  co_return co_await test->total(
      [](services::CoreNode&) { return Cache::local().table().counters().hits; });
}

// Replies wait for a client that does not read; all of them are pieces of the one block that the
// set has written.
TEST(CacheRequests, AReplyHoldsTheBlockOfTheValueAndCopiesNone) {
  for (CoreId cores = 1; cores <= 2; ++cores) {
    with_node(tests::node_cores(cores), {}, [cores](NodeUnderTest& test) -> Task<void> {
      const CoreId owner = static_cast<CoreId>(cores - 1);
      for (const Via via : {Via::websocket, Via::tcp}) {
        ProtocolClient* client = co_await test.connect_on(0, via);
        const std::string key = key_of_core(owner);
        constexpr std::size_t kBytes = 200'000;
        const std::size_t cached = co_await held_values(owner);
        co_await cache_set(client, key, std::string(kBytes, 'v'));
        const std::size_t with_value = co_await held_values(owner);
        if (via == Via::websocket) {
          EXPECT_GE(with_value, cached + kBytes);
        }
        const std::size_t queued = co_await held(0, MemoryKind::queued);
        const std::uint64_t hits_before = co_await hits(&test);
        client->pause_receiving();
        std::vector<protocol::Uuid> asked;
        for (int i = 0; i < 40; ++i) {
          asked.push_back(client->send(protocol::CacheGetBody{.key = key}));
        }
        // Its own core has looked at them all when a later request of another client is served.
        ProtocolClient* other = co_await test.connect_on(0, via);
        for (std::uint64_t now = hits_before; now < hits_before + 40;) {
          co_await other->settle();
          now = co_await hits(&test);
        }
        co_await other->settle();
        const std::size_t with_replies = co_await held(0, MemoryKind::queued);
        EXPECT_LT(with_replies, queued + kBytes) << "40 replies, none of them a copy";
        const std::size_t blocks = co_await held_values(owner);
        EXPECT_EQ(blocks, with_value);
        client->resume_receiving();
        for (const protocol::Uuid& id : asked) {
          const ServerMessage message = co_await client->reply(id);
          const CacheReply got = tests::read_cache_reply(message);
          EXPECT_TRUE(got.value == std::string(kBytes, 'v'));
        }
      }
    });
  }
}

// --- Waits

TEST(CacheOperations, AWaitThatIsGivenUpDoesNotUndoTheOperation) {
  with_node(tests::node_cores(2), {}, [](NodeUnderTest& test) -> Task<void> {
    const std::string key = key_of_core(1);
    const auto set = [](std::string named) -> Task<void> {
      const auto done = co_await services::completion_of<services::CacheStored>(
          [&named](const services::ReplyTo& to) {
            Cache::local().set(named, bytes_of("late"), {}, to);
          });
      EXPECT_FALSE(done) << "given up before its owner can answer";
    };
    runtime::TaskGroup group("abandoned");
    group.spawn("set", set, key);
    group.cancel();
    co_await group.join();
    const auto got = co_await services::completion_of<services::CacheGot>(
        [&key](const services::ReplyTo& to) { Cache::local().get(key, 0, to); });
    EXPECT_TRUE(got);
    EXPECT_EQ(got->code, ErrorCode::none);
    EXPECT_EQ(got->value.text(), "late");
    // A client that is gone when its answer comes.
    ProtocolClient* client = co_await test.connect_on(0);
    co_await test.close_spare();
    client->send(protocol::CacheGetBody{.key = key});
    client->abort();
    const bool ended = co_await test.sessions_are(0);
    EXPECT_TRUE(ended);
  });
}

}  // namespace
}  // namespace corelane
