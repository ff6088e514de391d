#pragma once
// HTTP/1.1 messages as views (RFC 9110, RFC 9112). The interface between the parsers, which own the
// bytes, and the router, the WebSocket handshake and handlers, which read them. All views are a
// loan: they are valid until the parser is fed or reset again, and while the buffer that was fed
// last is untouched; so never across a co_await.

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include "net/http/status.hpp"

namespace corelane::net::http {

struct Field {
  std::string_view name;   // as sent; compare with field_name_equal()
  std::string_view value;  // without leading and trailing white space
};

// Case-insensitive comparison of ASCII names (RFC 9110 section 5.1).
bool field_name_equal(std::string_view a, std::string_view b) noexcept;

// A name in lower case as a template argument.
template <std::size_t Size>
struct KnownName {
  static constexpr std::size_t kBytes = Size - 1;
  consteval KnownName(const char (&lower)[Size]) {  // NOLINT(google-explicit-constructor)
    std::copy_n(lower, kBytes, text.begin());
  }
  std::array<char, kBytes> text{};
};

// The same with a name that is known: a few words are compared instead of characters.
template <KnownName kLower>
bool field_name_is(std::string_view name) noexcept {
  constexpr std::size_t kBytes = kLower.text.size();
  static_assert(kBytes >= 4);
  using Word = std::conditional_t<(kBytes >= 8), std::uint64_t, std::uint32_t>;
  constexpr std::size_t kStep = sizeof(Word);
  // The last word overlaps the one before it.
  constexpr auto kFrom = [](std::size_t word) { return std::min(word * kStep, kBytes - kStep); };
  constexpr auto kExpected = [kFrom]<std::size_t... kWord>(std::index_sequence<kWord...>) {
    std::array<std::array<char, kStep>, sizeof...(kWord)> letters{};
    std::array<std::array<char, kStep>, sizeof...(kWord)> case_bits{};
    for (std::size_t word = 0; word < letters.size(); ++word) {
      for (std::size_t i = 0; i < kStep; ++i) {
        const char c = kLower.text[kFrom(word) + i];
        letters[word][i] = c;
        case_bits[word][i] = c >= 'a' && c <= 'z' ? 0x20 : 0;
      }
    }
    return std::pair{std::array{std::bit_cast<Word>(letters[kWord])...},
                     std::array{std::bit_cast<Word>(case_bits[kWord])...}};
  }(std::make_index_sequence<(kBytes + kStep - 1) / kStep>{});
  if (name.size() != kBytes) return false;
  Word difference = 0;
  for (std::size_t word = 0; word < kExpected.first.size(); ++word) {
    Word theirs;
    std::memcpy(&theirs, name.data() + kFrom(word), kStep);
    difference |= (theirs ^ kExpected.first[word]) & ~kExpected.second[word];
  }
  return difference == 0;
}

// `text` without the spaces and tabs around it (OWS, RFC 9110 section 5.6.3); no other byte is
// removed.
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

// A response to a client of ours.
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

}  // namespace corelane::net::http
