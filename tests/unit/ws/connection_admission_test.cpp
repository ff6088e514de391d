// Goal: a path and a subprotocol choose an endpoint; its handler sees the handshake, may refuse it
// with an HTTP answer, and may take its time: what the client sends behind its handshake is neither
// lost nor read early, and a wait ends when it is of no more use. Method: raw clients against a
// site with several endpoints, over both rings.
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "tests/unit/ws/admission_site.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::AdmissionSite;
using tests::AdmissionSiteOptions;
using tests::answers_in;
using tests::close_frame;
using tests::handshake_at;
using tests::HttpAnswer;
using tests::run_admission_site;
using tests::WireFrame;
using tests::WsClient;
using tests::wire::frame;

constexpr std::string_view kPlainGet = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";

// What one connection is told, as the status of an answer or the first message behind a 101.
Task<std::string> outcome_of(AdmissionSite& site, std::string handshake) {
  WsClient client;
  co_await client.connect(site.network, site.address);
  client.send(handshake);
  co_await client.until([&client] {
    return client.head_of().starts_with("HTTP/1.1 101 ")
               ? !client.parse().empty()
               : !answers_in(client.received).empty() && answers_in(client.received)[0].status;
  });
  std::string outcome;
  if (client.head_of().starts_with("HTTP/1.1 101 ")) {
    outcome = client.frames.at(0).payload;
  } else {
    const HttpAnswer answer = answers_in(client.received).at(0);
    outcome = std::to_string(answer.status) + " " + answer.body;
  }
  client.abort();
  co_await client.until_closed();
  co_return outcome;
}

TEST(Admission, ARefusalWithAFieldThatTheServerWritesItselfIsAnError) {
  using net::http::Status;
  const auto refuse = [](Status status, std::string_view name) {
    (void)ws::Admission::refuse(status, "", {{.name = name, .value = "1"}});
  };
  for (const char* name :
       {"Content-Length", "content-type", "Connection", "TRANSFER-ENCODING", "Date"}) {
    EXPECT_THROW(refuse(Status::forbidden, name), std::invalid_argument) << name;
  }
  EXPECT_THROW(refuse(Status::service_unavailable, "Retry-After"), std::invalid_argument);
  EXPECT_NO_THROW(refuse(Status::too_many_requests, "Retry-After"));
  EXPECT_NO_THROW(refuse(Status::unauthorized, "WWW-Authenticate"));
}

TEST(WsEndpoints, ThePathChoosesTheEndpointAndTheHandshakeIsSeen) {
  run_admission_site({}, [](AdmissionSite& site) -> Task<void> {
    struct Case {
      std::string target;
      std::string outcome;
    };
    const std::vector<Case> cases{
        {"/plain", "plain /plain? x=1 room= sub="},
        {"/plain?a=b&c", "plain /plain?a=b&c x=1 room= sub="},
        {"/plain/", "plain /plain/? x=1 room= sub="},
        {"/plain/be/low", "plain /plain/be/low? x=1 room= sub="},
        {"/rooms/7", "deciding /rooms/7? x=1 room=7 sub= admitted by deciding"},
        {"/rooms/a%20b", "deciding /rooms/a%20b? x=1 room=a b sub= admitted by deciding"},
        {"/rooms/7?later=now", "deciding /rooms/7?later=now x=1 room=7 sub= admitted by deciding"},
        {"/rooms/7?later=turn",
         "deciding /rooms/7?later=turn x=1 room=7 sub= admitted by deciding"},
        {"/later", "waiting /later? x=1 room= sub= admitted by waiting"},
        {"/", "404 404 Not Found\n"},
        {"/hello", "404 404 Not Found\n"},
        {"/plain2", "404 404 Not Found\n"},
        {"/PLAIN", "404 404 Not Found\n"},
        {"/rooms", "404 404 Not Found\n"},
        {"/rooms/", "404 404 Not Found\n"},
        {"/rooms/7/8", "404 404 Not Found\n"},
        {"/plain/../later", "400 malformed path\n"},
    };
    for (const Case& each : cases) {
      const std::string outcome = co_await outcome_of(site, handshake_at(each.target, "X: 1\r\n"));
      EXPECT_EQ(outcome, each.outcome) << each.target;
    }
  });
}

