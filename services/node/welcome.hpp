#pragma once
// The page at `/`: what this server is, what it speaks, and where its documents are, for whoever
// opens its address in a browser. A constant that all cores share.

#include "net/http/response.hpp"

namespace corelane::services {

// Made with the first call.
const net::http::StaticResponse& welcome_page();

}  // namespace corelane::services
