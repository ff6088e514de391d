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

CoreMetrics core_metrics() noexcept {
  Core& core = Core::current();
  CoreMetrics metrics;
  metrics.core = core.id();
  metrics.loop = core.counters();
  metrics.ring = core.ring().counters();
  metrics.lanes = core.lanes().counters();
  timespec used{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  metrics.busy = Nanoseconds{used.tv_sec} * kSecond + used.tv_nsec;
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

std::string prometheus_text(std::span<const CoreMetrics> cores) {
  std::string text;
  MetricsText out(text);
  out.family(full_name("cpu_seconds_total"), kCounter,
             "CPU time of the core's thread, in user space and in the kernel.");
  for (M m : cores) {
    out.sample(fmt::format("core=\"{}\"", m.core),
               static_cast<double>(m.busy) / static_cast<double>(kSecond));
  }
  for (const Family& family : kFamilies) {
    out.family(full_name(family.name), family.type, family.help);
    for (M m : cores) out.sample(fmt::format("core=\"{}\"", m.core), family.value(m));
  }
  out.family(full_name("memory_bytes"), kGauge, "Memory that the core holds for peers, by kind.");
  for (M m : cores) {
    for (std::size_t kind = 0; kind < kMemoryKinds; ++kind) {
      out.sample(fmt::format("core=\"{}\",kind=\"{}\"", m.core, kKinds[kind]),
                 std::uint64_t{m.memory[kind]});
    }
  }
  if (!cores.empty()) add_stalls(out, cores.front().stalls);
  return text;
}

void MetricsText::family(std::string_view name, MetricType type, std::string_view help) {
  name_ = name;
  fmt::format_to(std::back_inserter(text_), "# HELP {0} {1}\n# TYPE {0} {2}\n", name, help,
                 type == MetricType::counter ? "counter" : "gauge");
}

void MetricsText::begin_sample(std::string_view labels) {
  text_ += name_;
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

}  // namespace corelane::runtime
