// Goal: a WebSocket connection keeps its deadlines as they are configured, and no other peer is cut
// off. Method: clients and server in the simulation, whose clock needs no waiting.
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/await.hpp"
#include "runtime/sim/world.hpp"
#include "tests/support/stall.hpp"
#include "tests/unit/ws/ws_site.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::close_frame;
using tests::FakeServer;
using tests::WireFrame;
using tests::Witness;
using tests::WsClient;
using tests::WsSite;
using tests::WsSiteOptions;
using tests::wire::as_bytes;
using tests::wire::frame;

constexpr std::size_t kMiB = 1024 * 1024;
constexpr Nanoseconds kTick = 150 * kMillisecond;  // of the coarse timer, and the way there

void run_quietly(const WsSiteOptions& options, const std::function<Task<void>(WsSite&)>& body) {
  sim::World world(1);
  world.checks().time_max = 3600 * kSecond;
  tests::run_ws_site(options, body);
}

Nanoseconds now() {
  return Core::current().now();
}
void expect_about(Nanoseconds passed, Nanoseconds expected) {
  EXPECT_GE(passed, expected);
  EXPECT_LE(passed, expected + kTick);
}

// --- Pings of ours

TEST(WsTime, APeerThatNeverAnswersAPingIsClosed) {
  run_quietly({}, [](WsSite& site) -> Task<void> {
    WsClient client;
    co_await client.open(site);
    const Nanoseconds opened = now();
    co_await client.until_frames(1);
    EXPECT_EQ(client.frames.at(0), (tests::WireFrame{.opcode = 9, .payload = ""}));
    expect_about(now() - opened, 25 * kSecond);
    co_await client.until_frames(2);
    EXPECT_EQ(client.frames.at(1), close_frame(1008, "no pong within limits.pong_timeout (10s)"));
    EXPECT_GE(now() - opened, 35 * kSecond);
    EXPECT_LE(now() - opened, 35 * kSecond + 2 * kTick);  // of both timers
    co_await client.until_closed();
    EXPECT_EQ(site.endpoint.counters().pong_timeouts, 1u);
  });
}

TEST(WsTime, AnyDataCountsAsAlive) {
  const std::vector<std::string> signs{frame({.opcode = 10}), frame({.opcode = 9}),
                                       frame({.opcode = 1, .payload = "x"}), "a piece"};
  for (const std::string& sign : signs) {
    const bool is_piece = sign == "a piece";
    run_quietly({}, [&sign, is_piece](WsSite& site) -> Task<void> {
      WsClient client;
      co_await client.open(site);
      for (int answered = 0; answered < 20; ++answered) {
        const std::size_t seen = client.parse().size();
        co_await client.until([&client, seen] {
          const auto& frames = client.parse();
          for (std::size_t i = seen; i < frames.size(); ++i) {
            if (frames[i].opcode == 9) return true;
          }
          return false;
        });
        // Half a frame each time, whose other half comes a little later.
        const std::string whole = frame({.opcode = 1, .payload = "in two pieces"});
        client.send(is_piece ? whole.substr(0, 9) : sign);
        co_await sleep_for(5 * kSecond);
        if (is_piece) client.send(whole.substr(9));
      }
      EXPECT_FALSE(client.closed);
      EXPECT_EQ(site.endpoint.connection_count(), 1u);
      client.abort();
      co_await client.until_closed();
    });
  }
}

TEST(WsTime, ClientsOfOursAnswerPingsByThemselves) {
  run_quietly({}, [](WsSite& site) -> Task<void> {
    Witness witness;
    ws::Endpoint clients(site.network, {}, Witness::kHandler, &witness);
    const auto id = co_await clients.connect(site.address, "a", "/", nullptr);
    EXPECT_TRUE(id);
    co_await sleep_for(600 * kSecond);
    EXPECT_NE(clients.find(*id), nullptr);
    EXPECT_EQ(site.endpoint.connection_count(), 1u);
    clients.find(*id)->close(ws::CloseCode::normal);
    while (clients.connection_count() > 0) co_await sleep_for(kSecond);
  });
}

TEST(WsTime, WithoutAPingIntervalAnIdleConnectionStays) {
  WsSiteOptions options;
  options.endpoint.ping_interval = 0;
  run_quietly(options, [](WsSite& site) -> Task<void> {
    WsClient client;
    co_await client.open(site);
    co_await sleep_for(1000 * kSecond);
    EXPECT_FALSE(client.closed);
    client.expect_nothing_more(0);
    client.abort();
    co_await client.until_closed();
  });
}

// --- Deadlines

