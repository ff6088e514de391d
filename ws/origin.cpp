#include "ws/origin.hpp"

#include <cstddef>

#include "net/http/text_scan.hpp"
#include "ws/header_list.hpp"

namespace ws {
namespace {

constexpr net::http::AsciiSet kHostChars{[](char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
         std::string_view{"-._~!$&'()*+,;=%"}.find(c) != std::string_view::npos;
}};

// How many of the first characters are in the set.
std::size_t span_of(const net::http::AsciiSet& set, std::string_view text) noexcept {
  std::size_t count = 0;
  while (count < text.size() && set.contains(text[count])) ++count;
  return count;
}

// "host[:port]" in two parts; the port empty if it is the scheme's own.
struct Authority {
  std::string_view host;
  std::string_view port;
  bool is_valid = false;
  friend bool operator==(const Authority& a, const Authority& b) noexcept {
    return equal_without_case(a.host, b.host) && a.port == b.port;
  }
};

Authority parse_authority(std::string_view text, std::string_view default_port) noexcept {
  Authority parsed;
  std::size_t host_end = 0;
  if (text.starts_with('[')) {
    host_end = text.find(']');
    if (host_end == std::string_view::npos) return parsed;
    ++host_end;
    const std::string_view inside = text.substr(1, host_end - 2);
    if (inside.find_first_not_of("0123456789abcdefABCDEF:.") != std::string_view::npos) {
      return parsed;
    }
  } else {
    host_end = span_of(kHostChars, text);
  }
  parsed.host = text.substr(0, host_end);
  std::string_view rest = text.substr(host_end);
  if (rest.starts_with(':')) {
    rest.remove_prefix(1);
    const bool is_number = rest.find_first_not_of("0123456789") == std::string_view::npos;
    if (!is_number || rest.size() > 5) return parsed;
    if (rest != default_port) parsed.port = rest;
    rest = {};
  }
  parsed.is_valid = !parsed.host.empty() && rest.empty();
  return parsed;
}

}  // namespace

bool is_same_origin(std::string_view origin, std::string_view host, bool is_secure) noexcept {
  const std::string_view scheme = is_secure ? "https://" : "http://";
  const std::string_view default_port = is_secure ? "443" : "80";
  if (!equal_without_case(origin.substr(0, scheme.size()), scheme)) return false;
  origin.remove_prefix(scheme.size());
  const Authority theirs = parse_authority(origin, default_port);
  if (origin == host) return theirs.is_valid;  // the same text, as browsers send it
  const Authority ours = parse_authority(host, default_port);
  return theirs.is_valid && ours.is_valid && theirs == ours;
}

}  // namespace ws
