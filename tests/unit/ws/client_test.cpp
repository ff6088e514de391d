// Goal: a ws::Client connects, carries messages both ways at the pace of the slower side, loses
// none to a cancel, and ends as it says. Method: our own server, and fake ones for what it would
// not say, over both rings.
#include "ws/client.hpp"

#include <gtest/gtest.h>

#include <cerrno>
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
using tests::WsSiteOptions;
using ws::Client;
using ws::ClientOptions;
using ws::CloseCode;
using ws::MessageKind;

std::string url_of(const Address& address, std::string_view target = "/chat") {
  return "ws://" + address.text() + std::string(target);
}

Task<std::string> next_text(Client& client) {
  auto message = co_await client.receive();
  if (!message) co_return describe(message.error());
  co_return std::string(message->text());
}

TEST(WsClient, MessagesOfBothKindsComeBackInOrder) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    auto client = co_await Client::connect(url_of(site.address));
    EXPECT_TRUE(client) << describe(client.error());
    if (!client) co_return;
    EXPECT_TRUE(client->is_open());
    for (const std::size_t bytes : {0u, 1u, 125u, 126u, 70'000u, 200'000u}) {
      const std::string payload(bytes, 'x');
      const auto text = co_await client->send(payload);
      const auto binary =
          co_await client->send(MessageKind::binary, std::as_bytes(std::span{payload}));
      EXPECT_TRUE(text && binary);
      for (const MessageKind kind : {MessageKind::text, MessageKind::binary}) {
        const auto back = co_await client->receive();
        EXPECT_TRUE(back);
        if (!back) co_return;
        EXPECT_EQ(back->kind(), kind);
        EXPECT_EQ(back->text(), payload);
      }
    }
    const CloseCode code = co_await client->close(CloseCode::normal, "done");
    EXPECT_EQ(code, CloseCode::normal);
    EXPECT_FALSE(client->is_open());
    EXPECT_EQ(site.witness.ends.at(0), (tests::Witness::End{CloseCode::normal, "done"}));
    const auto late = co_await client->send("late");
    EXPECT_TRUE(!late && late.error().code == ErrorCode::closed);
    const auto none = co_await client->receive();
    EXPECT_TRUE(!none && none.error() == (Error{ErrorCode::closed, 1000}));
  });
}

TEST(WsClient, TheHandshakeHasTheFieldsThatWereAskedFor) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    FakeServer server;
    server.answer = [](const std::string& request) {
      return FakeServer::accepting(request, "Sec-WebSocket-Protocol: chat.v1\r\n");
    };
    ClientOptions options;
    options.subprotocols = {"chat.v2", "chat.v1"};
    options.origin = "http://example.org";
    options.fields = {{"Authorization", "Bearer x"}};
    {
      const auto client =
          co_await Client::connect(url_of(server.listen(site.network), "/a?b"), options);
      EXPECT_TRUE(client) << describe(client.error());
      if (!client) co_return;
      EXPECT_EQ(client->subprotocol(), "chat.v1");
      EXPECT_FALSE(client->is_deflated());
    }
    EXPECT_TRUE(server.request.starts_with("GET /a?b HTTP/1.1\r\nHost: 127.0.0.1:"));
    for (const char* line : {"Sec-WebSocket-Protocol: chat.v2, chat.v1\r\n",
                             "Origin: http://example.org\r\n", "Authorization: Bearer x\r\n"}) {
      EXPECT_NE(server.request.find(line), std::string::npos) << line;
    }
    co_await site.network.shutdown();
  });
}

