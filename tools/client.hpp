#pragma once
// Client: one connection of the opcode protocol to a server, over WebSocket or a plain stream, for
// coroutines on one core. Requests are matched with their replies by transaction id; everything
// else that the server says is an event.
//
//   Client client;
//   auto connected = co_await with_timeout(limit, client.connect(url, addresses));
//   auto reply = co_await with_timeout(limit, client.request(protocol::PingBody{.data = bytes}));
//   while (auto event = co_await client.event()) { ... }
//   co_await client.close();               // always, before it is destroyed
//
// Every wait may be cancelled: a request whose wait was cancelled is forgotten, and its reply, if
// it comes, is dropped. Before listen() only one event is kept, an Error. After listen() all events
// wait to be taken; while too many wait, receiving pauses. The server's pings then lie behind
// unreceived input, so the client sends pings of its own: a server that waits for a pong accepts
// any frame as a sign of life.
//
// It shares the network of its core, so several clients, also in a server, can be on one core. With
// a server's network, limits.outgoing_queue_bytes_max is less than kQueuedBytesMax.

#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "net/network.hpp"
#include "protocol/message.hpp"
#include "protocol/verify.hpp"
#include "runtime/result.hpp"
#include "runtime/task.hpp"
#include "runtime/timer_heap.hpp"
#include "runtime/wait_queue.hpp"
#include "tools/server_url.hpp"
#include "ws/endpoint.hpp"

namespace corelane::tools {

// One message of the server, with memory of its own.
class Incoming {
 public:
  // `message`: a frame without its size. Empty if it is not valid.
  static std::optional<Incoming> copy_of(std::span<const std::byte> message);

  const protocol::MessageView& view() const noexcept { return view_; }
  // Memory that it holds, approximately.
  std::size_t bytes() const noexcept { return bytes_; }
  protocol::Opcode opcode() const noexcept { return view_.opcode; }
  // nullptr if the message is of another type, or its payload is damaged.
  template <class Table>
  const Table* as(protocol::Opcode opcode) {
    if (view_.opcode != opcode) return nullptr;
    return protocol::verify_payload<Table>(view_.payload, *scratch_).table;
  }

 private:
  std::unique_ptr<std::byte[]> memory_;
  std::unique_ptr<protocol::AlignedScratch> scratch_;
  protocol::MessageView view_;
  std::size_t bytes_ = 0;
};

class Client {
 public:
  // On a core, which it must not leave.
  Client();
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Connects to the first of the addresses that answers (net/connect_race.hpp); the WebSocket
  // handshake is part of answering. Errors: those of ws::Endpoint::connect for one of them.
  runtime::Task<runtime::Result<void>> connect(const ServerUrl& url,
                                               std::vector<runtime::Address> addresses);

  // Sends one frame and waits for the reply to it, an Error among them. Errors: closed, cancelled,
  // limit_exceeded (more than kQueuedBytesMax wait to be sent).
  template <class Body>
  runtime::Task<runtime::Result<Incoming>> request(const Body& body) {
    const protocol::Uuid id = new_transaction_id();
    return await_reply(frame_of(id, body), id);
  }
  // Sends one frame without waiting for anything. False as for request().
  template <class Body>
  bool post(const Body& body) {
    return transmit(frame_of(new_transaction_id(), body));
  }
  // Keeps all events from here on, not only an Error.
  void listen() noexcept { listens_ = true; }
  // The next message that is no reply to a request in flight. Errors: closed, cancelled.
  runtime::Task<runtime::Result<Incoming>> event();

  // The same without waiting; empty if there is none.
  std::optional<Incoming> take_event();

  // Says good-bye, waits for the other side for at most `patience`, and frees everything.
  runtime::Task<void> close(runtime::Nanoseconds patience = kCloseTimeout);

  bool is_open() const noexcept { return is_open_; }
  // Why the connection ended, for people; empty while it is open or if there is nothing to say.
  const std::string& end_text() const noexcept { return end_text_; }

  // Memory of the events that wait to be taken.
  std::size_t event_bytes() const noexcept { return event_bytes_; }

  static constexpr std::size_t kQueuedBytesMax = 64 * 1024 * 1024;
  // More than this, and the client receives nothing until there is less than half. What one turn
  // has received already comes on top: at most the receive buffers.
  static constexpr std::size_t kEventBytesMax = 1024 * 1024;
  // While it does not receive: far below the time that a server waits for a pong.
  static constexpr runtime::Nanoseconds kSignOfLife = 250 * runtime::kMillisecond;
  static constexpr runtime::Nanoseconds kCloseTimeout = 2 * runtime::kSecond;

 private:
  struct Pending {
    protocol::Uuid id;
    std::optional<Incoming> reply;
    runtime::WaitQueue arrived;
  };

  static void on_open(ws::Connection& connection, ws::Handshake& handshake) noexcept;
  static void on_message(ws::Connection& connection, ws::Message& message) noexcept;
  static void on_close(ws::Connection& connection, ws::CloseCode code,
                       std::string_view reason) noexcept;
  static const ws::ConnectionHandler kHandler;
  static void on_data(net::Stream& stream, const net::Received& received) noexcept;
  static void on_end(net::Stream& stream) noexcept;
  static void on_closed(net::Stream& stream, runtime::Error why) noexcept;
  static void on_timer(net::Stream& stream) noexcept;
  static const net::StreamHandler kStreamHandler;

  template <class Body>
  std::vector<std::byte> frame_of(const protocol::Uuid& id, const Body& body) {
    std::vector<std::byte> frame;
    protocol::append_frame(frame, header_of(id), body);
    return frame;
  }
  protocol::Uuid new_transaction_id();
  protocol::MessageHeader header_of(const protocol::Uuid& id) const;
  runtime::Task<runtime::Result<Incoming>> await_reply(std::vector<std::byte> frame,
                                                       protocol::Uuid id);
  runtime::Task<runtime::Result<void>> connect_to(runtime::Address address, const ServerUrl& url);
  // Attempts to connect may be several; only one becomes the connection.
  bool is_ours(const ws::Connection& connection) const noexcept;
  bool is_ours(const net::Stream& stream) const noexcept;
  runtime::Task<runtime::Result<void>> until_ended();
  bool transmit(const std::vector<std::byte>& frame);
  void take_message(std::span<const std::byte> message);
  void take_frames(std::span<const std::byte> bytes);
  void keep_event(Incoming event);
  bool is_farewell(Incoming& message);
  void pause();
  void resume();
  void ended(std::string text);

  net::SharedNetwork network_;
  ws::Endpoint endpoint_;
  bool is_websocket_ = true;
  bool is_open_ = false;
  ws::ConnectionId connection_;
  net::StreamId stream_;
  std::size_t streams_ = 0;          // not over WebSocket, with attempts that came too late
  std::vector<std::byte> gathered_;  // the beginning of a frame of a plain stream
  std::vector<Pending*> pending_;    // each lives in the frame of its await_reply()
  struct SignOfLife : runtime::Timer {
    explicit SignOfLife(Client& client) noexcept : Timer(&fire_timer), owner(client) {}
    static void fire_timer(Timer& timer) noexcept;
    Client& owner;
  };
  std::deque<Incoming> events_;
  std::size_t event_bytes_ = 0;
  bool listens_ = false;
  bool is_paused_ = false;
  SignOfLife sign_of_life_;
  runtime::WaitQueue event_waiting_;
  runtime::WaitQueue end_waiting_;
  runtime::WaitQueue gone_waiting_;  // for the end of streams_
  std::string farewell_;             // of a plain stream: why the server will end it
  std::string end_text_;
};

}  // namespace corelane::tools
