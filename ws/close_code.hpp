#pragma once
// Status codes of the close frame (RFC 6455 section 7.4 and the IANA registry "WebSocket Close Code
// Number"), and which of them may travel in a frame.

#include <cstdint>

namespace corelane::ws {

enum class CloseCode : std::uint16_t {
  normal = 1000,
  going_away = 1001,
  protocol_error = 1002,
  unsupported_data = 1003,
  no_status = 1005,  // local only: the peer's close frame was empty
  abnormal = 1006,   // local only: the stream ended without a close frame
  invalid_payload = 1007,
  policy_violation = 1008,
  message_too_big = 1009,
  mandatory_extension = 1010,
  internal_error = 1011,
  service_restart = 1012,
  try_again_later = 1013,
  bad_gateway = 1014,
  tls_handshake = 1015,  // local only
};

// True for codes that a close frame may carry: 1000-1003, 1007-1014, and 3000-4999, which belong to
// registered libraries and to applications.
constexpr bool may_travel(std::uint16_t code) noexcept {
  if (code >= 3000) return code <= 4999;
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014);
}
constexpr bool may_travel(CloseCode code) noexcept {
  return may_travel(static_cast<std::uint16_t>(code));
}

}  // namespace corelane::ws
