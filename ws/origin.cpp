#include "ws/origin.hpp"

#include <arpa/inet.h>
#include <idn2.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <memory>
#include <optional>
#include <stdexcept>

#include "net/http/syntax.hpp"
#include "net/http/text_scan.hpp"
#include "ws/header_list.hpp"

namespace corelane::ws {
namespace {

using net::http::is_digit;

constexpr bool is_alpha(char c) noexcept {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

constexpr net::http::AsciiSet kHostChars{[](char c) {
  return is_alpha(c) || is_digit(c) ||
         std::string_view{"-._~!$&'()+;="}.find(c) != std::string_view::npos;
}};

// RFC 3986 section 3.1.
bool is_scheme(std::string_view text) noexcept {
  return !text.empty() && is_alpha(text.front()) &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return is_alpha(c) || is_digit(c) || c == '+' || c == '-' || c == '.';
         });
}

std::uint32_t default_port(std::string_view scheme) noexcept {
  if (equal_without_case(scheme, "http")) return 80;
  return equal_without_case(scheme, "https") ? 443 : 0;
}

// 1 to 65535 without leading zeros; nothing otherwise.
std::optional<std::uint32_t> parse_port(std::string_view text) noexcept {
  if (text.empty() || text.size() > 5 || text.front() == '0') return std::nullopt;
  std::uint32_t port = 0;
  for (const char c : text) {
    if (!is_digit(c)) return std::nullopt;
    port = port * 10 + static_cast<std::uint32_t>(c - '0');
  }
  if (port > 65'535) return std::nullopt;
  return port;
}

using Address6 = std::array<unsigned char, 16>;
using Address4 = std::array<unsigned char, 4>;

// "[::1]", in any spelling of RFC 4291; a zone is none of a host's name (RFC 6874 section 4).
std::optional<Address6> parse_bracketed(std::string_view host) noexcept {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (host.size() < 4 || host.size() - 2 >= text.size()) return std::nullopt;
  if (host.front() != '[' || host.back() != ']') return std::nullopt;
  std::copy(host.begin() + 1, host.end() - 1, text.begin());
  Address6 address{};
  // A NUL within the text would end it early.
  if (std::strlen(text.data()) != host.size() - 2) return std::nullopt;
  if (inet_pton(AF_INET6, text.data(), address.data()) != 1) return std::nullopt;
  return address;
}

bool is_same_host(std::string_view a, std::string_view b) noexcept {
  if (equal_without_case(a, b)) return true;
  const std::optional<Address6> left = parse_bracketed(a);
  return left.has_value() && left == parse_bracketed(b);
}

// "host[:port]" in two parts. `host_bytes` of 0: it does not begin with a host.
struct Authority {
  std::string_view host;
  std::string_view port;  // without its colon
  bool is_valid = false;
};

Authority split_authority(std::string_view text) noexcept {
  std::size_t host_bytes = 0;
  if (text.starts_with('[')) {
    host_bytes = std::min(text.find(']'), text.size() - 1) + 1;
    if (!parse_bracketed(text.substr(0, host_bytes))) return {};
  } else {
    while (host_bytes < text.size() && kHostChars.contains(text[host_bytes])) ++host_bytes;
  }
  const std::string_view rest = text.substr(host_bytes);
  const bool is_valid = host_bytes > 0 && (rest.empty() || rest.front() == ':');
  return {.host = text.substr(0, host_bytes),
          .port = rest.substr(std::min<std::size_t>(1, rest.size())),
          .is_valid = is_valid};
}

// An Origin as it came.
struct OriginView {
  std::string_view scheme;
  std::string_view authority;  // host and port as written
  std::string_view host = {};
  std::uint32_t port = 0;  // the scheme's own if it names none
};

std::optional<OriginView> parse_origin(std::string_view text) noexcept {
  constexpr std::string_view kSeparator = "://";
  const std::size_t scheme_bytes = text.find(kSeparator);
  if (scheme_bytes == std::string_view::npos) return std::nullopt;
  OriginView origin{.scheme = text.substr(0, scheme_bytes),
                    .authority = text.substr(scheme_bytes + kSeparator.size())};
  if (!is_scheme(origin.scheme)) return std::nullopt;
  if (origin.authority.empty() && equal_without_case(origin.scheme, "file")) return origin;
  const Authority authority = split_authority(origin.authority);
  if (!authority.is_valid) return std::nullopt;
  origin.host = authority.host;
  origin.port = default_port(origin.scheme);
  if (authority.port.empty()) return origin;
  const std::optional<std::uint32_t> port = parse_port(authority.port);
  if (!port) return std::nullopt;
  origin.port = *port;
  return origin;
}

bool is_match(const OriginPattern& pattern, const OriginView& origin) noexcept {
  if (!equal_without_case(pattern.scheme, origin.scheme)) return false;
  if (pattern.port != OriginPattern::kAnyPort && pattern.port != origin.port) return false;
  if (pattern.is_any_host) return !origin.host.empty();
  std::string_view host = origin.host;
  for (std::uint32_t label = 0; label < pattern.wildcard_labels; ++label) {
    const std::size_t dot = host.find('.');
    if (dot == std::string_view::npos || dot == 0) return false;
    host.remove_prefix(dot + 1);
  }
  return is_same_host(pattern.host, host);
}

// --- Entries

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(), to_lower);
  return result;
}

