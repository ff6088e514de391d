// Goal: an upgrade hands the stream over whole, with every byte behind the head, or gets exactly
// one refusal and stays in HTTP. Method: raw clients against a server with an upgrade function, the
// head cut anywhere.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "net/http/server.hpp"
#include "net/network.hpp"
#include "runtime/await.hpp"
#include "tests/support/http_site.hpp"

namespace corelane {
namespace {

using namespace net::http;
using namespace runtime;
using namespace tests;

const std::string kHidden = get("/users/hidden");
constexpr Nanoseconds kShort = 30 * kSecond;

// The answers to `text`, which ends the connection.
std::vector<HttpAnswer> answers_to(const std::string& text, const SiteOptions& options) {
  return answers_in(exchange_at(options, text).received);
}

// Takes connections whose Upgrade is "echo", refuses "bad", leaves the rest.
struct EchoUpgrade {
  std::string received;
  std::vector<std::size_t> pieces;
  bool closed = false;

  static UpgradeOutcome upgrade(void* context, net::Stream& stream,
                                const Request& request) noexcept {
    const std::string_view wanted = request.single("upgrade");
    if (wanted == "bad") {
      return {.kind = UpgradeOutcome::Kind::rejected,
              .status = Status::forbidden,
              .reason = "not you",
              .extra_fields = "Allow: ECHO\r\n"};
    }
    if (wanted == "old") {
      return {.kind = UpgradeOutcome::Kind::rejected,
              .status = Status::upgrade_required,
              .extra_fields = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"};
    }
    if (wanted != "echo") return {};
    EXPECT_TRUE(stream.send_static(std::as_bytes(std::span{kSwitching})));
    stream.set_handler(kHandler, context);
    return {.kind = UpgradeOutcome::Kind::taken};
  }
  static void on_data(net::Stream& stream, const net::Received& got) noexcept {
    auto& self = *static_cast<EchoUpgrade*>(stream.owner());
    self.received.append(reinterpret_cast<const char*>(got.bytes.data()), got.bytes.size());
    self.pieces.push_back(got.bytes.size());
    EXPECT_TRUE(stream.send_in_place(got, got.bytes));
  }
  static void on_end(net::Stream& stream) noexcept { stream.close(0); }
  static void on_closed(net::Stream& stream, Error) noexcept {
    static_cast<EchoUpgrade*>(stream.owner())->closed = true;
  }
  static void on_timer(net::Stream&) noexcept { ADD_FAILURE() << "the server's timer is off"; }
  static constexpr net::StreamHandler kHandler{"echo upgrade", on_data,  on_end,
                                               on_closed,      on_timer, nullptr};
  static constexpr std::string_view kSwitching = "HTTP/1.1 101 Switching Protocols\r\n\r\n";
};

SiteOptions with_upgrade(EchoUpgrade& upgrade) {
  SiteOptions options;
  options.server.upgrade = EchoUpgrade::upgrade;
  options.server.upgrade_context = &upgrade;
  options.server.header_deadline = kShort;
  return options;
}

// Sends `before` and an upgrade with bytes behind it, the first `cut` bytes alone.
Task<void> be_taken(HttpSite& site, EchoUpgrade& upgrade, const std::string& before,
                    const std::size_t& cut) {
  const std::string behind = "bytes of the other protocol";
  const std::string all = before + get("/x", "Upgrade: echo\r\nConnection: upgrade\r\n") + behind;
  HttpClient client;
  co_await client.connect(site.network, site.address);
  client.send(std::string_view{all}.substr(0, cut));
  if (cut < all.size()) {
    while (site.network.counters().bytes_received < cut) co_await Yield{};
    client.send(std::string_view{all}.substr(cut));
  }
  co_await client.until_contains(behind);
  EXPECT_EQ(upgrade.received, behind);
  EXPECT_NE(client.received.find(EchoUpgrade::kSwitching), std::string::npos);
  EXPECT_EQ(site.server.connection_count(), 0u) << "freed at the upgrade";
  EXPECT_EQ(site.server.counters().upgrades, 1u);
  client.send("more");
  co_await client.until_contains("more");
  co_await client.half_close();
  co_await client.until_closed();
}

void expect_taken(const SiteOptions& options, EchoUpgrade& upgrade, const std::string& before,
                  std::size_t cut) {
  run_site(options, be_taken, upgrade, before, cut);
  EXPECT_TRUE(upgrade.closed);
}

TEST(HttpServer, AnUpgradeGetsTheBytesBehindTheHeadInTheSameBuffer) {
  EchoUpgrade upgrade;
  SiteOptions options = with_upgrade(upgrade);
  options.network.receive_buffer_bytes = 4096;
  expect_taken(options, upgrade, get("/hello"), SIZE_MAX);
  EXPECT_EQ(upgrade.pieces.front(), 27u);
}

TEST(HttpServer, AnUpgradeGetsTheBytesBehindAHeadThatWasCut) {
  const std::size_t bytes = get("/x", "Upgrade: echo\r\nConnection: upgrade\r\n").size() + 27;
  for (std::size_t cut = 1; cut < bytes; cut += 3) {
    EchoUpgrade upgrade;
    expect_taken(with_upgrade(upgrade), upgrade, "", cut);
  }
}

TEST(HttpServer, AnUpgradeBehindABlockedAnswerWaitsForItAndGetsTheBytesBehindIt) {
  EchoUpgrade upgrade;
  SiteOptions options = with_upgrade(upgrade);
  options.network.receive_buffer_bytes = 8192;
  const auto body = [](HttpSite& site, EchoUpgrade& taken) -> Task<void> {
    HttpClient client;
    co_await client.connect(site.network, site.address);
    client.send(get("/big") + get("/x", "Upgrade: echo\r\n") + "early ");
    co_await client.until_contains("101 Switching");
    EXPECT_GT(client.received.size(), site_routes::kBigBytes);
    client.send("frames");
    co_await client.until_contains("frames");
    EXPECT_EQ(taken.received, "early frames");
    co_await client.half_close();
    co_await client.until_closed();
  };
  run_site(options, body, upgrade);
}

TEST(HttpServer, AnUpgradeThatIsRejectedGetsOneAnswerWithItsFieldsAndTheNextRequestIsServed) {
  EchoUpgrade upgrade;
  const auto answers = answers_to(get("/x", "Upgrade: bad\r\n") + kLast, with_upgrade(upgrade));
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[0].status, 403);
  EXPECT_EQ(answers[0].body, "not you\n");
  EXPECT_EQ(answers[0].allow, "ECHO");
  EXPECT_TRUE(answers[0].keep_alive);
  EXPECT_EQ(answers[1].body, "hello");
}

TEST(HttpServer, AnUpgradeMayFollowOneThatWasRejected) {
  EchoUpgrade upgrade;
  expect_taken(with_upgrade(upgrade), upgrade, get("/x", "Upgrade: bad\r\n"), SIZE_MAX);
}

TEST(HttpServer, AnUpgradeOfAnotherVersionIsToldOursOnce) {
  EchoUpgrade upgrade;
  const auto answers = answers_to(get("/x", "Upgrade: old\r\nConnection: upgrade, close\r\n"),
                                  with_upgrade(upgrade));
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].status, 426);
  EXPECT_EQ(answers[0].version_of_websocket, "13");  // empty if it came twice
}

