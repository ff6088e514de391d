#pragma once
// An echo server and a checking client on net::Stream, for tests over either ring. The client sends
// a stream of numbered bytes, reads them back and compares every one.

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "net/network.hpp"
#include "runtime/await.hpp"
#include "runtime/task_group.hpp"
#include "runtime/wait_queue.hpp"

namespace corelane::tests {

inline std::byte byte_at(std::uint64_t stream, std::uint64_t position) {
  return static_cast<std::byte>((position * 131 + stream * 17 + (position >> 8)) & 0xff);
}

inline runtime::Address loopback() {
  return *runtime::Address::parse("127.0.0.1:0");
}

// Sends back what comes, in place; pauses while the peer does not read.
struct EchoServer {
  static void on_data(net::Stream& stream, const net::Received& received) noexcept {
    const bool taken = stream.send_in_place(received, received.bytes);
    EXPECT_TRUE(taken || stream.closing()) << "pausing keeps the queue below its limit";
    if (!stream.writable()) stream.pause_receiving();
  }
  static void on_end(net::Stream& stream) noexcept { stream.close(0); }
  static void on_closed(net::Stream&, runtime::Error) noexcept {}
  static void on_timer(net::Stream&) noexcept {}
  static void on_writable(net::Stream& stream) noexcept { stream.resume_receiving(); }
  static constexpr net::StreamHandler kHandler{"echo",    on_data,  on_end,
                                               on_closed, on_timer, on_writable};
  static bool accept(void*, net::Stream& stream) noexcept {
    stream.set_handler(kHandler, nullptr);
    return true;
  }
};

// What an exchange goes over: the handlers of its two ends, which call those of the echo, and what
// is done to each stream when it is open.
struct Wire {
  const net::StreamHandler& server;
  const net::StreamHandler& client;
  void (*attach)(net::Stream& stream) = nullptr;

  void open(net::Stream& stream) const {
    if (attach != nullptr) attach(stream);
  }
};

// Counts what comes, at either end of any number of streams.
struct CountingPeer {
  std::uint64_t received = 0;

  static void on_data(net::Stream& stream, const net::Received& received) noexcept {
    static_cast<CountingPeer*>(stream.owner())->received += received.bytes.size();
  }
  static constexpr net::StreamHandler kHandler{"counting",           on_data,
                                               EchoServer::on_end,   EchoServer::on_closed,
                                               EchoServer::on_timer, nullptr};
  static bool accept(void* context, net::Stream& stream) noexcept {
    stream.set_handler(kHandler, context);
    return true;
  }
  // `count` streams within this network, all of their ends open when it returns.
  static runtime::Task<void> connect(net::Network& network, CountingPeer& servers,
                                     CountingPeer& clients, std::size_t count) {
    const auto listener = network.listen(loopback(), {}, accept, &servers);
    const runtime::Address address = *network.address_of(*listener);
    for (std::size_t i = 0; i < count; ++i) {
      const auto stream = co_await network.connect(address, kHandler, &clients);
      EXPECT_TRUE(stream);
    }
    while (network.stream_count() < 2 * count) co_await runtime::Yield{};
  }
};

struct EchoClient {
  std::uint64_t number = 0;
  std::uint64_t total = 0;      // bytes to send and to get back
  std::uint64_t window = 4096;  // bytes on their way at most
  std::uint64_t sent = 0;
  std::uint64_t received = 0;
  bool keep_open = false;  // stay connected when everything is back
  bool wrong = false;
  bool closed = false;
  runtime::Error why{};
  runtime::WaitQueue done;

