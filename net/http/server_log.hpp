#pragma once
// What the HTTP server logs: what it refuses, with the limit or the rule, and the peer's address.

#include <string_view>

#include "net/stream.hpp"

namespace corelane::net::http {

// Answered 503 before its first byte.
[[gnu::cold]] void log_no_room(Stream& stream, std::string_view why);
// It takes nothing of its answer.
[[gnu::cold]] void log_stalled(Stream& stream);

}  // namespace corelane::net::http
