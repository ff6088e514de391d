#pragma once
// An echo server and its clients, written directly on ring operations: the smallest program that
// has to survive everything a ring may legally do. For tests of the simulation itself; what net/
// does with the same ring is tested on its own.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/address.hpp"
#include "runtime/random.hpp"
#include "tests/support/ring_loop.hpp"

namespace corelane::tests {

// Accepts on one ring and returns every byte, through a few small provided buffers. Stops taking
// bytes while more than kQueueMax wait to be sent back.
class RingEchoServer {
 public:
  static constexpr std::size_t kQueueMax = 512;
  static constexpr std::uint32_t kBuffers = 4;
  static constexpr std::uint32_t kBufferBytes = 64;
  static constexpr std::uint16_t kGroup = 0;

  RingEchoServer(RingLoop& loop, const runtime::Address& address, bool direct);
  ~RingEchoServer();
  RingEchoServer(const RingEchoServer&) = delete;
  RingEchoServer& operator=(const RingEchoServer&) = delete;

  void stop();  // accepts no more; everything is closed once its connections have ended
  bool finished() const noexcept;
  std::uint64_t accepted() const noexcept { return accepted_; }
  std::uint64_t buffer_shortages() const noexcept { return buffer_shortages_; }

 private:
  struct Connection;
  void accept();
  void on_accept(const runtime::Completion& completion);
  void receive(Connection& connection);
  void on_receive(Connection& connection, const runtime::Completion& completion);
  void progress(Connection& connection);
  void send(Connection& connection);
  void remove(Connection& connection);

  RingLoop& loop_;
  const bool direct_;
  std::vector<std::byte> memory_;
  runtime::Descriptor listener_;
  runtime::Token accept_token_;
  bool accepting_ = false;
  bool accept_paused_ = false;  // no descriptor was free: go on when one is closed
  bool stopping_ = false;
  std::uint64_t accepted_ = 0;
  std::uint64_t buffer_shortages_ = 0;
  std::vector<std::unique_ptr<Connection>> connections_;
};

// Sends random bytes in pieces of random size, ends its side, and receives until the end.
class RingEchoClient {
 public:
  RingEchoClient(RingLoop& loop, const runtime::Address& address, std::uint64_t seed,
                 std::size_t bytes);

  bool finished() const noexcept { return finished_; }
  // Ended by an error, or too early; connecting again does not count.
  bool broken() const noexcept { return broken_; }
  // All that was sent has come back and nothing else; or, if it broke, the beginning of it.
  bool received_rightly() const noexcept;

 private:
  void connect();
  void send();
  void end();
  void receive();
  void close_when_idle();

  RingLoop& loop_;
  const runtime::Address address_;
  runtime::Random random_;
  std::vector<std::byte> outgoing_;
  std::vector<std::byte> incoming_;
  std::vector<std::byte> piece_;
  runtime::Descriptor socket_;
  std::size_t sent_ = 0;
  int in_flight_ = 0;
  runtime::Token outgoing_token_;  // of the send or shutdown that began last
  runtime::Token incoming_token_;  // of the receive
  bool ended_ = false;
  bool broken_ = false;
  bool closing_ = false;
  bool finished_ = false;
};

}  // namespace corelane::tests