  void send_more(net::Stream& stream) {
    while (sent < total && sent - received < window) {
      std::byte chunk[512];
      const std::uint64_t room = std::min(total - sent, window - (sent - received));
      const std::size_t bytes = std::min<std::uint64_t>(sizeof chunk, room);
      for (std::size_t i = 0; i < bytes; ++i) chunk[i] = byte_at(number, sent + i);
      if (!stream.send_copy({chunk, bytes})) return;
      sent += bytes;
    }
  }
  static EchoClient& of(net::Stream& stream) { return *static_cast<EchoClient*>(stream.owner()); }
  static void on_data(net::Stream& stream, const net::Received& received) noexcept {
    EchoClient& self = of(stream);
    for (const std::byte byte : received.bytes) {
      self.wrong = self.wrong || byte != byte_at(self.number, self.received);
      ++self.received;
    }
    if (self.received == self.total && self.keep_open) {
      self.done.wake_all(runtime::WaitQueue::Outcome::granted);
    } else if (self.received == self.total) {
      stream.close(0);
    } else {
      self.send_more(stream);
    }
  }
  static void on_end(net::Stream& stream) noexcept { stream.close(0); }
  static void on_closed(net::Stream& stream, runtime::Error why) noexcept {
    EchoClient& self = of(stream);
    self.closed = true;
    self.why = why;
    self.done.wake_all(runtime::WaitQueue::Outcome::granted);
  }
  static void on_timer(net::Stream&) noexcept {}
  static void on_writable(net::Stream& stream) noexcept { of(stream).send_more(stream); }
  static constexpr net::StreamHandler kHandler{"echo client", on_data,  on_end,
                                               on_closed,     on_timer, on_writable};

  // Until everything sent is back, or the stream gone. With keep_open.
  runtime::Task<void> all_back() {
    while (received < total && !closed) {
      runtime::WaitQueue::Waiter waiter{done};
      co_await waiter;
    }
  }

  // Connects, exchanges everything, and ends when the stream is gone.
  static runtime::Task<void> run(net::Network& network, runtime::Address address,
                                 EchoClient& client, const Wire* wire = nullptr) {
    const net::StreamHandler& handler = wire != nullptr ? wire->client : kHandler;
    const auto stream = co_await network.connect(address, handler, &client);
    if (!stream) {
      client.closed = true;
      client.why = stream.error();
      co_return;
    }
    if (wire != nullptr) wire->open(*network.find(*stream));
    client.send_more(*network.find(*stream));
    while (!client.closed && !(client.keep_open && client.received == client.total)) {
      runtime::WaitQueue::Waiter waiter{client.done};
      co_await waiter;
    }
  }
};

inline const Wire kPlainWire{.server = EchoServer::kHandler, .client = EchoClient::kHandler};

// The stream that an EchoServer has in this network, one of them if there are several; null before
// it has accepted.
inline net::Stream* server_stream(net::Network& network) {
  net::Stream* found = nullptr;
  network.for_each([&](auto, net::Stream& each) {
    if (each.owner() == nullptr) found = &each;
  });
  return found;
}

// Small buffers and queues, so that running out is ordinary.
inline net::NetworkOptions tiny() {
  net::NetworkOptions options;
  options.receive_buffer_bytes = 64;
  options.receive_buffers = 4;
  options.medium_buffer_bytes = 256;
  options.medium_buffers = 2;
  options.large_buffer_bytes = 1024;
  options.large_buffers = 2;
  options.queued_bytes_max = 16 * 1024;
  return options;
}

// Clients of `total` bytes each against an echo server in the same network.
inline runtime::Task<void> exchange(net::NetworkOptions options, runtime::Address listen_on,
                                    std::size_t clients, std::uint64_t total, std::uint64_t window,
                                    const Wire* wire = &kPlainWire) {
  net::Network network(options);
  const auto listener = network.listen(
      listen_on, {},
      [](void* context, net::Stream& stream) noexcept {
        const Wire& over = *static_cast<const Wire*>(context);
        stream.set_handler(over.server, nullptr);
        over.open(stream);
        return true;
      },
      const_cast<Wire*>(wire));
  EXPECT_TRUE(listener) << describe(listener.error());
  if (!listener) co_return;
  const runtime::Address address = *network.address_of(*listener);
  std::vector<std::unique_ptr<EchoClient>> all;
  runtime::TaskGroup group("clients");
  for (std::size_t i = 0; i < clients; ++i) {
    all.push_back(std::make_unique<EchoClient>());
    all.back()->number = i;
    all.back()->total = total;
    all.back()->window = window;
    group.spawn(
        "client",
        [](net::Network* on, runtime::Address to, EchoClient* client, const Wire* over)
            -> runtime::Task<void> { co_await EchoClient::run(*on, to, *client, over); },
        &network, address, all.back().get(), wire);
  }
  co_await group.join();
  for (const auto& client : all) {
    EXPECT_EQ(client->received, total) << describe(client->why);
    EXPECT_FALSE(client->wrong);
  }
  co_await network.shutdown();
  EXPECT_EQ(network.stream_count(), 0u);
}

}  // namespace corelane::tests
