// The settings of dispatch and of handlers.

#include "services/config/rows.hpp"
#include "services/dispatch/dispatch.hpp"

namespace corelane::services {
namespace {

constexpr config::Row<DispatchOptions> kSettings[] = {
    config::follows<&DispatchOptions::frame_bytes_max>("limits", "message_bytes_max"),
    config::follows<&DispatchOptions::subscriptions_per_session_max>(
        "limits", "subscriptions_per_session_max"),
};

// Settings of programs that have handlers of their own.
constexpr config::Row<DispatchOptions> kHandlerSettings[] = {
    config::count<&DispatchOptions::handlers_running_max>(
        {"limits", "handlers_max", "max-handlers"}, {1, 100'000'000},
        "most coroutine handlers that run on a core"),
    config::count<&DispatchOptions::handlers_per_session_max>(
        {"limits", "handlers_per_session_max", "max-handlers-per-session"}, {1, 100'000'000},
        "most coroutine handlers that run for one client"),
    config::bytes<&DispatchOptions::handler_bytes_max>(
        {"limits", "handler_bytes_max", "max-handler-bytes"}, {1, 1024 * config::kGiB},
        "most bytes of requests that coroutine handlers of a core hold; at least one message"),
};

}  // namespace

std::span<const config::Row<DispatchOptions>> Dispatch::settings() noexcept {
  return kSettings;
}

std::span<const config::Row<DispatchOptions>> Dispatch::handler_settings() noexcept {
  return kHandlerSettings;
}

}  // namespace corelane::services
