#pragma once
// What tests of quotas ask again and again: limits from text, nodes with limits, requests and
// notices decoded.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "services/quota/quota.hpp"
#include "tests/unit/services/requests.hpp"

namespace corelane::tests {

inline services::quota::Limits limits_of(std::initializer_list<std::string_view> texts) {
  services::quota::Limits limits;
  for (const std::string_view text : texts) {
    const auto limit = services::quota::parse_limit(text);
    EXPECT_TRUE(limit.value) << text << ": " << limit.problem;
    limits.push_back(limit.value.value());
  }
  return limits;
}

inline services::NodeOptions with_limits(std::initializer_list<std::string_view> session) {
  services::NodeOptions options;
  options.quota.session = limits_of(session);
  options.network.direct_descriptors = false;
  return options;
}

inline runtime::Task<ServerMessage> ping(ProtocolClient* client, std::string_view data = "") {
  const protocol::PingBody body{.data = bytes_of(data)};
  co_return co_await client->request(body);
}

// A QuotaReply with its lists.
struct QuotaAnswer {
  ServerMessage message{};
  std::vector<protocol::fbs::QuotaLimit> limits{};
  std::vector<protocol::fbs::QuotaUse> uses{};
  protocol::Uuid session{};
  std::string key{};
  bool permissive = false;
};

inline QuotaAnswer read_quota(ServerMessage message) {
  QuotaAnswer answer{.message = std::move(message)};
  if (answer.message.opcode != protocol::Opcode::QuotaReply) return answer;
  protocol::AlignedScratch scratch;
  const auto table =
      protocol::verify_payload<protocol::fbs::QuotaReply>(bytes_of(answer.message.data), scratch);
  EXPECT_TRUE(table);
  if (!table) return answer;
  for (const auto* limit : *table->limits()) answer.limits.push_back(*limit);
  for (const auto* use : *table->uses()) answer.uses.push_back(*use);
  EXPECT_EQ(answer.limits.size(), answer.uses.size());
  answer.session = protocol::from_fbs(table->session());
  answer.key = protocol::text_of(table->key());
  answer.permissive = table->permissive();
  return answer;
}

using services::quota::QuotaScope;

inline runtime::Task<QuotaAnswer> get_quota(ProtocolClient* client,
                                            QuotaScope scope = QuotaScope::session,
                                            protocol::Uuid session = {}, std::string key = "") {
  const protocol::GetQuotaBody body{.scope = scope, .session = session, .key = key};
  ServerMessage reply = co_await client->request(body);
  co_return read_quota(std::move(reply));
}

inline runtime::Task<QuotaAnswer> set_quota(ProtocolClient* client, services::quota::Limits limits,
                                            QuotaScope scope = QuotaScope::session,
                                            protocol::Uuid session = {}, std::string key = "",
                                            bool use_defaults = false) {
  std::vector<protocol::fbs::QuotaLimit> wire;
  for (const auto& limit : limits) wire.push_back(services::quota::to_wire(limit));
  const protocol::SetQuotaBody body{
      .scope = scope, .session = session, .key = key, .limits = wire, .use_defaults = use_defaults};
  ServerMessage reply = co_await client->request(body);
  co_return read_quota(std::move(reply));
}

// The fields of a QuotaNotice; nothing for another message.
struct Notice {
  services::quota::QuotaScope scope{};
  services::quota::QuotaMetric metric{};
  services::quota::QuotaAction action{};
  std::uint64_t tokens = 0;
  std::uint64_t wait_ns = 0;
};
inline std::optional<Notice> read_notice(const ServerMessage& message) {
  if (message.opcode != protocol::Opcode::QuotaNotice) return std::nullopt;
  protocol::AlignedScratch scratch;
  const auto table =
      protocol::verify_payload<protocol::fbs::QuotaEvent>(bytes_of(message.data), scratch);
  EXPECT_TRUE(table);
  if (!table) return std::nullopt;
  return Notice{table->scope(), table->metric(), table->action(), table->tokens(),
                table->wait_ns()};
}
inline std::size_t count_notices(ProtocolClient* client) {
  std::size_t count = 0;
  for (const ServerMessage& event : client->events()) count += read_notice(event) ? 1U : 0U;
  return count;
}

// Sums of all cores.
template <class Value>
runtime::Task<std::uint64_t> quota_total(NodeUnderTest& test, Value value) {
  co_return co_await test.total(
      [value](services::CoreNode&) { return value(services::Quota::local()); });
}

}  // namespace corelane::tests
