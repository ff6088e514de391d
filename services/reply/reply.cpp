#include "services/reply/reply.hpp"

#include <fmt/format.h>

namespace corelane::services {
namespace {

using net::http::Status;
using protocol::ErrorCode;

// The groups of ErrorCode are hundreds (protocol/schema.fbs).
Status status_of(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::unknown_session:
      return Status::not_found;
    case ErrorCode::payload_too_large:
      return Status::content_too_large;
    case ErrorCode::unauthenticated:
      return Status::unauthorized;
    case ErrorCode::unauthorized:
      return Status::forbidden;
    case ErrorCode::internal:
      return Status::internal_server_error;
    default:
      break;
  }
  const unsigned group = static_cast<unsigned>(code) / 100;
  if (group == 5) return Status::too_many_requests;
  return group == 6 ? Status::service_unavailable : Status::bad_request;
}

}  // namespace

void answer_http(const ReplyTo& to, const HttpAnswer& answer) {
  const net::http::DeferredResponder responder(
      {.core = to.core, .server = to.http_server, .slot = to.slot, .generation = to.generation});
  if (answer.code == ErrorCode::none) {
    responder.respond(Status::ok, "application/json", answer.json);
  } else {
    responder.respond(status_of(answer.code), "application/json",
                      fmt::format(R"({{"error":"{}"}})", protocol::error_code_name(answer.code)));
  }
}

}  // namespace corelane::services
