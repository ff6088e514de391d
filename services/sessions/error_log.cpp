// What is logged of the Errors that clients get.

#include <fmt/format.h>

#include "net/peer_log.hpp"
#include "runtime/log.hpp"
#include "services/sessions/sessions.hpp"

namespace corelane::services {

using protocol::ErrorCode;
using runtime::LogLevel;
using runtime::LogReason;

namespace {

struct Kind {
  LogReason& reason;
  LogLevel level;
};

Kind kind_of(ErrorCode code) noexcept {
  static constinit LogReason malformed{"Error malformed"};
  static constinit LogReason too_large{"Error too_large"};
  static constinit LogReason client_limit{"Error of a client's limit"};
  static constinit LogReason slow_reader{"Error slow_reader"};
  static constinit LogReason timed_out{"Error timed_out"};
  static constinit LogReason server_limit{"Error of the server's limit"};
  static constinit LogReason internal{"Error internal"};
  static constinit LogReason others{"Error"};
  switch (code) {
    case ErrorCode::malformed_frame:
    case ErrorCode::malformed_message:
    case ErrorCode::malformed_payload:
      return {malformed, LogLevel::info};
    case ErrorCode::frame_too_large:
    case ErrorCode::payload_too_large:
      return {too_large, LogLevel::info};
    case ErrorCode::too_many_subscriptions:
    case ErrorCode::too_many_channels:
    case ErrorCode::rate_limited:
    case ErrorCode::quota_invalid:
      return {client_limit, LogLevel::info};
    case ErrorCode::slow_reader:
      return {slow_reader, LogLevel::info};
    case ErrorCode::timed_out:
      return {timed_out, LogLevel::info};
    case ErrorCode::limit_exceeded:
    case ErrorCode::overloaded:
    case ErrorCode::unavailable:
      return {server_limit, LogLevel::warning};
    case ErrorCode::internal:
      return {internal, LogLevel::warning};
    default:
      return {others, LogLevel::debug};
  }
}

}  // namespace

void log_error(net::Stream& stream, ErrorCode code, std::string_view text) {
  const Kind kind = kind_of(code);
  net::log_peer(stream, kind.reason, kind.level, [&] {
    return fmt::format("Error {}, {}", protocol::fbs::EnumNameErrorCode(code), text);
  });
}

}  // namespace corelane::services