// HAProxy's `option httpchk`, and clients that ask first.
TEST(HttpServer, WithUpgradesOptionsOfAnyPathIsAnswered) {
  EchoUpgrade upgrade;
  const auto answers = answers_to(
      "OPTIONS /any HTTP/1.1\r\nHost: a\r\n\r\nOPTIONS / HTTP/1.0\r\n\r\n", with_upgrade(upgrade));
  ASSERT_EQ(answers.size(), 2u);
  for (const HttpAnswer& answer : answers) {
    EXPECT_EQ(answer.status, 204);
    EXPECT_EQ(answer.allow, "GET, OPTIONS");
  }
  EXPECT_TRUE(answers[0].keep_alive);
}

// A deferred upgrade whose handler answers in pieces instead.
Task<void> begins_an_answer(void*, const OwnedRequest&, DeferredResponder to) {
  EXPECT_EQ(to.begin(Status::ok, {.content_type = "text/plain"}, 3), Delivery::queued);
  const auto take = [](void*, net::Stream&) noexcept { ADD_FAILURE() << "an answer was begun"; };
  EXPECT_EQ(to.hand_over(take, nullptr), Delivery::gone);
  EXPECT_EQ(to.refuse(Status::forbidden, {}), Delivery::gone);
  const auto written = co_await to.write(std::as_bytes(std::span{"abc", 3}));
  EXPECT_TRUE(written);
  EXPECT_EQ(to.end(), Delivery::queued);
}

TEST(HttpServer, AnUpgradeIsNotHandedOverBehindAnAnswerThatWasBegun) {
  static const RouteHandler kHandler{.coroutine = begins_an_answer};
  static const RouteMatch kMatch;
  SiteOptions options;
  options.server.upgrade = [](void*, net::Stream&, const Request&) -> UpgradeOutcome {
    return {.kind = UpgradeOutcome::Kind::deferred,
            .handler = &kHandler,
            .match = &kMatch,
            .deadline = kShort};
  };
  const auto answers =
      answers_to(get("/x", "Upgrade: echo\r\nConnection: upgrade\r\n") + kLast, options);
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[0].body, "abc");
  EXPECT_EQ(answers[1].body, "hello");
}

TEST(HttpServer, AnUpgradeThatNobodyKnowsIsAnOrdinaryRequest) {
  EchoUpgrade upgrade;
  const auto answers = answers_to(get("/hello", "Upgrade: h2c\r\nConnection: upgrade\r\n") + kLast,
                                  with_upgrade(upgrade));
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[0].status, 200);
}

TEST(HttpServer, AHandshakeWhileDrainingIsRefused) {
  EchoUpgrade upgrade;
  run_site(with_upgrade(upgrade), [](HttpSite& site) -> Task<void> {
    HttpClient client;
    co_await client.connect(site.network, site.address);
    const std::string request = get("/x", "Upgrade: websocket\r\nConnection: upgrade\r\n");
    client.send(request.substr(0, 10));
    while (site.network.counters().bytes_received < 10) co_await Yield{};
    site.server.drain();
    client.send(request.substr(10));
    co_await client.until_closed();
    EXPECT_EQ(answers_in(client.received).at(0).status, 503);
  });
}

}  // namespace
}  // namespace corelane
