// Goal: every setting arrives where it has an effect. Method: each is given a value of its own,
// other than its default, and looked for.

#include "services/node/settings.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "tests/unit/services/config/inputs.hpp"

namespace corelane::services::config {
namespace {

using runtime::kMicrosecond;
using runtime::kSecond;

constexpr const char* kUnusual = R"(
[server]
listen = ["127.0.0.1:1001", "unix:/x"]
tcp_listen = ["[::1]:1002"]
admin_listen = ["127.0.0.1:1003"]
cores = 3
node_name = "node-7"
drain_deadline = "11s"
[limits]
message_bytes_max = 101
fragments_max = 102
message_deadline = "103s"
request_line_bytes_max = 104
header_bytes_max = 205
header_fields_max = 106
header_deadline = "107s"
http_body_bytes_max = 108
close_timeout = "109s"
close_discard_bytes_max = 119
ping_interval = "112s"
pong_timeout = "111s"
outgoing_queue_bytes_max = 112000
write_stall_timeout = "117s"
memory_bytes_max = 120000000
unfinished_bytes_max = 1200000
subscriptions_per_session_max = 113
channel_name_bytes_max = 114
channels_max = 118
connections_max = 115
connections_per_ip_max = 16
[cache]
memory_bytes_max = 131000000
key_bytes_max = 132
value_bytes_max = 133
namespaces = ["session: ttl=30m"]
[websocket]
origins = ["https://example.org"]
origin_strict = true
subprotocols = ["chat"]
deflate = true
deflate_server_window_bits = 10
deflate_client_window_bits = 11
deflate_server_no_context_takeover = true
deflate_level = 7
deflate_memory_level = 6
[http]
answer_deadline = "121s"
handlers_max = 122
handler_bytes_max = 123000
[runtime]
ring_entries = 8
completion_entries = 32
receive_buffer_bytes = 512
receive_buffers = 16
medium_buffer_bytes = 6000
medium_buffers = 16
large_buffer_bytes = 8192
large_buffers = 2
lane_slots = 64
lane_poll = "5us"
stall_threshold = "6s"
[log]
level = "warning"
format = "json"
file = "/var/log/x"
connections = true
[quota]
session = ["requests 5/s", "bytes_in 1KiB/s delay"]
principal = ["deliveries 7/min warn"]
principal_name = "all"
permissive = true
loopback_sets = false
)";

// What these settings become for a process with three CPUs.
ServerOptions options_of(const std::string& toml, int cpus_online = 8, bool pin_anyway = false) {
  ServerOptions options;
  options.pin_anyway = pin_anyway;
  const SettingTable table = settings_of(options, ServedBy::serve);
  const ConfigResult result =
      load_config(table, {.command = "corelane serve"}, {"--config=c.toml"}, {},
                  [&](const std::string&) -> runtime::Result<std::string> { return toml; });
  EXPECT_EQ(tests::errors_of(result), "");
  table.store(result.config);
  runtime::HostFacts host;
  host.cpus_allowed = {4, 5, 6};
  host.cpus_online = cpus_online;
  resolve(options, host, "host-1", std::uint64_t{6} << 30);
  return options;
}

TEST(ServerOptions, limits_reach_the_websocket_and_the_http_server) {
  const NodeOptions node = options_of(kUnusual).node;
  EXPECT_EQ(node.websocket.reader.message_bytes_max, 101u);
  EXPECT_EQ(node.websocket.reader.fragments_max, 102u);
  EXPECT_EQ(node.websocket.message_deadline, 103 * kSecond);
  EXPECT_EQ(node.websocket.close_timeout, 109 * kSecond);
  EXPECT_EQ(node.websocket.ping_interval, 112 * kSecond);
  EXPECT_EQ(node.websocket.pong_timeout, 111 * kSecond);
  EXPECT_EQ(node.http.limits.request_line_bytes_max, 104u);
  EXPECT_EQ(node.http.limits.header_bytes_max, 205u);
  EXPECT_EQ(node.http.limits.fields_max, 106u);
  EXPECT_EQ(node.http.header_deadline, 107 * kSecond);
  EXPECT_EQ(node.http.limits.body_bytes_max, 108u);
  EXPECT_EQ(node.http.linger, 109 * kSecond);
  EXPECT_EQ(node.http.answer_deadline, 121 * kSecond);
  EXPECT_EQ(node.http.handlers_max, 122u);
  EXPECT_EQ(node.http.handler_bytes_max, 123'000u);
  EXPECT_EQ(node.network.discard_bytes_max, 119u);
}

TEST(ServerOptions, each_list_of_addresses_has_its_protocol) {
  const NodeOptions node = options_of(kUnusual).node;
  const std::pair<const char*, services::Spoken> expected[] = {
      {"127.0.0.1:1001", services::Spoken::http},
      {"unix:/x", services::Spoken::http},
      {"[::1]:1002", services::Spoken::tcp},
      {"127.0.0.1:1003", services::Spoken::operators}};
  ASSERT_EQ(node.listeners.size(), std::size(expected));
  for (const auto& [address, spoken] : expected) {
    EXPECT_TRUE(std::ranges::any_of(node.listeners, [&](const services::NodeListener& one) {
      return one.address.text() == address && one.spoken == spoken;
    })) << address;
  }
}

TEST(ServerOptions, limits_reach_the_services) {
  const NodeOptions node = options_of(kUnusual).node;
  EXPECT_EQ(node.dispatch.frame_bytes_max, 101u);
  EXPECT_EQ(node.tcp.message_deadline, 103 * kSecond);
  EXPECT_EQ(node.tcp.close_timeout, 109 * kSecond);
  EXPECT_EQ(node.dispatch.subscriptions_per_session_max, 113u);
  EXPECT_EQ(node.pubsub.subscriptions_per_session_max, 113u);
  EXPECT_EQ(node.pubsub.channel_name_bytes_max, 114u);
  EXPECT_EQ(node.pubsub.channels_max, 118u);
  EXPECT_EQ(node.cache.memory_bytes_max, 131'000'000u);
  EXPECT_EQ(node.cache.key_bytes_max, 132u);
  EXPECT_EQ(node.cache.value_bytes_max, 133u);
  EXPECT_EQ(node.cache.namespaces, (std::vector<std::string>{"session: ttl=30m"}));
  EXPECT_EQ(node.connections_max, 115u);
  EXPECT_EQ(node.connections_per_ip_max, 16u);
  EXPECT_EQ(node.unfinished_bytes_max, 1'200'000u);
  EXPECT_EQ(node.dispatch.node_name, "node-7");
  EXPECT_EQ(node.quota.session.size(), 2u);
  EXPECT_EQ(node.quota.session.at(1).rate.tokens, 1024u);
  EXPECT_TRUE(node.quota.address.empty());
  EXPECT_EQ(node.quota.principal.size(), 1u);
  EXPECT_EQ(node.quota.principal_name, "all");
  EXPECT_TRUE(node.quota.permissive);
  EXPECT_FALSE(node.quota.loopback_sets);
}

TEST(ServerOptions, a_message_at_the_limit_fits_into_an_empty_outgoing_queue) {
  const Configuration& config = tests::load({}).config;
  ASSERT_EQ(config.number("limits.message_bytes_max"),
            config.number("limits.outgoing_queue_bytes_max"));
  EXPECT_GE(options_of("").node.network.queued_bytes_max,
            config.number("limits.message_bytes_max") +
                2 * config.number("limits.channel_name_bytes_max"));
}

TEST(ServerOptions, the_handshake_follows_the_websocket_section) {
  const ws::HandshakePolicy policy = options_of(kUnusual).node.websocket.handshake;
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
  const ServerOptions open = options_of("[websocket]\norigins = [\"*\"]\n");
  EXPECT_TRUE(open.node.websocket.handshake.origins.allows_any());
}

TEST(ServerOptions, the_runtime_section_reaches_rings_and_buffers) {
  const ServerOptions options = options_of(kUnusual);
  const ProcessOptions& process = options.process;
  EXPECT_EQ(process.runtime.cores, 3);
  EXPECT_EQ(process.runtime.cpus, (std::vector<int>{4, 5, 6}));
  EXPECT_EQ(process.runtime.ring.entries, 8u);
  EXPECT_EQ(process.runtime.ring.completion_entries, 32u);
  EXPECT_EQ(process.runtime.lane_slots, 64u);
  EXPECT_EQ(process.runtime.lane_poll, 5 * kMicrosecond);
  EXPECT_EQ(process.runtime.stall_threshold, 6 * kSecond);
  EXPECT_EQ(process.runtime.memory_bytes_max, 120'000'000u);
  EXPECT_EQ(process.connections_max, 115u);
  EXPECT_EQ(process.drain_deadline, 11 * kSecond);
  EXPECT_EQ(process.log_level, services::LogLevel::warning);
  EXPECT_EQ(process.log_format, runtime::LogFormat::json);
  EXPECT_EQ(process.log_file, "/var/log/x");
  EXPECT_TRUE(options.node.log_connections);
  const net::NetworkOptions& network = options.node.network;
  EXPECT_EQ(network.receive_buffer_bytes, 512u);
  EXPECT_EQ(network.receive_buffers, 16u);
  EXPECT_EQ(network.medium_buffer_bytes, 6000u);
  EXPECT_EQ(network.medium_buffers, 16u);
  EXPECT_EQ(network.large_buffer_bytes, 8192u);
  EXPECT_EQ(network.large_buffers, 2u);
  EXPECT_GE(network.queued_bytes_max, 112'000u);
  EXPECT_EQ(network.write_stall_timeout, 117 * kSecond);
  EXPECT_TRUE(options_of("[server]\npin = false\n").process.runtime.cpus.empty());
  EXPECT_TRUE(options_of("[server]\npin = false\n", 8, true).process.runtime.cpus.empty());
  // All CPUs of the host are those of all programs.
  EXPECT_TRUE(options_of(kUnusual, 3).process.runtime.cpus.empty());
  EXPECT_EQ(options_of(kUnusual, 3, true).process.runtime.cpus, (std::vector<int>{4, 5, 6}));
}

TEST(ServerOptions, a_limit_of_connections_an_address_takes_plain_descriptors) {
  const ServerOptions without = options_of("");
  EXPECT_TRUE(without.node.network.direct_descriptors);
  EXPECT_TRUE(without.process.direct_descriptors);
  const ServerOptions with = options_of("[limits]\nconnections_per_ip_max = 1\n");
  EXPECT_FALSE(with.node.network.direct_descriptors);
  EXPECT_FALSE(with.process.direct_descriptors);
  for (const char* quota : {"track = true", "address = [\"requests 5/s\"]"}) {
    const ServerOptions tracks = options_of(std::string("[quota]\n") + quota + "\n");
    EXPECT_FALSE(tracks.node.network.direct_descriptors);
    EXPECT_FALSE(tracks.process.direct_descriptors);
  }
}

TEST(ServerOptions, each_core_has_room_for_four_unfinished_messages) {
  const ServerOptions options =
      options_of("[server]\ncores = 3\n[limits]\nunfinished_bytes_max = \"2MiB\"\n");
  EXPECT_EQ(options.node.unfinished_bytes_max, 12u << 20);
  const ServerOptions large =
      options_of("[server]\ncores = 3\n[limits]\nhttp_body_bytes_max = \"200MiB\"\n");
  EXPECT_EQ(large.node.unfinished_bytes_max, 600u << 20) << "and for one body";
}

TEST(ServerOptions, receive_buffers_alone_do_not_fill_a_budget_that_is_left_open) {
  const ServerOptions options = options_of("[server]\ncores = 256\n");
  const std::uint64_t core = options.process.runtime.memory_bytes_max / 256;
  const net::NetworkOptions& network = options.node.network;
  const std::uint64_t buffers = network.receive_buffer_bytes * network.receive_buffers +
                                network.medium_buffer_bytes * network.medium_buffers +
                                network.large_buffer_bytes * network.large_buffers;
  EXPECT_LT(buffers, core / 2);
}

TEST(ServerOptions, what_is_left_open_comes_from_the_host) {
  const ServerOptions open = options_of("");
  EXPECT_EQ(open.process.runtime.cores, 3u);
  EXPECT_EQ(open.node.dispatch.node_name, "host-1");
  EXPECT_EQ(open.process.runtime.memory_bytes_max, std::uint64_t{3} << 30) << "half of it";
  const ServerOptions given = options_of("[server]\ncores = 2\nnode_name = \"a\"\n");
  EXPECT_EQ(given.process.runtime.cores, 2u);
  EXPECT_EQ(given.node.dispatch.node_name, "a");
}

// A row that names the member of another one would set that, too.
TEST(ServerOptions, each_setting_sets_its_own_option_and_no_other_one) {
  for (std::size_t changed = 0; changed < tests::table().settings().size(); ++changed) {
    ServerOptions options;
    const SettingTable table = settings_of(options, ServedBy::application);
    const Setting& setting = table.settings()[changed];
    Configuration config(table);
    ASSERT_EQ(set_value(setting, {tests::other_value(setting), true}, config.of(setting)).problem,
              "");
    table.store(config);
    for (const Setting& other : table.settings()) {
      // One that is set by a function tells its default only.
      const Value now = other.load(other.options);
      const bool is_set = &other == &setting && now != table.default_of(other);
      EXPECT_EQ(now, is_set ? config.of(other) : table.default_of(other))
          << setting_path(setting) << " sets " << setting_path(other);
    }
    const bool is_read_back = setting.load(setting.options) != table.default_of(setting);
    const bool is_by_function = setting.kind == SettingKind::text ||
                                setting.kind == SettingKind::list ||
                                setting.key == "outgoing_queue_bytes_max";
    EXPECT_TRUE(is_read_back || is_by_function) << setting_path(setting);
  }
}

TEST(DirectTable, has_a_slot_for_each_connection_of_a_core_within_the_limits) {
  EXPECT_EQ(services::direct_table_slots(1000, 2, 1 << 20), 500u + 256u);
  EXPECT_EQ(services::direct_table_slots(1001, 2, 1 << 20), 501u + 256u);
  EXPECT_EQ(services::direct_table_slots(1'000'000, 1, 20'000), 20'000u);
  EXPECT_EQ(services::direct_table_slots(100'000'000, 1, UINT64_MAX), 1u << 20);
}

}  // namespace
}  // namespace corelane::services::config
