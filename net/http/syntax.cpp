#include "net/http/syntax.hpp"

#include <algorithm>

#include "net/http/text_scan.hpp"

namespace corelane::net::http {
namespace {

constexpr bool is_alpha(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

constexpr AsciiSet kHostNameChars{[](char c) {
  return is_alpha(c) || is_digit(c) ||
         std::string_view{"-._~%!$&'()*+;="}.find(c) != std::string_view::npos;
}};

bool has_whole_escapes(std::string_view path) noexcept {
  for (std::size_t at = path.find('%'); at != std::string_view::npos; at = path.find('%', at + 3)) {
    if (path.size() - at < 3) return false;
    const int high = hex_digit(path[at + 1]);
    const int low = hex_digit(path[at + 2]);
    if (high < 0 || low < 0) return false;
    if (high == 0 && low == 0) return false;
  }
  return true;
}

bool is_port(std::string_view text) noexcept {
  return text.size() <= 5 && std::all_of(text.begin(), text.end(), is_digit);
}

std::size_t scheme_bytes(std::string_view target) noexcept {
  for (const std::string_view scheme :
       {std::string_view{"http://"}, std::string_view{"https://"}}) {
    if (field_name_equal(target.substr(0, scheme.size()), scheme)) return scheme.size();
  }
  return 0;
}

}  // namespace

bool is_token(std::string_view text) noexcept {
  return !text.empty() && std::all_of(text.begin(), text.end(), is_token_char);
}

bool is_field_value(std::string_view text) noexcept {
  bool bad = false;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    bad |= ((byte < 0x20) & (byte != '\t')) | (byte == 0x7f);
  }
  return !bad;
}

int hex_digit(char c) noexcept {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool is_host(std::string_view text) noexcept {
  if (text.empty()) return false;
  std::size_t end = 0;
  if (text.front() == '[') {
    end = text.find(']');
    if (end == std::string_view::npos || end == 1) return false;
    const std::string_view address = text.substr(1, end - 1);
    const bool valid = std::all_of(address.begin(), address.end(), [](char c) {
      return hex_digit(c) >= 0 || c == ':' || c == '.' || c == 'v';
    });
    if (!valid) return false;
    ++end;
  } else {
    end = std::min(text.find(':'), text.size());
    const std::string_view name = text.substr(0, end);
    const bool valid =
        std::all_of(name.begin(), name.end(), [](char c) { return kHostNameChars.contains(c); });
    if (!valid || name.empty()) return false;
  }
  if (end == text.size()) return true;
  return text[end] == ':' && is_port(text.substr(end + 1));
}

std::optional<Field> split_field_line(std::string_view line) noexcept {
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const Field field{line.substr(0, colon), trim_white_space(line.substr(colon + 1))};
  if (!is_token(field.name) || !is_field_value(field.value)) return std::nullopt;
  return field;
}

std::optional<TargetParts> split_target(std::string_view method, std::string_view target) noexcept {
  if (target.empty() || method == "CONNECT") return std::nullopt;
  if (target == "*") {
    if (method != "OPTIONS") return std::nullopt;
    return TargetParts{.authority = {}, .path = target, .query = {}};
  }
  TargetParts parts;
  std::string_view rest = target;
  std::size_t scheme = 0;
  if (rest.front() != '/') {
    scheme = scheme_bytes(rest);
    if (scheme == 0) return std::nullopt;
    rest.remove_prefix(scheme);
    const std::size_t end = std::min(rest.find_first_of("/?"), rest.size());
    parts.authority = rest.substr(0, end);
    if (!is_host(parts.authority)) return std::nullopt;
    rest.remove_prefix(end);
  }
  const std::size_t question = std::min(rest.find('?'), rest.size());
  // An empty path stands for "/" (RFC 9110 section 4.2.3): that of the scheme will do.
  parts.path = question == 0 ? target.substr(scheme - 1, 1) : rest.substr(0, question);
  parts.query = rest.substr(std::min(question + 1, rest.size()));
  if (!has_whole_escapes(parts.path)) return std::nullopt;
  return parts;
}

}  // namespace corelane::net::http
