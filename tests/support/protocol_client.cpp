#include "tests/support/protocol_client.hpp"

#include <cstring>
#include <utility>

#include "protocol/frame.hpp"
#include "runtime/combine.hpp"

namespace corelane::tests {

using protocol::Opcode;
using runtime::Task;
namespace fbs = protocol::fbs;

namespace {

constexpr std::size_t kFrameBytesMax = 64 << 20;

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

ws::EndpointOptions endpoint_options(bool compressed) {
  ws::EndpointOptions options;
  options.handshake.deflate.is_enabled = compressed;
  options.reader.message_bytes_max = kFrameBytesMax;
  options.ping_interval = 0;  // the server's business
  return options;
}

}  // namespace

// --- Callbacks

ProtocolClient& ProtocolClient::of(ws::Connection& connection) noexcept {
  return *static_cast<ProtocolClient*>(connection.context());
}

ProtocolClient& ProtocolClient::of(net::Stream& stream) noexcept {
  return *static_cast<ProtocolClient*>(stream.owner());
}

const ws::ConnectionHandler ProtocolClient::kWebSocketHandler{
    [](ws::Connection& connection, ws::Handshake&) noexcept {
      of(connection).connection_ = connection.id();
      of(connection).open_ = true;
    },
    [](ws::Connection& connection, ws::Message& message) noexcept {
      of(connection).take_websocket_message(message.payload());
    },
    [](ws::Connection& connection, ws::CloseCode code, std::string_view) noexcept {
      of(connection).close_code_ = code;
      of(connection).ended();
    }};

const net::StreamHandler ProtocolClient::kStreamHandler{
    "protocol client",
    [](net::Stream& stream, const net::Received& received) noexcept {
      of(stream).take_stream(received.bytes);
    },
    [](net::Stream& stream) noexcept { stream.close(0); },
    [](net::Stream& stream, runtime::Error why) noexcept {
      of(stream).why_ = why;
      of(stream).ended();
    },
    [](net::Stream&) noexcept {},
    nullptr};

void ProtocolClient::ended() noexcept {
  open_ = false;
  wake();
}

void ProtocolClient::complain(std::string problem) {
  if (problem_.empty()) problem_ = std::move(problem);
  wake();
}

void ProtocolClient::take_websocket_message(std::span<const std::byte> message) {
  for (protocol::FrameCursor cursor(message, kFrameBytesMax); !cursor.at_end();) {
    const protocol::Frame frame = cursor.next();
    if (frame.status != protocol::FrameStatus::complete) {
      return complain("a message ends inside a frame");
    }
    take_frame(frame.message);
  }
}

void ProtocolClient::take_stream(std::span<const std::byte> bytes) {
  if (via_ == Via::bytes) {
    text_ += text_of(bytes);
    return wake();
  }
  gathered_.insert(gathered_.end(), bytes.begin(), bytes.end());
  std::size_t taken = 0;
  for (;;) {
    const auto frame = protocol::next_frame(std::span(gathered_).subspan(taken), kFrameBytesMax);
    if (frame.status == protocol::FrameStatus::need_more) break;
    if (frame.status != protocol::FrameStatus::complete) return complain("an impossible size");
    take_frame(frame.message);
    taken += frame.consumed;
  }
  gathered_.erase(gathered_.begin(), gathered_.begin() + static_cast<std::ptrdiff_t>(taken));
}

// --- Decoding

void ProtocolClient::take_frame(std::span<const std::byte> bytes) {
  const auto verified = protocol::verify_message(bytes);
  if (!verified.ok) return complain("a frame holds no Message");
  ServerMessage message;
  message.opcode = verified.view.opcode;
  message.arrival = ++arrivals_;
  message.transaction_id = verified.view.transaction_id;
  message.timestamp = verified.view.timestamp;
  message.trace_id = verified.view.trace_id;
  message.span_id = verified.view.span_id;
  if (!decode(verified.view, message)) return complain("a payload is not of its opcode's type");
  auto& queue =
      message.transaction_id == protocol::kNilUuid ? events_ : replies_[message.transaction_id];
  queue.push_back(std::move(message));
  wake();
}

bool ProtocolClient::decode(const protocol::MessageView& view, ServerMessage& message) {
  const auto open = [&]<class Table>(const Table*, auto&& read) {
    const auto payload = protocol::verify_payload<Table>(view.payload, scratch_);
    if (!payload) return false;
    read(*payload.table);
    return true;
  };
  const auto read_results = [&](const auto& table) {
    for (const auto* result : *table.results()) message.results.push_back(*result);
  };
  const auto read_direct = [&](const auto& table) {
    message.from = protocol::from_fbs(table.from());
    message.data = text_of(protocol::bytes_of(table.data()));
  };
  switch (view.opcode) {
    case Opcode::Error:
      return open(static_cast<const fbs::ErrorReply*>(nullptr), [&](const fbs::ErrorReply& table) {
        message.error = table.code();
        message.failed_opcode = table.failed_opcode();
        message.retry_after_ms = table.retry_after_ms();
        message.data = protocol::text_of(table.text());
      });
    case Opcode::Ack:
      return open(static_cast<const fbs::AckReply*>(nullptr), [&](const fbs::AckReply& table) {
        message.epoch = table.epoch();
        message.offset = table.offset();
        message.delivered = table.delivered();
      });
    case Opcode::Event:
      return open(static_cast<const fbs::ChannelEvent*>(nullptr),
                  [&](const fbs::ChannelEvent& table) {
                    message.channel = table.channel()->str();
                    message.epoch = table.epoch();
                    message.offset = table.offset();
                    message.data = text_of(protocol::bytes_of(table.data()));
                    message.from = protocol::from_fbs(table.publisher());
                  });
    case Opcode::SubscribeReply:
      return open(static_cast<const fbs::SubscribeReply*>(nullptr), read_results);
    case Opcode::UnsubscribeReply:
      return open(static_cast<const fbs::UnsubscribeReply*>(nullptr), read_results);
    case Opcode::DirectMessage:
      return open(static_cast<const fbs::DirectEvent*>(nullptr), read_direct);
    case Opcode::BroadcastMessage:
      return open(static_cast<const fbs::BroadcastEvent*>(nullptr), read_direct);
    case Opcode::Pong:
      return open(static_cast<const fbs::PongReply*>(nullptr), [&](const fbs::PongReply& table) {
        message.data = text_of(protocol::bytes_of(table.data()));
        message.server_time = table.server_time();
      });
    case Opcode::WhoAmIReply:
      return open(static_cast<const fbs::WhoAmIReply*>(nullptr),
                  [&](const fbs::WhoAmIReply& table) {
                    message.from = protocol::from_fbs(table.session());
                    message.core = table.core();
                    message.transport = table.transport();
                    if (table.remote_address() != nullptr) {
                      message.remote_address = table.remote_address()->str();
                    }
                    message.frame_bytes_max = table.frame_bytes_max();
                    message.subscriptions_max = table.subscriptions_max();
                  });
    default: {
      message.data = text_of(view.payload);
      // Opcodes of an application: custom opcodes, and requests of its services, which are unnamed.
      const protocol::OpcodeClass kind = protocol::classify(view.opcode);
      const bool named = !protocol::opcode_name(view.opcode).empty();
      return kind == protocol::OpcodeClass::custom ||
             (kind == protocol::OpcodeClass::server && named) ||
             (kind == protocol::OpcodeClass::request && !named);
    }
  }
}

// --- Sending

protocol::Uuid ProtocolClient::new_transaction() noexcept {
  protocol::Uuid uuid{};
  ++transactions_;
  std::memcpy(uuid.data, &transactions_, sizeof transactions_);
  return uuid;
}

ws::Connection* ProtocolClient::connection() noexcept {
  return open_ && endpoint_ != nullptr ? endpoint_->find(connection_) : nullptr;
}

net::Stream* ProtocolClient::stream() noexcept {
  if (endpoint_ == nullptr) return open_ ? network_.find(stream_) : nullptr;
  ws::Connection* websocket = connection();
  return websocket != nullptr ? &websocket->stream() : nullptr;
}

bool ProtocolClient::send_bytes(std::span<const std::byte> bytes) {
  if (endpoint_ != nullptr) {
    ws::Connection* websocket = connection();
    return websocket != nullptr && websocket->send(ws::MessageKind::binary, bytes);
  }
  net::Stream* raw = stream();
  return raw != nullptr && raw->send_copy(bytes);
}

bool ProtocolClient::send_text(std::string_view text) {
  const auto bytes = std::as_bytes(std::span{text});
  if (endpoint_ == nullptr) return send_bytes(bytes);
  ws::Connection* websocket = connection();
  return websocket != nullptr && websocket->send(ws::MessageKind::text, bytes);
}

void ProtocolClient::close() {
  if (ws::Connection* websocket = connection()) {
    websocket->close(ws::CloseCode::normal);
  } else if (net::Stream* raw = stream()) {
    raw->close(0);
  }
}

void ProtocolClient::abort() {
  if (net::Stream* raw = stream()) raw->abort();
}

void ProtocolClient::pause_receiving() {
  if (net::Stream* raw = stream()) raw->pause_receiving();
}

void ProtocolClient::resume_receiving() {
  if (net::Stream* raw = stream()) raw->resume_receiving();
}

// --- Waiting

Task<void> ProtocolClient::change() {
  runtime::WaitQueue::Waiter waiter{changed_};
  co_await waiter;
}

Task<bool> ProtocolClient::wait_until(std::function<bool()> done) {
  const runtime::Nanoseconds until = runtime::Core::current().now() + kPatience;
  while (!done()) {
    const runtime::Nanoseconds left = until - runtime::Core::current().now();
    if (left <= 0) break;
    if (!co_await runtime::with_timeout(left, change())) break;
  }
  co_return done();
}

Task<ServerMessage> ProtocolClient::reply(protocol::Uuid transaction_id) {
  ServerMessage message;
  if (transaction_id == protocol::kNilUuid) co_return message;
  const auto here = [this, transaction_id] { return replies_.count(transaction_id) > 0; };
  co_await wait_until([this, &here] { return here() || !open_; });
  if (!here()) co_return message;
  const auto found = replies_.find(transaction_id);
  message = std::move(found->second.front());
  found->second.pop_front();
  if (found->second.empty()) replies_.erase(found);
  co_return message;
}

Task<ServerMessage> ProtocolClient::event() {
  ServerMessage message;
  if (!co_await has_events(1)) co_return message;
  message = std::move(events_.front());
  events_.pop_front();
  co_return message;
}

Task<bool> ProtocolClient::has_events(std::size_t count) {
  co_await wait_until([this, count] { return events_.size() >= count || !open_; });
  co_return events_.size() >= count;
}

Task<bool> ProtocolClient::settle() {
  const ServerMessage pong = co_await request(protocol::PingBody{.data = {}});
  co_return pong.opcode == Opcode::Pong;
}

Task<bool> ProtocolClient::closed() {
  co_return co_await wait_until([this] { return !open_; });
}

// --- The clients of a core

ProtocolClients::ProtocolClients(net::Network& network)
    : network_(network),
      plain_(network, endpoint_options(false), ProtocolClient::kWebSocketHandler, nullptr),
      compressed_(network, endpoint_options(true), ProtocolClient::kWebSocketHandler, nullptr) {}

Task<ProtocolClient*> ProtocolClients::connect(Via via, runtime::Address address) {
  clients_.push_back(std::unique_ptr<ProtocolClient>(new ProtocolClient(network_, via)));
  ProtocolClient* client = clients_.back().get();
  if (via == Via::websocket || via == Via::compressed) {
    client->endpoint_ = via == Via::websocket ? &plain_ : &compressed_;
    const auto made = co_await client->endpoint_->connect(address, address.text(), "/ws", client);
    if (!made) client->complain("cannot connect: " + describe(made.error()));
    if (!made) co_return client;
    if (client->connection()->is_deflated() != (via == Via::compressed)) {
      client->complain("the server has not agreed on compression as the client asked");
      client->abort();
      co_await client->closed();
      co_return client;
    }
  } else {
    const auto made = co_await network_.connect(address, ProtocolClient::kStreamHandler, client);
    if (!made) client->complain("cannot connect: " + describe(made.error()));
    if (!made) co_return client;
    client->stream_ = *made;
    client->open_ = true;
  }
  if (via == Via::bytes) co_return client;
  const ServerMessage reply = co_await client->request(protocol::WhoAmIBody{});
  if (reply.opcode != Opcode::WhoAmIReply) {
    client->complain("WhoAmI is not answered: close code " +
                     std::to_string(static_cast<int>(client->close_code_)) + ", " +
                     describe(client->why_));
    client->abort();
    co_await client->closed();
    co_return client;
  }
  client->core_ = reply.core;
  client->uuid_ = reply.from;
  co_return client;
}

}  // namespace corelane::tests
