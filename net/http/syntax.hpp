#pragma once
// The texts that a head is made of: which characters they may hold, and how lines and targets fall
// into parts (RFC 9110, RFC 9112). Pure functions over views, for the readers and writers of heads;
// what they return lies in what they were given.

#include <array>
#include <optional>
#include <string_view>

#include "net/http/message.hpp"

namespace corelane::net::http {

namespace detail {

constexpr std::array<bool, 256> make_token_table() {
  std::array<bool, 256> table{};
  for (unsigned c = '0'; c <= '9'; ++c) table[c] = true;
  for (unsigned c = 'A'; c <= 'Z'; ++c) table[c] = true;
  for (unsigned c = 'a'; c <= 'z'; ++c) table[c] = true;
  for (const char c : std::string_view{"!#$%&'*+-.^_`|~"})
    table[static_cast<unsigned char>(c)] = true;
  return table;
}
inline constexpr std::array<bool, 256> kTokenTable = make_token_table();

}  // namespace detail

constexpr bool is_digit(char c) noexcept {
  return c >= '0' && c <= '9';
}
constexpr bool is_token_char(char c) noexcept {
  return detail::kTokenTable[static_cast<unsigned char>(c)];
}
// RFC 9110 section 5.6.2; an empty string is no token.
bool is_token(std::string_view text) noexcept;
// HTAB, SP, VCHAR and obs-text only (RFC 9110 section 5.5): no control, no CR, no LF, no NUL.
bool is_field_value(std::string_view text) noexcept;
// A host with an optional port (RFC 9110 section 7.2), not empty, without user information. Commas,
// which the grammar allows in a name, are refused: only joined Host lines have them.
bool is_host(std::string_view text) noexcept;
// A single hexadecimal digit, or -1.
int hex_digit(char c) noexcept;

// A field line without its CRLF (RFC 9112 section 5): a token, at once the colon, a field value. A
// line that starts with white space (a fold) is none.
std::optional<Field> split_field_line(std::string_view line) noexcept;

struct TargetParts {
  std::string_view authority;  // only of the absolute form
  std::string_view path;
  std::string_view query;
};
// The forms of RFC 9112 section 3.2 that an origin server can serve: origin form, absolute form
// with http or https, and "*" for OPTIONS. Escapes in the path must be whole and none may stand for
// NUL; the query is not looked at. A fragment and CONNECT are refused.
std::optional<TargetParts> split_target(std::string_view method, std::string_view target) noexcept;

}  // namespace corelane::net::http
