// Goal: a handshake over a stream ends in exactly one of two ways, a connection or an HTTP answer,
// on both sides, and bytes that come early are neither lost nor answered too early. Method: raw
// clients against a server, and a client of ours against answers of every kind, over both rings.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "runtime/await.hpp"
#include "runtime/task_group.hpp"
#include "tests/unit/ws/ws_site.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::answers_in;
using tests::close_frame;
using tests::FakeServer;
using tests::HttpClient;
using tests::run_ws_site;
using tests::ws_handshake;
using tests::WsClient;
using tests::WsSite;
using tests::WsSiteOptions;
using tests::wire::frame;

WsSiteOptions tiny_site() {
  WsSiteOptions options;
  options.network = tests::tiny_network();
  return options;
}

// --- Server

Task<void> expect_early_frames_served(WsSite& site) {
  WsClient client;
  std::string behind = frame({.opcode = 9, .payload = "early"}) +
                       frame({.opcode = 1, .payload = "first"}) +
                       frame({.opcode = 2, .payload = "second"});
  co_await client.open(site, "", std::move(behind));
  co_await client.until_frames(3);
  const std::vector<tests::WireFrame> expected{{.opcode = 10, .payload = "early"},
                                               {.opcode = 1, .payload = "first"},
                                               {.opcode = 2, .payload = "second"}};
  EXPECT_EQ(client.frames, expected);
  client.abort();
  co_await client.until_closed();
}

TEST(WsUpgrade, FramesBehindTheHandshakeAreAnsweredBehindThe101) {
  run_ws_site({}, expect_early_frames_served);
}

TEST(WsUpgrade, FramesBehindAHandshakeThatIsCutEverywhereAreServed) {
  run_ws_site(tiny_site(), expect_early_frames_served);
}

TEST(WsUpgrade, TheAnswerStaysBehindThoseOfEarlierRequests) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    WsClient client;
    co_await client.connect(site.network, site.address);
    client.send_at_once("GET /static HTTP/1.1\r\nHost: a\r\n\r\n" + ws_handshake() +
                        frame({.opcode = 9, .payload = "p"}));
    co_await client.until([&client] { return client.received.ends_with("\x8A\x01p"); });
    EXPECT_TRUE(client.received.starts_with("HTTP/1.1 200 "));
    EXPECT_NE(client.received.find("\r\n\r\nfixedHTTP/1.1 101 "), std::string::npos);
    client.abort();
    co_await client.until_closed();
  });
}

TEST(WsUpgrade, AHandlerMayRefuseInOnOpenAndTheClientSeesThe101First) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    site.witness.when_open = [](ws::Connection& connection) {
      connection.close_now(ws::CloseCode::try_again_later, "later");
    };
    WsClient client;
    std::string behind = frame({.opcode = 1, .payload = "not delivered"});
    co_await client.open(site, "", std::move(behind));
    co_await client.until_frames(1);
    EXPECT_EQ(client.frames.at(0), close_frame(1013, "later"));
    co_await client.until_closed();
    co_await site.witness.until_ends(1);
    EXPECT_EQ(site.witness.messages, 0u);
  });
}

TEST(WsUpgrade, AHandlerMayTalkFirst) {
  run_ws_site(tiny_site(), [](WsSite& site) -> Task<void> {
    site.witness.when_open = [](ws::Connection& connection) {
      EXPECT_TRUE(connection.send(ws::MessageKind::text, tests::wire::as_bytes("hello")));
    };
    WsClient client;
    co_await client.open(site);
    co_await client.until_frames(1);
    EXPECT_EQ(client.frames.at(0), (tests::WireFrame{.opcode = 1, .payload = "hello"}));
    client.abort();
    co_await client.until_closed();
  });
}

struct Refusal {
  int status;
  std::string request;
};

std::string without(std::string text, std::string_view line) {
  text.erase(text.find(line), line.size());
  return text;
}
std::string replaced(std::string text, std::string_view from, std::string_view to) {
  return text.replace(text.find(from), from.size(), to);
}

