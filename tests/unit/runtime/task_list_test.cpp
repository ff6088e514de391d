// Goal: each suspended task is listed once, under its name and its group, with what it waits for
// and for how long, also when it is cancelled and does not end; a task that has ended is not. The
// metrics are what the parts of a core say, as text that Prometheus reads. Method: tasks that wait
// for each kind of thing, over io_uring and in the simulation.
#include "runtime/task_list.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/await.hpp"
#include "runtime/blocking.hpp"
#include "runtime/channel.hpp"
#include "runtime/combine.hpp"
#include "runtime/core_channel.hpp"
#include "runtime/event.hpp"
#include "runtime/metrics.hpp"
#include "runtime/mutex.hpp"
#include "runtime/reply.hpp"
#include "runtime/submit.hpp"
#include "runtime/task_group.hpp"
#include "runtime/timeout.hpp"
#include "tests/support/on_cores.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::run_on_cores;

constexpr Nanoseconds kMinute = 60 * kSecond;
constexpr Nanoseconds kHour = 60 * kMinute;

// The one task of this name; fails if there is another number of them.
ListedTask find(const TaskList& list, std::string_view name) {
  ListedTask found;
  int count = 0;
  for (const ListedTask& task : list.tasks) {
    if (task.name != name) continue;
    found = task;
    ++count;
  }
  EXPECT_EQ(count, 1) << name << " in\n" << describe(list);
  return found;
}
TaskWait wait_of(const TaskList& list, std::string_view name) {
  const ListedTask task = find(list, name);
  EXPECT_EQ(task.waits.size(), 1u) << describe(list);
  return task.waits.empty() ? TaskWait{} : task.waits.front();
}
bool lists(const TaskList& list, std::string_view name) {
  return std::ranges::any_of(list.tasks, [&](const ListedTask& task) { return task.name == name; });
}

Task<void> sleeps(Nanoseconds duration) {
  co_await sleep_for(duration);
}
Task<void> receives(Channel<int>* channel) {
  static_cast<void>(co_await channel->receive());
}
Task<void> locks(Mutex* mutex) {
  const auto lock = co_await mutex->lock();
}
Task<void> asks(ReplyName* name) {
  static_cast<void>(co_await ask<int>([name](ReplyName to) { *name = to; }));
}
Task<void> runs_a_task_on(CoreId core) {
  co_await submit_to(core, [] { return sleeps(kHour); });
}
Task<void> calls_a_task_on(CoreId core, Nanoseconds duration) {
  co_await call_on(core, [duration] { return sleeps(duration); });
}
Task<void> receives_from_cores(CoreChannel<int>* channel) {
  static_cast<void>(co_await channel->receive());
}

TEST(TaskList, NamesEachTaskItsGroupAndWhatItWaitsFor) {
  run_on_cores(2, []() -> Task<void> {
    Channel<int> channel(1);
    CoreChannel<int> from_cores(1);
    const CoreSender<int> sender = from_cores.sender(1);
    Mutex mutex;
    EXPECT_TRUE(mutex.try_lock());
    ReplyName reply;
    TaskGroup group("waiters");
    group.spawn("sleeper", sleeps, kHour);
    group.spawn("receiver", receives, &channel);
    group.spawn("locker", locks, &mutex);
    group.spawn("asker", asks, &reply);
    group.spawn("submitter", runs_a_task_on, CoreId{1});
    group.spawn("core receiver", receives_from_cores, &from_cores);
    group.spawn("ended", sleeps, Nanoseconds{0});
    co_await sleep_for(50 * kMillisecond);

    const TaskList list = list_tasks();
    EXPECT_EQ(list.core, 0);
    EXPECT_FALSE(list.is_cut);
    EXPECT_FALSE(lists(list, "ended"));
    const TaskWait sleep = wait_of(list, "sleeper");
    EXPECT_EQ(sleep.kind, WaitKind::timer);
    EXPECT_GT(sleep.at - list.at, kHour - kMinute);
    EXPECT_GE(sleep.waited, 45 * kMillisecond);
    EXPECT_LE(sleep.waited, kMinute);
    EXPECT_EQ(wait_of(list, "receiver").kind, WaitKind::queue);
    EXPECT_EQ(std::string_view(wait_of(list, "receiver").what), "channel, to receive");
    EXPECT_EQ(std::string_view(wait_of(list, "locker").what), "mutex");
    EXPECT_EQ(wait_of(list, "asker").kind, WaitKind::reply);
    EXPECT_EQ(wait_of(list, "submitter").kind, WaitKind::core);
    EXPECT_EQ(wait_of(list, "submitter").core, 1);
    EXPECT_NE(std::string_view(wait_of(list, "core receiver").what).find("channel"),
              std::string_view::npos);
    for (const ListedTask& task : list.tasks) {
      if (std::string_view(task.name) != "main") {
        EXPECT_EQ(std::string_view(task.group), "waiters");
      }
    }
    EXPECT_EQ(std::string_view(find(list, "main").group), "core");

    // The task that runs there for this core is listed there.
    const std::vector<TaskList> all = co_await list_all_tasks();
    EXPECT_EQ(all.size(), 2u);
    EXPECT_EQ(all[1].core, 1);
    EXPECT_EQ(wait_of(all[1], "submitter").kind, WaitKind::timer);
    EXPECT_EQ(std::string_view(find(all[1], "submitter").group), "submit_to");

    group.cancel();
    mutex.unlock();
    co_await group.join();
    EXPECT_EQ(list_tasks().tasks.size(), 1u) << describe(list_tasks());
    co_await log_all_tasks();
  });
}

