#pragma once
// Target: where a load goes, as a URL names it: "ws://127.0.0.1:9001/path" or "tcp://[::1]:9000".
// Numbers only, no names: there is no name service on a core. A value, made at start-up.

#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/address.hpp"
#include "runtime/result.hpp"

namespace corelane::perf {

enum class Scheme : std::uint8_t {
  tcp,   // bytes as they are, messages of a fixed size
  ws,    // WebSocket, binary messages
  http,  // HTTP/1.1
};

struct Target {
  Scheme scheme = Scheme::ws;
  runtime::Address address;
  std::string url;   // as given
  std::string host;  // the Host field: address and port as written
  std::string path = "/";

  // Error: invalid_argument for an unknown scheme, a missing port, a host that is a name.
  static runtime::Result<Target> parse(std::string_view url);
};

}  // namespace corelane::perf