bool is_ascii(std::string_view text) noexcept {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

// Browsers read such a host as an IPv4 address, whatever its spelling (WHATWG URL, section 3.5).
bool ends_in_a_number(std::string_view host) noexcept {
  if (host.ends_with('.')) host.remove_suffix(1);
  std::string_view label = host.substr(host.rfind('.') + 1);
  if (label.empty()) return false;
  if (std::all_of(label.begin(), label.end(), is_digit)) return true;
  if (!equal_without_case(label.substr(0, 2), "0x")) return false;
  label.remove_prefix(2);
  return std::all_of(label.begin(), label.end(),
                     [](char c) { return net::http::hex_digit(c) >= 0; });
}

bool is_dotted_address(const std::string& host) noexcept {
  Address4 address{};
  return inet_pton(AF_INET, host.c_str(), address.data()) == 1;
}

// The ASCII form that browsers send. The problem, or nothing.
std::string to_ascii(std::string& host) {
  char* ascii = nullptr;
  const int verdict = idn2_to_ascii_8z(host.c_str(), &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
  const std::unique_ptr<char, void (*)(void*)> owner(ascii, idn2_free);
  if (verdict != IDN2_OK) {
    return std::string("has a host without an ASCII form (").append(idn2_strerror(verdict)) +
           "); write the one that the browser sends, xn--...";
  }
  host = ascii;
  return {};
}

std::string find_label_problem(std::string_view host) {
  constexpr std::size_t kLabelBytesMax = 63;
  constexpr std::size_t kNameBytesMax = 253;
  if (host.ends_with('.') && host.size() > 1) host.remove_suffix(1);  // the root
  if (host.size() > kNameBytesMax) return "has a host of more than 253 characters";
  while (true) {
    const std::size_t dot = std::min(host.find('.'), host.size());
    if (dot == 0) return "has a host with an empty label";
    if (dot > kLabelBytesMax) return "has a host with a label of more than 63 characters";
    if (dot == host.size()) return {};
    host.remove_prefix(dot + 1);
  }
}

// The host of a page over http or https: a name, or an address as browsers write it.
std::string read_web_host(OriginPattern& pattern) {
  std::string& host = pattern.host;
  if (!is_ascii(host)) {
    if (std::string problem = to_ascii(host); !problem.empty()) return problem;
  }
  if (host.find("xn--") != host.npos) {
    char* unicode = nullptr;
    const int verdict = idn2_to_unicode_8z8z(host.c_str(), &unicode, 0);
    idn2_free(unicode);
    if (verdict != IDN2_OK) return "has a host with a label behind xn-- that encodes nothing";
  }
  if (host.starts_with('[')) {
    if (pattern.wildcard_labels > 0) return "has a wildcard before an address";
    return parse_bracketed(host) ? "" : "has no IPv6 address between its brackets";
  }
  if (const auto bad =
          std::find_if_not(host.begin(), host.end(), [](char c) { return kHostChars.contains(c); });
      bad != host.end()) {
    return std::string("has a host with '").append(1, *bad) + "'";
  }
  if (ends_in_a_number(host)) {
    if (pattern.wildcard_labels > 0) return "has a wildcard before an address";
    if (!is_dotted_address(host))
      return "has an address that browsers spell as four numbers (127.0.0.1)";
    return {};
  }
  return find_label_problem(host);
}

// The host behind "://", without its port.
std::string read_entry_host(std::string_view text, bool is_web, OriginPattern& pattern) {
  if (text == "*") {
    pattern.is_any_host = true;
    return {};
  }
  while (text.starts_with("*.")) {
    ++pattern.wildcard_labels;
    text.remove_prefix(2);
  }
  if (text.empty()) return "has no host";
  if (text.find('*') != text.npos) {
    return "has a \"*\" that is no whole label in front of a host: write https://*.example.org";
  }
  pattern.host = lower(text);
  if (is_web) return read_web_host(pattern);
  const bool is_known =
      std::all_of(text.begin(), text.end(), [](char c) { return kHostChars.contains(c); });
  return is_known ? "" : "has a host with a character that no origin has";
}

// The port, and the rest of the text in front of it.
std::string read_entry_port(std::string_view& text, OriginPattern& pattern) {
  pattern.port = default_port(pattern.scheme);
  const bool has_bracket = text.find('[') != text.npos;
  const std::size_t bracket = has_bracket ? std::min(text.find(']'), text.size()) : 0;
  const std::size_t colon = text.find(':', bracket);
  if (colon == text.npos) return {};
  const std::string_view port = text.substr(colon + 1);
  text = text.substr(0, colon);
  if (port.empty()) return {};
  if (port == "*") {
    pattern.port = OriginPattern::kAnyPort;
    return {};
  }
  const std::optional<std::uint32_t> number = parse_port(port);
  if (!number) return "has a port that is no number from 1 to 65535";
  pattern.port = *number;
  return {};
}

std::string read_pattern(std::string_view text, OriginPattern& pattern) {
  const bool has_blank = std::any_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) <= ' ' || c == 0x7f;
  });
  if (has_blank) return "is no origin: it has a blank or a control character";
  const std::size_t scheme_bytes = text.find("://");
  if (scheme_bytes == text.npos || scheme_bytes == 0) return "is no origin: the scheme is missing";
  pattern.scheme = lower(text.substr(0, scheme_bytes));
  if (!is_scheme(pattern.scheme)) return "is no origin: its scheme is none";
  if (pattern.scheme == "ws" || pattern.scheme == "wss") {
    return "can never match: an Origin has the scheme of the page, http or https";
  }
  if (pattern.scheme == "data" || pattern.scheme == "blob" || pattern.scheme == "about" ||
      pattern.scheme == "javascript") {
    return "can never match: browsers send \"null\" for such pages";
  }
  if (pattern.scheme == "ftp") return "can never match: browsers show no pages over ftp";
  std::string_view rest = text.substr(scheme_bytes + 3);
  if (pattern.scheme == "file") {
    return rest.empty() ? "" : "can never match: all files have the origin \"file://\" or \"null\"";
  }
  if (rest.find_first_of("/?#\\") != rest.npos) {
    return "is no origin: it is scheme, host and port, without a path";
  }
  if (rest.find('@') != rest.npos) return "is no origin: it has user information";
  if (std::string problem = read_entry_port(rest, pattern); !problem.empty()) return problem;
  const bool has_port = pattern.port != 0 && pattern.port != OriginPattern::kAnyPort;
  if (pattern.scheme.ends_with("-extension") && has_port) {
    return "can never match: the origin of an extension has no port";
  }
  const bool is_web = pattern.scheme == "http" || pattern.scheme == "https";
  return read_entry_host(rest, is_web, pattern);
}

}  // namespace

