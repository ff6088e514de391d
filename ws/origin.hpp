#pragma once
// Whether a page belongs to the host that it asks for a WebSocket (RFC 6454, RFC 6455
// section 10.2). Pure code: text in, yes or no out; never suspends.

#include <string_view>

namespace ws {

// `origin` is the value of an Origin field, as "https://example.org:8443"; `host` that of the Host
// field, as "example.org:8443". The same origin: the scheme that `is_secure` means, the same host
// in upper or lower case, and the same port, where none stands for the scheme's own. What is
// malformed is nobody's origin.
bool is_same_origin(std::string_view origin, std::string_view host, bool is_secure) noexcept;

}  // namespace ws
