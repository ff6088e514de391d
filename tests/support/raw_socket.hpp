#pragma once
// Bare sockets of a test, outside of any network: clients that do nothing on their own, over either
// ring. Used on one core; the test closes the sockets that it opened.

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

#include "runtime/address.hpp"
#include "runtime/await.hpp"
#include "runtime/core.hpp"
#include "runtime/task.hpp"

namespace corelane::tests {

inline runtime::Task<runtime::Descriptor> connect_raw(runtime::Address address) {
  const runtime::Descriptor socket = *runtime::Core::current().ring().open_socket(address.family());
  runtime::OperationAwaiter operation(
      [&](runtime::Ring& ring, runtime::Token token) { ring.connect(socket, address, token); });
  const auto connected = co_await operation;
  EXPECT_TRUE(connected) << describe(connected.error());
  co_return socket;
}

inline runtime::Task<bool> send_raw(runtime::Descriptor socket, std::string_view text) {
  runtime::OperationAwaiter operation([&](runtime::Ring& ring, runtime::Token token) {
    ring.send(socket, std::as_bytes(std::span{text}), token);
  });
  const auto sent = co_await operation;
  co_return sent&& static_cast<std::size_t>(*sent) == text.size();
}

// At most 1,024 bytes of what comes; empty at the end, or if the connection broke.
inline runtime::Task<std::string> receive_raw(runtime::Descriptor socket) {
  std::array<std::byte, 1024> bytes{};
  runtime::OperationAwaiter operation(
      [&](runtime::Ring& ring, runtime::Token token) { ring.receive(socket, bytes, token); });
  const auto received = co_await operation;
  if (!received) co_return std::string{};
  co_return std::string(reinterpret_cast<const char*>(bytes.data()),
                        static_cast<std::size_t>(*received));
}

inline void close_raw(runtime::Descriptor socket) {
  runtime::Core::current().ring().close_now(socket);
}

}  // namespace corelane::tests