TEST(WsClient, CompressionIsUsedIfBothSidesWantIt) {
  for (const bool wants : {false, true}) {
    WsSiteOptions site_options;
    site_options.endpoint.handshake.deflate.is_enabled = true;
    run_ws_site(site_options, [wants](WsSite& site) -> Task<void> {
      ClientOptions options;
      options.deflate.is_enabled = wants;
      auto client = co_await Client::connect(url_of(site.address), options);
      EXPECT_TRUE(client);
      if (!client) co_return;
      EXPECT_EQ(client->is_deflated(), wants);
      const std::string payload(20'000, 'z');
      for (int round = 0; round < 3; ++round) {
        const auto sent = co_await client->send(payload);
        EXPECT_TRUE(sent);
        EXPECT_EQ(co_await next_text(*client), payload);
      }
      co_await client->close();
    });
  }
}

TEST(WsClient, WhatIsNoWebSocketIsAnErrorWithItsStatus) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    std::vector<std::unique_ptr<FakeServer>> servers;
    for (const auto& [answer, status] :
         {std::pair{"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", 403},
          std::pair{"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                    "Connection: Upgrade\r\nSec-WebSocket-Accept: wrong\r\n\r\n",
                    101},
          std::pair{"220 mail.example.org ESMTP\r\n", 0}}) {
      FakeServer& server = *servers.emplace_back(std::make_unique<FakeServer>());
      const std::string text = answer;
      server.answer = [text](const std::string&) { return text; };
      const auto client = co_await Client::connect(url_of(server.listen(site.network)));
      EXPECT_TRUE(!client && client.error() == (Error{ErrorCode::closed, status})) << answer;
    }
    for (const char* url : {"http://127.0.0.1/", "ws://127.0.0.1/#a", "ws://", "nothing"}) {
      const auto client = co_await Client::connect(url);
      EXPECT_TRUE(!client && net::http::fault_of(client.error()) == net::http::ClientFault::bad_url)
          << url;
    }
    const auto tls = co_await Client::connect("wss://127.0.0.1/");
    EXPECT_TRUE(!tls && tls.error().code == ErrorCode::unsupported);
    const auto nobody = co_await Client::connect("ws://127.0.0.1:1/");
    EXPECT_TRUE(!nobody && nobody.error() == Error::from_errno(ECONNREFUSED));
    co_await site.network.shutdown();
  });
}

TEST(WsClient, FieldsThatWouldSplitTheHandshakeAreRefused) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    for (const auto& [name, value] :
         {std::pair{"X", "a\r\nY: b"}, std::pair{"X Y", "a"}, std::pair{"Host", "b"},
          std::pair{"Sec-WebSocket-Key", "b"}, std::pair{"Connection", "close"}}) {
      ClientOptions options;
      options.fields = {{name, value}};
      const auto client = co_await Client::connect(url_of(site.address), options);
      EXPECT_TRUE(!client && client.error().code == ErrorCode::invalid_argument) << name;
    }
    ClientOptions options;
    options.origin = "http://a\r\nX: y";
    const auto client = co_await Client::connect(url_of(site.address), options);
    EXPECT_TRUE(!client && client.error().code == ErrorCode::invalid_argument);
    EXPECT_EQ(site.witness.opened, 0u);
  });
}

TEST(WsClient, ASilentServerEndsTheConnectAtItsTime) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    FakeServer server;
    server.answer = [](const std::string&) { return ""; };
    ClientOptions options;
    options.connect_timeout = 30 * kMillisecond;
    const auto client = co_await Client::connect(url_of(server.listen(site.network)), options);
    EXPECT_TRUE(!client && client.error().code == ErrorCode::timed_out);
    co_await site.network.shutdown();
  });
}

TEST(WsClient, MessagesBeforeTheServersCloseComeFirst) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    site.witness.when_open = [](ws::Connection& connection) {
      for (const std::string_view text : {"one", "two"}) {
        connection.send(MessageKind::text, std::as_bytes(std::span{text}));
      }
      connection.close(static_cast<CloseCode>(4001), "log in again");
    };
    auto client = co_await Client::connect(url_of(site.address));
    EXPECT_TRUE(client);
    if (!client) co_return;
    EXPECT_EQ(co_await next_text(*client), "one");
    EXPECT_EQ(co_await next_text(*client), "two");
    const auto end = co_await client->receive();
    EXPECT_TRUE(!end && end.error() == (Error{ErrorCode::closed, 4001}));
    EXPECT_EQ(client->close_reason(), "log in again");
    EXPECT_EQ(co_await client->close(), static_cast<CloseCode>(4001));
  });
}

TEST(WsClient, ACancelledReceiveLosesNoMessage) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    auto client = co_await Client::connect(url_of(site.address));
    EXPECT_TRUE(client);
    if (!client) co_return;
    std::size_t received = 0;
    for (int round = 0; round < 30; ++round) {
      const std::string text = std::to_string(round);
      const auto sent = co_await client->send(text);
      EXPECT_TRUE(sent);
      for (;;) {
        const auto message = co_await with_timeout(round * 2 * kMicrosecond, client->receive());
        if (!message) {
          EXPECT_EQ(message.error().code, ErrorCode::timed_out);
          co_await sleep_for(20 * kMicrosecond);
          continue;
        }
        EXPECT_EQ(message->text(), text);
        ++received;
        break;
      }
    }
    EXPECT_EQ(received, 30u);
    co_await client->close();
  });
}

