#pragma once
// The HTTP status codes this server sends, or a client of ours has to tell apart (RFC 9110 section
// 15). A Status may hold any other number too: a response parser stores what the server sent.

#include <cstdint>
#include <string_view>

namespace corelane::net::http {

enum class Status : std::uint16_t {
  continue_ = 100,
  switching_protocols = 101,
  ok = 200,
  created = 201,
  accepted = 202,
  no_content = 204,
  partial_content = 206,
  not_modified = 304,
  bad_request = 400,
  unauthorized = 401,
  forbidden = 403,
  not_found = 404,
  method_not_allowed = 405,
  request_timeout = 408,
  conflict = 409,
  content_too_large = 413,
  uri_too_long = 414,
  range_not_satisfiable = 416,
  expectation_failed = 417,
  upgrade_required = 426,
  too_many_requests = 429,
  request_header_fields_too_large = 431,
  internal_server_error = 500,
  not_implemented = 501,
  service_unavailable = 503,
  gateway_timeout = 504,
  http_version_not_supported = 505,
};

// The registered phrase, "Unknown" for a code that is not in the list above.
constexpr std::string_view reason_phrase(Status status) noexcept {
  switch (status) {
    case Status::continue_:
      return "Continue";
    case Status::switching_protocols:
      return "Switching Protocols";
    case Status::ok:
      return "OK";
    case Status::created:
      return "Created";
    case Status::accepted:
      return "Accepted";
    case Status::no_content:
      return "No Content";
    case Status::partial_content:
      return "Partial Content";
    case Status::not_modified:
      return "Not Modified";
    case Status::bad_request:
      return "Bad Request";
    case Status::unauthorized:
      return "Unauthorized";
    case Status::forbidden:
      return "Forbidden";
    case Status::not_found:
      return "Not Found";
    case Status::method_not_allowed:
      return "Method Not Allowed";
    case Status::request_timeout:
      return "Request Timeout";
    case Status::conflict:
      return "Conflict";
    case Status::content_too_large:
      return "Content Too Large";
    case Status::uri_too_long:
      return "URI Too Long";
    case Status::range_not_satisfiable:
      return "Range Not Satisfiable";
    case Status::expectation_failed:
      return "Expectation Failed";
    case Status::upgrade_required:
      return "Upgrade Required";
    case Status::too_many_requests:
      return "Too Many Requests";
    case Status::request_header_fields_too_large:
      return "Request Header Fields Too Large";
    case Status::internal_server_error:
      return "Internal Server Error";
    case Status::not_implemented:
      return "Not Implemented";
    case Status::service_unavailable:
      return "Service Unavailable";
    case Status::gateway_timeout:
      return "Gateway Timeout";
    case Status::http_version_not_supported:
      return "HTTP Version Not Supported";
  }
  return "Unknown";
}

}  // namespace corelane::net::http
