#include "tools/metrics_screen.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cstring>
#include <vector>

#include "tools/client_output.hpp"
#include "ws/utf8.hpp"

namespace corelane::tools {
namespace {

namespace fbs = protocol::fbs;
namespace json = boost::json;

constexpr std::size_t kGraphSeconds = 60;
constexpr std::size_t kNameColumns = 18;

std::string printable(std::string_view text, std::size_t columns) {
  std::string shown = to_printable(std::as_bytes(std::span{text}));
  // Columns are characters: none of UTF-8 is cut.
  std::size_t width = 0;
  for (std::size_t i = 0; i < shown.size(); ++i) {
    if ((shown[i] & 0xc0) == 0x80) continue;
    if (width++ == columns) return shown.substr(0, i);
  }
  return shown;
}

std::string utf8(std::string_view text) {
  const bool is_valid = ws::is_valid_utf8(std::as_bytes(std::span{text}));
  return is_valid ? std::string{text} : to_printable(std::as_bytes(std::span{text}));
}

// Structs of a peer may lie at any address.
fbs::Latency latency_of(const fbs::Latency* at) {
  fbs::Latency latency{};
  if (at != nullptr) std::memcpy(&latency, static_cast<const void*>(at), sizeof latency);
  return latency;
}

std::vector<fbs::SeriesPoint> points_of(const fbs::CoreSeries& core) {
  std::vector<fbs::SeriesPoint> points(core.points()->size());
  if (!points.empty()) {
    std::memcpy(static_cast<void*>(points.data()), core.points()->Data(),
                points.size() * sizeof(fbs::SeriesPoint));
  }
  return points;
}

// The sum of two cores in the same second, or the worst of them.
void add(fbs::SeriesPoint& to, const fbs::SeriesPoint& point) {
  to = fbs::SeriesPoint(
      std::max(to.time_ms(), point.time_ms()), to.bytes_in() + point.bytes_in(),
      to.bytes_out() + point.bytes_out(), to.memory_bytes() + point.memory_bytes(),
      std::max(to.handler_p50(), point.handler_p50()),
      std::max(to.handler_p99(), point.handler_p99()),
      std::max(to.handler_max(), point.handler_max()), to.messages_in() + point.messages_in(),
      to.messages_out() + point.messages_out(), to.cpu_permille() + point.cpu_permille(),
      to.turns() + point.turns(), to.errors() + point.errors(), to.sessions() + point.sessions(),
      to.connections() + point.connections(), to.subscriptions() + point.subscriptions());
}

std::string uptime_text(std::uint64_t milliseconds) {
  const std::uint64_t seconds = milliseconds / 1000;
  if (seconds < 60) return fmt::format("{}s", seconds);
  if (seconds < 3600) return fmt::format("{}m{}s", seconds / 60, seconds % 60);
  if (seconds < 86'400) return fmt::format("{}h{}m", seconds / 3600, seconds / 60 % 60);
  return fmt::format("{}d{}h", seconds / 86'400, seconds / 3600 % 24);
}

std::string title(const fbs::NodeMetricsReply& node) {
  return fmt::format("{}  {}  up {}\n", printable(protocol::text_of(node.node()), 36),
                     printable(protocol::text_of(node.server_version()), 16),
                     uptime_text(node.uptime_ms()));
}

std::string times(const fbs::Latency& latency) {
  if (latency.count() == 0) return fmt::format("{:>7} {:>7}", "-", "-");
  return fmt::format("{:>7} {:>7}", short_time(latency.p50()), short_time(latency.p99()));
}

std::string opcode_table(const fbs::NodeMetricsReply& node, std::size_t most) {
  std::vector<const fbs::OpcodeFigures*> opcodes(node.opcodes()->begin(), node.opcodes()->end());
  std::ranges::sort(opcodes, std::greater{},
                    [](const fbs::OpcodeFigures* one) { return one->received() + one->sent(); });
  if (opcodes.size() > most) opcodes.resize(most);
  std::string text =
      fmt::format("{:<{}} {:>6} {:>6} {:>6} {:>6} {:>7} {:>7} {:>7} {:>7}\n", "opcode",
                  kNameColumns, "in", "bytes", "out", "bytes", "hnd p50", "p99", "ans p50", "p99");
  for (const fbs::OpcodeFigures* one : opcodes) {
    text += fmt::format("{:<{}} {:>6} {:>6} {:>6} {:>6} {} {}\n",
                        printable(one->name()->string_view(), kNameColumns), kNameColumns,
                        short_count(one->received()), short_count(one->received_bytes()),
                        short_count(one->sent()), short_count(one->sent_bytes()),
                        times(latency_of(one->handler())), times(latency_of(one->reply())));
  }
  return text;
}

json::object latency_json(const fbs::Latency* at) {
  const fbs::Latency latency = latency_of(at);
  return {{"count", std::to_string(latency.count())},
          {"p50_ns", latency.p50()},
          {"p90_ns", latency.p90()},
          {"p99_ns", latency.p99()},
          {"p999_ns", latency.p999()},
          {"max_ns", latency.max()}};
}

json::object node_json(const fbs::NodeMetricsReply& node) {
  json::array cores;
  for (const fbs::CoreFigures* core : *node.cores()) {
    cores.push_back(json::object{{"core", core->core()},
                                 {"up", core->up()},
                                 {"cpu_ns", std::to_string(core->cpu_ns())},
                                 {"turns", std::to_string(core->turns())},
                                 {"turn", latency_json(core->turn())},
                                 {"connections", core->connections()},
                                 {"sessions", core->sessions()},
                                 {"subscriptions", core->subscriptions()},
                                 {"channels", core->channels()},
                                 {"ready", core->ready()},
                                 {"tasks", core->tasks()},
                                 {"timers", core->timers()},
                                 {"congested", core->congested()},
                                 {"memory_bytes", std::to_string(core->memory_bytes())},
                                 {"memory_budget", std::to_string(core->memory_budget())}});
  }
  json::array opcodes;
  for (const fbs::OpcodeFigures* one : *node.opcodes()) {
    opcodes.push_back(json::object{{"opcode", protocol::number(one->opcode())},
                                   {"name", utf8(one->name()->string_view())},
                                   {"received", std::to_string(one->received())},
                                   {"received_bytes", std::to_string(one->received_bytes())},
                                   {"sent", std::to_string(one->sent())},
                                   {"sent_bytes", std::to_string(one->sent_bytes())},
                                   {"handler", latency_json(one->handler())},
                                   {"reply", latency_json(one->reply())}});
  }
  json::array figures;
  for (const fbs::Figure* figure : *node.figures()) {
    json::array values;
    for (const std::uint64_t value : *figure->values()) values.push_back(json::value(value));
    figures.push_back(json::object{{"name", utf8(figure->name()->string_view())},
                                   {"labels", utf8(protocol::text_of(figure->labels()))},
                                   {"values", std::move(values)}});
  }
  return {{"node", utf8(protocol::text_of(node.node()))},
          {"server_version", utf8(protocol::text_of(node.server_version()))},
          {"time", std::to_string(node.time())},
          {"uptime_ms", node.uptime_ms()},
          {"cores", std::move(cores)},
          {"opcodes", std::move(opcodes)},
          {"figures", std::move(figures)}};
}

// The last minute of all cores together, the newest point last.
std::vector<fbs::SeriesPoint> joined(const fbs::DashboardMetricsReply& dashboard) {
  std::vector<fbs::SeriesPoint> all;
  for (const fbs::CoreSeries* core : *dashboard.cores()) {
    const std::vector<fbs::SeriesPoint> points = points_of(*core);
    const std::size_t count = std::min(points.size(), kGraphSeconds);
    if (all.size() < count) all.insert(all.begin(), count - all.size(), fbs::SeriesPoint{});
    for (std::size_t i = 0; i < count; ++i) {
      add(all[all.size() - 1 - i], points[points.size() - 1 - i]);
    }
  }
  return all;
}

template <class Figure>
std::string graph(std::string_view name, const std::vector<fbs::SeriesPoint>& points,
                  Figure figure) {
  constexpr std::string_view kBars[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  std::uint64_t most = 0;
  for (const fbs::SeriesPoint& point : points) most = std::max<std::uint64_t>(most, figure(point));
  std::string text = fmt::format("{:<8}", name);
  for (std::size_t i = points.size(); i < kGraphSeconds; ++i) text += ' ';
  for (const fbs::SeriesPoint& point : points) {
    const std::uint64_t value = figure(point);
    text += kBars[most == 0 ? 0 : static_cast<std::size_t>((value * 8 + most - 1) / most)];
  }
  return text + fmt::format(" {:>5}\n", short_count(most));
}

std::string core_row(std::string_view name, const fbs::SeriesPoint& point) {
  return fmt::format("{:<5} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6} {:>7}\n", name,
                     fmt::format("{}%", std::min(point.cpu_permille() / 10, 99'999u)),
                     short_count(point.messages_in()), short_count(point.messages_out()),
                     short_count(point.bytes_in()), short_count(point.bytes_out()),
                     short_count(point.sessions()), short_count(point.subscriptions()),
                     short_count(point.errors()), short_count(point.memory_bytes()),
                     point.handler_p99() == 0 ? "-" : short_time(point.handler_p99()));
}

}  // namespace

std::string short_count(std::uint64_t value) {
  if (value < 1000) return fmt::format("{}", value);
  constexpr char kUnits[] = "kMGTPE";
  auto shown = static_cast<double>(value);
  std::size_t unit = 0;
  for (shown /= 1000; shown >= 999.5 && unit + 1 < sizeof kUnits - 1; shown /= 1000) ++unit;
  return fmt::format("{:.{}f}{}", shown, shown < 9.95 ? 1 : 0, kUnits[unit]);
}

std::string short_time(std::uint64_t nanoseconds) {
  if (nanoseconds < 1000) return fmt::format("{}ns", nanoseconds);
  constexpr std::string_view kUnits[] = {"us", "ms", "s"};
  auto shown = static_cast<double>(nanoseconds) / 1000;
  std::size_t unit = 0;
  for (; shown >= 999.5 && unit + 1 < std::size(kUnits); shown /= 1000) ++unit;
  shown = std::min(shown, 999'999.0);
  return fmt::format("{:.{}f}{}", shown, shown < 9.95 ? 1 : 0, kUnits[unit]);
}

std::string text_metrics(const fbs::NodeMetricsReply& reply) {
  std::string text = title(reply);
  text += fmt::format("\n{:<5} {:>9} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}\n", "core", "cpu",
                      "turns", "conns", "sessions", "subs", "channels", "memory", "budget");
  for (const fbs::CoreFigures* core : *reply.cores()) {
    if (!core->up()) {
      text += fmt::format("{:<5} does not answer\n", core->core());
      continue;
    }
    text += fmt::format("{:<5} {:>9} {:>9} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}\n", core->core(),
                        short_time(core->cpu_ns()), short_count(core->turns()),
                        short_count(core->connections()), short_count(core->sessions()),
                        short_count(core->subscriptions()), short_count(core->channels()),
                        short_count(core->memory_bytes()), short_count(core->memory_budget()));
  }
  text += "\n" + opcode_table(reply, SIZE_MAX) + "\n";
  for (const fbs::Figure* figure : *reply.figures()) {
    std::uint64_t sum = 0;
    for (const std::uint64_t value : *figure->values()) sum += value;
    const std::string labels = printable(protocol::text_of(figure->labels()), SIZE_MAX);
    text += fmt::format("{}{} {}\n", printable(figure->name()->string_view(), SIZE_MAX),
                        labels.empty() ? "" : "{" + labels + "}", sum);
  }
  return text;
}

std::string json_metrics(const fbs::NodeMetricsReply& reply) {
  return json::serialize(node_json(reply));
}

std::string text_top(const fbs::NodeMetricsReply& node,
                     const fbs::DashboardMetricsReply& dashboard) {
  std::string text = title(node);
  text += fmt::format("\n{:<5} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6} {:>6} {:>7}\n",
                      "core", "cpu", "msg/s", "out/s", "in B/s", "outB/s", "sess", "subs", "err/s",
                      "memory", "p99");
  fbs::SeriesPoint all{};
  for (const fbs::CoreSeries* core : *dashboard.cores()) {
    const std::string name = std::to_string(core->core());
    const std::vector<fbs::SeriesPoint> points = points_of(*core);
    if (!core->up()) {
      text += fmt::format("{:<5} does not answer\n", name);
    } else if (points.empty()) {
      text += fmt::format("{:<5} has no figures yet\n", name);
    } else {
      text += core_row(name, points.back());
      add(all, points.back());
    }
  }
  if (dashboard.cores()->size() > 1) text += core_row("all", all);
  const std::vector<fbs::SeriesPoint> minute = joined(dashboard);
  text += "\nlast minute\n";
  text += graph("msg/s", minute,
                [](const fbs::SeriesPoint& point) { return std::uint64_t{point.messages_in()}; });
  text += graph("out/s", minute,
                [](const fbs::SeriesPoint& point) { return std::uint64_t{point.messages_out()}; });
  text += graph("cpu %", minute, [](const fbs::SeriesPoint& point) {
    return std::uint64_t{point.cpu_permille() / 10};
  });
  text += "\n" + opcode_table(node, 8);
  if (dashboard.busiest() != nullptr && dashboard.busiest()->size() != 0) {
    text += fmt::format("\n{:<64} {:>10}\n", "busiest", "per second");
    for (const fbs::BusyName* busy : *dashboard.busiest()) {
      const std::string kind = printable(busy->kind()->string_view(), 8);
      text += fmt::format("{:<8} {:<55} {:>10}\n", kind, printable(busy->name()->string_view(), 55),
                          short_count(busy->per_second()));
    }
  }
  return text;
}

std::string json_top(const fbs::NodeMetricsReply& node,
                     const fbs::DashboardMetricsReply& dashboard) {
  json::object object = node_json(node);
  json::array series;
  for (const fbs::CoreSeries* core : *dashboard.cores()) {
    json::array points;
    for (const fbs::SeriesPoint& point : points_of(*core)) {
      points.push_back(json::object{{"time_ms", point.time_ms()},
                                    {"messages_in", point.messages_in()},
                                    {"messages_out", point.messages_out()},
                                    {"bytes_in", point.bytes_in()},
                                    {"bytes_out", point.bytes_out()},
                                    {"cpu_permille", point.cpu_permille()},
                                    {"turns", point.turns()},
                                    {"errors", point.errors()},
                                    {"sessions", point.sessions()},
                                    {"connections", point.connections()},
                                    {"subscriptions", point.subscriptions()},
                                    {"memory_bytes", point.memory_bytes()},
                                    {"handler_p50_ns", point.handler_p50()},
                                    {"handler_p99_ns", point.handler_p99()},
                                    {"handler_max_ns", point.handler_max()}});
    }
    series.push_back(
        json::object{{"core", core->core()}, {"up", core->up()}, {"points", std::move(points)}});
  }
  object["series"] = std::move(series);
  if (dashboard.busiest() != nullptr) {
    json::array busiest;
    for (const fbs::BusyName* busy : *dashboard.busiest()) {
      busiest.push_back(json::object{{"kind", utf8(busy->kind()->string_view())},
                                     {"name", utf8(busy->name()->string_view())},
                                     {"per_second", busy->per_second()}});
    }
    object["busiest"] = std::move(busiest);
  }
  return json::serialize(object);
}

}  // namespace corelane::tools
