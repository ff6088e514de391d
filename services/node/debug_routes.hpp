#pragma once
// GET /metrics (Prometheus text: the runtime's counters and the server's) and GET /debug/tasks (all
// suspended coroutines and what they wait for), for server.debug_routes. They answer every client
// that can connect, so they are off unless they are asked for: names of channels or clients are not
// in them, but counts and the names of handlers are.

#include <string>

#include "net/http/responder.hpp"

namespace corelane::services {

void add_debug_routes(net::http::Routes& routes);

// The pages, gathered from all cores, on any core that has a node.
runtime::Task<std::string> metrics_page();
runtime::Task<std::string> tasks_page();

}  // namespace corelane::services
