// Goal: the opening handshake of RFC 6455 section 4 is accepted exactly as the RFC says, refused
// with the exact status, and told apart from plain HTTP. Method: one good request, and a table of
// changes to it, each with its outcome; the client's side against a table of changed responses.
#include "ws/handshake.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace corelane {
namespace {

using net::http::Field;
using ws::check_upgrade;
using ws::HandshakeError;
using ws::HandshakePolicy;
using ws::UpgradeKind;

constexpr std::string_view kGood =
    "GET /chat HTTP/1.1\n"
    "Host: server.example.com\n"
    "Upgrade: websocket\n"
    "Connection: Upgrade\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n"
    "Sec-WebSocket-Version: 13\n";

std::string_view cut(std::string_view& text, char at) {
  const std::size_t end = text.find(at);
  const std::string_view head = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return head;
}

std::vector<Field> fields_of(std::string_view lines) {
  std::vector<Field> fields;
  while (!lines.empty()) {
    std::string_view line = cut(lines, '\n');
    const std::string_view name = cut(line, ':');
    while (line.starts_with(' ')) line.remove_prefix(1);
    fields.push_back({.name = name, .value = line});
  }
  return fields;
}

// The upgrade for a request given as text with "\n" at line ends; `text` outlives the result.
ws::Upgrade upgrade_of(std::string_view text, const HandshakePolicy& policy = {}) {
  std::string_view line = cut(text, '\n');
  net::http::Request request;
  request.method = cut(line, ' ');
  request.target = cut(line, ' ');
  request.path = request.target;
  request.version = line == "HTTP/1.0" ? 10 : 11;
  const std::vector<Field> fields = fields_of(text);
  request.fields = fields;
  return check_upgrade(request, policy);
}

// "101", "plain", or the status of the rejection.
std::string outcome_of(std::string_view text, const HandshakePolicy& policy = {}) {
  const ws::Upgrade upgrade = upgrade_of(text, policy);
  switch (upgrade.kind) {
    case UpgradeKind::not_an_upgrade:
      return "plain";
    case UpgradeKind::accepted:
      return "101";
    case UpgradeKind::rejected:
      return std::to_string(upgrade.rejection.status);
  }
  return "?";
}

// kGood with one part replaced; the part must be there.
std::string changed(std::string_view part, std::string_view by) {
  std::string text{kGood};
  const std::size_t at = text.find(part);
  EXPECT_NE(at, std::string::npos) << part;
  return text.replace(at, part.size(), by);
}
std::string added(std::string_view lines) {
  return std::string{kGood}.append(lines);
}

TEST(Handshake, TheExampleOfTheRfcGetsItsAnswer) {
  const ws::Upgrade upgrade = upgrade_of(kGood);
  ASSERT_EQ(upgrade.kind, UpgradeKind::accepted);
  std::string response;
  ws::write_upgrade_response(response, upgrade);
  EXPECT_EQ(response,
            "HTTP/1.1 101 Switching Protocols\r\n"
            "Upgrade: websocket\r\n"
            "Connection: Upgrade\r\n"
            "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
            "\r\n");
}

struct Case {
  std::string request;
  std::string outcome;
};

TEST(Handshake, EveryFlawHasItsStatus) {
  constexpr std::string_view kKeyLine = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n";
  constexpr std::string_view kVersionLine = "Sec-WebSocket-Version: 13\n";
  const std::vector<Case> cases = {
      // Method and version.
      {changed("GET", "POST"), "405"},
      {changed("GET", "HEAD"), "405"},
      {changed("GET", "get"), "405"},
      {changed("GET", "CONNECT"), "405"},
      {changed("HTTP/1.1", "HTTP/1.0"), "400"},
      // Host.
      {changed("Host: server.example.com\n", ""), "400"},
      {changed("Host: server.example.com\n", "Host:\n"), "400"},
      {added("Host: server.example.com\n"), "400"},
      {added("host: other.example.com\n"), "400"},
      // Upgrade.
      {changed("Upgrade: websocket", "Upgrade: WebSocket"), "101"},
      {changed("Upgrade: websocket", "upgrade: WEBSOCKET"), "101"},
      {changed("Upgrade: websocket", "Upgrade: h2c, websocket"), "101"},
      {changed("Upgrade: websocket", "Upgrade: HTTP/2.0,websocket,IRC/6.9"), "101"},
      {changed("Upgrade: websocket\n", "Upgrade: h2c\nUpgrade: websocket\n"), "101"},
      {changed("Upgrade: websocket", "Upgrade: websockets"), "400"},
      {changed("Upgrade: websocket", "Upgrade: websocket/13"), "400"},
      {changed("Upgrade: websocket", "Upgrade: web socket"), "400"},
      {changed("Upgrade: websocket\n", ""), "400"},
      {changed("Upgrade: websocket", "Upgrade: h2c"), "400"},
      // Connection.
      {changed("Connection: Upgrade", "Connection: keep-alive, Upgrade"), "101"},
      {changed("Connection: Upgrade", "Connection: upgrade"), "101"},
      {changed("Connection: Upgrade\n", "Connection: keep-alive\nConnection: Upgrade\n"), "101"},
      {changed("Connection: Upgrade", "Connection: Upgraded"), "400"},
      {changed("Connection: Upgrade", "Connection: keep-alive"), "400"},
      {changed("Connection: Upgrade\n", ""), "400"},
      // Key.
      {changed(kKeyLine, ""), "400"},
      {added(kKeyLine), "400"},
      {added("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\n"), "400"},
      {changed("dGhlIHNhbXBsZSBub25jZQ==", ""), "400"},
      {changed("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ"), "400"},
      {changed("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ=="), "101"},
      {changed("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j"), "400"},
      {changed("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQE="), "400"},
      {changed("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQEBAQ=="), "400"},
      {changed("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZS-ub25jZQ=="), "400"},
      {changed("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBs=SBub25jZQ=="), "400"},
      {changed("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNh XBsZSBub25jZQ=="), "400"},
      // Version.
      {changed(kVersionLine, ""), "400"},
      {added(kVersionLine), "400"},
      {changed("Version: 13", "Version: 8"), "426"},
      {changed("Version: 13", "Version: 14"), "426"},
      {changed("Version: 13", "Version: 0"), "426"},
      {changed("Version: 13", "Version: 013"), "426"},
      {changed("Version: 13", "Version: 13, 8"), "426"},
      {changed("Version: 13", "Version: thirteen"), "426"},
      {changed("Version: 13", "Version:"), "426"},
      // A body would be read as frames.
      {added("Content-Length: 0\n"), "101"},
      {added("Content-Length: 5\n"), "400"},
      {added("Content-Length: 0\nContent-Length: 0\n"), "400"},
      {added("Transfer-Encoding: chunked\n"), "400"},
      // Extensions and subprotocols that break the grammar.
      {added("Sec-WebSocket-Protocol: chat\n"), "101"},
      {added("Sec-WebSocket-Protocol:\n"), "101"},
      {added("Sec-WebSocket-Protocol: , ,\n"), "101"},
      {added("Sec-WebSocket-Protocol: chat, super chat\n"), "400"},
      {added("Sec-WebSocket-Protocol: chat, chat\n"), "400"},
      {added("Sec-WebSocket-Protocol: chat\nSec-WebSocket-Protocol: chat\n"), "400"},
      {added("Sec-WebSocket-Protocol: cha\"t\n"), "400"},
      {added("Sec-WebSocket-Extensions: permessage-deflate\n"), "101"},
      {added("Sec-WebSocket-Extensions: permessage-deflate;\n"), "400"},
      {added("Sec-WebSocket-Extensions: a b\n"), "400"},
      {added("Sec-WebSocket-Extensions: foo; x=\"open\n"), "400"},
      // Unknown fields and names in any case are no matter.
      {added("X-Forwarded-For: 10.0.0.1\nCookie: a=b\n"), "101"},
      {changed("Sec-WebSocket-Key", "sec-websocket-key"), "101"},
      // Plain HTTP.
      {"GET / HTTP/1.1\nHost: a\n", "plain"},
      {"GET / HTTP/1.1\nHost: a\nUpgrade: h2c\nConnection: Upgrade\n", "plain"},
      {"POST / HTTP/1.1\nHost: a\nContent-Length: 3\n", "plain"},
      {"GET / HTTP/1.0\n", "plain"},
      {"GET / HTTP/1.1\nHost: a\nConnection: Upgrade\n", "plain"},
  };
  for (const Case& c : cases) EXPECT_EQ(outcome_of(c.request), c.outcome) << c.request;
}

TEST(Handshake, RejectionsCarryTheirFields) {
  EXPECT_EQ(upgrade_of(changed("GET", "PUT")).rejection.extra_fields, "Allow: GET\r\n");
  EXPECT_EQ(upgrade_of(changed("Version: 13", "Version: 7")).rejection.extra_fields,
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n");
  EXPECT_EQ(ws::upgrade_required().status, 426);
  EXPECT_NE(ws::upgrade_required().extra_fields.find("Sec-WebSocket-Version: 13\r\n"),
            std::string_view::npos);
}

struct OriginCase {
  std::string_view host;
  std::string_view origin;
  std::string_view outcome;
};

void expect_origins(const HandshakePolicy& policy, const std::vector<OriginCase>& cases) {
  for (const OriginCase& c : cases) {
    const std::string request =
        changed("server.example.com", c.host).append("Origin: ").append(c.origin).append("\n");
    EXPECT_EQ(outcome_of(request, policy), c.outcome) << c.host << " from " << c.origin;
  }
}

TEST(Handshake, TheOriginOfTheHostIsLetInOverEitherScheme) {
  expect_origins({}, {
                         {"a.com", "http://a.com", "101"},
                         {"a.com", "https://a.com", "101"},
                         {"a.com", "HTTPS://a.com", "101"},
                         {"a.com", "http://a.com:80", "101"},
                         {"a.com", "https://a.com:443", "101"},
                         {"a.com:80", "http://a.com", "101"},
                         {"a.com:443", "https://a.com", "101"},
                         {"a.com:8080", "http://a.com:8080", "101"},
                         {"a.com:8080", "https://a.com:8080", "101"},
                         {"A.com", "http://a.COM", "101"},
                         {"a.com", "http://a.com:", "101"},
                         {"[::1]:8080", "http://[::1]:8080", "101"},
                         {"[0:0::1]:8080", "https://[::1]:8080", "101"},
                         {"[::FFFF:127.0.0.1]", "http://[::ffff:7f00:1]", "101"},
                         {"127.0.0.1:8080", "http://127.0.0.1:8080", "101"},
                         {"a.com:443", "http://a.com", "403"},
                         {"a.com:80", "https://a.com", "403"},
                         {"a.com", "https://a.com:80", "403"},
                         {"a.com", "http://a.com:443", "403"},
                         {"a.com:8080", "http://a.com", "403"},
                         {"a.com", "http://a.com:8080", "403"},
                         {"a.com:8080", "https://a.com", "403"},
                         {"127.0.0.1:8080", "https://a.com", "403"},  // nginx's default Host
                         {"a.com", "http://b.com", "403"},
                         {"a.com", "http://a.com.evil.com", "403"},
                         {"a.com", "http://evila.com", "403"},
                         {"a.com", "http://sub.a.com", "403"},
                         {"a.com", "ftp://a.com", "403"},
                         {"a.com", "ws://a.com", "403"},
                         {"a.com", "chrome-extension://a.com", "403"},
                         {"[::1]", "http://[::2]", "403"},
                     });
}

TEST(Handshake, AMalformedOriginIsRefused) {
  HandshakePolicy policy;
  policy.allow_origins({"https://app.example.org"});
  for (const std::string_view origin : {"http://a.com/",
                                        "http://a.com/path",
                                        "http://user@a.com",
                                        "http://a.com#x",
                                        "http://a.com http://a.com",
                                        "a.com",
                                        "//a.com",
                                        "http://",
                                        "http://:80",
                                        "http://a.com:080",
                                        "http://a.com:x",
                                        "http://a.com:0",
                                        "http://a.com:65616",
                                        "http://a.com,",
                                        "://a.com",
                                        "1://a.com",
                                        "null",
                                        "",
                                        "file://",
                                        "file:///",
                                        "http://[::1",
                                        "http://a%2Ecom",
                                        "https://app.example.org/",
                                        "https://app.example.org, https://app.example.org"}) {
    expect_origins(policy, {{"a.com", origin, "403"}});
  }
  expect_origins(policy, {{"[::1", "http://[::1", "403"}});
}

TEST(Handshake, AStrictPolicyKnowsTheListenersOwnSchemeOnly) {
  HandshakePolicy policy;
  policy.is_origin_strict = true;
  policy.allow_origins({"https://app.example.org"});
  expect_origins(policy, {
                             {"a.com", "http://a.com", "101"},
                             {"a.com:80", "http://a.com", "101"},
                             {"a.com", "https://a.com", "403"},
                             {"a.com:443", "https://a.com", "403"},
                             {"a.com", "https://app.example.org", "101"},
                         });
  policy.is_secure = true;
  expect_origins(policy, {
                             {"a.com", "https://a.com", "101"},
                             {"a.com:443", "https://a.com", "101"},
                             {"a.com", "http://a.com", "403"},
                         });
}

TEST(Handshake, OriginRulesForProgramsDoubledFieldsAndOpenEndpoints) {
  HandshakePolicy open;
  open.allow_origins({"*"});
  EXPECT_EQ(outcome_of(kGood), "101") << "no Origin: not a browser";
  EXPECT_EQ(outcome_of(added("Origin: http://server.example.com\n")), "101");
  const std::string twice =
      added("Origin: http://server.example.com\nOrigin: http://server.example.com\n");
  EXPECT_EQ(outcome_of(twice), "403");
  EXPECT_EQ(outcome_of(twice, open), "403");
  EXPECT_EQ(outcome_of(added("Origin: http://evil.com\n"), open), "101");
  EXPECT_EQ(outcome_of(added("Origin: null\n"), open), "101");
}

TEST(Handshake, OurFirstSubprotocolThatTheClientOffersIsChosen) {
  HandshakePolicy policy;
  policy.subprotocols = {"corelane.v1", "chat"};
  const auto chosen = [&policy](std::string_view lines) {
    const std::string request = added(lines);
    return std::string{upgrade_of(request, policy).subprotocol};
  };
  EXPECT_EQ(chosen("Sec-WebSocket-Protocol: chat, corelane.v1\n"), "corelane.v1");
  EXPECT_EQ(chosen("Sec-WebSocket-Protocol: chat\nSec-WebSocket-Protocol: corelane.v1\n"),
            "corelane.v1");
  EXPECT_EQ(chosen("Sec-WebSocket-Protocol: corelane.v1 ,chat\n"), "corelane.v1");
  EXPECT_EQ(chosen("Sec-WebSocket-Protocol: x\nSec-WebSocket-Protocol: chat\n"), "chat");
  EXPECT_EQ(chosen("Sec-WebSocket-Protocol: CHAT\n"), "") << "subprotocols have case";
  EXPECT_EQ(chosen("Sec-WebSocket-Protocol: soap\n"), "");
  EXPECT_EQ(chosen(""), "");
  EXPECT_EQ(chosen("Sec-WebSocket-Protocol:\n"), "") << "libsoup asks for none like this";
  EXPECT_EQ(chosen("Sec-WebSocket-Protocol:\nSec-WebSocket-Protocol: chat\n"), "chat");
  std::string many = "Sec-WebSocket-Protocol: chat";
  for (int i = 1; i < 64; ++i) many += ", p" + std::to_string(i);
  EXPECT_EQ(chosen(many + "\n"), "chat") << "64 members";
  EXPECT_EQ(outcome_of(added(many + ", onemore\n"), policy), "400");
}

TEST(Handshake, ASubprotocolThatIsRequiredMustBeOffered) {
  HandshakePolicy policy;
  policy.subprotocols = {"corelane.v1", "chat"};
  policy.is_subprotocol_required = true;
  EXPECT_EQ(outcome_of(added("Sec-WebSocket-Protocol: soap, chat\n"), policy), "101");
  for (const std::string_view lines :
       {"", "Sec-WebSocket-Protocol:\n", "Sec-WebSocket-Protocol: CHAT\n",
        "Sec-WebSocket-Protocol: soap\n"}) {
    const std::string request = added(lines);
    const ws::Upgrade upgrade = upgrade_of(request, policy);
    EXPECT_EQ(upgrade.kind, UpgradeKind::rejected) << lines;
    EXPECT_EQ(upgrade.rejection.status, 400) << lines;
    EXPECT_EQ(upgrade.rejection.reason,
              "Sec-WebSocket-Protocol offers none of the subprotocols spoken here")
        << lines;
  }
}

TEST(Handshake, TheAnswerNamesWhatWasChosen) {
  HandshakePolicy policy;
  policy.subprotocols = {"chat"};
  policy.deflate.is_enabled = true;
  const std::string request = added(
      "Sec-WebSocket-Protocol: chat\n"
      "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=8\n"
      "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=12\n");
  const ws::Upgrade upgrade = upgrade_of(request, policy);
  ASSERT_EQ(upgrade.kind, UpgradeKind::accepted);
  std::string response;
  ws::write_upgrade_response(response, upgrade);
  EXPECT_NE(response.find("\r\nSec-WebSocket-Protocol: chat\r\n"), std::string::npos);
  EXPECT_NE(response.find("\r\nSec-WebSocket-Extensions: permessage-deflate; "
                          "client_max_window_bits=12\r\n"),
            std::string::npos);
}

// The nonce of the RFC's example is "the sample nonce".
ws::ClientHandshake client() {
  static constexpr std::array<std::string_view, 2> kOffered = {"chat", "superchat"};
  ws::ClientHandshake handshake;
  handshake.host = "server.example.com";
  handshake.target = "/chat";
  handshake.subprotocols = kOffered;
  handshake.deflate.is_enabled = true;
  constexpr std::string_view kNonce = "the sample nonce";
  for (std::size_t i = 0; i < kNonce.size(); ++i) {
    handshake.nonce[i] = static_cast<std::byte>(kNonce[i]);
  }
  return handshake;
}

TEST(ClientHandshake, TheRequestIsTheOneOfTheRfc) {
  std::string request;
  ws::ClientHandshake handshake = client();
  handshake.origin = "http://example.com";
  ws::write_upgrade_request(request, handshake);
  EXPECT_EQ(request,
            "GET /chat HTTP/1.1\r\n"
            "Host: server.example.com\r\n"
            "Upgrade: websocket\r\n"
            "Connection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            "Sec-WebSocket-Version: 13\r\n"
            "Origin: http://example.com\r\n"
            "Sec-WebSocket-Protocol: chat, superchat\r\n"
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
            "\r\n");
}

std::string client_outcome(std::string_view lines, int status = 101) {
  const std::vector<Field> fields = fields_of(lines);
  const ws::ClientHandshake handshake = client();
  const auto result = ws::check_upgrade_response(status, fields, handshake);
  if (!result) return std::string{ws::describe(result.error())};
  return "ok " + std::string{result->subprotocol} + (result->deflate ? " deflate" : "");
}

TEST(ClientHandshake, EveryResponseIsJudged) {
  const std::string upgrade = "Upgrade: websocket\nConnection: Upgrade\n";
  const std::string accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\n";
  const std::string good = upgrade + accept;
  const auto text = [](HandshakeError error) { return std::string{ws::describe(error)}; };
  const std::vector<Case> cases = {
      {good, "ok "},
      {good + "Sec-WebSocket-Protocol: chat\n", "ok chat"},
      {good + "Sec-WebSocket-Protocol:\n", "ok "},
      {good + "Sec-WebSocket-Extensions: permessage-deflate\n", "ok  deflate"},
      {"Upgrade: WebSocket\nConnection: upgrade\n" + accept, "ok "},
      {accept + "Connection: Upgrade\n", text(HandshakeError::upgrade)},
      {accept + "Upgrade: websocket\n", text(HandshakeError::upgrade)},
      {accept + "Upgrade: h2c\nConnection: Upgrade\n", text(HandshakeError::upgrade)},
      {upgrade, text(HandshakeError::accept_key)},
      {good + accept, text(HandshakeError::accept_key)},
      {upgrade + "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=\n",
       text(HandshakeError::accept_key)},
      {good + "Sec-WebSocket-Protocol: soap\n", text(HandshakeError::subprotocol)},
      {good + "Sec-WebSocket-Protocol: chat, superchat\n", text(HandshakeError::subprotocol)},
      {good + "Sec-WebSocket-Protocol: chat\nSec-WebSocket-Protocol: chat\n",
       text(HandshakeError::subprotocol)},
      {good + "Sec-WebSocket-Extensions: permessage-bzip2\n", text(HandshakeError::extension)},
      {good + "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=8\n",
       text(HandshakeError::extension)},
      {good + "Sec-WebSocket-Extensions: permessage-deflate\n"
              "Sec-WebSocket-Extensions: permessage-deflate\n",
       text(HandshakeError::extension)},
  };
  for (const Case& c : cases) EXPECT_EQ(client_outcome(c.request), c.outcome) << c.request;
  EXPECT_EQ(client_outcome(good, 200), text(HandshakeError::status));
  EXPECT_EQ(client_outcome(good, 302), text(HandshakeError::status));
}

}  // namespace
}  // namespace corelane
