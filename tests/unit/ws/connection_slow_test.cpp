// Goal: a peer that does not read, or that breaks off anywhere, costs its own connection and
// bounded memory, and nobody else anything. Method: raw clients that stop reading, half-close and
// reset, over both rings.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "runtime/await.hpp"
#include "runtime/random.hpp"
#include "runtime/task_group.hpp"
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

Task<void> expect_one_echo(WsClient& client) {
  const std::size_t before = client.parse().size();
  client.send_frame({.opcode = 1, .payload = "still here"});
  co_await client.until_frames(before + 1);
  EXPECT_EQ(client.frames.back(), (WireFrame{.opcode = 1, .payload = "still here"}));
}

TEST(WsSlowReader, IsClosedWith1008AtTheLimitOfItsQueueAndOthersNoticeNothing) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    WsClient slow;
    co_await slow.open(site);
    slow.stream()->pause_receiving();
    const ws::ConnectionId id = site.connection().id();
    WsClient other;
    co_await other.open(site);
    const std::string chunk(10'000, 'c');
    std::size_t accepted = 0;
    std::size_t most = 0;
    while (site.endpoint.find(id)->send(ws::MessageKind::binary, as_bytes(chunk))) {
      ++accepted;
      most = std::max(most, site.endpoint.find(id)->stream().queued_bytes());
      if (accepted % 10 == 0) co_await expect_one_echo(other);
    }
    EXPECT_LE(most, site.network.options().queued_bytes_max);
    EXPECT_EQ(site.endpoint.counters().slow_readers, 1u);
    EXPECT_TRUE(site.endpoint.find(id)->closing());
    EXPECT_FALSE(site.endpoint.find(id)->send(ws::MessageKind::binary, as_bytes(chunk)));
    EXPECT_LT(site.endpoint.find(id)->stream().queued_bytes(),
              net::SendQueue::kOperationBytesMax + 2 * chunk.size())
        << "what waited was thrown away";
    // The slow reader reads on: it gets the rest of the begun piece, then the reason of the close.
    slow.stream()->resume_receiving();
    co_await slow.until_closed();
    EXPECT_TRUE(slow.ended) << "reset instead of closed";
    EXPECT_EQ(slow.parse().back(),
              close_frame(1008, "slow reader: limits.outgoing_queue_bytes_max reached"));
    EXPECT_LE(slow.frames.size(), accepted);
    co_await expect_one_echo(other);
    co_await site.witness.until_ends(1);
    EXPECT_EQ(site.witness.ends.at(0).code, ws::CloseCode::policy_violation);
    other.abort();
    co_await other.until_closed();
  });
}

// A raw client looks through all that is unsent for each piece: it gets a little at a time.
Task<void> send_texts(WsClient* client, const std::vector<std::string>* texts) {
  for (const std::string& text : *texts) {
    client->send_frame({.opcode = 1, .payload = text});
    while (!client->closed && client->unsent.size() > 32 * 1024) {
      co_await sleep_for(100 * kMicrosecond);
    }
  }
}

TEST(WsSlowReader, IsNotReadFromUntilItReadsAndThenGetsEverything) {
  WsSiteOptions options;
  options.network.queued_bytes_max = 64 * 1024;
  options.network.medium_buffers = 0;
  options.network.large_buffers = 0;
  options.endpoint.reader.message_bytes_max = 16 * 1024;
  run_ws_site(options, [](WsSite& site) -> Task<void> {
    WsClient client;
    co_await client.open(site);
    client.stream()->pause_receiving();
    constexpr std::size_t kMessages = 2500;  // of 8 KiB: more than the kernel's buffers take
    Random random{1};
    std::vector<std::string> texts;
    for (std::size_t i = 0; i < kMessages; ++i) {
      texts.push_back(std::to_string(i) + std::string(8000 + random.below(200), 't'));
    }
    TaskGroup group("sender");
    group.spawn("sender", send_texts, &client, &texts);
    ws::Connection& connection = site.connection();
    while (!connection.stream().receiving_paused()) co_await sleep_for(kMillisecond);
    EXPECT_LE(connection.stream().queued_bytes(), site.network.options().queued_bytes_max);
    EXPECT_LT(site.witness.messages, kMessages);
    WsClient other;
    co_await other.open(site);
    co_await expect_one_echo(other);
    client.stream()->resume_receiving();
    co_await client.until_frames(kMessages);
    co_await group.join();
    client.expect_nothing_more(kMessages);
    bool all_right = true;
    for (std::size_t i = 0; i < kMessages; ++i) {
      all_right = all_right && client.frames.at(i) == WireFrame{.opcode = 1, .payload = texts[i]};
    }
    EXPECT_TRUE(all_right);
    EXPECT_EQ(site.endpoint.counters().slow_readers, 0u);
    client.abort();
    other.abort();
    co_await client.until_closed();
    co_await other.until_closed();
  });
}

