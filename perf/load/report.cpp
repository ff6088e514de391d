#include "perf/load/report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace perf {
namespace {

double ratio(double of, double to) noexcept {
  return to == 0 ? 0 : of / to;
}
double to_double(std::uint64_t value) noexcept {
  return static_cast<double>(value);
}
double in_us(std::uint64_t ns) noexcept {
  return static_cast<double>(ns) / 1e3;
}

// What the server used, by message and by second.
struct ServerFigures {
  double cpu_ns_per_message;
  double cpu_share;
  double user_share;  // of its CPU time; by ticks, so of long intervals only
  double voluntary_switches_per_message;
  std::uint64_t involuntary_switches;
};

ServerFigures figures(const EchoResult& result) noexcept {
  const ProcessSample& server = *result.server;
  const double messages = to_double(result.messages);
  return {.cpu_ns_per_message = ratio(to_double(server.cpu_ns), messages),
          .cpu_share = ratio(to_double(server.cpu_ns) / 1e9, result.seconds),
          .user_share = ratio(to_double(server.user_ticks),
                              to_double(server.user_ticks + server.system_ticks)),
          .voluntary_switches_per_message = ratio(to_double(server.voluntary_switches), messages),
          .involuntary_switches = server.involuntary_switches};
}

double bytes_each(std::uint64_t before, std::uint64_t held, std::uint32_t connections) noexcept {
  return ratio(to_double(held) - to_double(before), to_double(connections));
}

// URLs come from the command line; quotes and control characters have no place in them.
std::string quoted(const std::string& text) {
  std::string clean = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') clean += '\\';
    if (static_cast<unsigned char>(c) >= 0x20) clean += c;
  }
  return clean + '"';
}

}  // namespace

std::string to_text(const EchoOptions& options, const EchoResult& result) {
  const Histogram& latency = result.latency_ns;
  std::string text = fmt::format(
      "echo {}  {} connections, depth {}, {} bytes, {:.1f} s\n"
      "  throughput   {:.0f} messages/s ({} in all)\n"
      "  latency us   p50 {:.1f}  p90 {:.1f}  p99 {:.1f}  p99.9 {:.1f}  max {:.1f}\n",
      options.target.url, options.connections, options.depth, options.payload_bytes, result.seconds,
      ratio(to_double(result.messages), result.seconds), result.messages,
      in_us(latency.percentile(50)), in_us(latency.percentile(90)), in_us(latency.percentile(99)),
      in_us(latency.percentile(99.9)), in_us(latency.max()));
  if (result.server) {
    const ServerFigures server = figures(result);
    text += fmt::format(
        "  server       {:.0f} ns of CPU a message, {:.0f} % of a CPU ({:.0f} % of it in user "
        "mode), "
        "{:.4f} sleeps a message, put aside {} times\n",
        server.cpu_ns_per_message, server.cpu_share * 100, server.user_share * 100,
        server.voluntary_switches_per_message, server.involuntary_switches);
  }
  text +=
      fmt::format("  client       {:.0f} % of a CPU{}\n", result.client_cpu_share * 100,
                  result.client_is_bottleneck()
                      ? ": it is the bottleneck, so only the CPU a message tells about the server"
                      : "");
  text += fmt::format("  errors       {} wrong, {} closed, {} lost\n", result.wrong, result.closed,
                      result.lost);
  return text;
}

std::string to_json(const EchoOptions& options, const EchoResult& result) {
  const Histogram& latency = result.latency_ns;
  std::string json = fmt::format(
      R"({{"load":"echo","url":{},"connections":{},"depth":{},"payload_bytes":{},"seconds":{:.6f},)"
      R"("messages":{},"messages_total":{},"messages_per_second":{:.1f},)"
      R"("latency_ns":{{"mean":{:.0f},"p50":{},"p90":{},"p99":{},"p99.9":{},"max":{}}},)",
      quoted(options.target.url), options.connections, options.depth, options.payload_bytes,
      result.seconds, result.messages, result.messages_total,
      ratio(to_double(result.messages), result.seconds), latency.mean(), latency.percentile(50),
      latency.percentile(90), latency.percentile(99), latency.percentile(99.9), latency.max());
  if (result.server) {
    const ServerFigures server = figures(result);
    json += fmt::format(
        R"("server":{{"cpu_ns_per_message":{:.2f},"cpu_share":{:.4f},"user_share":{:.4f},)"
        R"("voluntary_switches_per_message":{:.6f},"involuntary_switches":{}}},)",
        server.cpu_ns_per_message, server.cpu_share, server.user_share,
        server.voluntary_switches_per_message, server.involuntary_switches);
  }
  return json + fmt::format(R"("client":{{"cpu_share":{:.4f},"is_bottleneck":{}}},)"
                            R"("errors":{{"wrong":{},"closed":{},"lost":{}}}}})"
                            "\n",
                            result.client_cpu_share, result.client_is_bottleneck(), result.wrong,
                            result.closed, result.lost);
}

std::string to_text(const IdleOptions& options, const IdleResult& result) {
  return fmt::format(
      "idle {}  {} connections\n"
      "  opened       in {:.2f} s, {:.1f} us of server CPU each; {} closed early\n"
      "  server RSS   {} KiB before, {} KiB held: {:.0f} bytes a connection ({:.0f} anonymous)\n",
      options.target.url, result.opened, result.open_seconds,
      ratio(to_double(result.opening.cpu_ns) / 1e3, to_double(result.opened)), result.closed_early,
      result.before.resident_bytes / 1024, result.held.resident_bytes / 1024,
      bytes_each(result.before.resident_bytes, result.held.resident_bytes, result.opened),
      bytes_each(result.before.anonymous_bytes, result.held.anonymous_bytes, result.opened));
}

std::string to_json(const IdleOptions& options, const IdleResult& result) {
  return fmt::format(
      R"({{"load":"idle","url":{},"connections":{},"closed_early":{},"open_seconds":{:.3f},)"
      R"("server":{{"open_cpu_ns_per_connection":{:.0f},"rss_bytes_before":{},"rss_bytes_held":{},)"
      R"("rss_bytes_per_connection":{:.1f},"anonymous_bytes_per_connection":{:.1f}}}}})"
      "\n",
      quoted(options.target.url), result.opened, result.closed_early, result.open_seconds,
      ratio(to_double(result.opening.cpu_ns), to_double(result.opened)),
      result.before.resident_bytes, result.held.resident_bytes,
      bytes_each(result.before.resident_bytes, result.held.resident_bytes, result.opened),
      bytes_each(result.before.anonymous_bytes, result.held.anonymous_bytes, result.opened));
}

}  // namespace perf
