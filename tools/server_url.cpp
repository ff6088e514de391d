#include "tools/server_url.hpp"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>

#include "net/http/syntax.hpp"

namespace corelane::tools {
namespace {

using runtime::Address;

constexpr std::uint16_t kWebSocketPort = 80;
constexpr std::size_t kNameBytesMax = 254;  // RFC 1035: 253, and the dot at the end
constexpr std::string_view kSchemes = "it begins with ws://, tcp:// or unix:";

ParsedUrl refuse(std::string problem) {
  return {std::nullopt, std::move(problem)};
}

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

// Schemes are the same in upper and lower case (RFC 3986 section 3.1).
bool begins_with(std::string_view text, std::string_view prefix) {
  return text.size() >= prefix.size() &&
         std::equal(prefix.begin(), prefix.end(), text.begin(),
                    [](char ours, char c) { return ours == lower(c); });
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
    const int high = text.size() < 3 ? -1 : net::http::hex_digit(text[1]);
    const int low = text.size() < 3 ? -1 : net::http::hex_digit(text[2]);
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
  return !text.empty() && std::all_of(text.begin(), text.end(), net::http::is_digit);
}

// A name whose last label is a number cannot be one of DNS; inet_aton(3) takes some of those for
// addresses (127.1, 0x7f.1, 2130706433), and octal numbers for others than they seem.
bool ends_in_a_number(std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  const std::string_view label = name.substr(name.rfind('.') + 1);
  return is_digits(label) || begins_with(label, "0x");
}

Host parse_v4(const std::string& text) {
  in_addr address{};
  const bool has_octal = [&] {
    for (std::size_t at = 0; at < text.size(); ++at) {
      const bool begins = at == 0 || text[at - 1] == '.';
      const bool follows = at + 1 < text.size() && net::http::is_digit(text[at + 1]);
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
    return net::http::is_digit(c) || (c >= 'a' && c <= 'z') || c == '-' || c == '.' || c == '_';
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

struct Authority {
  Host host;
  std::optional<std::uint16_t> port;
  std::string problem;
};

Authority wrong(std::string problem) {
  return {.host = {}, .port = {}, .problem = std::move(problem)};
}

Authority parse_authority(std::string_view text) {
  if (text.find('@') != text.npos) {
    return wrong("a user or password (in front of @) is not supported: it would be sent to no one");
  }
  Authority authority;
  std::string_view port;
  if (text.starts_with("[")) {
    const std::size_t end = text.find(']');
    if (end == text.npos) return wrong("the ] behind the address is missing");
    authority.host = parse_v6(text.substr(1, end - 1));
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
    authority.host = parse_name(host);
  }
  if (!authority.host.problem.empty()) return wrong(authority.host.problem);
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

// --- The whole

std::string problem_of_target(std::string_view target) {
  if (target.find('#') != target.npos) return "a WebSocket URL has no #fragment";
  const bool is_plain =
      std::all_of(target.begin(), target.end(), [](char c) { return c > ' ' && c < 0x7f; });
  if (!is_plain) return "the path has blanks or other bytes that must be %-escaped";
  if (target.starts_with('/') && !net::http::split_target("GET", target)) {
    return "the path has a % without two digits behind it, or %00: write %25 for %";
  }
  return {};
}

ParsedUrl parse_unix(std::string_view text) {
  ServerUrl url;
  url.text = text;
  url.is_websocket = false;
  if (const std::string problem = Address::problem_of(text); !problem.empty()) {
    return refuse(fmt::format("{}; a Unix socket is unix:/path or unix:@name", problem));
  }
  url.address = *Address::parse(text);
  return {std::move(url), {}};
}

}  // namespace

ParsedUrl parse_server_url(std::string_view text) {
  if (begins_with(text, "unix:")) return parse_unix(text);
  if (begins_with(text, "wss://")) {
    return refuse("TLS is not supported: use ws://, or a proxy that speaks TLS");
  }
  ServerUrl url;
  url.text = text;
  if (begins_with(text, "ws://")) {
    text.remove_prefix(5);
  } else if (begins_with(text, "tcp://")) {
    text.remove_prefix(6);
    url.is_websocket = false;
  } else if (text.find("://") < text.find_first_of("/?#")) {
    return refuse(std::string(kSchemes));
  }
  const std::size_t path = text.find_first_of("/?#");
  if (path != text.npos) {
    const std::string_view target = text.substr(path);
    if (!url.is_websocket && target != "/") return refuse("tcp:// has no path");
    url.target = target.front() == '?' ? "/" + std::string(target) : std::string(target);
    if (std::string problem = problem_of_target(url.target); !problem.empty()) {
      return refuse(std::move(problem));
    }
    text = text.substr(0, path);
  }
  Authority authority = parse_authority(text);
  if (!authority.problem.empty()) return refuse(std::move(authority.problem));
  if (!authority.port && !url.is_websocket) return refuse("tcp:// needs a port");
  url.port = authority.port.value_or(kWebSocketPort);
  url.address = authority.host.address;
  if (url.address) url.address->set_port(url.port);
  url.name = std::move(authority.host.name);
  url.host = std::move(authority.host.text);
  if (url.port != kWebSocketPort) url.host += fmt::format(":{}", url.port);
  return {std::move(url), {}};
}

}  // namespace corelane::tools
