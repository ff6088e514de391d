#pragma once
// Two ends of a connection on the core's network, and bytes that tell where they belong: for tests
// of TcpStream over either ring.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/tcp.hpp"
#include "runtime/await.hpp"
#include "tests/support/echo_streams.hpp"
#include "tests/support/on_cores.hpp"

namespace corelane::tests {

struct TcpPair {
  TcpPair() = default;
  net::TcpStream client;
  net::TcpStream server;
};

inline runtime::Task<void> connect_pair(TcpPair& pair, runtime::Address on = loopback()) {
  auto listener = net::TcpListener::listen(on);
  EXPECT_TRUE(listener) << describe(listener.error());
  auto client = co_await net::TcpStream::connect(*listener->address());
  EXPECT_TRUE(client) << describe(client.error());
  auto server = co_await listener->accept();
  EXPECT_TRUE(server) << describe(server.error());
  pair.client = std::move(*client);
  pair.server = std::move(*server);
  co_await listener->close();
}

// Runs `body` with a connected pair on a network of `options`.
template <class Body>
void with_pair(const net::NetworkOptions& options, Body body, runtime::Address on = loopback()) {
  run_on_cores(1, [&]() -> runtime::Task<void> {
    net::Network network(options);
    {
      TcpPair pair;
      co_await connect_pair(pair, on);
      co_await body(pair);
    }
    co_await network.shutdown();
  });
}

inline std::vector<std::byte> numbered(std::uint64_t stream, std::uint64_t from,
                                       std::size_t count) {
  std::vector<std::byte> bytes(count);
  for (std::size_t i = 0; i < count; ++i) bytes[i] = byte_at(stream, from + i);
  return bytes;
}

inline std::string as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Everything up to the end of file, or the error in `why`.
inline runtime::Task<std::string> read_all(net::TcpStream& stream, runtime::Error* why = nullptr) {
  std::string text;
  for (;;) {
    auto bytes = co_await stream.read_some();
    if (!bytes) {
      if (why != nullptr) *why = bytes.error();
      co_return text;
    }
    text += bytes->text();
  }
}

}  // namespace corelane::tests