TEST(WsTime, AMessageMustBeFinishedWithinItsDeadlineHoweverManyPiecesCome) {
  for (const Nanoseconds interval : {0 * kSecond, 25 * kSecond, 60 * kSecond}) {
    for (const bool fragmented : {false, true}) {
      WsSiteOptions options;
      options.endpoint.ping_interval = interval;
      run_quietly(options, [fragmented](WsSite& site) -> Task<void> {
        WsClient client;
        co_await client.open(site);
        client.send_frame({.opcode = 1, .payload = "whole"});
        co_await client.until_frames(1);
        const std::string dribble =
            frame({.opcode = 1, .payload = std::string(1000, 'd'), .is_final = false});
        const Nanoseconds begun = now();
        for (std::size_t i = 0; !client.is_told(); ++i) {
          if (!fragmented) {
            client.send(dribble.substr(i, 1));
          } else {
            client.send_frame({.opcode = i == 0 ? 1u : 0u, .payload = "f", .is_final = false});
            client.send_frame({.opcode = 10});
          }
          co_await sleep_for(500 * kMillisecond);
          if (now() - begun > 60 * kSecond) break;
        }
        EXPECT_TRUE(client.is_told());
        EXPECT_GE(now() - begun, 30 * kSecond - kTick);  // it began up to a tick before `begun`
        EXPECT_LE(now() - begun, 31 * kSecond);
        EXPECT_EQ(client.parse().back(),
                  close_frame(1008, "message unfinished after limits.message_deadline (30s)"));
        client.abort();
        co_await client.until_closed();
      });
    }
  }
}

// Every receive ends inside a message, but none of the messages is slow.
TEST(WsTime, AStreamOfMessagesCutEverywhereIsNoUnfinishedMessage) {
  for (const Nanoseconds interval : {0 * kSecond, 25 * kSecond, 60 * kSecond}) {
    WsSiteOptions options;
    options.endpoint.ping_interval = interval;
    run_quietly(options, [](WsSite& site) -> Task<void> {
      site.witness.when_message = [](ws::Connection&, ws::Message&) {};
      WsClient client;
      co_await client.open(site);
      const std::string whole = frame({.opcode = 1, .payload = "cut in the middle"});
      client.send(whole.substr(0, 10));
      for (std::uint64_t i = 0; i < 200 && !client.closed; ++i) {
        co_await sleep_for(kSecond);
        client.send(whole.substr(10) + whole.substr(0, 10));
        co_await site.witness.until(
            [&] { return site.witness.messages == i + 1 || !site.witness.ends.empty(); });
      }
      EXPECT_FALSE(client.closed);
      EXPECT_EQ(site.witness.messages, 200u);
      client.abort();
      co_await client.until_closed();
    });
  }
}

TEST(WsTime, APeerThatNeverAnswersOurCloseIsCutOffWhateverElseItSends) {
  for (const Nanoseconds interval : {0 * kSecond, 25 * kSecond, 2 * kSecond}) {
    for (const bool talks : {false, true}) {
      WsSiteOptions options;
      options.endpoint.ping_interval = interval;
      run_quietly(options, [talks](WsSite& site) -> Task<void> {
        WsClient client;
        co_await client.open(site);
        site.connection().close(ws::CloseCode::going_away, "");
        const Nanoseconds closed = now();
        const std::string whole = frame({.opcode = 1, .payload = "not heard"});
        while (!client.closed && now() - closed < 60 * kSecond) {
          if (talks) client.send(whole.substr(0, 8));
          co_await sleep_for(200 * kMillisecond);
          if (talks) client.send(whole.substr(8));
          co_await sleep_for(200 * kMillisecond);
        }
        EXPECT_GE(now() - closed, 5 * kSecond);
        EXPECT_LE(now() - closed, 6 * kSecond);
        co_await site.witness.until_ends(1);
        EXPECT_EQ(site.witness.messages, 0u);
        EXPECT_EQ(site.witness.ends.at(0).code, ws::CloseCode::going_away);
      });
    }
  }
}

// Past the bound nothing more is read: the peer is stuck, and gone at the deadline.
TEST(WsTime, WhatIsDiscardedIsBoundedInBytesAndInTime) {
  WsSiteOptions options;
  options.network.queued_bytes_max = 64 * kMiB;
  options.network.large_buffers = 4;
  options.network.discard_bytes_max = kMiB;
  run_quietly(options, [](WsSite& site) -> Task<void> {
    WsClient client;
    co_await client.open(site);
    client.stream()->pause_receiving();
    client.send_at_once(frame({.opcode = 2, .payload = std::string(40 * kMiB, 'x')}));
    co_await site.witness.until_ends(1);
    const Nanoseconds closed = now();
    while (site.endpoint.connection_count() > 0) co_await sleep_for(kMillisecond);
    expect_about(now() - closed, 5 * kSecond);
    EXPECT_GT(site.network.counters().bytes_discarded, kMiB);
    EXPECT_LE(site.network.counters().bytes_discarded, 3 * kMiB) << "and what was on its way";
    client.abort();
    co_await client.until_closed();
  });
}

