// Goal: whatever the kernel and the network do, an answer of the HTTP client is that to its own
// request, whole and in order, or an error; cancels, deadlines and answers left unread harm no
// other request; and nothing is left in the end. Method: several coroutines with random requests
// share a client with few connections to our own server, on one core of the simulation, over seeds.
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "net/http/client.hpp"
#include "runtime/combine.hpp"
#include "runtime/sim/world.hpp"
#include "runtime/task_group.hpp"
#include "tests/support/http_site.hpp"
#include "tests/support/prng.hpp"

namespace corelane {
namespace {

using namespace runtime;
using net::http::ClientOptions;
using Client = net::http::HttpClient;
using tests::HttpSite;

constexpr int kWorkers = 5;
constexpr int kRequests = 8;

struct Tally {
  std::size_t answered = 0;
  std::size_t given_up = 0;  // by us
  std::size_t failed = 0;
  bool is_wrong = false;
};

std::string body_of(Random& random, int worker, int round) {
  const std::size_t bytes =
      random.below(4) == 0 ? 20'000 + random.below(20'000) : random.below(300);
  std::string body = std::to_string(worker) + "/" + std::to_string(round) + ":";
  while (body.size() < bytes) body += static_cast<char>('a' + random.below(26));
  return body;
}

Task<Result<std::string>> echo_whole(Client& client, std::string url, const std::string& body,
                                     bool expects) {
  auto answer = co_await client.send({.method = "POST",
                                      .url = url,
                                      .body = std::as_bytes(std::span{body}),
                                      .expect_continue = expects});
  if (!answer) co_return answer.error();
  co_return co_await answer->collect();
}

Task<Result<std::string>> echo_in_pieces(Client& client, std::string url, const std::string& body,
                                         std::size_t piece) {
  auto upload = co_await client.begin({.method = "POST", .url = url});
  if (!upload) co_return upload.error();
  for (std::size_t at = 0; at < body.size(); at += piece) {
    const auto written = co_await upload->write(std::string_view{body}.substr(at, piece));
    if (!written) break;
  }
  auto answer = co_await upload->finish();
  if (!answer) co_return answer.error();
  co_return co_await answer->collect();
}

Task<Result<std::string>> leave_in_the_middle(Client& client, std::string url) {
  auto answer = co_await client.get(url);
  if (!answer) co_return answer.error();
  const auto piece = co_await answer->read();
  if (!piece) co_return piece.error();
  co_return std::string{};
}

Task<void> work(Client* client, std::string base, int worker, std::uint64_t seed, Tally* tally) {
  Random random(seed * 100 + static_cast<std::uint64_t>(worker));
  for (int round = 0; round < kRequests; ++round) {
    std::string expected = body_of(random, worker, round);
    const std::string url = base + "/echo";
    const std::uint64_t kind = random.below(6);
    Result<std::string> got = std::string{};
    bool gives_up = false;
    if (kind == 0) {
      expected.clear();
      got = co_await leave_in_the_middle(*client, base + "/big");
    } else if (kind == 1) {
      gives_up = true;
      const auto patience = static_cast<Nanoseconds>(random.below(3'000'000));
      got = co_await with_timeout(patience, echo_whole(*client, url, expected, false));
    } else if (kind <= 3) {
      got = co_await echo_in_pieces(*client, url, expected, 1 + random.below(5'000));
    } else {
      got = co_await echo_whole(*client, url, expected, kind == 4);
    }
    if (got) {
      ++tally->answered;
      tally->is_wrong = tally->is_wrong || *got != expected;
    } else if (gives_up && got.error().code == ErrorCode::timed_out) {
      ++tally->given_up;
    } else {
      ++tally->failed;
    }
  }
}

Task<void> run_workers(HttpSite& site, Tally& tally, const std::uint64_t& seed) {
  ClientOptions options;
  options.connections_per_host = 2;
  options.idle_timeout = 200 * kMillisecond;
  Client client(options);
  const std::string base = "http://" + site.address.text();
  TaskGroup group("workers");
  for (int worker = 0; worker < kWorkers; ++worker) {
    group.spawn("work", work, &client, base, worker, seed, &tally);
  }
  co_await group.join();
  EXPECT_EQ(client.open_connections(), client.idle_connections());
  EXPECT_LE(client.open_connections(), 2u);
  EXPECT_EQ(client.waiting(), 0u);
  while (client.open_connections() > 0) co_await sleep_for(20 * kMillisecond);
}

Tally run(std::uint64_t seed, bool breaking) {
  sim::World world(seed, sim::Faults::swarm(seed, breaking));
  tests::SiteOptions options;
  if (seed % 3 == 0) options.network = {};
  if (seed % 4 == 1) options.network.direct_descriptors = false;
  Tally tally;
  tests::run_site(options, run_workers, tally, seed);
  return tally;
}

TEST(SimHttpClient, EveryRequestGetsItsOwnAnswerOver100Seeds) {
  std::size_t given_up = 0;
  for (const std::uint64_t seed : sim::seeds(1, 100)) {
    SCOPED_TRACE(seed);
    const Tally tally = run(seed, false);
    EXPECT_FALSE(tally.is_wrong);
    EXPECT_EQ(tally.failed, 0u);
    EXPECT_EQ(tally.answered + tally.given_up, std::size_t{kWorkers} * kRequests);
    given_up += tally.given_up;
    if (HasFailure()) return;
  }
  EXPECT_GT(given_up, 10u);
}

TEST(SimHttpClient, BrokenConnectionsAreErrorsAndLeaveNothingOver100Seeds) {
  std::size_t failed = 0;
  std::size_t answered = 0;
  for (const std::uint64_t seed : sim::seeds(1, 100)) {
    SCOPED_TRACE(seed);
    const Tally tally = run(seed, true);
    EXPECT_FALSE(tally.is_wrong);
    EXPECT_EQ(tally.answered + tally.given_up + tally.failed, std::size_t{kWorkers} * kRequests);
    failed += tally.failed;
    answered += tally.answered;
    if (HasFailure()) return;
  }
  EXPECT_GT(failed, 10u);
  EXPECT_GT(answered, 500u);
}

}  // namespace
}  // namespace corelane
