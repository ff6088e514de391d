// The address of a session's peer.

#include "net/peer_address.hpp"

#include "services/sessions/sessions.hpp"

namespace corelane::services {

runtime::Task<std::string> Sessions::peer_address(SessionId id) {
  Session* session = local().find(id);
  if (session == nullptr || session->closing()) co_return "";
  net::Stream& stream = session->stream();
  const auto address = co_await net::peer_address(stream.network(), stream.id());
  // Without the zone: it names an interface of this host, and the client is on another one.
  co_return address ? address->wire_text() : "";
}

}  // namespace corelane::services