// How long a test takes to its next line is the machine's.
std::string without_numbers(std::string_view text) {
  std::string result;
  bool in_number = false;
  for (const char letter : text) {
    const bool was_in_number =
        std::exchange(in_number, std::isdigit(static_cast<unsigned char>(letter)) != 0 ||
                                     (in_number && letter == '.'));
    if (!in_number) {
      result += letter;
    } else if (!was_in_number) {
      result += '#';
    }
  }
  return result;
}

// A join, a deadline and several waits at once belong to the task that awaits them.
Task<void> joins() {
  TaskGroup group("inner");
  group.spawn("child", sleeps, kHour);
  group.spawn("other child", sleeps, kHour);
  co_await group.join();
}
Task<void> waits_for_both(Channel<int>* channel) {
  static_cast<void>(
      co_await with_timeout(2 * kHour, when_all(sleep_for(kHour), channel->receive())));
}

TEST(TaskList, ShowsJoinsDeadlinesAndSeveralWaitsWithTheirTask) {
  run_on_cores(1, []() -> Task<void> {
    Channel<int> channel(1);
    TaskGroup group("outer");
    group.spawn("joiner", joins);
    group.spawn("both", waits_for_both, &channel);
    co_await Yield{};
    const TaskList list = list_tasks();
    const TaskWait join = wait_of(list, "joiner");
    EXPECT_EQ(join.kind, WaitKind::group);
    EXPECT_EQ(std::string_view(join.what), "inner");
    EXPECT_EQ(join.tasks, 2u);
    EXPECT_EQ(find(list, "child").depth, find(list, "joiner").depth + 1);
    EXPECT_EQ(find(list, "both").waits.size(), 2u);
    const std::string text = describe(list);
    EXPECT_NE(text.find("joiner: waits for the 2 tasks of inner\n"), std::string::npos) << text;
    EXPECT_NE(
        without_numbers(text).find("\n    other child: waits for timer with # s left, for # s\n"),
        std::string::npos)
        << text;
    // Also once they are cancelled, until they end.
    group.cancel();
    EXPECT_TRUE(find(list_tasks(), "child").is_cancelled);
    co_await group.join();
    EXPECT_EQ(list_tasks().tasks.size(), 1u);
  });
}

Task<void> holds_out(Event* end) {
  static_cast<void>(co_await shield(kHour, end->wait()));
}
Task<void> calls_out() {
  co_await calls_a_task_on(1, 20 * kMillisecond);
}

TEST(TaskList, ListsWhatIsCancelledAndDoesNotEnd) {
  run_on_cores(2, []() -> Task<void> {
    Event end;
    TaskGroup group("stubborn");
    group.spawn("shielded", holds_out, &end);
    group.spawn("caller", calls_out);
    group.cancel();
    group.spawn("late", calls_out);
    co_await Yield{};
    const TaskList list = list_tasks();
    EXPECT_EQ(wait_of(list, "caller").kind, WaitKind::core);
    EXPECT_EQ(wait_of(list, "late").kind, WaitKind::core);
    EXPECT_TRUE(find(list, "caller").is_cancelled);
    // The shielded part is a task to itself.
    int shielded = 0;
    for (const ListedTask& task : list.tasks) {
      if (std::string_view(task.name) != "shielded") continue;
      ++shielded;
      if (task.waits.empty()) continue;
      EXPECT_EQ(std::string_view(task.waits[0].what), "event");
      EXPECT_FALSE(task.is_cancelled);
    }
    EXPECT_EQ(shielded, 2) << describe(list);
    end.set();
    co_await group.join();
  });
}

TEST(TaskList, IsCutAtItsLimit) {
  run_on_cores(1, []() -> Task<void> {
    TaskGroup group("many");
    for (int i = 0; i < 100; ++i) group.spawn("one of many", sleeps, kHour);
    EXPECT_EQ(list_tasks().tasks.size(), 101u);
    const TaskList cut = list_tasks(10);
    EXPECT_EQ(cut.tasks.size(), 10u);
    EXPECT_TRUE(cut.is_cut);
    EXPECT_NE(describe(cut).find("more that are left out"), std::string::npos);
    group.cancel();
    co_await group.join();
  });
}

