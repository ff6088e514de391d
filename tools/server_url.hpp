#pragma once
// Where a client command connects to: ws://host:port/path (or host:port alone), tcp://host:port for
// the opcode protocol without WebSocket, unix:/path for the same on a Unix socket. Names are
// resolved here, before any core runs: no name service is asked on a core.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/address.hpp"

namespace tools {

struct ServerUrl {
  std::string text;                         // as it was given
  std::vector<runtime::Address> addresses;  // to be tried in this order; never empty
  bool is_websocket = true;
  std::string host;         // for the Host field, with the port unless it is 80
  std::string target{"/"};  // path and query
};

struct ParsedUrl {
  std::optional<ServerUrl> url;
  std::string problem;  // if there is none: why, and what to write
};

// All addresses of a name; empty if there is none. Blocks.
using Resolver = std::function<std::vector<runtime::Address>(const std::string& host)>;
std::vector<runtime::Address> resolve_name(const std::string& host);

ParsedUrl parse_server_url(std::string_view text, const Resolver& resolve = resolve_name);

}  // namespace tools
