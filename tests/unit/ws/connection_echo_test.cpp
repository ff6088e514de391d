// Goal: every message comes back once, in order, whole and of its kind, however it was framed, cut
// and compressed, and costs no more operations than it must. Method: raw clients and clients of
// ours against an echoing server, over both rings.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "runtime/await.hpp"
#include "runtime/random.hpp"
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
using tests::wire::frame;
using tests::wire::FrameSpec;

constexpr std::size_t kMiB = 1 << 20;

WsSiteOptions tiny_site() {
  WsSiteOptions options;
  options.network = tests::tiny_network();
  return options;
}
WsSiteOptions roomy_site() {
  WsSiteOptions options;
  options.network.queued_bytes_max = 8 * kMiB;
  return options;
}

std::string text_of(Random& random, std::size_t bytes) {
  std::string text(bytes, 'a');
  for (char& c : text) c = static_cast<char>('a' + random.below(26));
  return text;
}

// Sends `wire` and expects these frames back, and nothing else.
Task<void> expect_echo(WsSite& site, std::string wire, std::vector<WireFrame> expected) {
  WsClient client;
  co_await client.open(site);
  client.send(wire);
  co_await client.until_frames(expected.size());
  client.expect_nothing_more(expected.size());
  EXPECT_EQ(client.frames, expected);
  client.send_frame({.opcode = 8, .payload = tests::wire::close_payload(1000)});
  co_await client.until_closed();
  EXPECT_EQ(client.parse().back(), close_frame(1000));
}

TEST(WsEcho, ABatchInOneBufferLeavesInOneSend) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    WsClient client;
    co_await client.open(site);
    std::string batch;
    std::vector<WireFrame> expected;
    for (unsigned i = 0; i < 16; ++i) {
      const std::string text(125, static_cast<char>('a' + i));
      batch += frame({.opcode = 1 + i % 2, .payload = text});
      expected.push_back({.opcode = 1 + i % 2, .payload = text});
    }
    const auto before = site.network.counters();
    client.send_at_once(batch);
    co_await client.until_frames(16);
    const auto after = site.network.counters();
    EXPECT_EQ(after.sends - before.sends, 2u) << "the client's and one of the server's";
    EXPECT_EQ(after.bytes_sent - before.bytes_sent, batch.size() + 16 * (2 + 125));
    EXPECT_EQ(site.witness.messages, 16u);
    EXPECT_EQ(client.frames, expected);
    client.abort();
    co_await client.until_closed();
  });
}

// A buffer holds three of these and the beginning of a fourth, which would be joined.
TEST(WsEcho, LargeMessagesOfOneSizeAreSeldomCutByTheEndOfABuffer) {
  WsSiteOptions options = roomy_site();
  options.network.receive_buffer_bytes = 256;
  options.network.medium_buffers = 0;
  options.network.large_buffer_bytes = 4096;
  run_ws_site(options, [](WsSite& site) -> Task<void> {
    constexpr std::size_t kMessages = 200;
    std::size_t joined = 0;
    site.witness.when_message = [&](ws::Connection& connection, ws::Message& message) {
      if (message.is_owned()) ++joined;
      EXPECT_TRUE(connection.echo(message));
    };
    std::string wire;
    std::vector<WireFrame> expected;
    for (std::size_t i = 0; i < kMessages; ++i) {
      const std::string payload(1200, static_cast<char>('a' + i % 26));
      wire += frame({.opcode = 2, .payload = payload});
      expected.push_back({.opcode = 2, .payload = payload});
    }
    co_await expect_echo(site, std::move(wire), std::move(expected));
    EXPECT_LT(joined, kMessages / 8);
  });
}

TEST(WsEcho, ASecondEchoOfAMessageIsNoneAndHarmsNothing) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    site.witness.when_message = [](ws::Connection& connection, ws::Message& message) {
      EXPECT_TRUE(connection.echo(message));
      EXPECT_FALSE(connection.echo(message));
    };
    std::string wire;
    std::vector<WireFrame> expected;
    for (const std::string& text : {std::string{}, std::string(50, 'a'), std::string(200, 'b')}) {
      wire += frame({.opcode = 1, .payload = text}) +
              frame({.opcode = 2, .payload = text, .is_final = false}) +
              frame({.opcode = 0, .payload = text});
      expected.push_back({.opcode = 1, .payload = text});
      expected.push_back({.opcode = 2, .payload = text + text});
    }
    co_await expect_echo(site, std::move(wire), std::move(expected));
  });
}

