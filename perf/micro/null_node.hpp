#pragma once
// NullNode: a whole server on one core over a NullRing, with WebSocket clients that have done their
// handshake. What a client sends goes through everything that serves it in production, from the
// completion of its receive to the send at the end of the turn; only the kernel is missing.

#include <array>
#include <cstddef>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "perf/micro/null_core.hpp"
#include "protocol/message.hpp"
#include "services/node/node.hpp"
#include "ws/frame.hpp"

namespace corelane::perf {

class NullNode {
 public:
  explicit NullNode(std::size_t clients) {
    services::NodeOptions options;
    options.network.receive_buffers = 2048;  // one for each client that speaks in the same turn
    options.connections_max = 2'000'000;
    options.websocket.ping_interval = 0;  // nobody would answer
    options.pubsub.hash_seed = kSeed;
    options.dispatch.subscriptions_per_session_max = 1000;
    options.fan_out_max = UINT32_MAX;  // a workload may publish any number of runs in one turn
    plan_.emplace(std::move(options));
    node_.emplace(*plan_);
    RT_ASSERT(node_->listen({*runtime::Address::parse("127.0.0.1:0")}).has_value());
    for (std::size_t i = 0; i < clients; ++i) connect();
    RT_ASSERT(sessions().count() == clients);
  }
  ~NullNode() {
    core_.run_last([this] { return node_->network().shutdown(); });
    node_.reset();
  }
  NullNode(const NullNode&) = delete;
  NullNode& operator=(const NullNode&) = delete;

  services::Sessions& sessions() noexcept { return node_->sessions(); }
  services::PubSub& pubsub() noexcept { return services::PubSub::local(); }
  const services::Dispatch& dispatch() const noexcept { return services::Dispatch::local(); }
  NullPeer& peer() noexcept { return core_.peer(); }
  runtime::Core& core() noexcept { return core_.core(); }
  void turn() noexcept { core_.turn(); }
  // Turns until the ring has nothing to say any more: all that was sent has completed.
  void settle() noexcept {
    do {
      turn();
    } while (core().ring().has_work());
  }

  // Bytes from this client, served in the next turn.
  void deliver(std::size_t client, std::span<const std::byte> bytes) {
    peer().deliver(sockets_[client], bytes);
  }
  services::Session& any_session() noexcept {
    services::Session* found = nullptr;
    sessions().for_each([&](services::Session& session) { found = &session; });
    return *found;
  }

  // `count` WebSocket messages as a client sends them, each one frame of the protocol.
  template <class Body>
  static std::vector<std::byte> messages(const Body& body, std::size_t count = 1) {
    protocol::MessageHeader header;
    header.transaction_id.data[0] = 1;
    std::vector<std::byte> frame;
    protocol::append_frame(frame, header, body);
    std::vector<std::byte> bytes;
    for (std::size_t i = 0; i < count; ++i) {
      constexpr ws::MaskKey kKey{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
      std::array<std::byte, ws::kClientHeaderBytesMax> head;
      const std::size_t head_bytes = ws::write_client_header(head.data(), {}, frame.size(), kKey);
      bytes.insert(bytes.end(), head.begin(),
                   head.begin() + static_cast<std::ptrdiff_t>(head_bytes));
      bytes.insert(bytes.end(), frame.begin(), frame.end());
      ws::apply_mask(std::span(bytes).last(frame.size()), kKey);
    }
    return bytes;
  }

 private:
  void connect() {
    constexpr std::string_view kRequest =
        "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    sockets_.push_back(peer().connect());
    settle();
    deliver(sockets_.size() - 1, std::as_bytes(std::span{kRequest}));
    settle();
  }

  NullCore core_;
  std::optional<services::NodePlan> plan_;
  std::optional<services::CoreNode> node_;
  std::vector<int> sockets_;
};

}  // namespace corelane::perf
