#include "services/node/debug_routes.hpp"

#include <fmt/format.h>

#include <cstdint>
#include <string_view>
#include <vector>

#include "net/network.hpp"
#include "runtime/core.hpp"
#include "runtime/metrics.hpp"
#include "runtime/submit.hpp"
#include "runtime/task_list.hpp"
#include "services/local.hpp"
#include "services/node/node.hpp"
#include "services/pubsub/pubsub.hpp"
#include "services/sessions/sessions.hpp"

namespace corelane::services {
namespace {

// Of a core on the page; a line takes some 60 bytes.
constexpr std::size_t kTasksMax = 2000;

using runtime::MetricType;
using runtime::Task;

struct NodeMetrics {
  runtime::CoreId core = 0;
  net::Network::Counters network{};
  net::http::Server::Counters http{};
  Sessions::Counters sessions{};
  PubSub::Counters pubsub{};
  std::uint64_t streams = 0;
};

NodeMetrics node_metrics() {
  CoreNode& node = local<CoreNode>(ServiceSlot::node);
  return {.core = runtime::Core::current().id(),
          .network = node.network().counters(),
          .http = node.http_counters(),
          .sessions = node.sessions().counters(),
          .pubsub = PubSub::local().counters(),
          .streams = node.network().stream_count()};
}

struct Family {
  std::string_view name;
  MetricType type;
  std::string_view help;
  std::uint64_t (*value)(const NodeMetrics&) noexcept;
};
using M = const NodeMetrics&;
constexpr MetricType kCounter = MetricType::counter;

constexpr Family kFamilies[] = {
    {"net_connections", MetricType::gauge, "Connections now.",
     [](M m) noexcept { return m.streams; }},
    {"net_accepted_total", kCounter, "Connections accepted.",
     [](M m) noexcept { return m.network.accepted; }},
    {"net_refused_total", kCounter, "Connections refused.",
     [](M m) noexcept { return m.network.refused; }},
    {"net_received_bytes_total", kCounter, "Bytes received.",
     [](M m) noexcept { return m.network.bytes_received; }},
    {"net_sent_bytes_total", kCounter, "Bytes sent.",
     [](M m) noexcept { return m.network.bytes_sent; }},
    {"net_slow_readers_total", kCounter, "Connections that took nothing for too long.",
     [](M m) noexcept { return m.network.slow_readers; }},
    {"net_memory_short_total", kCounter, "Connections ended for want of memory.",
     [](M m) noexcept { return m.network.memory_short; }},
    {"http_requests_total", kCounter, "Requests over HTTP.",
     [](M m) noexcept { return m.http.requests; }},
    {"http_errors_total", kCounter, "Errors that the HTTP server answered itself.",
     [](M m) noexcept { return m.http.errors; }},
    {"sessions_opened_total", kCounter, "Sessions that began.",
     [](M m) noexcept { return m.sessions.opened; }},
    {"sessions_closed_total", kCounter, "Sessions that ended.",
     [](M m) noexcept { return m.sessions.closed; }},
    {"pubsub_published_total", kCounter, "Events ordered on this core.",
     [](M m) noexcept { return m.pubsub.published; }},
    {"pubsub_delivered_total", kCounter, "Events queued to sessions of this core.",
     [](M m) noexcept { return m.pubsub.delivered; }},
};

Task<void> serve_metrics(void*, const net::http::OwnedRequest&,
                         net::http::DeferredResponder responder) {
  const std::string page = co_await metrics_page();
  responder.respond(net::http::Status::ok, runtime::kPrometheusType, page);
}

Task<void> serve_tasks(void*, const net::http::OwnedRequest&,
                       net::http::DeferredResponder responder) {
  const std::string page = co_await tasks_page();
  responder.respond(net::http::Status::ok, "text/plain; charset=utf-8", page);
}

}  // namespace

void add_debug_routes(net::http::Routes& routes) {
  routes.add("GET", "/metrics", {.coroutine = serve_metrics});
  routes.add("GET", "/debug/tasks", {.coroutine = serve_tasks});
}

Task<std::string> metrics_page() {
  const std::vector<runtime::CoreMetrics> cores = co_await runtime::all_metrics();
  std::string page = prometheus_text(cores);
  std::vector<NodeMetrics> all;
  all.reserve(cores.size());
  for (const runtime::CoreMetrics& one : cores) {
    all.push_back(co_await runtime::submit_to(one.core, node_metrics));
  }
  runtime::MetricsText out(page);
  for (const Family& family : kFamilies) {
    out.family(fmt::format("corelane_{}", family.name), family.type, family.help);
    for (M m : all) out.sample(fmt::format("core=\"{}\"", m.core), family.value(m));
  }
  co_return page;
}

Task<std::string> tasks_page() {
  const std::vector<runtime::TaskList> lists = co_await runtime::list_all_tasks(kTasksMax);
  std::string page;
  for (const runtime::TaskList& list : lists) page += describe(list);
  co_return page;
}

}  // namespace corelane::services
