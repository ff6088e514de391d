// Goal: a connection ends as RFC 6455 section 7 says, with the code that fits, which the peer can
// read; and pings are answered within their bounds. Method: raw clients that keep and break the
// rules, over both rings; the Witness counts what the handler is told.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "runtime/await.hpp"
#include "tests/unit/ws/ws_site.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::close_frame;
using tests::run_ws_site;
using tests::WireFrame;
using tests::Witness;
using tests::WsClient;
using tests::WsSite;
using tests::WsSiteOptions;
using tests::wire::as_bytes;
using tests::wire::close_payload;
using tests::wire::frame;
using tests::wire::FrameSpec;
using tests::wire::header;

struct CloseCase {
  std::string payload;  // of the client's close frame
  WireFrame answer;
  Witness::End told;
};

std::vector<CloseCase> close_cases() {
  std::vector<CloseCase> cases;
  for (const unsigned code : {1000u, 1001u, 1002u, 1003u, 1007u, 1008u, 1009u, 1010u, 1011u, 1012u,
                              1013u, 1014u, 3000u, 3999u, 4000u, 4999u}) {
    cases.push_back(
        {close_payload(code, "why"), close_frame(code), {static_cast<ws::CloseCode>(code), "why"}});
  }
  const std::string long_reason(123, 'r');
  cases.push_back(
      {close_payload(1000, long_reason), close_frame(1000), {ws::CloseCode::normal, long_reason}});
  cases.push_back({"", {.opcode = 8, .payload = ""}, {ws::CloseCode::no_status, ""}});
  for (const unsigned code :
       {0u, 999u, 1004u, 1005u, 1006u, 1015u, 1016u, 1100u, 2000u, 2999u, 5000u, 65535u}) {
    constexpr std::string_view kWhy = "a close code that must not be sent";
    cases.push_back({close_payload(code),
                     close_frame(1002, kWhy),
                     {ws::CloseCode::protocol_error, std::string{kWhy}}});
  }
  constexpr std::string_view kOneByte = "a close frame of one byte";
  cases.push_back({"\x03",
                   close_frame(1002, kOneByte),
                   {ws::CloseCode::protocol_error, std::string{kOneByte}}});
  constexpr std::string_view kNoText = "the reason of the close frame is not UTF-8";
  cases.push_back({close_payload(1000, "\xC3"),
                   close_frame(1007, kNoText),
                   {ws::CloseCode::invalid_payload, std::string{kNoText}}});
  return cases;
}

TEST(WsClose, EveryCodeIsAnsweredAndToldOrABreach) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    std::size_t ends = 0;
    for (const CloseCase& each : close_cases()) {
      SCOPED_TRACE(testing::PrintToString(each.payload));
      WsClient client;
      co_await client.open(site);
      client.send_frame({.opcode = 8, .payload = each.payload});
      co_await client.until_closed();
      EXPECT_TRUE(client.ended) << "reset instead of closed";
      EXPECT_EQ(client.parse(), std::vector{each.answer});
      co_await site.witness.until_ends(++ends);
      EXPECT_EQ(site.witness.ends.back(), each.told);
    }
  });
}

TEST(WsClose, AnEndWithoutACloseFrameIs1006) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    WsClient ending;
    co_await ending.open(site);
    ending.stream()->close(0);
    co_await site.witness.until_ends(1);
    WsClient resetting;
    co_await resetting.open(site);
    resetting.abort();
    co_await site.witness.until_ends(2);
    for (const Witness::End& end : site.witness.ends) {
      EXPECT_EQ(end, (Witness::End{ws::CloseCode::abnormal, ""}));
    }
    co_await ending.until_closed();
    co_await resetting.until_closed();
  });
}

// What a server says to each breach before it hangs up.
struct Breach {
  std::string wire;
  unsigned code;
  std::string_view reason;
};

