// Goal: times of quotas are exact: the time that is told is the time after which a request is
// served, a limit that delays stops reading for the missing time, and rates hold for as long as
// there are requests. Method: in the simulation, where time is what the test says.
#include <gtest/gtest.h>

#include "runtime/sim/world.hpp"
#include "services/quota/quota.hpp"
#include "tests/unit/services/quota/quotas.hpp"

namespace corelane {
namespace {

using protocol::ErrorCode;
using protocol::Opcode;
using runtime::kMillisecond;
using runtime::kSecond;
using runtime::Nanoseconds;
using runtime::Task;
using services::Quota;
using services::quota::QuotaAction;
using tests::bytes_of;
using tests::count_notices;
using tests::get_quota;
using tests::kTransports;
using tests::limits_of;
using tests::node_cores;
using tests::NodeUnderTest;
using tests::ping;
using tests::ProtocolClient;
using tests::QuotaAnswer;
using tests::QuotaScope;
using tests::read_notice;
using tests::ServerMessage;
using tests::set_quota;
using tests::Via;
using tests::with_limits;
using tests::with_node;

Nanoseconds now() {
  return runtime::Core::current().now();
}

TEST(QuotaTime, ARequestIsServedAfterTheTimeThatWasToldAndNotBefore) {
  runtime::sim::World world(1);
  with_node(node_cores(2), with_limits({"requests 7/min burst 3"}),
            [](NodeUnderTest& test) -> Task<void> {
              for (const Via via : kTransports) {
                ProtocolClient* client = co_await test.connect(via);
                for (int i = 0; i < 2; ++i) {
                  const ServerMessage pong = co_await ping(client);
                  EXPECT_EQ(pong.opcode, Opcode::Pong);
                }
                for (int round = 0; round < 20; ++round) {
                  const ServerMessage refused = co_await ping(client);
                  EXPECT_EQ(refused.error, ErrorCode::rate_limited);
                  // 60 s / 7 = 8571.4 ms, less what the messages take.
                  EXPECT_GE(refused.retry_after_ms, 8560u);
                  EXPECT_LE(refused.retry_after_ms, 8572u);
                  const Nanoseconds told = refused.retry_after_ms * kMillisecond;
                  co_await runtime::sleep_for(told - 5 * kMillisecond);
                  const ServerMessage early = co_await ping(client);
                  EXPECT_EQ(early.error, ErrorCode::rate_limited);
                  EXPECT_LE(early.retry_after_ms, 5u);
                  co_await runtime::sleep_for(early.retry_after_ms * kMillisecond);
                  const ServerMessage served = co_await ping(client);
                  EXPECT_EQ(served.opcode, Opcode::Pong) << "round " << round;
                }
              }
            });
}

// As a token bucket on paper: what is served in a minute, at twice the rate.
TEST(QuotaTime, ARateHoldsUnderSteadyOverload) {
  runtime::sim::World world(2);
  with_node(node_cores(1), with_limits({"requests 10/s burst 10"}),
            [](NodeUnderTest& test) -> Task<void> {
              ProtocolClient* client = co_await test.connect(Via::websocket);
              co_await runtime::sleep_for(10 * kSecond);
              int served = 0;
              for (int i = 0; i < 1200; ++i) {
                const ServerMessage reply = co_await ping(client);
                served += reply.opcode == Opcode::Pong ? 1 : 0;
                co_await runtime::sleep_for(50 * kMillisecond);
              }
              // 10 of the burst and 600 of the minute, which lasted a little longer.
              EXPECT_GE(served, 609);
              EXPECT_LE(served, 625);
            });
}

// A client below its rate is never refused, however long it stays; the look behind each credit
// loses nothing.
TEST(QuotaTime, AClientBelowItsRateIsNeverRefused) {
  runtime::sim::World world(3);
  with_node(node_cores(1), with_limits({"requests 100/s burst 20", "bytes_in 20KiB/s burst 4KiB"}),
            [](NodeUnderTest& test) -> Task<void> {
              ProtocolClient* client = co_await test.connect(Via::websocket);
              for (int i = 0; i < 5000; ++i) {
                const ServerMessage reply = co_await ping(client);
                EXPECT_EQ(reply.opcode, Opcode::Pong) << i << ": " << reply.data;
                if (reply.opcode != Opcode::Pong) co_return;
                co_await runtime::sleep_for(10 * kMillisecond);
              }
              const QuotaAnswer quota = co_await get_quota(client);
              EXPECT_EQ(quota.uses.at(0).exceeded(), 0u);
              EXPECT_GE(quota.uses.at(0).used(), 5000u);
            });
}

// What a credit was used for is charged at its own time, not when the next request comes.
TEST(QuotaTime, ABurstThatWasRefilledMayBeUsedAgain) {
  runtime::sim::World world(5);
  with_node(node_cores(1), with_limits({"requests 1000/s burst 200"}),
            [](NodeUnderTest& test) -> Task<void> {
              ProtocolClient* client = co_await test.connect(Via::websocket);
              for (int round = 0; round < 4; ++round) {
                const Nanoseconds begin = now();
                for (int i = 0; i < 200 && now() - begin < 100 * kMillisecond; ++i) {
                  const ServerMessage reply = co_await ping(client);
                  EXPECT_EQ(reply.opcode, Opcode::Pong) << round << ", " << i << ": " << reply.data;
                  if (reply.opcode != Opcode::Pong) co_return;
                }
                co_await runtime::sleep_for(10 * kSecond);
              }
            });
}

TEST(QuotaTime, ADelayStopsReadingForTheMissingTime) {
  runtime::sim::World world(4);
  with_node(node_cores(2), with_limits({"requests 10/s burst 10 delay"}),
            [](NodeUnderTest& test) -> Task<void> {
              for (const Via via : {Via::websocket, Via::compressed, Via::tcp}) {
                ProtocolClient* client = co_await test.connect(via);
                co_await runtime::sleep_for(5 * kSecond);
                const Nanoseconds begin = now();
                for (int i = 0; i < 110; ++i) {
                  const ServerMessage pong = co_await ping(client);
                  EXPECT_EQ(pong.opcode, Opcode::Pong);
                  if (i < 10) EXPECT_LT(now() - begin, 100 * kMillisecond);
                }
                // The 110th is served at once, and leaves a debt: 99 of them wait a tenth each.
                EXPECT_GE(now() - begin, 98 * kSecond / 10);
                EXPECT_LE(now() - begin, 101 * kSecond / 10);
                EXPECT_GE(count_notices(client), 9u);
                EXPECT_LE(count_notices(client), 11u);
                const auto notice = read_notice(client->events().front());
                EXPECT_TRUE(notice);
                if (!notice) co_return;
                EXPECT_EQ(notice->action, QuotaAction::delay);
                EXPECT_GT(notice->wait_ns, 0u);
                EXPECT_LE(notice->wait_ns, 100'000'000u);
                client->close();
                const bool closed = co_await client->closed();
                EXPECT_TRUE(closed);
              }
            });
}

// What comes in one receive is served; then the time of all of it is waited for.
TEST(QuotaTime, ABatchIsPaidForBehindIt) {
  runtime::sim::World world(5);
  with_node(node_cores(1), with_limits({"bytes_in 1KiB/s burst 1KiB delay"}),
            [](NodeUnderTest& test) -> Task<void> {
              for (const Via via : kTransports) {
                ProtocolClient* client = co_await test.connect(via);
                co_await runtime::sleep_for(5 * kSecond);
                const Nanoseconds begin = now();
                const ServerMessage large = co_await ping(client, std::string(20 * 1024, 'x'));
                EXPECT_EQ(large.opcode, Opcode::Pong);
                EXPECT_LT(now() - begin, kSecond);
                const ServerMessage next = co_await ping(client);
                EXPECT_EQ(next.opcode, Opcode::Pong);
                EXPECT_GE(now() - begin, 19 * kSecond);
                EXPECT_LE(now() - begin, 20 * kSecond);
              }
            });
}

// The pause must not count as silence, neither of a frame nor of a connection.
TEST(QuotaTime, AFrameThatADelayCutsIsNotUnfinished) {
  runtime::sim::World world(6);
  auto options = with_limits({"requests 1/min burst 1 delay"});
  options.websocket.ping_interval = 10 * kSecond;
  options.websocket.pong_timeout = 5 * kSecond;
  with_node(node_cores(1), options, [](NodeUnderTest& test) -> Task<void> {
    for (const Via via : kTransports) {
      ProtocolClient* client = co_await test.connect(via);
      std::vector<std::byte> frames;
      std::vector<protocol::Uuid> ids;
      for (int i = 0; i < 2; ++i) {
        ids.push_back(client->new_transaction());
        protocol::append_frame(frames, {.transaction_id = ids.back()},
                               protocol::PingBody{.data = bytes_of("data")});
      }
      if (via == Via::tcp) {
        // The first and the beginning of the second come together.
        client->send_bytes(std::span(frames).first(frames.size() - 10));
        const ServerMessage first = co_await client->reply(ids[0]);
        EXPECT_EQ(first.opcode, Opcode::Pong);
        client->send_bytes(std::span(frames).last(10));
      } else {
        client->send_bytes(std::span(frames).first(frames.size() / 2));
        client->send_bytes(std::span(frames).last(frames.size() / 2));
      }
      const ServerMessage second = co_await client->reply(ids[1]);
      EXPECT_EQ(second.opcode, Opcode::Pong) << second.data;
      EXPECT_TRUE(client->open());
      co_await runtime::sleep_for(300 * kSecond);
      EXPECT_TRUE(client->open());
    }
  });
}

TEST(QuotaTime, AClientThatGoesWhileItIsDelayedLeavesNothing) {
  runtime::sim::World world(7);
  with_node(node_cores(2), with_limits({"requests 1/h burst 1 delay"}),
            [](NodeUnderTest& test) -> Task<void> {
              for (const Via via : kTransports) {
                for (const bool politely : {true, false}) {
                  ProtocolClient* client = co_await test.connect(via);
                  const ServerMessage pong = co_await ping(client);
                  EXPECT_EQ(pong.opcode, Opcode::Pong);
                  politely ? client->close() : client->abort();
                }
              }
              // Their ends are read when the pause is over.
              const Nanoseconds begin = now();
              while (co_await test.sessions() > 0) {
                EXPECT_LE(now() - begin, 3 * 3600 * kSecond);
                if (now() - begin > 3 * 3600 * kSecond) co_return;
                co_await runtime::sleep_for(60 * kSecond);
              }
            });
}

TEST(QuotaTime, ANodeDrainsWhileClientsAreDelayed) {
  runtime::sim::World world(8);
  with_node(node_cores(2), with_limits({"requests 1/h burst 1 delay"}),
            [](NodeUnderTest& test) -> Task<void> {
              std::vector<ProtocolClient*> clients;
              for (const Via via : kTransports) {
                clients.push_back(co_await test.connect(via));
                const ServerMessage pong = co_await ping(clients.back());
                EXPECT_EQ(pong.opcode, Opcode::Pong);
              }
              const Nanoseconds begin = now();
              co_await test.drain();
              EXPECT_LE(now() - begin, 10 * kSecond);
            });
}

TEST(QuotaTime, SessionsOfAKeyAreDelayedTogether) {
  runtime::sim::World world(9);
  services::NodeOptions options = with_limits({});
  options.quota.address = limits_of({"requests 20/s burst 40 delay"});
  with_node(node_cores(2), options, [](NodeUnderTest& test) -> Task<void> {
    std::vector<ProtocolClient*> clients;
    for (runtime::CoreId core = 0; core < 2; ++core) {
      clients.push_back(co_await test.connect_on(core));
      if (clients.back() == nullptr) co_return;
    }
    co_await runtime::sleep_for(60 * kSecond);
    const Nanoseconds begin = now();
    std::uint64_t pongs = 0;
    for (int i = 0; i < 100; ++i) {
      std::vector<protocol::Uuid> ids;
      for (ProtocolClient* client : clients) ids.push_back(client->send(protocol::PingBody{}));
      for (std::size_t of = 0; of < clients.size(); ++of) {
        const ServerMessage reply = co_await clients[of]->reply(ids[of]);
        pongs += reply.opcode == Opcode::Pong ? 1 : 0;
      }
    }
    EXPECT_EQ(pongs, 200u);
    // 40 of the burst at once, the others at 20 a second; two batches a core may be lent.
    EXPECT_GE(now() - begin, 7 * kSecond);
    EXPECT_LE(now() - begin, 9 * kSecond);
  });
}

}  // namespace
}  // namespace corelane
