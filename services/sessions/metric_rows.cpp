// The metrics of sessions, Send and Broadcast.

#include "services/metrics/rows.hpp"
#include "services/sessions/sessions.hpp"

namespace corelane::services {
namespace {

const Sessions::Counters& counters() noexcept {
  return Sessions::local().counters();
}

constexpr MetricRow kMetrics[] = {
    {.name = "sessions",
     .type = MetricType::gauge,
     .help = "Sessions of the opcode protocol now.",
     .read = [](MetricReader& to) { to.add(Sessions::local().count()); }},
    {.name = "sessions_opened_total",
     .type = MetricType::counter,
     .help = "Sessions that began.",
     .read = [](MetricReader& to) { to.add(counters().opened); }},
    {.name = "sessions_closed_total",
     .type = MetricType::counter,
     .help = "Sessions that ended.",
     .read = [](MetricReader& to) { to.add(counters().closed); }},
    {.name = "sessions_slow_readers_total",
     .type = MetricType::counter,
     .help = "Sessions over TCP that were closed because their queue was full.",
     .read = [](MetricReader& to) { to.add(counters().slow_readers); }},
    {.name = "direct_messages_total",
     .type = MetricType::counter,
     .help = "Send requests whose receiver is on this core, by outcome.",
     .read =
         [](MetricReader& to) {
           to.add({{"outcome", "delivered"}}, counters().sent);
           to.add({{"outcome", "unknown_session"}}, counters().unknown);
         }},
    {.name = "broadcasts_total",
     .type = MetricType::counter,
     .help = "Broadcast requests of sessions of this core.",
     .read = [](MetricReader& to) { to.add(counters().broadcasts); }},
    {.name = "broadcast_deliveries_total",
     .type = MetricType::counter,
     .help = "Sessions of this core that a broadcast was queued to.",
     .read = [](MetricReader& to) { to.add(counters().broadcast_to); }},
    {.name = "fan_out_steps_total",
     .type = MetricType::counter,
     .help = "Turns in which a fan-out to many sessions went on.",
     .read = [](MetricReader& to) { to.add(Sessions::local().fan_outs().steps()); }},
};

}  // namespace

std::span<const MetricRow> Sessions::metrics() noexcept {
  return kMetrics;
}

}  // namespace corelane::services
