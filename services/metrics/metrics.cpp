#include "services/metrics/metrics.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include "net/http/message.hpp"
#include "net/network.hpp"
#include "services/pubsub/pubsub.hpp"
#include "services/sessions/sessions.hpp"

namespace corelane::services {

using runtime::Core;
using runtime::CoreId;
using runtime::Nanoseconds;
using runtime::Task;

namespace {

// `passed` is not 0.
std::uint64_t per_second(std::uint64_t now, std::uint64_t before, Nanoseconds passed) noexcept {
  const double rate = static_cast<double>(now - before) * static_cast<double>(runtime::kSecond) /
                      static_cast<double>(passed);
  return static_cast<std::uint64_t>(std::llround(rate));
}

std::uint32_t narrow(std::uint64_t value) noexcept {
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(value, UINT32_MAX));
}

CoreReading read_core(std::uint32_t) {
  CoreReading reading;
  reading.core = Core::current().id();
  reading.answered = true;
  reading.runtime = runtime::core_metrics();
  reading.samples = Metrics::local().table().read();
  return reading;
}

}  // namespace

Metrics::Metrics(const MetricsOptions& options, const ServiceStart& start)
    : options_(options),
      table_(start.metrics),
      heartbeats_(start.heartbeats),
      core_(Core::current()),
      made_at_(core_.ring().now()),
      traffic_(start.opcodes),
      timer_(*this, [](runtime::Timer& timer) noexcept {
        static_cast<BeatTimer&>(timer).metrics.beat();
      }) {
  set_local(ServiceSlot::metrics, this);
  if (options_.beat_every == 0) return;
  before_.at = made_at_;
  heartbeats_.beat(core_.id(), made_at_);
  core_.timers().add(timer_, made_at_ + options_.beat_every);
}

Metrics::~Metrics() {
  core_.timers().cancel(timer_);
  heartbeats_.end(core_.id());
  set_local(ServiceSlot::metrics, nullptr);
}

Task<void> Metrics::stop() {
  core_.timers().cancel(timer_);
  heartbeats_.end(core_.id());
  readers_.cancel();
  co_await readers_.join();
}

Nanoseconds Metrics::age() const noexcept {
  return core_.ring().now() - made_at_;
}

CoreId Metrics::first_late_core() const noexcept {
  return heartbeats_.first_late(core_.cores(), core_.ring().now());
}

// --- The series

void Metrics::beat() noexcept {
  const Nanoseconds now = core_.now();
  heartbeats_.beat(core_.id(), now);
  // The next point of time on the grid, also after a stall of many beats.
  const Nanoseconds missed = (now - timer_.deadline_ns) / options_.beat_every;
  core_.timers().add(timer_, timer_.deadline_ns + (missed + 1) * options_.beat_every);
  if (now - before_.at >= Series::kEvery) add_point(now);
}

Metrics::Before Metrics::totals(Nanoseconds now) const noexcept {
  Before totals{.at = now,
                .messages_in = traffic_.total_in().messages,
                .messages_out = traffic_.total_out().messages,
                .cpu_ns = static_cast<std::uint64_t>(runtime::thread_cpu_time()),
                .turns = core_.counters().turns};
  for (const auto& tally : traffic_.errors()) totals.errors += tally.count;
  if (const net::Network* network = net::Network::local_or_null()) {
    totals.bytes_in = network->counters().bytes_received;
    totals.bytes_out = network->counters().bytes_sent;
  }
  return totals;
}

void Metrics::add_point(Nanoseconds now) noexcept {
  const Before after = totals(now);
  const Nanoseconds passed = after.at - before_.at;
  const auto rate = [&](std::uint64_t Before::* figure) {
    return per_second(after.*figure, before_.*figure, passed);
  };
  const runtime::Histogram& recent = traffic_.recent();
  SeriesPoint point{.time_ms = core_.wall_now() / 1'000'000,
                    .messages_in = narrow(rate(&Before::messages_in)),
                    .messages_out = narrow(rate(&Before::messages_out)),
                    .bytes_in = rate(&Before::bytes_in),
                    .bytes_out = rate(&Before::bytes_out),
                    .cpu_permille = narrow(rate(&Before::cpu_ns) / 1'000'000),
                    .turns = narrow(rate(&Before::turns)),
                    .errors = narrow(rate(&Before::errors)),
                    .sessions = Sessions::local().count(),
                    .subscriptions = narrow(PubSub::local().subscriptions()),
                    .memory_bytes = core_.memory().total(),
                    .handler_p50 = recent.percentile(50),
                    .handler_p99 = recent.percentile(99),
                    .handler_max = recent.max()};
  if (const net::Network* network = net::Network::local_or_null()) {
    point.connections = network->stream_count();
  }
  series_.add(point);
  traffic_.clear_recent();
  busy_channels_.end_second();
  before_ = after;
}