TEST(TaskList, OfATaskWithVeryManyWaitsIsCut) {
  run_on_cores(1, []() -> Task<void> {
    TaskGroup group("wide");
    const auto waits = [](std::size_t many) -> Task<void> {
      std::vector<Task<void>> parts;
      for (std::size_t i = 0; i < many; ++i) parts.push_back(sleeps(kHour));
      co_await when_all(std::move(parts));
    };
    group.spawn("first", sleeps, kHour);
    group.spawn("narrow", waits, kTaskWaitsMax);
    EXPECT_FALSE(list_tasks().is_cut);
    group.spawn("wide", waits, kTaskWaitsMax + 1);
    const TaskList cut = list_tasks();
    EXPECT_TRUE(cut.is_cut);
    EXPECT_EQ(find(cut, "wide").waits.size(), kTaskWaitsMax);
    EXPECT_EQ(cut.tasks.size(), 4u);
    EXPECT_EQ(core_metrics().tasks, 4u);
    // The newest is walked first; then time is up for the others.
    group.spawn("very wide", waits, 4 * kListedTasksMax + 1);
    const TaskList ended = list_tasks();
    EXPECT_TRUE(ended.is_cut);
    EXPECT_FALSE(lists(ended, "first"));
    EXPECT_LT(core_metrics().tasks, 5u);
    group.cancel();
    co_await group.join();
  });
}

// A group may be made for another core, and may outlive the core that used it.
TEST(TaskList, AGroupThatOutlivesItsCoreOrWasMadeElsewhereIsNoTrouble) {
  TaskGroup outside("outside");
  run_on_cores(2, [&outside]() -> Task<void> {
    co_await call_on(1, [&outside]() -> Task<void> {
      outside.spawn("inside", sleeps, kHour);
      EXPECT_EQ(wait_of(list_tasks(), "inside").kind, WaitKind::timer);
      outside.cancel();
      co_await outside.join();
      EXPECT_FALSE(lists(list_tasks(), "inside"));
    });
    EXPECT_FALSE(lists(list_tasks(), "inside"));
  });
}

Task<void> waits_for_input(int descriptor) {
  OperationAwaiter operation("poll", {.number = descriptor}, [&](Ring& ring, Token token) {
    ring.poll({.number = descriptor}, POLLIN, token);
  });
  static_cast<void>(co_await operation);
}

TEST(TaskList, NamesTheOperationAndItsDescriptor) {
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe(pipe.data()), 0);
  run_on_cores(1, [&pipe]() -> Task<void> {
    TaskGroup group("operations");
    group.spawn("poller", waits_for_input, pipe[0]);
    const TaskWait wait = wait_of(list_tasks(), "poller");
    EXPECT_EQ(wait.kind, WaitKind::operation);
    EXPECT_EQ(wait.descriptor.number, pipe[0]);
    EXPECT_EQ(describe(wait, 0), "poll of descriptor " + std::to_string(pipe[0]) + ", for 0.000 s");
    group.cancel();
    // It ends by its completion, and is listed until then.
    EXPECT_EQ(wait_of(list_tasks(), "poller").kind, WaitKind::operation);
    co_await group.join();
  });
  ::close(pipe[0]);
  ::close(pipe[1]);
}

// --- Metrics

TEST(Metrics, AreWhatThePartsOfACoreSay) {
  run_on_cores(2, []() -> Task<void> {
    TaskGroup group("waiters");
    co_await Yield{};
    const CoreMetrics before = core_metrics();
    for (int i = 0; i < 10; ++i) group.spawn("sleeper", sleeps, kHour);
    Core::current().memory().add(MemoryKind::queued, 4711);
    const CoreMetrics during = core_metrics();
    Core::current().memory().remove(MemoryKind::queued, 4711);
    EXPECT_EQ(during.timers, before.timers + 10);
    EXPECT_EQ(during.tasks, before.tasks + 10);
    if (FramePool::kEnabled) {
      EXPECT_GE(during.frame_bytes, before.frame_bytes + std::size_t{10} * 2 * 64);  // at the least
    }
    EXPECT_EQ(during.memory[static_cast<std::size_t>(MemoryKind::queued)], 4711u);
    EXPECT_GT(during.loop.turns, 0u);
    group.cancel();
    EXPECT_EQ(core_metrics().ready, 10u);
    co_await group.join();
    EXPECT_EQ(core_metrics().frame_bytes, before.frame_bytes);
    EXPECT_EQ(core_metrics().tasks, before.tasks);

    co_await call_on(1, [] {});  // counted when it has been delivered
    const std::vector<CoreMetrics> all = co_await all_metrics();
    EXPECT_EQ(all.size(), 2u);
    EXPECT_EQ(all[1].core, 1);
    EXPECT_GT(all[1].lanes.received, 0u);
  });
}

