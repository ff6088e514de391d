// Goal: a ReconnectingClient comes back after its connection has ended, with delays that grow, are
// bounded and drawn at random, tells each new connection what it needs, and gives up when another
// attempt is not worth it. Method: our own server, and fake ones that refuse, over both rings.
#include "ws/reconnecting.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/http/client.hpp"
#include "runtime/combine.hpp"
#include "runtime/task_group.hpp"
#include "tests/unit/ws/ws_site.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::FakeServer;
using tests::run_ws_site;
using tests::WsSite;
using ws::CloseCode;
using ws::MessageKind;
using ws::ReconnectingClient;
using ws::ReconnectOptions;

std::string url_of(const Address& address) {
  return "ws://" + address.text() + "/chat";
}

ReconnectOptions quick() {
  ReconnectOptions options;
  options.delay_min = 2 * kMillisecond;
  options.delay_max = 20 * kMillisecond;
  return options;
}

// Refuses with a status, and counts.
struct Refusing {
  explicit Refusing(std::string status) {
    server.answer = [this, status](const std::string&) {
      ++asked;
      server.request.clear();
      return "HTTP/1.1 " + status + "\r\nContent-Length: 0\r\n\r\n";
    };
  }
  Refusing(const Refusing&) = delete;
  Refusing& operator=(const Refusing&) = delete;
  FakeServer server;
  std::uint32_t asked = 0;
};

TEST(WsReconnecting, ItComesBackAndSubscribesAgainEachTime) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    // Echoes what comes, then ends the connection: the third time without a close frame.
    site.witness.when_message = [&site](ws::Connection& connection, ws::Message& message) {
      connection.echo(message);
      if (site.witness.messages == 3) return connection.stream().abort();
      connection.close(CloseCode::service_restart);
    };
    ReconnectOptions options = quick();
    options.on_connected = [](ws::Client& client) -> Task<Result<void>> {
      return client.send("subscribe");
    };
    ReconnectingClient client(url_of(site.address), {}, std::move(options));
    for (const std::uint64_t connection : {1u, 2u, 4u}) {
      const auto message = co_await client.receive();
      EXPECT_TRUE(message && message->text() == "subscribe");
      EXPECT_EQ(client.connections(), connection);
    }
    EXPECT_EQ(site.witness.messages, 4u);
    co_await client.close();
  });
}

TEST(WsReconnecting, StatusesThatWillNotChangeEndIt) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    std::vector<std::unique_ptr<Refusing>> servers;
    for (const auto& [status, number] :
         {std::pair{"401 Unauthorized", 401}, std::pair{"403 Forbidden", 403},
          std::pair{"404 Not Found", 404}}) {
      Refusing& server = *servers.emplace_back(std::make_unique<Refusing>(status));
      ReconnectingClient client(url_of(server.server.listen(site.network)), {}, quick());
      for (int call = 0; call < 2; ++call) {
        const auto message = co_await client.receive();
        EXPECT_TRUE(!message && message.error() == (Error{ErrorCode::closed, number}));
      }
      EXPECT_EQ(server.asked, 1u);
    }
    ReconnectingClient client("wss://127.0.0.1/", {}, quick());
    const auto message = co_await client.receive();
    EXPECT_TRUE(!message && message.error().code == ErrorCode::unsupported);
    co_await site.network.shutdown();
  });
}

TEST(WsReconnecting, OthersAreTriedAgainUpToTheLimit) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    Refusing server("503 Service Unavailable");
    ReconnectOptions options = quick();
    options.failures_max = 5;
    ReconnectingClient client(url_of(server.server.listen(site.network)), {}, std::move(options));
    // As short a patience as each delay: it goes on where it was.
    for (;;) {
      const auto message = co_await with_timeout(kMillisecond, client.receive());
      EXPECT_FALSE(message);
      if (message.error().code == ErrorCode::timed_out) continue;
      EXPECT_EQ(message.error(), (Error{ErrorCode::closed, 503}));
      break;
    }
    EXPECT_GE(server.asked, 5u);  // an attempt may have been cut
    co_await site.network.shutdown();
  });
}

// The delays behind the failures.
std::vector<Nanoseconds> delays_of_attempts() {
  std::vector<Nanoseconds> delays;
  run_ws_site({}, [&delays](WsSite& site) -> Task<void> {
    Refusing server("503 Service Unavailable");
    ReconnectOptions options = quick();
    options.failures_max = 10;
    ReconnectingClient* asking = nullptr;
    options.gives_up = [&](const Error&) {
      delays.push_back(asking->delay());
      return false;
    };
    ReconnectingClient client(url_of(server.server.listen(site.network)), {}, std::move(options));
    asking = &client;
    const auto message = co_await client.receive();
    EXPECT_FALSE(message);
    co_await site.network.shutdown();
  });
  return delays;
}

TEST(WsReconnecting, DelaysGrowToTheirBoundAndAreDrawnAtRandom) {
  const std::vector<Nanoseconds> delays = delays_of_attempts();
  ASSERT_EQ(delays.size(), 9u);  // the tenth failure is the last
  for (std::size_t i = 0; i < delays.size(); ++i) {
    const auto whole = std::min<Nanoseconds>(2 * kMillisecond << i, 20 * kMillisecond);
    EXPECT_GE(delays[i], whole / 2) << i;
    EXPECT_LE(delays[i], whole) << i;
  }
  // At the bound they differ all the same.
  EXPECT_NE(delays[6], delays[7]);
  EXPECT_NE(delays[7], delays[8]);
}

