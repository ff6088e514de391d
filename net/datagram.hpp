#pragma once
// DatagramSocket: datagrams for coroutines, over UDP and Unix sockets alike (the address says
// which). Each send and each receive is one operation of the ring, with the caller's memory: no
// copy, no allocation, and no queue but the kernel's, so a receiver that is not waiting loses what
// the kernel has no room for. On the core that made it.
//
//   auto socket = net::UdpSocket::bind(*Address::parse("127.0.0.1:5353"));
//   std::array<std::byte, 1500> buffer;
//   auto got = co_await socket->receive_from(buffer);
//   if (got) auto sent = co_await socket->send_to(std::span{buffer}.first(got->bytes), got->from);

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "runtime/address.hpp"
#include "runtime/assert.hpp"
#include "runtime/result.hpp"
#include "runtime/ring.hpp"
#include "runtime/task.hpp"

namespace corelane::net {

class DatagramSocket {
 public:
  // Errors: errnos of socket(2) and bind(2), EADDRINUSE among them. The file of a Unix socket is
  // the caller's to remove.
  static runtime::Result<DatagramSocket> bind(const runtime::Address& address,
                                              const runtime::DatagramOptions& options = {});

  DatagramSocket(DatagramSocket&& other) noexcept
      : descriptor_(std::exchange(other.descriptor_, {})) {
    RT_ASSERT(other.waits_ == 0);
  }
  DatagramSocket& operator=(DatagramSocket&& other) noexcept;
  // No coroutine may wait on it.
  ~DatagramSocket() { close(); }

  // From here on datagrams go to `peer` by send(), and only those of the peer are received. An
  // answer that no socket is bound there (ICMP) is ECONNREFUSED of a later send or receive.
  runtime::Result<void> connect(const runtime::Address& peer);

  // One datagram, whole or not at all. Any number of coroutines may send. Errors: cancelled (it may
  // have been sent), errnos of sendmsg(2): EMSGSIZE, ENETUNREACH, ECONNREFUSED, ENOENT (Unix), ...
  runtime::Task<runtime::Result<void>> send_to(std::span<const std::byte> bytes,
                                               runtime::Address to);
  // To the peer of connect(); EDESTADDRREQ without one.
  runtime::Task<runtime::Result<void>> send(std::span<const std::byte> bytes);

  struct Received {
    std::size_t bytes = 0;
    bool is_cut = false;    // it was longer than the memory, and the rest is lost
    runtime::Address from;  // family AF_UNSPEC: a Unix socket without a name
  };
  // Waits for a datagram. Any number of coroutines may wait, each gets another one. A cancelled
  // wait has taken none. Errors: cancelled, ECONNREFUSED (connect()).
  runtime::Task<runtime::Result<Received>> receive_from(std::span<std::byte> into);

  // Where it is bound, with the port that it has.
  runtime::Result<runtime::Address> address() const;
  void close() noexcept;

 private:
  explicit DatagramSocket(runtime::Descriptor descriptor) noexcept : descriptor_(descriptor) {}
  runtime::Task<runtime::Result<void>> send_message(std::span<const std::byte> bytes,
                                                    const runtime::Address* to);

  runtime::Descriptor descriptor_;
  std::uint32_t waits_ = 0;  // coroutines in an operation of it
};

using UdpSocket = DatagramSocket;
using UnixDatagramSocket = DatagramSocket;

}  // namespace corelane::net
