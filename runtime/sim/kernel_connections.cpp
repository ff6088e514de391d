// Listening, connecting, accepting, and the ends of connections.

#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>
#include <string>

#include "runtime/sim/kernel.hpp"
#include "runtime/sim/kernel_objects.hpp"
#include "runtime/sim/world.hpp"

namespace corelane::runtime::sim {
namespace {

// Stages of a connect operation.
constexpr std::uint8_t kToBeSent = 0;
constexpr std::uint8_t kUnderWay = 1;
constexpr std::uint8_t kAccepted = 2;

// A full accept queue drops the request; the client tries again like this, a bounded number of
// times.
constexpr Nanoseconds kRetryAfter = 1 * kSecond;
constexpr std::uint32_t kAttemptsMax = 7;

bool is_wildcard(const Address& address) noexcept {
  if (address.family() == AF_INET) {
    return reinterpret_cast<const sockaddr_in*>(address.raw())->sin_addr.s_addr == INADDR_ANY;
  }
  if (address.family() == AF_INET6) {
    const auto* in6 = reinterpret_cast<const sockaddr_in6*>(address.raw());
    return std::memcmp(&in6->sin6_addr, &in6addr_any, sizeof in6addr_any) == 0;
  }
  return false;
}

bool reaches(const Address& listening, const Address& wanted) {
  if (listening.family() != wanted.family()) return false;
  if (listening.port() != wanted.port()) return false;
  return is_wildcard(listening) || listening.host() == wanted.host();
}

}  // namespace

bool Kernel::address_in_use(const Address& address, bool reuse_port) {
  return std::any_of(listeners_.begin(), listeners_.end(), [&](ObjectId id) {
    const Listener& other = *find<Listener>(id);
    const bool overlap = reaches(other.address, address) || reaches(address, other.address);
    const bool shared = reuse_port && other.reuse_port && address.family() != AF_UNIX;
    return overlap && !shared;
  });
}

Result<Descriptor> Kernel::listen(const Address& address, const ListenOptions& options) {
  Address bound = address;
  if (bound.family() != AF_UNIX && bound.port() == 0) {
    do {
      bound.set_port(++next_listen_port_);
    } while (address_in_use(bound, false));
  }
  if (address_in_use(bound, options.reuse_port)) {
    return Unexpected{Error::from_errno(EADDRINUSE)};
  }
  Listener& listener = add_object<Listener>();
  listener.address = bound;
  listener.reuse_port = options.reuse_port;
  listener.backlog = std::min<std::size_t>(static_cast<std::size_t>(std::max(options.backlog, 0)),
                                           world_.faults().backlog_max);
  listener.references = 1;
  const std::int32_t number = plain_.add(listener.id);
  if (number == DescriptorTable::kFull) {
    objects_.erase(listener.id);
    return Unexpected{Error::from_errno(EMFILE)};
  }
  listeners_.push_back(listener.id);
  return Descriptor{.number = number, .direct = false};
}

Stream& Kernel::add_stream(int family) {
  Stream& stream = add_object<Stream>();
  stream.family = family;
  stream.references = 1;
  stream.send_bytes = world_.faults().socket_buffer_bytes;
  stream.receive_bytes = world_.faults().socket_buffer_bytes;
  return stream;
}

Result<Descriptor> Kernel::open_socket(int family) {
  Stream& stream = add_stream(family);
  const std::int32_t number = plain_.add(stream.id);
  if (number == DescriptorTable::kFull) {
    objects_.erase(stream.id);
    return Unexpected{Error::from_errno(EMFILE)};
  }
  return Descriptor{.number = number, .direct = false};
}

Result<Address> Kernel::local_address(RingState& ring, Descriptor socket) {
  if (socket.direct) return Unexpected{Error::from_errno(EBADF)};
  const auto* entry = table(ring, socket).find(socket.number);
  if (entry == nullptr) return Unexpected{Error::from_errno(EBADF)};
  if (const auto* listener = find<Listener>(entry->object)) return listener->address;
  if (const auto* stream = find<Stream>(entry->object)) return stream->local;
  if (const auto* socket_of = find<DatagramSocket>(entry->object)) return socket_of->local;
  return Unexpected{Error::from_errno(ENOTSOCK)};
}

void Kernel::read_peer_address(RingState& ring, const Operation& request) {
  const auto peer = peer_name(ring, request.descriptor);
  std::int32_t result = static_cast<std::int32_t>(request.bytes);
  if (!peer) {
    result = -peer.error().detail;
  } else if (peer->raw_bytes() < request.bytes) {
    result = -EINVAL;
  } else {
    std::memcpy(request.into, peer->raw(), request.bytes);
  }
  ++world_.counters().completions;
  ring.post({.token = request.token, .result = result});
}

Result<Address> Kernel::peer_address(RingState& ring, Descriptor socket) {
  if (socket.direct) return Unexpected{Error::from_errno(EBADF)};
  return peer_name(ring, socket);
}

Result<Address> Kernel::peer_name(RingState& ring, Descriptor socket) {
  const auto* entry = table(ring, socket).find(socket.number);
  if (entry == nullptr) return Unexpected{Error::from_errno(EBADF)};
  const auto* stream = find<Stream>(entry->object);
  if (stream == nullptr || stream->state != Stream::State::connected || stream->reset) {
    return Unexpected{Error::from_errno(ENOTCONN)};
  }
  return stream->remote;
}

// The address of a client that did not ask for one.
Address Kernel::ephemeral(int family) {
  if (family == AF_UNIX) {
    sockaddr_un un{};
    un.sun_family = AF_UNIX;
    return Address::from_raw(reinterpret_cast<const sockaddr*>(&un), sizeof un.sun_family);
  }
  auto address = Address::parse(family == AF_INET6 ? "[::1]:1" : "127.0.0.1:1");
  if (next_client_port_ > 60'999) next_client_port_ = 32'768;
  address->set_port(static_cast<std::uint16_t>(next_client_port_++));
  return *address;
}

// --- Connect

Listener* Kernel::pick_listener(const Address& address) {
  std::vector<Listener*> candidates;
  for (const ObjectId id : listeners_) {
    auto* listener = find<Listener>(id);
    if (reaches(listener->address, address)) candidates.push_back(listener);
  }
  if (candidates.empty()) return nullptr;
  return candidates[world_.count("listener", candidates.size()) - 1];
}

void Kernel::step_connect(Operation& operation) {
  auto& client = object_of<Stream>(operation);
  if (operation.stage == kToBeSent) {
    if (client.state != Stream::State::fresh) return complete(operation, -EISCONN, false);
    constexpr int kErrors[] = {ECONNREFUSED, ETIMEDOUT};
    const int error = world_.error(Fault::connect_failure, kErrors);
    if (error != 0) return complete(operation, -error, false);
    operation.stage = kUnderWay;
    return schedule(operation, world_.draw(&Faults::network_delay));
  }
  if (operation.stage == kUnderWay) return connect_arrives(operation, client);
  complete(operation, client.reset ? -ECONNRESET : 0, false);
}

void Kernel::connect_arrives(Operation& operation, Stream& client) {
  Listener* listener = pick_listener(*operation.address);
  if (listener == nullptr) return complete(operation, -ECONNREFUSED, false);
  if (listener->queue.size() > listener->backlog) {
    if (operation.attempts > kAttemptsMax) return complete(operation, -ETIMEDOUT, false);
    return schedule(operation, kRetryAfter);
  }
  Stream& server = add_stream(client.family);
  client.local = ephemeral(client.family);
  client.remote = listener->address;
  server.local = listener->address;
  server.remote = client.local;
  client.peer = server.id;
  server.peer = client.id;
  client.state = server.state = Stream::State::connected;
  ++world_.counters().connections;
  listener->queue.push_back(server.id);
  wake_one_accept(*listener);
  operation.stage = kAccepted;
  schedule(operation, world_.draw(&Faults::network_delay));
}

// --- Accept

// Wakes only the accept that has waited longest: accepts wait exclusively. A woken accept that is
// then cancelled, or fails, wakes no other accept.
void Kernel::wake_one_accept(const Listener& listener) {
  for (const OperationId id : listener.accepting) {
    Operation* operation = find_operation(id);
    if (operation->scheduled) continue;
    schedule(*operation, step_delay());
    return;
  }
}

void Kernel::step_accept(Operation& operation) {
  auto& listener = object_of<Listener>(operation);
  if (listener.queue.empty()) return;
  const bool direct = operation.flags != 0;
  constexpr int kErrors[] = {ECONNABORTED, ENFILE, EMFILE};
  const int error = world_.error(Fault::accept_failure, std::span{kErrors}.first(direct ? 2 : 3));
  if (error != 0) return fail_accept(operation, listener, error);
  const ObjectId accepted = listener.queue.front();
  DescriptorTable& descriptors = direct ? ring_of(operation).direct : plain_;
  const std::int32_t number = descriptors.add(accepted);
  if (number == DescriptorTable::kFull) {
    // A plain number is taken before the connection, which stays in the queue without one. A direct
    // one is taken after it, and without one the connection is lost.
    if (!direct) return complete(operation, -EMFILE, false);
    listener.queue.pop_front();
    release(accepted);
    return complete(operation, -ENFILE, false);
  }
  listener.queue.pop_front();
  complete(operation, number, false);
}

void Kernel::fail_accept(Operation& operation, Listener& listener, int error) {
  if (error == ECONNABORTED) {
    const ObjectId aborted = listener.queue.front();
    listener.queue.pop_front();
    break_connection(*find<Stream>(aborted));
    release(aborted);
  }
  complete(operation, -error, false);
}

// --- Ends

// The last reference is gone. Bytes that nobody received make it a reset, as with TCP.
void Kernel::close_stream(Stream& stream) {
  if (stream.state != Stream::State::connected || stream.reset) return;
  if (stream.incoming.size() != 0) {
    send_reset(stream.peer);
  } else if (!stream.write_shut) {
    end_stream(stream);
  }
}

void Kernel::close_listener(Listener& listener) {
  std::erase(listeners_, listener.id);
  for (const ObjectId id : listener.queue) {
    break_connection(*find<Stream>(id));
    release(id);
  }
}

void Kernel::send_reset(ObjectId id) {
  auto* stream = find<Stream>(id);
  if (stream == nullptr || stream->reset || stream->reset_coming) return;
  stream->reset_coming = true;
  // A reset does not overtake bytes that were sent before it.
  const Nanoseconds arrival = world_.now() + world_.draw(&Faults::network_delay);
  add_event(std::max(arrival, stream->last_arrival), EventKind::reset, id);
}

void Kernel::reset_arrives(Stream& stream) {
  stream.reset = true;
  stream.incoming.truncate(stream.arrived);
  stream.segments.clear();
  wake(stream.receiving, step_delay());
  wake(stream.sending, step_delay());
}

// The connection breaks at this end; the other one learns it by a reset.
void Kernel::break_connection(Stream& stream) {
  if (stream.reset) return;
  send_reset(stream.peer);
  reset_arrives(stream);
}

int Kernel::take_reset_error(Stream& stream) noexcept {
  if (stream.reset_reported) return EPIPE;
  stream.reset_reported = true;
  return ECONNRESET;
}

}  // namespace corelane::runtime::sim
