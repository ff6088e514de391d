#pragma once
// ReconnectingClient: a ws::Client that connects again when its connection ends, after a delay that
// grows with each failure in a row and is drawn at random, so that the clients of a server that
// restarts do not come all at once.
//
//   ws::ReconnectOptions options;
//   options.on_connected = subscribe;                     // Task<Result<void>>(Client&), each time
//   ws::ReconnectingClient client("ws://127.0.0.1:8080/feed", {}, std::move(options));
//   for (;;) {
//     auto message = co_await client.receive();           // connects, and connects again
//     if (!message) break;                                // gave up, cancelled or closed
//   }
//
// Everything happens inside receive(): one coroutine at a time awaits it. Others may send: while
// there is no connection a message is refused, since nobody knows whether one later would still be
// right; on_connected is the place for what each connection needs. On the core that made it.

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "runtime/event.hpp"
#include "runtime/result.hpp"
#include "runtime/task.hpp"
#include "ws/client.hpp"

namespace corelane::ws {

// Not worth another attempt: a URL or field that cannot be used, wss://, and the statuses 4xx but
// 408, 425 and 429: the server will say the same again.
bool is_final(const runtime::Error& error) noexcept;

struct ReconnectOptions {
  // The n-th attempt in a row waits for a random time between the half and the whole of delay_min *
  // 2^n, at most delay_max. The first one of all waits for nothing.
  runtime::Nanoseconds delay_min = 500 * runtime::kMillisecond;
  runtime::Nanoseconds delay_max = 30 * runtime::kSecond;
  // A connection that has lasted so long makes the next delay the first again.
  runtime::Nanoseconds stable_after = 10 * runtime::kSecond;
  std::uint32_t failures_max = 0;  // in a row, then it gives up; 0: never
  // Decides, by the error of connecting or of a connection that ended (`closed`, with the close
  // code as detail), whether to give up.
  std::function<bool(const runtime::Error&)> gives_up = is_final;
  // For each connection, before anything else: to subscribe, or to log in. It may
  // send and receive. An error ends the connection and counts as a failure; so does
  // ClientOptions::connect_timeout, which it must keep.
  std::function<runtime::Task<runtime::Result<void>>(Client&)> on_connected{};
};

class ReconnectingClient {
 public:
  ReconnectingClient(std::string url, ClientOptions client, ReconnectOptions options = {});
  ReconnectingClient(const ReconnectingClient&) = delete;
  ReconnectingClient& operator=(const ReconnectingClient&) = delete;

  // The next message, of this connection or of the next one. Errors: cancelled (an attempt to
  // connect ends with it, but no message is lost); the one that made it give up, again and again;
  // closed, after close(). An attempt that was cancelled is no failure, but the next one waits for
  // a delay, too: under a with_timeout() shorter than a handshake, and later than a delay, it never
  // connects.
  runtime::Task<runtime::Result<ReceivedMessage>> receive();
  // As Client::send(); `closed` while there is no connection.
  runtime::Task<runtime::Result<void>> send(MessageKind kind, std::span<const std::byte> payload);
  runtime::Task<runtime::Result<void>> send(std::string_view text) {
    return send(MessageKind::text, std::as_bytes(std::span{text}));
  }
  // For good: receive() ends with `closed`.
  runtime::Task<void> close(CloseCode code = CloseCode::normal, std::string_view reason = {});

  bool is_connected() const noexcept { return is_ready_ && client_->is_open(); }
  std::uint64_t connections() const noexcept { return connections_; }  // made so far
  std::uint32_t failures() const noexcept { return failures_; }        // in a row
  // The time between the last failure and the attempt behind it.
  runtime::Nanoseconds delay() const noexcept { return delay_; }

 private:
  runtime::Task<runtime::Result<void>> connect();
  runtime::Task<runtime::Result<void>> try_once();
  runtime::Task<runtime::Result<void>> welcome();
  runtime::Result<void> note_failure(const runtime::Error& error);
  runtime::Nanoseconds next_delay() noexcept;

  const std::string url_;
  const ClientOptions client_options_;
  const ReconnectOptions options_;
  std::optional<Client> client_;
  bool is_ready_ = false;  // connected, and on_connected has ended
  bool is_receiving_ = false;
  runtime::Nanoseconds ready_since_ = 0;
  std::uint64_t connections_ = 0;
  std::uint32_t failures_ = 0;
  runtime::Nanoseconds delay_ = 0;
  runtime::Nanoseconds attempt_at_ = 0;  // not before
  std::optional<runtime::Error> gave_up_;
  runtime::Event closing_;
};

}  // namespace corelane::ws
