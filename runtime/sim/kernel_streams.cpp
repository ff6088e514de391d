// The bytes of connections: sending, arriving, receiving, half-closing.

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "runtime/sim/kernel.hpp"
#include "runtime/sim/kernel_objects.hpp"
#include "runtime/sim/world.hpp"

namespace corelane::runtime::sim {
namespace {

// Pieces that one send travels in, at most, so that borders fall anywhere.
constexpr std::size_t kSegmentsMax = 3;

// Calls visit(span) for the bytes [from, from + count) of what is sent.
template <class Visit>
void for_each_piece(const Operation& operation, std::size_t from, std::size_t count,
                    Visit&& visit) {
  if (operation.kind == OperationKind::send) {
    visit(std::span{operation.from + from, count});
    return;
  }
  for (std::size_t i = 0; count != 0; ++i) {
    const iovec& piece = operation.message->msg_iov[i];
    if (from >= piece.iov_len) {
      from -= piece.iov_len;
      continue;
    }
    const std::size_t take = std::min(count, piece.iov_len - from);
    visit(std::span{static_cast<const std::byte*>(piece.iov_base) + from, take});
    from = 0;
    count -= take;
  }
}

}  // namespace

// --- Send

void Kernel::step_send(Operation& operation) {
  auto& stream = object_of<Stream>(operation);
  if (stream.state != Stream::State::connected) return fail_send(operation, ENOTCONN);
  if (world_.roll(Fault::reset)) break_connection(stream);
  if (stream.reset) return fail_send(operation, take_reset_error(stream));
  if (stream.write_shut) return fail_send(operation, EPIPE);
  auto* peer = find<Stream>(stream.peer);
  if (peer == nullptr || peer->reset) {
    // The other end is gone: our kernel takes the bytes and learns by a reset that they are lost.
    send_reset(stream.id);
    return complete(operation, static_cast<std::int32_t>(operation.bytes), false);
  }
  const std::size_t capacity = stream.send_bytes + peer->receive_bytes;
  const std::size_t used = peer->incoming.size();
  if (used >= capacity) return;  // until the other end has received some: consumed()
  const std::size_t left = operation.bytes - operation.done;
  std::size_t count = std::min(left, capacity - used);
  const std::size_t cut = world_.cut(Fault::short_write, count);
  if (cut != 0) count = cut;
  take_bytes(operation, stream, *peer, count);
  if (cut != 0 || operation.done == operation.bytes) {
    complete(operation, static_cast<std::int32_t>(operation.done), false);
  }
}

void Kernel::fail_send(Operation& operation, int error) {
  const bool partly = operation.done != 0;
  complete(operation, partly ? static_cast<std::int32_t>(operation.done) : -error, false);
}

void Kernel::take_bytes(Operation& operation, Stream& from, Stream& to, std::size_t count) {
  for_each_piece(operation, operation.done, count, [&](std::span<const std::byte> piece) {
    world_.trace().note(TraceKind::bytes_sent, world_.now(), from.id, piece.size(),
                        Trace::hash_of(piece));
    to.incoming.append(piece);
  });
  operation.done += count;
  world_.counters().bytes_sent += count;
  const std::size_t pieces = world_.count("pieces", kSegmentsMax);
  for (std::size_t i = 0; i < pieces && count != 0; ++i) {
    const bool last = i + 1 == pieces;
    const std::size_t bytes = last ? count : world_.count("bytes of a piece", count);
    const Nanoseconds arrival = world_.now() + world_.draw(&Faults::network_delay);
    to.last_arrival = std::max(to.last_arrival, arrival);
    to.segments.push_back({.bytes = bytes, .arrival = to.last_arrival, .end = false});
    add_event(to.last_arrival, EventKind::arrival, to.id);
    count -= bytes;
  }
}

void Kernel::end_stream(Stream& from) {
  from.write_shut = true;
  auto* peer = find<Stream>(from.peer);
  if (peer == nullptr || peer->reset) return;
  const Nanoseconds arrival = world_.now() + world_.draw(&Faults::network_delay);
  peer->last_arrival = std::max(peer->last_arrival, arrival);
  peer->segments.push_back({.bytes = 0, .arrival = peer->last_arrival, .end = true});
  add_event(peer->last_arrival, EventKind::arrival, peer->id);
}

void Kernel::arrive(Stream& stream) {
  while (!stream.segments.empty() && stream.segments.front().arrival <= world_.now()) {
    stream.arrived += stream.segments.front().bytes;
    stream.end_arrived = stream.end_arrived || stream.segments.front().end;
    stream.segments.pop_front();
  }
  wake(stream.receiving, step_delay());
}

// --- Receive

void Kernel::step_receive(Operation& operation) {
  auto& stream = object_of<Stream>(operation);
  if (stream.state != Stream::State::connected) return complete(operation, -ENOTCONN, false);
  if (world_.roll(Fault::reset)) break_connection(stream);
  if (stream.arrived != 0) return deliver_bytes(operation, stream);
  if (stream.reset) {
    // After the error was reported once the stream is just at its end.
    const int error = take_reset_error(stream);
    return complete(operation, error == ECONNRESET ? -error : 0, false);
  }
  if (stream.end_arrived || stream.read_shut) return complete(operation, 0, false);
  // A multishot receive can end with ENOBUFS although nothing has arrived.
  if (operation.kind == OperationKind::receive_multishot && operation.attempts > 1 &&
      world_.roll(Fault::no_buffers)) {
    complete(operation, -ENOBUFS, false);
  }
}

// Completes when the stream has input; does not consume it. An object that is no stream is never
// ready.
void Kernel::step_poll(Operation& operation) {
  auto* stream = find<Stream>(operation.object);
  if (stream == nullptr || stream->state != Stream::State::connected) return;
  if (world_.roll(Fault::reset)) break_connection(*stream);
  std::int32_t seen = 0;
  if (stream->reset) seen |= POLLIN | POLLERR | POLLHUP;
  if (stream->end_arrived || stream->read_shut) seen |= POLLIN | POLLRDHUP;
  if (stream->arrived != 0) seen |= POLLIN;
  seen &= operation.flags | POLLERR | POLLHUP;
  if (seen != 0) complete(operation, seen, false);
}

void Kernel::deliver_bytes(Operation& operation, Stream& stream) {
  std::size_t count = stream.arrived;
  std::byte* into = operation.into;
  std::uint16_t buffer = 0;
  const bool plain = operation.kind == OperationKind::receive;
  if (plain) {
    count = std::min(count, operation.bytes);
  } else {
    BufferGroup& group = *ring_of(operation).groups[operation.group];
    if (group.empty() || world_.roll(Fault::no_buffers)) {
      return complete(operation, -ENOBUFS, false);
    }
    bool touched = false;
    buffer = group.take(touched);
    if (touched) world_.fail("a recycled buffer was written to while the kernel had it");
    into = group.memory(buffer);
    count = std::min<std::size_t>(count, group.buffer_bytes());
    if (operation.bytes != 0) count = std::min(count, operation.bytes);
  }
  if (const std::size_t cut = world_.cut(Fault::short_read, count); cut != 0) count = cut;
  const auto bytes = stream.incoming.front(count);
  std::memcpy(into, bytes.data(), count);
  world_.trace().note(TraceKind::bytes_taken, world_.now(), stream.id, count,
                      Trace::hash_of(bytes));
  consumed(stream, count);
  const auto result = static_cast<std::int32_t>(count);
  if (plain) return complete(operation, result, false);
  const bool multishot = operation.kind == OperationKind::receive_multishot;
  const OperationId id = operation.id;
  complete_as(operation, {.token = operation.token,
                          .result = result,
                          .buffer = buffer,
                          .has_buffer = true,
                          .more = multishot && !world_.roll(Fault::multishot_end)});
  wake(id, step_delay());  // if it goes on: more bytes, or the end, may be there already
}

void Kernel::consumed(Stream& stream, std::size_t count) {
  stream.incoming.pop(count);
  stream.arrived -= count;
  world_.counters().bytes_taken += count;
  if (const auto* peer = find<Stream>(stream.peer)) {
    if (peer->sending != 0) wake(peer->sending, world_.draw(&Faults::network_delay));
  }
}

// --- Shutdown

void Kernel::step_shutdown(Operation& operation) {
  auto& stream = object_of<Stream>(operation);
  if (stream.state != Stream::State::connected || stream.reset) {
    return complete(operation, -ENOTCONN, false);
  }
  const int how = operation.flags;
  if (how != SHUT_RD && !stream.write_shut) {
    end_stream(stream);
    wake(stream.sending, step_delay());
  }
  if (how != SHUT_WR && !stream.read_shut) {
    stream.read_shut = true;
    wake(stream.receiving, step_delay());
  }
  complete(operation, 0, false);
}

}  // namespace corelane::runtime::sim
