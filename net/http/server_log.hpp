#pragma once
// What the HTTP server logs: what it refuses, with the limit or the rule, and the peer's address.

#include <string_view>

#include "net/stream.hpp"

namespace corelane::net::http {

// A connection that was answered 503 before its first byte.
[[gnu::cold]] void log_no_room(Stream& stream, std::string_view why);
// A peer that reads none of its answer.
[[gnu::cold]] void log_stalled(Stream& stream);
// A handler that has thrown. `stream`: null if the peer is gone.
[[gnu::cold]] void log_handler_failure(Stream* stream, std::string_view method,
                                       std::string_view path, std::string_view what);

}  // namespace corelane::net::http
