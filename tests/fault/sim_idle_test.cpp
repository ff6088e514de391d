// Goal: a silent stream holds no armed receive, only a poll, and misses nothing: bytes, ends,
// resets, a pause, its own close. A busy one costs no operation more than without any of that.
// Method: echo clients that fall silent for seconds of virtual time, over seeds with faults.
#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/await.hpp"
#include "runtime/sim/kernel.hpp"
#include "runtime/sim/world.hpp"
#include "tests/support/echo_streams.hpp"
#include "tests/support/on_cores.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::EchoClient;
using tests::EchoServer;
using tests::loopback;
using tests::run_on_cores;
using tests::tiny;

constexpr Nanoseconds kSilence = 5 * kSecond;  // far more than a stream needs to rest

std::size_t in_flight(const char* kind) {
  const std::string all = sim::World::current()->kernel().describe_operations(SIZE_MAX);
  std::size_t count = 0;
  const std::string name = std::string(": ") + kind;
  for (auto at = all.find(name); at != std::string::npos; at = all.find(name, at + 1)) ++count;
  return count;
}

// Both ends of echo connections, in one network.
class Pairs {
 public:
  explicit Pairs(std::size_t count) : clients_(count) {}

  Task<void> open(net::Network& network) {
    network_ = &network;
    const auto listener = network.listen(loopback(), {}, EchoServer::accept, nullptr);
    const Address address = *network.address_of(*listener);
    for (auto& client : clients_) {
      client = std::make_unique<EchoClient>();
      client->number = static_cast<std::uint64_t>(ids_.size());
      client->keep_open = true;
      const auto id = co_await network.connect(address, EchoClient::kHandler, client.get());
      EXPECT_TRUE(id) << describe(id.error());
      ids_.push_back(id ? *id : net::StreamId{});
    }
    while (network.stream_count() < 2 * clients_.size()) co_await sleep_for(kMillisecond);
  }
  // Every client sends `bytes` more and gets them back.
  Task<void> exchange(std::uint64_t bytes) {
    for (std::size_t i = 0; i < clients_.size(); ++i) {
      clients_[i]->total += bytes;
      net::Stream* stream = network_->find(ids_[i]);
      if (stream != nullptr) clients_[i]->send_more(*stream);
    }
    for (auto& client : clients_) {
      co_await client->all_back();
      EXPECT_EQ(client->received, client->total) << describe(client->why);
      EXPECT_FALSE(client->wrong);
    }
  }
  EchoClient& client(std::size_t i) { return *clients_[i]; }
  net::Stream& near(std::size_t i) { return *network_->find(ids_[i]); }
  net::Stream& far() { return *tests::server_stream(*network_); }  // of one pair

 private:
  net::Network* network_ = nullptr;
  std::vector<std::unique_ptr<EchoClient>> clients_;
  std::vector<net::StreamId> ids_;
};

using Body = std::function<Task<void>(net::Network&, Pairs&)>;

// Opens the pairs, and runs the body when all of them rest.
void run_resting(std::size_t count, const Body& body, const net::NetworkOptions& options = tiny()) {
  run_on_cores(1, [&]() -> Task<void> {
    net::Network network(options);
    Pairs pairs(count);
    co_await pairs.open(network);
    co_await sleep_for(kSilence);
    co_await body(network, pairs);
    co_await network.shutdown();
  });
}

// The same without faults, and with all but those that end a connection.
void run_resting_over_seeds(std::size_t count, const Body& body) {
  for (const std::uint64_t seed : sim::seeds(1, 50)) {
    SCOPED_TRACE(seed);
    sim::World world(seed, seed == 1 ? sim::Faults::none() : sim::Faults::swarm(seed, false));
    run_resting(count, body);
    if (testing::Test::HasFailure()) return;
  }
}

TEST(SimIdle, SilentStreamsHoldPollsOnlyAndStillGetWhatComes) {
  static constexpr std::size_t kPairs = 10;
  run_resting_over_seeds(kPairs, [](net::Network&, Pairs& pairs) -> Task<void> {
    for (int round = 0; round < 3; ++round) {
      EXPECT_EQ(in_flight("receive"), 0u);
      EXPECT_EQ(in_flight("poll"), 2 * kPairs);
      co_await pairs.exchange(round == 1 ? 10 : 5000);
      co_await sleep_for(kSilence);
    }
  });
}

TEST(SimIdle, MoreStreamsThanOneLookTakesComeToRest) {
  static constexpr std::size_t kPairs = 400;
  sim::World world(1);
  net::NetworkOptions options = tiny();
  options.direct_descriptors = false;
  const auto body = [](net::Network&, Pairs& pairs) -> Task<void> {
    EXPECT_EQ(in_flight("receive"), 0u);
    EXPECT_EQ(in_flight("poll"), 2 * kPairs);
    co_await pairs.exchange(100);
  };
  run_resting(kPairs, body, options);
}

