#pragma once
// The configuration of `corelane serve` and `corelane echo`: what can be set, and where each value
// came from. A value given as a flag wins over the environment, that over the file, that over the
// default. Everything is checked before anything starts, and all errors are reported at once: each
// names the place, the key, the value, what is allowed and a fix.
//
// The table of settings (services/config/schema.hpp) drives the TOML keys, the names of variables
// and flags, --help and --print-config. Plain values, owned by the caller; nothing here touches the
// process: arguments, environment and files come in as arguments.

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/result.hpp"
#include "runtime/types.hpp"

namespace corelane::services::config {

// Members are named as their TOML keys. Sizes in bytes, times in nanoseconds.
struct ServerConfig {
  struct Server {
    // "host:port", "[v6]:port" or "unix:/path"; port 0 is an ephemeral one.
    std::vector<std::string> listen{"127.0.0.1:8080"};  // WebSocket and HTTP
    std::vector<std::string> tcp_listen;                // the opcode protocol without WebSocket
    std::uint64_t cores = 0;                            // 0: one for each CPU allowed
    bool pin = true;
    std::string node_name;  // empty: the host's name
    runtime::Nanoseconds drain_deadline = 8 * runtime::kSecond;
    // Of the files of Unix sockets; empty leaves what the system gives them.
    std::string unix_mode;   // octal, "0660"
    std::string unix_owner;  // a name of /etc/passwd or a number
    std::string unix_group;  // a name of /etc/group or a number
    friend bool operator==(const Server&, const Server&) = default;
  } server;

  struct Limits {
    std::uint64_t message_bytes_max = 1024 * 1024;
    std::uint64_t fragments_max = 1024;
    runtime::Nanoseconds message_deadline = 30 * runtime::kSecond;
    std::uint64_t request_line_bytes_max = 4 * 1024;
    std::uint64_t header_bytes_max = 8 * 1024;
    std::uint64_t header_fields_max = 64;
    runtime::Nanoseconds header_deadline = 10 * runtime::kSecond;
    std::uint64_t http_body_bytes_max = 1024 * 1024;
    runtime::Nanoseconds close_timeout = 5 * runtime::kSecond;
    std::uint64_t close_discard_bytes_max = 16 * 1024 * 1024;
    runtime::Nanoseconds ping_interval = 25 * runtime::kSecond;  // 0: no pings
    runtime::Nanoseconds pong_timeout = 10 * runtime::kSecond;
    std::uint64_t outgoing_queue_bytes_max = 1024 * 1024;
    runtime::Nanoseconds write_stall_timeout = 30 * runtime::kSecond;  // 0: never
    std::uint64_t subscriptions_per_session_max = 1000;
    std::uint64_t channel_name_bytes_max = 255;
    std::uint64_t channels_max = 1'000'000;  // of a core
    std::uint64_t connections_max = 1'000'000;
    std::uint64_t connections_per_ip_max = 0;  // 0: no limit
    friend bool operator==(const Limits&, const Limits&) = default;
  } limits;

  struct Websocket {
    std::vector<std::string> origins;  // as ws/origin.hpp reads them; "*": any
    bool origin_strict = false;        // true: a page over https needs an entry, as we speak http
    std::vector<std::string> subprotocols;
    bool deflate = false;
    std::uint64_t deflate_server_window_bits = 15;
    std::uint64_t deflate_client_window_bits = 15;
    bool deflate_server_no_context_takeover = false;
    bool deflate_client_no_context_takeover = false;
    std::uint64_t deflate_level = 1;
    std::uint64_t deflate_memory_level = 8;
    friend bool operator==(const Websocket&, const Websocket&) = default;
  } websocket;

  struct Runtime {
    std::uint64_t ring_entries = 1024;
    std::uint64_t completion_entries = 16384;
    std::uint64_t receive_buffer_bytes = 4096;
    std::uint64_t receive_buffers = 512;
    std::uint64_t medium_buffer_bytes = 32 * 1024;
    std::uint64_t medium_buffers = 128;  // 0: none
    std::uint64_t large_buffer_bytes = 320 * 1024;
    std::uint64_t large_buffers = 4;  // 0: none
    std::uint64_t lane_slots = 1024;
    runtime::Nanoseconds lane_poll = 20 * runtime::kMicrosecond;
    runtime::Nanoseconds stall_threshold = 5 * runtime::kMillisecond;  // 0: no detector
    bool direct_descriptors = true;
    bool huge_pages = false;
    friend bool operator==(const Runtime&, const Runtime&) = default;
  } runtime;

  struct Log {
    std::string level = "info";  // error, warning, info, debug
    friend bool operator==(const Log&, const Log&) = default;
  } log;

  friend bool operator==(const ServerConfig&, const ServerConfig&) = default;
};

struct ConfigError {
  std::string where;    // "corelane.toml:12", "environment", "command line", "configuration"
  std::string setting;  // as written there: message_bytes_max = "1MB"
  std::string problem;
  std::string allowed;  // may be empty
  std::string fix;      // may be empty

  // One line: "where: setting: problem; allowed: ...; fix: ...".
  std::string text() const;
};

// Of several, the last of these is done.
enum class ConfigAction : std::uint8_t { run, print_config, check_config, help };

struct ConfigResult {
  ServerConfig config;
  std::vector<std::string> origins;   // of each setting, in the order of settings(): "default", ...
  std::vector<ConfigError> errors;    // not empty: config must not be used
  std::vector<std::string> warnings;  // for the log; the server starts
  ConfigAction action = ConfigAction::run;
  std::string help;  // the text for --help

  bool ok() const noexcept { return errors.empty(); }
};

// Names and values, those that begin with CORELANE_ or all.
using Environment = std::vector<std::pair<std::string, std::string>>;
// The whole text of a file. Error: the errno of opening or reading it.
using FileReader = std::function<runtime::Result<std::string>(const std::string& path)>;

// `command` is what the user typed before the arguments ("corelane serve"), for --help; `arguments`
// come after it. The file is the one of --config, else of CORELANE_CONFIG, else none.
ConfigResult load_config(const std::string& command, const std::vector<std::string>& arguments,
                         const Environment& environment, const FileReader& read_file);

// A configuration of every setting with long lists takes some KiB; whoever names a device or a log
// by mistake is told at once.
inline constexpr std::size_t kConfigFileBytesMax = 1024 * 1024;
// For a pipe (`--config <(command)`, a FIFO) to bring all of it.
inline constexpr int kConfigFileSecondsMax = 5;

// The process' own environment and files. A file above the limit is EFBIG.
Environment process_environment();
runtime::Result<std::string> read_whole_file(const std::string& path);

// The configuration as TOML, with a comment at each value that says where it came from. Reading it
// back gives the same configuration.
std::string print_config(const ConfigResult& result);

}  // namespace corelane::services::config
