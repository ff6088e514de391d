#pragma once
// Metrics: reads what all services count (rows.hpp, traffic.hpp), keeps the series of the last five
// minutes of its core, and answers GET /metrics, NodeMetrics and DashboardMetrics. One a core, the
// first of all services.
//
// Nothing is counted here: counters lie where things happen, as plain numbers of a core, and are
// added up by whoever asks, over lanes. A core that does not answer in time is left out, so a stuck
// core costs a reader kReadTimeout and not the figures of the others.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "net/http/responder.hpp"
#include "runtime/metrics.hpp"
#include "runtime/submit.hpp"
#include "runtime/task_group.hpp"
#include "runtime/timeout.hpp"
#include "runtime/timer_heap.hpp"
#include "services/config/table.hpp"
#include "services/local.hpp"
#include "services/metrics/busy_names.hpp"
#include "services/metrics/heartbeats.hpp"
#include "services/metrics/rows.hpp"
#include "services/metrics/series.hpp"
#include "services/metrics/traffic.hpp"
#include "services/service.hpp"

namespace corelane::services {

struct MetricsOptions {
  // Twice a second by default, see Heartbeats. 0: no series, and every core counts as alive.
  runtime::Nanoseconds beat_every = Heartbeats::kEvery;
  // DashboardMetrics names the busiest channels, to every session that may ask.
  bool names = false;
};

// One core's figures.
struct CoreReading {
  runtime::CoreId core = 0;
  bool answered = false;  // false: it did not in time, and the rest is empty
  runtime::CoreMetrics runtime{};
  std::vector<MetricSample> samples{};  // of the table's rows, in their order
};

class Metrics : public Service {
 public:
  static constexpr runtime::Nanoseconds kReadTimeout = runtime::kSecond;  // of each core

  Metrics(const MetricsOptions& options, const ServiceStart& start);
  ~Metrics() override;

  static Metrics& local() noexcept { return services::local<Metrics>(ServiceSlot::metrics); }
  static std::span<const OpcodeRow> opcodes() noexcept;
  static std::span<const MetricRow> metrics() noexcept;
  static std::span<const config::Row<MetricsOptions>> settings() noexcept;

  // GET /metrics. `format` by the Accept field of a request.
  static void add_page(net::http::Routes& routes);
  static runtime::MetricsFormat format_for(std::string_view accept) noexcept;

  // What `of_core` returns on each core, core 0 first; a default Reading for a core that does not
  // answer in time. Can be given up.
  template <class Reading>
  static runtime::Task<std::vector<Reading>> from_all(Reading (*of_core)(std::uint32_t argument),
                                                      std::uint32_t argument = 0);
  // The page of `readings`.
  std::string page(const std::vector<CoreReading>& readings, runtime::MetricsFormat format) const;

  const MetricTable& table() const noexcept { return table_; }
  const Series& series() const noexcept { return series_; }
  const MetricsOptions& options() const noexcept { return options_; }
  // Of channels that this core owns. For the service that has them, and for readers.
  BusyNames& busy_channels() noexcept { return busy_channels_; }
  Heartbeats& heartbeats() noexcept { return heartbeats_; }
  // Nanoseconds since it was made.
  runtime::Nanoseconds age() const noexcept;
  runtime::CoreId first_late_core() const noexcept;

  runtime::Task<void> stop() override;

  // Requests for metrics that are answered at once on a core. One answer takes some ms of all
  // cores.
  static constexpr std::size_t kReadersMax = 4;
  static constexpr std::size_t kWaitingMax = 64;  // requests for a page, of a core

  // For the opcodes: runs a coroutine that answers later. False, and nothing runs, if there are
  // kReadersMax.
  template <class Function, class... Arguments>
  bool spawn(const char* name, Function function, Arguments&&... arguments) {
    if (readers_.running() >= kReadersMax) return false;
    readers_.spawn(name, function, std::forward<Arguments>(arguments)...);
    return true;
  }

 private:
  struct Waiting {
    net::http::DeferredResponder responder;
    runtime::MetricsFormat format;
  };
  struct BeatTimer : runtime::Timer {
    BeatTimer(Metrics& owner, Fire function) noexcept : Timer(function), metrics(owner) {}
    Metrics& metrics;
  };
  // What the last point of the series was made of.
  struct Before {
    runtime::Nanoseconds at = 0;
    std::uint64_t messages_in = 0;
    std::uint64_t messages_out = 0;
    std::uint64_t bytes_in = 0;
    std::uint64_t bytes_out = 0;
    std::uint64_t cpu_ns = 0;
    std::uint64_t turns = 0;
    std::uint64_t errors = 0;
  };

  static void serve_page(void* context, const net::http::Request& request,
                         const net::http::RouteMatch& match, net::http::Responder& responder);
  static runtime::Task<void> answer_pages(Metrics* metrics);
  void answer(const std::vector<Waiting>& served, const std::vector<CoreReading>& readings) const;
  void beat() noexcept;
  void add_point(runtime::Nanoseconds now) noexcept;
  Before totals(runtime::Nanoseconds now) const noexcept;

  const MetricsOptions options_;
  const MetricTable& table_;
  Heartbeats& heartbeats_;
  runtime::Core& core_;
  const runtime::Nanoseconds made_at_;
  Traffic traffic_;
  Series series_;
  BusyNames busy_channels_;
  Before before_;
  BeatTimer timer_;
  runtime::TaskGroup readers_{"metrics"};
  std::vector<Waiting> waiting_;  // requests for a page that no reading has begun for
  bool is_reading_ = false;
};

template <class Reading>
runtime::Task<std::vector<Reading>> Metrics::from_all(Reading (*of_core)(std::uint32_t argument),
                                                      std::uint32_t argument) {
  std::vector<Reading> all;
  const runtime::CoreId cores = runtime::Core::current().cores();
  all.reserve(cores);
  for (runtime::CoreId core = 0; core < cores; ++core) {
    auto reading = co_await runtime::with_timeout(
        kReadTimeout, runtime::submit_to(core, [of_core, argument] { return of_core(argument); }));
    if (reading) {
      all.push_back(std::move(*reading));
    } else {
      all.emplace_back().core = core;
    }
  }
  co_return all;
}

}  // namespace corelane::services