TEST(SimIdle, AStreamThatIsNeverSilentNeverPolls) {
  sim::World world(1);
  run_on_cores(1, []() -> Task<void> {
    net::Network network(tiny());
    Pairs pairs(3);
    co_await pairs.open(network);
    const Nanoseconds until = Core::current().now() + kSilence;
    while (Core::current().now() < until) {
      co_await pairs.exchange(10);
      co_await sleep_for(100 * kMillisecond);
    }
    EXPECT_EQ(network.counters().polls, 0u);
    EXPECT_EQ(network.counters().receives, 6u);
    co_await network.shutdown();
  });
}

TEST(SimIdle, AStreamThatSpeaksAgainSoonReceivesAsBefore) {
  sim::World world(1);
  run_resting(1, [](net::Network& network, Pairs& pairs) -> Task<void> {
    EXPECT_EQ(network.counters().polls, 2u);
    co_await pairs.exchange(1);  // in one piece: a single receive at each end, and another poll
    co_await pairs.exchange(1);
    co_await sleep_for(kMillisecond);
    const auto before = network.counters();
    EXPECT_EQ(before.polls, 4u);
    EXPECT_EQ(in_flight("receive_multishot"), 2u);
    for (int i = 0; i < 100; ++i) co_await pairs.exchange(10);
    EXPECT_EQ(network.counters().receives, before.receives);
    EXPECT_EQ(network.counters().polls, before.polls);
  });
}

TEST(SimIdle, ARareMessageCostsAPollAndASingleReceive) {
  sim::World world(1);
  run_resting(1, [](net::Network& network, Pairs& pairs) -> Task<void> {
    const auto before = network.counters();
    for (int i = 0; i < 10; ++i) {
      co_await pairs.exchange(1);
      co_await sleep_for(kSilence);
    }
    EXPECT_EQ(network.counters().receives - before.receives, 20u);
    EXPECT_EQ(network.counters().polls - before.polls, 20u);
  });
}

// What happens while both ends of a pair rest, and that both are gone soon after.
void expect_end(void (*happen)(net::Stream& near, net::Stream& far)) {
  run_resting_over_seeds(1, [happen](net::Network& network, Pairs& pairs) -> Task<void> {
    EXPECT_EQ(in_flight("poll"), 2u);
    happen(pairs.near(0), pairs.far());
    co_await sleep_for(kSecond);
    EXPECT_TRUE(pairs.client(0).closed);
    EXPECT_EQ(network.stream_count(), 0u);
  });
}

TEST(SimIdle, APeersEndWakesBothAndTheyGo) {
  expect_end([](net::Stream& near, net::Stream&) { near.close(0); });
}

TEST(SimIdle, ALingeringStreamSeesThePeersEnd) {
  expect_end([](net::Stream& near, net::Stream&) { near.close(30 * kSecond); });
}

TEST(SimIdle, AnAbortEndsThePollAndThePeer) {
  expect_end([](net::Stream&, net::Stream& far) { far.abort(); });
}

// Bytes that nobody has received make the end a reset.
TEST(SimIdle, ARestingStreamLearnsOfAReset) {
  run_resting_over_seeds(1, [](net::Network& network, Pairs& pairs) -> Task<void> {
    net::Stream& far = pairs.far();
    far.pause_receiving();
    EXPECT_TRUE(pairs.near(0).send_copy(std::array<std::byte, 8>{}));
    co_await sleep_for(kSecond);
    EXPECT_EQ(in_flight("poll"), 1u);
    far.abort();
    co_await sleep_for(kSecond);
    EXPECT_EQ(pairs.client(0).why, Error::from_errno(ECONNRESET));
    EXPECT_EQ(network.stream_count(), 0u);
  });
}

TEST(SimIdle, APausedStreamReceivesAfterItsPause) {
  run_resting_over_seeds(1, [](net::Network&, Pairs& pairs) -> Task<void> {
    pairs.far().pause_receiving();
    pairs.client(0).total = 1000;
    pairs.client(0).send_more(pairs.near(0));
    co_await sleep_for(kSilence);
    EXPECT_EQ(pairs.client(0).received, 0u);
    pairs.far().resume_receiving();
    co_await pairs.exchange(0);
    co_await sleep_for(kSilence);
    EXPECT_EQ(in_flight("poll"), 2u);
  });
}

}  // namespace
}  // namespace corelane
