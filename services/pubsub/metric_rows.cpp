// The metrics of publish/subscribe.

#include "services/metrics/rows.hpp"
#include "services/pubsub/pubsub.hpp"

namespace corelane::services {
namespace {

const PubSub::Counters& counters() noexcept {
  return PubSub::local().counters();
}

constexpr MetricRow kMetrics[] = {
    {.name = "pubsub_channels",
     .type = MetricType::gauge,
     .help = "Channels: those that the core owns, and those that its sessions hold.",
     .read =
         [](MetricReader& to) {
           to.add({{"kind", "owned"}}, PubSub::local().owned_channels());
           to.add({{"kind", "held"}}, PubSub::local().local_channels());
         }},
    {.name = "pubsub_subscriptions",
     .type = MetricType::gauge,
     .help = "Subscriptions of this core's sessions.",
     .read = [](MetricReader& to) { to.add(PubSub::local().subscriptions()); }},
    {.name = "pubsub_published_total",
     .type = MetricType::counter,
     .help = "Events ordered on this core.",
     .read = [](MetricReader& to) { to.add(counters().published); }},
    {.name = "pubsub_deliveries_total",
     .type = MetricType::counter,
     .help = "Events for sessions of this core, by outcome.",
     .read =
         [](MetricReader& to) {
           to.add({{"outcome", "queued"}}, counters().delivered);
           to.add({{"outcome", "closing"}}, counters().not_delivered);
         }},
    {.name = "pubsub_runs_total",
     .type = MetricType::counter,
     .help = "Runs of events that this core has sent to cores with subscribers.",
     .read = [](MetricReader& to) { to.add(counters().runs); }},
};

}  // namespace

std::span<const MetricRow> PubSub::metrics() noexcept {
  return kMetrics;
}

}  // namespace corelane::services
