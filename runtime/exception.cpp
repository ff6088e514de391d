#include "runtime/exception.hpp"

#include <fmt/format.h>

#include <utility>

#include "runtime/cancel.hpp"
#include "runtime/core.hpp"
#include "runtime/log.hpp"

namespace corelane::runtime {
namespace {

constinit LogReason kEscaped("exceptions of tasks");

}  // namespace

bool is_cancelled(const std::exception_ptr& exception) noexcept {
  if (exception == nullptr) return false;
  try {
    std::rethrow_exception(exception);
  } catch (const Cancelled&) {
    return true;
  } catch (...) {
    return false;
  }
}

std::string describe(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& error) {
    return *error.what() != '\0' ? error.what() : "an exception without a text";
  } catch (...) {
    return "an exception of unknown type";
  }
}

namespace detail {

void report_escaped(const char* task, std::exception_ptr exception) noexcept {
  if (Core* const core = Core::current_or_null()) core->count_exception();
  try {
    log_limited(kEscaped, LogLevel::error, [&] {
      return fmt::format("task {} ended with an exception: {}", task, describe(exception));
    });
  } catch (...) {
    return;  // no memory for the text: the count has to do
  }
}

void report_escaped(const CancelScope& scope) noexcept {
  std::exception_ptr exception = std::current_exception();
  // Cancelled is expected in a cancelled scope; any other exception is reported.
  if (scope.cancelled() && is_cancelled(exception)) return;
  report_escaped(scope.name(), std::move(exception));
}

}  // namespace detail

}  // namespace corelane::runtime
