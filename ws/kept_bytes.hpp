#pragma once
// A joined message that is on its way back to the peer: lent to the send queue, and reused after.

#include "net/send_queue.hpp"
#include "ws/endpoint.hpp"
#include "ws/owned_bytes.hpp"

namespace corelane::ws {

struct Endpoint::KeptBytes : net::ForeignBytes {
  OwnedBytes bytes;
  Endpoint* endpoint = nullptr;
  KeptBytes* next = nullptr;
};

}  // namespace corelane::ws
