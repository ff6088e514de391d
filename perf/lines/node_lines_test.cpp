// Goal: what cores of a node share is what crosses between them and nothing else. A Ping crosses
// nowhere; a published event does in the lanes and in its block, once a core, whatever the number
// of subscribers. Method: the node of `corelane serve` on two cores with its defaults, counted
// after a warm-up.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "perf/lines/client.hpp"
#include "perf/lines/counted_server.hpp"
#include "perf/lines/expectations.hpp"
#include "services/node/node.hpp"

namespace corelane {
namespace {

using perf::lines::Client;
using perf::lines::Report;
using perf::lines::SharedLine;
using runtime::Address;
using runtime::Task;

constexpr std::size_t kDepth = 16;
constexpr std::size_t kWarmUpRounds = 30;
constexpr std::size_t kRounds = 100;
constexpr std::string_view kChannel = "news";
constexpr protocol::Uuid kTransaction{1};

class Node {
 public:
  Task<void> start() {
    co_await node_.start();
    const auto error = co_await node_.listen();
    EXPECT_FALSE(error) << error->address << ": " << describe(error->error);
  }
  Address address() const noexcept { return node_.address(); }
  Task<void> stop() {
    const std::uint32_t cut_off = co_await node_.drain(10 * runtime::kSecond);
    EXPECT_EQ(cut_off, 0u);
    co_await node_.stop();
  }

 private:
  static services::NodeOptions options() {
    services::NodeOptions options;
    options.listeners = {{*Address::parse("127.0.0.1:0")}};
    options.pubsub.hash_seed = 1;  // the same core owns the channel in each run
    return options;
  }
  services::Node node_{options()};
};

// The clients of each core.
using ByCore = std::array<std::vector<Client>, perf::lines::kCores>;
ByCore connect(const Address& server, std::size_t each) {
  ByCore clients;
  for (int attempt = 0; attempt < 1000; ++attempt) {
    if (clients[0].size() == each && clients[1].size() == each) return clients;
    Client client(server);
    const unsigned core = client.core();
    if (clients[core].size() < each) clients[core].push_back(std::move(client));
  }
  ADD_FAILURE() << "the kernel gives all connections to one core";
  return clients;
}

void ping_rounds(ByCore& clients, std::size_t rounds, std::span<const std::byte> data) {
  for (std::size_t round = 0; round < rounds; ++round) {
    for (auto& of_core : clients) {
      for (Client& client : of_core) {
        for (std::size_t i = 0; i < kDepth; ++i) {
          client.put_request(protocol::PingBody{.data = data}, kTransaction);
        }
        client.send();
      }
    }
    for (auto& of_core : clients) {
      for (Client& client : of_core) client.receive(kDepth);
    }
  }
}

TEST(NodeLines, PingsOnTwoCoresShareNoLineAndTakeNoLock) {
  constexpr std::size_t kClients = 16;  // of a core
  perf::lines::run_counted<Node>([](const Address& server) {
    const std::vector<std::byte> data(64, std::byte{'p'});
    ByCore clients = connect(server, kClients);
    ping_rounds(clients, kWarmUpRounds, data);
    perf::lines::start();
    ping_rounds(clients, kRounds, data);
    perf::lines::stop();
  });
  const Report report = perf::lines::report();
  constexpr std::size_t kBatches = perf::lines::kCores * kClients * kRounds;
  std::printf("%s", describe(report, static_cast<double>(kBatches * kDepth), "Ping").c_str());
  perf::lines::expect_a_whole_count(report);
  perf::lines::expect_no_line_between_cores(report);
  perf::lines::expect_no_lock_but_around_sleep(report, 2 * kBatches);
  perf::lines::expect_a_rare_monitor(report);
}

void publish_rounds(Client& publisher, ByCore& subscribers, std::size_t rounds,
                    std::span<const std::byte> data) {
  for (std::size_t round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < kDepth; ++i) {
      publisher.put_request(protocol::PublishBody{.channel = kChannel, .data = data}, kTransaction);
    }
    publisher.send();
    for (auto& of_core : subscribers) {
      for (Client& client : of_core) client.receive(kDepth);
    }
  }
}

// The channel's owner is core 0.
struct FanOut {
  unsigned publisher_core;
  std::size_t subscribers;  // of a core
  std::size_t moves_max;    // of lines between the cores, for a batch of kDepth publishes
};
class FanOutLines : public testing::TestWithParam<FanOut> {};

// A lane with its wake words, and blocks of bytes that were lent. The first and the last line of a
// block may hold a neighbour, too.
bool crosses(const SharedLine& line) {
  return line.memory.find("runtime::LaneMatrix::LaneMatrix(") != std::string::npos ||
         line.memory.find("runtime::SharedBytes::allocate(") != std::string::npos;
}

// Eight times the subscribers, and the same bounds.
TEST_P(FanOutLines, OnlyWhatCrossesIsSharedAndNotByTheDelivery) {
  const FanOut& fan_out = GetParam();
  perf::lines::run_counted<Node>([&fan_out](const Address& server) {
    const std::vector<std::byte> data(64, std::byte{'p'});
    ByCore publishers = connect(server, 1);
    ByCore subscribers = connect(server, fan_out.subscribers);
    const std::string_view names[] = {kChannel};
    for (auto& of_core : subscribers) {
      for (Client& client : of_core) {
        client.put_request(protocol::SubscribeBody{.channels = names}, kTransaction);
        client.send();
        client.receive(1);
      }
    }
    Client& publisher = publishers[fan_out.publisher_core].at(0);
    publish_rounds(publisher, subscribers, kWarmUpRounds, data);
    perf::lines::start();
    publish_rounds(publisher, subscribers, kRounds, data);
    perf::lines::stop();
  });
  const Report report = perf::lines::report();
  std::printf("%s", describe(report, static_cast<double>(kRounds * kDepth), "publish").c_str());
  perf::lines::expect_a_whole_count(report);
  std::uint64_t moves = 0;
  for (const SharedLine* line : perf::lines::lines_between_cores(report)) {
    EXPECT_TRUE(crosses(*line)) << describe(*line);
    moves += line->moves;
  }
  const std::size_t deliveries = kRounds * kDepth * fan_out.subscribers * perf::lines::kCores;
  std::printf("%.4f moves of lines between the cores a delivery\n",
              static_cast<double>(moves) / static_cast<double>(deliveries));
  EXPECT_LE(moves, kRounds * fan_out.moves_max);
  EXPECT_GE(moves, kRounds) << "nothing has crossed";
  // A batch crosses in two to four lots, each a store that locks and a look at the sleeper.
  perf::lines::expect_no_lock_but_around_sleep(report, 8 * kRounds, {"runtime::Lanes::flush_to("},
                                               12 * kRounds);
  perf::lines::expect_a_rare_monitor(report);
}

INSTANTIATE_TEST_SUITE_P(
    All, FanOutLines,
    testing::Values(FanOut{.publisher_core = 0, .subscribers = 4, .moves_max = 40},
                    FanOut{.publisher_core = 0, .subscribers = 32, .moves_max = 40},
                    FanOut{.publisher_core = 1, .subscribers = 4, .moves_max = 250},
                    FanOut{.publisher_core = 1, .subscribers = 32, .moves_max = 250}),
    [](const auto& test) {
      return fmt::format("from_{}_core_to_{}",
                         test.param.publisher_core == 0 ? "the_owner" : "another",
                         2 * test.param.subscribers);
    });

}  // namespace
}  // namespace corelane
