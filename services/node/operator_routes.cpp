#include "services/node/operator_routes.hpp"

#include <fmt/format.h>

#include <string_view>
#include <vector>

#include "runtime/core.hpp"
#include "runtime/task_list.hpp"
#include "services/metrics/metrics.hpp"
#include "services/node/node.hpp"

namespace corelane::services {
namespace {

// Of a core on the page; a line takes some 60 bytes.
constexpr std::size_t kTasksMax = 2000;

using net::http::Status;
using runtime::Core;
using runtime::Task;

void answer(net::http::Responder& responder, std::string_view problem) {
  if (problem.empty()) {
    responder.respond(Status::ok, "text/plain", "ok\n");
  } else {
    responder.respond(Status::service_unavailable, "text/plain", problem);
  }
}

void serve_health(void*, const net::http::Request&, const net::http::RouteMatch&,
                  net::http::Responder& responder) {
  const runtime::CoreId late = Metrics::local().first_late_core();
  if (late == runtime::kNoCore) return answer(responder, {});
  answer(responder, fmt::format("core {} has not turned for more than {} s\n", late,
                                Heartbeats::kAliveWithin / runtime::kSecond));
}

void serve_ready(void* context, const net::http::Request&, const net::http::RouteMatch&,
                 net::http::Responder& responder) {
  const auto& node = *static_cast<const CoreNode*>(context);
  std::string_view problem;
  if (node.draining()) {
    problem = "draining\n";
  } else if (Core::current().memory().reached(runtime::MemoryPressure::no_memory)) {
    problem = "limits.memory_bytes_max is nearly reached\n";
  }
  answer(responder, problem);
}

Task<void> serve_tasks(void*, const net::http::OwnedRequest&,
                       net::http::DeferredResponder responder) {
  const std::string page = co_await tasks_page();
  responder.respond(Status::ok, "text/plain; charset=utf-8", page);
}

}  // namespace

void add_health_route(net::http::Routes& routes) {
  routes.add("GET", "/healthz", {.run = serve_health});
}

void add_ready_route(net::http::Routes& routes, const CoreNode& node) {
  if (routes.has_route("GET", "/readyz")) return;
  routes.add("GET", "/readyz", {.run = serve_ready, .context = const_cast<CoreNode*>(&node)});
}

void add_operator_routes(net::http::Routes& routes, bool has_debug_routes) {
  if (!routes.has_route("GET", "/metrics")) Metrics::add_page(routes);
  if (has_debug_routes) routes.add("GET", "/debug/tasks", {.coroutine = serve_tasks});
}

Task<std::string> tasks_page() {
  const std::vector<runtime::TaskList> lists = co_await runtime::list_all_tasks(kTasksMax);
  std::string page;
  for (const runtime::TaskList& list : lists) page += describe(list);
  co_return page;
}

}  // namespace corelane::services
