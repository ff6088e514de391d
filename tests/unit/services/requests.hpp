#pragma once
// What tests of whole nodes ask of them again and again: single requests with their replies, and a
// body for every pair of cores.

#include <gtest/gtest.h>

#include <string_view>

#include "tests/unit/services/node_under_test.hpp"

namespace corelane::tests {

inline constexpr Via kTransports[] = {Via::websocket, Via::tcp};

inline void expect_error(const ServerMessage& reply, protocol::ErrorCode code,
                         protocol::Opcode failed) {
  EXPECT_EQ(reply.opcode, protocol::Opcode::Error);
  EXPECT_EQ(reply.error, code) << reply.data;
  EXPECT_EQ(reply.failed_opcode, failed);
  EXPECT_FALSE(reply.data.empty()) << "an Error has a text";
}

inline runtime::Task<ServerMessage> subscribe(ProtocolClient* client, std::string_view channel) {
  const std::string_view names[] = {channel};
  const protocol::SubscribeBody body{.channels = names};
  co_return co_await client->request(body);
}

inline runtime::Task<ServerMessage> unsubscribe(ProtocolClient* client, std::string_view channel) {
  const std::string_view names[] = {channel};
  const protocol::UnsubscribeBody body{.channels = names};
  co_return co_await client->request(body);
}

// Without `requires_ack` only an Error is a reply.
inline runtime::Task<ServerMessage> publish(ProtocolClient* client, std::string_view channel,
                                            std::string_view data = "", bool requires_ack = true) {
  const protocol::PublishBody body{
      .channel = channel, .data = bytes_of(data), .requires_ack = requires_ack};
  co_return co_await client->request(body);
}

// Runs the body for every ordered pair of cores, on nodes of two and of three.
using PairTest = runtime::Task<void> (*)(NodeUnderTest&, ProtocolClient* from, ProtocolClient* to);
inline void for_every_pair(PairTest body) {
  using runtime::CoreId;
  for (const CoreId cores : {CoreId{2}, CoreId{3}}) {
    services::NodeOptions options;
    if (cores == 2) options.fan_out_max = 1;
    with_node(node_cores(cores), options,
              [cores, body](NodeUnderTest& test) -> runtime::Task<void> {
                for (CoreId from = 0; from < cores; ++from) {
                  for (CoreId to = 0; to < cores; ++to) {
                    SCOPED_TRACE(testing::Message()
                                 << "core " << from << " to " << to << " of " << cores);
                    ProtocolClient* sender = co_await test.connect_on(from);
                    ProtocolClient* receiver = co_await test.connect_on(to);
                    if (sender == nullptr || receiver == nullptr) co_return;
                    co_await body(test, sender, receiver);
                  }
                }
              });
  }
}

}  // namespace corelane::tests
