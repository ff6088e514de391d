#pragma once
// The page that a browser shows at `/`: what this server is, what it speaks, and where its
// documents are. A constant that all cores share.

#include "net/http/response.hpp"

namespace corelane::services {

// Made with the first call.
const net::http::StaticResponse& welcome_page();

}  // namespace corelane::services