// Each line is a comment or "name{labels} value"; each family is announced once, before its
// samples.
TEST(Metrics, AreTextThatPrometheusReads) {
  std::vector<CoreMetrics> cores(2);
  cores[1].core = 1;
  cores[1].loop.turns = 42;
  cores[1].busy = 1'500'000'000;
  const std::string text = prometheus_text(cores);
  std::vector<std::string> families;
  bool is_histogram = false;
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::size_t end = rest.find('\n');
    ASSERT_NE(end, std::string_view::npos);
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end + 1);
    if (line.starts_with("# HELP ")) {
      families.emplace_back(line.substr(7, line.find(' ', 7) - 7));
      EXPECT_EQ(std::ranges::count(families, families.back()), 1) << line;
      ASSERT_TRUE(rest.starts_with("# TYPE " + families.back() + " ")) << line;
      const std::string_view type = rest.substr(0, rest.find('\n'));
      EXPECT_EQ(type.ends_with(" counter"), families.back().ends_with("_total")) << line;
      is_histogram = type.ends_with(" histogram");
    } else if (!line.starts_with("# TYPE ")) {
      ASSERT_FALSE(families.empty());
      std::string_view behind = line.substr(std::min(line.size(), families.back().size()));
      if (is_histogram) behind.remove_prefix(behind.find('{'));
      EXPECT_TRUE(line.starts_with(families.back())) << line;
      EXPECT_TRUE(behind.starts_with('{') || behind.starts_with(' ')) << line;
    }
  }
  EXPECT_NE(text.find("\ncorelane_runtime_turns_total{core=\"0\"} 0\n"), std::string::npos);
  EXPECT_NE(text.find("\ncorelane_runtime_turns_total{core=\"1\"} 42\n"), std::string::npos);
  EXPECT_NE(text.find("\ncorelane_runtime_cpu_seconds_total{core=\"1\"} 1.5\n"), std::string::npos);
  EXPECT_NE(text.find("\ncorelane_runtime_memory_bytes{core=\"1\",kind=\"handlers\"} 0\n"),
            std::string::npos);
}

TEST(Metrics, AreOpenMetricsWhereThatIsAskedFor) {
  std::vector<CoreMetrics> cores(1);
  Histogram turns;
  turns.record(300);
  turns.record(5'000'000'000);
  cores[0].turns = HistogramSteps(turns);
  const std::string text = prometheus_text(cores, MetricsFormat::open_metrics);
  EXPECT_NE(text.find("\n# TYPE corelane_runtime_turns counter\n"), std::string::npos);
  EXPECT_NE(text.find("\ncorelane_runtime_turns_total{core=\"0\"} 0\n"), std::string::npos);
  const std::string name = "\ncorelane_runtime_turn_seconds";
  EXPECT_NE(text.find(name + "_bucket{core=\"0\",le=\"2.56e-07\"} 0\n"), std::string::npos);
  EXPECT_NE(text.find(name + "_bucket{core=\"0\",le=\"5.12e-07\"} 1\n"), std::string::npos);
  EXPECT_NE(text.find(name + "_bucket{core=\"0\",le=\"+Inf\"} 2\n"), std::string::npos);
  EXPECT_NE(text.find(name + "_sum{core=\"0\"} 5.0000003\n"), std::string::npos);
  EXPECT_NE(text.find(name + "_count{core=\"0\"} 2\n"), std::string::npos);
  EXPECT_TRUE(text.ends_with("\n# EOF\n"));
}

TEST(Metrics, MeasureSomeTurns) {
  run_on_cores(1, []() -> Task<void> {
    for (std::uint32_t i = 0; i < 10 * Core::kMeasuredEvery; ++i) co_await Yield{};
    const std::uint64_t turns = Core::current().counters().turns;
    EXPECT_EQ(Core::current().turn_times().count(), (turns - 1) / Core::kMeasuredEvery);
  });
}

TEST(Metrics, CountCallsInTheBlockingPool) {
  run_on_cores(1, []() -> Task<void> {
    EXPECT_EQ(core_metrics().blocking_calls, 0u);
    auto [value, during] = co_await when_all(blocking([] { return 1; }), []() -> Task<std::size_t> {
      co_return core_metrics().blocking_calls;
    }());
    EXPECT_EQ(value, 1);
    EXPECT_EQ(during, 1u);
    EXPECT_EQ(core_metrics().blocking_calls, 0u);
  });
}

}  // namespace
}  // namespace corelane