TEST(WsEndpoints, TheSubprotocolChoosesAmongThoseOfAPath) {
  run_admission_site({}, [](AdmissionSite& site) -> Task<void> {
    struct Case {
      std::string offered;
      std::string outcome;
    };
    const std::string none =
        "400 Sec-WebSocket-Protocol offers none of the subprotocols spoken here\n";
    const std::vector<Case> cases{
        {"text.v1", "text /typed? x= room= sub=text.v1"},
        {"bin.v1", "binary /typed? x= room= sub=bin.v1"},
        {"bin.v1, bin.v2", "binary /typed? x= room= sub=bin.v2"},
        {"bin.v2, text.v1", "text /typed? x= room= sub=text.v1"},
        {"soap", none},
        {"TEXT.V1", none},
        {"", none},
        {"text.v1, text.v1", "400 Sec-WebSocket-Protocol is malformed\n"},
    };
    for (const Case& each : cases) {
      const std::string fields = "Sec-WebSocket-Protocol: " + each.offered + "\r\n";
      const std::string outcome = co_await outcome_of(site, handshake_at("/typed", fields));
      EXPECT_EQ(outcome, each.outcome) << each.offered;
    }
    const std::string outcome = co_await outcome_of(site, handshake_at("/typed"));
    EXPECT_EQ(outcome, none);
    const std::vector<Case> of_mixed{
        {"text.v1", "text /mixed? x= room= sub=text.v1"},
        {"soap", "plain /mixed? x= room= sub="},
        {"", "plain /mixed? x= room= sub="},
    };
    for (const Case& each : of_mixed) {
      const std::string fields = "Sec-WebSocket-Protocol: " + each.offered + "\r\n";
      const std::string mixed = co_await outcome_of(site, handshake_at("/mixed", fields));
      EXPECT_EQ(mixed, each.outcome) << each.offered;
    }
  });
}

