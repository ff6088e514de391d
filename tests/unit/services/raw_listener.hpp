#pragma once
// A WebSocket client of ours with a protocol of no kind: it keeps what it is told.

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/wait_queue.hpp"
#include "ws/endpoint.hpp"

namespace corelane::tests {

struct RawListener {
  std::vector<std::string> messages;
  std::optional<ws::CloseCode> code;
  runtime::WaitQueue changed;

  static RawListener& of(ws::Connection& connection) {
    return *static_cast<RawListener*>(connection.context());
  }
  void wake() { changed.wake_all(runtime::WaitQueue::Outcome::granted); }
  runtime::Task<void> until(std::function<bool()> condition) {
    while (!condition()) {
      runtime::WaitQueue::Waiter waiter{changed};
      co_await waiter;
    }
  }
  static void on_message(ws::Connection& connection, ws::Message& message) noexcept {
    const auto payload = message.payload();
    of(connection)
        .messages.emplace_back(reinterpret_cast<const char*>(payload.data()), payload.size());
    of(connection).wake();
  }
  static void on_close(ws::Connection& connection, ws::CloseCode code, std::string_view) noexcept {
    of(connection).code = code;
    of(connection).wake();
  }
  static constexpr ws::ConnectionHandler kHandler{nullptr, on_message, on_close};
};

// The status that a handshake is answered with; 101 if it was taken.
inline runtime::Task<int> status_at(ws::Endpoint& from, runtime::Address address,
                                    std::string target) {
  RawListener listener;
  const auto id = co_await from.connect(address, "a", target, &listener);
  if (!id) co_return id.error().detail;
  if (ws::Connection* open = from.find(*id)) open->close(ws::CloseCode::normal);
  co_await listener.until([&listener] { return listener.code.has_value(); });
  co_return 101;
}

}  // namespace corelane::tests
