#include "runtime/metrics.hpp"

#include <fmt/format.h>
#include <time.h>

#include <iterator>

#include "runtime/runtime.hpp"
#include "runtime/semaphore.hpp"
#include "runtime/submit.hpp"

namespace corelane::runtime {
namespace {

struct Family {
  std::string_view name;
  MetricType type;
  std::string_view help;
  std::uint64_t (*value)(const CoreMetrics&) noexcept;
};
using M = const CoreMetrics&;
constexpr MetricType kCounter = MetricType::counter;
constexpr MetricType kGauge = MetricType::gauge;

constexpr Family kFamilies[] = {
    {"turns_total", kCounter, "Turns of the loop.", [](M m) noexcept { return m.loop.turns; }},
    {"resumed_total", kCounter, "Coroutines resumed by the loop.",
     [](M m) noexcept { return m.loop.resumed; }},
    {"exceptions_total", kCounter, "Exceptions that nobody could catch.",
     [](M m) noexcept { return m.loop.exceptions; }},
    {"lane_polls_total", kCounter, "Times that the core polled its lanes before sleeping.",
     [](M m) noexcept { return m.loop.lane_polls; }},
    {"ring_system_calls_total", kCounter, "System calls of the ring.",
     [](M m) noexcept { return m.ring.system_calls; }},
    {"ring_operations_total", kCounter, "Operations prepared.",
     [](M m) noexcept { return m.ring.operations; }},
    {"ring_completions_total", kCounter, "Completions taken.",
     [](M m) noexcept { return m.ring.completions; }},
    {"ring_sleeps_total", kCounter, "Times that the core went to sleep.",
     [](M m) noexcept { return m.ring.waits; }},
    {"ring_overflows_total", kCounter, "Overflows of the completion queue.",
     [](M m) noexcept { return m.ring.overflows; }},
    {"lane_messages_sent_total", kCounter, "Messages to other cores and the own one.",
     [](M m) noexcept { return m.lanes.sent; }},
    {"lane_messages_received_total", kCounter, "Messages taken from lanes.",
     [](M m) noexcept { return m.lanes.received; }},
    {"lane_wakes_total", kCounter, "Sleeping cores that were woken.",
     [](M m) noexcept { return m.lanes.wakes; }},
    {"lane_full_total", kCounter, "Turns in which a lane had no room for all messages.",
     [](M m) noexcept { return m.lanes.lane_full; }},
    {"lane_heavy_total", kCounter, "Times that messages to one core held too much memory.",
     [](M m) noexcept { return m.lanes.heavy; }},
    {"lanes_congested", kGauge, "1 while the core takes in no new work because a lane is full.",
     [](M m) noexcept { return std::uint64_t{m.congested}; }},
    {"lane_backlog_messages", kGauge, "Messages that wait for room in a lane to another core.",
     [](M m) noexcept { return std::uint64_t{m.lane_backlog}; }},
    {"ready_coroutines", kGauge, "Coroutines that the next turn resumes.",
     [](M m) noexcept { return std::uint64_t{m.ready}; }},
    {"tasks", kGauge, "Suspended tasks, counted up to 10,000.",
     [](M m) noexcept { return std::uint64_t{m.tasks}; }},
    {"coroutine_frame_bytes", kGauge, "Memory of coroutines that are alive.",
     [](M m) noexcept { return std::uint64_t{m.frame_bytes}; }},
    {"coroutine_frame_kept_bytes", kGauge, "Memory of ended coroutines that is kept for reuse.",
     [](M m) noexcept { return std::uint64_t{m.frame_bytes_kept}; }},
    {"timers", kGauge, "Timers of coroutines and of the layers above.",
     [](M m) noexcept { return std::uint64_t{m.timers}; }},
    {"operations_in_flight", kGauge, "Operations that coroutines wait for.",
     [](M m) noexcept { return std::uint64_t{m.operations}; }},
    {"answers_awaited", kGauge, "Answers of cores and threads that coroutines wait for.",
     [](M m) noexcept { return std::uint64_t{m.answers}; }},
    {"blocking_calls", kGauge, "Calls of this core in the blocking pool, running or queued.",
     [](M m) noexcept { return std::uint64_t{m.blocking_calls}; }},
    {"blocking_waits", kGauge, "Calls that wait on this core for a place in the blocking pool.",
     [](M m) noexcept { return std::uint64_t{m.blocking_waits}; }},
    {"memory_budget_bytes", kGauge, "Memory that the core may hold for peers; 0: no limit.",
     [](M m) noexcept { return std::uint64_t{m.memory_budget}; }},
    {"memory_unfinished_bytes", kGauge, "Memory of messages and bodies that are not whole yet.",
     [](M m) noexcept { return std::uint64_t{m.memory_unfinished}; }},
};

// In the order of MemoryKind.
constexpr std::array<std::string_view, kMemoryKinds> kKinds{
    "receive_buffers", "queued", "shared", "messages", "http", "handlers", "cache"};

std::string full_name(std::string_view name) {
  return fmt::format("corelane_runtime_{}", name);
}

// Groups and waits cost time, too: a task may wait for very many things.
constexpr std::size_t kCountedStepsMax = 4 * kCountedTasksMax;

// Tasks in a scope and below it, at most `most`.
std::size_t count_tasks(const CancelScope& scope, std::size_t most, int depth,
                        std::size_t& steps) noexcept {
  constexpr int kDepthMax = 64;
  std::size_t tasks = 0;
  if (depth == kDepthMax) return tasks;
  scope.for_each([&](const CancelScope::Child& child) {
    if (steps++ >= kCountedStepsMax) return false;
    if (child.scope == nullptr) return true;
    if (child.scope->kind() == ScopeKind::task) ++tasks;
    if (tasks < most) tasks += count_tasks(*child.scope, most - tasks, depth + 1, steps);
    return tasks < most;
  });
  return tasks;
}

void add_stalls(MetricsText& out, const StallMonitor::Counters& stalls) {
  out.family(full_name("stalls_total"), kCounter,
             "Handlers that held a core too long, on all cores.");
  out.sample("", stalls.stalls);
  out.family(full_name("stall_reports_suppressed_total"), kCounter,
             "Stalls that were not reported, because there were too many.");
  out.sample("", stalls.suppressed);
}

}  // namespace

Nanoseconds thread_cpu_time() noexcept {
  timespec used{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return Nanoseconds{used.tv_sec} * kSecond + used.tv_nsec;
}

CoreMetrics core_metrics() noexcept {
  Core& core = Core::current();
  CoreMetrics metrics;
  metrics.core = core.id();
  metrics.loop = core.counters();
  metrics.ring = core.ring().counters();
  metrics.lanes = core.lanes().counters();
  metrics.turns = HistogramSteps(core.turn_times());
  metrics.busy = thread_cpu_time();
  metrics.ready = core.ready_count();
  const FramePool::Counters& frames = core.frame_pool().counters();
  // Frames may end on another core than they began: a function that was submitted, for example.
  if (frames.system_bytes > frames.retained_bytes && FramePool::kEnabled) {
    metrics.frame_bytes = frames.system_bytes - frames.retained_bytes;
  }
  std::size_t steps = 0;
  metrics.tasks = count_tasks(core.task_roots(), kCountedTasksMax, 0, steps);
  metrics.frame_bytes_kept = frames.retained_bytes;
  metrics.timers = core.timers().size();
  metrics.operations = core.operations().in_flight();
  metrics.answers = core.replies_awaited();
  metrics.congested = core.lanes().congested();
  for (CoreId to = 0; to < core.cores(); ++to) {
    if (to != core.id()) metrics.lane_backlog += core.lanes().waiting_for(to);
  }
  if (const BlockingPool* const pool = core.runtime().blocking_pool_or_null()) {
    metrics.blocking_calls = pool->calls(core.id());
    metrics.blocking_waits = pool->waits(core.id());
  }
  const MemoryAccount& memory = core.memory();
  metrics.memory_budget = memory.budget();
  metrics.memory_unfinished = memory.unfinished();
  for (std::size_t kind = 0; kind < kMemoryKinds; ++kind) {
    metrics.memory[kind] = memory.held(static_cast<MemoryKind>(kind));
  }
  if (const StallMonitor* const monitor = core.progress().monitor()) {
    metrics.stalls = monitor->counters();
  }
  return metrics;
}

Task<std::vector<CoreMetrics>> all_metrics() {
  std::vector<CoreMetrics> all;
  const CoreId cores = Core::current().cores();
  all.reserve(cores);
  for (CoreId core = 0; core < cores; ++core) {
    all.push_back(co_await submit_to(core, [] { return core_metrics(); }));
  }
  co_return all;
}

void write_metrics(MetricsText& out, std::span<const CoreMetrics> cores) {
  const auto label_of = [](M m) { return fmt::format("core=\"{}\"", m.core); };
  out.family(full_name("cpu_seconds_total"), kCounter,
             "CPU time of the core's thread, in user space and in the kernel.");
  for (M m : cores) {
    out.sample(label_of(m), static_cast<double>(m.busy) / static_cast<double>(kSecond));
  }
  for (const Family& family : kFamilies) {
    out.family(full_name(family.name), family.type, family.help);
    for (M m : cores) out.sample(label_of(m), family.value(m));
  }
  out.family(full_name("turn_seconds"), MetricType::histogram,
             "Duration of turns of the loop without their system call; one in 13 is measured.");
  for (M m : cores) out.sample(label_of(m), m.turns);
  out.family(full_name("memory_bytes"), kGauge, "Memory that the core holds for peers, by kind.");
  for (M m : cores) {
    for (std::size_t kind = 0; kind < kMemoryKinds; ++kind) {
      out.sample(fmt::format("core=\"{}\",kind=\"{}\"", m.core, kKinds[kind]),
                 std::uint64_t{m.memory[kind]});
    }
  }
  if (!cores.empty()) add_stalls(out, cores.front().stalls);
}

std::string prometheus_text(std::span<const CoreMetrics> cores, MetricsFormat format) {
  std::string text;
  MetricsText out(text, format);
  write_metrics(out, cores);
  out.finish();
  return text;
}

std::string escape_label(std::string_view value) {
  std::string escaped;
  escaped.reserve(value.size());
  for (const char c : value) {
    if (c == '\\' || c == '"') escaped += '\\';
    if (c == '\n') {
      escaped += "\\n";
    } else {
      escaped += c;
    }
  }
  return escaped;
}

void MetricsText::family(std::string_view name, MetricType type, std::string_view help) {
  constexpr std::array<std::string_view, 3> kTypes{"counter", "gauge", "histogram"};
  constexpr std::string_view kTotal = "_total";
  name_ = name;
  std::string_view family = name;
  // OpenMetrics names the family of a counter without the suffix of its samples.
  if (format_ == MetricsFormat::open_metrics && type == MetricType::counter &&
      family.ends_with(kTotal)) {
    family.remove_suffix(kTotal.size());
  }
  fmt::format_to(std::back_inserter(text_), "# HELP {0} {1}\n# TYPE {0} {2}\n", family, help,
                 kTypes[static_cast<std::size_t>(type)]);
}

void MetricsText::begin_sample(std::string_view labels, std::string_view suffix) {
  text_ += name_;
  text_ += suffix;
  if (!labels.empty()) fmt::format_to(std::back_inserter(text_), "{{{}}}", labels);
  text_ += ' ';
}

void MetricsText::sample(std::string_view labels, std::uint64_t value) {
  begin_sample(labels);
  fmt::format_to(std::back_inserter(text_), "{}\n", value);
}

void MetricsText::sample(std::string_view labels, double value) {
  begin_sample(labels);
  fmt::format_to(std::back_inserter(text_), "{}\n", value);
}

void MetricsText::sample(std::string_view labels, const HistogramSteps& steps) {
  const auto seconds = [](std::uint64_t nanoseconds) {
    return static_cast<double>(nanoseconds) / static_cast<double>(kSecond);
  };
  const std::string_view comma = labels.empty() ? "" : ",";
  for (unsigned bits = HistogramSteps::kFirst; bits <= HistogramSteps::kLast; ++bits) {
    begin_sample(fmt::format("{}{}le=\"{}\"", labels, comma, seconds(std::uint64_t{1} << bits)),
                 "_bucket");
    fmt::format_to(std::back_inserter(text_), "{}\n", steps.below[bits - HistogramSteps::kFirst]);
  }
  begin_sample(fmt::format("{}{}le=\"+Inf\"", labels, comma), "_bucket");
  fmt::format_to(std::back_inserter(text_), "{}\n", steps.count);
  begin_sample(labels, "_sum");
  fmt::format_to(std::back_inserter(text_), "{}\n", seconds(steps.sum));
  begin_sample(labels, "_count");
  fmt::format_to(std::back_inserter(text_), "{}\n", steps.count);
}

void MetricsText::finish() {
  if (format_ == MetricsFormat::open_metrics) text_ += "# EOF\n";
}

}  // namespace corelane::runtime
