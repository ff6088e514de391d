#include "net/datagram.hpp"

#include <sys/socket.h>
#include <sys/uio.h>

#include "runtime/await.hpp"
#include "runtime/core.hpp"

namespace corelane::net {

using runtime::Address;
using runtime::Core;
using runtime::Result;
using runtime::Task;

Result<DatagramSocket> DatagramSocket::bind(const Address& address,
                                            const runtime::DatagramOptions& options) {
  const auto descriptor = Core::current().ring().open_datagram(address, options);
  if (!descriptor) return runtime::Unexpected{descriptor.error()};
  return DatagramSocket(*descriptor);
}

DatagramSocket& DatagramSocket::operator=(DatagramSocket&& other) noexcept {
  RT_ASSERT(other.waits_ == 0);
  if (this != &other) {
    close();
    descriptor_ = std::exchange(other.descriptor_, {});
  }
  return *this;
}

void DatagramSocket::close() noexcept {
  RT_ASSERT(waits_ == 0);  // a coroutine waits on a socket that ends: end its task first
  if (descriptor_.valid()) Core::current().ring().close_now(std::exchange(descriptor_, {}));
}

Result<void> DatagramSocket::connect(const Address& peer) {
  return Core::current().ring().connect_datagram(descriptor_, peer);
}

Result<Address> DatagramSocket::address() const {
  return Core::current().ring().local_address(descriptor_);
}

Task<Result<void>> DatagramSocket::send_to(std::span<const std::byte> bytes, Address to) {
  co_return co_await send_message(bytes, &to);
}

Task<Result<void>> DatagramSocket::send(std::span<const std::byte> bytes) {
  co_return co_await send_message(bytes, nullptr);
}

Task<Result<void>> DatagramSocket::send_message(std::span<const std::byte> bytes,
                                                const Address* to) {
  iovec part{.iov_base = const_cast<std::byte*>(bytes.data()), .iov_len = bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (to != nullptr) {
    message.msg_name = const_cast<sockaddr*>(to->raw());
    message.msg_namelen = to->raw_bytes();
  }
  runtime::OperationAwaiter operation("send", descriptor_,
                                      [&](runtime::Ring& ring, runtime::Token token) {
                                        ring.send_message(descriptor_, &message, token);
                                      });
  ++waits_;
  const auto sent = co_await operation;
  --waits_;
  if (!sent) co_return runtime::Unexpected{sent.error()};
  co_return Result<void>{};
}

Task<Result<DatagramSocket::Received>> DatagramSocket::receive_from(std::span<std::byte> into) {
  Received received;
  iovec part{.iov_base = into.data(), .iov_len = into.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_name = received.from.raw();
  message.msg_namelen = Address::kRawBytesMax;
  runtime::OperationAwaiter operation("receive", descriptor_,
                                      [&](runtime::Ring& ring, runtime::Token token) {
                                        ring.receive_message(descriptor_, &message, token);
                                      });
  ++waits_;
  const auto done = co_await operation;
  --waits_;
  if (!done) co_return runtime::Unexpected{done.error()};
  received.bytes = *done;
  received.is_cut = (message.msg_flags & MSG_TRUNC) != 0;
  if (message.msg_namelen != 0) received.from.set_raw_bytes(message.msg_namelen);
  co_return received;
}

}  // namespace corelane::net
