#include "tools/client.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

#include "net/connect_race.hpp"
#include "protocol/frame.hpp"
#include "runtime/await.hpp"
#include "runtime/combine.hpp"
#include "runtime/core.hpp"
#include "tools/client_output.hpp"

namespace corelane::tools {

using runtime::Core;
using runtime::ErrorCode;
using runtime::Result;
using runtime::Task;
using runtime::WaitQueue;

namespace {

// More than any server sends: frames and WebSocket messages are bounded by its own limit.
constexpr std::size_t kFrameBytesMax = std::size_t{1} << 30;

net::NetworkOptions network_options() {
  net::NetworkOptions options;
  options.receive_buffers = 64;
  options.medium_buffers = 16;
  options.large_buffers = 4;
  options.queued_bytes_max = Client::kQueuedBytesMax;
  options.streams_max = 2 * net::kAddressesMax;  // attempts to connect, and those that are closing
  options.direct_descriptors = false;
  return options;
}

ws::EndpointOptions endpoint_options() {
  ws::EndpointOptions options;
  options.reader.message_bytes_max = kFrameBytesMax;
  options.close_timeout = Client::kCloseTimeout;
  return options;
}

// What a server sends that answers no frame with a frame.
std::string name_of_no_frame(std::span<const std::byte> bytes) {
  constexpr std::string_view kHttp = "HTTP/";
  const std::string_view text{reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  if (!text.starts_with(kHttp)) return "the server sent a malformed frame";
  return "an HTTP listener answered: tcp:// and unix: are for addresses of --tcp-listen, ws:// is "
         "for those of --listen";
}

}  // namespace

std::optional<Incoming> Incoming::copy_of(std::span<const std::byte> message) {
  // Builders align fields to the start of the frame, its size included.
  constexpr std::size_t kBefore = protocol::kFrameSizeBytes;
  Incoming incoming;
  incoming.memory_ = std::make_unique<std::byte[]>(kBefore + message.size());
  std::memcpy(incoming.memory_.get() + kBefore, message.data(), message.size());
  const protocol::VerifiedMessage verified =
      protocol::verify_message({incoming.memory_.get() + kBefore, message.size()});
  if (!verified.ok) return std::nullopt;
  incoming.view_ = verified.view;
  incoming.scratch_ = std::make_unique<protocol::AlignedScratch>();
  constexpr std::size_t kAllocationBytes = 32;
  incoming.bytes_ = kBefore + message.size() + sizeof(Incoming) + sizeof(protocol::AlignedScratch) +
                    2 * kAllocationBytes;
  return incoming;
}

const ws::ConnectionHandler Client::kHandler{on_open, on_message, on_close};
const net::StreamHandler Client::kStreamHandler{"client",  on_data,  on_end,
                                                on_closed, on_timer, nullptr};

Client::Client()
    : network_(network_options()),
      endpoint_(*network_, endpoint_options(), kHandler, this),
      sign_of_life_(*this) {}

Client::~Client() {
  RT_ASSERT(!is_open_);
  RT_ASSERT(pending_.empty());
}

// --- Connecting

Task<Result<void>> Client::connect(const ServerUrl& url, std::vector<runtime::Address> addresses) {
  RT_ASSERT(!is_open_);
  is_websocket_ = url.is_websocket;
  net::Attempt attempt = [this, &url](runtime::Address address) {
    return connect_to(address, url);
  };
  co_return co_await net::race(std::move(addresses), std::move(attempt));
}

Task<Result<void>> Client::connect_to(runtime::Address address, const ServerUrl& url) {
  if (!is_websocket_) {
    const auto made = co_await network_->connect(address, kStreamHandler, this);
    if (!made) co_return runtime::Unexpected{made.error()};
    net::Stream* stream = network_->find(*made);
    if (stream == nullptr) co_return runtime::fail(ErrorCode::closed);
    ++streams_;
    if (is_open_) {
      stream->close(0);
      co_return runtime::fail(ErrorCode::cancelled);
    }
    stream_ = *made;
    is_open_ = true;
    co_return Result<void>{};
  }
  const auto made = co_await endpoint_.connect(address, url.host, url.target, this);
  if (!made) co_return runtime::Unexpected{made.error()};
  if (*made == connection_) co_return Result<void>{};
  if (ws::Connection* late = endpoint_.find(*made)) late->close(ws::CloseCode::normal);
  co_return runtime::fail(ErrorCode::cancelled);
}

bool Client::is_ours(const ws::Connection& connection) const noexcept {
  return is_open_ && connection.id() == connection_;
}

bool Client::is_ours(const net::Stream& stream) const noexcept {
  return is_open_ && stream.id() == stream_;
}

// --- Sending

protocol::Uuid Client::new_transaction_id() {
  protocol::Uuid id;
  network_->core().random().fill(std::as_writable_bytes(std::span{id.data}));
  return id;
}

protocol::MessageHeader Client::header_of(const protocol::Uuid& id) const {
  protocol::MessageHeader header;
  header.transaction_id = id;
  header.timestamp = Core::current().wall_now();
  return header;
}

bool Client::transmit(const std::vector<std::byte>& frame) {
  if (!is_open_) return false;
  if (is_websocket_) {
    ws::Connection* connection = endpoint_.find(connection_);
    return connection != nullptr && connection->send(ws::MessageKind::binary, frame);
  }
  net::Stream* stream = network_->find(stream_);
  return stream != nullptr && stream->send_copy(frame);
}

Task<Result<Incoming>> Client::await_reply(std::vector<std::byte> frame, protocol::Uuid id) {
  if (!transmit(frame)) {
    co_return runtime::fail(is_open_ ? ErrorCode::limit_exceeded : ErrorCode::closed);
  }
  Pending pending{.id = id, .reply = {}, .arrived = {}};
  pending_.push_back(&pending);
  WaitQueue::Waiter waiter{pending.arrived};
  const WaitQueue::Outcome outcome = co_await waiter;
  std::erase(pending_, &pending);
  if (pending.reply) co_return std::move(*pending.reply);
  co_return runtime::fail(outcome == WaitQueue::Outcome::cancelled ? ErrorCode::cancelled
                                                                   : ErrorCode::closed);
}

// --- Receiving

void Client::take_message(std::span<const std::byte> message) {
  auto incoming = Incoming::copy_of(message);
  if (!incoming) return ended("the server sent a malformed message");
  const protocol::Uuid& id = incoming->view().transaction_id;
  const auto found = std::find_if(pending_.begin(), pending_.end(),
                                  [&](const Pending* one) { return one->id == id; });
  if (found != pending_.end()) {
    Pending& pending = **found;
    if (pending.reply) return;
    pending.reply = std::move(incoming);
    pending.arrived.wake_all(WaitQueue::Outcome::granted);
    return;
  }
  if (is_farewell(*incoming)) return;
  const bool is_error = incoming->opcode() == protocol::Opcode::Error;
  if (listens_ || (is_error && events_.empty())) keep_event(std::move(*incoming));
}

// The last frame of a plain stream, in the place of a close code: an Error that answers nothing.
bool Client::is_farewell(Incoming& message) {
  if (is_websocket_ || !(message.view().transaction_id == protocol::Uuid{})) return false;
  const auto* error = message.as<protocol::fbs::ErrorReply>(protocol::Opcode::Error);
  if (error == nullptr || error->failed_opcode() != protocol::Opcode::None) return false;
  farewell_ = text_error(*error);
  return true;
}

void Client::keep_event(Incoming event) {
  event_bytes_ += event.bytes();
  events_.push_back(std::move(event));
  if (event_bytes_ > kEventBytesMax) pause();
  if (!event_waiting_.empty()) event_waiting_.wake_front(WaitQueue::Outcome::granted);
}

std::optional<Incoming> Client::take_event() {
  if (events_.empty()) return std::nullopt;
  std::optional<Incoming> event{std::move(events_.front())};
  events_.pop_front();
  event_bytes_ -= event->bytes();
  if (is_paused_ && event_bytes_ <= kEventBytesMax / 2) resume();
  return event;
}

void Client::pause() {
  if (is_paused_ || !is_open_) return;
  is_paused_ = true;
  if (ws::Connection* connection = is_websocket_ ? endpoint_.find(connection_) : nullptr) {
    connection->stream().pause_receiving();
    network_->core().timers().add(sign_of_life_, network_->core().now() + kSignOfLife);
  } else if (net::Stream* stream = is_websocket_ ? nullptr : network_->find(stream_)) {
    stream->pause_receiving();
  }
}

void Client::resume() {
  is_paused_ = false;
  network_->core().timers().cancel(sign_of_life_);
  if (ws::Connection* connection = is_websocket_ ? endpoint_.find(connection_) : nullptr) {
    connection->stream().resume_receiving();
  } else if (net::Stream* stream = is_websocket_ ? nullptr : network_->find(stream_)) {
    stream->resume_receiving();
  }
}

void Client::SignOfLife::fire_timer(Timer& timer) noexcept {
  Client& client = static_cast<SignOfLife&>(timer).owner;
  if (ws::Connection* connection = client.endpoint_.find(client.connection_)) {
    connection->ping({});
    runtime::Core& core = client.network_->core();
    core.timers().add(timer, core.now() + kSignOfLife);
  }
}

Task<Result<Incoming>> Client::event() {
  for (;;) {
    if (auto event = take_event()) co_return std::move(*event);
    if (!is_open_) co_return runtime::fail(ErrorCode::closed);
    WaitQueue::Waiter waiter{event_waiting_};
    if (co_await waiter == WaitQueue::Outcome::cancelled && events_.empty()) {
      co_return runtime::fail(ErrorCode::cancelled);
    }
  }
}

void Client::ended(std::string text) {
  if (!is_open_) return;
  is_open_ = false;
  network_->core().timers().cancel(sign_of_life_);
  end_text_ = std::move(text);
  for (Pending* pending : pending_) pending->arrived.wake_all(WaitQueue::Outcome::closed);
  event_waiting_.wake_all(WaitQueue::Outcome::closed);
  end_waiting_.wake_all(WaitQueue::Outcome::closed);
}

// Here, not where the attempt has ended: the first message may come with the handshake's answer.
void Client::on_open(ws::Connection& connection, ws::Handshake&) noexcept {
  auto& self = *static_cast<Client*>(connection.context());
  if (self.is_open_) return;  // a late attempt, which connect_to() closes
  self.connection_ = connection.id();
  self.is_open_ = true;
}

void Client::on_message(ws::Connection& connection, ws::Message& message) noexcept {
  auto& self = *static_cast<Client*>(connection.context());
  if (!self.is_ours(connection)) return;
  for (protocol::FrameCursor cursor(message.payload(), kFrameBytesMax); !cursor.at_end();) {
    const protocol::Frame frame = cursor.next();
    if (frame.status != protocol::FrameStatus::complete) {
      return self.ended("the server sent a malformed frame");
    }
    self.take_message(frame.message);
  }
}

void Client::on_close(ws::Connection& connection, ws::CloseCode code,
                      std::string_view reason) noexcept {
  auto& self = *static_cast<Client*>(connection.context());
  if (!self.is_ours(connection)) return;
  if (code == ws::CloseCode::abnormal) {
    return self.ended(self.is_paused_ ? "the connection was cut while our output was not read"
                                      : "the connection was cut");
  }
  self.ended(fmt::format("the server closed the connection: {}{}{}", static_cast<unsigned>(code),
                         reason.empty() ? "" : " ", reason));
}

void Client::on_data(net::Stream& stream, const net::Received& received) noexcept {
  auto& self = *static_cast<Client*>(stream.owner());
  if (self.is_ours(stream)) self.take_frames(received.bytes);
}

void Client::take_frames(std::span<const std::byte> bytes) {
  gathered_.insert(gathered_.end(), bytes.begin(), bytes.end());
  std::span<const std::byte> rest = gathered_;
  for (;;) {
    const protocol::Frame frame = protocol::next_frame(rest, kFrameBytesMax);
    if (frame.status == protocol::FrameStatus::need_more) break;
    if (frame.status != protocol::FrameStatus::complete) return ended(name_of_no_frame(rest));
    take_message(frame.message);
    rest = rest.subspan(frame.consumed);
  }
  gathered_.erase(gathered_.begin(), gathered_.end() - static_cast<std::ptrdiff_t>(rest.size()));
}

void Client::on_end(net::Stream& stream) noexcept {
  auto& self = *static_cast<Client*>(stream.owner());
  if (self.is_ours(stream)) {
    self.ended("the server closed the connection" +
               (self.farewell_.empty() ? "" : ": " + self.farewell_));
  }
  stream.close(0);
}

void Client::on_closed(net::Stream& stream, runtime::Error why) noexcept {
  auto& self = *static_cast<Client*>(stream.owner());
  --self.streams_;
  self.gone_waiting_.wake_all(WaitQueue::Outcome::granted);
  if (!self.is_ours(stream)) return;
  self.ended(self.farewell_.empty() ? "the connection was cut: " + describe(why)
                                    : "the server closed the connection: " + self.farewell_);
}

void Client::on_timer(net::Stream&) noexcept {}

// --- Ending

Task<Result<void>> Client::until_ended() {
  while (is_open_) {
    WaitQueue::Waiter waiter{end_waiting_};
    if (co_await waiter == WaitQueue::Outcome::cancelled) {
      co_return runtime::fail(ErrorCode::cancelled);
    }
  }
  co_return Result<void>{};
}

Task<void> Client::close(runtime::Nanoseconds patience) {
  listens_ = false;
  events_.clear();
  event_bytes_ = 0;
  if (is_paused_) resume();
  if (is_open_) {
    if (ws::Connection* connection = is_websocket_ ? endpoint_.find(connection_) : nullptr) {
      connection->close(ws::CloseCode::normal);
    } else if (net::Stream* stream = is_websocket_ ? nullptr : network_->find(stream_)) {
      stream->close(patience);
    }
    const auto said = co_await runtime::with_timeout(patience, until_ended());
    if (!said) ended("the server did not answer the close");
  }
  // Others may use the network, too: only what is this client's ends.
  endpoint_.for_each([](ws::Connection& connection) { connection.stream().abort(); });
  if (net::Stream* stream = network_->find(stream_)) stream->abort();
  co_await endpoint_.until_empty();
  while (streams_ > 0) {
    WaitQueue::Waiter waiter{gone_waiting_, WaitQueue::OnCancel::ignore};
    co_await waiter;
  }
}

}  // namespace corelane::tools
