#pragma once
// NodeUnderTest: a whole node in the test's runtime, and clients of it, all of them on core 0; the
// sessions that serve them lie on the core that accepted them. At the end the node is drained, and
// whatever it still has then is a failure.

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/sharded.hpp"
#include "runtime/submit.hpp"
#include "services/node/node.hpp"
#include "tests/support/on_cores.hpp"
#include "tests/support/protocol_client.hpp"

namespace corelane::tests {

inline runtime::RuntimeOptions node_cores(runtime::CoreId cores, std::uint32_t lane_slots = 64) {
  runtime::RuntimeOptions options = small_options(cores);
  options.ring.entries = 64;
  options.ring.completion_entries = 256;
  options.ring.direct_descriptors = 1024;
  options.lane_slots = lane_slots;
  return options;
}

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span{text});
}

class NodeUnderTest {
 public:
  explicit NodeUnderTest(services::NodeOptions options) : node_(prepared(options)) {}

  services::Node& node() noexcept { return node_; }
  runtime::Address address(Via via) const {
    const bool http = via == Via::websocket || via == Via::compressed;
    return node_.address(http ? services::Spoken::http : services::Spoken::tcp);
  }

  runtime::Task<void> start() {
    const auto failure = co_await node_.start();
    EXPECT_FALSE(failure) << failure->problem;
    const auto error = co_await node_.listen();
    EXPECT_FALSE(error) << error->address << ": " << describe(error->error);
    clients_.emplace(node_.cores()->network());
  }

  runtime::Task<ProtocolClient*> connect(Via via) {
    ProtocolClient* client = co_await clients_->connect(via, address(via));
    EXPECT_TRUE(client->open()) << client->problem();
    co_return client;
  }
  runtime::Task<ProtocolClient*> connect(Via via, runtime::Address to) {
    co_return co_await clients_->connect(via, to);
  }
  // A client whose session is on this core: connects until it gets one; the others wait for the
  // next call.
  runtime::Task<ProtocolClient*> connect_on(runtime::CoreId core, Via via = Via::websocket) {
    for (int attempt = 0; attempt < 500; ++attempt) {
      const auto spare = std::find_if(spare_.begin(), spare_.end(), [&](ProtocolClient* client) {
        return client->open() && client->core() == core && client->via() == via;
      });
      if (spare != spare_.end()) {
        ProtocolClient* found = *spare;
        spare_.erase(spare);
        co_return found;
      }
      spare_.push_back(co_await connect(via));
    }
    ADD_FAILURE() << "no connection reaches core " << core;
    co_return nullptr;
  }
  // Those that connect_on() did not need; for tests that count sessions.
  runtime::Task<void> close_spare() {
    for (ProtocolClient* client : spare_) {
      client->close();
      co_await client->closed();
    }
    spare_.clear();
  }

  // Sums of all cores.
  template <class Value>
  runtime::Task<std::uint64_t> total(Value value) {
    std::uint64_t sum = 0;
    for (runtime::CoreId core = 0; core < runtime::Core::current().cores(); ++core) {
      sum += co_await runtime::submit_to(
          core, [this, value] { return std::uint64_t{value(*node_.cores())}; });
    }
    co_return sum;
  }
  runtime::Task<std::uint64_t> sessions() {
    co_return co_await total([](services::CoreNode& node) { return node.sessions().count(); });
  }
  // The server learns of a client's end some time after the client.
  runtime::Task<bool> sessions_are(std::uint64_t count) {
    const runtime::Nanoseconds until = runtime::Core::current().now() + ProtocolClient::kPatience;
    while (runtime::Core::current().now() < until) {
      const std::uint64_t found = co_await sessions();
      if (found == count) co_return true;
      co_await runtime::sleep_for(runtime::kMillisecond);
    }
    co_return false;
  }

  runtime::Task<void> drain(runtime::Nanoseconds deadline = 600 * runtime::kSecond) {
    drained_ = true;
    cut_off_ = co_await node_.drain(deadline);
  }
  bool drained() const noexcept { return drained_; }
  std::uint32_t cut_off() const noexcept { return cut_off_; }

  // After drain(), with no round of messages in between that would let the lanes settle.
  runtime::Task<void> stop_at_once() {
    clients_.reset();
    co_await node_.stop();
    for (runtime::CoreId core = 0; core < runtime::Core::current().cores(); ++core) {
      co_await runtime::submit_to(core, expect_nothing_held);
    }
  }
  runtime::Task<void> stop() {
    if (!drained_) {
      co_await drain();
      EXPECT_EQ(cut_off_, 0u) << "connections that do not end in time";
    }
    const std::uint64_t sessions_left = co_await sessions();
    EXPECT_EQ(sessions_left, 0u);
    const std::uint64_t channels_left = co_await total(
        [](services::CoreNode&) { return services::PubSub::local().local_channels(); });
    EXPECT_EQ(channels_left, 0u);
    co_await stop_at_once();
  }

 private:
  // But for shared memory, whose last handle may be on its way home.
  static void expect_nothing_held() {
    const runtime::MemoryAccount& memory = runtime::Core::current().memory();
    EXPECT_EQ(memory.total() - memory.held(runtime::MemoryKind::shared), 0u);
    EXPECT_EQ(memory.unfinished(), 0u);
  }
  // Addresses of its own, and compression for the clients that ask for it.
  static services::NodeOptions prepared(services::NodeOptions options) {
    const auto any_port = *runtime::Address::parse("127.0.0.1:0");
    for (const services::Spoken spoken : {services::Spoken::http, services::Spoken::tcp}) {
      const auto there =
          std::ranges::find(options.listeners, spoken, &services::NodeListener::spoken);
      if (there != options.listeners.end()) continue;
      options.listeners.push_back({.address = any_port, .spoken = spoken});
    }
    options.websocket.handshake.deflate.is_enabled = true;
    return options;
  }

  services::Node node_;
  std::optional<ProtocolClients> clients_;
  std::vector<ProtocolClient*> spare_;
  bool drained_ = false;
  std::uint32_t cut_off_ = 0;
};

using NodeTest = std::function<runtime::Task<void>(NodeUnderTest&)>;

inline void with_node(const runtime::RuntimeOptions& options, const services::NodeOptions& node,
                      const NodeTest& body) {
  run_on_cores(options, [&]() -> runtime::Task<void> {
    NodeUnderTest test(node);
    co_await test.start();
    co_await body(test);
    co_await test.stop();
  });
}

inline void with_node(runtime::CoreId cores, const NodeTest& body) {
  with_node(node_cores(cores), {}, body);
}

}  // namespace corelane::tests
