#pragma once
// Requests to the cache and their replies, for tests of whole nodes.

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <string_view>

#include "services/cache/cache.hpp"
#include "tests/unit/services/requests.hpp"

namespace corelane::tests {

// A reply: of any of the cache's opcodes, or an Error.
struct CacheReply {
  protocol::Opcode opcode = protocol::Opcode::None;
  protocol::ErrorCode code = protocol::ErrorCode::none;
  std::uint64_t version = 0;
  std::uint64_t ttl_left_ms = 0;
  std::uint32_t flags = 0;
  std::int64_t number = 0;
  std::uint64_t lease = 0;
  std::string value{};  // or the text of an Error
  std::uint32_t retry_after_ms = 0;
};

// Calls read(table) with the payload of a reply.
template <class Table, class Read>
void open_reply(const ServerMessage& message, const Read& read) {
  protocol::AlignedScratch scratch;
  const auto payload = protocol::verify_payload<Table>(bytes_of(message.data), scratch);
  EXPECT_TRUE(payload) << message.data;
  if (payload) read(*payload.table);
}

inline CacheReply read_cache_reply(const ServerMessage& message) {
  using namespace protocol;
  CacheReply reply{.opcode = message.opcode};
  const auto read_changed = [&](const auto& table) {
    reply.code = table.code();
    reply.version = table.version();
  };
  const auto read_value = [&](const auto& table) {
    read_changed(table);
    reply.ttl_left_ms = table.ttl_left_ms();
    reply.flags = table.flags();
    const auto value = protocol::bytes_of(table.value());
    reply.value.assign(reinterpret_cast<const char*>(value.data()), value.size());
  };
  switch (message.opcode) {
    case Opcode::Error:
      reply.code = message.error;
      reply.value = message.data;
      reply.retry_after_ms = message.retry_after_ms;
      EXPECT_FALSE(reply.value.empty()) << "an Error has a text";
      break;
    case Opcode::CacheGetReply:
      open_reply<fbs::CacheGetReply>(message, read_value);
      break;
    case Opcode::CacheSetReply:
      open_reply<fbs::CacheSetReply>(message, read_changed);
      break;
    case Opcode::CacheDeleteReply:
      open_reply<fbs::CacheDeleteReply>(message, read_changed);
      break;
    case Opcode::CacheTouchReply:
      open_reply<fbs::CacheTouchReply>(message, read_changed);
      break;
    case Opcode::CacheAppendReply:
      open_reply<fbs::CacheAppendReply>(message, read_changed);
      break;
    case Opcode::CacheIncrementReply:
      open_reply<fbs::CacheIncrementReply>(message, [&](const auto& table) {
        read_changed(table);
        reply.number = table.value();
      });
      break;
    case Opcode::CacheLeaseReply:
      open_reply<fbs::CacheLeaseReply>(message, [&](const auto& table) {
        read_value(table);
        reply.lease = table.lease();
      });
      break;
    default:
      ADD_FAILURE() << "opcode " << protocol::number(message.opcode);
  }
  return reply;
}

template <class Body>
runtime::Task<CacheReply> ask_cache(ProtocolClient* client, Body body) {
  const ServerMessage message = co_await client->request(body);
  co_return read_cache_reply(message);
}

inline runtime::Task<CacheReply> cache_get(ProtocolClient* client, std::string_view key,
                                           std::uint64_t if_newer_than = 0) {
  const protocol::CacheGetBody body{.key = key, .if_newer_than = if_newer_than};
  co_return co_await ask_cache(client, body);
}
struct CacheSetHow {
  std::uint64_t ttl_ms = 0;
  std::uint64_t version = 0;
  std::uint64_t lease = 0;
  protocol::CacheCondition condition = protocol::CacheCondition::always;
  bool sliding = false;
};
inline runtime::Task<CacheReply> cache_set(ProtocolClient* client, std::string_view key,
                                           std::string_view value, CacheSetHow how = {}) {
  const protocol::CacheSetBody body{.key = key,
                                    .value = bytes_of(value),
                                    .ttl_ms = how.ttl_ms,
                                    .version = how.version,
                                    .lease = how.lease,
                                    .condition = how.condition,
                                    .sliding = how.sliding};
  co_return co_await ask_cache(client, body);
}
inline runtime::Task<CacheReply> cache_delete(ProtocolClient* client, std::string_view key,
                                              std::uint64_t version = 0) {
  const protocol::CacheDeleteBody body{.key = key, .version = version};
  co_return co_await ask_cache(client, body);
}

// The n-th key that begins with `prefix` and that `core` owns. On a core with a node.
inline std::string key_of_core(runtime::CoreId core, std::string_view prefix = "key",
                               std::size_t n = 0) {
  for (std::size_t i = 0;; ++i) {
    std::string key = std::string(prefix) + std::to_string(i);
    if (services::Cache::local().owner_of(key) == core && n-- == 0) return key;
  }
}

// Runs the body for a client on each core with a key of each core, over one and two cores.
using CacheTest = runtime::Task<void> (*)(NodeUnderTest&, ProtocolClient*, std::string key);
inline void for_every_owner(CacheTest body, const services::NodeOptions& options = {},
                            Via via = Via::websocket) {
  for (runtime::CoreId cores = 1; cores <= 2; ++cores) {
    with_node(node_cores(cores), options,
              [cores, body, via](NodeUnderTest& test) -> runtime::Task<void> {
                for (runtime::CoreId from = 0; from < cores; ++from) {
                  for (runtime::CoreId owner = 0; owner < cores; ++owner) {
                    SCOPED_TRACE(testing::Message()
                                 << "core " << from << ", key of " << owner << " of " << cores);
                    ProtocolClient* client = co_await test.connect_on(from, via);
                    if (client == nullptr) co_return;
                    const std::string prefix = "from " + std::to_string(from) + " via " +
                                               std::to_string(static_cast<int>(via)) + " ";
                    co_await body(test, client, key_of_core(owner, prefix));
                  }
                }
              });
  }
}

}  // namespace corelane::tests
