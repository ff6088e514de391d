#pragma once
// The opening handshake of RFC 6455 section 4, both sides, as pure functions over a parsed request
// or response. Views in the results lie in the request's fields or in the policy.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/http/message.hpp"
#include "runtime/result.hpp"
#include "ws/deflate.hpp"
#include "ws/origin.hpp"

namespace corelane::ws {

// The handshakes that an endpoint accepts. Built at start-up, shared by all connections of a
// listener.
struct HandshakePolicy {
  // The subprotocols of the endpoint, the preferred one first. The first one in this list that the
  // client offers is chosen (RFC 6455 section 4.2.2, item 5 leaves the choice to the server).
  std::vector<std::string> subprotocols{};
  bool is_subprotocol_required = false;  // a client that offers none of them is refused

  // Browsers send Origin; a request without it is not a browser's and is let in. Else its origin
  // must be that of the request's Host or be listed here.
  OriginList origins{};
  // Start-up only; throws std::invalid_argument for an entry that read_origin_entry() refuses.
  void allow_origins(const std::vector<std::string>& entries) { origins.assign(entries); }
  // A page's scheme must be the listener's own. Not so by default: behind a proxy that ends TLS, a
  // page over https reaches a listener that speaks plain TCP.
  bool is_origin_strict = false;
  bool is_secure = false;  // the listener speaks TLS: its own scheme is https

  DeflatePolicy deflate{};

  // Start-up only. Throws std::invalid_argument for a subprotocol that is no token or appears
  // twice, and for a required subprotocol in an empty list.
  void check_subprotocols() const;
};

enum class UpgradeKind : std::uint8_t {
  not_an_upgrade,  // nothing in it asks for WebSocket: serve it as plain HTTP
  accepted,
  rejected,
};

// An error response: the caller adds its framing (Content-Length, Connection).
struct Rejection {
  int status = 400;                    // 400, 403, 405 or 426
  std::string_view reason = {};        // one line for the body and the log
  std::string_view extra_fields = {};  // whole field lines, each with CR LF
};

struct Upgrade {
  UpgradeKind kind = UpgradeKind::not_an_upgrade;
  Rejection rejection = {};                       // if rejected
  std::array<char, 28> accept_key{};              // if accepted: Sec-WebSocket-Accept
  std::string_view subprotocol = {};              // empty: none
  std::optional<DeflateParameters> deflate = {};  // empty: no compression
};

// The server's side of section 4.2.1 and 4.2.2.
Upgrade check_upgrade(const net::http::Request& request, const HandshakePolicy& policy);

// Whether it asks for WebSocket at all, soundly or not.
bool is_upgrade(const net::http::Request& request) noexcept;

// The one that check_upgrade() would choose; empty if there is none, or if the lists are broken.
std::string_view choose_subprotocol(const net::http::Request& request,
                                    const HandshakePolicy& policy) noexcept;

// The answer to a plain HTTP request for a WebSocket route.
Rejection upgrade_required() noexcept;

// Appends the whole 101 response, up to and including the empty line.
void write_upgrade_response(std::string& to, const Upgrade& upgrade);

// base64(SHA-1(key + GUID)), section 4.2.2. `key` has 24 characters, base64 of 16 bytes.
std::array<char, 28> accept_key_of(std::string_view key);

// What a client asks for.
struct ClientHandshake {
  std::string_view host;  // with port unless it is the scheme's own
  std::string_view target = "/";
  std::string_view origin{};  // empty: none is sent
  std::span<const std::string_view> subprotocols{};
  std::span<const net::http::Field> extra_fields{};
  DeflatePolicy deflate{};          // what is offered
  std::array<std::byte, 16> nonce;  // fresh and random for each connection
};

void write_upgrade_request(std::string& to, const ClientHandshake& handshake);

struct ClientUpgrade {
  std::string_view subprotocol;  // lies in handshake.subprotocols
  std::optional<DeflateParameters> deflate;
};

// Why a response is no valid answer (section 4.1).
enum class HandshakeError : std::uint8_t {
  status,       // not 101: an HTTP answer for the caller to look at
  upgrade,      // Upgrade or Connection is missing or wrong
  accept_key,   // Sec-WebSocket-Accept is missing, doubled or wrong
  subprotocol,  // one that was not offered, or more than one
  extension,    // one that was not offered, or parameters we cannot honour
};
std::string_view describe(HandshakeError error) noexcept;

runtime::Result<ClientUpgrade, HandshakeError> check_upgrade_response(
    int status, std::span<const net::http::Field> fields, const ClientHandshake& handshake);

}  // namespace corelane::ws
