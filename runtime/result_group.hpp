#pragma once
// ResultGroup<T>: concurrent tasks whose results are collected, at most `running_max` at once.
//
//   ResultGroup<Result<Page>> group("fetch", {.running_max = 8});
//   for (const std::string& url : urls) group.spawn(fetch, url);       // arguments by value
//   Result<std::vector<Page>> pages = values_or_error(co_await group.join());
//
// It is a TaskGroup underneath: runtime/task_group.hpp has the rules. Tasks beyond `running_max`
// wait in their order; each takes its frame, and starts when another one ends.
//
// In a group that is cancelled (by cancel(), a deadline over join(), a failure) no task of Result
// starts any more, also none that is spawned later: its result is `cancelled`. A task of another
// type starts, and its first wait ends at once.
//
// Between spawn() and join() no error is passed up (RT_TRY) and nothing is thrown: an unjoined
// group ends the process. in_group<T>() joins on every way out.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "runtime/assert.hpp"
#include "runtime/awaitable.hpp"
#include "runtime/result.hpp"
#include "runtime/task.hpp"
#include "runtime/task_group.hpp"
#include "runtime/this_task.hpp"

namespace corelane::runtime {

struct ResultGroupOptions {
  std::size_t running_max = SIZE_MAX;
  // The first task that fails, by an exception or by a Result that holds an error, cancels the
  // group.
  bool cancel_on_failure = true;
};

template <class T>
class ResultGroup {
  static_assert(!std::is_reference_v<T>, "results are stored: return a value");

 public:
  explicit ResultGroup(const char* name, ResultGroupOptions options = {}) noexcept
      : group_(name), name_(name), options_(options) {
    RT_ASSERT(options.running_max > 0);
  }
  // `parent`: as of a TaskGroup.
  ResultGroup(const char* name, ResultGroupOptions options, CancelScope* parent) noexcept
      : group_(name, parent), name_(name), options_(options) {
    RT_ASSERT(options.running_max > 0);
  }
  ~ResultGroup() { RT_ASSERT(waiting_.empty()); }
  ResultGroup(const ResultGroup&) = delete;
  ResultGroup& operator=(const ResultGroup&) = delete;

  // Runs function(arguments...), a Task<T>, or has it wait.
  template <class Function, class... Arguments>
  void spawn(Function function, Arguments... arguments) {
    static_assert(
        detail::kOutlivesItsCall<Function>,
        "spawn a function or a lambda without captures: captures die before the task ends");
    static_assert(detail::Returns<Task<T>, Function, Arguments...>,
                  "the spawned function returns Task<T> of the group's T");
    waiting_.push_back({function(std::move(arguments)...), results_.size()});
    results_.emplace_back();
    start_waiting();
  }

  void cancel() noexcept { group_.cancel(); }
  bool cancelled() const noexcept { return group_.cancelled(); }
  CancelScope& scope() noexcept { return group_.scope(); }
  std::size_t running() const noexcept { return running_; }

  // Suspends until all have ended: their results in the order of spawn(), or throws what the first
  // one that threw did. The group is empty then. Cancelled: as TaskGroup::join.
  Task<std::vector<detail::NonVoid<T>>> join() {
    co_await group_.join();
    auto results = std::exchange(results_, {});
    if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
    std::vector<detail::NonVoid<T>> values;
    values.reserve(results.size());
    for (auto& result : results) values.push_back(std::move(*result));
    co_return values;
  }

 private:
  struct Waiting {
    Task<T> task;
    std::size_t index;
  };

  void start_waiting() {
    // A task that ends at once comes back here from within the loop.
    if (std::exchange(is_starting_, true)) return;
    while (running_ < options_.running_max && !waiting_.empty()) {
      Waiting next = std::move(waiting_.front());
      waiting_.pop_front();
      if (give_up(next.index)) continue;
      ++running_;
      group_.spawn(name_, run, this, std::move(next.task), next.index);
    }
    is_starting_ = false;
  }
  // Whether the task need not start any more.
  bool give_up(std::size_t index) {
    if constexpr (detail::IsResult<T>::value) {
      if (group_.cancelled()) {
        results_[index].emplace(fail(ErrorCode::cancelled));
        return true;
      }
    }
    return false;
  }
  static Task<void> run(ResultGroup* self, Task<T> task, std::size_t index) {
    bool is_bad = false;
    try {
      if constexpr (std::is_void_v<T>) {
        co_await std::move(task);
        self->results_[index].emplace();
      } else {
        T value = co_await std::move(task);
        if constexpr (detail::IsResult<T>::value) is_bad = !value.has_value();
        self->results_[index].emplace(std::move(value));
      }
    } catch (...) {
      is_bad = true;
      if (!self->thrown_) self->thrown_ = std::current_exception();
    }
    self->ended(is_bad);
  }
  void ended(bool is_bad) {
    if (is_bad && options_.cancel_on_failure) group_.cancel();
    --running_;
    start_waiting();
  }

  TaskGroup group_;
  const char* name_;
  ResultGroupOptions options_;
  std::size_t running_ = 0;
  bool is_starting_ = false;
  std::deque<Waiting> waiting_;
  std::vector<std::optional<detail::NonVoid<T>>> results_;
  std::exception_ptr thrown_;
};

// Runs body(group) with a ResultGroup<T> of its own, which belongs to the scope that this is
// awaited in, and joins the group however the body ends: the results of join(). If the body throws,
// the group is cancelled first, and the exception is thrown after the join.
//
//   auto body = [&](ResultGroup<Result<Page>>& group) -> Task<void> {
//     while (auto url = co_await next_url()) group.spawn(fetch, *url);
//   };
//   const auto pages = values_or_error(co_await in_group<Result<Page>>("fetch", {}, body));
template <class T, class Body>
[[nodiscard]] Task<std::vector<detail::NonVoid<T>>> in_group(const char* name,
                                                             ResultGroupOptions options,
                                                             Body body) {
  static_assert(detail::Returns<Task<void>, Body, ResultGroup<T>&>,
                "the body takes ResultGroup<T>& and returns Task<void>");
  CancelScope& scope = co_await this_task::scope();
  ResultGroup<T> group(name, options, &scope);
  std::exception_ptr thrown;
  try {
    co_await body(group);
  } catch (...) {
    thrown = std::current_exception();
  }
  if (!thrown) co_return co_await group.join();
  group.cancel();
  try {
    static_cast<void>(co_await group.join());
  } catch (...) {  // NOLINT(bugprone-empty-catch): the body failed first, its exception counts
  }
  std::rethrow_exception(thrown);
}

// The values of all, or the error of one that failed: the first in order whose error is not
// `cancelled`, which the others may be for its sake.
template <class T>
Result<std::vector<detail::NonVoid<T>>> values_or_error(std::vector<Result<T>> results) {
  const Error* failure = nullptr;
  for (const Result<T>& result : results) {
    if (result) continue;
    const bool is_cause = result.error().code != ErrorCode::cancelled;
    if (failure == nullptr || is_cause) failure = &result.error();
    if (is_cause) break;
  }
  if (failure != nullptr) return Unexpected{*failure};
  std::vector<detail::NonVoid<T>> values;
  values.reserve(results.size());
  for (Result<T>& result : results) {
    if constexpr (std::is_void_v<T>) {
      values.emplace_back();
    } else {
      values.push_back(std::move(*result));
    }
  }
  return values;
}

}  // namespace corelane::runtime
