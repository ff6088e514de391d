// Goal: the sessions of an address, and those of a principal, share its limits on all cores: never
// more than the stated overshoot, and never less than the burst. Method: whole nodes of one to
// three cores, tokens that come once in minutes.
#include <gtest/gtest.h>

#include "services/framework.hpp"
#include "services/quota/quota.hpp"
#include "tests/unit/services/quota/quotas.hpp"

namespace corelane {
namespace {

using protocol::ErrorCode;
using protocol::Opcode;
using runtime::CoreId;
using runtime::Task;
using services::Quota;
using services::Request;
using tests::get_quota;
using tests::limits_of;
using tests::node_cores;
using tests::NodeUnderTest;
using tests::ping;
using tests::ProtocolClient;
using tests::quota_total;
using tests::QuotaAnswer;
using tests::QuotaScope;
using tests::ServerMessage;
using tests::set_quota;
using tests::Via;
using tests::with_limits;
using tests::with_node;

services::NodeOptions with_address(std::initializer_list<std::string_view> limits) {
  services::NodeOptions options = with_limits({});
  options.quota.address = limits_of(limits);
  return options;
}

// As share.hpp says: a batch, what it lends and a request for each core.
int overshoot(int burst, CoreId cores) {
  return cores * (std::max(1, burst / (16 * cores)) + std::max(4, burst / (4 * cores)) + 1);
}

constexpr std::uint32_t kShareWaitMs = 10;  // no limit of these tests refills in that time

// Pings in turn from all clients; returns how many were served.
Task<int> ping_all(const std::vector<ProtocolClient*>& clients, int each) {
  int served = 0;
  for (int i = 0; i < each; ++i) {
    for (ProtocolClient* client : clients) {
      ServerMessage reply = co_await ping(client);
      // The core may still wait for its share of what is left; then it says so, and when to ask.
      for (int again = 0; again < 100 && reply.opcode != Opcode::Pong; ++again) {
        if (reply.retry_after_ms > kShareWaitMs) break;
        co_await runtime::sleep_for(reply.retry_after_ms * runtime::kMillisecond);
        reply = co_await ping(client);
      }
      if (reply.opcode == Opcode::Pong) {
        ++served;
      } else {
        EXPECT_EQ(reply.error, ErrorCode::rate_limited);
        EXPECT_GT(reply.retry_after_ms, 0u);
      }
    }
  }
  co_return served;
}

TEST(QuotaKeys, SessionsOfAnAddressShareItsLimitsOnAllCores) {
  for (const CoreId cores : {CoreId{1}, CoreId{2}, CoreId{3}}) {
    for (const int burst : {10, 100, 1000}) {
      SCOPED_TRACE(testing::Message() << cores << " cores, burst " << burst);
      const std::string text = fmt::format("requests 1/day burst {}", burst);
      with_node(node_cores(cores), with_address({text}),
                [cores, burst](NodeUnderTest& test) -> Task<void> {
                  std::vector<ProtocolClient*> clients;
                  for (CoreId core = 0; core < cores; ++core) {
                    // Small bursts do not survive the search for a core.
                    ProtocolClient* client = burst < 1000 ? co_await test.connect(Via::tcp)
                                                          : co_await test.connect_on(core);
                    if (client == nullptr) co_return;
                    clients.push_back(client);
                  }
                  const QuotaAnswer before = co_await get_quota(clients[0], QuotaScope::address);
                  const int served = co_await ping_all(clients, 2 * burst / cores + 20);
                  // Whatever connecting has used, nothing may be left.
                  EXPECT_LE(served, burst + overshoot(burst, cores));
                  EXPECT_GE(served + 2 * overshoot(burst, cores),
                            std::min<int>(burst, static_cast<int>(before.uses.at(0).left())));
                  const QuotaAnswer after = co_await get_quota(clients[0], QuotaScope::address);
                  EXPECT_EQ(after.message.error, ErrorCode::rate_limited);
                });
    }
  }
}

TEST(QuotaKeys, APrincipalIsOneWhereverItsSessionsAre) {
  services::NodeOptions options = with_limits({});
  options.quota.principal = limits_of({"requests 1/day burst 40 reject for Ping"});
  services::HandlerTable handlers;
  handlers.add(200, {.name = "identify",
                     .plain =
                         [](Request& request) {
                           const auto name = request.payload();
                           EXPECT_TRUE(framework::identify(
                               request, {reinterpret_cast<const char*>(name.data()), name.size()}));
                           request.reply("");
                         },
                     .coroutine = {}});
  options.handlers = &handlers;
  with_node(node_cores(2), options, [](NodeUnderTest& test) -> Task<void> {
    std::vector<ProtocolClient*> alice;
    std::vector<ProtocolClient*> bob;
    for (CoreId core = 0; core < 2; ++core) {
      for (auto* user : {&alice, &bob}) {
        ProtocolClient* client = co_await test.connect(Via::websocket);
        const protocol::RawBody body{.kOpcode = static_cast<Opcode>(200),
                                     .payload = tests::bytes_of(user == &alice ? "alice" : "bob")};
        const ServerMessage reply = co_await client->request(body);
        EXPECT_EQ(reply.opcode, static_cast<Opcode>(200));
        user->push_back(client);
      }
    }
    const int of_alice = co_await ping_all(alice, 60);
    EXPECT_GE(of_alice, 40 - overshoot(40, 2));
    EXPECT_LE(of_alice, 40 + overshoot(40, 2));
    // Those of another one are untouched.
    const int of_bob = co_await ping_all(bob, 60);
    EXPECT_GE(of_bob, 40 - overshoot(40, 2));
    EXPECT_LE(of_bob, 40 + overshoot(40, 2));
  });
}

TEST(QuotaKeys, LimitsThatAreSetReachSessionsOnAllCores) {
  for (const CoreId cores : {CoreId{1}, CoreId{2}, CoreId{3}}) {
    services::NodeOptions options = with_limits({});
    options.quota.track = true;
    with_node(node_cores(cores), options, [cores](NodeUnderTest& test) -> Task<void> {
      std::vector<ProtocolClient*> clients;
      for (CoreId core = 0; core < cores; ++core) {
        clients.push_back(co_await test.connect_on(core));
        if (clients.back() == nullptr) co_return;
      }
      const int unlimited = co_await ping_all(clients, 50);
      EXPECT_EQ(unlimited, 50 * cores);
      const auto limits = limits_of({"requests 1/day burst 100"});
      const QuotaAnswer set =
          co_await set_quota(clients[0], limits, QuotaScope::address, {}, "127.0.0.1");
      EXPECT_EQ(set.limits.size(), 1u) << set.message.data;
      EXPECT_EQ(set.key, "127.0.0.1");
      // All cores have been told: a round of messages between cores is behind it.
      co_await runtime::on_every_core([] {});
      const int limited = co_await ping_all(clients, 300);
      EXPECT_GE(limited, 100 - overshoot(100, cores));
      EXPECT_LE(limited, 100 + overshoot(100, cores));
      ProtocolClient* fresh = co_await test.connect(Via::tcp, test.address(Via::tcp));
      EXPECT_FALSE(fresh->open()) << "a WhoAmI more than the burst";
    });
  }
}

// A client cannot get a fresh bucket by coming again.
TEST(QuotaKeys, AKeyWithoutSessionsKeepsItsUseUntilItIsFull) {
  with_node(node_cores(2), with_address({"requests 1/day burst 64"}),
            [](NodeUnderTest& test) -> Task<void> {
              int served = 0;
              for (int round = 0; round < 100; ++round) {
                ProtocolClient* client = co_await test.connect(Via::tcp, test.address(Via::tcp));
                if (!client->open()) continue;
                ++served;
                client->close();
                const bool closed = co_await client->closed();
                EXPECT_TRUE(closed);
                const bool ended = co_await test.sessions_are(0);
                EXPECT_TRUE(ended);
                // What its shares had left goes home.
                co_await runtime::on_every_core([] {});
              }
              EXPECT_GE(served, 64 - overshoot(64, 2));
              EXPECT_LE(served, 64 + overshoot(64, 2));
              const std::uint64_t pools =
                  co_await quota_total(test, [](Quota& quota) { return quota.pools(); });
              // The address's. That of the principal of this name has no limits, and may have gone.
              EXPECT_GE(pools, 1u);
            });
}

TEST(QuotaKeys, AddressesAreKnownInAllTheirSpellings) {
  services::NodeOptions options = with_limits({});
  options.quota.track = true;
  with_node(node_cores(1), options, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect(Via::websocket);
    const auto limits = limits_of({"requests 5/h"});
    const QuotaAnswer set =
        co_await set_quota(client, limits, QuotaScope::address, {}, "2001:DB8::0:1");
    EXPECT_EQ(set.limits.size(), 1u);
    const QuotaAnswer get = co_await get_quota(client, QuotaScope::address, {}, "2001:db8::1");
    EXPECT_EQ(get.limits.size(), 1u);
    const QuotaAnswer other = co_await get_quota(client, QuotaScope::address, {}, "2001:db8::2");
    EXPECT_EQ(other.message.opcode, Opcode::QuotaReply);
    EXPECT_TRUE(other.limits.empty());
    const QuotaAnswer principal =
        co_await get_quota(client, QuotaScope::principal, {}, "2001:db8::1");
    EXPECT_TRUE(principal.limits.empty());
    const QuotaAnswer defaults =
        co_await set_quota(client, {}, QuotaScope::address, {}, "2001:db8::1", true);
    EXPECT_TRUE(defaults.limits.empty());
  });
}

// A session with limits of its own and of its address is held to both.
TEST(QuotaKeys, AllLimitsOfASessionHold) {
  services::NodeOptions options = with_limits({"requests 1/day burst 10"});
  options.quota.address = limits_of({"bytes_in 1/day burst 2000"});
  with_node(node_cores(1), options, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect(Via::websocket);
    for (int i = 1; i < 10; ++i) {
      const ServerMessage pong = co_await ping(client);
      EXPECT_EQ(pong.opcode, Opcode::Pong);
    }
    const ServerMessage requests = co_await ping(client);
    EXPECT_EQ(requests.error, ErrorCode::rate_limited);
    EXPECT_NE(requests.data.find("quota of the session"), std::string::npos) << requests.data;
    ProtocolClient* other = co_await test.connect(Via::tcp);
    ServerMessage bytes;
    for (int i = 1; i < 10 && bytes.error == ErrorCode::none; ++i) {
      bytes = co_await ping(other, std::string(500, 'x'));
    }
    EXPECT_EQ(bytes.error, ErrorCode::rate_limited);
    EXPECT_NE(bytes.data.find("quota of the address"), std::string::npos) << bytes.data;
  });
}

}  // namespace
}  // namespace corelane