// Messages at every boundary of the length forms, of both kinds.
Task<void> expect_all_sizes(WsSite& site) {
  Random random{7};
  std::string wire;
  std::vector<WireFrame> expected;
  for (const std::size_t bytes :
       {0u, 1u, 2u, 125u, 126u, 127u, 4000u, 4090u, 4096u, 5000u, 65535u, 65536u, 70000u, 0u}) {
    for (const unsigned opcode : {1u, 2u}) {
      const std::string text = text_of(random, bytes);
      wire += frame({.opcode = opcode, .payload = text});
      expected.push_back({.opcode = opcode, .payload = text});
    }
  }
  co_await expect_echo(site, wire, expected);
}

TEST(WsEcho, AllSizesAndKindsComeBack) {
  run_ws_site(roomy_site(), expect_all_sizes);
}
TEST(WsEcho, AllSizesComeBackThroughFourBuffersOf64Bytes) {
  WsSiteOptions options = tiny_site();
  options.network.queued_bytes_max = kMiB;
  run_ws_site(options, expect_all_sizes);
}

Task<void> expect_fragments(WsSite& site) {
  Random random{9};
  std::string wire;
  std::vector<WireFrame> messages;
  std::size_t pings = 0;
  for (int message = 0; message < 40; ++message) {
    const std::string text = text_of(random, random.below(400));
    const unsigned opcode = message % 2 == 0 ? 1 : 2;
    std::size_t at = 0;
    for (bool is_first = true, is_final = false; !is_final; is_first = false) {
      const std::size_t bytes = std::min<std::size_t>(random.below(100), text.size() - at);
      is_final = at + bytes == text.size() && random.below(2) == 0;
      wire += frame({.opcode = is_first ? opcode : 0,
                     .payload = text.substr(at, bytes),
                     .is_final = is_final});
      at += bytes;
      if (!is_final && random.below(4) == 0) {
        wire += frame({.opcode = 9, .payload = std::to_string(pings++)});
      }
    }
    messages.push_back({.opcode = opcode, .payload = text});
  }
  WsClient client;
  co_await client.open(site);
  client.send(wire);
  const auto count = [&client] {
    std::size_t found = 0;
    for (const WireFrame& each : client.parse()) found += each.opcode != 10;
    return found;
  };
  co_await client.until([&] { return count() == messages.size(); });
  std::erase_if(client.frames, [](const WireFrame& each) { return each.opcode == 10; });
  EXPECT_EQ(client.frames, messages);
  client.abort();
  co_await client.until_closed();
}

TEST(WsEcho, FragmentedMessagesComeBackJoinedWithPingsBetween) {
  run_ws_site({}, expect_fragments);
}
TEST(WsEcho, FragmentedMessagesComeBackThroughFourBuffersOf64Bytes) {
  run_ws_site(tiny_site(), expect_fragments);
}

TEST(WsEcho, AMessageOfTheLimitComesBackAndOneByteMoreIs1009) {
  run_ws_site(roomy_site(), [](WsSite& site) -> Task<void> {
    const std::string whole(kMiB, 'w');
    std::string wire_of_one = frame({.opcode = 1, .payload = whole});
    std::vector<WireFrame> text{{.opcode = 1, .payload = whole}};
    co_await expect_echo(site, std::move(wire_of_one), std::move(text));
    std::string wire_of_two = frame({.opcode = 2, .payload = whole.substr(1), .is_final = false}) +
                              frame({.opcode = 0, .payload = "w"});
    std::vector<WireFrame> binary{{.opcode = 2, .payload = whole}};
    co_await expect_echo(site, std::move(wire_of_two), std::move(binary));
    for (const std::string& wire : {frame({.opcode = 1, .payload = whole + "w"}),
                                    frame({.opcode = 1, .payload = whole, .is_final = false}) +
                                        frame({.opcode = 0, .payload = "w"})}) {
      WsClient client;
      co_await client.open(site);
      client.send(wire);
      co_await client.until_frames(1);
      EXPECT_EQ(client.frames.at(0),
                close_frame(1009, "message larger than limits.message_bytes_max (1048576)"));
      client.abort();
      co_await client.until_closed();
    }
    co_await site.witness.until_ends(4);
    EXPECT_EQ(site.witness.ends.back().code, ws::CloseCode::message_too_big);
    EXPECT_EQ(site.witness.messages, 2u);
  });
}

