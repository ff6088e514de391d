#include "tools/server_url.hpp"

#include <fmt/core.h>

#include <utility>

#include "net/http/url.hpp"

namespace corelane::tools {
namespace {

using runtime::Address;

constexpr std::uint16_t kWebSocketPort = 80;
constexpr std::string_view kSchemes = "it begins with ws://, tcp:// or unix:";

ParsedUrl refuse(std::string problem) {
  return {std::nullopt, std::move(problem)};
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
  if (net::http::begins_with_scheme(text, "unix:")) return parse_unix(text);
  if (net::http::begins_with_scheme(text, "wss://")) {
    return refuse("TLS is not supported: use ws://, or a proxy that speaks TLS");
  }
  ServerUrl url;
  url.text = text;
  if (net::http::begins_with_scheme(text, "ws://")) {
    text.remove_prefix(5);
  } else if (net::http::begins_with_scheme(text, "tcp://")) {
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
    if (target.find('#') != target.npos) return refuse("a WebSocket URL has no #fragment");
    if (std::string problem = net::http::problem_of_target(url.target); !problem.empty()) {
      return refuse(std::move(problem));
    }
    text = text.substr(0, path);
  }
  net::http::Authority authority = net::http::parse_authority(text);
  if (!authority.problem.empty()) return refuse(std::move(authority.problem));
  if (!authority.port && !url.is_websocket) return refuse("tcp:// needs a port");
  url.port = authority.port.value_or(kWebSocketPort);
  url.address = authority.address;
  if (url.address) url.address->set_port(url.port);
  url.name = std::move(authority.name);
  url.host = std::move(authority.host);
  if (url.port != kWebSocketPort) url.host += fmt::format(":{}", url.port);
  return {std::move(url), {}};
}

}  // namespace corelane::tools
