// The rows of the table of settings.

#include "services/config/schema.hpp"

#include <algorithm>

#include "net/http/syntax.hpp"
#include "runtime/address.hpp"
#include "services/config/unix_rights.hpp"
#include "ws/origin.hpp"

namespace corelane::services::config {
namespace {

using Config = ServerConfig;
using runtime::kMicrosecond;
using runtime::kMillisecond;
using runtime::kSecond;

constexpr std::uint64_t kKiB = 1024;
constexpr std::uint64_t kMiB = 1024 * kKiB;
constexpr std::uint64_t kGiB = 1024 * kMiB;
constexpr std::uint64_t kMinute = 60 * kSecond;
constexpr std::uint64_t kHour = 60 * kMinute;

template <auto kSection, auto kMember>
constexpr auto kAt = +[](Config& config) -> auto& { return config.*kSection.*kMember; };

template <auto kMember>
constexpr auto kServer = kAt<&Config::server, kMember>;
template <auto kMember>
constexpr auto kLimits = kAt<&Config::limits, kMember>;
template <auto kMember>
constexpr auto kWebsocket = kAt<&Config::websocket, kMember>;
template <auto kMember>
constexpr auto kRuntime = kAt<&Config::runtime, kMember>;
template <auto kMember>
constexpr auto kLog = kAt<&Config::log, kMember>;

// --- Checks of texts

std::string check_address(std::string_view text) {
  std::string problem = runtime::Address::problem_of(text);
  if (problem != "is no address") return problem;
  if (text.starts_with("localhost:")) return "is a name; write the address, 127.0.0.1 or [::1]";
  return "is no address to listen on";
}

std::string check_origin(std::string_view text) {
  return ws::read_origin_entry(text).problem;
}

std::string check_unix_mode(std::string_view text) {
  return text.empty() || parse_mode(text) ? "" : "is no octal mode";
}

std::string check_unix_owner(std::string_view text) {
  if (text.empty() || find_user(text)) return {};
  return "is no user of /etc/passwd; one that only a directory service knows is given by its "
         "number";
}

std::string check_unix_group(std::string_view text) {
  if (text.empty() || find_group(text)) return {};
  return "is no group of /etc/group; one that only a directory service knows is given by its "
         "number";
}

std::string check_token(std::string_view text) {
  return net::http::is_token(text) ? "" : "is no subprotocol name (RFC 6455 section 4.1: a token)";
}

std::string check_node_name(std::string_view text) {
  const bool is_plain = text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) {
                          return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                                 (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
                        });
  return is_plain ? "" : "is no node name";
}

std::string check_level(std::string_view text) {
  const bool is_known = text == "error" || text == "warning" || text == "info" || text == "debug";
  return is_known ? "" : "is no log level";
}

// --- Rows

struct Name {
  std::string_view section;
  std::string_view key;
  std::string_view alias = {};
};

struct Range {
  std::uint64_t min;
  std::uint64_t max;
  bool zero_too = false;
};
constexpr bool kZeroToo = true;

Setting number(SettingKind kind, Name name, SettingSlot slot, Range range, std::string_view help) {
  Setting setting{name.section, name.key, name.alias, kind, slot, help};
  setting.min = range.min;
  setting.max = range.max;
  setting.zero_too = range.zero_too;
  return setting;
}

Setting count(Name name, SettingSlot slot, Range range, std::string_view help) {
  return number(SettingKind::count, name, slot, range, help);
}

Setting power(Name name, SettingSlot slot, Range range, std::string_view help) {
  Setting setting = number(SettingKind::count, name, slot, range, help);
  setting.power_of_two = true;
  return setting;
}

Setting bytes(Name name, SettingSlot slot, Range range, std::string_view help) {
  return number(SettingKind::bytes, name, slot, range, help);
}

Setting duration(Name name, SettingSlot slot, Range range, std::string_view help) {
  return number(SettingKind::duration, name, slot, range, help);
}

Setting boolean(Name name, SettingSlot slot, std::string_view help) {
  return {name.section, name.key, name.alias, SettingKind::boolean, slot, help};
}

struct TextRule {
  TextCheck check;
  std::string_view allowed;
  std::string_view example;
};
constexpr TextRule kAddressRule{
    check_address, "\"host:port\" in numbers, \"[v6]:port\", \"unix:/path\"", "127.0.0.1:8080"};

Setting words(SettingKind kind, Name name, SettingSlot slot, TextRule rule, std::string_view help) {
  Setting setting{name.section, name.key, name.alias, kind, slot, help};
  setting.check = rule.check;
  setting.allowed = rule.allowed;
  setting.example = rule.example;
  return setting;
}

void add_server(std::vector<Setting>& rows) {
  using S = Config::Server;
  rows.push_back(words(SettingKind::list, {"server", "listen", "listen"}, kServer<&S::listen>,
                       kAddressRule, "addresses for WebSocket and HTTP"));
  rows.push_back(words(SettingKind::list, {"server", "tcp_listen", "tcp-listen"},
                       kServer<&S::tcp_listen>, kAddressRule,
                       "addresses for the opcode protocol over plain TCP"));
  rows.push_back(count({"server", "cores", "cores"}, kServer<&S::cores>, {0, 256},
                       "cores to use; 0 is one for each CPU allowed"));
  rows.push_back(boolean({"server", "pin", "pin"}, kServer<&S::pin>, "pin each core to a CPU"));
  rows.push_back(words(SettingKind::text, {"server", "node_name", "node-name"},
                       kServer<&S::node_name>,
                       {check_node_name, "at most 64 letters, digits, '-', '_' and '.'", "node-1"},
                       "name of this node; empty is the host's name"));
  rows.push_back(duration({"server", "drain_deadline", "drain-deadline"},
                          kServer<&S::drain_deadline>, {0, kHour},
                          "how long a stopping server waits for its connections"));
  rows.push_back(words(SettingKind::text, {"server", "unix_mode", "unix-mode"},
                       kServer<&S::unix_mode>,
                       {check_unix_mode, "\"0\" and three octal digits", "0660"},
                       "rights of the files of Unix sockets; empty is what the umask leaves"));
  rows.push_back(words(SettingKind::text, {"server", "unix_owner", "unix-owner"},
                       kServer<&S::unix_owner>,
                       {check_unix_owner, "a user's name or number", "root"},
                       "owner of the files of Unix sockets; empty is the server's user"));
  rows.push_back(words(SettingKind::text, {"server", "unix_group", "unix-group"},
                       kServer<&S::unix_group>,
                       {check_unix_group, "a group's name or number", "www-data"},
                       "group of the files of Unix sockets; empty is the server's group"));
}

void add_limits(std::vector<Setting>& rows) {
  using L = Config::Limits;
  rows.push_back(bytes({"limits", "message_bytes_max", "max-message"},
                       kLimits<&L::message_bytes_max>, {1, kGiB},
                       "largest message, after inflation too"));
  rows.push_back(count({"limits", "fragments_max", "max-fragments"}, kLimits<&L::fragments_max>,
                       {1, 1 << 20}, "most frames of one message"));
  rows.push_back(duration({"limits", "message_deadline", "message-timeout"},
                          kLimits<&L::message_deadline>, {kMillisecond, kHour},
                          "how long a message may stay unfinished"));
  rows.push_back(bytes({"limits", "request_line_bytes_max", "max-request-line"},
                       kLimits<&L::request_line_bytes_max>, {16, 64 * kKiB},
                       "longest HTTP request line"));
  rows.push_back(bytes({"limits", "header_bytes_max", "max-header"}, kLimits<&L::header_bytes_max>,
                       {64, kMiB}, "largest HTTP header"));
  rows.push_back(count({"limits", "header_fields_max", "max-header-fields"},
                       kLimits<&L::header_fields_max>, {1, 1000}, "most fields of an HTTP header"));
  rows.push_back(duration({"limits", "header_deadline", "header-timeout"},
                          kLimits<&L::header_deadline>, {kMillisecond, 10 * kMinute},
                          "how long a connection may take for its HTTP header"));
  rows.push_back(bytes({"limits", "http_body_bytes_max", "max-body"},
                       kLimits<&L::http_body_bytes_max>, {0, kGiB}, "largest HTTP body"));
  rows.push_back(duration({"limits", "close_timeout", "close-timeout"}, kLimits<&L::close_timeout>,
                          {kMillisecond, 5 * kMinute},
                          "how long to wait for the answer to a close"));
  rows.push_back(bytes({"limits", "close_discard_bytes_max", "max-close-discard"},
                       kLimits<&L::close_discard_bytes_max>, {0, kGiB},
                       "most bytes read and thrown away after our close or last answer"));
  rows.push_back(duration({"limits", "ping_interval", "ping-interval"}, kLimits<&L::ping_interval>,
                          {kMillisecond, 24 * kHour, kZeroToo},
                          "a silent connection is pinged after this; 0 is never"));
  rows.push_back(duration({"limits", "pong_timeout", "pong-timeout"}, kLimits<&L::pong_timeout>,
                          {kMillisecond, kHour}, "a pinged connection must answer within this"));
  rows.push_back(bytes({"limits", "outgoing_queue_bytes_max", "max-queue"},
                       kLimits<&L::outgoing_queue_bytes_max>, {4 * kKiB, kGiB},
                       "most bytes that wait to be sent on a connection"));
  rows.push_back(
      duration({"limits", "write_stall_timeout", "write-stall-timeout"},
               kLimits<&L::write_stall_timeout>, {100 * kMillisecond, kHour, kZeroToo},
               "who takes nothing of what waits for it this long is closed; 0 is never"));
  rows.push_back(count({"limits", "subscriptions_per_session_max", "max-subscriptions"},
                       kLimits<&L::subscriptions_per_session_max>, {1, 1'000'000},
                       "most channels a session is subscribed to"));
  rows.push_back(count({"limits", "channel_name_bytes_max", "max-channel-name"},
                       kLimits<&L::channel_name_bytes_max>, {1, 1024}, "longest channel name"));
  rows.push_back(count({"limits", "channels_max", "max-channels"}, kLimits<&L::channels_max>,
                       {1, 100'000'000},
                       "most channels of a core; about 500 bytes and a name each"));
  rows.push_back(count({"limits", "connections_max", "max-connections"},
                       kLimits<&L::connections_max>, {1, 10'000'000}, "most connections at once"));
  rows.push_back(count({"limits", "connections_per_ip_max", "max-connections-per-ip"},
                       kLimits<&L::connections_per_ip_max>, {0, 10'000'000},
                       "most connections of one address; 0 is no limit"));
}

void add_websocket(std::vector<Setting>& rows) {
  using W = Config::Websocket;
  constexpr std::string_view kSection = "websocket";
  rows.push_back(
      words(SettingKind::list, {kSection, "origins", "origin"}, kWebsocket<&W::origins>,
            {check_origin,
             "\"https://host\", \"https://host:port\", \"https://*.host\", \"null\", \"file://\", "
             "\"moz-extension://*\", \"*\" for any",
             "https://example.org"},
            "web origins let in besides the Host's own; \"*\" is any"));
  rows.push_back(
      boolean({kSection, "origin_strict", "origin-strict"}, kWebsocket<&W::origin_strict>,
              "the Host's own origin is that over http alone; over https, behind a proxy "
              "that ends TLS, it must be listed"));
  rows.push_back(words(SettingKind::list, {kSection, "subprotocols", "subprotocol"},
                       kWebsocket<&W::subprotocols>,
                       {check_token, "names without blanks and separators", "chat.v1"},
                       "subprotocols offered to clients"));
  rows.push_back(boolean({kSection, "deflate", "deflate"}, kWebsocket<&W::deflate>,
                         "compress messages where the client wants it (permessage-deflate)"));
  rows.push_back(count({kSection, "deflate_server_window_bits"},
                       kWebsocket<&W::deflate_server_window_bits>, {9, 15},
                       "window of what the server compresses, as a power of two"));
  rows.push_back(count({kSection, "deflate_client_window_bits"},
                       kWebsocket<&W::deflate_client_window_bits>, {8, 15},
                       "window of what clients compress, where they let it be set"));
  rows.push_back(boolean({kSection, "deflate_server_no_context_takeover"},
                         kWebsocket<&W::deflate_server_no_context_takeover>,
                         "compress each message on its own: less memory, larger messages"));
  rows.push_back(boolean({kSection, "deflate_client_no_context_takeover"},
                         kWebsocket<&W::deflate_client_no_context_takeover>,
                         "ask clients to compress each message on its own"));
  rows.push_back(count({kSection, "deflate_level"}, kWebsocket<&W::deflate_level>, {1, 9},
                       "1 is quick, 9 is small"));
  rows.push_back(count({kSection, "deflate_memory_level"}, kWebsocket<&W::deflate_memory_level>,
                       {1, 9}, "memory of a compressor, as in zlib"));
}

void add_runtime(std::vector<Setting>& rows) {
  using R = Config::Runtime;
  constexpr std::string_view kSection = "runtime";
  rows.push_back(power({kSection, "ring_entries"}, kRuntime<&R::ring_entries>, {4, 32'768},
                       "submission queue of a core, a power of two"));
  rows.push_back(power({kSection, "completion_entries"}, kRuntime<&R::completion_entries>,
                       {8, 65'536}, "completion queue of a core, a power of two"));
  rows.push_back(bytes({kSection, "receive_buffer_bytes"}, kRuntime<&R::receive_buffer_bytes>,
                       {64, kMiB}, "one small receive buffer"));
  rows.push_back(power({kSection, "receive_buffers"}, kRuntime<&R::receive_buffers>, {1, 32'768},
                       "small receive buffers of a core, a power of two"));
  rows.push_back(bytes({kSection, "medium_buffer_bytes"}, kRuntime<&R::medium_buffer_bytes>,
                       {64, 16 * kMiB}, "one receive buffer for what fills small ones"));
  rows.push_back(power({kSection, "medium_buffers"}, kRuntime<&R::medium_buffers>,
                       {1, 32'768, kZeroToo},
                       "medium receive buffers of a core, a power of two; 0 is none"));
  rows.push_back(bytes({kSection, "large_buffer_bytes"}, kRuntime<&R::large_buffer_bytes>,
                       {4 * kKiB, 64 * kMiB}, "one receive buffer for large messages"));
  rows.push_back(power({kSection, "large_buffers"}, kRuntime<&R::large_buffers>,
                       {1, 1024, kZeroToo},
                       "large receive buffers of a core, a power of two; 0 is none"));
  rows.push_back(power({kSection, "lane_slots"}, kRuntime<&R::lane_slots>, {4, 65'536},
                       "messages that fit into a lane between two cores, a power of two"));
  rows.push_back(duration({kSection, "lane_poll"}, kRuntime<&R::lane_poll>, {0, 10 * kMillisecond},
                          "how long an idle core looks at its lanes before it sleeps"));
  rows.push_back(duration({kSection, "stall_threshold"}, kRuntime<&R::stall_threshold>,
                          {100 * kMicrosecond, 10 * kSecond, kZeroToo},
                          "a handler that holds a core longer is reported; 0 is never"));
  rows.push_back(boolean({kSection, "direct_descriptors"}, kRuntime<&R::direct_descriptors>,
                         "keep connections out of the process' descriptor table"));
  rows.push_back(boolean({kSection, "huge_pages"}, kRuntime<&R::huge_pages>,
                         "ask for huge pages for buffers and heaps"));
}

std::vector<Setting> make_settings() {
  std::vector<Setting> rows;
  add_server(rows);
  add_limits(rows);
  add_websocket(rows);
  add_runtime(rows);
  rows.push_back(words(SettingKind::text, {"log", "level", "log-level"}, kLog<&Config::Log::level>,
                       {check_level, "error, warning, info, debug", "info"}, "what is logged"));
  return rows;
}

}  // namespace

const std::vector<Setting>& settings() {
  static const std::vector<Setting> kSettings = make_settings();
  return kSettings;
}

}  // namespace corelane::services::config