TEST(WsEndpoints, PlainHttpOnTheirPathsAndOtherUpgradesGoToTheRoutes) {
  run_admission_site({}, [](AdmissionSite& site) -> Task<void> {
    WsClient client;
    co_await client.connect(site.network, site.address);
    client.send("GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
    client.send("GET /hello HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n");
    client.send("GET /no HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n");
    client.send("GET /a/../b HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n");
    std::string post = handshake_at("/plain");
    client.send(post.replace(0, 3, "PUT"));
    co_await client.until([&client] {
      const auto so_far = answers_in(client.received);
      return so_far.size() >= 5 && so_far.back().status != 0;
    });
    const auto answers = answers_in(client.received);
    EXPECT_EQ(answers.at(0).status, 404);
    EXPECT_EQ(answers.at(1).body, "hello");
    EXPECT_EQ(answers.at(2).status, 404);
    EXPECT_EQ(answers.at(3).status, 400);
    EXPECT_EQ(answers.at(4).status, 405);
    EXPECT_EQ(answers.at(4).allow, "GET");
    client.abort();
    co_await client.until_closed();
  });
}

TEST(WsEndpoints, AnEndpointThatNoHandshakeCouldReachIsRefused) {
  run_admission_site({}, [](AdmissionSite& site) -> Task<void> {
    const auto endpoint = [&site](std::vector<std::string> subprotocols, bool required) {
      ws::EndpointOptions options;
      options.handshake.subprotocols = std::move(subprotocols);
      options.handshake.is_subprotocol_required = required;
      return std::make_unique<ws::Endpoint>(site.network, options, tests::Clerk::kPlain, nullptr);
    };
    const auto any = endpoint({}, false);
    const auto prefers = endpoint({"a"}, false);
    const auto a = endpoint({"a", "b"}, true);
    const auto c = endpoint({"c"}, true);
    ws::EndpointRoutes routes;
    routes.add("/x", *a);
    EXPECT_THROW(routes.add("/x", *prefers), std::invalid_argument);
    EXPECT_THROW(routes.add("/x", *a), std::invalid_argument);
    routes.add("/x", *c);
    routes.add("/x", *any);
    EXPECT_THROW(routes.add("/x", *endpoint({}, false)), std::invalid_argument);
    EXPECT_THROW(routes.add("no-slash", *any), std::invalid_argument);
    routes.add("/:name/y", *any);
    EXPECT_THROW(routes.add("/:other/y", *c), std::invalid_argument) << "the same paths";
    co_return;
  });
}

TEST(WsEndpoints, AMessageOfTheOtherKindIs1003) {
  run_admission_site({}, [](AdmissionSite& site) -> Task<void> {
    for (const bool is_text : {true, false}) {
      WsClient client;
      co_await client.connect(site.network, site.address);
      const unsigned taken = is_text ? 1 : 2;
      client.send(handshake_at("/typed", is_text ? "Sec-WebSocket-Protocol: text.v1\r\n"
                                                 : "Sec-WebSocket-Protocol: bin.v1\r\n"));
      client.send(frame({.opcode = taken, .payload = "taken"}));
      client.send(frame({.opcode = 3 - taken, .payload = "other"}));
      client.send(frame({.opcode = taken, .payload = "too late"}));
      co_await client.until_closed();
      EXPECT_EQ(client.parse().size(), 3u);
      EXPECT_EQ(client.frames.at(1), (WireFrame{.opcode = taken, .payload = "taken"}));
      EXPECT_EQ(client.frames.at(2),
                close_frame(1003, is_text ? "the protocol is text" : "the protocol is binary"));
    }
  });
}

// --- Refusing

TEST(WsAdmission, ARefusalIsAnHttpAnswerAndTheConnectionGoesOn) {
  run_admission_site({}, [](AdmissionSite& site) -> Task<void> {
    for (const std::string_view target :
         {"/rooms/7?do=refuse", "/rooms/7?do=refuse&later=now", "/later?do=refuse&later=turn"}) {
      WsClient client;
      co_await client.connect(site.network, site.address);
      client.send(handshake_at(target));
      client.send(kPlainGet);
      client.send(handshake_at("/plain"));
      co_await client.until_contains("plain /plain?");
      const auto answers = answers_in(client.received);
      EXPECT_EQ(answers.at(0).status, 401) << target;
      EXPECT_TRUE(answers.at(0).keep_alive) << target;
      EXPECT_EQ(answers.at(0).body, "no token\n") << target;
      EXPECT_NE(client.received.find("\r\nWWW-Authenticate: Bearer\r\n"), std::string::npos);
      EXPECT_NE(client.received.find("\r\nDate: "), std::string::npos);
      EXPECT_EQ(answers.at(1).body, "hello") << target;
      client.abort();
      co_await client.until_closed();
    }
    EXPECT_EQ(site.server.counters().errors, 3u);
    EXPECT_EQ(site.server.counters().upgrades, 3u);
  });
}

TEST(WsAdmission, AHandlerThatThrowsIs500) {
  run_admission_site({}, [](AdmissionSite& site) -> Task<void> {
    for (const std::string_view query : {"do=throw", "do=throw&later=now", "do=throw&later=turn",
                                         "do=inject", "do=inject&later=turn"}) {
      const std::string target = "/rooms/7?" + std::string{query};
      const std::string outcome = co_await outcome_of(site, handshake_at(target));
      EXPECT_EQ(outcome, "500 the handler has failed\n") << query;
    }
  });
}

TEST(WsAdmission, TheAddressOfThePeerCanBeAskedFor) {
  run_admission_site({}, [](AdmissionSite& site) -> Task<void> {
    const std::string outcome = co_await outcome_of(site, handshake_at("/later?do=address"));
    // A kernel before 6.7 cannot say it of a direct descriptor.
    EXPECT_TRUE(outcome.starts_with("403 127.0.0.1:") || outcome == "403 nobody\n") << outcome;
  });
}

// --- Waiting

TEST(WsAdmission, WhatIsSentBehindAHandshakeThatWaitsComesBehindThe101) {
  run_admission_site({}, [](AdmissionSite& site) -> Task<void> {
    WsClient client;
    co_await client.connect(site.network, site.address);
    std::string expected;
    std::string behind;
    for (int i = 0; i < 40; ++i) {
      behind += frame({.opcode = 1, .payload = "message " + std::to_string(i)});
    }
    client.send(handshake_at("/later?later=gate") + behind);
    co_await site.waiting.until([&site] { return site.waiting.waiting == 1; });
    EXPECT_EQ(client.received, "");
    EXPECT_EQ(site.server.waiting_count(), 1u);
    EXPECT_EQ(site.server.connection_count(), 1u);
    site.waiting.release();
    co_await client.until_frames(41);
    EXPECT_TRUE(client.head_of().starts_with("HTTP/1.1 101 "));
    for (int i = 0; i < 40; ++i) {
      EXPECT_EQ(client.frames.at(static_cast<std::size_t>(i) + 1),
                (WireFrame{.opcode = 1, .payload = "message " + std::to_string(i)}));
    }
    EXPECT_EQ(site.server.connection_count(), 0u) << "it has left HTTP";
    EXPECT_EQ(site.server.waiting_count(), 0u);
    client.send(frame({.opcode = 1, .payload = "later on"}));
    co_await client.until_frames(42);
    EXPECT_EQ(client.frames.at(41).payload, "later on");
    client.abort();
    co_await client.until_closed();
  });
}

TEST(WsAdmission, AClientThatGoesAwayEndsTheWait) {
  run_admission_site({}, [](AdmissionSite& site) -> Task<void> {
    for (const bool half : {false, true}) {
      WsClient client;
      co_await client.connect(site.network, site.address);
      client.send(handshake_at("/later?later=gate"));
      co_await site.waiting.until([&site] { return site.waiting.waiting == 1; });
      const std::uint64_t before = site.waiting.cancelled;
      if (half) {
        co_await client.half_close();
      } else {
        client.abort();
      }
      co_await site.waiting.until([&site] { return site.waiting.waiting == 0; });
      EXPECT_EQ(site.waiting.cancelled, before + 1) << "half closed: " << half;
      co_await client.until_closed();
      EXPECT_EQ(client.received, "") << "half closed: " << half;
    }
    EXPECT_EQ(site.waiting.opened, 0u);
  });
}

TEST(WsAdmission, AWaitThatIsTooLongIs504) {
  AdmissionSiteOptions options;
  options.admit_deadline = 20 * kMillisecond;
  run_admission_site(options, [](AdmissionSite& site) -> Task<void> {
    const Nanoseconds begun = Core::current().now();
    const std::string outcome = co_await outcome_of(site, handshake_at("/later?later=gate"));
    EXPECT_LT(Core::current().now() - begun, 10 * kSecond) << "that of HTTP handlers is 30 s";
    EXPECT_EQ(outcome, "504 the answer has not come in time\n");
    EXPECT_EQ(site.waiting.cancelled, 1u);
    // The connection's next one has a time of its own.
    const std::string next = co_await outcome_of(site, handshake_at("/later"));
    EXPECT_EQ(next, "waiting /later? x= room= sub= admitted by waiting");
  });
}

TEST(WsAdmission, ADrainEndsTheWait) {
  run_admission_site({}, [](AdmissionSite& site) -> Task<void> {
    WsClient client;
    co_await client.connect(site.network, site.address);
    client.send(handshake_at("/later?later=gate"));
    co_await site.waiting.until([&site] { return site.waiting.waiting == 1; });
    site.server.drain();
    co_await client.until_closed();
    const auto answers = answers_in(client.received);
    EXPECT_EQ(answers.size(), 1u);
    EXPECT_EQ(answers.at(0).status, 503);
    EXPECT_EQ(answers.at(0).body, "the server is going away\n");
    EXPECT_FALSE(answers.at(0).keep_alive);
    co_await site.waiting.until([&site] { return site.waiting.waiting == 0; });
    EXPECT_EQ(site.waiting.cancelled, 1u);
  });
}

TEST(WsAdmission, NoMoreWaitThanMayAndTheOthersAreToldAtOnce) {
  AdmissionSiteOptions options;
  options.server.handlers_max = 1;
  run_admission_site(options, [](AdmissionSite& site) -> Task<void> {
    WsClient first;
    co_await first.connect(site.network, site.address);
    first.send(handshake_at("/later?later=gate"));
    co_await site.waiting.until([&site] { return site.waiting.waiting == 1; });
    const std::string second = co_await outcome_of(site, handshake_at("/later"));
    EXPECT_EQ(second, "503 too many requests are being served\n");
    const std::string at_once = co_await outcome_of(site, handshake_at("/rooms/1"));
    EXPECT_EQ(at_once, "deciding /rooms/1? x= room=1 sub= admitted by deciding");
    site.waiting.release();
    co_await first.until_frames(1);
    first.abort();
    co_await first.until_closed();
  });
}

}  // namespace
}  // namespace corelane
