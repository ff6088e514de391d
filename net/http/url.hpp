#pragma once
// URLs of clients: http:// and ws://, https:// and wss:// (told apart, for there is no TLS yet),
// and http+unix:// and ws+unix:// for Unix sockets. Pure functions of the text: a name is looked up
// later. What is sent is normalised as RFC 3986 section 6 says, and has nothing in it that means
// something on this host only:
//
//   HTTP://LocalHost:80/a#b     Host: localhost      /a
//   ws://[fe80::1%eth0]:9       Host: [fe80::1]:9    /    (RFC 6874 section 4; %25 for % as well)
//   http://127.1:9/?q           Host: 127.0.0.1:9    /?q
//   http+unix://%2Frun%2Fapi.sock/v1/list            Host: localhost      /v1/list

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/address.hpp"

namespace corelane::net::http {

struct Url {
  std::optional<runtime::Address> address{};  // if the URL has one, with its port
  std::string name{};                         // else the name to look up
  std::uint16_t port = 0;
  std::string host{};       // for the Host field, with the port unless it is the scheme's own
  std::string target{"/"};  // path and query
  std::string socket{};     // the address of a Unix socket, "unix:/run/api.sock"
  // What two URLs with the same origin (RFC 9110 section 4.3.1) have in common: the host with its
  // zone, for the same address is another host behind another interface; or a socket, which begins
  // as no host does.
  std::string site{};
  bool is_secure = false;  // https, wss

  bool has_origin_of(const Url& other) const noexcept {
    return is_secure == other.is_secure && site == other.site;
  }
};

struct ParsedUrl {
  std::optional<Url> url{};
  std::string problem{};  // if there is none: why, and what to write
};

enum class UrlKind : std::uint8_t { http, websocket };

// A URL longer than this is refused. Limits::request_line_bytes_max of our server is less.
inline constexpr std::size_t kUrlBytesMax = 8 * 1024;

// A fragment is left out of an http URL (RFC 9110 section 4.2.5), and refused in a WebSocket's (RFC
// 6455 section 3).
ParsedUrl parse_url(std::string_view text, UrlKind kind = UrlKind::http);
// A reference, as in Location (RFC 9110 section 10.2.2), seen from `base` (RFC 3986 section 5.2).
ParsedUrl resolve_reference(const Url& base, std::string_view reference);

// --- Parts, for other schemes

// Host and port: a name, an IPv4 address as inet_aton(3) takes it, or an IPv6 address in brackets.
struct Authority {
  std::optional<runtime::Address> address{};  // without a port
  std::string name{};                         // if it is no address
  std::string host{};                         // for the Host field, without a port
  std::optional<std::uint16_t> port{};
  std::string problem{};  // empty if there is none
};
Authority parse_authority(std::string_view text);
// Why path and query cannot be sent; empty if they can.
std::string problem_of_target(std::string_view target);
// Schemes are the same in upper and lower case (RFC 3986 section 3.1); `lower` is in lower case.
bool begins_with_scheme(std::string_view text, std::string_view lower) noexcept;

}  // namespace corelane::net::http
