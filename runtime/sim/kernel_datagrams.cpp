// Datagram sockets: each datagram arrives once, after a time of its own, or is lost
// (Faults::datagram_loss, a full socket, an address without a socket).

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "runtime/sim/kernel.hpp"
#include "runtime/sim/kernel_objects.hpp"
#include "runtime/sim/world.hpp"

namespace corelane::runtime::sim {
namespace {

bool same(const Address& one, const Address& other) {
  return one.family() == other.family() && one.text() == other.text();
}

}  // namespace

DatagramSocket* Kernel::bound_to(const Address& address) {
  std::vector<DatagramSocket*> found;
  for (const ObjectId id : datagrams_) {
    auto* socket = find<DatagramSocket>(id);
    if (same(socket->local, address)) found.push_back(socket);
  }
  return found.empty() ? nullptr : found[world_.count("socket", found.size()) - 1];
}

Result<Descriptor> Kernel::open_datagram(const Address& address, const DatagramOptions& options) {
  Address bound = address;
  if (bound.family() != AF_UNIX && bound.port() == 0) bound.set_port(++next_listen_port_);
  const bool in_use = std::ranges::any_of(
      datagrams_, [&](ObjectId id) { return same(find<DatagramSocket>(id)->local, bound); });
  if (in_use && !options.reuse_port) return Unexpected{Error::from_errno(EADDRINUSE)};
  DatagramSocket& socket = add_object<DatagramSocket>();
  socket.local = bound;
  socket.receive_bytes = world_.faults().socket_buffer_bytes;
  socket.references = 1;
  const std::int32_t number = plain_.add(socket.id);
  if (number == DescriptorTable::kFull) {
    objects_.erase(socket.id);
    return Unexpected{Error::from_errno(EMFILE)};
  }
  datagrams_.push_back(socket.id);
  return Descriptor{.number = number, .direct = false};
}

Result<void> Kernel::connect_datagram(RingState& ring, Descriptor descriptor, const Address& peer) {
  const auto* entry = table(ring, descriptor).find(descriptor.number);
  auto* socket = entry != nullptr ? find<DatagramSocket>(entry->object) : nullptr;
  if (socket == nullptr) return Unexpected{Error::from_errno(ENOTSOCK)};
  socket->peer = peer;
  return {};
}

void Kernel::step_send_datagram(Operation& operation, DatagramSocket& from) {
  if (operation.kind != OperationKind::send_message) return complete(operation, -EINVAL, false);
  const msghdr& message = *operation.message;
  const bool names_peer = message.msg_name != nullptr;
  if (!names_peer && !from.peer) return complete(operation, -EDESTADDRREQ, false);
  const Address to = names_peer ? Address::from_raw(static_cast<const sockaddr*>(message.msg_name),
                                                    message.msg_namelen)
                                : *from.peer;
  if (operation.bytes > from.receive_bytes) return complete(operation, -EMSGSIZE, false);
  DatagramSocket::Datagram datagram{.from = from.local, .bytes = {}};
  for (std::size_t i = 0; i < message.msg_iovlen; ++i) {
    const auto* bytes = static_cast<const std::byte*>(message.msg_iov[i].iov_base);
    datagram.bytes.insert(datagram.bytes.end(), bytes, bytes + message.msg_iov[i].iov_len);
  }
  world_.trace().note(TraceKind::bytes_sent, world_.now(), from.id, datagram.bytes.size(),
                      Trace::hash_of(datagram.bytes));
  if (!world_.chance("datagram_loss", world_.faults().datagram_loss)) {
    call_after(world_.draw(&Faults::network_delay),
               [this, to, sent = std::move(datagram)]() mutable {
                 datagram_arrives(to, std::move(sent));
               });
  }
  complete(operation, static_cast<std::int32_t>(operation.bytes), false);
}

void Kernel::datagram_arrives(const Address& to, DatagramSocket::Datagram datagram) {
  DatagramSocket* const socket = bound_to(to);
  if (socket == nullptr) return;
  if (socket->peer && !same(*socket->peer, datagram.from)) return;
  if (socket->incoming_bytes + datagram.bytes.size() > socket->receive_bytes) return;
  socket->incoming_bytes += datagram.bytes.size();
  socket->incoming.push_back(std::move(datagram));
  if (!socket->receiving.empty()) wake(socket->receiving.front(), step_delay());
}

void Kernel::step_receive_datagram(Operation& operation) {
  auto& socket = object_of<DatagramSocket>(operation);
  if (socket.incoming.empty()) return;
  const DatagramSocket::Datagram datagram = std::move(socket.incoming.front());
  socket.incoming.pop_front();
  socket.incoming_bytes -= datagram.bytes.size();
  msghdr& message = *operation.message_into;
  std::size_t done = 0;
  for (std::size_t i = 0; i < message.msg_iovlen; ++i) {
    const std::size_t part = std::min(message.msg_iov[i].iov_len, datagram.bytes.size() - done);
    if (part != 0) std::memcpy(message.msg_iov[i].iov_base, datagram.bytes.data() + done, part);
    done += part;
  }
  message.msg_flags = done < datagram.bytes.size() ? MSG_TRUNC : 0;
  if (message.msg_name != nullptr) {
    const socklen_t bytes = std::min(message.msg_namelen, datagram.from.raw_bytes());
    std::memcpy(message.msg_name, datagram.from.raw(), bytes);
    message.msg_namelen = datagram.from.raw_bytes();
  }
  world_.trace().note(TraceKind::bytes_taken, world_.now(), socket.id, done,
                      Trace::hash_of(std::span{datagram.bytes}.first(done)));
  const bool more = !socket.incoming.empty();
  complete(operation, static_cast<std::int32_t>(done), false);
  if (more && !socket.receiving.empty()) wake(socket.receiving.front(), step_delay());
}

}  // namespace corelane::runtime::sim
