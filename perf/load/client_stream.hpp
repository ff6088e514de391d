#pragma once
// A load program's end of a connection: connects, does the WebSocket handshake where the target
// asks for one, and hands the stream to the load's own handler, which sees raw frames.
// (ws::Endpoint would frame, mask and assemble for us; a load has its frames ready and compares
// bytes.)

#include <cstddef>
#include <span>

#include "net/network.hpp"
#include "perf/load/target.hpp"
#include "runtime/result.hpp"
#include "runtime/task.hpp"

namespace perf {

// Suspends until the stream is open: for Scheme::ws after the handshake, within 10 s. Afterwards
// `handler` has the stream, with `owner`. Errors: those of connect(2), timed_out, and `closed` for
// an answer that opens no WebSocket (detail: its status).
runtime::Task<runtime::Result<net::StreamId>> open_stream(net::Network& network,
                                                          const Target& target,
                                                          const net::StreamHandler& handler,
                                                          void* owner);

// Answers a ping of the server, ahead of what waits to be sent.
void send_pong(net::Stream& stream, std::span<const std::byte> payload);

}  // namespace perf
