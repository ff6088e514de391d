#include "services/config/server_options.hpp"

#include <algorithm>

#include "runtime/assert.hpp"
#include "services/config/unix_rights.hpp"
#include "services/version.hpp"

namespace corelane::services::config {
namespace {

// What our own framing may add to a message at the limit, so that one fits into an empty queue:
// a frame header, an event's fields and the longest channel name.
constexpr std::uint64_t kFramingBytes = 2048;

template <class To>
To narrow(std::uint64_t value) {
  const auto result = static_cast<To>(value);
  RT_ASSERT(static_cast<std::uint64_t>(result) == value);  // the schema's ranges see to it
  return result;
}

services::LogLevel log_level(const std::string& name) {
  if (name == "error") return services::LogLevel::error;
  if (name == "warning") return services::LogLevel::warning;
  return name == "debug" ? services::LogLevel::debug : services::LogLevel::info;
}

}  // namespace

std::vector<runtime::Address> parse_addresses(const std::vector<std::string>& texts) {
  std::vector<runtime::Address> addresses;
  for (const std::string& text : texts) {
    const auto address = runtime::Address::parse(text);
    RT_ASSERT(address.has_value());  // the schema has checked it
    addresses.push_back(*address);
  }
  return addresses;
}

void resolve_host_defaults(ServerConfig& config, const std::vector<int>& cpus,
                           const std::string& host_name) {
  if (config.server.cores == 0) config.server.cores = services::cores_for(cpus);
  if (config.server.node_name.empty()) config.server.node_name = host_name;
}

net::NetworkOptions network_options(const ServerConfig& config) {
  const ServerConfig::Runtime& runtime = config.runtime;
  net::NetworkOptions options;
  options.receive_buffer_bytes = narrow<std::uint32_t>(runtime.receive_buffer_bytes);
  options.receive_buffers = narrow<std::uint32_t>(runtime.receive_buffers);
  options.medium_buffer_bytes = narrow<std::uint32_t>(runtime.medium_buffer_bytes);
  options.medium_buffers = narrow<std::uint32_t>(runtime.medium_buffers);
  options.large_buffer_bytes = narrow<std::uint32_t>(runtime.large_buffer_bytes);
  options.large_buffers = narrow<std::uint32_t>(runtime.large_buffers);
  options.queued_bytes_max = config.limits.outgoing_queue_bytes_max + kFramingBytes;
  options.write_stall_timeout = config.limits.write_stall_timeout;
  options.discard_bytes_max = narrow<std::uint32_t>(config.limits.close_discard_bytes_max);
  const std::uint64_t cores = std::max<std::uint64_t>(1, config.server.cores);
  options.streams_max = narrow<std::uint32_t>((config.limits.connections_max + cores - 1) / cores);
  // Only a descriptor of the process can be asked for its peer's address.
  options.direct_descriptors =
      runtime.direct_descriptors && config.limits.connections_per_ip_max == 0;
  return options;
}

net::http::ServerOptions http_options(const ServerConfig& config) {
  const ServerConfig::Limits& limits = config.limits;
  net::http::ServerOptions options;
  options.limits.request_line_bytes_max = limits.request_line_bytes_max;
  options.limits.header_bytes_max = limits.header_bytes_max;
  options.limits.fields_max = limits.header_fields_max;
  options.limits.body_bytes_max = limits.http_body_bytes_max;
  options.header_deadline = limits.header_deadline;
  options.body_deadline = limits.message_deadline;
  options.linger = limits.close_timeout;
  return options;
}

ws::EndpointOptions websocket_options(const ServerConfig& config) {
  const ServerConfig::Limits& limits = config.limits;
  const ServerConfig::Websocket& websocket = config.websocket;
  ws::EndpointOptions options;
  options.handshake.subprotocols = websocket.subprotocols;
  options.handshake.allow_origins(websocket.origins);  // the schema has checked them
  options.handshake.is_origin_strict = websocket.origin_strict;
  ws::DeflatePolicy& deflate = options.handshake.deflate;
  deflate.is_enabled = websocket.deflate;
  deflate.server_no_context_takeover = websocket.deflate_server_no_context_takeover;
  deflate.client_no_context_takeover = websocket.deflate_client_no_context_takeover;
  deflate.server_window_bits_max = narrow<std::uint8_t>(websocket.deflate_server_window_bits);
  deflate.client_window_bits_max = narrow<std::uint8_t>(websocket.deflate_client_window_bits);
  deflate.level = narrow<int>(websocket.deflate_level);
  deflate.memory_level = narrow<int>(websocket.deflate_memory_level);
  options.reader.message_bytes_max = limits.message_bytes_max;
  options.reader.fragments_max = narrow<std::uint32_t>(limits.fragments_max);
  options.message_deadline = limits.message_deadline;
  options.close_timeout = limits.close_timeout;
  options.ping_interval = limits.ping_interval;
  options.pong_timeout = limits.pong_timeout;
  return options;
}

runtime::ListenOptions listen_options(const ServerConfig& config) {
  runtime::ListenOptions options;
  options.unix_mode = parse_mode(config.server.unix_mode).value_or(-1);
  options.unix_owner = find_user(config.server.unix_owner).value_or(-1);
  options.unix_group = find_group(config.server.unix_group).value_or(-1);
  return options;
}

services::NodeOptions node_options(const ServerConfig& config) {
  const ServerConfig::Limits& limits = config.limits;
  services::NodeOptions options;
  options.listen = parse_addresses(config.server.listen);
  options.tcp_listen = parse_addresses(config.server.tcp_listen);
  options.socket = listen_options(config);
  options.network = network_options(config);
  options.http = http_options(config);
  options.websocket = websocket_options(config);
  options.tcp.message_deadline = limits.message_deadline;
  options.tcp.close_timeout = limits.close_timeout;
  options.pubsub.channel_name_bytes_max = limits.channel_name_bytes_max;
  options.pubsub.subscriptions_per_session_max = limits.subscriptions_per_session_max;
  options.pubsub.channels_max = limits.channels_max;
  options.dispatch.node_name = config.server.node_name;
  options.dispatch.server_version = version();
  options.dispatch.frame_bytes_max = limits.message_bytes_max;
  options.dispatch.subscriptions_per_session_max = limits.subscriptions_per_session_max;
  options.connections_max = narrow<std::uint32_t>(limits.connections_max);
  options.connections_per_ip_max = narrow<std::uint32_t>(limits.connections_per_ip_max);
  return options;
}

services::ProcessOptions process_options(const ServerConfig& config, const std::vector<int>& cpus) {
  services::ProcessOptions options;
  options.runtime.cores = narrow<runtime::CoreId>(config.server.cores);
  if (config.server.pin) options.runtime.cpus = cpus;
  options.runtime.ring.entries = narrow<std::uint32_t>(config.runtime.ring_entries);
  options.runtime.ring.completion_entries =
      narrow<std::uint32_t>(config.runtime.completion_entries);
  options.runtime.lane_slots = narrow<std::uint32_t>(config.runtime.lane_slots);
  options.runtime.lane_poll = config.runtime.lane_poll;
  options.runtime.stall_threshold = config.runtime.stall_threshold;
  options.connections_max = config.limits.connections_max;
  options.direct_descriptors = network_options(config).direct_descriptors;
  options.drain_deadline = config.server.drain_deadline;
  options.log_level = log_level(config.log.level);
  return options;
}

}  // namespace corelane::services::config
