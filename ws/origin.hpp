#pragma once
// Which web origins may open a WebSocket (RFC 6454, RFC 6455 section 10.2): the origin of the host
// that is asked, and origins that a configuration lists. Pure code; never suspends. Lists are made
// at start-up; matching allocates nothing.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace corelane::ws {

enum class SchemeRule : std::uint8_t {
  either,  // http and https alike: a proxy in front of us may have ended TLS
  http,    // the page's scheme must be this one
  https,
};

// `origin` is the value of an Origin field, as "https://example.org:8443"; `host` that of the Host
// field, as "example.org:8443". The same origin: http or https as the rule says, the same host (in
// upper or lower case, an IPv6 address in any spelling), and the same port; a missing port is the
// default port of the Origin's scheme. A malformed Origin equals none.
bool is_same_origin(std::string_view origin, std::string_view host, SchemeRule rule) noexcept;

// One listed origin, or a pattern of several.
struct OriginPattern {
  static constexpr std::uint32_t kAnyPort = 65'536;

  std::string scheme;  // in lower case
  std::string host;    // ASCII, in lower case, without the wildcard labels; empty: any
  std::uint32_t wildcard_labels = 0;  // labels in front of `host`, whatever they are
  std::uint32_t port = 0;             // 0: the scheme has none
  bool is_any_host = false;
};

// An entry of a list as an administrator writes it, and why it cannot be used.
struct OriginEntry {
  enum class Kind : std::uint8_t { pattern, any, null };
  Kind kind = Kind::pattern;
  OriginPattern pattern = {};
  std::string problem = {};  // empty if it can be used
};

// The entries that can match what browsers send, each exactly as written here:
//
//   https://example.org        the scheme's port; also https://example.org:443
//   https://bücher.example     by its ASCII form (UTS 46, non-transitional)
//   https://*.example.org      one label in place of each leading "*", never none
//   http://localhost:*         any port
//   moz-extension://*          any host: such pages have a new one with each installation
//   file://, null              what pages without a host send, each of its own
//   *                          any origin
//
// Everything else has a problem: a path, user information, a port above 65535, the schemes ws and
// wss (an Origin has the page's) and ftp, a port of an extension, an address in a spelling that
// browsers never send.
OriginEntry read_origin_entry(std::string_view text);

class OriginList {
 public:
  // Start-up only. Throws std::invalid_argument for an entry with a problem.
  void assign(const std::vector<std::string>& entries);

  bool allows_any() const noexcept { return allows_any_; }
  bool matches(std::string_view origin) const noexcept;

 private:
  std::vector<OriginPattern> patterns_;
  bool allows_any_ = false;
  bool allows_null_ = false;
};

}  // namespace corelane::ws
