#include "ws/handshake.hpp"

// OpenSSL 3 would have SHA-1 used through EVP. That loads a provider at first, which takes it
// milliseconds, and then makes a context for each digest: an allocation and a third of the
// instructions for a hash of 60 bytes.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/evp.h>
#include <openssl/sha.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "net/http/syntax.hpp"
#include "net/http/text_scan.hpp"
#include "runtime/assert.hpp"
#include "ws/header_list.hpp"

namespace corelane::ws {
namespace {

constexpr std::string_view kGuid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
constexpr std::string_view kVersion = "13";
constexpr std::size_t kKeyChars = 24;  // base64 of 16 bytes
// Uniqueness of subprotocols is checked pair by pair; nobody offers more.
constexpr std::size_t kSubprotocolsMax = 64;

// The fields that matter, gathered in one pass over the request or response.
struct Gathered {
  struct Single {
    std::string_view value;
    std::size_t count = 0;
    void add(std::string_view text) noexcept {
      value = text;
      ++count;
    }
  };
  Single host, key, version, origin, accept, content_length;
  std::size_t subprotocol_lines = 0;
  std::size_t extension_lines = 0;
  bool has_transfer_encoding = false;
  bool is_upgrade_to_websocket = false;
  bool has_connection_upgrade = false;
};

Gathered gather(std::span<const net::http::Field> fields) noexcept {
  using net::http::field_name_is;
  Gathered found;
  for (const auto& [name, value] : fields) {
    switch (name.size()) {
      case 4:
        if (field_name_is<"host">(name)) found.host.add(value);
        break;
      case 6:
        if (field_name_is<"origin">(name)) found.origin.add(value);
        break;
      case 7:
        if (field_name_is<"upgrade">(name)) {
          found.is_upgrade_to_websocket |= net::http::list_has_token(value, "websocket");
        }
        break;
      case 10:
        if (field_name_is<"connection">(name)) {
          found.has_connection_upgrade |= net::http::list_has_token(value, "upgrade");
        }
        break;
      case 14:
        if (field_name_is<"content-length">(name)) found.content_length.add(value);
        break;
      case 17:
        if (field_name_is<"sec-websocket-key">(name)) found.key.add(value);
        if (field_name_is<"transfer-encoding">(name)) found.has_transfer_encoding = true;
        break;
      case 20:
        if (field_name_is<"sec-websocket-accept">(name)) found.accept.add(value);
        break;
      case 21:
        if (field_name_is<"sec-websocket-version">(name)) found.version.add(value);
        break;
      case 22:
        if (field_name_is<"sec-websocket-protocol">(name)) ++found.subprotocol_lines;
        break;
      case 24:
        if (field_name_is<"sec-websocket-extensions">(name)) ++found.extension_lines;
        break;
      default:
        break;
    }
  }
  return found;
}

constexpr bool is_base64(char c) noexcept {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
         c == '/';
}
constexpr net::http::AsciiSet kBase64Chars{is_base64};

// base64 of exactly 16 bytes. The four unused bits of the last character are not looked at, as
// most decoders do: the key still decodes to 16 bytes.
bool is_valid_key(std::string_view key) noexcept {
  if (key.size() != kKeyChars || !key.ends_with("==")) return false;
  key.remove_suffix(2);
  return std::all_of(key.begin(), key.end(), [](char c) { return kBase64Chars.contains(c); });
}

bool is_origin_allowed(const Gathered& found, const HandshakePolicy& policy) noexcept {
  if (found.origin.count == 0) return true;
  if (found.origin.count > 1) return false;
  const std::string_view origin = found.origin.value;
  const SchemeRule own_scheme = policy.is_secure ? SchemeRule::https : SchemeRule::http;
  const SchemeRule rule = policy.is_origin_strict ? own_scheme : SchemeRule::either;
  return is_same_origin(origin, found.host.value, rule) || policy.origins.matches(origin);
}

// Key or version without Upgrade is a handshake that a proxy has damaged, not plain HTTP.
bool is_upgrade(const Gathered& found) noexcept {
  return found.is_upgrade_to_websocket || found.key.count != 0 || found.version.count != 0;
}

// Chooses the first of ours that the client offers. False if the lists are broken: a member that is
// no token, or one that comes twice (section 4.1, item 10). A list without members, as libsoup
// sends it, asks for no subprotocol.
bool read_subprotocols(const net::http::Request& request, const HandshakePolicy& policy,
                       std::string_view& chosen) noexcept {
  const std::vector<std::string>& ours = policy.subprotocols;
  auto best = ours.end();
  std::array<std::string_view, kSubprotocolsMax> seen;
  std::size_t count = 0;
  for (const net::http::Field& field : request.fields) {
    if (!equal_without_case(field.name, "Sec-WebSocket-Protocol")) continue;
    const bool is_sound = for_each_token(field.value, [&](std::string_view token) {
      if (count == seen.size()) return false;
      if (std::find(seen.begin(), seen.begin() + count, token) != seen.begin() + count) {
        return false;
      }
      seen[count++] = token;
      best = std::find(ours.begin(), best, token);  // stays where it is if there is none before it
      return true;
    });
    if (!is_sound) return false;
  }
  if (best != ours.end()) chosen = *best;
  return true;
}

bool choose_extensions(const net::http::Request& request, const HandshakePolicy& policy,
                       std::optional<DeflateParameters>& chosen) {
  DeflateOffers offers{policy.deflate};
  for (const net::http::Field& field : request.fields) {
    if (!equal_without_case(field.name, "Sec-WebSocket-Extensions")) continue;
    if (!offers.read_line(field.value)) return false;
  }
  chosen = offers.accepted();
  return true;
}

constexpr Rejection bad_request(std::string_view reason) noexcept {
  return {.status = 400, .reason = reason, .extra_fields = {}};
}

// The checks that need no choice, in the order in which they are reported.
std::optional<Rejection> find_fault(const net::http::Request& request, const Gathered& found,
                                    const HandshakePolicy& policy) {
  if (!found.is_upgrade_to_websocket) return bad_request("Upgrade does not name websocket");
  if (request.method != "GET") {
    return Rejection{.status = 405,
                     .reason = "a WebSocket handshake is a GET",
                     .extra_fields = "Allow: GET\r\n"};
  }
  if (request.version != 11) return bad_request("a WebSocket handshake needs HTTP/1.1");
  if (found.host.count != 1) return bad_request("there must be one Host");
  if (found.host.value.empty()) return bad_request("Host is empty");
  if (!found.has_connection_upgrade) return bad_request("Connection does not name upgrade");
  if (found.version.count != 1) return bad_request("there must be one Sec-WebSocket-Version");
  if (found.version.value != kVersion) {
    Rejection rejection = upgrade_required();
    rejection.reason = "only version 13 of the WebSocket protocol is spoken here";
    return rejection;
  }
  if (found.key.count != 1) return bad_request("there must be one Sec-WebSocket-Key");
  if (!is_valid_key(found.key.value)) {
    return bad_request("Sec-WebSocket-Key is not base64 of 16 bytes");
  }
  // The bytes behind the request are frames: a body would be read as such.
  const bool announces_body = found.content_length.count > 1 || (found.content_length.count == 1 &&
                                                                 found.content_length.value != "0");
  if (found.has_transfer_encoding || announces_body || !request.body.empty()) {
    return bad_request("a WebSocket handshake has no body");
  }
  if (!is_origin_allowed(found, policy)) {
    return Rejection{.status = 403, .reason = "this Origin is not allowed", .extra_fields = {}};
  }
  return std::nullopt;
}

void append_field(std::string& to, std::string_view name, std::string_view value) {
  to.append(name).append(": ").append(value).append("\r\n");
}

std::array<char, kKeyChars> key_of_nonce(std::span<const std::byte, 16> nonce) {
  std::array<unsigned char, kKeyChars + 1> encoded;
  const int size =
      EVP_EncodeBlock(encoded.data(), reinterpret_cast<const unsigned char*>(nonce.data()), 16);
  RT_ASSERT(size == static_cast<int>(kKeyChars));
  std::array<char, kKeyChars> key;
  std::copy_n(encoded.begin(), key.size(), key.begin());
  return key;
}

}  // namespace

std::array<char, 28> accept_key_of(std::string_view key) {
  RT_ASSERT(key.size() == kKeyChars);
  SHA_CTX context;
  std::array<unsigned char, SHA_DIGEST_LENGTH> digest;
  const bool is_done = SHA1_Init(&context) == 1 &&
                       SHA1_Update(&context, key.data(), key.size()) == 1 &&
                       SHA1_Update(&context, kGuid.data(), kGuid.size()) == 1 &&
                       SHA1_Final(digest.data(), &context) == 1;
  RT_ASSERT(is_done);
  std::array<unsigned char, 29> encoded;
  const int size = EVP_EncodeBlock(encoded.data(), digest.data(), 20);
  RT_ASSERT(size == 28);
  std::array<char, 28> accept;
  std::copy_n(encoded.begin(), accept.size(), accept.begin());
  return accept;
}

bool is_upgrade(const net::http::Request& request) noexcept {
  return is_upgrade(gather(request.fields));
}

std::string_view choose_subprotocol(const net::http::Request& request,
                                    const HandshakePolicy& policy) noexcept {
  std::string_view chosen;
  return read_subprotocols(request, policy, chosen) ? chosen : std::string_view{};
}

void HandshakePolicy::check_subprotocols() const {
  if (is_subprotocol_required && subprotocols.empty()) {
    throw std::invalid_argument("a subprotocol is required, but none is spoken");
  }
  for (auto at = subprotocols.begin(); at != subprotocols.end(); ++at) {
    if (!net::http::is_token(*at)) {
      throw std::invalid_argument("the subprotocol \"" + *at + "\" is not a token (RFC 9110)");
    }
    if (std::find(subprotocols.begin(), at, *at) != at) {
      throw std::invalid_argument("the subprotocol " + *at + " is there twice");
    }
  }
}

Rejection upgrade_required() noexcept {
  return {.status = 426,
          .reason = "this resource speaks WebSocket only",
          .extra_fields = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"};
}

Upgrade check_upgrade(const net::http::Request& request, const HandshakePolicy& policy) {
  Upgrade upgrade;
  const Gathered found = gather(request.fields);
  if (!is_upgrade(found)) return upgrade;
  std::optional<Rejection> fault = find_fault(request, found, policy);
  if (!fault && found.subprotocol_lines > 0 &&
      !read_subprotocols(request, policy, upgrade.subprotocol)) {
    fault = bad_request("Sec-WebSocket-Protocol is malformed");
  }
  if (!fault && policy.is_subprotocol_required && upgrade.subprotocol.empty()) {
    fault = bad_request("Sec-WebSocket-Protocol offers none of the subprotocols spoken here");
  }
  if (!fault && found.extension_lines > 0 && !choose_extensions(request, policy, upgrade.deflate)) {
    fault = bad_request("Sec-WebSocket-Extensions is malformed");
  }
  if (fault) return {.kind = UpgradeKind::rejected, .rejection = *fault};
  upgrade.kind = UpgradeKind::accepted;
  upgrade.accept_key = accept_key_of(found.key.value);
  return upgrade;
}

void write_upgrade_response(std::string& to, const Upgrade& upgrade) {
  RT_ASSERT(upgrade.kind == UpgradeKind::accepted);
  to.append("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
  append_field(to, "Sec-WebSocket-Accept", {upgrade.accept_key.data(), upgrade.accept_key.size()});
  if (!upgrade.subprotocol.empty()) {
    append_field(to, "Sec-WebSocket-Protocol", upgrade.subprotocol);
  }
  if (upgrade.deflate) {
    to.append("Sec-WebSocket-Extensions: ");
    write_deflate_answer(to, *upgrade.deflate);
    to.append("\r\n");
  }
  to.append("\r\n");
}

void write_upgrade_request(std::string& to, const ClientHandshake& handshake) {
  const auto key = key_of_nonce(handshake.nonce);
  to.append("GET ").append(handshake.target).append(" HTTP/1.1\r\n");
  append_field(to, "Host", handshake.host);
  append_field(to, "Upgrade", "websocket");
  append_field(to, "Connection", "Upgrade");
  append_field(to, "Sec-WebSocket-Key", {key.data(), key.size()});
  append_field(to, "Sec-WebSocket-Version", kVersion);
  if (!handshake.origin.empty()) append_field(to, "Origin", handshake.origin);
  if (!handshake.subprotocols.empty()) {
    std::string list;
    for (const std::string_view subprotocol : handshake.subprotocols) {
      if (!list.empty()) list.append(", ");
      list.append(subprotocol);
    }
    append_field(to, "Sec-WebSocket-Protocol", list);
  }
  if (handshake.deflate.is_enabled) {
    std::string offer;
    write_deflate_offer(offer, handshake.deflate);
    append_field(to, "Sec-WebSocket-Extensions", offer);
  }
  for (const net::http::Field& field : handshake.extra_fields) {
    append_field(to, field.name, field.value);
  }
  to.append("\r\n");
}

std::string_view describe(HandshakeError error) noexcept {
  switch (error) {
    case HandshakeError::status:
      return "the server did not answer 101";
    case HandshakeError::upgrade:
      return "the server's Upgrade or Connection field is missing or wrong";
    case HandshakeError::accept_key:
      return "the server's Sec-WebSocket-Accept does not match our key";
    case HandshakeError::subprotocol:
      return "the server chose a subprotocol that was not offered";
    case HandshakeError::extension:
      return "the server chose an extension that was not offered";
  }
  return "unknown handshake error";
}

runtime::Result<ClientUpgrade, HandshakeError> check_upgrade_response(
    int status, std::span<const net::http::Field> fields, const ClientHandshake& handshake) {
  using runtime::Unexpected;
  if (status != 101) return Unexpected{HandshakeError::status};
  const Gathered found = gather(fields);
  if (!found.is_upgrade_to_websocket) return Unexpected{HandshakeError::upgrade};
  if (!found.has_connection_upgrade) return Unexpected{HandshakeError::upgrade};
  const auto key = key_of_nonce(handshake.nonce);
  const auto expected = accept_key_of({key.data(), key.size()});
  if (found.accept.count != 1) return Unexpected{HandshakeError::accept_key};
  if (found.accept.value != std::string_view{expected.data(), expected.size()}) {
    return Unexpected{HandshakeError::accept_key};
  }
  if (found.subprotocol_lines > 1) return Unexpected{HandshakeError::subprotocol};
  if (found.extension_lines > 1) return Unexpected{HandshakeError::extension};
  ClientUpgrade upgrade;
  for (const net::http::Field& field : fields) {
    if (equal_without_case(field.name, "Sec-WebSocket-Protocol")) {
      if (field.value.empty()) continue;  // none was chosen
      const auto offered =
          std::find(handshake.subprotocols.begin(), handshake.subprotocols.end(), field.value);
      if (offered == handshake.subprotocols.end()) return Unexpected{HandshakeError::subprotocol};
      upgrade.subprotocol = *offered;
    } else if (equal_without_case(field.name, "Sec-WebSocket-Extensions")) {
      upgrade.deflate = read_deflate_answer(field.value, handshake.deflate);
      if (!upgrade.deflate) return Unexpected{HandshakeError::extension};
    }
  }
  return upgrade;
}

}  // namespace corelane::ws
