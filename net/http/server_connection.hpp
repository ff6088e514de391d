#pragma once
// What the HTTP server keeps for one connection while it speaks HTTP: the owner of its Stream from
// accept until on_closed or an upgrade. In the server's slab, on the server's core.
//
//   received:  [ request, answered ][ request, answered ][ ... not looked at yet ]
//                                                          ^ copied to `rest` when the stream's
//                                                            queue is full, or while the request
//                                                            before it waits; receiving pauses
//
// Memory beyond this object: the parser's (a head of at most Limits::head_bytes_max and its fields,
// a body), `rest` (at most one receive buffer) and `unsent` (an answer larger than the queue's
// room). An idle connection has none of them but room for 16 fields.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "net/http/request_parser.hpp"
#include "net/stream.hpp"
#include "runtime/accounted_allocator.hpp"
#include "runtime/accounted_size.hpp"
#include "runtime/types.hpp"

namespace corelane::net::http {

class Server;
struct ServerExchange;

struct ServerConnection {
  // What the stream's timer is for.
  enum class Wait : std::uint8_t {
    none,
    header,  // a whole head: from accept, or from the first byte of a later request
    body,    // the rest of a request
    idle,    // the next request
    room,    // the peer to read what we send; without a timer
    answer,  // the handler's answer, which comes later
    piece,   // more of a body that its handler reads in pieces
  };

  ServerConnection(Server& owner, StreamId id, const Limits& limits, std::uint64_t pieces_bytes_max)
      : server(owner), stream(id), parser(limits, pieces_bytes_max) {}

  // Nothing is parsed while this holds.
  bool has_unsent() const noexcept { return !unsent.empty(); }

  Server& server;
  StreamId stream;
  std::uint32_t slot = 0;  // in the server's slab
  RequestParser parser;
  ServerExchange* exchange = nullptr;  // its request waits for an answer, or is read in pieces
  runtime::AccountedBytes<runtime::MemoryKind::http> rest;
  std::size_t rest_at = 0;
  std::span<const std::byte> unsent;  // in unsent_memory, or static
  runtime::AccountedBytes<runtime::MemoryKind::http> unsent_memory;
  runtime::AccountedSize<runtime::MemoryKind::http> held;  // the parser's memory
  Wait wait = Wait::none;
  bool looked = false;      // its deadline seems to be missed: Stream::look_again()
  bool answered = false;    // at least one request: an idle connection may close silently
  bool closing = false;     // the last answer has been given; to be closed once it is queued
  bool backlogged = false;  // in the server's list of those that go on next turn
  bool peer_ended = false;  // by FIN, while its last request waits
};
static_assert(sizeof(ServerConnection) <= 1024);

}  // namespace corelane::net::http