std::vector<Refusal> refusals() {
  const std::string good = ws_handshake();
  return {
      {400, replaced(good, "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ=")},
      {400, without(good, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")},
      {400, without(good, "Connection: Upgrade\r\n")},
      {400, without(good, "Sec-WebSocket-Version: 13\r\n")},
      {400, ws_handshake("Content-Length: 3\r\n") + "abc"},
      {400, ws_handshake("Sec-WebSocket-Extensions: ;\r\n")},
      {400, ws_handshake("Sec-WebSocket-Protocol: a, a\r\n")},
      {403, ws_handshake("Origin: https://evil.example\r\n")},
      {403, ws_handshake("Origin: null\r\n")},
      {403, ws_handshake("Origin: http://a\r\nOrigin: http://a\r\n")},
      {405, replaced(good, "GET", "POST")},
      {426, replaced(good, "Version: 13", "Version: 8")},
      {426, "GET /ws HTTP/1.1\r\nHost: a\r\n\r\n"},
  };
}

Task<void> expect_refusals(WsSite& site) {
  for (const Refusal& refusal : refusals()) {
    SCOPED_TRACE(refusal.request);
    HttpClient client;
    co_await client.connect(site.network, site.address);
    client.send(refusal.request + frame({.opcode = 1, .payload = "not a frame here"}) +
                "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    co_await client.until_end();
    EXPECT_TRUE(client.ended) << describe(client.why);
    co_await client.until_closed();
    const auto answers = answers_in(client.received);
    EXPECT_EQ(answers.size(), 2u) << client.received;
    if (answers.size() != 2) continue;
    EXPECT_EQ(answers[0].status, refusal.status);
    EXPECT_TRUE(answers[0].keep_alive);
    // A frame is no request: its first byte ends the connection, whatever lies behind it.
    EXPECT_EQ(answers[1].status, 400);
    EXPECT_FALSE(answers[1].keep_alive);
    if (refusal.status == 426) {
      EXPECT_EQ(answers[0].version_of_websocket, "13");
    }
    if (refusal.status == 405) {
      EXPECT_EQ(answers[0].allow, "GET");
    }
  }
  EXPECT_EQ(site.witness.opened, 0u);
}

TEST(WsUpgrade, ARefusalHasItsStatusAndFramesBehindItAreNeverParsed) {
  run_ws_site({}, expect_refusals);
}

TEST(WsUpgrade, ARefusalIsTheSameWhenTheRequestIsCutEverywhere) {
  run_ws_site(tiny_site(), expect_refusals);
}

TEST(WsUpgrade, AfterARefusalTheNextHandshakeOnTheConnectionIsTaken) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    for (const Refusal& refusal : refusals()) {
      WsClient client;
      co_await client.connect(site.network, site.address);
      client.send(refusal.request + ws_handshake());
      co_await client.until_contains("HTTP/1.1 101 ");
      EXPECT_TRUE(client.received.starts_with("HTTP/1.1 " + std::to_string(refusal.status)));
      client.abort();
      co_await client.until_closed();
    }
  });
}

TEST(WsUpgrade, PlainRequestsStayWithTheRoutes) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    HttpClient client;
    co_await client.connect(site.network, site.address);
    client.send("GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    co_await client.until_closed();
    EXPECT_EQ(answers_in(client.received).at(0).body, "hello");
  });
}

// --- Client

TEST(WsConnect, AClientOfOursIsServed) {
  run_ws_site(tiny_site(), [](WsSite& site) -> Task<void> {
    tests::Witness witness;
    ws::Endpoint clients(site.network, {}, tests::Witness::kHandler, &witness);
    std::string got;
    int context = 0;
    witness.when_open = [&context](ws::Connection& connection) {
      EXPECT_EQ(connection.context(), &context);
      EXPECT_TRUE(connection.send(ws::MessageKind::text, tests::wire::as_bytes("over and back")));
    };
    witness.when_message = [&got](ws::Connection& connection, ws::Message& message) {
      got = message.text();
      connection.close(ws::CloseCode::normal, "done");
    };
    const auto id = co_await clients.connect(site.address, "a", "/chat?x=1", &context);
    EXPECT_TRUE(id) << describe(id.error());
    if (!id) co_return;
    EXPECT_NE(clients.find(*id), nullptr);
    co_await witness.until_ends(1);
    co_await site.witness.until_ends(1);
    EXPECT_EQ(got, "over and back");
    EXPECT_EQ(witness.ends.at(0).code, ws::CloseCode::normal);
    EXPECT_EQ(site.witness.ends.at(0), (tests::Witness::End{ws::CloseCode::normal, "done"}));
    while (clients.connection_count() > 0) co_await Yield{};
    EXPECT_EQ(clients.find(*id), nullptr);
  });
}

// Connects to `server`; returns the error, which must be one.
Task<Error> failure_of(WsSite& site, FakeServer& server) {
  tests::Witness witness;
  ws::Endpoint clients(site.network, {}, tests::Witness::kHandler, &witness);
  const auto id = co_await clients.connect(server.listen(site.network), "a", "/", nullptr);
  EXPECT_FALSE(id);
  EXPECT_EQ(witness.opened, 0u);
  EXPECT_EQ(clients.connection_count(), 0u);
  co_return id ? Error{} : id.error();
}

TEST(WsConnect, AnAddressWithoutAListenerIsAnErrno) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    tests::Witness witness;
    ws::Endpoint clients(site.network, {}, tests::Witness::kHandler, &witness);
    // Port 1 on loopback: nobody listens there.
    const auto id = co_await clients.connect(*Address::parse("127.0.0.1:1"), "a", "/", nullptr);
    EXPECT_FALSE(id);
    EXPECT_EQ(id.error(), Error::from_errno(ECONNREFUSED));
  });
}

struct BadAnswer {
  const char* name;
  Error error;
  std::function<std::string(const std::string&)> answer;
  bool ends = false;
};