TEST(WsClose, EveryBreachIsToldItsCodeAndReasonAndNothingBehindItIsHeard) {
  constexpr std::string_view kLongForm = "the length is not in its shortest form";
  constexpr std::string_view kNoText = "text that is not UTF-8";
  const std::string rest((std::size_t{1} << 20) + 1, 'r');
  const std::vector<Breach> breaches{
      {frame({.opcode = 1, .payload = "x", .masked = 0}), 1002,
       "frames of a client must be masked"},
      {frame({.opcode = 3, .payload = "x"}), 1002, "unknown opcode"},
      {frame({.opcode = 11, .payload = "x"}), 1002, "unknown opcode"},
      {frame({.opcode = 1, .payload = "x", .rsv = 1}), 1002,
       "reserved bits are set that no extension defines here"},
      {frame({.opcode = 0, .payload = "x"}), 1002,
       "a continuation frame without a message to continue"},
      {frame({.opcode = 9, .payload = "x", .is_final = false}), 1002,
       "control frames must not be fragmented"},
      {frame({.opcode = 9, .payload = std::string(126, 'p')}), 1002,
       "control frames have at most 125 bytes"},
      {frame({.opcode = 1, .payload = "x", .length_bytes = 2}), 1002, kLongForm},
      {frame({.opcode = 1, .payload = "x", .length_bytes = 8}), 1002, kLongForm},
      {header({.opcode = 2, .length_bytes = 8}, std::uint64_t{1} << 63, true), 1002,
       "a length of 2^63 or more"},
      {header({.opcode = 2}, std::uint64_t{1} << 20 | 1, true) + "keys" + rest, 1009,
       "message larger than limits.message_bytes_max (1048576)"},
      {frame({.opcode = 1, .payload = "x", .is_final = false}) +
           frame({.opcode = 1, .payload = "x"}),
       1002, "a new message before the fragmented one has ended"},
      {frame({.opcode = 1, .payload = "\xC0\x80"}), 1007, kNoText},
      {frame({.opcode = 1, .payload = "\xED\xA0\x80", .is_final = false}) +
           frame({.opcode = 0, .payload = "the rest"}),
       1007, kNoText},
      {frame({.opcode = 1, .payload = "cut", .is_final = false}) +
           frame({.opcode = 0, .payload = "\xC3"}),
       1007, kNoText},
  };
  run_ws_site({}, [&breaches](WsSite& site) -> Task<void> {
    std::size_t ends = 0;
    for (const Breach& breach : breaches) {
      SCOPED_TRACE(breach.reason);
      WsClient client;
      co_await client.open(site);
      client.send(frame({.opcode = 1, .payload = "before"}) + breach.wire +
                  frame({.opcode = 1, .payload = "behind"}) + frame({.opcode = 9}));
      co_await client.until_closed();
      EXPECT_TRUE(client.ended);
      const std::vector<WireFrame> expected{{.opcode = 1, .payload = "before"},
                                            close_frame(breach.code, breach.reason)};
      EXPECT_EQ(client.parse(), expected);
      EXPECT_LE(breach.reason.size(), 123u);
      co_await site.witness.until_ends(++ends);
      EXPECT_EQ(site.witness.ends.back(), (Witness::End{static_cast<ws::CloseCode>(breach.code),
                                                        std::string{breach.reason}}));
    }
    EXPECT_EQ(site.witness.messages, breaches.size());
    EXPECT_EQ(site.endpoint.counters().protocol_errors, breaches.size());
  });
}

TEST(WsClose, WhatWasQueuedBeforeOurCloseArrivesFirst) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    site.witness.when_message = [](ws::Connection& connection, ws::Message&) {
      for (int i = 0; i < 100; ++i) {
        EXPECT_TRUE(connection.send(ws::MessageKind::text, as_bytes(std::string(1000, 'q'))));
      }
      connection.close(ws::CloseCode::service_restart, "soon back");
      EXPECT_TRUE(connection.closing());
      EXPECT_FALSE(connection.send(ws::MessageKind::text, as_bytes("late")));
      connection.close(ws::CloseCode::normal, "a second close is none");
      connection.ping(as_bytes("late"));
    };
    WsClient client;
    co_await client.open(site);
    client.send(frame({.opcode = 1, .payload = "x"}) + frame({.opcode = 1, .payload = "y"}));
    co_await client.until_frames(101);
    EXPECT_EQ(client.frames.at(99), (WireFrame{.opcode = 1, .payload = std::string(1000, 'q')}));
    EXPECT_EQ(client.frames.at(100), close_frame(1012, "soon back"));
    // Not over yet: the client may say more, which nobody hears, before it answers.
    client.send(frame({.opcode = 1, .payload = "unheard"}) + frame({.opcode = 9}));
    client.send_frame({.opcode = 8, .payload = close_payload(1001, "bye")});
    co_await client.until_closed();
    EXPECT_TRUE(client.ended);
    client.expect_nothing_more(101);
    EXPECT_EQ(site.witness.messages, 1u);
    co_await site.witness.until_ends(1);
    EXPECT_EQ(site.witness.ends.at(0), (Witness::End{ws::CloseCode::going_away, "bye"}));
  });
}

