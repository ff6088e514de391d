#pragma once
// Rings of our own protocol: requests whose answers are known but for the server's clock. Pure.

#include <cstddef>

#include "perf/load/message_ring.hpp"
#include "perf/load/target.hpp"
#include "protocol/uuid.hpp"

namespace corelane::perf {

// Ping, answered by Pong with the same data.
MessageRing make_ping_ring(Scheme scheme, std::size_t payload_bytes, std::size_t depth);
// Send to the session `to`, which gets a DirectMessage from `from`.
MessageRing make_send_ring(Scheme scheme, std::size_t payload_bytes, std::size_t depth,
                           const protocol::Uuid& from, const protocol::Uuid& to);

}  // namespace corelane::perf
