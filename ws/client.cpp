#include "ws/client.hpp"

#include <deque>

#include "net/connect_race.hpp"
#include "net/http/client.hpp"
#include "net/http/url.hpp"
#include "runtime/timeout.hpp"
#include "runtime/wait_queue.hpp"
#include "ws/connection.hpp"

namespace corelane::ws {

using net::http::ClientFault;
using net::http::Url;
using runtime::ErrorCode;
using runtime::Result;
using runtime::Task;
using runtime::WaitQueue;

namespace {

EndpointOptions endpoint_options(const ClientOptions& options) {
  EndpointOptions made;
  made.handshake.subprotocols = options.subprotocols;
  made.handshake.deflate = options.deflate;
  made.reader = options.reader;
  made.message_deadline = options.message_deadline;
  made.ping_interval = options.ping_interval;
  made.pong_timeout = options.pong_timeout;
  made.close_timeout = options.close_timeout;
  return made;
}

}  // namespace

struct Client::State {
  explicit State(ClientOptions what)
      : options(std::move(what)),
        endpoint(net::Network::local(), endpoint_options(options), kHandler, nullptr) {}
  ~State() {
    for (std::uint32_t slot = 0; slot < endpoint.slots(); ++slot) {
      if (Connection* one = endpoint.in_slot(slot)) endpoint.let_go(*one, CloseCode::going_away);
    }
  }

  Task<Result<void>> connect(const Url& url);
  Task<Result<void>> try_address(runtime::Address address, const Url& url);
  void take(Message& message);
  void end(CloseCode code, std::string_view reason);
  std::optional<ReceivedMessage> next();
  Connection* open_connection() noexcept { return is_open ? endpoint.find(connection) : nullptr; }

  static State& of(Connection& connection) noexcept {
    return *static_cast<State*>(connection.context());
  }
  // Attempts to connect may be several; only one becomes the connection.
  bool is_ours(const Connection& one) const noexcept { return is_open && one.id() == connection; }
  static void on_open(Connection& connection, Handshake& handshake) noexcept {
    State& self = of(connection);
    if (self.was_open) return;  // a late attempt, which try_address() closes
    self.connection = connection.id();
    self.subprotocol = handshake.subprotocol;
    self.is_open = self.was_open = true;
  }
  static void on_message(Connection& connection, Message& message) noexcept {
    if (of(connection).is_ours(connection)) of(connection).take(message);
  }
  static void on_close(Connection& connection, CloseCode code, std::string_view reason) noexcept {
    if (of(connection).is_ours(connection)) of(connection).end(code, reason);
  }
  static void on_writable(Connection& connection) noexcept {
    of(connection).writing.wake_all(WaitQueue::Outcome::granted);
  }
  static const ConnectionHandler kHandler;

