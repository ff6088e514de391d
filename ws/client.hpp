#pragma once
// Client: one WebSocket to a server, for coroutines (RFC 6455). It is a Connection in the role of a
// client on the core's network, with the messages that have come and are not taken.
//
//   auto client = co_await ws::Client::connect("ws://127.0.0.1:8080/chat", std::move(options));
//   if (!client) co_return client.error();
//   auto sent = co_await client->send("hello");
//   for (auto message = co_await client->receive(); message; message = co_await client->receive())
//   {
//     use(message->text());
//   }
//   co_await client->close();
//
// On the core that made it. Several coroutines may send and receive. Destroyed while it is open, it
// says going_away, and its stream closes in the background; no coroutine may wait on it then.
//
// The server is asked for a sign of life each ping_interval, unless its messages wait to be taken:
// nothing is received while more than `received_bytes_max` of them do. So a user who does not
// receive for longer than the server waits for a pong loses the connection.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/resolve.hpp"
#include "runtime/result.hpp"
#include "runtime/task.hpp"
#include "ws/close_code.hpp"
#include "ws/endpoint.hpp"
#include "ws/owned_bytes.hpp"

namespace corelane::ws {

struct ClientOptions {
  std::vector<std::string> subprotocols{};                    // offered, the preferred one first
  std::string origin{};                                       // empty: none is sent
  std::vector<std::pair<std::string, std::string>> fields{};  // more fields of the handshake
  DeflatePolicy deflate{};  // permessage-deflate is offered if it is enabled
  ReaderLimits reader{};
  runtime::Nanoseconds connect_timeout = 10 * runtime::kSecond;  // name and handshake included
  runtime::Nanoseconds message_deadline = 30 * runtime::kSecond;
  runtime::Nanoseconds ping_interval = 25 * runtime::kSecond;  // 0: never
  runtime::Nanoseconds pong_timeout = 10 * runtime::kSecond;
  runtime::Nanoseconds close_timeout = 5 * runtime::kSecond;
  std::size_t received_bytes_max = 1024 * 1024;  // of messages that wait; the last may pass it
  net::Resolver resolver{};                      // default: the core's cache of names
};

// A message with memory of its own.
class ReceivedMessage {
 public:
  ReceivedMessage(MessageKind kind, OwnedBytes bytes) noexcept
      : bytes_(std::move(bytes)), kind_(kind) {}

  MessageKind kind() const noexcept { return kind_; }
  bool is_text() const noexcept { return kind_ == MessageKind::text; }
  std::span<const std::byte> bytes() const noexcept { return bytes_.bytes(); }
  // Valid UTF-8, if it is text.
  std::string_view text() const noexcept {
    return {reinterpret_cast<const char*>(bytes().data()), bytes_.size()};
  }

 private:
  OwnedBytes bytes_;
  MessageKind kind_;
};

class Client {
 public:
  // ws://host:port/path, or ws+unix://%2Frun%2Fname.sock/path (net/http/url.hpp). The addresses of
  // a name are raced (net/connect_race.hpp). Errors: those of net::resolve() and connect(2);
  // timed_out; cancelled; invalid_argument for the URL (net::http::ClientFault::bad_url) or a
  // field; unsupported for wss://, as there is no TLS; `closed` for an answer that is not a
  // WebSocket's, with its HTTP status as detail.
  static runtime::Task<runtime::Result<Client>> connect(std::string url, ClientOptions options);
  static runtime::Task<runtime::Result<Client>> connect(std::string url) {
    return connect(std::move(url), ClientOptions());
  }
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;
  ~Client();

  // The next message. Those that came before the end come first. Errors: cancelled (no message is
  // lost); `closed`, with close_code() as detail.
  runtime::Task<runtime::Result<ReceivedMessage>> receive();

  // Copies into the send queue, and waits while the server does not read: for at most
  // NetworkOptions::write_stall_timeout (30 s), then the connection ends with 1008. Errors: closed;
  // cancelled; limit_exceeded: it is larger than half of NetworkOptions::queued_bytes_max (512 KiB
  // by default).
  runtime::Task<runtime::Result<void>> send(MessageKind kind, std::span<const std::byte> payload);
  // As text: `text` is UTF-8.
  runtime::Task<runtime::Result<void>> send(std::string_view text) {
    return send(MessageKind::text, std::as_bytes(std::span{text}));
  }

  // Says `code` and `reason` (UTF-8, cut to 123 bytes) behind what is queued, drops the messages
  // that wait, and waits for the server's answer, for at most close_timeout. Returns close_code().
  runtime::Task<CloseCode> close(CloseCode code = CloseCode::normal, std::string_view reason = {});

  // False from the first close frame on, of either side.
  bool is_open() const noexcept;
  // How it ended: the server's code; ours, if it gave none; `abnormal`: the connection was cut.
  CloseCode close_code() const noexcept;
  const std::string& close_reason() const noexcept;
  // The one that the server chose; empty: none.
  const std::string& subprotocol() const noexcept;
  bool is_deflated() const noexcept;

 private:
  struct State;
  explicit Client(std::unique_ptr<State> state) noexcept;

  std::unique_ptr<State> state_;
};

}  // namespace corelane::ws
