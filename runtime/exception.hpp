#pragma once
// Uncaught exceptions. Inside a task an exception crosses co_await, also between cores
// (runtime/task.hpp, runtime/submit.hpp). The root of a spawned task has no awaiting coroutine: an
// exception that leaves it is counted (Core::Counters::exceptions) and logged with the task's name
// and what(), at most LogReason::kLinesPerSecond a second, and the process goes on. This includes
// std::bad_alloc.

#include <exception>
#include <string>

namespace corelane::runtime {

class CancelScope;

// Thrown by a cancelled wait that cannot return an error: submit_to and blocking of a function that
// returns no Result, in a cancelled scope. with_timeout turns it into an error. A task of a
// cancelled group may end with it: this is expected, and neither counted nor
// logged.
class Cancelled : public std::exception {
 public:
  const char* what() const noexcept override { return "the wait was given up"; }
};

// what() of it, or that it has no text, or that its type is unknown.
std::string describe(const std::exception_ptr& exception);
// False for a null pointer, too.
bool is_cancelled(const std::exception_ptr& exception) noexcept;

namespace detail {

// At the root of a task: counts, if this is a core, and logs. In a catch block, if no exception is
// given.
[[gnu::cold, gnu::noinline]] void report_escaped(
    const char* task, std::exception_ptr exception = std::current_exception()) noexcept;
// The same in a catch block, unless it is Cancelled and the scope was. (It takes the exception
// itself: a temporary of the caller's would lie in each root's frame.)
[[gnu::cold, gnu::noinline]] void report_escaped(const CancelScope& scope) noexcept;

}  // namespace detail

}  // namespace corelane::runtime
