// Goal: under every fault the simulation can inject, a program that follows the rules of the ring
// loses, doubles and reorders no byte, and everything comes home at the end. Method: an echo server
// on two rings and clients on a third, over hundreds of seeds; each with another set of faults.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "runtime/sim/world.hpp"
#include "tests/fault/ring_echo.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::RingEchoClient;
using tests::RingEchoServer;
using tests::RingLoop;

constexpr std::size_t kSeeds = 300;
constexpr std::size_t kClients = 6;
constexpr std::size_t kBytes = 4000;

struct Outcome {
  std::uint64_t hash = 0;
  std::size_t broken = 0;
  std::uint64_t shortages = 0;
  sim::Report report;
};

Outcome run_echo(std::uint64_t seed, const sim::Faults& faults,
                 std::uint32_t direct_descriptors = kClients) {
  sim::World world(seed, faults);
  world.checks().time_max = 600 * kSecond;
  // Tiny queues: overflow is ordinary.
  const RingOptions tiny{
      .entries = 4, .completion_entries = 8, .direct_descriptors = direct_descriptors};
  RingLoop first(0, tiny);
  RingLoop second(1, tiny);
  RingLoop third(2, tiny);
  const Address address = *Address::parse("127.0.0.1:7");
  std::array<std::unique_ptr<RingEchoServer>, 2> servers{
      std::make_unique<RingEchoServer>(first, address, true),
      std::make_unique<RingEchoServer>(second, address, false)};
  std::vector<std::unique_ptr<RingEchoClient>> clients;
  for (std::size_t i = 0; i < kClients; ++i) {
    clients.push_back(
        std::make_unique<RingEchoClient>(third, address, seed * kClients + i, kBytes));
  }
  RingLoop::run({&first, &second, &third}, [&] {
    for (const auto& client : clients) {
      if (!client->finished()) return false;
    }
    return true;
  });
  for (const auto& server : servers) server->stop();
  RingLoop::run({&first, &second},
                [&] { return servers[0]->finished() && servers[1]->finished(); });
  world.check_end();
  Outcome outcome;
  for (const auto& client : clients) {
    EXPECT_TRUE(client->received_rightly()) << "seed " << seed << ": " << faults.text();
    if (client->broken()) ++outcome.broken;
  }
  for (const auto& server : servers) outcome.shortages += server->buffer_shortages();
  outcome.report = world.report();
  outcome.hash = world.trace_hash();
  return outcome;
}

TEST(SimulatedEcho, LosesNoByteUnderFaultsThatAProgramCanHide) {
  sim::Report total;
  std::uint64_t shortages = 0;
  for (const std::uint64_t seed : sim::seeds(1, kSeeds)) {
    const Outcome outcome = run_echo(seed, sim::Faults::swarm(seed, false));
    EXPECT_EQ(outcome.broken, 0u) << "seed " << seed;
    EXPECT_EQ(outcome.report.bytes_sent, outcome.report.bytes_taken);
    EXPECT_EQ(outcome.report.bytes_sent, 2 * kClients * kBytes);
    shortages += outcome.shortages;
    total.overflows += outcome.report.overflows;
    total.cancels_won += outcome.report.cancels_won;
    total.cancels_lost += outcome.report.cancels_lost;
    total.virtual_time += outcome.report.virtual_time;
    total.real_time += outcome.report.real_time;
    total.turns += outcome.report.turns;
    for (std::size_t i = 0; i < sim::kFaultKinds; ++i) total.faults[i] += outcome.report.faults[i];
  }
  fmt::print("{} receives without a buffer; {}\n", shortages, total.text());
  if (sim::seeds(1, kSeeds).size() < kSeeds) return;
  // Each fault must have happened: the test covers no other ones.
  EXPECT_GT(shortages, 0u);
  EXPECT_GT(total.overflows, 0u);
  EXPECT_GT(total.cancels_won, 0u);
  EXPECT_GT(total.cancels_lost, 0u);
  for (const sim::Fault kind :
       {sim::Fault::short_read, sim::Fault::short_write, sim::Fault::multishot_end,
        sim::Fault::no_buffers, sim::Fault::delayed_completion, sim::Fault::late_cancel,
        sim::Fault::slow_core}) {
    EXPECT_GT(total.faults[static_cast<std::size_t>(kind)], 0u) << sim::Faults::name_of(kind);
  }
}

TEST(SimulatedEcho, LosesNoByteWithEverythingAtOnce) {
  for (const std::uint64_t seed : sim::seeds(1000, 50)) {
    EXPECT_EQ(run_echo(seed, sim::Faults::harsh()).broken, 0u) << "seed " << seed;
  }
}

TEST(SimulatedEcho, EndsEveryConnectionOnceUnderFaultsThatBreakThem) {
  std::size_t broken = 0;
  std::size_t whole = 0;
  for (const std::uint64_t seed : sim::seeds(1, kSeeds)) {
    // Fewer direct descriptors than clients: a client without a descriptor loses its connection.
    const Outcome outcome = run_echo(seed, sim::Faults::swarm(seed, true), 2);
    broken += outcome.broken;
    whole += kClients - outcome.broken;
  }
  fmt::print("{} connections broke, {} did not\n", broken, whole);
  if (sim::seeds(1, kSeeds).size() < kSeeds) return;
  EXPECT_GT(broken, 50u);
  EXPECT_GT(whole, 50u);
}

TEST(SimulatedEcho, RepeatsEachRunForItsSeed) {
  for (const std::uint64_t seed : sim::seeds(1, 20)) {
    const sim::Faults faults = sim::Faults::swarm(seed, true);
    const std::uint64_t hash = run_echo(seed, faults).hash;
    EXPECT_EQ(hash, run_echo(seed, faults).hash) << "seed " << seed;
    EXPECT_NE(hash, run_echo(seed + 1'000'000, faults).hash) << "seed " << seed;
  }
}

}  // namespace
}  // namespace corelane
