// Goal: limits of a session hold to the request, say what they say, and cost other sessions
// nothing; SetQuota and GetQuota do what they promise, and refuse everything else with its code.
// Method: whole nodes of one and two cores. Tokens come once in minutes, so that the machine's time
// changes nothing.
#include <gtest/gtest.h>

#include "services/quota/quota.hpp"
#include "tests/unit/services/quota/quotas.hpp"

namespace corelane {
namespace {

using protocol::ErrorCode;
using protocol::Opcode;
using runtime::CoreId;
using runtime::Task;
using services::Quota;
using services::QuotaResult;
using services::Request;
using services::quota::QuotaAction;
using services::quota::QuotaMetric;
using tests::bytes_of;
using tests::count_notices;
using tests::get_quota;
using tests::kTransports;
using tests::limits_of;
using tests::node_cores;
using tests::NodeUnderTest;
using tests::ping;
using tests::ProtocolClient;
using tests::quota_total;
using tests::QuotaAnswer;
using tests::QuotaScope;
using tests::read_notice;
using tests::ServerMessage;
using tests::set_quota;
using tests::Via;
using tests::with_limits;
using tests::with_node;

// Connecting costs a WhoAmI.
constexpr int kConnecting = 1;

void expect_limited(const ServerMessage& reply, Opcode failed, std::string_view text) {
  tests::expect_error(reply, ErrorCode::rate_limited, failed);
  EXPECT_NE(reply.data.find(text), std::string::npos) << reply.data;
}

TEST(Quota, TheRequestBehindTheBurstIsRejectedWithTheTimeToWait) {
  for (const CoreId cores : {CoreId{1}, CoreId{2}}) {
    with_node(node_cores(cores), with_limits({"requests 10/h burst 5"}),
              [](NodeUnderTest& test) -> Task<void> {
                for (const Via via : {Via::websocket, Via::compressed, Via::tcp}) {
                  ProtocolClient* client = co_await test.connect(via);
                  for (int i = kConnecting; i < 5; ++i) {
                    const ServerMessage pong = co_await ping(client);
                    EXPECT_EQ(pong.opcode, Opcode::Pong);
                  }
                  for (int i = 0; i < 3; ++i) {
                    const ServerMessage refused = co_await ping(client);
                    expect_limited(refused, Opcode::Ping,
                                   "quota of the session exceeded: requests 10/h burst 5 reject; "
                                   "wait 3");
                    // A tenth of an hour, less what the test has taken.
                    EXPECT_GT(refused.retry_after_ms, 200'000u);
                    EXPECT_LE(refused.retry_after_ms, 360'000u);
                  }
                  EXPECT_TRUE(client->open());
                }
                const std::uint64_t rejected = co_await quota_total(
                    test, [](Quota& quota) { return quota.counters().rejected; });
                EXPECT_EQ(rejected, 9u);
              });
  }
}

// In one receive: the credit and the looks behind it share the count.
TEST(Quota, ABatchIsServedUpToTheLastTokenAndNotOneMore) {
  for (const int burst : {1, 2, 7, 63, 64, 65, 200}) {
    with_node(node_cores(1), with_limits({}), [burst](NodeUnderTest& test) -> Task<void> {
      ProtocolClient* client = co_await test.connect(Via::websocket);
      const std::string text = fmt::format("requests 1/day burst {}", burst);
      const auto limits = limits_of({text});
      const QuotaAnswer set = co_await set_quota(client, limits);
      EXPECT_EQ(set.limits.size(), 1u);
      std::vector<std::byte> batch;
      std::vector<protocol::Uuid> ids;
      for (int i = 0; i < burst + 20; ++i) {
        ids.push_back(client->new_transaction());
        protocol::append_frame(batch, {.transaction_id = ids.back()}, protocol::PingBody{});
      }
      client->send_bytes(batch);
      for (int i = 0; i < burst + 20; ++i) {
        const ServerMessage reply = co_await client->reply(ids[static_cast<std::size_t>(i)]);
        EXPECT_EQ(reply.opcode, i < burst ? Opcode::Pong : Opcode::Error) << i << " of " << burst;
      }
    });
  }
}

TEST(Quota, BytesCountWithTheSizeOfTheFrame) {
  with_node(node_cores(1), with_limits({}), [](NodeUnderTest& test) -> Task<void> {
    for (const Via via : kTransports) {
      ProtocolClient* client = co_await test.connect(via);
      const protocol::MessageHeader header{.transaction_id = client->new_transaction()};
      const std::string data(500, 'x');
      const std::size_t frame =
          protocol::frame_bytes(header, protocol::PingBody{.data = bytes_of(data)});
      const std::string three = fmt::format("bytes_in 1/day burst {}", 3 * frame);
      const auto limits = limits_of({three});
      const QuotaAnswer set = co_await set_quota(client, limits);
      EXPECT_EQ(set.uses.size(), 1u);
      for (int i = 0; i < 3; ++i) {
        const ServerMessage pong = co_await ping(client, data);
        EXPECT_EQ(pong.opcode, Opcode::Pong);
      }
      const ServerMessage refused = co_await ping(client);
      expect_limited(refused, Opcode::Ping, "bytes_in 1/day");
      EXPECT_GT(refused.retry_after_ms, 0u);
      // One that the burst never holds is not to be repeated.
      const ServerMessage never = co_await ping(client, std::string(5000, 'x'));
      expect_limited(never, Opcode::Ping, "takes more than the burst");
      EXPECT_EQ(never.retry_after_ms, 0u);
    }
  });
}

TEST(Quota, ALimitOfAnOpcodeOrAClassCountsNoOtherRequest) {
  const auto options = with_limits(
      {"requests 1/day burst 2 reject for Publish", "requests 1/day burst 3 reject for memory",
       "requests 1/day burst 1 reject for 300", "requests 1/day burst 2 reject for application"});
  with_node(node_cores(2), options, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect(Via::websocket);
    const auto custom = [client](std::uint16_t number) -> Task<ServerMessage> {
      const protocol::RawBody body{.kOpcode = static_cast<Opcode>(number), .payload = {}};
      co_return co_await client->request(body);
    };
    for (int i = 0; i < 20; ++i) {
      const ServerMessage pong = co_await ping(client);
      EXPECT_EQ(pong.opcode, Opcode::Pong);
    }
    for (int i = 0; i < 4; ++i) {
      const ServerMessage reply = co_await publish(client, "channel");
      EXPECT_EQ(reply.opcode, i < 2 ? Opcode::Ack : Opcode::Error);
      if (i >= 2) {
        EXPECT_NE(reply.data.find("for Publish"), std::string::npos) << reply.data;
      }
    }
    // The two that were refused cost the class nothing.
    const ServerMessage third = co_await subscribe(client, "channel");
    EXPECT_EQ(third.opcode, Opcode::SubscribeReply);
    const ServerMessage fourth = co_await subscribe(client, "other");
    expect_limited(fourth, Opcode::ClientSubscribe, "for memory");
    // Nobody serves them, but they are counted.
    const ServerMessage first = co_await custom(300);
    EXPECT_EQ(first.error, ErrorCode::unknown_opcode);
    const ServerMessage second = co_await custom(300);
    expect_limited(second, static_cast<Opcode>(300), "for 300");
    const ServerMessage other = co_await custom(301);
    EXPECT_EQ(other.error, ErrorCode::unknown_opcode);
    const ServerMessage last = co_await custom(301);
    expect_limited(last, static_cast<Opcode>(301), "for application");
  });
}

TEST(Quota, WhatIsNoMessageCountsAsWell) {
  with_node(node_cores(1), with_limits({"requests 1/day burst 4"}),
            [](NodeUnderTest& test) -> Task<void> {
              ProtocolClient* client = co_await test.connect(Via::websocket);
              std::vector<std::byte> frame(20, std::byte{255});
              frame[0] = std::byte{16};
              frame[1] = frame[2] = frame[3] = std::byte{0};
              for (int i = 0; i < 5; ++i) client->send_bytes(frame);
              const bool came = co_await client->has_events(5);
              EXPECT_TRUE(came);
              for (int i = 0; i < 5; ++i) {
                const ServerMessage error = co_await client->event();
                EXPECT_EQ(error.error, i < 4 - kConnecting ? ErrorCode::malformed_message
                                                           : ErrorCode::rate_limited);
              }
            });
}

TEST(Quota, TerminateClosesWithTheReason) {
  with_node(node_cores(2), with_limits({"requests 1/day burst 3 terminate"}),
            [](NodeUnderTest& test) -> Task<void> {
              for (const Via via : kTransports) {
                ProtocolClient* client = co_await test.connect(via);
                for (int i = kConnecting; i < 3; ++i) {
                  const ServerMessage pong = co_await ping(client);
                  EXPECT_EQ(pong.opcode, Opcode::Pong);
                }
                // Of two in one receive the second must not be served.
                const protocol::Uuid first = client->send(protocol::PingBody{});
                const protocol::Uuid second = client->send(protocol::PingBody{});
                const ServerMessage error = co_await client->reply(first);
                expect_limited(error, Opcode::Ping, "terminate");
                const bool closed = co_await client->closed();
                EXPECT_TRUE(closed);
                EXPECT_FALSE(client->has_reply(second));
                if (via == Via::websocket) {
                  EXPECT_EQ(client->close_code(), ws::CloseCode::policy_violation);
                }
              }
            });
}

TEST(Quota, AWarningComesOnceInAWindowAndEverythingIsServed) {
  with_node(node_cores(1), with_limits({"requests 10/h burst 5 warn"}),
            [](NodeUnderTest& test) -> Task<void> {
              for (const Via via : kTransports) {
                ProtocolClient* client = co_await test.connect(via);
                for (int i = 0; i < 30; ++i) {
                  const ServerMessage pong = co_await ping(client);
                  EXPECT_EQ(pong.opcode, Opcode::Pong);
                  EXPECT_EQ(count_notices(client), i < 5 - kConnecting ? 0u : 1u);
                }
                const ServerMessage event = co_await client->event();
                EXPECT_TRUE(event.transaction_id.is_nil());
                const auto notice = read_notice(event);
                EXPECT_TRUE(notice);
                if (!notice) co_return;
                EXPECT_EQ(notice->scope, QuotaScope::session);
                EXPECT_EQ(notice->metric, QuotaMetric::requests);
                EXPECT_EQ(notice->action, QuotaAction::warn);
                EXPECT_EQ(notice->tokens, 10u);
                EXPECT_GT(notice->wait_ns, 0u);
                EXPECT_LE(notice->wait_ns, 360'000'000'000u);
              }
            });
}

// --- What the server sends

TEST(Quota, DeliveriesLeaveADebtThatRequestsMeet) {
  for (const CoreId cores : {CoreId{1}, CoreId{2}}) {
    with_node(node_cores(cores), with_limits({}), [](NodeUnderTest& test) -> Task<void> {
      ProtocolClient* publisher = co_await test.connect(Via::websocket);
      for (const Via via : {Via::websocket, Via::compressed, Via::tcp}) {
        ProtocolClient* client = co_await test.connect(via);
        const auto limits = limits_of({"deliveries 1/day burst 5"});
        const QuotaAnswer set = co_await set_quota(client, limits);
        EXPECT_EQ(set.uses.size(), 1u);
        const ServerMessage subscribed = co_await subscribe(client, "channel");
        EXPECT_EQ(subscribed.opcode, Opcode::SubscribeReply);
        for (int i = 0; i < 3; ++i) {
          const ServerMessage ack = co_await publish(publisher, "channel");
          EXPECT_EQ(ack.opcode, Opcode::Ack);
        }
        const protocol::SendBody direct{
            .session = client->uuid(), .data = bytes_of("d"), .requires_ack = true};
        const ServerMessage sent = co_await publisher->request(direct);
        EXPECT_EQ(sent.opcode, Opcode::Ack);
        const protocol::BroadcastBody all{.data = bytes_of("b"), .requires_ack = true};
        const ServerMessage broadcast = co_await publisher->request(all);
        EXPECT_EQ(broadcast.opcode, Opcode::Ack);
        const bool came = co_await client->has_events(5);
        EXPECT_TRUE(came);
        // Five are the burst; replies are no deliveries.
        const QuotaAnswer at_the_limit = co_await get_quota(client);
        EXPECT_EQ(at_the_limit.uses.at(0).left(), 0);
        EXPECT_EQ(at_the_limit.uses.at(0).used(), 5u);
        const ServerMessage ack = co_await publish(publisher, "channel");
        EXPECT_EQ(ack.delivered, 1u) << "what is sent is not refused";
        const bool sixth = co_await client->has_events(6);
        EXPECT_TRUE(sixth);
        const ServerMessage refused = co_await ping(client);
        expect_limited(refused, Opcode::Ping, "deliveries 1/day burst 5");
        EXPECT_GT(refused.retry_after_ms, 80'000'000u);
        client->close();
        const bool closed = co_await client->closed();
        EXPECT_TRUE(closed);
      }
    });
  }
}

TEST(Quota, BytesOutEndAConnectionThatTakesTooMany) {
  with_node(node_cores(2), with_limits({}), [](NodeUnderTest& test) -> Task<void> {
    for (const Via via : {Via::websocket, Via::compressed, Via::tcp}) {
      ProtocolClient* client = co_await test.connect(via);
      const auto limits = limits_of({"bytes_out 1/day burst 4KiB terminate"});
      const QuotaAnswer set = co_await set_quota(client, limits);
      EXPECT_EQ(set.uses.size(), 1u);
      const ServerMessage small = co_await ping(client, std::string(1000, 'x'));
      EXPECT_EQ(small.opcode, Opcode::Pong);
      const protocol::Uuid id =
          client->send(protocol::PingBody{.data = bytes_of(std::string(4000, 'x'))});
      const bool closed = co_await client->closed();
      EXPECT_TRUE(closed);
      EXPECT_FALSE(client->has_reply(id)) << "the answer that passes the limit";
      const ServerMessage error = co_await client->event();
      expect_limited(error, Opcode::None, "bytes_out 1/day burst 4KiB terminate");
    }
  });
}

TEST(Quota, OfWhatIsSentAWarningIsNotCountedIntoADebt) {
  with_node(node_cores(1), with_limits({"bytes_out 1/day burst 1000 warn"}),
            [](NodeUnderTest& test) -> Task<void> {
              ProtocolClient* client = co_await test.connect(Via::websocket);
              for (int i = 0; i < 20; ++i) {
                const ServerMessage pong = co_await ping(client, std::string(200, 'x'));
                EXPECT_EQ(pong.opcode, Opcode::Pong);
              }
              EXPECT_EQ(count_notices(client), 1u);
              const QuotaAnswer quota = co_await get_quota(client);
              EXPECT_GE(quota.uses.at(0).left(), 0);
            });
}

// --- Modes and results

TEST(Quota, PermissiveModeCountsAndDoesNothing) {
  auto options = with_limits({"requests 1/day burst 3 terminate", "requests 1/day burst 2 reject",
                              "requests 1/day burst 1 delay", "bytes_out 1/day burst 1 terminate"});
  options.quota.permissive = true;
  with_node(node_cores(2), options, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect(Via::websocket);
    for (int i = 0; i < 20; ++i) {
      const ServerMessage pong = co_await ping(client);
      EXPECT_EQ(pong.opcode, Opcode::Pong);
    }
    EXPECT_TRUE(client->events().empty());
    const QuotaAnswer quota = co_await get_quota(client);
    EXPECT_TRUE(quota.permissive);
    EXPECT_EQ(quota.uses.at(0).left(), 0);
    EXPECT_EQ(quota.uses.at(0).exceeded(), 19u);
    EXPECT_EQ(quota.uses.at(1).exceeded(), 20u);
    const std::uint64_t permitted =
        co_await quota_total(test, [](Quota& one) { return one.counters().permitted; });
    EXPECT_GE(permitted, 20u);
    const std::uint64_t acted = co_await quota_total(test, [](Quota& one) {
      return one.counters().rejected + one.counters().terminated + one.counters().warned;
    });
    EXPECT_EQ(acted, 0u);
  });
}

TEST(Quota, HandlersSeeTheResult) {
  services::HandlerTable handlers;
  const auto tell = [](const Request& request) {
    const QuotaResult result = request.quota_result();
    const QuotaResult again = request.quota_result();
    EXPECT_EQ(result.outcome, again.outcome);
    EXPECT_EQ(result.left, again.left);
    request.reply(
        fmt::format("{} {} {}", static_cast<int>(result.outcome), result.left, result.wait > 0));
  };
  handlers.add(
      200,
      {.name = "plain", .plain = [tell](Request& request) { tell(request); }, .coroutine = {}});
  handlers.add(
      201, {.name = "coroutine", .plain = {}, .coroutine = [tell](Request request) -> Task<void> {
              tell(request);
              co_return;
            }});
  services::NodeOptions options = with_limits({});
  options.handlers = &handlers;
  with_node(node_cores(1), options, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect(Via::websocket);
    const auto call = [client](std::uint16_t number) -> Task<std::string> {
      const protocol::RawBody body{.kOpcode = static_cast<Opcode>(number), .payload = {}};
      const ServerMessage reply = co_await client->request(body);
      co_return reply.data;
    };
    const std::string none = co_await call(200);
    EXPECT_EQ(none, fmt::format("0 {} false", INT64_MAX));
    const auto limits = limits_of({"requests 1/day burst 4 warn"});
    const QuotaAnswer set = co_await set_quota(client, limits);
    EXPECT_EQ(set.uses.size(), 1u);
    const char* const expected[] = {"1 3 false", "1 2 false", "1 1 false",
                                    "1 0 false", "2 0 true",  "2 0 true"};
    for (std::size_t i = 0; i < std::size(expected); ++i) {
      const std::string result = co_await call(i % 2 == 0 ? 200 : 201);
      EXPECT_EQ(result, expected[i]) << i;
    }
  });
}

TEST(Quota, ASessionWithoutLimitsHoldsNothingForThem) {
  with_node(node_cores(2), {}, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect(Via::websocket);
    const bool settled = co_await client->settle();
    EXPECT_TRUE(settled);
    const std::uint64_t extensions = co_await test.total([](services::CoreNode& node) {
      std::uint64_t count = 0;
      node.sessions().for_each(
          [&](services::Session& session) { count += session.extension() != nullptr ? 1U : 0U; });
      return count;
    });
    EXPECT_EQ(extensions, 0u);
    const std::uint64_t looks =
        co_await quota_total(test, [](Quota& quota) { return quota.counters().looks; });
    EXPECT_EQ(looks, 0u);
  });
}

// --- SetQuota and GetQuota

TEST(SetQuota, OfASessionOnAnyCoreReplacesAllItsLimits) {
  for (const CoreId cores : {CoreId{1}, CoreId{2}}) {
    with_node(
        node_cores(cores), with_limits({"requests 7/h"}),
        [cores](NodeUnderTest& test) -> Task<void> {
          ProtocolClient* sets = co_await test.connect_on(0);
          for (CoreId core = 0; core < cores; ++core) {
            ProtocolClient* client = co_await test.connect_on(core);
            if (sets == nullptr || client == nullptr) co_return;
            const auto limits = limits_of({"requests 1/day burst 2", "bytes_in 1MiB/s delay"});
            const QuotaAnswer set =
                co_await set_quota(sets, limits, QuotaScope::session, client->uuid());
            EXPECT_EQ(set.session, client->uuid());
            EXPECT_EQ(set.limits.size(), 2u);
            if (set.limits.size() != 2) co_return;
            services::quota::Limit read;
            EXPECT_EQ(services::quota::from_wire(set.limits[1], read), "");
            EXPECT_EQ(read, limits[1]);
            EXPECT_EQ(set.uses[0].left(), 2);
            EXPECT_EQ(set.uses[0].used(), 0u);
            EXPECT_EQ(set.uses[0].full_in_ns(), 0u);
            const ServerMessage first = co_await ping(client);
            EXPECT_EQ(first.opcode, Opcode::Pong);
            const QuotaAnswer get = co_await get_quota(sets, QuotaScope::session, client->uuid());
            EXPECT_EQ(get.uses.at(0).left(), 1);
            EXPECT_EQ(get.uses.at(0).used(), 1u);
            EXPECT_GT(get.uses.at(0).full_in_ns(), 86'000'000'000'000u);
            const ServerMessage second = co_await ping(client);
            EXPECT_EQ(second.opcode, Opcode::Pong);
            const ServerMessage third = co_await ping(client);
            expect_limited(third, Opcode::Ping, "requests 1/day");
            // None at all, and then those of the configuration.
            const QuotaAnswer none =
                co_await set_quota(sets, {}, QuotaScope::session, client->uuid());
            EXPECT_TRUE(none.limits.empty());
            for (int i = 0; i < 20; ++i) {
              const ServerMessage pong = co_await ping(client);
              EXPECT_EQ(pong.opcode, Opcode::Pong);
            }
            const QuotaAnswer again =
                co_await set_quota(sets, {}, QuotaScope::session, client->uuid(), "", true);
            EXPECT_EQ(again.limits.at(0).tokens(), 7u);
            const QuotaAnswer own = co_await set_quota(sets, {}, QuotaScope::session, {}, "", true);
            EXPECT_EQ(own.session, sets->uuid());
          }
        });
  }
}

TEST(SetQuota, WhatCannotBeIsRefusedWithTheReason) {
  with_node(node_cores(2), with_limits({}), [](NodeUnderTest& test) -> Task<void> {
    using protocol::fbs::QuotaLimit;
    ProtocolClient* client = co_await test.connect(Via::websocket);
    const auto set = [client](std::span<const QuotaLimit> limits) -> Task<ServerMessage> {
      const protocol::SetQuotaBody body{.key = "", .limits = limits};
      co_return co_await client->request(body);
    };
    const QuotaLimit good(1, 1'000'000, 1, {}, {}, {}, {}, 0, 0);
    std::vector<QuotaLimit> limits(services::quota::kLimitsMax, good);
    const ServerMessage most = co_await set(limits);
    EXPECT_EQ(most.opcode, Opcode::QuotaReply);
    limits.push_back(good);
    const ServerMessage more = co_await set(limits);
    tests::expect_error(more, ErrorCode::quota_invalid, Opcode::SetQuota);
    EXPECT_EQ(more.data, "17 limits are more than 16");
    const QuotaLimit none(0, 1'000'000, 1, {}, {}, {}, {}, 0, 0);
    const std::vector<QuotaLimit> second{good, none};
    const ServerMessage bad = co_await set(second);
    tests::expect_error(bad, ErrorCode::quota_invalid, Opcode::SetQuota);
    EXPECT_EQ(bad.data.find("limit 1 has tokens"), 0u) << bad.data;
    // Nothing of it was taken.
    const QuotaAnswer quota = co_await get_quota(client);
    EXPECT_EQ(quota.limits.size(), services::quota::kLimitsMax);
    const QuotaAnswer scope = co_await get_quota(client, static_cast<QuotaScope>(3));
    tests::expect_error(scope.message, ErrorCode::quota_invalid, Opcode::GetQuota);
    const QuotaAnswer key =
        co_await get_quota(client, QuotaScope::principal, {}, std::string(1025, 'k'));
    tests::expect_error(key.message, ErrorCode::quota_invalid, Opcode::GetQuota);
    const protocol::RawBody damaged{.kOpcode = Opcode::SetQuota, .payload = bytes_of("damaged")};
    const ServerMessage malformed = co_await client->request(damaged);
    tests::expect_error(malformed, ErrorCode::malformed_payload, Opcode::SetQuota);
    const QuotaAnswer unknown =
        co_await get_quota(client, QuotaScope::session, protocol::Uuid{{1, 2, 3}});
    tests::expect_error(unknown.message, ErrorCode::unknown_session, Opcode::GetQuota);
    const QuotaAnswer untracked = co_await get_quota(client, QuotaScope::address);
    tests::expect_error(untracked.message, ErrorCode::unavailable, Opcode::GetQuota);
    EXPECT_NE(untracked.message.data.find("quota.track"), std::string::npos);
  });
}

TEST(SetQuota, IsForOperatorsAndEverybodySeesTheirOwn) {
  auto options = with_limits({"requests 1000/h"});
  options.quota.address = limits_of({"requests 2000/h"});
  options.quota.loopback_sets = false;
  with_node(node_cores(2), options, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* other = co_await test.connect(Via::tcp);
    for (const Via via : kTransports) {
      ProtocolClient* client = co_await test.connect(via);
      const QuotaAnswer set = co_await set_quota(client, {});
      tests::expect_error(set.message, ErrorCode::unauthorized, Opcode::SetQuota);
      EXPECT_NE(set.message.data.find("quota.loopback_sets"), std::string::npos);
      const QuotaAnswer session = co_await get_quota(client, QuotaScope::session, other->uuid());
      tests::expect_error(session.message, ErrorCode::unauthorized, Opcode::GetQuota);
      const QuotaAnswer key = co_await get_quota(client, QuotaScope::address, {}, "127.0.0.1");
      tests::expect_error(key.message, ErrorCode::unauthorized, Opcode::GetQuota);
      const QuotaAnswer own = co_await get_quota(client);
      EXPECT_EQ(own.limits.at(0).tokens(), 1000u);
      const QuotaAnswer address = co_await get_quota(client, QuotaScope::address);
      EXPECT_EQ(address.limits.at(0).tokens(), 2000u);
    }
  });
}

}  // namespace
}  // namespace corelane
