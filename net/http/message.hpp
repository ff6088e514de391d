#pragma once
// An HTTP/1.1 request as views (RFC 9110, RFC 9112). The interface between the parser, which owns
// the bytes, and the router, the WebSocket handshake and handlers, which read them. All views are a
// loan: they are valid until the parser is fed again or destroyed, so never across a co_await.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace net::http {

struct Field {
  std::string_view name;   // as sent; compare with field_name_equal()
  std::string_view value;  // without leading and trailing white space
};

// Case-insensitive comparison of ASCII names (RFC 9110 section 5.1).
bool field_name_equal(std::string_view a, std::string_view b) noexcept;

struct Request {
  std::string_view method;
  std::string_view target;        // as sent, at most Limits::request_line_bytes_max
  std::string_view path;          // target up to '?', not percent-decoded
  std::string_view query;         // after '?', empty if there is none
  int version = 11;               // 10 or 11
  bool keep_alive = true;         // after this request, from version and Connection
  std::span<const Field> fields;  // in the order sent
  std::span<const std::byte> body;

  // The value of the only field with this name; empty if there is none or more than one.
  std::string_view single(std::string_view name) const noexcept;
  std::size_t count(std::string_view name) const noexcept;
  // True if a comma-separated list field (all its lines taken together) has this token,
  // compared without case (RFC 9110 section 5.6.1).
  bool has_token(std::string_view name, std::string_view token) const noexcept;
};

}  // namespace net::http