TEST(WsReconnecting, AConnectionThatHasLastedMakesTheDelayShortAgain) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    for (const bool is_stable : {false, true}) {
      ReconnectOptions options = quick();
      options.stable_after = is_stable ? 0 : kNever;
      ReconnectingClient client(url_of(site.address), {}, std::move(options));
      site.witness.when_open = [](ws::Connection& connection) {
        connection.send(MessageKind::text, {});
        connection.close(CloseCode::service_restart);
      };
      for (int round = 0; round < 4; ++round) {
        const auto message = co_await client.receive();
        EXPECT_TRUE(message);
      }
      EXPECT_EQ(client.failures(), is_stable ? 1u : 3u);
      co_await client.close();
    }
  });
}

TEST(WsReconnecting, WithoutAConnectionAMessageIsRefused) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    ReconnectOptions options = quick();
    ReconnectingClient client(url_of(site.address), {}, std::move(options));
    const auto before = co_await client.send("before");
    EXPECT_TRUE(!before && before.error().code == ErrorCode::closed);
    site.witness.when_open = [](ws::Connection& connection) {
      connection.send(MessageKind::text, {});
    };
    const auto first = co_await client.receive();
    EXPECT_TRUE(first && client.is_connected());
    const auto during = co_await client.send("during");
    EXPECT_TRUE(during);
    EXPECT_TRUE(co_await client.receive());
    site.connection().close(CloseCode::normal);
    const auto gone = co_await with_timeout(100 * kMicrosecond, client.receive());
    while (client.is_connected()) co_await Yield{};
    const auto after = co_await client.send("after");
    EXPECT_TRUE(!after && after.error().code == ErrorCode::closed);
    // The receive was cancelled, and goes on.
    if (!gone) {
      EXPECT_TRUE(co_await client.receive());
    }
    EXPECT_EQ(client.connections(), 2u);
    co_await client.close();
  });
}

TEST(WsReconnecting, ClosingEndsAWaitForTheNextAttemptAndForAMessage) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    Refusing server("503 Service Unavailable");
    const std::string refusing = url_of(server.server.listen(site.network));
    for (const std::string& url : {refusing, url_of(site.address)}) {
      ReconnectOptions options;
      options.delay_min = 3600 * kSecond;
      options.delay_max = 3600 * kSecond;
      ReconnectingClient client(url, {}, std::move(options));
      std::optional<Error> told;
      TaskGroup group("receiver");
      group.spawn(
          "receive",
          [](ReconnectingClient* from, std::optional<Error>* error) -> Task<void> {
            const auto message = co_await from->receive();
            EXPECT_FALSE(message);
            if (!message) *error = message.error();
          },
          &client, &told);
      const bool refuses = url == refusing;
      while (refuses ? client.failures() == 0 : !client.is_connected()) co_await Yield{};
      EXPECT_FALSE(told);
      co_await client.close();
      co_await group.join();
      EXPECT_EQ(told.value_or(Error{}).code, ErrorCode::closed);
      const auto again = co_await client.receive();
      EXPECT_TRUE(!again && again.error().code == ErrorCode::closed);
    }
    co_await site.network.shutdown();
  });
}

TEST(WsReconnecting, AHookThatFailsIsAFailedAttempt) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    ReconnectOptions options = quick();
    options.failures_max = 3;
    options.on_connected = [](ws::Client&) -> Task<Result<void>> {
      co_return runtime::fail(ErrorCode::limit_exceeded, 7);
    };
    ReconnectingClient client(url_of(site.address), {}, std::move(options));
    const auto message = co_await client.receive();
    EXPECT_TRUE(!message && message.error() == (Error{ErrorCode::limit_exceeded, 7}));
    EXPECT_EQ(client.connections(), 3u);
    co_await site.witness.until_ends(3);
  });
}

TEST(WsReconnecting, OnlyWhatWillNotChangeIsFinal) {
  for (const std::int32_t transient : {0, 101, 408, 425, 429, 500, 503, 1000, 1001, 1002, 1003,
                                       1004, 1006, 1008, 1012, 1013, 4001}) {
    EXPECT_FALSE(ws::is_final({ErrorCode::closed, transient})) << transient;
  }
  for (const std::int32_t final : {400, 401, 404, 410}) {
    EXPECT_TRUE(ws::is_final({ErrorCode::closed, final})) << final;
  }
  const auto detail = [](net::http::ClientFault fault) { return static_cast<std::int32_t>(fault); };
  using net::http::ClientFault;
  EXPECT_TRUE(ws::is_final({ErrorCode::invalid_argument, detail(ClientFault::bad_url)}));
  EXPECT_TRUE(ws::is_final({ErrorCode::invalid_argument, 0}));
  EXPECT_TRUE(ws::is_final({ErrorCode::unsupported, detail(ClientFault::no_tls)}));
  EXPECT_FALSE(ws::is_final({ErrorCode::unsupported, 0}));
  EXPECT_FALSE(ws::is_final({ErrorCode::limit_exceeded, detail(ClientFault::bad_url)}));
}

TEST(WsReconnecting, AnAttemptThatIsCancelledIsFollowedByADelay) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    FakeServer server;
    int asked = 0;
    server.answer = [&](const std::string&) {
      ++asked;
      server.request.clear();
      return "";
    };
    ReconnectOptions options;
    options.delay_min = options.delay_max = 3600 * kSecond;
    ReconnectingClient client(url_of(server.listen(site.network)), {}, std::move(options));
    for (int call = 0; call < 10; ++call) {
      const auto message = co_await with_timeout(20 * kMillisecond, client.receive());
      EXPECT_TRUE(!message && message.error().code == ErrorCode::timed_out);
    }
    EXPECT_LE(asked, 1);
    EXPECT_EQ(client.failures(), 0u);
    co_await client.close();
    co_await site.network.shutdown();
  });
}

}  // namespace
}  // namespace corelane
