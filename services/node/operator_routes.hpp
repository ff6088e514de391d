#pragma once
// The HTTP routes for operators and for what stands in front of the server:
//
//   GET /healthz      200 while every core turns its loop (services/metrics/heartbeats.hpp), else
//                     503: a supervisor may restart the process
//   GET /readyz       200 while the server takes work: 503 when it drains, or when the core that
//                     answers is so near the end of its memory that it refuses work
//   GET /metrics      Prometheus text or OpenMetrics (services/metrics)
//   GET /debug/tasks  all suspended coroutines and what they wait for, for server.debug_routes
//
// The first three answer while the server is overloaded. With a listener for operators
// (Spoken::operators) the last two are there alone; the first two are on every listener.

#include <string>

#include "net/http/responder.hpp"
#include "runtime/task.hpp"

namespace corelane::services {

class CoreNode;

void add_health_route(net::http::Routes& routes);
// `node` outlives the routes. These two leave out what the routes have already: an application may
// serve /readyz and /metrics itself.
void add_ready_route(net::http::Routes& routes, const CoreNode& node);
void add_operator_routes(net::http::Routes& routes, bool has_debug_routes);

// The page of /debug/tasks, gathered from all cores, on any core that has a node.
runtime::Task<std::string> tasks_page();

}  // namespace corelane::services
