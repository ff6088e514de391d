#include "net/peer_log.hpp"

#include <fmt/format.h>
#include <netinet/in.h>

#include "runtime/address.hpp"
#include "runtime/await.hpp"

namespace corelane::net {

using runtime::Address;
using runtime::LogLevel;
using runtime::Task;

namespace {

void write_line(const Address* peer, LogLevel level, const std::string& text) {
  const int family = peer != nullptr ? peer->family() : AF_UNSPEC;
  const bool is_ip = family == AF_INET || family == AF_INET6;
  runtime::log(level, fmt::format("{}: {}",
                                  is_ip               ? peer->text()
                                  : family == AF_UNIX ? "a Unix peer"
                                                      : "a peer",
                                  text));
}

// The kernel wants to know how many bytes the address has (Ring::read_peer_address). So both
// lengths are tried at once, while the descriptor is certainly the peer's, and the one that fits
// writes the line; the shorter also if nothing does.
Task<void> ask(runtime::Descriptor socket, socklen_t bytes, LogLevel level, std::string text) {
  Address peer;
  runtime::OperationAwaiter operation([&](runtime::Ring& ring, runtime::Token token) {
    ring.read_peer_address(socket, peer.raw(), bytes, token);
  });
  const auto read = co_await operation;
  const bool is_short = bytes == sizeof(sockaddr_in);
  if (!read) {
    if (is_short) write_line(nullptr, level, text);
    co_return;
  }
  peer.set_raw_bytes(bytes);
  // A Unix peer's name may be of any length from the shorter one on.
  if (is_short == (peer.family() != AF_INET6)) write_line(&peer, level, text);
}

}  // namespace

void PeerLog::write(Stream& stream, LogLevel level, std::string text) {
  const runtime::Descriptor socket = stream.descriptor();
  if (!stream.has_descriptor()) {
    write_line(nullptr, level, text);
  } else if (!socket.direct) {
    const auto peer = stream.network().core().ring().peer_address(socket);
    write_line(peer ? &*peer : nullptr, level, text);
  } else {
    questions_.spawn("peer address", ask, socket, socklen_t{sizeof(sockaddr_in)}, level, text);
    questions_.spawn("peer address", ask, socket, socklen_t{sizeof(sockaddr_in6)}, level,
                     std::move(text));
  }
}

}  // namespace corelane::net
