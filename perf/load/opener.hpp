#pragma once
// Opener: opens the client's connections: from which source address, how fast, and with the
// WebSocket handshake where the target asks for one. Then the stream belongs to the load's own
// handler, which sees raw frames. (ws::Endpoint would frame, mask and assemble for us; a load has
// its frames ready and compares bytes.) One a load, on its core.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "net/network.hpp"
#include "perf/load/settings.hpp"
#include "runtime/result.hpp"
#include "runtime/task.hpp"

namespace corelane::perf {

class Opener {
 public:
  // Both outlive it.
  Opener(net::Network& network, const Settings& settings) noexcept
      : network_(network), settings_(settings) {}

  // Suspends until the ramp lets one more connection begin, and until it is open: for Scheme::ws
  // after the handshake, within 10 s. Afterwards `handler` has the stream, with `owner`. `path` is
  // asked for instead of the target's, unless it is empty. Errors: those of connect(2), timed_out,
  // and `closed` for an answer that opens no WebSocket, or none that compresses where that was
  // asked for (detail: its status).
  runtime::Task<runtime::Result<net::StreamId>> open(const net::StreamHandler& handler, void* owner,
                                                     std::string_view path = {});

 private:
  struct Handshake;
  runtime::Task<runtime::Result<net::StreamId>> connect(const net::StreamHandler& handler,
                                                        void* owner);

  net::Network& network_;
  const Settings& settings_;
  runtime::Nanoseconds first_at_ = 0;
  std::uint32_t begun_ = 0;
};

// Answers a ping of the server, ahead of what waits to be sent.
void send_pong(net::Stream& stream, std::span<const std::byte> payload);

}  // namespace corelane::perf