TEST(WsEcho, FragmentsUpToTheLimitAreJoinedAndOneMoreIs1009) {
  run_ws_site({}, [](WsSite& site) -> Task<void> {
    std::string wire = frame({.opcode = 1, .payload = "a", .is_final = false});
    for (int i = 0; i < 1022; ++i) wire += frame({.opcode = 0, .payload = "", .is_final = false});
    std::string wire_at_limit = wire + frame({.opcode = 0, .payload = "z"});
    std::vector<WireFrame> joined{{.opcode = 1, .payload = "az"}};
    co_await expect_echo(site, std::move(wire_at_limit), std::move(joined));
    WsClient client;
    co_await client.open(site);
    client.send(wire + frame({.opcode = 0, .payload = "", .is_final = false}) +
                frame({.opcode = 0, .payload = "z"}));
    co_await client.until_frames(1);
    EXPECT_EQ(client.frames.at(0),
              close_frame(1009, "message in more fragments than limits.fragments_max (1024)"));
    client.abort();
    co_await client.until_closed();
  });
}

// --- A client of ours

// Echoes `messages` with a client of ours, one round of all at a time.
Task<void> expect_client_echo(WsSite& site, const ws::EndpointOptions& options,
                              std::vector<std::string> messages, std::uint64_t* bytes_sent) {
  Witness witness;
  std::vector<std::string> got;
  witness.when_message = [&got](ws::Connection&, ws::Message& message) {
    got.emplace_back(message.text());
  };
  ws::Endpoint clients(site.network, options, Witness::kHandler, &witness);
  const auto id = co_await clients.connect(site.address, "a", "/", nullptr);
  EXPECT_TRUE(id) << describe(id.error());
  if (!id) co_return;
  EXPECT_EQ(clients.find(*id)->is_deflated(), options.handshake.deflate.is_enabled);
  const std::uint64_t before = site.network.counters().bytes_sent;
  for (int round = 0; round < 3; ++round) {
    for (std::size_t i = 0; i < messages.size(); ++i) {
      const auto kind = i % 2 == 0 ? ws::MessageKind::text : ws::MessageKind::binary;
      EXPECT_TRUE(clients.find(*id)->send(kind, as_bytes(messages[i])));
    }
    co_await witness.until([&] { return got.size() == messages.size() || witness.open.empty(); });
    EXPECT_EQ(got, messages);
    got.clear();
  }
  if (bytes_sent != nullptr) *bytes_sent = site.network.counters().bytes_sent - before;
  if (ws::Connection* connection = clients.find(*id)) connection->close(ws::CloseCode::normal);
  co_await witness.until_ends(1);
  EXPECT_EQ(witness.ends.at(0).code, ws::CloseCode::normal);
  while (clients.connection_count() > 0) co_await Yield{};
}

std::vector<std::string> texts() {
  Random random{5};
  std::vector<std::string> all;
  for (const std::size_t bytes : {0u, 1u, 63u, 64u, 125u, 126u, 1000u, 5000u, 70000u}) {
    all.push_back(text_of(random, bytes));
    std::string repeated;
    while (repeated.size() < bytes) repeated += "{\"price\": 12345, \"symbol\": \"ABCD\"}";
    all.push_back(repeated.substr(0, bytes));
  }
  return all;
}

TEST(WsEcho, AClientOfOursGetsEverythingBack) {
  run_ws_site(roomy_site(), [](WsSite& site) -> Task<void> {
    const ws::EndpointOptions options;
    co_await expect_client_echo(site, options, texts(), nullptr);
  });
}

struct Compression {
  bool server_no_takeover;
  bool client_no_takeover;
  std::uint8_t server_bits;
  std::uint8_t client_bits;
};

