#include "net/http/url.hpp"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "net/http/syntax.hpp"

namespace corelane::net::http {

using runtime::Address;

bool begins_with_scheme(std::string_view text, std::string_view lower) noexcept {
  return field_name_equal(text.substr(0, lower.size()), lower);
}

namespace {

constexpr std::size_t kNameBytesMax = 254;  // RFC 1035: 253, and the dot at the end

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

// Nothing if an escape is not whole.
std::optional<std::string> unescape(std::string_view text) {
  std::string plain;
  while (!text.empty()) {
    if (text.front() != '%') {
      plain += text.front();
      text.remove_prefix(1);
      continue;
    }
    const int high = text.size() < 3 ? -1 : hex_digit(text[1]);
    const int low = text.size() < 3 ? -1 : hex_digit(text[2]);
    if (high < 0 || low < 0) return std::nullopt;
    plain += static_cast<char>(high * 16 + low);
    text.remove_prefix(3);
  }
  return plain;
}

// --- host:port

struct Host {
  std::optional<Address> address;  // without a port
  std::string name;
  std::string text;  // for the Host field, without a port
  std::string problem;
};

Host wrong_host(std::string problem) {
  return {.address = {}, .name = {}, .text = {}, .problem = std::move(problem)};
}

// RFC 6874 section 2 writes the % in front of the zone as %25 and escapes the zone; section 3 lets
// a bare % be taken as well, as ping and ssh do, and as this server prints it.
std::optional<std::string> zone_of(std::string_view behind_percent) {
  constexpr std::string_view kEscapedPercent = "25";
  const bool is_escaped =
      behind_percent.starts_with(kEscapedPercent) && behind_percent.size() > kEscapedPercent.size();
  if (!is_escaped) return std::string(behind_percent);
  return unescape(behind_percent.substr(kEscapedPercent.size()));
}

Host parse_v6(std::string_view text) {
  const std::size_t percent = text.find('%');
  std::string literal(text.substr(0, percent));
  if (percent != text.npos) {
    const auto zone = zone_of(text.substr(percent + 1));
    if (!zone) return wrong_host(fmt::format("[{}] has a % without two digits behind it", text));
    literal += "%" + *zone;
  }
  const std::string written = fmt::format("[{}]:0", literal);
  const auto address = Address::parse(written);
  if (!address || address->lacks_zone()) {
    const std::string problem = Address::problem_of(written);
    return wrong_host(
        fmt::format("[{}] {}", text, problem == "is no address" ? "is no IPv6 address" : problem));
  }
  Host host;
  host.address = *address;
  host.text = fmt::format("[{}]", address->host_without_zone());
  const auto* in6 = reinterpret_cast<const sockaddr_in6*>(address->raw());
  if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
    // An IPv4-mapped address is IPv4 on the wire, and IPV6_V6ONLY may forbid it on an IPv6 socket.
    host.text = address->host().substr(sizeof "::ffff:" - 1);
    host.address = *Address::parse(host.text + ":0");
  }
  return host;
}

bool is_digits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), is_digit);
}

// A name whose last label is a number cannot be one of DNS; inet_aton(3) takes some of those for
// addresses (127.1, 0x7f.1, 2130706433), and octal numbers for others than they seem.
bool ends_in_a_number(std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  const std::string_view label = name.substr(name.rfind('.') + 1);
  return is_digits(label) || begins_with_scheme(label, "0x");
}

Host parse_v4(const std::string& text) {
  in_addr address{};
  const bool has_octal = [&] {
    for (std::size_t at = 0; at < text.size(); ++at) {
      const bool begins = at == 0 || text[at - 1] == '.';
      const bool follows = at + 1 < text.size() && is_digit(text[at + 1]);
      if (begins && text[at] == '0' && follows) return true;
    }
    return false;
  }();
  if (has_octal || inet_aton(text.c_str(), &address) == 0) {
    return wrong_host(fmt::format("{} is no IPv4 address: write four numbers, as 127.0.0.1", text));
  }
  sockaddr_in in4{};
  in4.sin_family = AF_INET;
  in4.sin_addr = address;
  Host host;
  host.address = Address::from_raw(reinterpret_cast<const sockaddr*>(&in4), sizeof in4);
  host.text = host.address->host();
  return host;
}