TEST(WsTime, AHandshakeThatIsNotAnsweredTimesOut) {
  run_quietly({}, [](WsSite& site) -> Task<void> {
    FakeServer server;
    server.answer = [](const std::string&) { return "HTTP/1.1 101 "; };
    Witness witness;
    ws::Endpoint clients(site.network, {}, Witness::kHandler, &witness);
    const Nanoseconds begun = now();
    const auto id = co_await clients.connect(server.listen(site.network), "a", "/", nullptr);
    EXPECT_FALSE(id);
    EXPECT_EQ(id.error().code, ErrorCode::timed_out);
    expect_about(now() - begun, 10 * kSecond);
    co_await site.network.shutdown();
  });
}

// A peer that reads a little between the looks at it is slow, not gone; one that reads nothing is.
TEST(WsTime, APausedPeerIsClosedOnlyIfItReadsNothing) {
  for (const bool reads : {false, true}) {
    WsSiteOptions options;
    options.network.queued_bytes_max = 64 * 1024;
    options.network.medium_buffers = 0;
    options.network.large_buffers = 0;
    run_quietly(options, [reads](WsSite& site) -> Task<void> {
      WsClient client;
      co_await client.open(site);
      client.stream()->pause_receiving();
      const std::string message = frame({.opcode = 2, .payload = std::string(8000, 's')});
      // What the server does not read of it fits the kernel's buffers: the client does not stall.
      for (int i = 0; i < 28; ++i) client.send(message);
      while (!site.connection().stream().receiving_paused()) co_await sleep_for(kMillisecond);
      const Nanoseconds paused = now();
      while (site.witness.ends.empty() && now() - paused < 200 * kSecond) {
        co_await sleep_for(10 * kSecond);
        if (!reads || client.stream() == nullptr) continue;
        // Exactly as much as makes the server go on and pause again.
        const std::size_t had = client.received.size();
        client.stream()->resume_receiving();
        co_await client.until_received(had + 100'000);
        if (client.stream() != nullptr) client.stream()->pause_receiving();
        for (int i = 0; i < 13; ++i) client.send(message);
      }
      EXPECT_EQ(site.witness.ends.empty(), reads);
      if (!reads) {
        EXPECT_LE(now() - paused, 60 * kSecond);
        EXPECT_EQ(site.endpoint.counters().slow_readers, 1u);
        EXPECT_EQ(site.witness.ends.at(0).code, ws::CloseCode::policy_violation);
      }
      client.abort();
      co_await client.until_closed();
    });
  }
}

// While we do not read, no pong can arrive, so no ping is sent. When we read again, the full
// deadline of the pong starts.
TEST(WsTime, APongHasItsTimeOnceThePeerIsReadFromAgain) {
  for (const Nanoseconds pause : {30 * kSecond, 40 * kSecond, 49 * kSecond, 51 * kSecond}) {
    WsSiteOptions options;
    options.network.queued_bytes_max = 64 * 1024;
    options.network.medium_buffers = 0;
    options.network.large_buffers = 0;
    options.network.write_stall_timeout = 0;
    run_quietly(options, [pause](WsSite& site) -> Task<void> {
      WsClient client;
      co_await client.open(site);
      client.stream()->pause_receiving();
      const std::string message = frame({.opcode = 2, .payload = std::string(8000, 's')});
      net::Stream& stream = site.connection().stream();
      while (!stream.receiving_paused()) {
        client.send(message);
        co_await sleep_for(kMillisecond);
      }
      co_await sleep_for(pause);
      client.stream()->resume_receiving();
      while (stream.receiving_paused()) co_await sleep_for(kMillisecond);
      const Nanoseconds resumed = now();
      co_await site.witness.until_ends(1);
      EXPECT_GE(now() - resumed, 10 * kSecond);
      EXPECT_LE(now() - resumed, 41 * kSecond);  // up to 25 and 10, and 5 for the close
      EXPECT_EQ(site.endpoint.counters().pong_timeouts, 1u);
      client.abort();
      co_await client.until_closed();
    });
  }
}

// While we do not read, the rest of a message cannot come.
TEST(WsTime, TheDeadlineOfAMessageBeginsAnewAfterAPause) {
  for (const bool finishes : {false, true}) {
    WsSiteOptions options;
    options.network.queued_bytes_max = 1024 * 1024;
    options.network.write_stall_timeout = 0;
    options.endpoint.ping_interval = 0;
    run_quietly(options, [finishes](WsSite& site) -> Task<void> {
      WsClient client;
      co_await client.open(site);
      const std::string message = frame({.opcode = 1, .payload = "in two pieces"});
      client.stream()->pause_receiving();
      const std::string large(300 * 1024, 'l');  // two are more than half of the limit
      for (int i = 0; i < 2; ++i) {
        EXPECT_TRUE(site.connection().send(ws::MessageKind::binary, as_bytes(large)));
        co_await sleep_for(kSecond);
      }
      client.send(message.substr(0, 10));
      while (!site.connection().stream().receiving_paused()) co_await sleep_for(kMillisecond);
      co_await sleep_for(100 * kSecond);
      EXPECT_FALSE(client.closed);
      EXPECT_EQ(site.endpoint.counters().protocol_errors, 0u);
      client.stream()->resume_receiving();
      const Nanoseconds resumed = now();
      co_await client.until_frames(2);
      if (finishes) {
        client.send(message.substr(10));
        co_await client.until_frames(3);
        EXPECT_EQ(client.frames.at(2), (WireFrame{.opcode = 1, .payload = "in two pieces"}));
        client.abort();
        co_await client.until_closed();
      } else {
        co_await client.until_closed();
        EXPECT_EQ(client.parse().back(),
                  close_frame(1008, "message unfinished after limits.message_deadline (30s)"));
        EXPECT_GE(now() - resumed, 30 * kSecond - kTick);
        EXPECT_LE(now() - resumed, 31 * kSecond);
      }
    });
  }
}

// Bytes that came in time, to a core that was descheduled then, lie unread when the deadline is
// due: a turn takes as many completions as the ring holds (32 here), and not one more.
TEST(WsTime, WhatHasArrivedUnreadByTheDeadlineIsInTime) {
  for (const std::string_view late : {"pongs", "messages"}) {
    sim::World world(1);
    world.checks().time_max = 3600 * kSecond;
    tests::run_ws_site({}, [late, &world](WsSite& site) -> Task<void> {
      constexpr std::size_t kCount = 60;
      const bool pongs = late == "pongs";
      const std::string message = frame({.opcode = 1, .payload = "in two pieces"});
      std::vector<std::unique_ptr<WsClient>> clients;
      for (std::size_t i = 0; i < kCount; ++i) {
        clients.push_back(std::make_unique<WsClient>());
        co_await clients.back()->open(site);
        if (!pongs) clients.back()->send(message.substr(0, 10));
      }
      for (const auto& client : clients) co_await client->until_frames(1);  // our ping
      for (const auto& client : clients) {
        client->send(pongs ? frame({.opcode = 10}) : message.substr(10));
      }
      // The deadlines are 10 s after the ping, and 30 s after the first piece.
      tests::lose_cpu(world, 12 * kSecond);
      for (const auto& client : clients) {
        if (!pongs) co_await client->until_frames(2);
      }
      co_await sleep_for(kSecond);
      EXPECT_EQ(site.endpoint.counters().pong_timeouts, 0u);
      EXPECT_EQ(site.endpoint.counters().protocol_errors, 0u);
      EXPECT_EQ(site.endpoint.connection_count(), kCount);
      for (const auto& client : clients) {
        EXPECT_FALSE(client->is_told()) << client->parse().back().payload;
        client->abort();
        co_await client->until_closed();
      }
    });
  }
}

TEST(WsTime, TenThousandStalledClosersAreGoneAfterTheTimeout) {
  WsSiteOptions options;
  options.network.receive_buffers = 512;
  options.endpoint.ping_interval = 0;
  sim::World world(1);
  world.checks().time_max = 3600 * kSecond;
  RuntimeOptions runtime_options = tests::small_options(1);
  runtime_options.ring = {.entries = 256, .completion_entries = 4096, .direct_descriptors = 0};
  tests::run_ws_site(
      options,
      [](WsSite& site) -> Task<void> {
        constexpr std::size_t kCount = 10'000;
        std::vector<std::unique_ptr<WsClient>> clients;
        for (std::size_t i = 0; i < kCount; ++i) {
          clients.push_back(std::make_unique<WsClient>());
          co_await clients.back()->open(site);
        }
        EXPECT_EQ(site.endpoint.connection_count(), kCount);
        site.endpoint.for_each(
            [](ws::Connection& connection) { connection.close(ws::CloseCode::going_away); });
        const Nanoseconds closed = now();
        co_await site.witness.until_ends(kCount);
        EXPECT_GE(now() - closed, 5 * kSecond);
        EXPECT_LE(now() - closed, 6 * kSecond);
        for (const auto& client : clients) co_await client->until_closed();
        EXPECT_EQ(site.network.stream_count(), 0u);
        EXPECT_EQ(site.endpoint.connection_count(), 0u);
      },
      runtime_options);
}

}  // namespace
}  // namespace corelane
