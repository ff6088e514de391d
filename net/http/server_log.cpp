#include "net/http/server_log.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "net/http/server.hpp"
#include "net/peer_log.hpp"
#include "runtime/log.hpp"

namespace corelane::net::http {

using runtime::LogLevel;
using runtime::LogReason;

namespace {

struct Kind {
  LogReason& reason;
  LogLevel level;
};

// A reason for each status, so that none hides another.
Kind kind_of(Status status) noexcept {
  static constinit LogReason malformed{"HTTP 400"};
  static constinit LogReason forbidden{"HTTP 403"};
  static constinit LogReason unserved{"HTTP 404, 405, 426, 501"};
  static constinit LogReason too_late{"HTTP 408"};
  static constinit LogReason too_large{"HTTP 413"};
  static constinit LogReason line_too_long{"HTTP 414"};
  static constinit LogReason head_too_large{"HTTP 431"};
  static constinit LogReason failed{"HTTP 500"};
  static constinit LogReason no_room{"HTTP 503"};
  static constinit LogReason others{"HTTP refusal"};
  switch (status) {
    case Status::bad_request:
      return {malformed, LogLevel::info};
    case Status::forbidden:
      return {forbidden, LogLevel::info};
    case Status::not_found:
    case Status::method_not_allowed:
    case Status::upgrade_required:
    case Status::not_implemented:
      return {unserved, LogLevel::debug};
    case Status::request_timeout:
      return {too_late, LogLevel::info};
    case Status::content_too_large:
      return {too_large, LogLevel::info};
    case Status::uri_too_long:
      return {line_too_long, LogLevel::info};
    case Status::request_header_fields_too_large:
      return {head_too_large, LogLevel::info};
    case Status::internal_server_error:
      return {failed, LogLevel::warning};
    case Status::service_unavailable:
      return {no_room, LogLevel::info};
    default:
      return {others, LogLevel::info};
  }
}

constexpr std::size_t kQuotedBytesMax = 256;  // of what a peer sent

}  // namespace

void Server::count_refusal(Status status) {
  const auto found = std::ranges::find(refusals_, status, &Refusals::status);
  if (found != refusals_.end()) {
    ++found->count;
  } else {
    refusals_.push_back({.status = status, .count = 1});
  }
}

void Server::log_refusal(ServerConnection& connection, Stream& stream, Status status,
                         std::string_view reason) {
  count_refusal(status);
  const Kind kind = kind_of(status);
  log_peer(stream, kind.reason, kind.level, [&] {
    std::string text = fmt::format("{} {}{}{}", static_cast<unsigned>(status),
                                   reason_phrase(status), reason.empty() ? "" : ", ", reason);
    // One that was decided later has nothing of its request left here.
    if (status == Status::forbidden && connection.exchange == nullptr) {
      const Request& request = connection.parser.request();
      text += fmt::format(" (Origin: {}, Host: {})",
                          single_value(request.fields, "origin").substr(0, kQuotedBytesMax),
                          single_value(request.fields, "host").substr(0, kQuotedBytesMax));
    }
    return text;
  });
}

void log_no_room(Stream& stream, std::string_view why) {
  static constinit LogReason reason{"HTTP 503 at once"};
  log_peer(stream, reason, LogLevel::warning, [&] { return fmt::format("503, {}", why); });
}

void log_stalled(Stream& stream) {
  static constinit LogReason reason{"HTTP peer that does not read"};
  log_peer(stream, reason, LogLevel::info,
           [] { return std::string{"cut off, it takes nothing of its answer"}; });
}

void log_handler_failure(Stream* stream, std::string_view method, std::string_view path,
                         std::string_view what) {
  static constinit LogReason reason{"HTTP handler that throws"};
  const auto text = [&] {
    return fmt::format("500, the handler of {} {} has thrown: {}", method,
                       path.substr(0, kQuotedBytesMax), what);
  };
  if (stream != nullptr) {
    log_peer(*stream, reason, LogLevel::warning, text);
  } else {
    runtime::log_limited(reason, LogLevel::warning, text);
  }
}

}  // namespace corelane::net::http
