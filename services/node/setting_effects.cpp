// Settings that are well-formed and have no effect beside the others. Each is named in a warning,
// with the reason: a configuration that is in order does what it says.

#include <fmt/format.h>

#include <algorithm>

#include "services/node/settings.hpp"

namespace corelane::services {
namespace {

using config::ConfigResult;
using config::Configuration;
using config::Setting;
using config::Texts;

// Fields of the shortest WebSocket handshake: Host, Upgrade, Connection, key and version.
constexpr std::uint64_t kHandshakeFields = 5;
constexpr std::uint64_t kHandshakeHeaderBytes = 122;

class EffectCheck {
 public:
  EffectCheck(ConfigResult& result, ServedBy served_by, bool has_huge_pages)
      : result_(result),
        config_(result.config),
        served_by_(served_by),
        has_huge_pages_(has_huge_pages) {}
  void run();

 private:
  // By its value: a configuration that writes every setting down, as --print-config does, wants
  // nothing of those that have their defaults.
  void warn(const Setting& setting, std::string_view because);
  void warn(std::string_view path, std::string_view because);
  void warn_section(std::string_view section, std::string_view key_prefix,
                    std::string_view because);

  void check_command();
  void check_listeners();
  void check_buffers();
  void check_handlers();
  void check_origins();
  void check_header_limits();
  void check_sizes();
  void check_quotas();

