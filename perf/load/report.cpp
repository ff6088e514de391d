#include "perf/load/report.hpp"

#include <fmt/format.h>

#include <array>

#include "perf/load/json_text.hpp"

namespace corelane::perf {
namespace {

// Dense towards 100, as a plot over log(1 / (1 - percentile)) wants it.
constexpr std::array kCurve{0.1,   1.0,    5.0,    10.0,    20.0,    30.0, 40.0,   50.0,  60.0,
                            70.0,  75.0,   80.0,   85.0,    90.0,    92.5, 95.0,   96.0,  97.0,
                            98.0,  99.0,   99.25,  99.5,    99.75,   99.9, 99.925, 99.95, 99.975,
                            99.99, 99.995, 99.999, 99.9995, 99.9999, 100.0};

// What the server used, by message and by second.
struct ServerFigures {
  double cpu_ns_per_message;
  double cpu_share;
  double user_share;  // of its CPU time; by ticks, so of long intervals only
  double voluntary_switches_per_message;
  std::uint64_t involuntary_switches;
};

ServerFigures figures(const LoadReport& report) noexcept {
  const ProcessSample& server = *report.server;
  const double messages = to_double(report.messages());
  return {.cpu_ns_per_message = ratio(to_double(server.cpu_ns), messages),
          .cpu_share = ratio(to_double(server.cpu_ns) / 1e9, report.seconds),
          .user_share = ratio(to_double(server.user_ticks),
                              to_double(server.user_ticks + server.system_ticks)),
          .voluntary_switches_per_message = ratio(to_double(server.voluntary_switches), messages),
          .involuntary_switches = server.involuntary_switches};
}

double per_second(const LoadReport& report) noexcept {
  return ratio(to_double(report.messages()), report.seconds);
}

std::string latency_json(const LoadReport& report) {
  const Histogram& latency = report.latency_ns;
  std::string json = fmt::format(
      R"("latency_ns":{{"mean":{:.0f},"p50":{},"p75":{},"p90":{},"p99":{},"p99.9":{},"p99.99":{},)"
      R"("max":{},"count":{}}},"latency_curve":[)",
      latency.mean(), latency.percentile(50), latency.percentile(75), latency.percentile(90),
      latency.percentile(99), latency.percentile(99.9), latency.percentile(99.99), latency.max(),
      latency.count());
  const char* comma = "";
  for (const double percent : kCurve) {
    // Beyond that a percentile is the maximum, and says nothing more.
    if (percent < 100 && to_double(latency.count()) * (100 - percent) < 100) continue;
    json += fmt::format("{}[{},{}]", comma, percent, latency.percentile(percent));
    comma = ",";
  }
  return json + "],";
}

std::string series_json(const LoadReport& report) {
  std::string json = R"("series":[)";
  const char* comma = "";
  for (const SeriesRow& row : report.series) {
    json += fmt::format(
        R"({}{{"at":{:.3f},"seconds":{:.6f},"messages":{},"p50":{},"p99":{},"max":{}}})", comma,
        row.at, row.seconds, row.messages, row.p50_ns, row.p99_ns, row.max_ns);
    comma = ",";
  }
  return json + "],";
}

std::string system_calls_json(const LoadReport& report) {
  if (report.server_system_calls) {
    return fmt::format(R"(,"system_calls_per_message":{:.6f})",
                       ratio(to_double(*report.server_system_calls), to_double(report.messages())));
  }
  if (report.system_calls_refused.empty()) return {};
  return R"(,"system_calls_per_message":null,"system_calls_refused":)" +
         quoted(report.system_calls_refused);
}

std::string server_json(const LoadReport& report) {
  if (!report.server) return {};
  const ServerFigures server = figures(report);
  return fmt::format(R"("server":{{"cpu_ns_per_message":{:.2f},"user_ns_per_message":{:.2f},)"
                     R"("system_ns_per_message":{:.2f},"cpu_share":{:.4f},"user_share":{:.4f},)"
                     R"("voluntary_switches_per_message":{:.6f},"involuntary_switches":{}{}}},)",
                     server.cpu_ns_per_message, server.cpu_ns_per_message * server.user_share,
                     server.cpu_ns_per_message * (1 - server.user_share), server.cpu_share,
                     server.user_share, server.voluntary_switches_per_message,
                     server.involuntary_switches, system_calls_json(report));
}

std::string open_loop_json(const Settings& settings, const LoadReport& report) {
  if (!report.open_loop) return {};
  const OpenLoopReport& open = *report.open_loop;
  return fmt::format(
      R"("open":{{"rate_wanted":{:.1f},"rate_sent":{:.1f},"rate_reached":{},"backlog":{},)"
      R"("lag_ns":{{"p50":{},"p99":{},"max":{}}}}},)",
      settings.rate, open.rate_sent, open.reached, open.backlog, open.lag_ns.percentile(50),
      open.lag_ns.percentile(99), open.lag_ns.max());
}

std::string server_text(const LoadReport& report) {
  if (!report.server) return {};
  const ServerFigures server = figures(report);
  std::string text = fmt::format(
      "  server       {:.0f} ns of CPU a message ({:.0f} user, {:.0f} system), {:.0f} % of a CPU, "
      "{:.4f} sleeps a message, put aside {} times\n",
      server.cpu_ns_per_message, server.cpu_ns_per_message * server.user_share,
      server.cpu_ns_per_message * (1 - server.user_share), server.cpu_share * 100,
      server.voluntary_switches_per_message, server.involuntary_switches);
  if (report.server_system_calls) {
    text +=
        fmt::format("  system calls {:.4f} a message\n",
                    ratio(to_double(*report.server_system_calls), to_double(report.messages())));
  } else if (!report.system_calls_refused.empty()) {
    text += fmt::format("  system calls not counted: {}\n", report.system_calls_refused);
  }
  return text;
}

std::string open_loop_text(const Settings& settings, const LoadReport& report) {
  if (!report.open_loop) return {};
  const OpenLoopReport& open = *report.open_loop;
  return fmt::format(
      "  open loop    {:.0f} a second wanted, {:.0f} sent, {} outstanding{}; "
      "the client was late by p99 {:.1f} us, max {:.1f} us\n",
      settings.rate, open.rate_sent, open.backlog, open.reached ? "" : ": THE RATE WAS NOT REACHED",
      in_us(open.lag_ns.percentile(99)), in_us(open.lag_ns.max()));
}

double bytes_each(std::uint64_t before, std::uint64_t held, std::uint32_t connections) noexcept {
  return ratio(to_double(held) - to_double(before), to_double(connections));
}

// A number, or null.
std::string kernel_bytes_each(const IdleResult& result) {
  if (!result.kernel_before || !result.kernel_held) return "null";
  return fmt::format("{:.1f}",
                     bytes_each(*result.kernel_before, *result.kernel_held, result.opened));
}

}  // namespace

std::string to_text(const Settings& settings, const LoadReport& report) {
  const Histogram& latency = report.latency_ns;
  std::string text = fmt::format(
      "{} {}  {} connections, depth {}, {} bytes, {:.1f} s\n"
      "  throughput   {:.0f} messages/s ({} in all)\n"
      "  latency us   p50 {:.1f}  p90 {:.1f}  p99 {:.1f}  p99.9 {:.1f}  p99.99 {:.1f}  max "
      "{:.1f}\n",
      settings.load, settings.target.url, settings.connections, settings.depth,
      settings.payload_bytes, report.seconds, per_second(report), report.messages(),
      in_us(latency.percentile(50)), in_us(latency.percentile(90)), in_us(latency.percentile(99)),
      in_us(latency.percentile(99.9)), in_us(latency.percentile(99.99)), in_us(latency.max()));
  text += open_loop_text(settings, report) + report.own_text + server_text(report);
  text += fmt::format(
      "  client       {:.0f} % of a CPU ({:.0f} % user){}\n", report.client_cpu_share() * 100,
      ratio(to_double(report.client.user_ns), to_double(report.client.total_ns())) * 100,
      report.client_is_bottleneck()
          ? ": IT IS THE BOTTLENECK, so only the CPU a message tells about the server"
          : "");
  text += fmt::format("  errors       {} wrong, {} closed, {} lost\n", report.faults.wrong,
                      report.faults.closed, report.faults.lost);
  return text;
}

std::string to_json(const Settings& settings, const LoadReport& report) {
  std::string json =
      fmt::format(R"({{"load":{},"url":{},"protocol":{},"mode":{},)", quoted(settings.load),
                  quoted(settings.target.url), quoted(name_of(settings.protocol)),
                  quoted(settings.is_open_loop() ? "open" : "closed"));
  if (!settings.name.empty()) json += fmt::format(R"("name":{},)", quoted(settings.name));
  json += fmt::format(R"("connections":{},"depth":{},"payload_bytes":{},"seconds":{:.6f},)"
                      R"("messages":{},"messages_total":{},"messages_per_second":{:.1f},)",
                      settings.connections, settings.depth, settings.payload_bytes, report.seconds,
                      report.messages(), report.messages_total, per_second(report));
  json += latency_json(report) + series_json(report) + server_json(report) +
          open_loop_json(settings, report) + report.own_json;
  if (!report.faults.none()) json += fmt::format(R"("fault":{},)", quoted(report.faults.first));
  return json +
         fmt::format(
             R"("client":{{"cpu_share":{:.4f},"user_share":{:.4f},"cpu_ns_per_message":{:.2f},)"
             R"("is_bottleneck":{}}},"errors":{{"wrong":{},"closed":{},"lost":{}}}}})"
             "\n",
             report.client_cpu_share(),
             ratio(to_double(report.client.user_ns), to_double(report.client.total_ns())),
             ratio(to_double(report.client.total_ns()), to_double(report.messages())),
             report.client_is_bottleneck(), report.faults.wrong, report.faults.closed,
             report.faults.lost);
}

std::string to_csv(const LoadReport& report) {
  std::string csv = "at,seconds,messages,messages_per_second,p50_ns,p99_ns,max_ns\n";
  for (const SeriesRow& row : report.series) {
    csv += fmt::format("{:.3f},{:.6f},{},{:.1f},{},{},{}\n", row.at, row.seconds, row.messages,
                       ratio(to_double(row.messages), row.seconds), row.p50_ns, row.p99_ns,
                       row.max_ns);
  }
  return csv;
}

std::string to_text(const Settings& settings, const IdleResult& result) {
  return fmt::format(
      "idle {}  {} connections\n"
      "  opened       in {:.2f} s, {:.1f} us of server CPU each; {} closed early\n"
      "  server RSS   {} KiB before, {} KiB held: {:.0f} bytes a connection ({:.0f} anonymous)\n"
      "  kernel       {} bytes a connection for waiting, both ends\n",
      settings.target.url, result.opened, result.open_seconds,
      ratio(to_double(result.opening.cpu_ns) / 1e3, to_double(result.opened)), result.closed_early,
      result.before.resident_bytes / 1024, result.held.resident_bytes / 1024,
      bytes_each(result.before.resident_bytes, result.held.resident_bytes, result.opened),
      bytes_each(result.before.anonymous_bytes, result.held.anonymous_bytes, result.opened),
      kernel_bytes_each(result));
}

std::string to_json(const Settings& settings, const IdleResult& result) {
  return fmt::format(
      R"({{"load":"idle","url":{},"protocol":{},"connections":{},"closed_early":{},)"
      R"("open_seconds":{:.3f},"kernel_bytes_per_connection":{},)"
      R"("server":{{"open_cpu_ns_per_connection":{:.0f},"rss_bytes_before":{},"rss_bytes_held":{},)"
      R"("rss_bytes_per_connection":{:.1f},"anonymous_bytes_per_connection":{:.1f}}}}})"
      "\n",
      quoted(settings.target.url), quoted(name_of(settings.protocol)), result.opened,
      result.closed_early, result.open_seconds, kernel_bytes_each(result),
      ratio(to_double(result.opening.cpu_ns), to_double(result.opened)),
      result.before.resident_bytes, result.held.resident_bytes,
      bytes_each(result.before.resident_bytes, result.held.resident_bytes, result.opened),
      bytes_each(result.before.anonymous_bytes, result.held.anonymous_bytes, result.opened));
}

}  // namespace corelane::perf
