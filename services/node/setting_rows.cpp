// The rows of settings of what has no service of its own: listeners, HTTP, WebSocket, network,
// runtime, log.

#include <algorithm>
#include <stdexcept>

#include "net/http/router.hpp"
#include "net/http/syntax.hpp"
#include "runtime/address.hpp"
#include "services/config/rows.hpp"
#include "services/node/setting_rows.hpp"
#include "services/node/unix_rights.hpp"
#include "ws/origin.hpp"

namespace corelane::services {
namespace {

using config::kGiB;
using config::kHour;
using config::kKiB;
using config::kMiB;
using config::kMinute;
using config::kZeroToo;
using config::TextRule;
using config::Texts;
using config::Value;
using runtime::kMicrosecond;
using runtime::kMillisecond;
using runtime::kSecond;

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

std::string check_path(std::string_view text) {
  try {
    net::http::Router<int>{}.add("GET", text, 0);
  } catch (const std::invalid_argument&) {
    return "is no path";
  }
  return {};
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

std::string check_format(std::string_view text) {
  return text == "text" || text == "logfmt" || text == "json" ? "" : "is no log format";
}

std::string check_log_file(std::string_view text) {
  return text.empty() || (text.starts_with('/') && !text.ends_with('/')) ? ""
                                                                         : "is no absolute path";
}

// --- Options of another type than their setting's value

// Most bytes that our framing adds to a message: a frame header, an event's fields and the longest
// channel name. So a message at the limit fits into an empty queue.
constexpr std::uint64_t kFramingBytes = 2048;

void set_listeners(ServerOptions& options, Spoken spoken, const Texts& texts) {
  std::vector<NodeListener>& listeners = options.node.listeners;
  std::erase_if(listeners, [spoken](const NodeListener& each) { return each.spoken == spoken; });
  for (const runtime::Address& address : parse_addresses(texts)) {
    listeners.push_back({.address = address, .spoken = spoken});
  }
}
void store_listen(ServerOptions& options, const Texts& texts) {
  set_listeners(options, Spoken::http, texts);
}
void store_tcp_listen(ServerOptions& options, const Texts& texts) {
  set_listeners(options, Spoken::tcp, texts);
}
void store_admin_listen(ServerOptions& options, const Texts& texts) {
  set_listeners(options, Spoken::operators, texts);
}
void store_unix_mode(ServerOptions& options, const std::string& text) {
  options.node.socket.unix_mode = parse_mode(text).value_or(-1);
}
void store_unix_owner(ServerOptions& options, const std::string& text) {
  options.node.socket.unix_owner = find_user(text).value_or(-1);
}
void store_unix_group(ServerOptions& options, const std::string& text) {
  options.node.socket.unix_group = find_group(text).value_or(-1);
}
void store_queue_bytes(ServerOptions& options, std::uint64_t bytes) {
  options.node.network.queued_bytes_max = bytes + kFramingBytes;
}
void store_origins(ServerOptions& options, const Texts& texts) {
  options.node.websocket.handshake.allow_origins(texts);
}
void store_level(ServerOptions& options, const std::string& text) {
  options.process.log_level = log_level_of(text);
}
void store_format(ServerOptions& options, const std::string& text) {
  options.process.log_format = text == "json"     ? runtime::LogFormat::json
                               : text == "logfmt" ? runtime::LogFormat::logfmt
                                                  : runtime::LogFormat::text;
}

Value no_text(const void*) {
  return std::string{};
}
Value no_texts(const void*) {
  return Texts{};
}
Value default_listen(const void*) {
  return Texts{"127.0.0.1:8080"};
}
Value default_level(const void*) {
  return std::string{"info"};
}
Value default_format(const void*) {
  return std::string{"text"};
}
Value default_queue_bytes(const void*) {
  return std::uint64_t{net::NetworkOptions{}.queued_bytes_max};
}

// --- Rows

using Http = net::http::ServerOptions;
using Network = net::NetworkOptions;
using WebSocket = ws::EndpointOptions;
constexpr auto kNode = &ServerOptions::node;
constexpr auto kProcess = &ServerOptions::process;
constexpr auto kHttp = &NodeOptions::http;
constexpr auto kNetwork = &NodeOptions::network;
constexpr auto kWebSocket = &NodeOptions::websocket;
constexpr auto kTcp = &NodeOptions::tcp;
constexpr auto kReader = &WebSocket::reader;
constexpr auto kHttpLimits = &Http::limits;
constexpr auto kDeflate = &ws::HandshakePolicy::deflate;
constexpr auto kHandshake = &WebSocket::handshake;
constexpr auto kRuntime = &ProcessOptions::runtime;
constexpr auto kRing = &runtime::RuntimeOptions::ring;

constexpr TextRule kAddressRule{
    check_address, "\"host:port\" in numbers, \"[v6]:port\", \"unix:/path\"", "127.0.0.1:8080"};

constexpr ServerRow kServerRows[] = {
    config::list_by<store_listen>({"server", "listen", "listen"}, kAddressRule, default_listen,
                                  "addresses for WebSocket and HTTP"),
    config::list_by<store_tcp_listen>({"server", "tcp_listen", "tcp-listen"}, kAddressRule,
                                      no_texts, "addresses for the opcode protocol over plain TCP"),
    config::list_by<store_admin_listen>({"server", "admin_listen", "admin-listen"}, kAddressRule,
                                        no_texts,
                                        "addresses for metrics and health alone; empty leaves them "
                                        "on server.listen"),
    config::count<kProcess, kRuntime, &runtime::RuntimeOptions::cores>(
        {"server", "cores", "cores"}, {0, runtime::kCoresMax},
        "cores to use; 0 is one for each CPU allowed"),
    config::boolean<&ServerOptions::pin>(
        {"server", "pin", "pin"},
        "pin each core to a CPU; unless it is set, where that is worth it (corelane doctor)"),
    config::text<kNode, &NodeOptions::dispatch, &DispatchOptions::node_name>(
        {"server", "node_name", "node-name"},
        {check_node_name, "at most 64 letters, digits, '-', '_' and '.'", "node-1"},
        "name of this node; empty is the host's name"),
    config::duration<kProcess, &ProcessOptions::drain_deadline>(
        {"server", "drain_deadline", "drain-deadline"}, {0, kHour},
        "how long a stopping server waits for its connections"),
    config::boolean<kNode, &NodeOptions::debug_routes>(
        {"server", "debug_routes", "debug-routes"},
        "answer GET /debug/tasks, to every client that can connect to server.admin_listen, or to "
        "server.listen without it"),
    config::text_by<store_unix_mode>(
        {"server", "unix_mode", "unix-mode"},
        {check_unix_mode, "\"0\" and three octal digits", "0660"}, no_text,
        "rights of the files of Unix sockets; empty is what the umask leaves"),
    config::text_by<store_unix_owner>({"server", "unix_owner", "unix-owner"},
                                      {check_unix_owner, "a user's name or number", "root"},
                                      no_text,
                                      "owner of the files of Unix sockets; empty is the server's "
                                      "user"),
    config::text_by<store_unix_group>({"server", "unix_group", "unix-group"},
                                      {check_unix_group, "a group's name or number", "www-data"},
                                      no_text,
                                      "group of the files of Unix sockets; empty is the server's "
                                      "group"),
};

constexpr ServerRow kLimitRows[] = {
    config::bytes<kNode, kWebSocket, kReader, &ws::ReaderLimits::message_bytes_max>(
        {"limits", "message_bytes_max", "max-message"}, {1, kGiB},
        "largest message, after inflation too"),
    config::count<kNode, kWebSocket, kReader, &ws::ReaderLimits::fragments_max>(
        {"limits", "fragments_max", "max-fragments"}, {1, 1 << 20}, "most frames of one message"),
    config::duration<kNode, kWebSocket, &WebSocket::message_deadline>(
        {"limits", "message_deadline", "message-timeout"}, {kMillisecond, kHour},
        "how long a message may stay unfinished"),
    config::follows<kNode, kTcp, &TcpOptions::message_deadline>("limits", "message_deadline"),
    config::follows<kNode, kHttp, &Http::body_deadline>("limits", "message_deadline"),
    config::bytes<kNode, kHttp, kHttpLimits, &net::http::Limits::request_line_bytes_max>(
        {"limits", "request_line_bytes_max", "max-request-line"}, {16, 64 * kKiB},
        "longest HTTP request line"),
    config::bytes<kNode, kHttp, kHttpLimits, &net::http::Limits::header_bytes_max>(
        {"limits", "header_bytes_max", "max-header"}, {64, kMiB}, "largest HTTP header"),
    config::count<kNode, kHttp, kHttpLimits, &net::http::Limits::fields_max>(
        {"limits", "header_fields_max", "max-header-fields"}, {1, 1000},
        "most fields of an HTTP header"),
    config::duration<kNode, kHttp, &Http::header_deadline>(
        {"limits", "header_deadline", "header-timeout"}, {kMillisecond, 10 * kMinute},
        "how long a connection may take for its HTTP header"),
    config::bytes<kNode, kHttp, kHttpLimits, &net::http::Limits::body_bytes_max>(
        {"limits", "http_body_bytes_max", "max-body"}, {0, kGiB}, "largest HTTP body"),
    config::duration<kNode, kWebSocket, &WebSocket::close_timeout>(
        {"limits", "close_timeout", "close-timeout"}, {kMillisecond, 5 * kMinute},
        "how long to wait for the answer to a close"),
    config::follows<kNode, kTcp, &TcpOptions::close_timeout>("limits", "close_timeout"),
    config::follows<kNode, kHttp, &Http::linger>("limits", "close_timeout"),
    config::bytes<kNode, kNetwork, &Network::discard_bytes_max>(
        {"limits", "close_discard_bytes_max", "max-close-discard"}, {0, kGiB},
        "most bytes read and thrown away after our close or last answer"),
    config::duration<kNode, kWebSocket, &WebSocket::ping_interval>(
        {"limits", "ping_interval", "ping-interval"}, {kMillisecond, 24 * kHour, kZeroToo},
        "a silent connection is pinged after this; 0 is never"),
    config::duration<kNode, kWebSocket, &WebSocket::pong_timeout>(
        {"limits", "pong_timeout", "pong-timeout"}, {kMillisecond, kHour},
        "a pinged connection must answer within this"),
    config::bytes_by<store_queue_bytes>({"limits", "outgoing_queue_bytes_max", "max-queue"},
                                        {4 * kKiB, kGiB}, default_queue_bytes,
                                        "most bytes that wait to be sent on a connection"),
    config::duration<kNode, kNetwork, &Network::write_stall_timeout>(
        {"limits", "write_stall_timeout", "write-stall-timeout"},
        {100 * kMillisecond, kHour, kZeroToo},
        "a peer that takes nothing queued for it this long is closed; 0 is never"),
    config::bytes<kProcess, kRuntime, &runtime::RuntimeOptions::memory_bytes_max>(
        {"limits", "memory_bytes_max", "max-memory"}, {kMiB, 1024 * 1024 * kGiB, kZeroToo},
        "most memory held for peers, of all cores; 0 is half of what the host or cgroup has"),
    config::bytes<kNode, &NodeOptions::unfinished_bytes_max>(
        {"limits", "unfinished_bytes_max", "max-unfinished"}, {kMiB, 1024 * 1024 * kGiB},
        "most memory of messages and bodies that are not whole yet, of all cores"),
};

// Rows behind the limits of the services.
constexpr ServerRow kConnectionRows[] = {
    config::count<kNode, &NodeOptions::connections_max>(
        {"limits", "connections_max", "max-connections"}, {1, 10'000'000},
        "most connections at once"),
    config::count<kNode, &NodeOptions::connections_per_ip_max>(
        {"limits", "connections_per_ip_max", "max-connections-per-ip"}, {0, 10'000'000},
        "most connections of one address; 0 is no limit"),
};

constexpr ServerRow kWebSocketRows[] = {
    config::list<kNode, &NodeOptions::websocket_paths>(
        {"websocket", "paths", "path"},
        {check_path, "\"/path\", \"/path/:segment\", \"/path/*rest\"", "/ws"},
        "paths where the opcode protocol is spoken; another one is 404"),
    config::list_by<store_origins>(
        {"websocket", "origins", "origin"},
        {check_origin,
         "\"https://host\", \"https://host:port\", \"https://*.host\", \"null\", \"file://\", "
         "\"moz-extension://*\", \"*\" for any",
         "https://example.org"},
        no_texts, "web origins let in besides the Host's own; \"*\" is any"),
    config::boolean<kNode, kWebSocket, kHandshake, &ws::HandshakePolicy::is_origin_strict>(
        {"websocket", "origin_strict", "origin-strict"},
        "the Host's own origin is that over http alone; over https, behind a proxy "
        "that ends TLS, it must be listed"),
    config::list<kNode, kWebSocket, kHandshake, &ws::HandshakePolicy::subprotocols>(
        {"websocket", "subprotocols", "subprotocol"},
        {check_token, "names without blanks and separators", "chat.v1"},
        "subprotocols offered to clients"),
    config::boolean<kNode, kWebSocket, kHandshake, kDeflate, &ws::DeflatePolicy::is_enabled>(
        {"websocket", "deflate", "deflate"},
        "compress messages where the client wants it (permessage-deflate)"),
    config::count<kNode, kWebSocket, kHandshake, kDeflate,
                  &ws::DeflatePolicy::server_window_bits_max>(
        {"websocket", "deflate_server_window_bits"}, {9, 15},
        "window of what the server compresses, as a power of two"),
    config::count<kNode, kWebSocket, kHandshake, kDeflate,
                  &ws::DeflatePolicy::client_window_bits_max>(
        {"websocket", "deflate_client_window_bits"}, {8, 15},
        "window of what clients compress, where they let it be set"),
    config::boolean<kNode, kWebSocket, kHandshake, kDeflate,
                    &ws::DeflatePolicy::server_no_context_takeover>(
        {"websocket", "deflate_server_no_context_takeover"},
        "compress each message on its own: less memory, larger messages"),
    config::boolean<kNode, kWebSocket, kHandshake, kDeflate,
                    &ws::DeflatePolicy::client_no_context_takeover>(
        {"websocket", "deflate_client_no_context_takeover"},
        "ask clients to compress each message on its own"),
    config::count<kNode, kWebSocket, kHandshake, kDeflate, &ws::DeflatePolicy::level>(
        {"websocket", "deflate_level"}, {1, 9}, "1 is quick, 9 is small"),
    config::count<kNode, kWebSocket, kHandshake, kDeflate, &ws::DeflatePolicy::memory_level>(
        {"websocket", "deflate_memory_level"}, {1, 9}, "memory of a compressor, as in zlib"),
};

constexpr ServerRow kHttpRows[] = {
    config::duration<kNode, kHttp, &Http::answer_deadline>(
        {"http", "answer_deadline", "answer-timeout"}, {kMillisecond, kHour},
        "how long a handler may take for its answer, or its first piece"),
    config::count<kNode, kHttp, &Http::handlers_max>({"http", "handlers_max", "max-http-handlers"},
                                                     {1, 10'000'000},
                                                     "most coroutine handlers that run on a core"),
    config::bytes<kNode, kHttp, &Http::handler_bytes_max>(
        {"http", "handler_bytes_max", "max-http-handler-bytes"}, {16 * kKiB, 1024 * kGiB},
        "most bytes of requests that the handlers of a core hold"),
};

constexpr ServerRow kRuntimeRows[] = {
    config::power<kProcess, kRuntime, kRing, &runtime::RingOptions::entries>(
        {"runtime", "ring_entries"}, {4, 32'768}, "submission queue of a core, a power of two"),
    config::power<kProcess, kRuntime, kRing, &runtime::RingOptions::completion_entries>(
        {"runtime", "completion_entries"}, {8, 65'536},
        "completion queue of a core, a power of two"),
    config::bytes<kNode, kNetwork, &Network::receive_buffer_bytes>(
        {"runtime", "receive_buffer_bytes"}, {64, kMiB}, "one small receive buffer"),
    config::power<kNode, kNetwork, &Network::receive_buffers>(
        {"runtime", "receive_buffers"}, {1, 32'768},
        "small receive buffers of a core, a power of two"),
    config::bytes<kNode, kNetwork, &Network::medium_buffer_bytes>(
        {"runtime", "medium_buffer_bytes"}, {64, 16 * kMiB},
        "one receive buffer for what fills small ones"),
    config::power<kNode, kNetwork, &Network::medium_buffers>(
        {"runtime", "medium_buffers"}, {1, 32'768, kZeroToo},
        "medium receive buffers of a core, a power of two; 0 is none"),
    config::bytes<kNode, kNetwork, &Network::large_buffer_bytes>(
        {"runtime", "large_buffer_bytes"}, {4 * kKiB, 64 * kMiB},
        "one receive buffer for large messages"),
    config::power<kNode, kNetwork, &Network::large_buffers>(
        {"runtime", "large_buffers"}, {1, 1024, kZeroToo},
        "large receive buffers of a core, a power of two; 0 is none"),
    config::power<kProcess, kRuntime, &runtime::RuntimeOptions::lane_slots>(
        {"runtime", "lane_slots"}, {4, 65'536},
        "messages that fit into a lane between two cores, a power of two"),
    config::duration<kProcess, kRuntime, &runtime::RuntimeOptions::lane_poll>(
        {"runtime", "lane_poll"}, {0, 10 * kMillisecond},
        "how long an idle core looks at its lanes before it sleeps"),
    config::duration<kProcess, kRuntime, &runtime::RuntimeOptions::stall_threshold>(
        {"runtime", "stall_threshold"}, {100 * kMicrosecond, 10 * kSecond, kZeroToo},
        "a handler that holds a core longer is reported; 0 is never"),
    config::boolean<kNode, kNetwork, &Network::direct_descriptors>(
        {"runtime", "direct_descriptors"}, "keep connections out of the process' descriptor table"),
    config::boolean<&ServerOptions::huge_pages>({"runtime", "huge_pages"},
                                                "ask for huge pages for buffers and heaps"),
};

constexpr ServerRow kLogRows[] = {
    config::text_by<store_level>({"log", "level", "log-level"},
                                 {check_level, "error, warning, info, debug", "info"},
                                 default_level, "what is logged; read again at SIGHUP"),
    config::text_by<store_format>({"log", "format", "log-format"},
                                  {check_format, "text, logfmt, json", "json"}, default_format,
                                  "form of the log's lines"),
    config::text<kProcess, &ProcessOptions::log_file>(
        {"log", "file", "log-file"}, {check_log_file, "an absolute path", "/var/log/corelane.log"},
        "file of the log, opened again at SIGHUP; empty is stderr"),
    config::boolean<kNode, &NodeOptions::log_connections>({"log", "connections", "log-connections"},
                                                          "a line for each session that has ended"),
};

}  // namespace

ServerRows server_rows() noexcept {
  return kServerRows;
}
ServerRows limit_rows() noexcept {
  return kLimitRows;
}
ServerRows connection_rows() noexcept {
  return kConnectionRows;
}
ServerRows websocket_rows() noexcept {
  return kWebSocketRows;
}
ServerRows http_rows() noexcept {
  return kHttpRows;
}
ServerRows runtime_rows() noexcept {
  return kRuntimeRows;
}
ServerRows log_rows() noexcept {
  return kLogRows;
}

}  // namespace corelane::services