Host parse_name(std::string_view text) {
  auto plain = unescape(text);
  if (!plain) return wrong_host(fmt::format("{} has a % without two digits behind it", text));
  std::transform(plain->begin(), plain->end(), plain->begin(), lower);
  const bool is_ascii = std::all_of(plain->begin(), plain->end(),
                                    [](char c) { return static_cast<signed char>(c) >= 0; });
  if (!is_ascii) {
    return wrong_host(
        fmt::format("{} is not ASCII: write its form in DNS, xn--... (idn2 NAME prints it)", text));
  }
  const bool is_name = std::all_of(plain->begin(), plain->end(), [](char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || c == '-' || c == '.' || c == '_';
  });
  const bool has_empty_label = plain->starts_with('.') || plain->find("..") != plain->npos;
  if (!is_name || has_empty_label || plain->size() > kNameBytesMax) {
    return wrong_host(fmt::format("\"{}\" is no host name", text));
  }
  if (ends_in_a_number(*plain)) {
    if (plain->ends_with('.')) plain->pop_back();
    return parse_v4(*plain);
  }
  return {.address = {}, .name = *plain, .text = *plain, .problem = {}};
}

Authority wrong(std::string problem) {
  Authority none;
  none.problem = std::move(problem);
  return none;
}

}  // namespace

Authority parse_authority(std::string_view text) {
  if (text.find('@') != text.npos) {
    return wrong("a user or password (in front of @) is not supported: it would be sent to no one");
  }
  Host found;
  std::string_view port;
  if (text.starts_with("[")) {
    const std::size_t end = text.find(']');
    if (end == text.npos) return wrong("the ] behind the address is missing");
    found = parse_v6(text.substr(1, end - 1));
    port = text.substr(end + 1);
    if (!port.empty() && port.front() != ':') return wrong("behind ] comes :PORT");
  } else {
    const std::size_t colon = text.find(':');
    const std::string_view host = text.substr(0, colon);
    if (host.empty()) return wrong("the host is missing");
    port = colon == text.npos ? std::string_view{} : text.substr(colon);
    if (port.find(':', 1) != port.npos) {
      return wrong("has too many colons: an IPv6 address stands in brackets, as in [::1]:8080");
    }
    found = parse_name(host);
  }
  if (!found.problem.empty()) return wrong(std::move(found.problem));
  Authority authority;
  authority.address = found.address;
  authority.name = std::move(found.name);
  authority.host = std::move(found.text);
  if (port.empty()) return authority;
  port.remove_prefix(1);
  std::uint16_t number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (error != std::errc{} || end != port.data() + port.size() || number == 0) {
    return wrong(fmt::format("\"{}\" is no port (1 to 65535)", port));
  }
  authority.port = number;
  return authority;
}

std::string problem_of_target(std::string_view target) {
  const bool is_plain =
      std::all_of(target.begin(), target.end(), [](char c) { return c > ' ' && c < 0x7f; });
  if (!is_plain) return "the path has blanks or other bytes that must be %-escaped";
  if (target.starts_with('/') && !split_target("GET", target)) {
    return "the path has a % without two digits behind it, or %00: write %25 for %";
  }
  return {};
}

// --- The whole