TEST(WsClient, AUserWhoDoesNotReceiveStopsTheServer) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    constexpr int kMessages = 2'000;  // more than the kernel's buffers
    const std::string filler(10'000, 'f');
    ClientOptions options;
    options.received_bytes_max = 50'000;
    auto client = co_await Client::connect(url_of(site.address), options);
    EXPECT_TRUE(client);
    if (!client) co_return;
    while (site.witness.open.empty()) co_await Yield{};
    int sent = 0;
    const auto send_what_fits = [&] {
      while (sent < kMessages && site.connection().stream().writable()) {
        const std::string text = std::to_string(sent++) + filler;
        EXPECT_TRUE(site.connection().send(MessageKind::text, std::as_bytes(std::span{text})));
      }
    };
    // Until nothing more goes for a while: the client has stopped, and all queues are full.
    for (int before = -1; before != sent;) {
      before = sent;
      send_what_fits();
      co_await sleep_for(50 * kMillisecond);
    }
    EXPECT_LT(sent, kMessages);
    for (int received = 0; received < kMessages; ++received) {
      send_what_fits();
      const auto message = co_await client->receive();
      EXPECT_TRUE(message && message->text() == std::to_string(received) + filler);
    }
    co_await client->close();
  });
}

TEST(WsClient, AUserWhoSendsButDoesNotReceiveStopsToo) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    constexpr int kMessages = 600;  // more than the kernel's buffers, there and back
    ClientOptions options;
    options.received_bytes_max = 200'000;
    auto client = co_await Client::connect(url_of(site.address), options);
    EXPECT_TRUE(client);
    if (!client) co_return;
    int sent = 0;
    TaskGroup group("writer");
    group.spawn(
        "write",
        [](Client* to, int* count) -> Task<void> {
          for (; *count < kMessages; ++*count) {
            const auto done = co_await to->send(std::to_string(*count) + std::string(100'000, 'f'));
            EXPECT_TRUE(done);
            if (!done) co_return;
          }
        },
        &*client, &sent);
    const MemoryAccount& memory = Core::current().memory();
    for (int before = -1; before != sent;) {
      before = sent;
      co_await sleep_for(100 * kMillisecond);
      // The client's limit and a message beyond, the server's queue of 1 MiB, and unfinished ones
      // of both ends, in blocks of 128 KiB. Without the limit they are tens of megabytes.
      EXPECT_LE(memory.held(MemoryKind::messages), 2u * 1024 * 1024);
    }
    EXPECT_LT(sent, kMessages);
    for (int received = 0; received < kMessages; ++received) {
      const auto message = co_await client->receive();
      EXPECT_TRUE(message && message->text().starts_with(std::to_string(received) + "f"));
      if (!message) break;
    }
    co_await group.join();
    co_await client->close();
  });
}

