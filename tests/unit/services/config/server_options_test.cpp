// Goal: every setting arrives where it has an effect. Method: each is given a value of its own,
// other than its default, and looked for.

#include "services/config/server_options.hpp"

#include <gtest/gtest.h>

namespace corelane::services::config {
namespace {

using runtime::kMicrosecond;
using runtime::kSecond;

ServerConfig unusual() {
  ServerConfig config;
  config.server.listen = {"127.0.0.1:1001", "unix:/x"};
  config.server.tcp_listen = {"[::1]:1002"};
  config.server.cores = 3;
  config.server.node_name = "node-7";
  config.server.drain_deadline = 11 * kSecond;
  config.limits = {.message_bytes_max = 101,
                   .fragments_max = 102,
                   .message_deadline = 103 * kSecond,
                   .request_line_bytes_max = 104,
                   .header_bytes_max = 105,
                   .header_fields_max = 106,
                   .header_deadline = 107 * kSecond,
                   .http_body_bytes_max = 108,
                   .close_timeout = 109 * kSecond,
                   .close_discard_bytes_max = 119,
                   .ping_interval = 110 * kSecond,
                   .pong_timeout = 111 * kSecond,
                   .outgoing_queue_bytes_max = 112'000,
                   .write_stall_timeout = 117 * kSecond,
                   .subscriptions_per_session_max = 113,
                   .channel_name_bytes_max = 114,
                   .channels_max = 118,
                   .connections_max = 115,
                   .connections_per_ip_max = 16};
  config.websocket.origins = {"https://example.org"};
  config.websocket.origin_strict = true;
  config.websocket.subprotocols = {"chat"};
  config.websocket.deflate = true;
  config.websocket.deflate_server_window_bits = 10;
  config.websocket.deflate_client_window_bits = 11;
  config.websocket.deflate_server_no_context_takeover = true;
  config.websocket.deflate_level = 7;
  config.websocket.deflate_memory_level = 6;
  config.runtime.ring_entries = 8;
  config.runtime.completion_entries = 32;
  config.runtime.receive_buffer_bytes = 512;
  config.runtime.receive_buffers = 16;
  config.runtime.medium_buffer_bytes = 6000;
  config.runtime.medium_buffers = 16;
  config.runtime.large_buffer_bytes = 8192;
  config.runtime.large_buffers = 2;
  config.runtime.lane_slots = 64;
  config.runtime.lane_poll = 5 * kMicrosecond;
  config.runtime.stall_threshold = 6 * kSecond;
  config.log.level = "warning";
  return config;
}

TEST(ServerOptions, limits_reach_the_websocket_and_the_http_server) {
  const services::NodeOptions node = node_options(unusual());
  EXPECT_EQ(node.websocket.reader.message_bytes_max, 101u);
  EXPECT_EQ(node.websocket.reader.fragments_max, 102u);
  EXPECT_EQ(node.websocket.message_deadline, 103 * kSecond);
  EXPECT_EQ(node.websocket.close_timeout, 109 * kSecond);
  EXPECT_EQ(node.websocket.ping_interval, 110 * kSecond);
  EXPECT_EQ(node.websocket.pong_timeout, 111 * kSecond);
  EXPECT_EQ(node.http.limits.request_line_bytes_max, 104u);
  EXPECT_EQ(node.http.limits.header_bytes_max, 105u);
  EXPECT_EQ(node.http.limits.fields_max, 106u);
  EXPECT_EQ(node.http.header_deadline, 107 * kSecond);
  EXPECT_EQ(node.http.limits.body_bytes_max, 108u);
  EXPECT_EQ(node.http.linger, 109 * kSecond);
  EXPECT_EQ(node.network.discard_bytes_max, 119u);
}

TEST(ServerOptions, limits_reach_the_services) {
  const services::NodeOptions node = node_options(unusual());
  EXPECT_EQ(node.dispatch.frame_bytes_max, 101u);
  EXPECT_EQ(node.tcp.message_deadline, 103 * kSecond);
  EXPECT_EQ(node.tcp.close_timeout, 109 * kSecond);
  EXPECT_EQ(node.dispatch.subscriptions_per_session_max, 113u);
  EXPECT_EQ(node.pubsub.subscriptions_per_session_max, 113u);
  EXPECT_EQ(node.pubsub.channel_name_bytes_max, 114u);
  EXPECT_EQ(node.pubsub.channels_max, 118u);
  EXPECT_EQ(node.connections_max, 115u);
  EXPECT_EQ(node.connections_per_ip_max, 16u);
  EXPECT_EQ(node.dispatch.node_name, "node-7");
}

TEST(ServerOptions, a_message_at_the_limit_fits_into_an_empty_outgoing_queue) {
  const ServerConfig config;
  ASSERT_EQ(config.limits.message_bytes_max, config.limits.outgoing_queue_bytes_max);
  EXPECT_GE(node_options(config).network.queued_bytes_max,
            config.limits.message_bytes_max + 2 * config.limits.channel_name_bytes_max);
}

TEST(ServerOptions, the_handshake_follows_the_websocket_section) {
  ServerConfig config = unusual();
  const ws::HandshakePolicy policy = node_options(config).websocket.handshake;
  EXPECT_TRUE(policy.origins.matches("https://example.org"));
  EXPECT_FALSE(policy.origins.allows_any());
  EXPECT_TRUE(policy.is_origin_strict);
  EXPECT_EQ(policy.subprotocols, (std::vector<std::string>{"chat"}));
  EXPECT_TRUE(policy.deflate.is_enabled);
  EXPECT_EQ(policy.deflate.server_window_bits_max, 10);
  EXPECT_EQ(policy.deflate.client_window_bits_max, 11);
  EXPECT_TRUE(policy.deflate.server_no_context_takeover);
  EXPECT_FALSE(policy.deflate.client_no_context_takeover);
  EXPECT_EQ(policy.deflate.level, 7);
  EXPECT_EQ(policy.deflate.memory_level, 6);
  config.websocket.origins = {"*"};
  EXPECT_TRUE(node_options(config).websocket.handshake.origins.allows_any());
}

TEST(ServerOptions, the_runtime_section_reaches_rings_and_buffers) {
  ServerConfig config = unusual();
  const services::ProcessOptions process = process_options(config, {4, 5, 6});
  EXPECT_EQ(process.runtime.cores, 3);
  EXPECT_EQ(process.runtime.cpus, (std::vector<int>{4, 5, 6}));
  EXPECT_EQ(process.runtime.ring.entries, 8u);
  EXPECT_EQ(process.runtime.ring.completion_entries, 32u);
  EXPECT_EQ(process.runtime.lane_slots, 64u);
  EXPECT_EQ(process.runtime.lane_poll, 5 * kMicrosecond);
  EXPECT_EQ(process.runtime.stall_threshold, 6 * kSecond);
  EXPECT_EQ(process.connections_max, 115u);
  EXPECT_EQ(process.drain_deadline, 11 * kSecond);
  EXPECT_EQ(process.log_level, services::LogLevel::warning);
  const net::NetworkOptions network = network_options(config);
  EXPECT_EQ(network.receive_buffer_bytes, 512u);
  EXPECT_EQ(network.receive_buffers, 16u);
  EXPECT_EQ(network.medium_buffer_bytes, 6000u);
  EXPECT_EQ(network.medium_buffers, 16u);
  EXPECT_EQ(network.large_buffer_bytes, 8192u);
  EXPECT_EQ(network.large_buffers, 2u);
  EXPECT_GE(network.queued_bytes_max, 112'000u);
  EXPECT_EQ(network.write_stall_timeout, 117 * kSecond);
  config.server.pin = false;
  EXPECT_TRUE(process_options(config, {4, 5, 6}).runtime.cpus.empty());
}

TEST(ServerOptions, a_limit_of_connections_an_address_takes_plain_descriptors) {
  ServerConfig config;
  EXPECT_TRUE(network_options(config).direct_descriptors);
  EXPECT_TRUE(process_options(config, {}).direct_descriptors);
  config.limits.connections_per_ip_max = 1;
  EXPECT_FALSE(network_options(config).direct_descriptors);
  EXPECT_FALSE(process_options(config, {}).direct_descriptors);
}

TEST(ServerOptions, what_is_left_open_comes_from_the_host) {
  ServerConfig config;
  resolve_host_defaults(config, {0, 2, 4}, "host-1");
  EXPECT_EQ(config.server.cores, 3u);
  EXPECT_EQ(config.server.node_name, "host-1");
  resolve_host_defaults(config, {0}, "host-2");
  EXPECT_EQ(config.server.cores, 3u);
  EXPECT_EQ(config.server.node_name, "host-1");
}

TEST(DirectTable, has_a_slot_for_each_connection_of_a_core_within_the_limits) {
  EXPECT_EQ(services::direct_table_slots(1000, 2, 1 << 20), 500u + 256u);
  EXPECT_EQ(services::direct_table_slots(1001, 2, 1 << 20), 501u + 256u);
  EXPECT_EQ(services::direct_table_slots(1'000'000, 1, 20'000), 20'000u);
  EXPECT_EQ(services::direct_table_slots(100'000'000, 1, UINT64_MAX), 1u << 20);
}

}  // namespace
}  // namespace corelane::services::config