  const ClientOptions options;
  Endpoint endpoint;
  ConnectionId connection{};
  bool is_open = false;
  bool was_open = false;
  bool is_closing = false;  // messages are dropped
  std::deque<ReceivedMessage> messages;
  std::size_t message_bytes = 0;
  WaitQueue receiving;
  WaitQueue writing;
  WaitQueue ending;
  CloseCode code = CloseCode::abnormal;
  std::string reason;
  std::string subprotocol;
};

const ConnectionHandler Client::State::kHandler{
    .on_open = on_open, .on_message = on_message, .on_close = on_close, .on_writable = on_writable};

Client::Client(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;
Client::~Client() = default;

// --- Connecting

Task<Result<Client>> Client::connect(std::string url, ClientOptions options) {
  const auto parsed = net::http::parse_url(url, net::http::UrlKind::websocket);
  if (!parsed.url) {
    co_return net::http::error_of(ErrorCode::invalid_argument, ClientFault::bad_url);
  }
  if (parsed.url->is_secure) {
    co_return net::http::error_of(ErrorCode::unsupported, ClientFault::no_tls);
  }
  auto state = std::make_unique<State>(std::move(options));
  const auto connected =
      co_await runtime::with_timeout(state->options.connect_timeout, state->connect(*parsed.url));
  if (!connected) co_return connected.error();
  co_return Client(std::move(state));
}

Task<Result<void>> Client::State::connect(const Url& url) {
  std::vector<runtime::Address> addresses;
  if (url.address) {
    addresses.push_back(*url.address);
  } else {
    auto found = co_await net::resolve(url.name, url.port, options.resolver);
    if (!found) co_return found.error();
    addresses = net::interleave_families(*found);
    if (addresses.size() > net::kAddressesMax) addresses.resize(net::kAddressesMax);
  }
  net::Attempt attempt = [this, &url](runtime::Address address) {
    return try_address(address, url);
  };
  co_return co_await net::race(std::move(addresses), std::move(attempt));
}

Task<Result<void>> Client::State::try_address(runtime::Address address, const Url& url) {
  ConnectOptions asked{.host = url.host, .target = url.target, .origin = options.origin};
  for (const auto& [name, value] : options.fields) asked.fields.push_back({name, value});
  const auto made = co_await endpoint.connect(address, std::move(asked), this);
  if (!made) co_return made.error();
  if (*made == connection) co_return Result<void>{};
  if (Connection* late = endpoint.find(*made)) late->close(CloseCode::normal);
  co_return runtime::fail(ErrorCode::cancelled);
}

// --- Receiving

void Client::State::take(Message& message) {
  if (is_closing) return;
  const MessageKind kind = message.kind();
  message_bytes += message.payload().size() + sizeof(ReceivedMessage);
  messages.emplace_back(kind, message.take_or_copy());
  if (message_bytes > options.received_bytes_max) {
    endpoint.find(connection)->hold_receiving(true);
  }
  if (!receiving.empty()) receiving.wake_front(WaitQueue::Outcome::granted);
}

std::optional<ReceivedMessage> Client::State::next() {
  if (messages.empty()) return std::nullopt;
  std::optional<ReceivedMessage> message{std::move(messages.front())};
  messages.pop_front();
  message_bytes -= message->bytes().size() + sizeof(ReceivedMessage);
  if (message_bytes <= options.received_bytes_max / 2) {
    if (Connection* const from = open_connection()) from->hold_receiving(false);
  }
  return message;
}

Task<Result<ReceivedMessage>> Client::receive() {
  State& state = *state_;
  for (;;) {
    if (auto message = state.next()) co_return std::move(*message);
    if (!state.is_open) {
      co_return runtime::fail(ErrorCode::closed, static_cast<std::int32_t>(state.code));
    }
    WaitQueue::Waiter waiter{state.receiving};
    const bool is_cancelled = co_await waiter == WaitQueue::Outcome::cancelled;
    if (is_cancelled && state.messages.empty()) co_return runtime::fail(ErrorCode::cancelled);
  }
}

// --- Sending

Task<Result<void>> Client::send(MessageKind kind, std::span<const std::byte> payload) {
  State& state = *state_;
  constexpr std::size_t kHeaderBytesMax = 14;
  const std::size_t half = net::Network::local().options().queued_bytes_max / 2;
  if (payload.size() + kHeaderBytesMax > half) {
    co_return runtime::fail(ErrorCode::limit_exceeded);
  }
  for (bool may_pass = state.writing.empty();; may_pass = true) {
    Connection* const to = state.open_connection();
    if (to == nullptr || to->closing()) co_return runtime::fail(ErrorCode::closed);
    // Half of the queue is free then, so any message fits.
    if (may_pass && to->stream().writable()) {
      if (to->send(kind, payload)) co_return Result<void>{};
      co_return runtime::fail(to->closing() ? ErrorCode::closed : ErrorCode::limit_exceeded);
    }
    WaitQueue::Waiter waiter{state.writing};
    const WaitQueue::Outcome outcome = co_await waiter;
    if (outcome == WaitQueue::Outcome::cancelled) co_return runtime::fail(ErrorCode::cancelled);
  }
}

// --- The end

void Client::State::end(CloseCode with, std::string_view why) {
  is_open = false;
  code = with;
  reason = why;
  receiving.wake_all(WaitQueue::Outcome::closed);
  writing.wake_all(WaitQueue::Outcome::closed);
  ending.wake_all(WaitQueue::Outcome::closed);
}

Task<CloseCode> Client::close(CloseCode code, std::string_view reason) {
  State& state = *state_;
  state.is_closing = true;
  state.messages.clear();
  state.message_bytes = 0;
  if (Connection* const connection = state.open_connection()) connection->close(code, reason);
  state.writing.wake_all(WaitQueue::Outcome::closed);
  while (state.is_open) {
    WaitQueue::Waiter waiter{state.ending};
    if (co_await waiter == WaitQueue::Outcome::cancelled) break;
  }
  co_return state.code;
}

bool Client::is_open() const noexcept {
  const Connection* const connection = state_->open_connection();
  return connection != nullptr && !connection->closing() && !state_->is_closing;
}
CloseCode Client::close_code() const noexcept {
  return state_->code;
}
const std::string& Client::close_reason() const noexcept {
  return state_->reason;
}
const std::string& Client::subprotocol() const noexcept {
  return state_->subprotocol;
}
bool Client::is_deflated() const noexcept {
  const Connection* const connection = state_->open_connection();
  return connection != nullptr && connection->is_deflated();
}

}  // namespace corelane::ws