bool is_same_origin(std::string_view origin, std::string_view host, SchemeRule rule) noexcept {
  const std::optional<OriginView> theirs = parse_origin(origin);
  if (!theirs) return false;
  const std::uint32_t scheme_port = default_port(theirs->scheme);
  if (scheme_port == 0) return false;  // neither http nor https
  if (rule != SchemeRule::either && (rule == SchemeRule::https) != (scheme_port == 443))
    return false;
  if (theirs->authority == host) return true;  // as browsers send it to us without a proxy
  const Authority ours = split_authority(host);
  if (!ours.is_valid || !is_same_host(theirs->host, ours.host)) return false;
  if (ours.port.empty()) return theirs->port == scheme_port;
  return parse_port(ours.port) == theirs->port;
}

OriginEntry read_origin_entry(std::string_view text) {
  OriginEntry entry;
  if (text == "*") {
    entry.kind = OriginEntry::Kind::any;
  } else if (text == "null") {
    entry.kind = OriginEntry::Kind::null;
  } else {
    entry.problem = read_pattern(text, entry.pattern);
  }
  return entry;
}

void OriginList::assign(const std::vector<std::string>& entries) {
  *this = {};
  for (const std::string& text : entries) {
    OriginEntry entry = read_origin_entry(text);
    if (!entry.problem.empty()) {
      throw std::invalid_argument("origin \"" + text + "\" " + entry.problem);
    }
    if (entry.kind == OriginEntry::Kind::any) allows_any_ = true;
    if (entry.kind == OriginEntry::Kind::null) allows_null_ = true;
    if (entry.kind == OriginEntry::Kind::pattern) patterns_.push_back(std::move(entry.pattern));
  }
}

bool OriginList::matches(std::string_view origin) const noexcept {
  if (allows_any_) return true;
  // Sandboxed frames and, in most browsers, local files send this.
  if (origin == "null") return allows_null_;
  const std::optional<OriginView> view = parse_origin(origin);
  if (!view) return false;
  return std::any_of(patterns_.begin(), patterns_.end(),
                     [&view](const OriginPattern& pattern) { return is_match(pattern, *view); });
}

}  // namespace corelane::ws
