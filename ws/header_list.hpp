#pragma once
// Readers for the comma-separated lists in header fields that the WebSocket handshake needs
// (RFC 9110 section 5.6, RFC 6455 section 9.1). Each reads its text once, front to back, and calls
// a visitor; nothing is copied. Pure code.

#include <cstddef>
#include <string_view>

#include "net/http/syntax.hpp"

namespace corelane::ws {

using net::http::is_token_char;

constexpr char to_lower(char c) noexcept {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

constexpr bool equal_without_case(std::string_view a, std::string_view b) noexcept {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (to_lower(a[i]) != to_lower(b[i])) return false;
  }
  return true;
}

// A position in a field value.
class ListCursor {
 public:
  explicit constexpr ListCursor(std::string_view text) noexcept : text_(text) {}

  constexpr bool at_end() const noexcept { return at_ == text_.size(); }
  constexpr void skip_space() noexcept {
    while (!at_end() && (text_[at_] == ' ' || text_[at_] == '\t')) ++at_;
  }
  constexpr bool take(char c) noexcept {
    if (at_end() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  // Empty if there is no token here.
  constexpr std::string_view take_token() noexcept {
    const std::size_t begin = at_;
    while (!at_end() && is_token_char(text_[at_])) ++at_;
    return text_.substr(begin, at_ - begin);
  }
  // The inside of a quoted string, escapes left in; false if it is not closed. The opening quote
  // has been taken.
  constexpr bool take_quoted(std::string_view& inside) noexcept {
    const std::size_t begin = at_;
    while (!at_end() && text_[at_] != '"') {
      if (text_[at_] == '\\') ++at_;
      if (at_end()) return false;
      ++at_;
    }
    inside = text_.substr(begin, at_ - begin);
    return take('"');
  }

 private:
  std::string_view text_;
  std::size_t at_ = 0;
};

// Calls visit(token) for each member of a list of tokens; empty members are skipped, as RFC 9110
// asks of recipients. False if something is not a token; visit() returning false also ends it.
template <class Visit>
constexpr bool for_each_token(std::string_view value, Visit&& visit) {
  ListCursor cursor{value};
  while (true) {
    cursor.skip_space();
    const std::string_view token = cursor.take_token();
    if (!token.empty() && !visit(token)) return false;
    cursor.skip_space();
    if (cursor.at_end()) return true;
    if (!cursor.take(',')) return false;
  }
}

struct ExtensionParameter {
  std::string_view name;
  std::string_view value = {};  // without quotes, escapes left in
  bool has_value = false;
};

// Reads a list of extensions with their parameters (RFC 6455 section 9.1). The visitor has
// begin(name), parameter(const ExtensionParameter&) and end(), which are called in that order for
// each extension. False if the grammar is broken.
template <class Visitor>
constexpr bool visit_extensions(std::string_view value, Visitor& visitor) {
  ListCursor cursor{value};
  while (true) {
    cursor.skip_space();
    if (cursor.at_end()) return true;
    if (cursor.take(',')) continue;
    const std::string_view name = cursor.take_token();
    if (name.empty()) return false;
    visitor.begin(name);
    cursor.skip_space();
    while (cursor.take(';')) {
      cursor.skip_space();
      ExtensionParameter parameter{.name = cursor.take_token()};
      if (parameter.name.empty()) return false;
      cursor.skip_space();
      if (cursor.take('=')) {
        cursor.skip_space();
        parameter.has_value = true;
        if (cursor.take('"')) {
          if (!cursor.take_quoted(parameter.value) || parameter.value.empty()) return false;
        } else {
          parameter.value = cursor.take_token();
          if (parameter.value.empty()) return false;
        }
        cursor.skip_space();
      }
      visitor.parameter(parameter);
    }
    visitor.end();
    if (!cursor.at_end() && !cursor.take(',')) return false;
  }
}

}  // namespace corelane::ws