  ConfigResult& result_;
  const Configuration& config_;
  ServedBy served_by_;
  bool has_huge_pages_;
};

void EffectCheck::warn(const Setting& setting, std::string_view because) {
  if (config_.of(setting) == config_.table().default_of(setting)) return;
  result_.warnings.push_back(fmt::format("{} has no effect: {}", result_.shown(setting), because));
}

void EffectCheck::warn(std::string_view path, std::string_view because) {
  warn(config_.table().at(path), because);
}

void EffectCheck::warn_section(std::string_view section, std::string_view key_prefix,
                               std::string_view because) {
  for (const Setting& setting : config_.table().settings()) {
    if (setting.section == section && setting.key.starts_with(key_prefix)) warn(setting, because);
  }
}

void EffectCheck::check_command() {
  if (served_by_ != ServedBy::echo) return;
  constexpr std::string_view kBecause = "echo has no services";
  for (const std::string_view path : {"server.tcp_listen", "server.node_name", "websocket.paths"}) {
    warn(path, kBecause);
  }
  for (const Setting& setting : config_.table().settings()) {
    if (setting.options == nullptr) warn(setting, kBecause);
  }
}

void EffectCheck::check_listeners() {
  const Texts& listen = config_.list("server.listen");
  const Texts& tcp_listen = config_.list("server.tcp_listen");
  if (listen.empty()) {
    constexpr std::string_view kBecause = "server.listen is empty, so nobody speaks WebSocket";
    warn_section("websocket", "", kBecause);
    if (served_by_ == ServedBy::application) {
      warn_section("http", "", "server.listen is empty, so nobody speaks HTTP");
    }
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
  const Texts& admin_listen = config_.list("server.admin_listen");
  if (std::none_of(listen.begin(), listen.end(), is_file) &&
      std::none_of(tcp_listen.begin(), tcp_listen.end(), is_file) &&
      std::none_of(admin_listen.begin(), admin_listen.end(), is_file)) {
    warn_section("server", "unix_", "no address is the file of a Unix socket");
  }
}

void EffectCheck::check_buffers() {
  const std::uint64_t small_bytes = config_.number("runtime.receive_buffer_bytes");
  const std::uint64_t medium_bytes = config_.number("runtime.medium_buffer_bytes");
  const bool has_medium = config_.number("runtime.medium_buffers") != 0;
  if (config_.number("server.cores") == 1) {
    warn("runtime.lane_slots", "one core has no lanes");
    warn("runtime.lane_poll", "one core has no lanes");
  }
  if (!has_medium) {
    warn("runtime.medium_buffer_bytes", "runtime.medium_buffers is 0");
  } else if (medium_bytes <= small_bytes) {
    warn("runtime.medium_buffer_bytes",
         "small buffers (runtime.receive_buffer_bytes) hold as much");
  }
  if (config_.number("runtime.large_buffers") == 0) {
    warn("runtime.large_buffer_bytes", "runtime.large_buffers is 0");
  } else if (has_medium && config_.number("runtime.large_buffer_bytes") <= medium_bytes) {
    warn("runtime.large_buffer_bytes", "medium ones (runtime.medium_buffer_bytes) hold as much");
  }
  if (!has_huge_pages_) {
    warn("runtime.huge_pages", "this build has an allocator without them");
  }
}

void EffectCheck::check_handlers() {
  if (served_by_ == ServedBy::application) {
    if (config_.number("limits.http_body_bytes_max") >= config_.number("http.handler_bytes_max")) {
      result_.warnings.push_back(fmt::format(
          "{} is not above {}: a coroutine handler gets no request with a body of that size (503)",
          result_.shown(config_.table().at("http.handler_bytes_max")),
          result_.shown(config_.table().at("limits.http_body_bytes_max"))));
    }
  } else {
    warn_section("http", "", "this server has no HTTP handlers but its own, which answer at once");
  }
}

void EffectCheck::check_origins() {
  const Texts& origins = config_.list("websocket.origins");
  if (std::find(origins.begin(), origins.end(), "*") == origins.end()) return;
  warn("websocket.origin_strict", "websocket.origins has \"*\", which lets any origin in");
  if (std::all_of(origins.begin(), origins.end(), [](const auto& it) { return it == "*"; })) return;
  result_.warnings.emplace_back(
      "websocket.origins: \"*\" lets any origin in, so the others have no effect");
}

void EffectCheck::check_header_limits() {
  const std::uint64_t fields = config_.number("limits.header_fields_max");
  const std::uint64_t header_bytes = config_.number("limits.header_bytes_max");
  if (fields < kHandshakeFields || header_bytes < kHandshakeHeaderBytes) {
    result_.warnings.push_back(
        fmt::format("no WebSocket can be opened: its handshake has at least {} fields "
                    "(limits.header_fields_max = {}) of {} bytes (limits.header_bytes_max = {})",
                    kHandshakeFields, fields, kHandshakeHeaderBytes, header_bytes));
  }
  const auto check = [&](std::string_view path) {
    for (const std::string& text : config_.list(path)) {
      if (text.size() < header_bytes) continue;
      result_.warnings.push_back(
          fmt::format("{}: \"{}...\" has no effect: limits.header_bytes_max "
                      "is below its {} bytes",
                      path, text.substr(0, 20), text.size()));
    }
  };
  check("websocket.subprotocols");
  check("websocket.origins");
}

void EffectCheck::check_sizes() {
  const auto number = [&](std::string_view path) { return config_.number(path); };
  if (number("limits.ping_interval") == 0) warn("limits.pong_timeout", "limits.ping_interval is 0");
  if (number("limits.channel_name_bytes_max") > number("limits.message_bytes_max")) {
    warn("limits.channel_name_bytes_max", "limits.message_bytes_max is below it");
  }
  if (number("limits.subscriptions_per_session_max") > number("limits.channels_max")) {
    warn("limits.subscriptions_per_session_max", "limits.channels_max is below it");
  }
}

void EffectCheck::check_quotas() {
  if (served_by_ == ServedBy::echo) return;
  const bool has_keys =
      !config_.list("quota.address").empty() || !config_.list("quota.principal").empty();
  if (config_.list("quota.principal").empty() && !config_.is_on("quota.track")) {
    warn("quota.principal_name", "quota.principal is empty and quota.track is false");
  }
  if (has_keys) warn("quota.track", "quota.address or quota.principal tracks addresses already");
}

void EffectCheck::run() {
  check_command();
  check_listeners();
  check_buffers();
  check_handlers();
  check_origins();
  check_header_limits();
  check_sizes();
  check_quotas();
  if (!config_.is_on("websocket.deflate"))
    warn_section("websocket", "deflate_", "websocket.deflate is false");
}

}  // namespace

void warn_of_ineffective_settings(ConfigResult& result, ServedBy served_by, bool has_huge_pages) {
  EffectCheck(result, served_by, has_huge_pages).run();
}

}  // namespace corelane::services
