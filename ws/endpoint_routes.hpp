#pragma once
// EndpointRoutes: which of a core's endpoints speaks on a path, and, where several share one, for
// the subprotocols that a client offers. Built at start-up, then used by the core's HTTP server; a
// handshake costs a walk over the path's segments and no allocation.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "net/http/router.hpp"
#include "net/http/server.hpp"
#include "ws/endpoint.hpp"

namespace corelane::ws {

class EndpointRoutes {
 public:
  // `pattern` as in net/http/router.hpp: "/chat", "/rooms/:room", or "/files/*path" for all paths
  // that begin with "/files/". Several endpoints may share a pattern. A handshake goes to the first
  // that speaks a subprotocol of the client, or else to the first that requires none, or else to
  // the first, which refuses it. Throws std::invalid_argument for a malformed pattern, and for an
  // endpoint that cannot be distinguished from an earlier one or whose subprotocols no client can
  // request (HandshakePolicy::check_subprotocols). The endpoint outlives this object.
  void add(std::string_view pattern, Endpoint& endpoint);

  // The hook of net::http::Server (context: the EndpointRoutes). A handshake on a path without an
  // endpoint is 404.
  static net::http::UpgradeOutcome upgrade(void* routes, net::Stream& stream,
                                           const net::http::Request& request);

 private:
  struct Shared {
    std::string pattern;
    std::vector<Endpoint*> endpoints;
  };
  static Endpoint& choose(const Shared& shared, const net::http::Request& request) noexcept;

  net::http::Router<std::uint32_t> router_;
  std::vector<Shared> shared_;  // by the router's numbers
  net::http::RouteMatch match_;
};

}  // namespace corelane::ws
