// Goal: over connections that break at any point, a ReconnectingClient comes back, greets each
// connection first, gives every echo once and in order within a connection, and leaves nothing; a
// seed repeats its delays. Method: numbered messages to an echoing server on one core of the
// simulation, over seeds.
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "runtime/combine.hpp"
#include "runtime/sim/world.hpp"
#include "tests/unit/ws/ws_site.hpp"
#include "ws/reconnecting.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::WsSite;
using tests::WsSiteOptions;
using ws::ReconnectingClient;
using ws::ReconnectOptions;

constexpr std::size_t kEchoes = 30;

struct Talked {
  std::size_t echoes = 0;
  std::uint64_t connections = 0;
  std::size_t refused = 0;  // messages, while there was no connection
  bool is_wrong = false;
  std::vector<Nanoseconds> delays{};
};

Task<void> talk(WsSite& site, Talked& run, std::uint64_t seed) {
  ReconnectOptions options;
  options.delay_min = kMillisecond;
  options.delay_max = 50 * kMillisecond;
  ws::ClientOptions client_options;
  client_options.deflate.is_enabled = seed % 2 == 0;
  client_options.ping_interval = kSecond;
  client_options.pong_timeout = kSecond;
  client_options.close_timeout = kSecond;
  options.on_connected = [](ws::Client& client) -> Task<Result<void>> {
    const auto sent = co_await client.send("hello");
    if (!sent) co_return sent;
    const auto back = co_await client.receive();
    if (!back) co_return back.error();
    EXPECT_EQ(back->text(), "hello") << "the first of a connection";
    co_return Result<void>{};
  };
  ReconnectingClient client("ws://" + site.address.text() + "/", client_options,
                            std::move(options));
  std::uint64_t of_connection = 0;
  std::size_t number = 0;
  std::size_t expected = 0;
  while (run.echoes < kEchoes) {
    const std::string text = std::to_string(number) + ":" + std::string(seed * 97 % 2'000, 'm');
    const auto sent = co_await client.send(text);
    if (sent) {
      ++number;
    } else {
      ++run.refused;
    }
    const auto message = co_await with_timeout(20 * kMillisecond, client.receive());
    if (client.connections() != of_connection) {
      // What was sent on the last one is lost, or was answered.
      of_connection = client.connections();
      expected = number;
      run.delays.push_back(client.delay());
    }
    if (!message) continue;
    const std::size_t got = std::stoul(std::string(message->text()));
    run.is_wrong = run.is_wrong || (expected < number && got < expected) || got >= number;
    expected = got + 1;
    ++run.echoes;
  }
  run.connections = client.connections();
  co_await client.close();
}

Talked run_seed(std::uint64_t seed, bool breaking) {
  sim::World world(seed, sim::Faults::swarm(seed, breaking));
  WsSiteOptions options;
  options.endpoint.handshake.deflate.is_enabled = true;
  options.endpoint.close_timeout = kSecond;
  Talked run;
  run_ws_site(options, [&run, seed](WsSite& site) -> Task<void> {
    // Each connection ends after a while, whatever the faults are.
    site.witness.when_message = [&site](ws::Connection& connection, ws::Message& message) {
      connection.echo(message);
      if (site.witness.messages % 13 == 0) connection.stream().abort();
    };
    co_await talk(site, run, seed);
  });
  return run;
}

TEST(SimWsClient, ItComesBackOverBrokenConnectionsAndMixesNothingOver100Seeds) {
  std::uint64_t connections = 0;
  std::size_t refused = 0;
  for (const std::uint64_t seed : sim::seeds(1, 100)) {
    SCOPED_TRACE(seed);
    const Talked run = run_seed(seed, seed % 2 == 1);
    EXPECT_FALSE(run.is_wrong);
    EXPECT_EQ(run.echoes, kEchoes);
    connections += run.connections;
    refused += run.refused;
    if (HasFailure()) return;
  }
  EXPECT_GT(connections, 200u);
  EXPECT_GT(refused, 20u);
}

TEST(SimWsClient, ASeedRepeatsItsDelays) {
  const Talked once = run_seed(7, true);
  const Talked again = run_seed(7, true);
  const Talked other = run_seed(8, true);
  EXPECT_GT(once.delays.size(), 2u);
  EXPECT_EQ(once.delays, again.delays);
  EXPECT_NE(once.delays, other.delays);
}

}  // namespace
}  // namespace corelane
