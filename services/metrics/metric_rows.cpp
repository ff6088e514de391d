// The metrics of the opcode protocol's traffic.

#include <algorithm>
#include <string>

#include "services/metrics/metrics.hpp"

namespace corelane::services {
namespace {

using protocol::ErrorCode;

template <class Value>
void for_each_opcode(MetricReader& to, Value value) {
  for (const Traffic::OpcodeTraffic& traffic : Traffic::local().by_opcode()) {
    to.add({{"opcode", traffic.name}}, value(traffic));
  }
}

std::string code_text(ErrorCode code) {
  const std::string_view name = protocol::error_code_name(code);
  return name.empty() ? std::to_string(static_cast<unsigned>(code)) : std::string{name};
}

// "1000", or "3xxx" for the codes of applications.
std::string close_text(std::uint16_t code) {
  return code < 3000 ? std::to_string(code) : std::to_string(code / 1000) + "xxx";
}

void read_ends(MetricReader& to) {
  const auto& ends = Traffic::local().ends();
  std::uint64_t all = 0;
  std::uint64_t by_server = 0;
  for (const auto& tally : ends) {
    if (tally.key == ErrorCode::none) {
      all += tally.count;
    } else {
      by_server += tally.count;
      to.add({{"reason", code_text(tally.key)}}, tally.count);
    }
  }
  // Sessions whose last Error has been sent may not be gone yet.
  to.add({{"reason", "left"}}, all - std::min(all, by_server));
}

using Histogram = const runtime::Histogram* Traffic::OpcodeTraffic::*;

void read_times(MetricReader& to, Histogram histogram) {
  for (const Traffic::OpcodeTraffic& traffic : Traffic::local().by_opcode()) {
    if (traffic.*histogram != nullptr) to.add({{"opcode", traffic.name}}, *(traffic.*histogram));
  }
}

constexpr MetricRow kMetrics[] = {
    {.name = "messages_received_total",
     .type = MetricType::counter,
     .help = "Messages of sessions, by opcode.",
     .read = [](MetricReader& to) { for_each_opcode(to, [](auto& t) { return t.in.messages; }); }},
    {.name = "messages_received_bytes_total",
     .type = MetricType::counter,
     .help = "Frames of these messages, with their sizes.",
     .read = [](MetricReader& to) { for_each_opcode(to, [](auto& t) { return t.in.bytes; }); }},
    {.name = "messages_sent_total",
     .type = MetricType::counter,
     .help = "Messages that were queued to sessions, by opcode.",
     .read = [](MetricReader& to) { for_each_opcode(to, [](auto& t) { return t.out.messages; }); }},
    {.name = "messages_sent_bytes_total",
     .type = MetricType::counter,
     .help = "Frames of these messages; events with their WebSocket headers.",
     .read = [](MetricReader& to) { for_each_opcode(to, [](auto& t) { return t.out.bytes; }); }},
    {.name = "handler_seconds",
     .type = MetricType::histogram,
     .help = "Time in the function that serves a request; some requests are measured.",
     .read = [](MetricReader& to) { read_times(to, &Traffic::OpcodeTraffic::handler); }},
    {.name = "reply_seconds",
     .type = MetricType::histogram,
     .help = "Time from a request to its answer in the session's queue; some are measured.",
     .read = [](MetricReader& to) { read_times(to, &Traffic::OpcodeTraffic::reply); }},
    {.name = "errors_sent_total",
     .type = MetricType::counter,
     .help = "Error messages to sessions, by code.",
     .read =
         [](MetricReader& to) {
           for (const auto& tally : Traffic::local().errors()) {
             to.add({{"code", code_text(tally.key)}}, tally.count);
           }
         }},
    {.name = "websocket_closes_total",
     .type = MetricType::counter,
     .help = "Sessions over WebSocket that ended, by close code.",
     .read =
         [](MetricReader& to) {
           for (const auto& tally : Traffic::local().closes()) {
             to.add({{"code", close_text(tally.key)}}, tally.count);
           }
         }},
    {.name = "tcp_session_ends_total",
     .type = MetricType::counter,
     .help = "Sessions over TCP and Unix sockets that ended, by the server's last Error.",
     .read = read_ends},
    {.name = "uptime_seconds",
     .type = MetricType::gauge,
     .help = "Time since the core's part of the server was made.",
     .read =
         [](MetricReader& to) {
           to.add(static_cast<std::uint64_t>(Metrics::local().age() / runtime::kSecond));
         }},
};

}  // namespace

std::span<const MetricRow> Metrics::metrics() noexcept {
  return kMetrics;
}

}  // namespace corelane::services
