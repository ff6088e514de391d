// The address of a session's peer: a plain descriptor is asked at once, a direct one by way of the
// ring.

#include <netinet/in.h>

#include "runtime/address.hpp"
#include "runtime/await.hpp"
#include "services/sessions/sessions.hpp"

namespace corelane::services {

using runtime::Core;

namespace {

// Without the zone: it names an interface of this host, and the client is on another one.
std::string text_of_ip(const runtime::Address& address) {
  return address.family() == AF_INET || address.family() == AF_INET6 ? address.wire_text() : "";
}

}  // namespace

runtime::Task<std::string> Sessions::peer_address(SessionId id) {
  // The kernel wants to know how many bytes the address has: as many as an IPv4 address first,
  // which brings the family of a longer one as well.
  constexpr socklen_t kLengths[] = {sizeof(sockaddr_in), sizeof(sockaddr_in6)};
  runtime::Address address;
  for (const socklen_t bytes : kLengths) {
    Session* session = local().find(id);
    // Looked up each time: the descriptor of a session that is gone may be somebody else's by now.
    if (session == nullptr || session->closing()) co_return "";
    const runtime::Descriptor socket = session->stream().descriptor();
    if (!socket.direct) {
      const auto peer = Core::current().ring().peer_address(socket);
      co_return peer ? text_of_ip(*peer) : "";
    }
    runtime::OperationAwaiter operation([&](runtime::Ring& ring, runtime::Token token) {
      ring.read_peer_address(socket, address.raw(), bytes, token);
    });
    const auto read = co_await operation;
    if (!read) co_return "";
    address.set_raw_bytes(bytes);
    if (address.family() != AF_INET6) break;
  }
  co_return text_of_ip(address);
}

}  // namespace corelane::services
