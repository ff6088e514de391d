#pragma once
// Converts the functions of an application's WebSocket endpoint to a route of a node. Not public:
// for framework.cpp and its test.

#include <string>

#include "services/framework.hpp"

namespace framework::detail {

// A route of a node that calls `functions`, which outlive it; `common` has all other options.
corelane::services::NodeOptions::WebSocketRoute route_of(
    const std::string& pattern, websocket_endpoint& functions,
    const corelane::ws::EndpointOptions& common);

}  // namespace framework::detail