TEST(WsConnect, AnAnswerThatIsNotAWebSocketsIsAnError) {
  const std::vector<BadAnswer> cases{
      {"404",
       {ErrorCode::closed, 404},
       [](const std::string&) { return "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"; }},
      {"wrong key",
       {ErrorCode::closed, 101},
       [](const std::string& request) {
         return replaced(FakeServer::accepting(request), "Accept: ", "Accept: A");
       }},
      {"another's key",
       {ErrorCode::closed, 101},
       [](const std::string&) {
         return FakeServer::accepting("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n");
       }},
      {"no Upgrade",
       {ErrorCode::closed, 101},
       [](const std::string& request) {
         return without(FakeServer::accepting(request), "Upgrade: websocket\r\n");
       }},
      {"a subprotocol that was not offered",
       {ErrorCode::closed, 101},
       [](const std::string& request) {
         return FakeServer::accepting(request, "Sec-WebSocket-Protocol: x\r\n");
       }},
      {"an extension that was not offered",
       {ErrorCode::closed, 101},
       [](const std::string& request) {
         return FakeServer::accepting(request, "Sec-WebSocket-Extensions: permessage-deflate\r\n");
       }},
      {"no HTTP", {ErrorCode::closed, 0}, [](const std::string&) { return "SSH-2.0-x\r\n\r\n"; }},
      {"an early end",
       {ErrorCode::closed, 0},
       [](const std::string&) { return "HTTP/1.1 101"; },
       true},
  };
  for (const BadAnswer& bad : cases) {
    SCOPED_TRACE(bad.name);
    run_ws_site({}, [&bad](WsSite& site) -> Task<void> {
      FakeServer server{.answer = bad.answer, .ends = bad.ends, .request = {}};
      const Error error = co_await failure_of(site, server);
      EXPECT_EQ(error, bad.error) << describe(error);
      co_await site.network.shutdown();
    });
  }
}

TEST(WsConnect, FramesBehindThe101AreDelivered) {
  for (const bool tiny : {false, true}) {
    run_ws_site(tiny ? tiny_site() : WsSiteOptions{}, [](WsSite& site) -> Task<void> {
      FakeServer server;
      server.answer = [](const std::string& request) {
        return FakeServer::accepting(request) +
               frame({.opcode = 1, .payload = "at once"}, ws::Role::client) +
               frame({.opcode = 8, .payload = tests::wire::close_payload(1001)}, ws::Role::client);
      };
      tests::Witness witness;
      std::string got;
      witness.when_message = [&got](ws::Connection&, ws::Message& message) {
        got = message.text();
      };
      ws::Endpoint clients(site.network, {}, tests::Witness::kHandler, &witness);
      const auto id = co_await clients.connect(server.listen(site.network), "a", "/", nullptr);
      EXPECT_TRUE(id) << describe(id.error());
      co_await witness.until_ends(1);
      EXPECT_EQ(got, "at once");
      EXPECT_EQ(witness.ends.at(0).code, ws::CloseCode::going_away);
      co_await site.network.shutdown();
    });
  }
}

struct Attempt {
  Error error{};
  bool done = false;
};

TEST(WsConnect, CanBeCancelledWhileTheServerSaysNothing) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    FakeServer server;
    server.answer = [](const std::string&) { return ""; };
    const Address address = server.listen(site.network);
    tests::Witness witness;
    ws::Endpoint clients(site.network, {}, tests::Witness::kHandler, &witness);
    Attempt attempt;
    TaskGroup group("attempts");
    group.spawn(
        "attempt",
        [](ws::Endpoint* endpoint, Address to, Attempt* result) -> Task<void> {
          const auto id = co_await endpoint->connect(to, "a", "/", nullptr);
          EXPECT_FALSE(id);
          result->error = id ? Error{} : id.error();
          result->done = true;
        },
        &clients, address, &attempt);
    while (!server.request.ends_with("\r\n\r\n")) co_await Yield{};
    EXPECT_FALSE(attempt.done);
    group.cancel();
    co_await group.join();
    EXPECT_EQ(attempt.error.code, ErrorCode::cancelled) << describe(attempt.error);
    EXPECT_EQ(witness.opened, 0u);
    co_await site.network.shutdown();
  });
}

TEST(WsConnect, CanBeCancelledBeforeItsStreamIsThere) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    tests::Witness witness;
    ws::Endpoint clients(site.network, {}, tests::Witness::kHandler, &witness);
    Attempt attempt;
    TaskGroup group("attempts");
    group.spawn(
        "attempt",
        [](ws::Endpoint* endpoint, Address to, Attempt* result) -> Task<void> {
          const auto id = co_await endpoint->connect(to, "a", "/", nullptr);
          result->error = id ? Error{} : id.error();
          result->done = true;
        },
        &clients, site.address, &attempt);
    group.cancel();
    co_await group.join();
    EXPECT_EQ(attempt.error.code, ErrorCode::cancelled) << describe(attempt.error);
    co_await site.network.shutdown();
  });
}

}  // namespace
}  // namespace corelane