TEST(WsClient, AServerThatDoesNotReadForLongEndsTheConnectionAndItsWriters) {
  WsSiteOptions site_options;
  site_options.network.write_stall_timeout = 200 * kMillisecond;
  run_ws_site(site_options, [](WsSite& site) -> Task<void> {
    ClientOptions options;
    options.close_timeout = 3600 * kSecond;
    auto client = co_await Client::connect(url_of(site.address), options);
    EXPECT_TRUE(client);
    if (!client) co_return;
    while (site.witness.open.empty()) co_await Yield{};
    site.connection().stream().pause_receiving();
    const std::string payload(100'000, 'p');
    for (;;) {
      const auto sent = co_await with_timeout(10 * kSecond, client->send(payload));
      if (sent) continue;
      EXPECT_EQ(sent.error().code, ErrorCode::closed);
      break;
    }
    EXPECT_FALSE(client->is_open());
    site.connection().stream().resume_receiving();
    const auto end = co_await with_timeout(10 * kSecond, client->receive());
    EXPECT_TRUE(!end && end.error() == (Error{ErrorCode::closed, 1008}));
  });
}

TEST(WsClient, AWriterWaitsForAServerThatDoesNotRead) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    constexpr std::size_t kMessages = 200;
    site.witness.when_message = [](ws::Connection&, ws::Message& message) {
      EXPECT_EQ(message.payload().size(), 100'000u);
    };
    auto client = co_await Client::connect(url_of(site.address));
    EXPECT_TRUE(client);
    if (!client) co_return;
    while (site.witness.open.empty()) co_await Yield{};
    site.connection().stream().pause_receiving();
    std::size_t sent = 0;
    TaskGroup group("writers");
    for (int writer = 0; writer < 2; ++writer) {
      group.spawn(
          "write",
          [](Client* to, std::size_t* count) -> Task<void> {
            const std::string payload(100'000, 'p');
            for (std::size_t i = 0; i < kMessages / 2; ++i) {
              const auto done = co_await to->send(payload);
              EXPECT_TRUE(done);
              ++*count;
            }
          },
          &*client, &sent);
    }
    co_await sleep_for(50 * kMillisecond);
    EXPECT_LT(sent, kMessages);
    const auto late = co_await with_timeout(kMillisecond, client->send("cancelled"));
    EXPECT_TRUE(!late && late.error().code == ErrorCode::timed_out);
    site.connection().stream().resume_receiving();
    co_await group.join();
    co_await site.witness.until([&] { return site.witness.messages == kMessages; });
    const std::string large(600 * 1024, 'l');
    const auto refused = co_await client->send(large);
    EXPECT_TRUE(!refused && refused.error().code == ErrorCode::limit_exceeded);
    co_await client->close();
  });
}

TEST(WsClient, AServerThatAnswersNoPingIsLeft) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    FakeServer server;
    server.answer = [](const std::string& request) { return FakeServer::accepting(request); };
    ClientOptions options;
    options.ping_interval = 200 * kMillisecond;
    options.pong_timeout = 200 * kMillisecond;
    options.close_timeout = 200 * kMillisecond;
    auto client = co_await Client::connect(url_of(server.listen(site.network)), options);
    EXPECT_TRUE(client);
    if (!client) co_return;
    const auto end = co_await client->receive();
    EXPECT_TRUE(!end && end.error() == (Error{ErrorCode::closed, 1008}));
    co_await site.network.shutdown();
  });
}

TEST(WsClient, OneThatIsDestroyedOpenSaysGoingAway) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    {
      auto client = co_await Client::connect(url_of(site.address));
      EXPECT_TRUE(client);
      const auto sent = co_await client->send("before");
      EXPECT_TRUE(sent);
    }
    co_await site.witness.until_ends(1);
    EXPECT_EQ(site.witness.messages, 1u);
    EXPECT_EQ(site.witness.ends.at(0).code, CloseCode::going_away);
  });
}

TEST(WsClient, OneThatIsDestroyedInEachStateOfItsEndLeavesNothing) {
  for (const bool by_server : {false, true}) {
    run_ws_site({}, [by_server](WsSite& site) -> Task<void> {
      {
        auto client = co_await Client::connect(url_of(site.address));
        EXPECT_TRUE(client);
        if (!client) co_return;
        while (site.witness.open.empty()) co_await Yield{};
        if (by_server) {
          site.connection().close(CloseCode::normal);
          const auto end = co_await client->receive();
          EXPECT_FALSE(end);
        } else {
          const auto closed = co_await with_timeout(Nanoseconds{0}, client->close());
          static_cast<void>(closed);
        }
      }
      co_await site.witness.until_ends(1);
      EXPECT_EQ(site.witness.ends.at(0).code, CloseCode::normal);
    });
  }
}

TEST(WsClient, TheAddressesOfANameAreTriedInTurn) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    ClientOptions options;
    options.resolver = [](const std::string& name) {
      EXPECT_EQ(name, "name.example");
      return net::NameAnswer{
          .addresses = {*Address::parse("[::1]:0"), *Address::parse("127.0.0.1:0")}};
    };
    auto client = co_await Client::connect(
        "ws://name.example:" + std::to_string(site.address.port()) + "/chat", options);
    EXPECT_TRUE(client) << describe(client.error());
    if (client) co_await client->close();
  });
}

}  // namespace
}  // namespace corelane
