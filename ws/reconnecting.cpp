#include "ws/reconnecting.hpp"

#include <algorithm>
#include <utility>

#include "net/http/client.hpp"
#include "runtime/core.hpp"
#include "runtime/timeout.hpp"

namespace corelane::ws {

using runtime::Core;
using runtime::Error;
using runtime::ErrorCode;
using runtime::Nanoseconds;
using runtime::Result;
using runtime::Task;

bool is_final(const Error& error) noexcept {
  using net::http::ClientFault;
  const ClientFault fault = net::http::fault_of(error);
  if (error.code == ErrorCode::unsupported) return fault == ClientFault::no_tls;
  if (error.code == ErrorCode::invalid_argument) {
    return fault == ClientFault::bad_url || error.detail == 0;  // not of the resolver
  }
  // The detail is an HTTP status or a close code.
  if (error.code != ErrorCode::closed) return false;
  const bool is_transient = error.detail == 408 || error.detail == 425 || error.detail == 429;
  return error.detail >= 400 && error.detail < 500 && !is_transient;
}

ReconnectingClient::ReconnectingClient(std::string url, ClientOptions client,
                                       ReconnectOptions options)
    : url_(std::move(url)), client_options_(std::move(client)), options_(std::move(options)) {
  RT_ASSERT(options_.delay_min > 0);
  RT_ASSERT(options_.delay_min <= options_.delay_max);
}

Nanoseconds ReconnectingClient::next_delay() noexcept {
  Nanoseconds whole = options_.delay_min;
  for (std::uint32_t i = 1; i < failures_ && whole < options_.delay_max; ++i) whole *= 2;
  whole = std::min(whole, options_.delay_max);
  return Core::current().random().between(whole / 2, whole);
}

// The error, if it is the last one.
Result<void> ReconnectingClient::note_failure(const Error& error) {
  is_ready_ = false;
  ++failures_;
  // Drawn here, so that a receive() that is cancelled and called again waits for the rest of it.
  delay_ = next_delay();
  attempt_at_ = Core::current().now() + delay_;
  const bool is_last = options_.failures_max != 0 && failures_ >= options_.failures_max;
  if (!is_last && !options_.gives_up(error)) return {};
  gave_up_ = error;
  return error;
}

Task<Result<void>> ReconnectingClient::welcome() {
  return options_.on_connected(*client_);
}

Task<Result<void>> ReconnectingClient::try_once() {
  client_.reset();
  auto made = co_await Client::connect(url_, client_options_);
  if (!made) co_return made.error();
  client_.emplace(std::move(*made));
  ++connections_;
  if (!options_.on_connected) co_return Result<void>{};
  co_return co_await runtime::with_timeout(client_options_.connect_timeout, welcome());
}

// Until there is a connection.
Task<Result<void>> ReconnectingClient::connect() {
  for (;;) {
    const Nanoseconds left = attempt_at_ - Core::current().now();
    const auto closing = co_await runtime::with_timeout(left, closing_.wait());
    const bool is_over = closing.has_value() || closing_.is_set();
    if (is_over) co_return runtime::fail(ErrorCode::closed);
    if (closing.error().code != ErrorCode::timed_out) co_return closing.error();
    const auto made = co_await try_once();
    if (closing_.is_set()) {
      if (client_) co_await client_->close();  // close() may wait for it, too
      co_return runtime::fail(ErrorCode::closed);
    }
    if (made) break;
    client_.reset();
    if (made.error().code == ErrorCode::cancelled) {
      attempt_at_ = Core::current().now() + next_delay();
      co_return made.error();
    }
    const auto noted = note_failure(made.error());
    if (!noted) co_return noted.error();
  }
  is_ready_ = true;
  ready_since_ = Core::current().now();
  co_return Result<void>{};
}

Task<Result<ReceivedMessage>> ReconnectingClient::receive() {
  RT_ASSERT(!is_receiving_);
  struct Receiving {
    explicit Receiving(bool& flag) noexcept : is_receiving(flag) { is_receiving = true; }
    ~Receiving() { is_receiving = false; }
    bool& is_receiving;
  } receiving(is_receiving_);
  for (;;) {
    if (closing_.is_set()) co_return runtime::fail(ErrorCode::closed);
    if (gave_up_) co_return *gave_up_;
    if (!is_ready_) {
      const auto connected = co_await connect();
      if (!connected) co_return connected.error();
    }
    auto message = co_await client_->receive();
    if (message || message.error().code == ErrorCode::cancelled) co_return std::move(message);
    if (closing_.is_set()) co_return runtime::fail(ErrorCode::closed);
    if (Core::current().now() - ready_since_ >= options_.stable_after) failures_ = 0;
    const auto noted = note_failure(message.error());
    if (!noted) co_return noted.error();
  }
}

Task<Result<void>> ReconnectingClient::send(MessageKind kind, std::span<const std::byte> payload) {
  if (!is_connected()) co_return runtime::fail(ErrorCode::closed);
  co_return co_await client_->send(kind, payload);
}

Task<void> ReconnectingClient::close(CloseCode code, std::string_view reason) {
  closing_.set();
  if (client_) co_await client_->close(code, reason);
}

}  // namespace corelane::ws
