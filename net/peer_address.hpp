#pragma once
// The address of a stream's peer, read when somebody asks: a plain descriptor is asked at once, a
// direct one by way of the ring (Linux 6.7), which takes a turn or two.

#include <optional>

#include "net/network.hpp"
#include "runtime/address.hpp"
#include "runtime/task.hpp"

namespace corelane::net {

// On the network's core. Nothing: the stream is gone or closing, it is a Unix stream, or the kernel
// cannot say. `network` stays until it returns.
runtime::Task<std::optional<runtime::Address>> peer_address(Network& network, StreamId id);

}  // namespace corelane::net
