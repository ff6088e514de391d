#pragma once
// A WebSocket client of a test: a blocking socket, used by one thread that is left out of the
// counting. What goes wrong is a failure of the test, and all calls after it do nothing.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/message.hpp"
#include "runtime/address.hpp"

namespace corelane::perf::lines {

class Client {
 public:
  // Connects and upgrades.
  explicit Client(const runtime::Address& server);
  ~Client();
  Client(Client&& other) noexcept;
  Client& operator=(Client&&) = delete;
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Appends one binary message to what leaves with the next send().
  void put(std::span<const std::byte> payload);
  template <class Body>
  void put_request(const Body& body, const protocol::Uuid& transaction_id) {
    std::vector<std::byte> frame;
    protocol::append_frame(frame, {.transaction_id = transaction_id}, body);
    put(frame);
  }
  void send();
  // Waits for this many messages and returns the last one, which lies here until the next call.
  std::span<const std::byte> receive(std::size_t messages);

  // Of the opcode protocol: the core that serves this client.
  unsigned core();

 private:
  bool fill();

  int socket_;
  std::string outgoing_;
  std::string incoming_;
  std::size_t taken_ = 0;  // of incoming_
};

}  // namespace corelane::perf::lines
