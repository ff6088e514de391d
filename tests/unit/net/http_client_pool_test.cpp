// Goal: connections are kept, shared in order and bounded; none is used twice at once, half used or
// after its end; one that the server closes under us is tried again once, and only where that is
// allowed. Method: a peer that follows a script, over both rings.
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/http/client.hpp"
#include "runtime/combine.hpp"
#include "runtime/task_group.hpp"
#include "tests/support/on_cores.hpp"
#include "tests/support/scripted_peer.hpp"
#include "tests/support/simulated.hpp"

namespace corelane {
namespace {

using namespace runtime;
using namespace tests;
using net::http::ClientFault;
using net::http::ClientOptions;
using net::http::fault_of;
using net::http::HttpClient;

constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

void repeat(std::vector<PeerStep>& steps, std::size_t times, std::vector<PeerStep> what) {
  for (std::size_t i = 0; i < times; ++i) steps.insert(steps.end(), what.begin(), what.end());
}

Task<std::string> text_of(HttpClient& client, std::string url) {
  auto answer = co_await client.get(url);
  if (!answer) co_return net::http::describe_client_error(answer.error());
  auto text = co_await answer->collect();
  co_return text ? std::move(*text) : net::http::describe_client_error(text.error());
}

Task<void> ask(HttpClient* client, std::string url, std::vector<std::string>* told) {
  told->push_back(co_await text_of(*client, std::move(url)));
}

TEST(HttpPool, OneConnectionCarriesManyRequests) {
  run_on_cores(1, []() -> Task<void> {
    std::vector<PeerStep> steps{accept_one()};
    repeat(steps, 5, {take_head(), say(kOk)});
    steps.push_back(read_to_end());
    co_await with_peer(std::move(steps), [](ScriptedPeer& peer) -> Task<void> {
      HttpClient client;
      for (int i = 0; i < 5; ++i) EXPECT_EQ(co_await text_of(client, peer.url()), "ok");
      EXPECT_EQ(client.counters().connections, 1u);
      EXPECT_EQ(client.counters().reused, 4u);
      EXPECT_EQ(client.idle_connections(), 1u);
      client.close_idle();
      EXPECT_EQ(client.open_connections(), 0u);
    });
  });
}

TEST(HttpPool, BeyondTheLimitOfAHostRequestsWaitInOrder) {
  run_on_cores(1, []() -> Task<void> {
    std::vector<PeerStep> steps{accept_one(), take_head(), wait_for_test(), say(kOk)};
    repeat(steps, 4, {take_head(), say(kOk)});
    steps.push_back(read_to_end());
    co_await with_peer(std::move(steps), [](ScriptedPeer& peer) -> Task<void> {
      ClientOptions options;
      options.connections_per_host = 1;
      options.waiting_max = 4;
      HttpClient client(options);
      std::vector<std::string> told;
      TaskGroup group("requests");
      for (const char* path : {"/0", "/1", "/2", "/3", "/4"}) {
        group.spawn("ask", ask, &client, peer.url(path), &told);
      }
      const auto waited = co_await peer.waits.wait();
      EXPECT_TRUE(waited);
      EXPECT_EQ(client.waiting(), 4u);
      EXPECT_EQ(client.open_connections(), 1u);
      const auto refused = co_await client.get(peer.url());
      EXPECT_TRUE(!refused && fault_of(refused.error()) == ClientFault::too_many_waiting);
      peer.go_on.set();
      co_await group.join();
      EXPECT_EQ(told, std::vector<std::string>(5, "ok"));
      for (std::size_t i = 0; i < 5; ++i) {
        EXPECT_TRUE(peer.heads.at(i).starts_with("GET /" + std::to_string(i) + " "));
      }
      EXPECT_EQ(client.counters().connections, 1u);
    });
  });
}

TEST(HttpPool, AWaitThatIsCancelledLeavesTheQueueAndTheOthersGoOn) {
  run_on_cores(1, []() -> Task<void> {
    std::vector<PeerStep> steps{accept_one(), take_head(), wait_for_test(), say(kOk),
                                take_head(),  say(kOk),    read_to_end()};
    co_await with_peer(std::move(steps), [](ScriptedPeer& peer) -> Task<void> {
      ClientOptions options;
      options.connections_per_host = 1;
      HttpClient client(options);
      std::vector<std::string> told;
      std::vector<std::string> told_cancelled;
      TaskGroup group("requests");
      TaskGroup cancelled("cancelled");
      group.spawn("ask", ask, &client, peer.url("/first"), &told);
      cancelled.spawn("ask", ask, &client, peer.url("/cancelled"), &told_cancelled);
      group.spawn("ask", ask, &client, peer.url("/last"), &told);
      const auto waited = co_await peer.waits.wait();
      EXPECT_TRUE(waited);
      EXPECT_EQ(client.waiting(), 2u);
      cancelled.cancel();
      co_await cancelled.join();
      EXPECT_EQ(client.waiting(), 1u);
      EXPECT_EQ(told_cancelled, std::vector<std::string>{describe(Error{ErrorCode::cancelled})});
      peer.go_on.set();
      co_await group.join();
      EXPECT_EQ(told, std::vector<std::string>(2, "ok"));
      EXPECT_TRUE(peer.heads.at(1).starts_with("GET /last "));
    });
  });
}

TEST(HttpPool, APlaceThatBecomesFreeByAnErrorGoesToTheNext) {
  run_on_cores(1, []() -> Task<void> {
    std::vector<PeerStep> steps{accept_one(), take_head(), wait_for_test(), say("no HTTP\r\n"),
                                accept_one(), take_head(), say(kOk),        read_to_end()};
    co_await with_peer(std::move(steps), [](ScriptedPeer& peer) -> Task<void> {
      ClientOptions options;
      options.connections_per_host = 1;
      HttpClient client(options);
      std::vector<std::string> told;
      TaskGroup group("requests");
      group.spawn("ask", ask, &client, peer.url("/first"), &told);
      group.spawn("ask", ask, &client, peer.url("/second"), &told);
      const auto waited = co_await peer.waits.wait();
      EXPECT_TRUE(waited);
      peer.go_on.set();
      co_await group.join();
      EXPECT_EQ(told, (std::vector<std::string>{"the answer is no HTTP/1.1", "ok"}));
      EXPECT_EQ(client.counters().connections, 2u);
    });
  });
}

// The server closes a kept connection when the second request has come: the client cannot know
// before.
std::vector<PeerStep> closes_under_us(PeerStep how) {
  return {accept_one(), take_head(), say(kOk), take_head(),  how,
          accept_one(), take_head(), say(kOk), read_to_end()};
}

TEST(HttpPool, AnIdempotentRequestIsSentAgainOnceWhenAKeptConnectionEndsUnderIt) {
  for (const PeerStep& how : {close_it(), cut_it()}) {
    run_on_cores(1, [&how]() -> Task<void> {
      co_await with_peer(closes_under_us(how), [](ScriptedPeer& peer) -> Task<void> {
        HttpClient client;
        EXPECT_EQ(co_await text_of(client, peer.url()), "ok");
        EXPECT_EQ(co_await text_of(client, peer.url("/again")), "ok");
        EXPECT_EQ(client.counters().retries, 1u);
        EXPECT_EQ(peer.heads.size(), 3u);
      });
    });
  }
}

TEST(HttpPool, APostIsNotSentAgain) {
  run_on_cores(1, []() -> Task<void> {
    co_await with_peer(closes_under_us(close_it()), [](ScriptedPeer& peer) -> Task<void> {
      HttpClient client;
      EXPECT_EQ(co_await text_of(client, peer.url()), "ok");
      const std::string url = peer.url();
      const auto answer = co_await client.send({.method = "POST", .url = url});
      EXPECT_TRUE(!answer && fault_of(answer.error()) == ClientFault::no_answer);
      EXPECT_EQ(client.counters().retries, 0u);
      EXPECT_EQ(peer.heads.size(), 2u);
      EXPECT_EQ(client.open_connections(), 0u);
    });
  });
}

TEST(HttpPool, NothingIsSentAgainAfterAByteOfAnAnswerOrOnANewConnection) {
  run_on_cores(1, []() -> Task<void> {
    std::vector<PeerStep> steps{accept_one(), take_head(),  say(kOk),    take_head(), say("HTTP"),
                                close_it(),   accept_one(), take_head(), close_it()};
    co_await with_peer(std::move(steps), [](ScriptedPeer& peer) -> Task<void> {
      HttpClient client;
      EXPECT_EQ(co_await text_of(client, peer.url()), "ok");
      const auto cut = co_await client.get(peer.url());
      EXPECT_TRUE(!cut && fault_of(cut.error()) == ClientFault::cut_answer);
      const auto unanswered = co_await client.get(peer.url());
      EXPECT_TRUE(!unanswered && fault_of(unanswered.error()) == ClientFault::no_answer);
      EXPECT_EQ(client.counters().retries, 0u);
      EXPECT_EQ(peer.heads.size(), 3u);
    });
  });
}

TEST(HttpPool, AKeptConnectionThatTheServerHasClosedIsNotUsed) {
  run_on_cores(1, []() -> Task<void> {
    for (const bool is_swept : {false, true}) {
      // Over io_uring nothing tells that the server's end has come, but the sweep.
      if (!is_swept && !kIsSimulated) continue;
      std::vector<PeerStep> steps{accept_one(), take_head(), say(kOk), wait_for_test(), close_it(),
                                  accept_one(), take_head(), say(kOk), read_to_end()};
      co_await with_peer(std::move(steps), [is_swept](ScriptedPeer& peer) -> Task<void> {
        ClientOptions options;
        options.idle_timeout = 3600 * kSecond;
        HttpClient client(options);
        EXPECT_EQ(co_await text_of(client, peer.url()), "ok");
        peer.go_on.set();
        if (!is_swept) co_await sleep_for(50 * kMillisecond);
        while (is_swept && client.open_connections() > 0) co_await sleep_for(10 * kMillisecond);
        EXPECT_EQ(client.open_connections(), is_swept ? 0u : 1u);
        const std::string url = peer.url();
        const auto answer = co_await client.send({.method = "POST", .url = url});
        EXPECT_TRUE(answer);
        EXPECT_EQ(client.counters().retries, 0u);
      });
    }
  });
}

TEST(HttpPool, BytesBehindAnAnswerEndTheConnection) {
  run_on_cores(1, []() -> Task<void> {
    std::vector<PeerStep> steps{accept_one(), take_head(), say(std::string(kOk) + "HTTP/1.1 200"),
                                read_to_end()};
    co_await with_peer(std::move(steps), [](ScriptedPeer& peer) -> Task<void> {
      HttpClient client;
      EXPECT_EQ(co_await text_of(client, peer.url()), "ok");
      EXPECT_EQ(client.open_connections(), 0u);
    });
  });
}

TEST(HttpPool, IdleConnectionsEndAfterTheirTimeAndBeyondTheirNumber) {
  run_on_cores(1, []() -> Task<void> {
    std::vector<PeerStep> steps{accept_one(), take_head(), say(kOk), read_to_end()};
    std::vector<PeerStep> others = steps;
    co_await with_peer(std::move(steps), [&others](ScriptedPeer& peer) -> Task<void> {
      co_await with_peer(std::move(others), [&peer](ScriptedPeer& other) -> Task<void> {
        ClientOptions options;
        options.idle_max = 1;
        options.idle_timeout = 100 * kMillisecond;
        HttpClient client(options);
        EXPECT_EQ(co_await text_of(client, peer.url()), "ok");
        EXPECT_EQ(co_await text_of(client, other.url()), "ok");
        EXPECT_EQ(client.idle_connections(), 1u);
        while (!peer.is_done) co_await sleep_for(kMillisecond);
        // Later than the other's time, too, if this process was descheduled.
        EXPECT_FALSE(kIsSimulated && other.is_done) << "the one that was idle longest goes first";
        while (!other.is_done) co_await sleep_for(10 * kMillisecond);
        EXPECT_EQ(client.open_connections(), 0u);
      });
    });
  });
}

TEST(HttpPool, AnAnswerThatIsNotReadKeepsItsConnectionOnlyIfAllOfItHasCome) {
  run_on_cores(1, []() -> Task<void> {
    const std::string long_body(3000, 'x');
    for (const std::uint64_t limit : {std::uint64_t{64 * 1024}, std::uint64_t{2999}}) {
      std::vector<PeerStep> steps{
          accept_one(), take_head(),
          say("HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n" + long_body), wait_for_test(),
          read_to_end()};
      co_await with_peer(std::move(steps), [limit](ScriptedPeer& peer) -> Task<void> {
        ClientOptions options;
        options.discarded_bytes_max = limit;
        HttpClient client(options);
        {
          auto answer = co_await client.get(peer.url());
          EXPECT_TRUE(answer);
          const auto waited = co_await peer.waits.wait();
          EXPECT_TRUE(waited);
          co_await sleep_for(20 * kMillisecond);  // all of it has come
        }
        peer.go_on.set();
        const bool is_kept = limit > 3000 && (kIsSimulated || client.idle_connections() > 0);
        EXPECT_EQ(client.idle_connections(), is_kept ? 1u : 0u);
      });
    }
  });
}

TEST(HttpPool, AnAnswerThatIsLeftInTheMiddleClosesItsConnection) {
  run_on_cores(1, []() -> Task<void> {
    std::vector<PeerStep> steps{accept_one(), take_head(),
                                say("HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\nbegin"),
                                read_to_end()};
    co_await with_peer(std::move(steps), [](ScriptedPeer& peer) -> Task<void> {
      HttpClient client;
      {
        auto answer = co_await client.get(peer.url());
        EXPECT_TRUE(answer);
      }
      EXPECT_EQ(client.open_connections(), 0u);
      while (!peer.is_done) co_await sleep_for(kMillisecond);
    });
  });
}

TEST(HttpPool, ACancelledRequestLeavesNoConnectionAndNextOnesGoOn) {
  run_on_cores(1, []() -> Task<void> {
    std::vector<PeerStep> steps{accept_one(), take_head(), read_to_end(), accept_one(),
                                take_head(),  say(kOk),    read_to_end()};
    co_await with_peer(std::move(steps), [](ScriptedPeer& peer) -> Task<void> {
      HttpClient client;
      const auto late = co_await with_timeout(50 * kMillisecond, client.get(peer.url()));
      EXPECT_TRUE(!late && late.error().code == ErrorCode::timed_out);
      EXPECT_EQ(client.open_connections(), 0u);
      EXPECT_EQ(co_await text_of(client, peer.url()), "ok");
    });
  });
}

TEST(HttpPool, ADeadlineEndsASilentServerASlowBodyAndAWaitForAPlace) {
  run_on_cores(1, []() -> Task<void> {
    std::vector<PeerStep> steps{
        accept_one(),  take_head(),  say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nslow"),
        read_to_end(), accept_one(), take_head(),
        read_to_end()};
    co_await with_peer(std::move(steps), [](ScriptedPeer& peer) -> Task<void> {
      ClientOptions options;
      options.request_timeout = 200 * kMillisecond;
      options.connections_per_host = 1;
      HttpClient client(options);
      auto answer = co_await client.get(peer.url());
      EXPECT_TRUE(answer);
      if (!answer) co_return;
      const auto waiting = co_await client.get(peer.url());
      EXPECT_TRUE(!waiting && waiting.error().code == ErrorCode::timed_out) << "no place";
      const auto text = co_await answer->collect();
      EXPECT_TRUE(!text && text.error().code == ErrorCode::timed_out) << "a slow body";
      answer = runtime::fail(ErrorCode::closed);
      const auto silent = co_await client.get(peer.url());
      EXPECT_TRUE(!silent && silent.error().code == ErrorCode::timed_out) << "no answer";
      EXPECT_EQ(client.open_connections(), 0u);
    });
  });
}

}  // namespace
}  // namespace corelane
