#pragma once
// Exceptions at the end of their way. Inside a task they cross co_await, also between cores
// (runtime/task.hpp, runtime/submit.hpp). Nobody awaits the root of a spawned task: what arrives
// there is counted (Core::Counters::exceptions), logged with the task's name and what(), at most
// LogReason::kLinesPerSecond a second, and the process goes on. std::bad_alloc is no exception to
// that.

#include <exception>
#include <string>

namespace corelane::runtime {

class CancelScope;

// Thrown by a wait that was given up and has no Result to say so with: submit_to and blocking of a
// function that returns no Result, in a scope that was cancelled. with_timeout makes an error of
// it; a task of a cancelled group that ends with it has done what it was asked to, and is neither
// counted nor logged.
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
// The same, unless it is Cancelled and the scope was.
[[gnu::cold, gnu::noinline]] void report_escaped(
    const CancelScope& scope, std::exception_ptr exception = std::current_exception()) noexcept;

}  // namespace detail

}  // namespace corelane::runtime
