#pragma once
// Writing HTTP/1.1 messages: responses for the server, requests for clients of ours. Everything is
// appended to a byte vector that the caller owns and sends; nothing is kept. Pure code, no I/O,
// never suspends; allocates only to grow the output.
//
// Values that could break out of their line (CR, LF, NUL, other controls) are refused with
// invalid_argument before a byte is written: a handler may have taken them from a peer.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/http/message.hpp"
#include "runtime/result.hpp"

namespace corelane::net::http {

// The interim response to Expect: 100-continue.
inline constexpr std::string_view kContinueResponse = "HTTP/1.1 100 Continue\r\n\r\n";

// The facts of a request that its response depends on.
struct ResponseContext {
  bool keep_alive = false;  // false writes Connection: close; the caller closes after sending
  bool is_head = false;     // Content-Length is written, the body is not (RFC 9110 section 9.3.2)
  int version = 11;         // 1.0 needs to be told that the connection stays open

  static ResponseContext of(const Request& request) noexcept {
    return {request.keep_alive, request.method == "HEAD", request.version};
  }
};

struct ResponseOptions {
  std::string_view content_type = {};  // left out if empty
  std::string_view date = {};          // from format_date(); left out if empty
  std::span<const Field> fields = {};  // more fields; not those that this module writes itself
};

// Appends a whole response. Content-Length is written except for 1xx, 204 and 304, which must be
// given an empty body. invalid_argument: a value or name cannot stand in a header, or names one of
// Connection, Content-Length, Transfer-Encoding; nothing is appended then.
runtime::Result<void> write_response(std::vector<std::byte>& out, Status status,
                                     const ResponseContext& context, const ResponseOptions& options,
                                     std::span<const std::byte> body);
runtime::Result<void> write_response(std::vector<std::byte>& out, Status status,
                                     const ResponseContext& context, const ResponseOptions& options,
                                     std::string_view body);

// How the peer finds the end of a body that follows later.
enum class BodyFraming : std::uint8_t {
  length,       // Content-Length
  chunked,      // Transfer-Encoding: chunked (RFC 9112 section 7.1), for HTTP/1.1 alone
  until_close,  // by the connection's end: the context says close
};
// Appends a response's head without its body. `length` is that of BodyFraming::length.
// invalid_argument as with write_response(), and for a status that has no body.
runtime::Result<void> write_head(std::vector<std::byte>& out, Status status,
                                 const ResponseContext& context, const ResponseOptions& options,
                                 BodyFraming framing, std::uint64_t length);

struct ErrorOptions {
  ResponseContext context = {};     // closes unless told otherwise
  std::string_view allow = {};      // for 405 (it must list the methods), from Router::allow()
  std::uint32_t retry_after_s = 1;  // for 503
  std::string_view date = {};       // from format_date(); left out if empty
  std::string_view reason = {};     // the text instead of the status' own
  // Whole field lines, each with CR LF, in place of Allow, Upgrade and Sec-WebSocket-Version. They
  // are not checked: a literal, or built from checked values.
  std::string_view extra_fields = {};
};

// Appends an error response: one line of text ("404 Not Found"), and what its status demands: 405
// Allow, 426 Upgrade: websocket with Sec-WebSocket-Version: 13, 503 Retry-After.
[[gnu::cold]] void write_error(std::vector<std::byte>& out, Status status,
                               const ErrorOptions& options = {});
// True for a field that write_error() writes itself or must not write: no extra field may be one.
bool is_field_of_error(Status status, std::string_view name) noexcept;

// A response whose bytes are made once, at start-up, and sent as they are (no Date). Immutable, so
// all cores may share one.
class StaticResponse {
 public:
  // Start-up only: throws std::invalid_argument if a value cannot stand in a header.
  StaticResponse(Status status, std::string_view content_type, std::string_view body,
                 std::span<const Field> fields = {});

  // Lives as long as this object; for HEAD the same bytes without the body.
  std::span<const std::byte> bytes(const ResponseContext& context) const noexcept;

 private:
  struct Variant {
    std::vector<std::byte> bytes;
    std::size_t head_bytes = 0;
  };
  enum : std::size_t { kClose, kKeepAlive11, kKeepAlive10, kVariants };
  std::array<Variant, kVariants> variants_;
};

// An IMF-fixdate ("Sun, 06 Nov 1994 08:49:37 GMT", RFC 9110 section 5.6.7) for seconds since the
// epoch, from 0 to the end of the year 9999. Once a second and core is enough.
using DateText = std::array<char, 29>;
DateText format_date(std::int64_t unix_s) noexcept;
inline std::string_view to_view(const DateText& date) noexcept {
  return {date.data(), date.size()};
}

struct RequestOptions {
  std::string_view method = "GET";
  std::string_view target = "/";
  std::string_view host = {};          // required, for the Host field
  std::span<const Field> fields = {};  // more fields; Content-Length is written by us
  bool chunked = false;                // the body in chunks instead of with a Content-Length
  bool expect_continue = false;
};

// Appends a request's head, for a body that follows: RequestOptions::chunked, or exactly
// `body_bytes`. invalid_argument as with write_response().
runtime::Result<void> write_request_head(std::vector<std::byte>& out, const RequestOptions& options,
                                         std::uint64_t body_bytes);
// Appends the line in front of a chunk, which CRLF ends; and the end of a chunked body.
void append_chunk_line(std::vector<std::byte>& out, std::uint64_t bytes);
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";
// Appends a whole request. invalid_argument as with write_response().
runtime::Result<void> write_request(std::vector<std::byte>& out, const RequestOptions& options,
                                    std::span<const std::byte> body = {});

}  // namespace corelane::net::http
