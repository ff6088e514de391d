// Goal: no request crashes the handshake. An accepted request has the fields that RFC 6455 section
// 4.2.1 requires, and a subprotocol where one is required. Method: the input is a request in lines
// ("METHOD VERSION", then fields). An accepted request is checked again by counting its fields, and
// against a second policy.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "ws/handshake.hpp"

namespace corelane {
namespace {

void demand(bool holds) {
  if (!holds) std::abort();
}

std::string_view cut(std::string_view& text, char at) {
  const std::size_t end = text.find(at);
  const std::string_view head = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return head;
}

void check_accepted(const net::http::Request& request, const ws::Upgrade& upgrade) {
  demand(request.method == "GET");
  demand(request.version == 11);
  demand(request.count("Host") == 1);
  demand(request.single("Sec-WebSocket-Version") == "13");
  demand(request.single("Sec-WebSocket-Key").size() == 24);
  demand(request.has_token("Upgrade", "websocket"));
  demand(request.has_token("Connection", "upgrade"));
  demand(request.count("Origin") <= 1);
  demand(upgrade.subprotocol.empty() || upgrade.subprotocol == "chat");
  std::string response;
  ws::write_upgrade_response(response, upgrade);
  demand(response.ends_with("\r\n\r\n"));
  demand(response.find("\r\n\r\n") + 4 == response.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text{reinterpret_cast<const char*>(data), size};
  std::string_view first = cut(text, '\n');
  net::http::Request request;
  request.method = cut(first, ' ');
  request.version = first == "HTTP/1.0" ? 10 : 11;
  std::vector<net::http::Field> fields;
  while (!text.empty() && fields.size() < 64) {
    std::string_view line = cut(text, '\n');
    const std::string_view name = cut(line, ':');
    fields.push_back({.name = name, .value = net::http::trim_white_space(line)});
  }
  request.fields = fields;
  ws::HandshakePolicy policy;
  policy.subprotocols = {"chat"};
  policy.allow_origins({"https://a.example", "https://*.b.example", "http://[::1]:*", "null"});
  policy.deflate.is_enabled = true;
  const ws::Upgrade upgrade = ws::check_upgrade(request, policy);
  if (upgrade.kind == ws::UpgradeKind::accepted) check_accepted(request, upgrade);
  policy.is_subprotocol_required = true;
  const ws::Upgrade required = ws::check_upgrade(request, policy);
  // The same result, except that a request without a known subprotocol is rejected.
  const bool offers_none = upgrade.kind == ws::UpgradeKind::accepted && upgrade.subprotocol.empty();
  demand(required.kind == (offers_none ? ws::UpgradeKind::rejected : upgrade.kind));
  demand(required.subprotocol == upgrade.subprotocol);
  if (offers_none) demand(required.rejection.status == 400);
  if (upgrade.kind == ws::UpgradeKind::rejected) {
    const int status = upgrade.rejection.status;
    demand(status == 400 || status == 403 || status == 405 || status == 426);
  }
  const auto response = ws::check_upgrade_response(101, fields, ws::ClientHandshake{});
  if (response) demand(response->subprotocol.empty());
  return 0;
}

}  // namespace corelane
