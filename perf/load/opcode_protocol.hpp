#pragma once
// The project's own protocol as a FanoutProtocol: ClientSubscribe, Publish and Event, as a TCP
// stream or in binary WebSocket messages.

#include <memory>
#include <string_view>

#include "perf/load/fanout_protocol.hpp"

namespace corelane::perf {

std::unique_ptr<FanoutProtocol> make_opcode_protocol(bool is_websocket,
                                                     std::string_view channel = kChannel);

}  // namespace corelane::perf