TEST(WsDeflate, EveryTakeoverModeAndWindowCarriesEveryMessage) {
  std::uint64_t plain = 0;
  run_ws_site(roomy_site(), [&plain](WsSite& site) -> Task<void> {
    const ws::EndpointOptions options;
    co_await expect_client_echo(site, options, texts(), &plain);
  });
  std::vector<Compression> cases;
  for (const bool server : {false, true}) {
    for (const bool client : {false, true}) cases.push_back({server, client, 15, 15});
  }
  for (std::uint8_t bits = 9; bits < 15; ++bits) {
    cases.push_back({bits % 2 == 0, bits % 3 == 0, bits, 15});
    cases.push_back({bits % 3 == 0, bits % 2 == 0, 15, bits});
    cases.push_back({false, false, bits, static_cast<std::uint8_t>(24 - bits)});
  }
  for (const Compression& each : cases) {
    SCOPED_TRACE(testing::Message() << each.server_no_takeover << each.client_no_takeover << ' '
                                    << +each.server_bits << ' ' << +each.client_bits);
    WsSiteOptions options = roomy_site();
    options.endpoint.handshake.deflate = {.is_enabled = true,
                                          .server_no_context_takeover = each.server_no_takeover,
                                          .client_no_context_takeover = each.client_no_takeover,
                                          .server_window_bits_max = each.server_bits,
                                          .client_window_bits_max = each.client_bits};
    run_ws_site(options, [&options, plain](WsSite& site) -> Task<void> {
      std::uint64_t compressed = 0;
      co_await expect_client_echo(site, options.endpoint, texts(), &compressed);
      EXPECT_LT(compressed, plain);
    });
  }
}

WsSiteOptions deflating_site() {
  WsSiteOptions options = roomy_site();
  options.endpoint.handshake.deflate.is_enabled = true;
  return options;
}

std::string deflated(ws::Deflater& deflater, std::string_view text) {
  ws::OwnedBytes compressed;
  deflater.deflate(as_bytes(text), compressed);
  return tests::wire::as_string(compressed.bytes());
}

constexpr std::string_view kInflatedTooLarge =
    "inflated message larger than limits.message_bytes_max (1048576)";

TEST(WsDeflate, ABombIs1009AndCostsNoMoreThanTheLimit) {
  run_ws_site(deflating_site(), [](WsSite& site) -> Task<void> {
    ws::Deflater deflater{15, true, 9};
    const std::string bomb = deflated(deflater, std::string(100 * kMiB, '\0'));
    EXPECT_LT(bomb.size(), 128u * 1024);
    for (const bool fragmented : {false, true}) {
      WsClient client;
      co_await client.open(site, std::string{tests::kOfferDeflate});
      if (fragmented) {
        client.send_frame(
            {.opcode = 2, .payload = bomb.substr(0, 1000), .is_final = false, .rsv = 4});
        client.send_frame({.opcode = 0, .payload = bomb.substr(1000)});
      } else {
        client.send_frame({.opcode = 2, .payload = bomb, .rsv = 4});
      }
      co_await client.until_frames(1);
      EXPECT_EQ(client.frames.at(0), close_frame(1009, kInflatedTooLarge));
      client.abort();
      co_await client.until_closed();
    }
    EXPECT_EQ(site.witness.messages, 0u);
  });
}

TEST(WsDeflate, AMessageOfTheLimitInflatesAndOneByteMoreIs1009) {
  run_ws_site(deflating_site(), [](WsSite& site) -> Task<void> {
    ws::Deflater deflater{15, true};
    WsClient client;
    co_await client.open(site, std::string{tests::kOfferDeflate});
    client.send_frame(
        {.opcode = 1, .payload = deflated(deflater, std::string(kMiB, 'x')), .rsv = 4});
    co_await client.until_frames(1);
    EXPECT_EQ(client.frames.at(0).opcode, 1u);
    EXPECT_TRUE(client.frames.at(0).rsv1);
    client.send_frame(
        {.opcode = 1, .payload = deflated(deflater, std::string(kMiB + 1, 'x')), .rsv = 4});
    co_await client.until_frames(2);
    EXPECT_EQ(client.frames.at(1), close_frame(1009, kInflatedTooLarge));
    client.abort();
    co_await client.until_closed();
  });
}

