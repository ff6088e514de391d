#include "tools/server_url.hpp"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <netdb.h>

#include <algorithm>
#include <charconv>

namespace tools {
namespace {

constexpr std::uint16_t kWebSocketPort = 80;

ParsedUrl refuse(std::string problem) {
  return {std::nullopt, std::move(problem)};
}

struct Authority {
  std::string host;  // without brackets
  std::optional<std::uint16_t> port;
  bool is_v6 = false;
  std::string problem;
};

Authority wrong(std::string problem) {
  Authority authority;
  authority.problem = std::move(problem);
  return authority;
}

Authority parse_authority(std::string_view text) {
  Authority authority;
  std::string_view port;
  if (text.starts_with("[")) {
    const std::size_t end = text.find(']');
    if (end == text.npos) return wrong("the ] behind the address is missing");
    authority.host = text.substr(1, end - 1);
    authority.is_v6 = true;
    port = text.substr(end + 1);
  } else {
    const std::size_t colon = text.find(':');
    authority.host = text.substr(0, colon);
    port = colon == text.npos ? std::string_view{} : text.substr(colon);
  }
  if (authority.host.empty()) return wrong("the host is missing");
  if (port.empty()) return authority;
  if (port.front() != ':') return wrong("behind ] comes :PORT");
  port.remove_prefix(1);
  std::uint16_t number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (error != std::errc{} || end != port.data() + port.size() || number == 0) {
    return wrong(fmt::format("\"{}\" is no port (1 to 65535)", port));
  }
  authority.port = number;
  return authority;
}

}  // namespace

std::vector<runtime::Address> resolve_name(const std::string& host) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), nullptr, &hints, &found) != 0) return {};
  std::vector<runtime::Address> addresses;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    addresses.push_back(runtime::Address::from_raw(one->ai_addr, one->ai_addrlen));
  }
  freeaddrinfo(found);
  return addresses;
}

ParsedUrl parse_server_url(std::string_view text, const Resolver& resolve) {
  ServerUrl url;
  url.text = text;
  if (text.starts_with("unix:")) {
    const auto address = runtime::Address::parse(text);
    if (!address) return refuse("a Unix socket is unix:/path, of at most 107 bytes, or unix:@name");
    url.is_websocket = false;
    url.addresses.push_back(*address);
    return {std::move(url), {}};
  }
  if (text.starts_with("wss://")) {
    return refuse("TLS is not supported: use ws://, or a proxy that speaks TLS");
  }
  if (text.starts_with("ws://")) {
    text.remove_prefix(5);
  } else if (text.starts_with("tcp://")) {
    text.remove_prefix(6);
    url.is_websocket = false;
  } else if (text.find("://") != text.npos) {
    return refuse("it begins with ws://, tcp:// or unix:");
  }
  const std::size_t path = text.find_first_of("/?#");
  if (path != text.npos) {
    const std::string_view target = text.substr(path);
    if (!url.is_websocket && target != "/") return refuse("tcp:// has no path");
    if (target.find('#') != target.npos) return refuse("a WebSocket URL has no #fragment");
    const bool is_plain =
        std::all_of(target.begin(), target.end(), [](char c) { return c > ' ' && c < 0x7f; });
    if (!is_plain) return refuse("the path has blanks or other bytes that must be %-escaped");
    url.target = target.front() == '?' ? "/" + std::string(target) : std::string(target);
    text = text.substr(0, path);
  }
  const Authority authority = parse_authority(text);
  if (!authority.problem.empty()) return refuse(authority.problem);
  if (!authority.port && !url.is_websocket) return refuse("tcp:// needs a port");
  const std::uint16_t port = authority.port.value_or(kWebSocketPort);
  url.host = authority.is_v6 ? fmt::format("[{}]", authority.host) : authority.host;
  const auto literal = runtime::Address::parse(fmt::format("{}:{}", url.host, port));
  if (literal) {
    url.addresses.push_back(*literal);
  } else {
    url.addresses = resolve(authority.host);
    for (runtime::Address& address : url.addresses) address.set_port(port);
  }
  if (url.addresses.empty()) return refuse(fmt::format("no address of {} is known", url.host));
  if (port != kWebSocketPort) url.host += fmt::format(":{}", port);
  return {std::move(url), {}};
}

}  // namespace tools
