#pragma once
// ProtocolClient: a client of the opcode protocol for tests, over WebSocket, compressed WebSocket,
// TCP, or as bytes that nobody interprets. It keeps what the server sends, decoded, until the test
// asks for it: replies by their transaction id, everything else in order of arrival.
//
// ProtocolClients makes and owns the clients of one core, in a network that exists there; destroyed
// on that core after the network has been shut down. A client is used on that core only. Waits end
// after kPatience, so that a missing message is a failure and not a hang.

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "net/network.hpp"
#include "protocol/message.hpp"
#include "protocol/verify.hpp"
#include "runtime/address.hpp"
#include "runtime/task.hpp"
#include "runtime/wait_queue.hpp"
#include "ws/endpoint.hpp"

namespace corelane::tests {

enum class Via : std::uint8_t { websocket, compressed, tcp, bytes };

// One message of the server, decoded: the fields that its opcode has, the others empty.
struct ServerMessage {
  protocol::Opcode opcode = protocol::Opcode::None;  // None: nothing came
  std::uint64_t arrival = 0;                         // the n-th message of this client, from 1
  protocol::Uuid transaction_id{};
  std::uint64_t timestamp = 0;
  protocol::Uuid trace_id{};
  std::uint64_t span_id = 0;
  // Error.
  protocol::ErrorCode error = protocol::ErrorCode::none;
  protocol::Opcode failed_opcode = protocol::Opcode::None;
  std::uint32_t retry_after_ms = 0;
  // Ack, Event.
  std::uint64_t epoch = 0;
  std::uint64_t offset = 0;
  std::uint32_t delivered = 0;
  // SubscribeReply, UnsubscribeReply.
  std::vector<protocol::fbs::ChannelResult> results;
  // Event, DirectMessage, BroadcastMessage: the sender; WhoAmIReply: the session.
  protocol::Uuid from{};
  std::string channel;
  std::string data;  // also of Pong; the text of an Error; the payload of all other opcodes
  std::uint64_t server_time = 0;
  // WhoAmIReply.
  std::string remote_address;
  runtime::CoreId core = runtime::kNoCore;
  protocol::Transport transport = protocol::Transport::unknown;
  std::uint32_t frame_bytes_max = 0;
  std::uint32_t subscriptions_max = 0;
};

class ProtocolClient {
 public:
  static constexpr runtime::Nanoseconds kPatience = 60 * runtime::kSecond;

  bool open() const noexcept { return open_; }
  Via via() const noexcept { return via_; }
  // The code that it was closed with; WebSocket only.
  ws::CloseCode close_code() const noexcept { return close_code_; }
  // The core of the client's session on the server.
  runtime::CoreId core() const noexcept { return core_; }
  const protocol::Uuid& uuid() const noexcept { return uuid_; }

  // Writes one frame under a new transaction id and returns that; nil if it could not be sent.
  template <class Body>
  protocol::Uuid send(const Body& body, protocol::MessageHeader header = {}) {
    header.transaction_id = new_transaction();
    std::vector<std::byte> frame;
    protocol::append_frame(frame, header, body);
    return send_bytes(frame) ? header.transaction_id : protocol::kNilUuid;
  }
  // send() and then reply().
  template <class Body>
  runtime::Task<ServerMessage> request(const Body& body, protocol::MessageHeader header = {}) {
    const protocol::Uuid id = send(body, header);
    co_return co_await reply(id);
  }
  // One binary WebSocket message, or a part of the stream.
  bool send_bytes(std::span<const std::byte> bytes);
  bool send_text(std::string_view text);
  protocol::Uuid new_transaction() noexcept;

  // The next message under this transaction id; opcode None if the connection ends before or
  // nothing comes.
  runtime::Task<ServerMessage> reply(protocol::Uuid transaction_id);
  bool has_reply(const protocol::Uuid& transaction_id) const {
    return replies_.find(transaction_id) != replies_.end();
  }
  // Received messages without a transaction id that have not been taken.
  std::deque<ServerMessage>& events() noexcept { return events_; }
  runtime::Task<ServerMessage> event();
  // Waits until `count` are there; false if the connection ends before.
  runtime::Task<bool> has_events(std::size_t count);
  // A round trip: everything that was sent before on the session's own core has been looked at.
  runtime::Task<bool> settle();
  // Waits for the end of the connection, however it comes.
  runtime::Task<bool> closed();
  runtime::Task<bool> wait_until(std::function<bool()> done);

  void close();  // politely
  void abort();  // by a reset
  void pause_receiving();
  void resume_receiving();
  net::Stream* stream() noexcept;
  // Via::bytes: what has come.
  const std::string& text() const noexcept { return text_; }
  // Why it could not connect, or a message of the server that could not be read; empty: none.
  const std::string& problem() const noexcept { return problem_; }

 private:
  friend class ProtocolClients;
  explicit ProtocolClient(net::Network& network, Via via) : network_(network), via_(via) {}

  static ProtocolClient& of(ws::Connection& connection) noexcept;
  static ProtocolClient& of(net::Stream& stream) noexcept;
  static const ws::ConnectionHandler kWebSocketHandler;
  static const net::StreamHandler kStreamHandler;

  ws::Connection* connection() noexcept;
  void take_websocket_message(std::span<const std::byte> message);
  void take_stream(std::span<const std::byte> bytes);
  void take_frame(std::span<const std::byte> message);
  bool decode(const protocol::MessageView& view, ServerMessage& message);
  void complain(std::string problem);
  void ended() noexcept;
  void wake() noexcept { changed_.wake_all(runtime::WaitQueue::Outcome::granted); }
  runtime::Task<void> change();

  net::Network& network_;
  Via via_;
  ws::Endpoint* endpoint_ = nullptr;
  ws::ConnectionId connection_;
  net::StreamId stream_;
  bool open_ = false;
  ws::CloseCode close_code_ = ws::CloseCode::abnormal;
  runtime::Error why_{runtime::ErrorCode::closed, 0};  // how a stream ended
  runtime::CoreId core_ = runtime::kNoCore;
  protocol::Uuid uuid_{};
  std::uint64_t transactions_ = 0;
  std::uint64_t arrivals_ = 0;
  std::map<protocol::Uuid, std::deque<ServerMessage>> replies_;
  std::deque<ServerMessage> events_;
  std::vector<std::byte> gathered_;
  std::string text_;
  std::string problem_;
  runtime::WaitQueue changed_;
  protocol::AlignedScratch scratch_;
};

class ProtocolClients {
 public:
  explicit ProtocolClients(net::Network& network);

  // Connects and asks WhoAmI, which fills core() and uuid() (not Via::bytes). If either fails the
  // client is not open.
  runtime::Task<ProtocolClient*> connect(Via via, runtime::Address address);

 private:
  net::Network& network_;
  ws::Endpoint plain_;
  ws::Endpoint compressed_;
  std::vector<std::unique_ptr<ProtocolClient>> clients_;
};

}  // namespace corelane::tests
