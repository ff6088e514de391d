#pragma once
// What framework::app makes of a WebSocket endpoint's functions. Not of the public face: for
// framework.cpp and its test.

#include <string>

#include "services/framework.hpp"

namespace framework::detail {

// A route of a node that calls these functions, which outlive it; `common` has everything else.
corelane::services::NodeOptions::WebSocketRoute route_of(
    const std::string& pattern, websocket_endpoint& functions,
    const corelane::ws::EndpointOptions& common);

}  // namespace framework::detail