TEST(WsClose, DataBehindTheClientsCloseIsIgnored) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    WsClient client;
    co_await client.open(site);
    client.send_at_once(frame({.opcode = 1, .payload = "before"}) +
                        frame({.opcode = 8, .payload = close_payload(1000)}) +
                        frame({.opcode = 1, .payload = "behind"}) +
                        frame({.opcode = 8, .payload = close_payload(1001)}));
    co_await client.until_closed();
    const std::vector<WireFrame> expected{{.opcode = 1, .payload = "before"}, close_frame(1000)};
    EXPECT_EQ(client.parse(), expected);
    EXPECT_EQ(site.witness.messages, 1u);
    co_await site.witness.until_ends(1);
    EXPECT_EQ(site.witness.ends.at(0).code, ws::CloseCode::normal);
  });
}

TEST(WsClose, ALongReasonIsCutBetweenCodePoints) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    std::string reason = "x";
    for (int i = 0; i < 100; ++i) reason += "\xC3\xA4";
    site.witness.when_open = [reason](ws::Connection& connection) {
      connection.close(ws::CloseCode::normal, reason);
    };
    WsClient client;
    co_await client.open(site);
    co_await client.until_frames(1);
    EXPECT_EQ(client.frames.at(0), close_frame(1000, reason.substr(0, 123)));
    client.abort();
    co_await client.until_closed();
  });
}

TEST(WsClose, CloseNowInAHandlerEndsTheBatch) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    site.witness.when_message = [](ws::Connection& connection, ws::Message&) {
      EXPECT_TRUE(connection.send(ws::MessageKind::text, as_bytes("thrown away")));
      connection.close_now(ws::CloseCode::policy_violation, "enough");
      connection.close_now(ws::CloseCode::normal, "a second one is none");
      connection.close(ws::CloseCode::normal);
    };
    WsClient client;
    co_await client.open(site);
    client.send_at_once(frame({.opcode = 1, .payload = "x"}) +
                        frame({.opcode = 1, .payload = "y"}) +
                        frame({.opcode = 8, .payload = close_payload(1000)}));
    co_await client.until_closed();
    EXPECT_EQ(client.parse(), std::vector{close_frame(1008, "enough")});
    EXPECT_EQ(site.witness.messages, 1u);
    co_await site.witness.until_ends(1);
    EXPECT_EQ(site.witness.ends.at(0).code, ws::CloseCode::policy_violation);
  });
}

// --- Pings

TEST(WsPing, IsAnsweredWithItsPayload) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    WsClient client;
    co_await client.open(site);
    std::size_t count = 0;
    for (const std::string& payload : {std::string{}, std::string{"x"}, std::string(125, 'p')}) {
      client.send_frame({.opcode = 9, .payload = payload});
      co_await client.until_frames(++count);
      EXPECT_EQ(client.frames.back(), (WireFrame{.opcode = 10, .payload = payload}));
      client.send_frame({.opcode = 10, .payload = "nobody asked"});
    }
    client.abort();
    co_await client.until_closed();
  });
}

// A connection whose peer reads nothing while `bytes` are on their way to it.
Task<void> fill(WsSite& site, WsClient& client, std::size_t bytes) {
  client.stream()->pause_receiving();
  ws::Connection& connection = site.connection();
  const std::string chunk(64 * 1024, 'f');
  for (std::size_t sent = 0; sent < bytes; sent += chunk.size()) {
    EXPECT_TRUE(connection.send(ws::MessageKind::binary, as_bytes(chunk)));
  }
  co_return;
}

