// Goal: a peer that is still sending comes to read why we close, and what it sends after that costs
// no handler anything. Method: clients that, like blocking ones, read nothing before all that they
// have to say is sent; over both rings.
#include <gtest/gtest.h>

#include <functional>
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

constexpr std::size_t kMiB = 1024 * 1024;

// The client's queue takes all it has to say.
WsSiteOptions wide_site() {
  WsSiteOptions options;
  options.network.queued_bytes_max = 64 * kMiB;
  options.network.large_buffers = 4;
  return options;
}

// Sends all of it before it reads anything, and then does what a client must.
Task<void> say(WsSite& site, WsClient& client, std::string wire) {
  co_await client.open(site);
  client.stream()->pause_receiving();
  client.send_at_once(wire);
  while (client.stream() != nullptr && client.stream()->queued_bytes() > 0) {
    co_await sleep_for(kMillisecond);
  }
  EXPECT_NE(client.stream(), nullptr) << "cut off while it was sending: " << describe(client.why);
  if (client.stream() == nullptr) co_return;
  client.stream()->resume_receiving();
  co_await client.until_closed();
  EXPECT_TRUE(client.ended) << "reset instead of closed";
}

std::string fragments(std::size_t total, std::size_t each, unsigned opcode) {
  std::string wire;
  const std::string payload(each, 'f');
  for (std::size_t sent = 0; sent < total; sent += each) {
    const bool is_last = sent + each >= total;
    wire += frame({.opcode = sent == 0 ? opcode : 0, .payload = payload, .is_final = is_last});
  }
  return wire;
}

struct Said {
  const char* name;
  std::string wire;
  WireFrame answer;
};

std::vector<Said> cases() {
  const WireFrame too_large =
      close_frame(1009, "message larger than limits.message_bytes_max (1048576)");
  const WireFrame too_many =
      close_frame(1009, "message in more fragments than limits.fragments_max (1024)");
  const WireFrame no_text = close_frame(1007, "text that is not UTF-8");
  std::string text(8 * kMiB, 't');
  text[500'000] = '\xFF';
  std::string small_text(kMiB, 't');
  small_text[500'000] = '\xFF';
  const std::string behind = frame({.opcode = 2, .payload = std::string(5 * kMiB, 'b')});
  return {
      {"1.1 MiB", frame({.opcode = 2, .payload = std::string(kMiB + kMiB / 10, 'x')}), too_large},
      {"8 MiB", frame({.opcode = 2, .payload = std::string(8 * kMiB, 'x')}), too_large},
      {"15 MiB", frame({.opcode = 2, .payload = std::string(15 * kMiB, 'x')}), too_large},
      {"8 MiB in frames of 64 KiB", fragments(8 * kMiB, 64 * 1024, 2), too_large},
      {"8 MiB in frames of 1000", fragments(8 * kMiB, 1000, 2), too_many},
      {"8 MiB of no text in pieces",
       fragments(kMiB / 2, 4096, 1) + frame({.payload = small_text}) + behind, no_text},
      {"no text and more behind it", frame({.payload = small_text}) + behind, no_text},
      {"a wrong opcode before 8 MiB", frame({.opcode = 3, .payload = std::string(8 * kMiB, 'x')}),
       close_frame(1002, "unknown opcode")},
      {"an unmasked 8 MiB",
       frame({.opcode = 2, .payload = std::string(8 * kMiB, 'x'), .masked = 0}),
       close_frame(1002, "frames of a client must be masked")},
  };
}

TEST(WsLastWords, APeerThatIsStillSendingReadsTheCodeAndTheReasonOfItsBreach) {
  for (const Said& said : cases()) {
    SCOPED_TRACE(said.name);
    run_ws_site(wide_site(), [&said](WsSite& site) -> Task<void> {
      site.witness.when_message = [](ws::Connection&, ws::Message&) {};
      WsClient client;
      std::string wire = said.wire;
      co_await say(site, client, std::move(wire));
      EXPECT_EQ(client.parse(), std::vector{said.answer});
      co_await site.witness.until_ends(1);
    });
  }
}

// The handler's own decision, at the first of many messages.
TEST(WsLastWords, APeerThatIsStillSendingReadsWhyAHandlerCloses) {
  for (const bool now : {false, true}) {
    run_ws_site(wide_site(), [now](WsSite& site) -> Task<void> {
      site.witness.when_message = [now](ws::Connection& connection, ws::Message&) {
        if (now) {
          connection.close_now(ws::CloseCode::policy_violation, "enough");
        } else {
          connection.close(ws::CloseCode::policy_violation, "enough");
        }
      };
      std::string wire;
      for (int i = 0; i < 12; ++i) wire += frame({.opcode = 2, .payload = std::string(kMiB, 'x')});
      WsClient client;
      co_await say(site, client, std::move(wire));
      EXPECT_EQ(client.parse(), std::vector{close_frame(1008, "enough")});
      co_await site.witness.until_ends(1);
      EXPECT_EQ(site.witness.messages, 1u);
      EXPECT_EQ(site.witness.ends.at(0).code, ws::CloseCode::policy_violation);
    });
  }
}

TEST(WsLastWords, APeerThatGoesOnSendingBehindItsCloseReadsOurAnswer) {
  run_ws_site(wide_site(), [](WsSite& site) -> Task<void> {
    WsClient client;
    client.has_closed = true;
    std::string wire = frame({.opcode = 8, .payload = close_payload(1000)}) +
                       frame({.opcode = 2, .payload = std::string(8 * kMiB, 'x')});
    co_await say(site, client, std::move(wire));
    EXPECT_EQ(client.parse(), std::vector{close_frame(1000)});
  });
}

// A slow reader that is still sending: its queue is dropped, and once it reads it finds the code.
TEST(WsLastWords, ASlowReaderThatIsStillSendingReads1008) {
  WsSiteOptions options = wide_site();
  options.network.queued_bytes_max = 12 * kMiB;
  run_ws_site(options, [](WsSite& site) -> Task<void> {
    WsClient client;
    co_await client.open(site);
    client.stream()->pause_receiving();
    ws::Connection& connection = site.connection();
    const std::string chunk(256 * 1024, 'c');
    while (connection.send(ws::MessageKind::binary, as_bytes(chunk))) co_await Yield{};
    client.send_at_once(frame({.opcode = 2, .payload = std::string(8 * kMiB, 'x')}));
    while (client.stream() != nullptr && client.stream()->queued_bytes() > 0) {
      co_await sleep_for(kMillisecond);
    }
    EXPECT_NE(client.stream(), nullptr) << "cut off while it was sending";
    if (client.stream() == nullptr) co_return;
    client.stream()->resume_receiving();
    co_await client.until_closed();
    EXPECT_TRUE(client.ended) << "reset instead of closed";
    EXPECT_EQ(client.parse().back(),
              close_frame(1008, "slow reader: limits.outgoing_queue_bytes_max reached"));
    EXPECT_EQ(site.witness.messages, 0u);
  });
}

}  // namespace
}  // namespace corelane
