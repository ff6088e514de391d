// Goal: under every fault of the ring, with clients that leave and a drain at any moment, a
// handshake has one outcome, that of its endpoint, frames behind it are served once and in order,
// and nothing stays behind. Method: clients in the simulation, over seeds, whose handshakes are
// decided at once, later, or too late; what each may be told is known beforehand.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "runtime/random.hpp"
#include "runtime/sim/world.hpp"
#include "runtime/task_group.hpp"
#include "tests/unit/ws/admission_site.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::AdmissionSite;
using tests::AdmissionSiteOptions;
using tests::answers_in;
using tests::handshake_at;
using tests::HttpClient;
using tests::WsClient;
using tests::wire::frame;

constexpr std::size_t kSeeds = 200;
constexpr std::size_t kClients = 8;
constexpr Nanoseconds kDeadline = 40 * kMillisecond;

struct Script {
  std::string text;
  int status = 101;
  std::size_t frames = 0;
  bool is_late = false;       // the deadline may come first
  Nanoseconds leaves_at = 0;  // 0: it stays
};

Script make_script(Random& random, bool leaving) {
  Script script;
  std::string target;
  switch (random.below(4)) {
    case 0:
      target = "/plain";
      break;
    case 1:
      script.status = 404;
      target = "/nowhere";
      break;
    default: {
      const auto wait_ms = random.below(12) == 0 ? 5000 : random.below(20);
      target = fmt::format("/rooms/1?later={}",
                           random.below(3) == 0 ? "turn" : fmt::format("ms{}", wait_ms));
      script.is_late = wait_ms == 5000 && target.ends_with("5000");
      const std::uint64_t what = random.below(6);
      if (what == 0) {
        target += "&do=refuse";
        script.status = 401;
      } else if (what == 1) {
        target += "&do=throw";
        script.status = 500;
      }
      if (script.is_late) script.status = 504;
      break;
    }
  }
  script.text = handshake_at(target);
  if (script.status == 101) {
    script.frames = random.below(30);
    for (std::size_t i = 0; i < script.frames; ++i) {
      script.text += frame({.opcode = 2, .payload = std::to_string(i)});
    }
  }
  if (leaving && random.below(3) == 0) {
    script.leaves_at = 1 + static_cast<Nanoseconds>(random.below(30)) * kMillisecond;
  }
  return script;
}

enum class Ending : std::uint8_t { whole, drain, stop };

Task<void> wait_ms(std::int64_t milliseconds) {
  (void)co_await sleep_for(milliseconds * kMillisecond);
}

Task<void> leave(HttpClient* client, Nanoseconds when) {
  if (!co_await sleep_for(when)) co_return;
  if (net::Stream* stream = client->stream()) stream->abort();
}

bool is_whole(const Script& script, WsClient& client) {
  if (client.head_of().empty()) return false;
  if (script.status == 101) return client.parse().size() > script.frames;
  const auto answers = answers_in(client.received);
  return !answers.empty() && answers.back().status != 0;
}

Task<void> follow(AdmissionSite* site, WsClient* client, const Script* script) {
  const auto stream = co_await site->network.connect(site->address, HttpClient::kHandler, client);
  if (!stream) co_return;
  client->network = &site->network;
  client->id = *stream;
  TaskGroup timer("leaving");
  if (script->leaves_at != 0) timer.spawn("leaving", leave, client, script->leaves_at);
  client->send(script->text);
  co_await client->until([client, script] { return is_whole(*script, *client); });
  timer.cancel();
  co_await timer.join();
  if (net::Stream* left = client->stream()) left->abort();
  co_await static_cast<HttpClient*>(client)->until_closed();
}

struct Tally {
  std::size_t whole = 0;
  std::size_t broken = 0;
};