TEST(WsPing, OfAThousandPingsToAPeerThatDoesNotReadOneAnswerWaits) {
  WsSiteOptions options;
  options.network.queued_bytes_max = 64 << 20;
  options.endpoint.pings_per_second_max = 100'000;
  run_ws_site(options, [](WsSite& site) -> Task<void> {
    site.witness.when_message = [](ws::Connection&, ws::Message&) {};
    WsClient client;
    co_await client.open(site);
    constexpr std::size_t kFilled = 24 << 20;  // more than the kernel's buffers take
    co_await fill(site, client, kFilled);
    // Wait until the kernel takes no more.
    std::size_t queued = SIZE_MAX;
    for (int steady = 0; steady < 100;) {
      const std::size_t now = site.connection().stream().queued_bytes();
      steady = now == queued ? steady + 1 : 0;
      queued = now;
      co_await sleep_for(kMillisecond);
    }
    EXPECT_GT(queued, 0u);
    for (int i = 0; i < 1000; ++i) {
      client.send_frame({.opcode = 9, .payload = std::string(121, 'p') + std::to_string(1000 + i)});
    }
    client.send_frame({.opcode = 1, .payload = "that was all"});
    co_await site.witness.until([&site] { return site.witness.messages == 1; });
    EXPECT_LE(site.connection().stream().queued_bytes(), queued + 127);
    client.stream()->resume_receiving();
    const auto pongs = [&client] {
      std::vector<std::string> found;
      for (const WireFrame& each : client.parse()) {
        if (each.opcode == 10) found.push_back(each.payload);
      }
      return found;
    };
    co_await client.until([&] { return client.parse().size() > kFilled / (64 * 1024); });
    EXPECT_EQ(pongs(), std::vector{std::string(121, 'p') + "1999"});
    client.abort();
    co_await client.until_closed();
  });
}

// All of them come in one receive, and so in one second.
TEST(WsPing, TheLimitInASecondIsServedAndOneMoreIs1008) {
  constexpr int kMost = 10;
  WsSiteOptions options;
  options.endpoint.pings_per_second_max = kMost;
  run_ws_site(options, [](WsSite& site) -> Task<void> {
    const auto pings = [](int count) {
      std::string all;
      for (int i = 0; i < count; ++i) all += frame({.opcode = 9});
      return all;
    };
    WsClient modest;
    co_await modest.open(site);
    modest.send_at_once(pings(kMost) + frame({.opcode = 1, .payload = "that was all"}));
    co_await modest.until([&] { return site.witness.messages == 1; });
    EXPECT_EQ(site.witness.messages, 1);
    WsClient flooding;
    co_await flooding.open(site);
    flooding.send_at_once(pings(kMost + 1));
    co_await flooding.until_closed();
    EXPECT_EQ(flooding.parse().back(), close_frame(1008, "more than 10 pings in a second"));
    co_await site.witness.until_ends(1);
    EXPECT_EQ(site.witness.ends.at(0).code, ws::CloseCode::policy_violation);
    modest.abort();
    co_await modest.until_closed();
  });
}

TEST(WsPing, AFloodWhileWeCloseDoesNotTakeTheCloseFrameAway) {
  WsSiteOptions options;
  options.endpoint.pings_per_second_max = 10;
  run_ws_site(options, [](WsSite& site) -> Task<void> {
    site.witness.when_message = [](ws::Connection& connection, ws::Message&) {
      EXPECT_TRUE(connection.send(ws::MessageKind::text, as_bytes("last words")));
      connection.close(ws::CloseCode::going_away);
    };
    WsClient client;
    co_await client.open(site);
    std::string flood = frame({.opcode = 1, .payload = "x"});
    for (int i = 0; i < 25; ++i) flood += frame({.opcode = 9});
    client.send_at_once(flood);
    co_await client.until_closed();
    const std::vector<WireFrame> expected{{.opcode = 1, .payload = "last words"},
                                          close_frame(1001)};
    EXPECT_EQ(client.parse(), expected);
  });
}

TEST(WsPing, OursReachesThePeer) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    WsClient client;
    co_await client.open(site);
    site.connection().ping(as_bytes("are you there"));
    site.connection().ping(as_bytes("are you"));
    co_await client.until_frames(1);
    EXPECT_EQ(client.frames.at(0), (WireFrame{.opcode = 9, .payload = "are you"}));
    client.abort();
    co_await client.until_closed();
  });
}

}  // namespace
}  // namespace corelane
