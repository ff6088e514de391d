// The opcodes NodeMetrics and DashboardMetrics.

#include <algorithm>
#include <functional>
#include <map>
#include <optional>

#include "net/network.hpp"
#include "services/dispatch/dispatch.hpp"
#include "services/metrics/metrics.hpp"
#include "services/pubsub/pubsub.hpp"
#include "services/sessions/sessions.hpp"

namespace corelane::services {

using flatbuffers::FlatBufferBuilder;
using flatbuffers::Offset;
using protocol::MessageView;
using protocol::Opcode;
using runtime::Core;
using runtime::Histogram;
using runtime::Task;

namespace fbs = protocol::fbs;

namespace {

constexpr std::uint32_t kRetryAfterMs = 1000;
constexpr std::size_t kBusiest = 8;
constexpr std::size_t kReplyRoom = 8192;  // of a DashboardMetricsReply, beside its points

fbs::Latency latency_of(const Histogram& times) {
  return {times.count(),        times.percentile(50),   times.percentile(90),
          times.percentile(99), times.percentile(99.9), times.max()};
}

std::uint32_t narrow(std::uint64_t value) noexcept {
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(value, UINT32_MAX));
}

// --- NodeMetrics

// By the opcode's number and name: those that the server does not know have the number 0.
struct OpcodeReading {
  Traffic::Count in;
  Traffic::Count out;
  Histogram handler;
  Histogram reply;
};
using OpcodeReadings = std::map<std::pair<std::uint16_t, std::string>, OpcodeReading>;

struct NodeReading {
  runtime::CoreId core = 0;
  bool answered = false;
  runtime::CoreMetrics runtime{};
  fbs::Latency turn{};
  std::uint32_t connections = 0;
  std::uint32_t sessions = 0;
  std::uint32_t subscriptions = 0;
  std::uint32_t channels = 0;
  std::uint64_t memory_bytes = 0;
  OpcodeReadings opcodes{};
  std::vector<MetricSample> samples{};
};

NodeReading read_node(std::uint32_t) {
  Core& core = Core::current();
  NodeReading reading;
  reading.core = core.id();
  reading.answered = true;
  reading.runtime = runtime::core_metrics();
  reading.turn = latency_of(core.turn_times());
  if (const net::Network* network = net::Network::local_or_null()) {
    reading.connections = network->stream_count();
  }
  reading.sessions = Sessions::local().count();
  reading.subscriptions = narrow(PubSub::local().subscriptions());
  reading.channels = narrow(PubSub::local().owned_channels());
  reading.memory_bytes = core.memory().total();
  for (const Traffic::OpcodeTraffic& traffic : Traffic::local().by_opcode()) {
    OpcodeReading& opcode = reading.opcodes[{traffic.number, std::string{traffic.name}}];
    opcode.in = traffic.in;
    opcode.out = traffic.out;
    if (traffic.handler != nullptr) opcode.handler = *traffic.handler;
    if (traffic.reply != nullptr) opcode.reply = *traffic.reply;
  }
  reading.samples = Metrics::local().table().read();
  return reading;
}

Offset<fbs::CoreFigures> write_core(FlatBufferBuilder& builder, const NodeReading& reading) {
  fbs::CoreFiguresBuilder core(builder);
  core.add_core(reading.core);
  core.add_up(reading.answered);
  if (!reading.answered) return core.Finish();
  const runtime::CoreMetrics& figures = reading.runtime;
  core.add_cpu_ns(static_cast<std::uint64_t>(figures.busy));
  core.add_turns(figures.loop.turns);
  core.add_turn(&reading.turn);
  core.add_connections(reading.connections);
  core.add_sessions(reading.sessions);
  core.add_subscriptions(reading.subscriptions);
  core.add_channels(reading.channels);
  core.add_ready(narrow(figures.ready));
  core.add_tasks(narrow(figures.tasks));
  core.add_timers(narrow(figures.timers));
  core.add_congested(figures.congested);
  core.add_memory_bytes(reading.memory_bytes);
  core.add_memory_budget(figures.memory_budget);
  return core.Finish();
}

void add(Traffic::Count& to, const Traffic::Count& count) noexcept {
  to.messages += count.messages;
  to.bytes += count.bytes;
}

OpcodeReadings join(const std::vector<NodeReading>& readings) {
  OpcodeReadings joined;
  for (const NodeReading& reading : readings) {
    for (const auto& [key, opcode] : reading.opcodes) {
      OpcodeReading& to = joined[key];
      add(to.in, opcode.in);
      add(to.out, opcode.out);
      to.handler.add(opcode.handler);
      to.reply.add(opcode.reply);
    }
  }
  return joined;
}

Offset<fbs::OpcodeFigures> write_opcode(FlatBufferBuilder& builder,
                                        const OpcodeReadings::value_type& entry) {
  const auto& [key, opcode] = entry;
  const auto name = builder.CreateString(key.second);
  const fbs::Latency handler = latency_of(opcode.handler);
  const fbs::Latency reply = latency_of(opcode.reply);
  fbs::OpcodeFiguresBuilder figures(builder);
  figures.add_opcode(static_cast<Opcode>(key.first));
  figures.add_name(name);
  figures.add_received(opcode.in.messages);
  figures.add_received_bytes(opcode.in.bytes);
  figures.add_sent(opcode.out.messages);
  figures.add_sent_bytes(opcode.out.bytes);
  if (handler.count() != 0) figures.add_handler(&handler);
  if (reply.count() != 0) figures.add_reply(&reply);
  return figures.Finish();
}

// Histograms are among the opcodes' figures.
std::vector<Offset<fbs::Figure>> write_figures(FlatBufferBuilder& builder,
                                               const std::vector<NodeReading>& readings,
                                               std::string_view prefix) {
  const auto rows = Metrics::local().table().rows();
  std::map<std::pair<std::uint32_t, std::string>, std::vector<std::uint64_t>> values;
  for (std::size_t core = 0; core < readings.size(); ++core) {
    for (const MetricSample& sample : readings[core].samples) {
      if (sample.histogram != nullptr || !rows[sample.row].name.starts_with(prefix)) continue;
      auto& of_cores = values[{sample.row, sample.labels}];
      of_cores.resize(readings.size());
      of_cores[core] = sample.value;
    }
  }
  std::vector<Offset<fbs::Figure>> figures;
  figures.reserve(values.size());
  for (const auto& [key, of_cores] : values) {
    const std::string_view name = rows[key.first].name;
    figures.push_back(fbs::CreateFigure(
        builder, builder.CreateString(name.data(), name.size()),
        key.second.empty() ? Offset<flatbuffers::String>{} : builder.CreateString(key.second),
        builder.CreateVector(of_cores)));
  }
  return figures;
}

// Sends what `builder` holds as the reply of a session's request, if the session is still there.
void send_reply(const SessionId& id, const protocol::Uuid& transaction_id, Opcode opcode,
                const FlatBufferBuilder& builder) {
  Session* session = Sessions::local().find(id);
  if (session == nullptr) return;
  const std::span<const std::uint8_t> payload{builder.GetBufferPointer(), builder.GetSize()};
  session->reply(transaction_id,
                 protocol::RawBody{.kOpcode = opcode, .payload = std::as_bytes(payload)});
  session->answered();
}

Task<void> reply_node_metrics(SessionId id, protocol::Uuid transaction_id, std::string prefix) {
  const std::vector<NodeReading> readings = co_await Metrics::from_all(read_node);
  FlatBufferBuilder builder(16 * 1024);
  std::vector<Offset<fbs::CoreFigures>> cores;
  cores.reserve(readings.size());
  for (const NodeReading& reading : readings) cores.push_back(write_core(builder, reading));
  std::vector<Offset<fbs::OpcodeFigures>> opcodes;
  for (const auto& entry : join(readings)) opcodes.push_back(write_opcode(builder, entry));
  const std::vector<Offset<fbs::Figure>> figures = write_figures(builder, readings, prefix);
  const DispatchOptions& options = Dispatch::local().options();
  const auto age = static_cast<std::uint64_t>(Metrics::local().age());
  builder.Finish(fbs::CreateNodeMetricsReply(
      builder, builder.CreateString(options.node_name),
      builder.CreateString(options.server_version), Core::current().wall_now(), age / 1'000'000,
      builder.CreateVector(cores), builder.CreateVector(opcodes), builder.CreateVector(figures)));
  send_reply(id, transaction_id, Opcode::NodeMetricsReply, builder);
}

// --- DashboardMetrics

struct SeriesReading {
  runtime::CoreId core = 0;
  bool answered = false;
  std::vector<SeriesPoint> points{};
  std::vector<BusyNames::Busy> busiest{};  // if names are told
};

SeriesReading read_series(std::uint32_t most) {
  Metrics& metrics = Metrics::local();
  SeriesReading reading{
      .core = Core::current().id(), .answered = true, .points = metrics.series().last(most)};
  if (metrics.options().names) reading.busiest = metrics.busy_channels().busiest(kBusiest);
  return reading;
}

// A channel has one owner: no name is there twice.
Offset<flatbuffers::Vector<Offset<fbs::BusyName>>> write_busiest(
    FlatBufferBuilder& builder, const std::vector<SeriesReading>& readings) {
  if (!Metrics::local().options().names) return {};
  std::vector<BusyNames::Busy> all;
  for (const SeriesReading& reading : readings) {
    all.insert(all.end(), reading.busiest.begin(), reading.busiest.end());
  }
  std::ranges::sort(all, std::greater{}, &BusyNames::Busy::per_second);
  if (all.size() > kBusiest) all.resize(kBusiest);
  std::vector<Offset<fbs::BusyName>> names;
  names.reserve(all.size());
  for (const BusyNames::Busy& busy : all) {
    names.push_back(fbs::CreateBusyName(builder, builder.CreateString("channel"),
                                        builder.CreateString(busy.name), busy.per_second));
  }
  return builder.CreateVector(names);
}

fbs::SeriesPoint point_of(const SeriesPoint& point) noexcept {
  return {point.time_ms,      point.bytes_in,     point.bytes_out,    point.memory_bytes,
          point.handler_p50,  point.handler_p99,  point.handler_max,  point.messages_in,
          point.messages_out, point.cpu_permille, point.turns,        point.errors,
          point.sessions,     point.connections,  point.subscriptions};
}

Task<void> reply_dashboard(SessionId id, protocol::Uuid transaction_id, std::uint32_t most) {
  const std::vector<SeriesReading> readings = co_await Metrics::from_all(read_series, most);
  FlatBufferBuilder builder(16 * 1024);
  std::vector<Offset<fbs::CoreSeries>> cores;
  for (const SeriesReading& reading : readings) {
    std::vector<fbs::SeriesPoint> points;
    points.reserve(reading.points.size());
    for (const SeriesPoint& point : reading.points) points.push_back(point_of(point));
    cores.push_back(fbs::CreateCoreSeries(builder, reading.core, reading.answered,
                                          builder.CreateVectorOfStructs(points)));
  }
  const auto busiest = write_busiest(builder, readings);
  builder.Finish(fbs::CreateDashboardMetricsReply(
      builder, builder.CreateString(Dispatch::local().options().node_name),
      builder.CreateVector(cores), busiest));
  send_reply(id, transaction_id, Opcode::DashboardMetricsReply, builder);
}

// Points of each core that fit into a frame, and into an outgoing queue.
std::uint32_t points_for(Session& session, std::uint32_t seconds) {
  const std::size_t frame = std::min(Dispatch::local().options().frame_bytes_max,
                                     session.stream().network().options().queued_bytes_max);
  const std::size_t room = frame > kReplyRoom ? frame - kReplyRoom : 0;
  const std::size_t fit = room / (sizeof(fbs::SeriesPoint) * Core::current().cores());
  const std::size_t wanted = seconds == 0 ? Series::kPoints : seconds;
  return static_cast<std::uint32_t>(std::min({wanted, fit, Series::kPoints}));
}

// --- Rows

// Runs the coroutine that answers the session, if there is room for one more.
template <class Function, class Argument>
void answer_later(Dispatch& dispatch, Session& session, const MessageView& message,
                  const char* name, Function function, Argument argument) {
  if (Metrics::local().spawn(name, function, session.id(), message.transaction_id,
                             std::move(argument))) {
    return;
  }
  dispatch.refuse(session, message, protocol::ErrorCode::overloaded,
                  "too many requests for metrics at once", kRetryAfterMs);
  session.answered();
}

void serve_node_metrics(Dispatch& dispatch, Session& session, const MessageView& message) {
  const auto* request = dispatch.payload_of<fbs::NodeMetricsRequest>(session, message);
  if (request == nullptr) return;
  session.expect_answer();
  answer_later(dispatch, session, message, "NodeMetrics", reply_node_metrics,
               std::string{protocol::text_of(request->figures())});
}

void serve_dashboard(Dispatch& dispatch, Session& session, const MessageView& message) {
  const auto* request = dispatch.payload_of<fbs::DashboardMetricsRequest>(session, message);
  if (request == nullptr) return;
  session.expect_answer();
  answer_later(dispatch, session, message, "DashboardMetrics", reply_dashboard,
               points_for(session, request->seconds()));
}

constexpr OpcodeRow kRows[] = {
    {.opcode = Opcode::NodeMetrics,
     .name = "NodeMetrics",
     .request = "NodeMetricsRequest",
     .right = Right::inspect,
     .cost = CostClass::control,
     .serve = serve_node_metrics},
    {.opcode = Opcode::DashboardMetrics,
     .name = "DashboardMetrics",
     .request = "DashboardMetricsRequest",
     .right = Right::inspect,
     .cost = CostClass::control,
     .serve = serve_dashboard},
};

}  // namespace

std::span<const OpcodeRow> Metrics::opcodes() noexcept {
  return kRows;
}

}  // namespace corelane::services