// A peer that made us pause and then ended: the stream must not sit out its time.
TEST(WsSlowReader, AStreamThatLingersWhilePausedSeesThePeersEnd) {
  WsSiteOptions options;
  options.endpoint.close_timeout = 3600 * kSecond;
  run_ws_site(options, [](WsSite& site) -> Task<void> {
    WsClient client;
    co_await client.open(site);
    ws::Connection& connection = site.connection();
    connection.stream().pause_receiving();
    // Let the cancelled receive end first, so that nothing is armed.
    for (int i = 0; i < 20; ++i) co_await sleep_for(kMillisecond);
    const Nanoseconds closed = Core::current().now();
    connection.close_now(ws::CloseCode::policy_violation, "paused");
    co_await client.until_closed();
    EXPECT_EQ(client.parse(), std::vector{close_frame(1008, "paused")});
    co_await site.witness.until_ends(1);
    EXPECT_LT(Core::current().now() - closed, 1800 * kSecond);
  });
}

TEST(WsSlowReader, APeerThatMadeUsPauseCanStillAnswerOurClose) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    WsClient client;
    co_await client.open(site);
    ws::Connection& connection = site.connection();
    connection.stream().pause_receiving();
    for (int i = 0; i < 20; ++i) co_await sleep_for(kMillisecond);
    connection.close(ws::CloseCode::normal);
    co_await client.until_frames(1);
    client.send_frame({.opcode = 8, .payload = close_payload(1001)});
    co_await client.until_closed();
    co_await site.witness.until_ends(1);
    EXPECT_EQ(site.witness.ends.at(0).code, ws::CloseCode::going_away);
  });
}

TEST(WsHalfClose, EverythingBeforeItIsAnsweredAndThenItIs1006) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    WsClient client;
    co_await client.open(site);
    for (int i = 0; i < 100; ++i) {
      client.send_frame({.opcode = 1, .payload = std::string(1000, 'h')});
    }
    co_await client.half_close();
    co_await client.until_closed();
    EXPECT_TRUE(client.ended) << "reset instead of closed";
    client.expect_nothing_more(100);
    co_await site.witness.until_ends(1);
    EXPECT_EQ(site.witness.ends.at(0), (Witness::End{ws::CloseCode::abnormal, ""}));
  });
}

TEST(WsHalfClose, InsideAMessageEndsTheConnection) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    for (const bool fragmented : {false, true}) {
      WsClient client;
      co_await client.open(site);
      const std::string whole =
          frame({.opcode = 1, .payload = std::string(100, 'h'), .is_final = !fragmented});
      client.send(fragmented ? whole : whole.substr(0, 50));
      co_await client.half_close();
      co_await client.until_closed();
      EXPECT_TRUE(client.ended);
      EXPECT_EQ(client.parse().size(), 0u);
    }
    co_await site.witness.until_ends(2);
    EXPECT_EQ(site.witness.messages, 0u);
  });
}

// --- Cut anywhere

// A whole life of a connection, to be cut at any byte.
std::string life(Random& random) {
  std::string wire = tests::ws_handshake();
  wire += frame({.opcode = 1, .payload = std::string(random.below(300), 'l')});
  wire += frame({.opcode = 2, .payload = std::string(random.below(300), 'l'), .is_final = false});
  wire += frame({.opcode = 9, .payload = "p"});
  wire += frame({.opcode = 0, .payload = std::string(random.below(300), 'l')});
  wire += frame({.opcode = 8, .payload = close_payload(1000)});
  return wire;
}

Task<void> cut_lives(WsSite* site, std::uint64_t seed, int count) {
  Random random{seed};
  for (int i = 0; i < count; ++i) {
    WsClient client;
    const auto stream = co_await site->network.connect(site->address, WsClient::kHandler, &client);
    if (!stream) continue;
    client.network = &site->network;
    client.id = *stream;
    const std::string wire = life(random);
    const std::string_view part = std::string_view{wire}.substr(0, random.below(wire.size() + 1));
    const std::size_t cut = random.below(part.size() + 1);
    client.send(part.substr(0, cut));
    for (std::uint64_t turns = random.below(8); turns > 0; --turns) co_await Yield{};
    client.send(part.substr(cut));
    for (std::uint64_t turns = random.below(8); turns > 0; --turns) co_await Yield{};
    switch (random.below(3)) {
      case 0:
        client.abort();
        break;
      case 1:
        if (net::Stream* to = client.stream()) to->close(0);
        break;
      default:
        co_await client.half_close();
        break;
    }
    co_await client.until_closed();
  }
}

TEST(WsLives, CutAnywhereLeaveNothingBehind) {
  for (const bool tiny : {false, true}) {
    WsSiteOptions options;
    if (tiny) options.network = tests::tiny_network();
    run_ws_site(options, [](WsSite& site) -> Task<void> {
      TaskGroup group("lives");
      for (std::uint64_t i = 0; i < 8; ++i) group.spawn("life", cut_lives, &site, i + 1, 625);
      co_await group.join();
      while (site.network.stream_count() > 0) co_await sleep_for(kMillisecond);
      EXPECT_EQ(site.server.connection_count(), 0u);
      EXPECT_EQ(site.endpoint.connection_count(), 0u);
      EXPECT_TRUE(site.witness.open.empty());
      EXPECT_GT(site.witness.opened, 1000u);
      EXPECT_GT(site.witness.messages, 1000u);
    });
  }
}

}  // namespace
}  // namespace corelane
