#include "services/node/metric_rows.hpp"

#include <string>

#include "net/network.hpp"
#include "services/local.hpp"
#include "services/node/node.hpp"

namespace corelane::services {
namespace {

CoreNode& node() noexcept {
  return local<CoreNode>(ServiceSlot::node);
}
const net::Network::Counters& network() noexcept {
  return node().network().counters();
}
const net::http::Server::Counters& http() noexcept {
  return node().http().counters();
}
const ws::Endpoint::Counters& websocket() noexcept {
  return node().endpoint().counters();
}

constexpr MetricRow kMetrics[] = {
    {.name = "net_connections",
     .type = MetricType::gauge,
     .help = "Connections now.",
     .read = [](MetricReader& to) { to.add(node().network().stream_count()); }},
    {.name = "net_connects_total",
     .type = MetricType::counter,
     .help = "Connections that came, by outcome.",
     .read =
         [](MetricReader& to) {
           to.add({{"outcome", "accepted"}}, network().accepted);
           to.add({{"outcome", "refused"}}, network().refused);
         }},
    {.name = "net_accept_pauses_total",
     .type = MetricType::counter,
     .help = "Times that accepting stopped for want of descriptors or places.",
     .read = [](MetricReader& to) { to.add(network().accept_pauses); }},
    {.name = "net_closed_total",
     .type = MetricType::counter,
     .help = "Connections that ended.",
     .read = [](MetricReader& to) { to.add(network().closed); }},
    {.name = "net_cut_off_total",
     .type = MetricType::counter,
     .help = "Connections that the server ended without a farewell being taken, by reason.",
     .read =
         [](MetricReader& to) {
           to.add({{"reason", "write_stall"}}, network().slow_readers);
           to.add({{"reason", "memory"}}, network().memory_short);
         }},
    {.name = "net_received_bytes_total",
     .type = MetricType::counter,
     .help = "Bytes received.",
     .read = [](MetricReader& to) { to.add(network().bytes_received); }},
    {.name = "net_discarded_bytes_total",
     .type = MetricType::counter,
     .help = "Bytes received behind the last word to a peer, and thrown away.",
     .read = [](MetricReader& to) { to.add(network().bytes_discarded); }},
    {.name = "net_sent_bytes_total",
     .type = MetricType::counter,
     .help = "Bytes sent.",
     .read = [](MetricReader& to) { to.add(network().bytes_sent); }},
    {.name = "net_operations_total",
     .type = MetricType::counter,
     .help = "Operations of the ring for connections.",
     .read =
         [](MetricReader& to) {
           to.add({{"kind", "receive"}}, network().receives);
           to.add({{"kind", "poll"}}, network().polls);
           to.add({{"kind", "send"}}, network().sends);
         }},
    {.name = "net_flushes_cut_total",
     .type = MetricType::counter,
     .help = "Turns whose sends went on in the next turn.",
     .read = [](MetricReader& to) { to.add(network().flushes_cut); }},
    {.name = "net_buffers_missing_total",
     .type = MetricType::counter,
     .help = "Receives that found no buffer and waited.",
     .read = [](MetricReader& to) { to.add(network().buffers_missing); }},
    {.name = "http_connections",
     .type = MetricType::gauge,
     .help = "Connections that speak HTTP now.",
     .read = [](MetricReader& to) { to.add(node().http().connection_count()); }},
    {.name = "http_requests_total",
     .type = MetricType::counter,
     .help = "Whole requests over HTTP.",
     .read = [](MetricReader& to) { to.add(http().requests); }},
    {.name = "http_refusals_total",
     .type = MetricType::counter,
     .help = "Errors that the HTTP server answered itself, refused handshakes too, by status.",
     .read =
         [](MetricReader& to) {
           for (const auto& refusals : node().http().refusals()) {
             to.add({{"status", std::to_string(static_cast<unsigned>(refusals.status))}},
                    refusals.count);
           }
         }},
    {.name = "http_refused_connections_total",
     .type = MetricType::counter,
     .help = "Connections that got 503 at once.",
     .read = [](MetricReader& to) { to.add(http().refused); }},
    {.name = "http_timeouts_total",
     .type = MetricType::counter,
     .help = "Connections over HTTP that a deadline ended.",
     .read = [](MetricReader& to) { to.add(http().timeouts); }},
    {.name = "http_handlers_failed_total",
     .type = MetricType::counter,
     .help = "Handlers of routes that ended with an exception.",
     .read = [](MetricReader& to) { to.add(http().handlers_failed); }},
    {.name = "http_waiting_answers",
     .type = MetricType::gauge,
     .help = "Requests whose answer has not been given, or not all of it.",
     .read = [](MetricReader& to) { to.add(node().http().waiting_count()); }},
    {.name = "websocket_handshakes_total",
     .type = MetricType::counter,
     .help = "Handshakes that were accepted; refused ones are in http_refusals_total.",
     .read = [](MetricReader& to) { to.add(http().upgrades); }},
    {.name = "websocket_connections",
     .type = MetricType::gauge,
     .help = "Connections of the opcode protocol over WebSocket now.",
     .read = [](MetricReader& to) { to.add(node().endpoint().connection_count()); }},
    {.name = "websocket_messages_received_total",
     .type = MetricType::counter,
     .help = "WebSocket messages of these connections.",
     .read = [](MetricReader& to) { to.add(websocket().messages_received); }},
    {.name = "websocket_cut_off_total",
     .type = MetricType::counter,
     .help = "Connections over WebSocket that the server closed, by reason.",
     .read =
         [](MetricReader& to) {
           to.add({{"reason", "slow_reader"}}, websocket().slow_readers);
           to.add({{"reason", "protocol_error"}}, websocket().protocol_errors);
           to.add({{"reason", "pong_timeout"}}, websocket().pong_timeouts);
         }},
    {.name = "memory_relief_passes_total",
     .type = MetricType::counter,
     .help = "Looks for connections to end for want of memory.",
     .read = [](MetricReader& to) { to.add(node().relief_passes()); }},
};

}  // namespace

std::span<const MetricRow> node_metrics() noexcept {
  return kMetrics;
}

}  // namespace corelane::services
