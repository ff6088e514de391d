#pragma once
// Sockets made with plain system calls, before any operation runs on them: listening, connecting.
// Errors are errnos of socket(2), setsockopt(2), bind(2), listen(2), getsockname(2).

#include "runtime/address.hpp"
#include "runtime/result.hpp"
#include "runtime/ring.hpp"

namespace corelane::runtime::sockets {

Result<Descriptor> open_datagram(const Address& address, const DatagramOptions& options) noexcept;
Result<void> connect_datagram(Descriptor socket, const Address& peer) noexcept;
Result<Descriptor> listen(const Address& address, const ListenOptions& options) noexcept;
Result<Descriptor> open_stream(int family) noexcept;
Result<void> bind_source(Descriptor socket, const Address& source) noexcept;
Result<Address> local_address(Descriptor socket) noexcept;
Result<Address> peer_address(Descriptor socket) noexcept;

}  // namespace corelane::runtime::sockets