TEST(WsDeflate, WhatDoesNotInflateOrIsNoTextIs1007AndRsv1WithoutItIs1002) {
  run_ws_site(deflating_site(), [](WsSite& site) -> Task<void> {
    ws::Deflater deflater{15, true};
    const std::string no_text = deflated(deflater, std::string(100, '\xFF'));
    struct Case {
      std::string_view fields;
      FrameSpec spec;
      unsigned code;
      std::string_view reason;
    };
    constexpr std::string_view kNotInflated = "compressed data that cannot be inflated";
    constexpr std::string_view kReserved = "reserved bits are set that no extension defines here";
    const std::vector<Case> cases{
        {tests::kOfferDeflate,
         {.opcode = 2, .payload = "\x07\xFF garbage", .rsv = 4},
         1007,
         kNotInflated},
        {tests::kOfferDeflate,
         {.opcode = 1, .payload = no_text, .rsv = 4},
         1007,
         "text that is not UTF-8"},
        {"", {.opcode = 2, .payload = no_text, .rsv = 4}, 1002, kReserved},
        {tests::kOfferDeflate, {.opcode = 2, .payload = no_text, .rsv = 2}, 1002, kReserved},
    };
    for (const Case& each : cases) {
      WsClient client;
      co_await client.open(site, std::string{each.fields});
      client.send_frame(each.spec);
      co_await client.until_frames(1);
      EXPECT_EQ(client.frames.at(0), close_frame(each.code, each.reason));
      client.abort();
      co_await client.until_closed();
    }
  });
}

// RFC 7692 section 7.2.3.2: the second message refers back into the first. Without context takeover
// the reader has forgotten that, from any of its connections.
TEST(WsDeflate, WithoutContextTakeoverNoMessageReadsWhatWasBefore) {
  const std::string hello = "\xf2\x48\xcd\xc9\xc9\x07";
  run_ws_site(deflating_site(), [hello](WsSite& site) -> Task<void> {
    constexpr std::string_view kForgetful =
        "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n";
    WsClient clients[2];
    for (WsClient& client : clients) {
      co_await client.open(site, std::string{kForgetful});
      client.send_frame({.opcode = 1, .payload = hello + std::string(1, '\0'), .rsv = 4});
      co_await client.until_frames(1);
      EXPECT_EQ(client.frames.at(0).opcode, 1u);
    }
    for (WsClient& client : clients) {
      client.send_frame({.opcode = 1, .payload = std::string("\xf2\x00\x11\x00\x00", 5), .rsv = 4});
      co_await client.until_frames(2);
      EXPECT_EQ(client.frames.at(1).opcode, 8u);
      EXPECT_EQ(client.frames.at(1).payload.substr(0, 2), close_frame(1007).payload);
      client.abort();
      co_await client.until_closed();
    }
    EXPECT_EQ(site.witness.messages, 2u);
  });
}

TEST(WsDeflate, AMessageThatFoundNoRoomLeavesLaterOnesReadable) {
  WsSiteOptions options = deflating_site();
  options.network.queued_bytes_max = 16 * 1024;
  run_ws_site(options, [](WsSite& site) -> Task<void> {
    ws::EndpointOptions client_options;
    client_options.handshake.deflate.is_enabled = true;
    Witness witness;
    std::vector<std::string> got;
    site.witness.when_message = [&got](ws::Connection&, ws::Message& message) {
      got.emplace_back(message.text());
    };
    ws::Endpoint clients(site.network, client_options, Witness::kHandler, &witness);
    const auto id = co_await clients.connect(site.address, "a", "/", nullptr);
    EXPECT_TRUE(id);
    Random random{3};
    // Random letters deflate to five bits each: 20,000 bytes fit once, not twice.
    const std::string first = text_of(random, 20'000);
    const std::string refused = text_of(random, 20'000);
    EXPECT_TRUE(clients.find(*id)->send(ws::MessageKind::text, as_bytes(first)));
    EXPECT_FALSE(clients.find(*id)->send(ws::MessageKind::text, as_bytes(refused)));
    EXPECT_FALSE(clients.find(*id)->closing()) << "a client's own queue is full: it may wait";
    co_await site.witness.until([&] { return got.size() == 1 || !site.witness.ends.empty(); });
    // The same text again: a compressor that had seen it would refer to it.
    EXPECT_TRUE(clients.find(*id)->send(ws::MessageKind::text, as_bytes(refused)));
    co_await site.witness.until([&] { return got.size() == 2 || !site.witness.ends.empty(); });
    EXPECT_TRUE(site.witness.ends.empty());
    EXPECT_TRUE(got == (std::vector{first, refused}));
    clients.find(*id)->close(ws::CloseCode::normal);
    while (clients.connection_count() > 0) co_await Yield{};
  });
}

}  // namespace
}  // namespace corelane
