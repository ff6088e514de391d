// The metrics of dispatch and of the application's handlers.

#include "services/dispatch/dispatch.hpp"
#include "services/metrics/rows.hpp"

namespace corelane::services {
namespace {

constexpr MetricRow kMetrics[] = {
    {.name = "handlers_running",
     .type = MetricType::gauge,
     .help = "Coroutines that serve requests of sessions.",
     .read = [](MetricReader& to) { to.add(Dispatch::local().handlers_running()); }},
    {.name = "handlers_held_bytes",
     .type = MetricType::gauge,
     .help = "Payloads of the requests that coroutines serve.",
     .read = [](MetricReader& to) { to.add(Dispatch::local().handler_bytes()); }},
    {.name = "handlers_failed_total",
     .type = MetricType::counter,
     .help = "Handlers of the application that ended with an exception.",
     .read = [](MetricReader& to) { to.add(Dispatch::local().counters().failures); }},
};

}  // namespace

std::span<const MetricRow> Dispatch::metrics() noexcept {
  return kMetrics;
}

}  // namespace corelane::services
