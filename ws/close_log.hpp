#pragma once
// A line of the log for each connection that a server ends by its own decision.

#include <string_view>

#include "net/stream.hpp"
#include "ws/close_code.hpp"

namespace corelane::ws {

[[gnu::cold]] void log_closed(net::Stream& stream, CloseCode code, std::string_view reason);

}  // namespace corelane::ws
