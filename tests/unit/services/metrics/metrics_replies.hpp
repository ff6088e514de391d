#pragma once
// Requests for metrics, with their replies as tables.

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/verify.hpp"
#include "services/metrics/metrics.hpp"
#include "tests/unit/services/node_under_test.hpp"

namespace corelane::tests {

// The table that a message of the server holds, with its bytes.
template <class Table>
class ReplyTable {
 public:
  // False, and a failure, if the message is something else.
  bool take(const ServerMessage& message, protocol::Opcode opcode) {
    EXPECT_EQ(message.opcode, opcode) << message.data;
    if (message.opcode != opcode) return false;
    words_.resize(message.data.size() / sizeof(std::uint64_t) + 1);
    std::memcpy(words_.data(), message.data.data(), message.data.size());
    protocol::AlignedScratch scratch;
    const auto verified = protocol::verify_payload<Table>(
        std::as_bytes(std::span{words_}).first(message.data.size()), scratch);
    EXPECT_TRUE(verified);
    table_ = verified.table;
    return table_ != nullptr;
  }
  explicit operator bool() const noexcept { return table_ != nullptr; }
  const Table* operator->() const noexcept { return table_; }

 private:
  std::vector<std::uint64_t> words_;
  const Table* table_ = nullptr;
};
using NodeMetricsTable = ReplyTable<protocol::fbs::NodeMetricsReply>;
using DashboardTable = ReplyTable<protocol::fbs::DashboardMetricsReply>;

inline std::span<const std::byte> payload_of(const flatbuffers::FlatBufferBuilder& builder) {
  return std::as_bytes(std::span{builder.GetBufferPointer(), builder.GetSize()});
}

inline runtime::Task<NodeMetricsTable> node_metrics(ProtocolClient* client,
                                                    std::string figures = "") {
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(protocol::fbs::CreateNodeMetricsRequest(builder, builder.CreateString(figures)));
  const protocol::RawBody body{.kOpcode = protocol::Opcode::NodeMetrics,
                               .payload = payload_of(builder)};
  const ServerMessage message = co_await client->request(body);
  NodeMetricsTable reply;
  reply.take(message, protocol::Opcode::NodeMetricsReply);
  co_return std::move(reply);
}

inline runtime::Task<DashboardTable> dashboard(ProtocolClient* client, std::uint16_t seconds) {
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(protocol::fbs::CreateDashboardMetricsRequest(builder, seconds));
  const protocol::RawBody body{.kOpcode = protocol::Opcode::DashboardMetrics,
                               .payload = payload_of(builder)};
  const ServerMessage message = co_await client->request(body);
  DashboardTable reply;
  reply.take(message, protocol::Opcode::DashboardMetricsReply);
  co_return std::move(reply);
}

// The figures of an opcode; null, and a failure, if there are none.
inline const protocol::fbs::OpcodeFigures* find_opcode(const NodeMetricsTable& reply,
                                                       std::string_view name) {
  for (const auto* one : *reply->opcodes()) {
    if (one->name()->string_view() == name) return one;
  }
  ADD_FAILURE() << "no opcode " << name;
  return nullptr;
}

// The sum of the values of a figure of all cores.
inline std::uint64_t figure_of(const NodeMetricsTable& reply, std::string_view name,
                               std::string_view labels = "") {
  for (const auto* one : *reply->figures()) {
    if (one->name()->string_view() != name || protocol::text_of(one->labels()) != labels) continue;
    std::uint64_t sum = 0;
    for (const std::uint64_t value : *one->values()) sum += value;
    return sum;
  }
  ADD_FAILURE() << "no figure " << name << " " << labels;
  return 0;
}

}  // namespace corelane::tests