// --- GET /metrics

namespace {

// The weight of a media range of an Accept field (RFC 9110 section 12.4.2), in thousandths.
int weight_of(std::string_view range) noexcept {
  const std::size_t at = range.find("q=");
  if (at == std::string_view::npos) return 1000;
  const std::string_view text = range.substr(at + 2);
  if (text.starts_with('1')) return 1000;
  if (!text.starts_with("0")) return 0;
  int weight = 0;
  int unit = 100;
  for (const char c : text.substr(std::min<std::size_t>(2, text.size()))) {
    if (c < '0' || c > '9' || unit == 0) break;
    weight += unit * (c - '0');
    unit /= 10;
  }
  return weight;
}

}  // namespace

runtime::MetricsFormat Metrics::format_for(std::string_view accept) noexcept {
  int open = 0;
  int text = 0;
  while (!accept.empty()) {
    const std::string_view range = accept.substr(0, accept.find(','));
    accept.remove_prefix(std::min(accept.size(), range.size() + 1));
    if (range.find("application/openmetrics-text") != std::string_view::npos) {
      open = std::max(open, weight_of(range));
    } else if (range.find("text/plain") != std::string_view::npos) {
      text = std::max(text, weight_of(range));
    }
  }
  return open > 0 && open >= text ? runtime::MetricsFormat::open_metrics
                                  : runtime::MetricsFormat::prometheus;
}

void Metrics::add_page(net::http::Routes& routes) {
  routes.add("GET", "/metrics", {.run = serve_page, .context = &local()});
}

// No coroutine handler, which the server refuses near the end of its memory and beyond its limit of
// handlers. At most one reading runs on a core, however many requests come.
void Metrics::serve_page(void* context, const net::http::Request& request,
                         const net::http::RouteMatch&, net::http::Responder& responder) {
  auto& self = *static_cast<Metrics*>(context);
  const auto format = format_for(net::http::single_value(request.fields, "accept"));
  if (self.waiting_.size() >= kWaitingMax) {
    responder.respond(net::http::Status::service_unavailable, "text/plain",
                      "too many requests for metrics wait already\n");
    return;
  }
  self.waiting_.push_back({responder.defer(), format});
  if (self.is_reading_) return;
  self.is_reading_ = true;
  self.readers_.spawn("GET /metrics", answer_pages, &self);
}

Task<void> Metrics::answer_pages(Metrics* metrics) {
  struct Reading {
    explicit Reading(Metrics& of) noexcept : self(of) {}
    Reading(const Reading&) = delete;
    Reading& operator=(const Reading&) = delete;
    ~Reading() { self.is_reading_ = false; }
    Metrics& self;
  };
  const Reading reading(*metrics);
  while (!metrics->waiting_.empty()) {
    const std::vector<Waiting> served = std::exchange(metrics->waiting_, {});
    try {
      const std::vector<CoreReading> readings = co_await from_all(read_core);
      metrics->answer(served, readings);
    } catch (const std::exception& error) {
      for (const Waiting& one : served) {
        one.responder.respond(net::http::Status::internal_server_error, "text/plain", error.what());
      }
    }
  }
}

void Metrics::answer(const std::vector<Waiting>& served,
                     const std::vector<CoreReading>& readings) const {
  for (const auto format :
       {runtime::MetricsFormat::prometheus, runtime::MetricsFormat::open_metrics}) {
    if (std::ranges::find(served, format, &Waiting::format) == served.end()) continue;
    const std::string text = page(readings, format);
    const std::string_view type = format == runtime::MetricsFormat::prometheus
                                      ? runtime::kPrometheusType
                                      : runtime::kOpenMetricsType;
    for (const Waiting& one : served) {
      if (one.format == format) one.responder.respond(net::http::Status::ok, type, text);
    }
  }
}

}  // namespace corelane::services
