#include "ws/close_log.hpp"

#include <fmt/format.h>

#include "net/peer_log.hpp"
#include "runtime/log.hpp"

namespace corelane::ws {

using runtime::LogReason;

namespace {

LogReason& reason_of(CloseCode code) noexcept {
  static constinit LogReason protocol_error{"WebSocket 1002"};
  static constinit LogReason invalid_data{"WebSocket 1007"};
  static constinit LogReason policy_violation{"WebSocket 1008"};
  static constinit LogReason too_large{"WebSocket 1009"};
  static constinit LogReason others{"WebSocket closed"};
  switch (code) {
    case CloseCode::protocol_error:
      return protocol_error;
    case CloseCode::invalid_payload:
      return invalid_data;
    case CloseCode::policy_violation:
      return policy_violation;
    case CloseCode::message_too_big:
      return too_large;
    default:
      return others;
  }
}

}  // namespace

void log_closed(net::Stream& stream, CloseCode code, std::string_view reason) {
  net::log_peer(stream, reason_of(code), runtime::LogLevel::info, [&] {
    return fmt::format("closed with {}{}{}", static_cast<unsigned>(code),
                       reason.empty() ? "" : ", ", reason);
  });
}

}  // namespace corelane::ws
