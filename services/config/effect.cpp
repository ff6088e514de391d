// Settings that are well-formed and have no effect beside the others. Each is named in a warning,
// with the reason: a configuration that is in order does what it says.

#include "services/config/effect.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "runtime/assert.hpp"
#include "services/config/schema.hpp"

namespace corelane::services::config {
namespace {

// What the shortest WebSocket handshake takes: Host, Upgrade, Connection, key and version.
constexpr std::uint64_t kHandshakeFields = 5;
constexpr std::uint64_t kHandshakeHeaderBytes = 122;

class EffectCheck {
 public:
  EffectCheck(ConfigResult& result, ServedBy served_by)
      : result_(result), config_(result.config), served_by_(served_by) {}
  void run();

 private:
  // "limits.pong_timeout = "30s" (flag --pong-timeout)"
  std::string shown(const Setting& setting) const;
  // By its value: a configuration that writes every setting down, as --print-config does, wants
  // nothing of those that have their defaults.
  void warn(const Setting& setting, std::string_view because);
  void warn(std::string_view path, std::string_view because);
  void warn_section(std::string_view section, std::string_view key_prefix,
                    std::string_view because);

  void check_command();
  void check_listeners();
  void check_buffers();
  void check_origins();
  void check_header_limits();
  void check_sizes();