namespace {

struct Scheme {
  std::string_view text;
  UrlKind kind;
  std::uint16_t port;
  bool is_secure = false;
  bool is_unix = false;
};
constexpr Scheme kSchemes[] = {
    {.text = "http://", .kind = UrlKind::http, .port = 80},
    {.text = "https://", .kind = UrlKind::http, .port = 443, .is_secure = true},
    {.text = "http+unix://", .kind = UrlKind::http, .port = 0, .is_unix = true},
    {.text = "ws://", .kind = UrlKind::websocket, .port = 80},
    {.text = "wss://", .kind = UrlKind::websocket, .port = 443, .is_secure = true},
    {.text = "ws+unix://", .kind = UrlKind::websocket, .port = 0, .is_unix = true},
};

ParsedUrl refuse(std::string problem) {
  return {.url = {}, .problem = std::move(problem)};
}

std::string_view without_fragment(std::string_view text) noexcept {
  return text.substr(0, text.find('#'));
}

// The part behind the authority.
std::string set_target(Url& url, std::string_view text) {
  if (text.empty()) return {};
  url.target = text.front() == '?' ? "/" + std::string(text) : std::string(text);
  return problem_of_target(url.target);
}

std::string set_unix(Url& url, std::string_view authority) {
  const auto path = unescape(authority);
  if (!path) return "a % without two digits behind it";
  url.socket = "unix:" + *path;
  if (std::string problem = Address::problem_of(url.socket); !problem.empty()) {
    return fmt::format("{} {}; its path is written with %2F for /", url.socket, problem);
  }
  url.address = *Address::parse(url.socket);
  url.host = "localhost";
  url.site = "/" + url.socket;
  return {};
}

std::string set_host(Url& url, std::string_view text, std::uint16_t port_of_scheme) {
  Authority authority = parse_authority(text);
  if (!authority.problem.empty()) return std::move(authority.problem);
  url.port = authority.port.value_or(port_of_scheme);
  url.address = authority.address;
  if (url.address) url.address->set_port(url.port);
  url.name = std::move(authority.name);
  url.host = std::move(authority.host);
  if (url.port != port_of_scheme) url.host += fmt::format(":{}", url.port);
  url.site = url.host;
  if (url.address) url.site += url.address->host().substr(url.address->host_without_zone().size());
  return {};
}

// Without the last segment, and without dot segments (RFC 3986 section 5.2.4).
std::string remove_dot_segments(std::string_view path) {
  std::string clean;
  while (!path.empty()) {
    const std::size_t end = std::min(path.find('/', 1), path.size());
    const std::string_view segment = path.substr(0, end);  // with the slash in front
    path.remove_prefix(end);
    if (segment == "/..") {
      clean.resize(clean.empty() ? 0 : clean.rfind('/'));
    } else if (segment != "/.") {
      clean += segment;
      continue;
    }
    if (path.empty()) clean += '/';
  }
  return clean;
}

bool has_scheme(std::string_view reference) noexcept {
  const std::size_t colon = reference.find(':');
  return colon < reference.find_first_of("/?#");
}

}  // namespace

ParsedUrl parse_url(std::string_view text, UrlKind kind) {
  const std::string_view schemes =
      kind == UrlKind::http ? "it begins with http://" : "it begins with ws://";
  if (text.size() > kUrlBytesMax) return refuse("the URL is too long");
  const auto* const scheme =
      std::find_if(std::begin(kSchemes), std::end(kSchemes), [text, kind](const Scheme& one) {
        return one.kind == kind && begins_with_scheme(text, one.text);
      });
  if (scheme == std::end(kSchemes)) return refuse(std::string(schemes));
  text.remove_prefix(scheme->text.size());
  if (kind == UrlKind::websocket && text.find('#') != text.npos) {
    return refuse("a WebSocket URL has no #fragment");
  }
  text = without_fragment(text);
  Url url;
  url.is_secure = scheme->is_secure;
  const std::size_t path = std::min(text.find_first_of("/?"), text.size());
  std::string problem = set_target(url, text.substr(path));
  if (problem.empty()) {
    const std::string_view authority = text.substr(0, path);
    problem = scheme->is_unix ? set_unix(url, authority) : set_host(url, authority, scheme->port);
  }
  if (!problem.empty()) return refuse(std::move(problem));
  return {.url = std::move(url), .problem = {}};
}

ParsedUrl resolve_reference(const Url& base, std::string_view reference) {
  if (has_scheme(reference)) return parse_url(reference);
  if (reference.size() > kUrlBytesMax) return refuse("the URL is too long");
  if (reference.starts_with("//")) {
    return parse_url((base.is_secure ? "https:" : "http:") + std::string(reference));
  }
  reference = without_fragment(reference);
  ParsedUrl resolved{.url = base, .problem = {}};
  if (reference.empty()) return resolved;
  const std::string_view path = std::string_view{base.target}.substr(0, base.target.find('?'));
  const std::size_t query = std::min(reference.find('?'), reference.size());
  std::string merged{path};
  if (query > 0) {
    const bool is_absolute = reference.front() == '/';
    merged = is_absolute ? std::string{} : std::string{path.substr(0, path.rfind('/') + 1)};
    merged = remove_dot_segments(merged += reference.substr(0, query));
  }
  resolved.url->target = std::move(merged.append(reference.substr(query)));
  if (std::string problem = problem_of_target(resolved.url->target); !problem.empty()) {
    return refuse(std::move(problem));
  }
  return resolved;
}

}  // namespace corelane::net::http
