// Coroutines: what a resume, a call and a spawn cost, and a turn of the loop with one of them.

#include <coroutine>

#include "perf/micro/null_core.hpp"
#include "perf/micro/workload.hpp"
#include "runtime/await.hpp"
#include "runtime/task.hpp"
#include "runtime/task_group.hpp"

namespace corelane::perf {
namespace {

using runtime::Task;

// Suspends and stores its handle, with which the benchmark resumes it.
class Park {
 public:
  explicit Park(std::coroutine_handle<>& slot) noexcept : slot_(slot) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> handle) noexcept { slot_ = handle; }
  void await_resume() const noexcept {}

 private:
  std::coroutine_handle<>& slot_;
};

// A resume and the suspension after it, of a coroutine that counts.
class Resume final : public Workload {
 public:
  Resume() : task_(count(handle_, resumed_, stop_)) { task_.start(nullptr, {}); }
  ~Resume() override {
    stop_ = true;
    handle_.resume();
  }
  std::uint64_t run(std::uint64_t operations) override {
    const std::uint64_t before = resumed_;
    for (std::uint64_t i = 0; i < operations; ++i) handle_.resume();
    return resumed_ - before;
  }

 private:
  static Task<void> count(std::coroutine_handle<>& handle, std::uint64_t& resumed,
                          const bool& stop) {
    for (;;) {
      co_await Park{handle};
      if (stop) co_return;
      ++resumed;
    }
  }

  NullCore core_;
  std::coroutine_handle<> handle_;
  std::uint64_t resumed_ = 0;
  bool stop_ = false;
  Task<void> task_;
};

// A task that is made, runs through and gives its frame back. The calls must not be inlined: then
// there would be no frame.
class Call final : public Workload {
 public:
  explicit Call(bool parks) : parks_(parks) {}
  std::uint64_t run(std::uint64_t operations) override {
    std::uint64_t sum = 0;
    auto task = parks_ ? call_parking(handle_, operations, sum) : call(operations, sum);
    bool done = task.start(nullptr, std::noop_coroutine());
    while (!done) {
      handle_.resume();
      done = done_;
    }
    return sum;
  }

 private:
  [[gnu::noinline]] static Task<std::uint64_t> answer(std::uint64_t of) { co_return of + 1; }
  [[gnu::noinline]] static Task<std::uint64_t> answer_later(std::coroutine_handle<>& handle,
                                                            std::uint64_t of) {
    co_await Park{handle};
    co_return of + 1;
  }
  Task<void> call(std::uint64_t operations, std::uint64_t& sum) {
    for (std::uint64_t i = 0; i < operations; ++i) sum += co_await answer(i);
  }
  Task<void> call_parking(std::coroutine_handle<>& handle, std::uint64_t operations,
                          std::uint64_t& sum) {
    done_ = false;
    for (std::uint64_t i = 0; i < operations; ++i) sum += co_await answer_later(handle, i);
    done_ = true;
  }

  NullCore core_;
  std::coroutine_handle<> handle_;
  bool parks_;
  bool done_ = false;
};

// Into a group, running through: a root frame, the task's frame, a scope.
class Spawn final : public Workload {
 public:
  std::uint64_t run(std::uint64_t operations) override {
    runtime::TaskGroup group("spawned");
    std::uint64_t sum = 0;
    for (std::uint64_t i = 0; i < operations; ++i) group.spawn("spawned", add, &sum, i);
    return sum;
  }

 private:
  [[gnu::noinline]] static Task<void> add(std::uint64_t* sum, std::uint64_t value) {
    *sum += value;
    co_return;
  }

  NullCore core_;
};

// A group of `tasks` that are suspended together and then joined; divide by `tasks` for one.
class Group final : public Workload {
 public:
  explicit Group(std::size_t tasks) : tasks_(tasks) {}
  std::uint64_t run(std::uint64_t operations) override {
    std::uint64_t ended = 0;
    for (std::uint64_t i = 0; i < operations; ++i) {
      auto group = spawn_and_join(tasks_, ended);
      bool is_done = group.start(nullptr, std::noop_coroutine());
      while (!is_done) {
        core_.turn();
        is_done = is_joined_;
      }
    }
    return ended;
  }

 private:
  [[gnu::noinline]] static Task<void> wait(std::uint64_t* ended) {
    co_await runtime::Yield();
    ++*ended;
  }
  Task<void> spawn_and_join(std::size_t tasks, std::uint64_t& ended) {
    is_joined_ = false;
    runtime::TaskGroup group("group");
    for (std::size_t i = 0; i < tasks; ++i) group.spawn("task", wait, &ended);
    co_await group.join();
    is_joined_ = true;
  }

  NullCore core_;
  std::size_t tasks_;
  bool is_joined_ = false;
};

// A task of a group, which runs through, and the join.
class SpawnAndJoin final : public Workload {
 public:
  std::uint64_t run(std::uint64_t operations) override {
    std::uint64_t sum = 0;
    auto task = spawn_and_join(operations, sum);
    RT_ASSERT(task.start(nullptr, std::noop_coroutine()));
    return sum;
  }

 private:
  [[gnu::noinline]] static Task<void> add(std::uint64_t* sum, std::uint64_t value) {
    *sum += value;
    co_return;
  }
  static Task<void> spawn_and_join(std::uint64_t operations, std::uint64_t& sum) {
    for (std::uint64_t i = 0; i < operations; ++i) {
      runtime::TaskGroup group("one");
      group.spawn("task", add, &sum, i);
      co_await group.join();
    }
  }

  NullCore core_;
};

// Whole turns of the loop over a ring without a kernel; `ready` coroutines yield in each.
class Turn final : public Workload {
 public:
  explicit Turn(std::size_t ready) : group_("turning") {
    for (std::size_t i = 0; i < ready; ++i) group_.spawn("turning", yield, &resumed_, &stop_);
  }
  ~Turn() override {
    stop_ = true;
    while (group_.running() != 0) core_.turn();
  }
  std::uint64_t run(std::uint64_t operations) override {
    const std::uint64_t before = resumed_;
    for (std::uint64_t i = 0; i < operations; ++i) core_.turn();
    return operations + resumed_ - before;
  }

 private:
  static Task<void> yield(std::uint64_t* resumed, const bool* stop) {
    while (!*stop) {
      ++*resumed;
      co_await runtime::Yield();
    }
  }

  NullCore core_;
  std::uint64_t resumed_ = 0;
  bool stop_ = false;
  runtime::TaskGroup group_;
};

}  // namespace

void add_task_cases(Cases& cases) {
  cases.add<Resume>({.name = "task/resume", .counted = 10'000});
  cases.add<Call>({.name = "task/call/suspends:0", .counted = 10'000}, false);
  cases.add<Call>({.name = "task/call/suspends:1", .counted = 10'000}, true);
  cases.add<Spawn>({.name = "task/spawn", .counted = 10'000});
  cases.add<SpawnAndJoin>({.name = "task/spawn_and_join", .counted = 10'000});
  for (const std::size_t tasks : {std::size_t{1}, std::size_t{1000}}) {
    cases.add<Group>({.name = "task/group/tasks:" + std::to_string(tasks),
                      .items = tasks,
                      .counted = tasks == 1 ? 1000u : 20u},
                     tasks);
  }
  for (const std::size_t ready : {0u, 1u, 64u}) {
    cases.add<Turn>(
        {.name = "core/turn/ready:" + std::to_string(ready), .items = ready == 0 ? 1 : ready},
        ready);
  }
}

}  // namespace corelane::perf
