#pragma once
// Where a client command connects to: ws://host:port/path (or host:port alone), tcp://host:port for
// the opcode protocol without WebSocket, unix:/path for the same on a Unix socket. A pure function
// of the text: a name is looked up later (tools/name_lookup.hpp), within the command's time limit.
//
// What is sent is normalised as RFC 3986 section 6 says, and has nothing in it that means something
// on this host only:
//
//   WS://LocalHost:80/        Host: localhost
//   ws://[fe80::1%eth0]:9/    Host: [fe80::1]:9    (RFC 6874 section 4; %25 for % as well)
//   ws://127.1:9/             Host: 127.0.0.1:9
//   ws://%6c%6fcalhost:9/     Host: localhost:9
//   ws://example.org.:9/      Host: example.org.:9 (the dot ends a name that is complete)

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/address.hpp"

namespace corelane::tools {

struct ServerUrl {
  std::string text;                         // as it was given
  std::optional<runtime::Address> address;  // if the URL has one
  std::string name;                         // else the name to look up
  std::uint16_t port = 0;
  bool is_websocket = true;
  std::string host;         // for the Host field, with the port unless it is 80
  std::string target{"/"};  // path and query
};

struct ParsedUrl {
  std::optional<ServerUrl> url;
  std::string problem;  // if there is none: why, and what to write
};

ParsedUrl parse_server_url(std::string_view text);

}  // namespace corelane::tools