  ConfigResult& result_;
  const ServerConfig& config_;
  ServedBy served_by_;
};

std::string EffectCheck::shown(const Setting& setting) const {
  const auto index = static_cast<std::size_t>(&setting - settings().data());
  return fmt::format("{} = {} ({})", setting_path(setting), setting_toml(setting, config_),
                     result_.origins[index]);
}

void EffectCheck::warn(const Setting& setting, std::string_view because) {
  if (setting_toml(setting, config_) == setting_toml(setting, {})) return;
  result_.warnings.push_back(fmt::format("{} has no effect: {}", shown(setting), because));
}

void EffectCheck::warn(std::string_view path, std::string_view because) {
  const auto found = std::find_if(settings().begin(), settings().end(),
                                  [&](const Setting& it) { return setting_path(it) == path; });
  RT_ASSERT(found != settings().end());
  warn(*found, because);
}

void EffectCheck::warn_section(std::string_view section, std::string_view key_prefix,
                               std::string_view because) {
  for (const Setting& setting : settings()) {
    if (setting.section == section && setting.key.starts_with(key_prefix)) warn(setting, because);
  }
}

void EffectCheck::check_command() {
  if (served_by_ != ServedBy::echo) return;
  constexpr std::string_view kBecause = "echo has no services";
  for (const std::string_view path :
       {"server.tcp_listen", "server.node_name", "limits.subscriptions_per_session_max",
        "limits.channel_name_bytes_max", "limits.channels_max"}) {
    warn(path, kBecause);
  }
}

void EffectCheck::check_listeners() {
  const auto& listen = config_.server.listen;
  const auto& tcp_listen = config_.server.tcp_listen;
  if (listen.empty()) {
    constexpr std::string_view kBecause = "server.listen is empty, so nobody speaks WebSocket";
    warn_section("websocket", "", kBecause);
    for (const std::string_view path :
         {"limits.fragments_max", "limits.request_line_bytes_max", "limits.header_bytes_max",
          "limits.header_fields_max", "limits.header_deadline", "limits.http_body_bytes_max",
          "limits.ping_interval", "limits.pong_timeout"}) {
      warn(path, kBecause);
    }
  }
  const auto is_unix = [](const std::string& address) { return address.starts_with("unix:"); };
  if (std::all_of(listen.begin(), listen.end(), is_unix) &&
      std::all_of(tcp_listen.begin(), tcp_listen.end(), is_unix)) {
    warn("limits.connections_per_ip_max", "connections to Unix sockets have no address");
  }
  const auto is_file = [&](const std::string& address) {
    return is_unix(address) && !address.starts_with("unix:@");
  };
  if (std::none_of(listen.begin(), listen.end(), is_file) &&
      std::none_of(tcp_listen.begin(), tcp_listen.end(), is_file)) {
    warn_section("server", "unix_", "no address is the file of a Unix socket");
  }
}

void EffectCheck::check_buffers() {
  const ServerConfig::Runtime& runtime = config_.runtime;
  if (config_.server.cores == 1) {
    warn("runtime.lane_slots", "one core has no lanes");
    warn("runtime.lane_poll", "one core has no lanes");
  }
  if (runtime.medium_buffers == 0) {
    warn("runtime.medium_buffer_bytes", "runtime.medium_buffers is 0");
  } else if (runtime.medium_buffer_bytes <= runtime.receive_buffer_bytes) {
    warn("runtime.medium_buffer_bytes",
         "small buffers (runtime.receive_buffer_bytes) hold as much");
  }
  if (runtime.large_buffers == 0) {
    warn("runtime.large_buffer_bytes", "runtime.large_buffers is 0");
  } else if (runtime.medium_buffers != 0 &&
             runtime.large_buffer_bytes <= runtime.medium_buffer_bytes) {
    warn("runtime.large_buffer_bytes", "medium ones (runtime.medium_buffer_bytes) hold as much");
  }
#ifndef CORELANE_MIMALLOC
  warn("runtime.huge_pages", "this build has an allocator without them");
#endif
}

void EffectCheck::check_origins() {
  const auto& origins = config_.websocket.origins;
  if (std::find(origins.begin(), origins.end(), "*") == origins.end()) return;
  warn("websocket.origin_strict", "websocket.origins has \"*\", which lets any origin in");
  if (std::all_of(origins.begin(), origins.end(), [](const auto& it) { return it == "*"; })) return;
  result_.warnings.emplace_back(
      "websocket.origins: \"*\" lets any origin in, so the others have no effect");
}

void EffectCheck::check_header_limits() {
  const ServerConfig::Limits& limits = config_.limits;
  if (limits.header_fields_max < kHandshakeFields ||
      limits.header_bytes_max < kHandshakeHeaderBytes) {
    result_.warnings.push_back(
        fmt::format("no WebSocket can be opened: its handshake has at least {} fields "
                    "(limits.header_fields_max = {}) of {} bytes (limits.header_bytes_max = {})",
                    kHandshakeFields, limits.header_fields_max, kHandshakeHeaderBytes,
                    limits.header_bytes_max));
  }
  const auto check = [&](std::string_view path, const std::vector<std::string>& texts) {
    for (const std::string& text : texts) {
      if (text.size() < limits.header_bytes_max) continue;
      result_.warnings.push_back(
          fmt::format("{}: \"{}...\" has no effect: limits.header_bytes_max "
                      "is below its {} bytes",
                      path, text.substr(0, 20), text.size()));
    }
  };
  check("websocket.subprotocols", config_.websocket.subprotocols);
  check("websocket.origins", config_.websocket.origins);
}

void EffectCheck::check_sizes() {
  const ServerConfig::Limits& limits = config_.limits;
  if (limits.ping_interval == 0) warn("limits.pong_timeout", "limits.ping_interval is 0");
  if (limits.channel_name_bytes_max > limits.message_bytes_max) {
    warn("limits.channel_name_bytes_max", "limits.message_bytes_max is below it");
  }
  if (limits.subscriptions_per_session_max > limits.channels_max) {
    warn("limits.subscriptions_per_session_max", "limits.channels_max is below it");
  }
}

void EffectCheck::run() {
  check_command();
  check_listeners();
  check_buffers();
  check_origins();
  check_header_limits();
  check_sizes();
  if (!config_.websocket.deflate)
    warn_section("websocket", "deflate_", "websocket.deflate is false");
}

}  // namespace

void warn_of_ineffective_settings(ConfigResult& result, ServedBy served_by) {
  EffectCheck(result, served_by).run();
}

}  // namespace corelane::services::config
