#include "net/peer_address.hpp"

#include <netinet/in.h>

#include "net/stream.hpp"
#include "runtime/await.hpp"
#include "runtime/core.hpp"

namespace corelane::net {

using runtime::Address;

namespace {

std::optional<Address> if_ip(const Address& address) {
  if (address.family() != AF_INET && address.family() != AF_INET6) return std::nullopt;
  return address;
}

}  // namespace

runtime::Task<std::optional<Address>> peer_address(Network& network, StreamId id) {
  // The kernel wants to know how many bytes the address has: as many as an IPv4 address first,
  // which brings the family of a longer one as well.
  constexpr socklen_t kLengths[] = {sizeof(sockaddr_in), sizeof(sockaddr_in6)};
  Address address;
  for (const socklen_t bytes : kLengths) {
    Stream* stream = network.find(id);
    // Looked up each time: the descriptor of a stream that is gone may be another one's by now.
    if (stream == nullptr || stream->closing()) co_return std::nullopt;
    const runtime::Descriptor socket = stream->descriptor();
    if (!socket.direct) {
      const auto peer = network.core().ring().peer_address(socket);
      co_return peer ? if_ip(*peer) : std::nullopt;
    }
    runtime::OperationAwaiter operation([&](runtime::Ring& ring, runtime::Token token) {
      ring.read_peer_address(socket, address.raw(), bytes, token);
    });
    const auto read = co_await operation;
    if (!read) co_return std::nullopt;
    address.set_raw_bytes(bytes);
    if (address.family() != AF_INET6) break;
  }
  co_return if_ip(address);
}

}  // namespace corelane::net