// What a client was told is a prefix of what it is to be told.
void check(const Script& script, WsClient& client, Ending ending, Tally& tally,
           std::uint64_t seed) {
  const bool whole = is_whole(script, client);
  ++(whole ? tally.whole : tally.broken);
  if (client.head_of().empty()) return;
  const int status = std::stoi(std::string{client.head_of().substr(9, 3)});
  if (status == 503 && ending == Ending::drain) return;
  EXPECT_EQ(status, script.status) << "seed " << seed;
  if (status != 101) return;
  for (std::size_t i = 0; i < client.parse().size(); ++i) {
    const auto& got = client.frames[i];
    EXPECT_EQ(got.opcode, i == 0 ? 1u : 2u) << "seed " << seed;
    if (i == 0) continue;
    EXPECT_EQ(got.payload, std::to_string(i - 1)) << "seed " << seed;
  }
}

Tally play_once(std::uint64_t seed, bool breaking, bool leaving, Ending ending) {
  sim::World world(seed, sim::Faults::swarm(seed, breaking));
  world.checks().time_max = 3600 * kSecond;
  Random random(seed);
  std::vector<Script> scripts(kClients);
  for (Script& script : scripts) script = make_script(random, leaving);
  std::vector<WsClient> clients(kClients);
  AdmissionSiteOptions options;
  options.admit_deadline = kDeadline;
  options.network.receive_buffers = 8;
  options.network.receive_buffer_bytes = 64u << random.below(6);
  const Nanoseconds ends_after = static_cast<Nanoseconds>(random.below(50)) * kMillisecond;
  tests::run_admission_site(options, [&](AdmissionSite& site) -> Task<void> {
    site.deciding.wait_ms = wait_ms;
    TaskGroup group("clients");
    for (std::size_t i = 0; i < kClients; ++i) {
      group.spawn("client", follow, &site, &clients[i], &scripts[i]);
    }
    if (ending != Ending::whole) {
      co_await sleep_for(ends_after);
      if (ending == Ending::drain) {
        site.server.drain();
        EXPECT_EQ(site.server.waiting_count(), 0u) << "seed " << seed;
      } else {
        co_await site.network.shutdown();
        co_await site.server.stop();
      }
    }
    co_await group.join();
  });
  Tally tally;
  for (std::size_t i = 0; i < kClients; ++i) {
    check(scripts[i], clients[i], ending, tally, seed);
  }
  return tally;
}

TEST(SimulatedWsAdmission, EveryHandshakeHasItsOutcomeUnderFaultsThatAServerCanHide) {
  for (const std::uint64_t seed : sim::seeds(1, kSeeds)) {
    const Tally one = play_once(seed, false, false, Ending::whole);
    EXPECT_EQ(one.broken, 0u) << "seed " << seed;
  }
}

TEST(SimulatedWsAdmission, ClientsThatBreakOrLeaveAreToldNothingWrongAndLeaveNothing) {
  Tally total;
  for (const std::uint64_t seed : sim::seeds(1, kSeeds)) {
    const Tally one = play_once(seed, seed % 2 == 0, true, Ending::whole);
    total.whole += one.whole;
    total.broken += one.broken;
  }
  if (sim::seeds(1, kSeeds).size() < kSeeds) return;
  EXPECT_GT(total.whole, 100u);
  EXPECT_GT(total.broken, 100u);
}

TEST(SimulatedWsAdmission, ADrainOrAStopInTheMiddleEndsEverything) {
  Tally total;
  for (const std::uint64_t seed : sim::seeds(1, kSeeds)) {
    const Ending ending = seed % 2 == 0 ? Ending::drain : Ending::stop;
    const Tally one = play_once(seed, seed % 3 == 0, true, ending);
    total.whole += one.whole;
    total.broken += one.broken;
  }
  if (sim::seeds(1, kSeeds).size() < kSeeds) return;
  EXPECT_GT(total.whole, 100u);
  EXPECT_GT(total.broken, 100u);
}

}  // namespace
}  // namespace corelane
