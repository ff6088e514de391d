#pragma once
// HTTP/1.1 messages as views (RFC 9110, RFC 9112). The interface between the parsers, which own the
// bytes, and the router, the WebSocket handshake and handlers, which read them. All views are a
// loan: they are valid until the parser is fed or reset again, and while the buffer that was fed
// last is untouched; so never across a co_await.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

#include "net/http/status.hpp"

namespace net::http {

struct Field {
  std::string_view name;   // as sent; compare with field_name_equal()
  std::string_view value;  // without leading and trailing white space
};

// Case-insensitive comparison of ASCII names (RFC 9110 section 5.1).
bool field_name_equal(std::string_view a, std::string_view b) noexcept;

// The same with a name that is known, given in lower case: a few words are compared instead of
// characters. `name` may hold any bytes.
template <std::size_t Size>
bool field_name_is(std::string_view name, const char (&lower)[Size]) noexcept {
  constexpr std::size_t kBytes = Size - 1;
  static_assert(kBytes >= 4);
  using Word = std::conditional_t<(kBytes >= 8), std::uint64_t, std::uint32_t>;
  constexpr std::size_t kStep = sizeof(Word);
  if (name.size() != kBytes) return false;
  Word difference = 0;
  // The last word overlaps the one before it.
  for (std::size_t at = 0; at < kBytes; at += kStep) {
    const std::size_t from = at + kStep <= kBytes ? at : kBytes - kStep;
    std::array<unsigned char, kStep> letters{};
    for (std::size_t i = 0; i < kStep; ++i) {
      const char c = lower[from + i];
      letters[i] = c >= 'a' && c <= 'z' ? 0x20 : 0;
    }
    Word theirs;
    Word ours;
    Word case_bits;
    std::memcpy(&theirs, name.data() + from, kStep);
    std::memcpy(&ours, lower + from, kStep);
    std::memcpy(&case_bits, letters.data(), kStep);
    difference |= (theirs ^ ours) & ~case_bits;
  }
  return difference == 0;
}

// Without the spaces and tabs around it (OWS, RFC 9110 section 5.6.3), and no other byte.
std::string_view trim_white_space(std::string_view text) noexcept;

// True if the comma-separated list has this token, compared without case; empty elements are
// skipped (RFC 9110 section 5.6.1). Meant for lists of tokens: a comma inside a quoted string
// separates elements here too.
bool list_has_token(std::string_view list, std::string_view token) noexcept;

// Lookups in a header, the same for requests and responses.
std::string_view single_value(std::span<const Field> fields, std::string_view name) noexcept;
std::size_t count_fields(std::span<const Field> fields, std::string_view name) noexcept;
bool fields_have_token(std::span<const Field> fields, std::string_view name,
                       std::string_view token) noexcept;

struct Request {
  std::string_view method;
  std::string_view target;        // as sent, at most Limits::request_line_bytes_max
  std::string_view path;          // target up to '?', not percent-decoded; "*" for OPTIONS *
  std::string_view query;         // after '?', empty if there is none
  std::string_view host;          // Host, or the same from an absolute target; empty only on 1.0
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

// What a client of ours got back.
struct Response {
  Status status{};
  std::string_view reason;
  int version = 11;        // 10 or 11
  bool keep_alive = true;  // the connection can carry another request after this response
  std::span<const Field> fields;
  std::span<const std::byte> body;

  std::string_view single(std::string_view name) const noexcept;
  std::size_t count(std::string_view name) const noexcept;
  bool has_token(std::string_view name, std::string_view token) const noexcept;
};

}  // namespace net::http
