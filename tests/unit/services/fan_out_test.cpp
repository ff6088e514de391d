// Goal: the events of a channel's subscribers do not depend on their transport, on other, slow
// readers, or on full lanes. Acks count the sessions that events were handed to. Method: whole
// nodes with many subscribers, readers that stop reading, and lanes of 16 places.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/services/requests.hpp"
#include "ws/frame.hpp"

namespace corelane {
namespace {

using protocol::ErrorCode;
using protocol::Opcode;
using runtime::CoreId;
using runtime::Task;
using tests::bytes_of;
using tests::NodeUnderTest;
using tests::ProtocolClient;
using tests::ServerMessage;
using tests::Via;
using tests::with_node;

protocol::Uuid begin_publish(ProtocolClient* client, std::string_view channel,
                             std::string_view data, bool requires_ack) {
  return client->send(protocol::PublishBody{
      .channel = channel, .data = bytes_of(data), .requires_ack = requires_ack});
}

// RFC 6455, 5.5.1: no frame follows a close frame.
TEST(FanOut, ASessionThatIsClosingTakesNoEvents) {
  for (const Via via : {Via::websocket, Via::compressed, Via::tcp}) {
    with_node(1, [via](NodeUnderTest& test) -> Task<void> {
      ProtocolClient* client = co_await test.connect(via);
      std::byte event[] = {std::byte{0x82}, std::byte{1}, std::byte{7}};
      const runtime::SharedBytes block = runtime::SharedBytes::copy(event);
      const services::EventRun run{.block = block, .bytes = {block.data(), sizeof event}};
      test.node().cores()->sessions().for_each([&run](services::Session& session) {
        session.close(ws::CloseCode::normal, "");
        const std::size_t queued = session.stream().queued_bytes();
        EXPECT_FALSE(session.send_run(run));
        EXPECT_EQ(session.stream().queued_bytes(), queued);
      });
      co_await client->closed();
    });
  }
}

// The last bytes to the session give the reason of its end; queued bytes do not go ahead of them.
TEST(FanOut, TheLastWordToASlowReaderWaitsForNothingThatHasNotBegun) {
  with_node(1, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect(Via::tcp);
    const std::string data(10'000, 'd');
    const protocol::PongBody body{.data = bytes_of(data), .server_time = 1};
    std::size_t most = 0;
    // In one turn, so that none of it is in flight.
    test.node().cores()->sessions().for_each([&](services::Session& session) {
      while (session.send({}, body)) most = std::max(most, session.stream().queued_bytes());
      EXPECT_LE(session.stream().queued_bytes(), 256u);
    });
    EXPECT_GT(most, std::size_t{net::NetworkOptions{}.queued_bytes_max / 2});
    const bool closed = co_await client->closed();
    EXPECT_TRUE(closed);
    EXPECT_EQ(client->events().size(), 1u);
    if (client->events().empty()) co_return;
    EXPECT_EQ(client->events().back().error, ErrorCode::slow_reader);
  });
}

TEST(FanOut, EveryTransportGetsTheSameEvents) {
  with_node(3, [](NodeUnderTest& test) -> Task<void> {
    std::vector<ProtocolClient*> clients;
    for (CoreId core = 0; core < 3; ++core) {
      for (const Via via : {Via::websocket, Via::compressed, Via::tcp}) {
        clients.push_back(co_await test.connect_on(core, via));
        co_await subscribe(clients.back(), "same");
      }
    }
    ProtocolClient* publisher = co_await test.connect(Via::websocket);
    constexpr std::size_t kEvents = 120;
    for (std::size_t i = 0; i < kEvents; ++i) {
      begin_publish(publisher, "same", std::string(i * i, static_cast<char>('a' + i % 26)), false);
    }
    for (ProtocolClient* client : clients) {
      const bool all = co_await client->has_events(kEvents);
      EXPECT_TRUE(all) << client->events().size();
      if (!all) co_return;
    }
    for (std::size_t i = 0; i < kEvents; ++i) {
      const ServerMessage& first = clients[0]->events()[i];
      EXPECT_EQ(first.offset, i + 1);
      EXPECT_EQ(first.data, std::string(i * i, static_cast<char>('a' + i % 26)));
      for (ProtocolClient* client : clients) {
        const ServerMessage& event = client->events()[i];
        EXPECT_EQ(event.data, first.data);
        EXPECT_EQ(event.offset, first.offset);
        EXPECT_EQ(event.epoch, first.epoch);
        EXPECT_EQ(event.channel, "same");
        EXPECT_EQ(event.timestamp, first.timestamp);
        EXPECT_EQ(event.from, publisher->uuid());
      }
    }
  });
}

// --- Slow readers

// What is published in one turn is one run, which may be longer than the queue of a client that
// reads: an idle queue takes a handle of it.
TEST(FanOut, ARunLongerThanTheQueueReachesItsReaders) {
  services::NodeOptions options;
  options.network.queued_bytes_max = 6 * 1024;
  with_node(tests::node_cores(1), options, [](NodeUnderTest& test) -> Task<void> {
    constexpr std::size_t kEvents = 200;
    const std::string data(100, 'd');
    std::vector<std::byte> run;
    for (std::size_t i = 0; i < kEvents; ++i) {
      const protocol::EventBody body{.channel = "news", .data = bytes_of(data)};
      const std::size_t frame = protocol::frame_bytes({}, body);
      const std::size_t head = ws::server_header_bytes(frame);
      const std::size_t at = run.size();
      run.resize(at + head + frame);
      ws::write_server_header(&run[at], {.opcode = ws::Opcode::binary}, frame);
      protocol::lay_frame(std::span(run).subspan(at + head), {}, body);
    }
    std::vector<ProtocolClient*> readers;
    for (const Via via : {Via::websocket, Via::compressed, Via::tcp}) {
      readers.push_back(co_await test.connect(via));
    }
    const runtime::SharedBytes block = runtime::SharedBytes::copy(run);
    test.node().cores()->sessions().for_each([&](services::Session& session) {
      EXPECT_TRUE(session.send_run({.block = block, .bytes = {block.data(), run.size()}}));
    });
    for (ProtocolClient* reader : readers) {
      const bool all = co_await reader->has_events(kEvents);
      EXPECT_TRUE(all) << reader->events().size();
      EXPECT_TRUE(reader->open());
    }
  });
}

constexpr std::size_t kQueueBytesMax = 128 * 1024;

Task<std::uint64_t> longest_queue(NodeUnderTest& test) {
  std::uint64_t longest = 0;
  for (CoreId core = 0; core < runtime::Core::current().cores(); ++core) {
    const std::uint64_t here = co_await runtime::submit_to(core, [&test] {
      std::uint64_t most = 0;
      test.node().cores()->network().for_each([&](auto, net::Stream& stream) {
        most = std::max<std::uint64_t>(most, stream.queued_bytes());
      });
      return most;
    });
    longest = std::max(longest, here);
  }
  co_return longest;
}

// The events before the close are the first ones of the channel, without gaps.
void expect_unbroken(ProtocolClient* client) {
  std::uint64_t expected = 1;
  for (const ServerMessage& event : client->events()) {
    if (event.opcode != Opcode::Event) continue;
    EXPECT_EQ(event.offset, expected++);
  }
}

TEST(FanOut, SlowReadersAmongFiftySubscribersAreClosedAndTheOthersGetEverything) {
  services::NodeOptions options;
  options.network.queued_bytes_max = kQueueBytesMax;
  options.network.burst_patience = 0;  // as if it had ended: the plain limit is strict then
  with_node(tests::node_cores(2), options, [](NodeUnderTest& test) -> Task<void> {
    std::vector<ProtocolClient*> readers;
    std::vector<ProtocolClient*> slow;
    for (std::size_t i = 0; i < 50; ++i) {
      constexpr Via kAll[] = {Via::websocket, Via::tcp, Via::compressed};
      ProtocolClient* client = co_await test.connect(kAll[i % 3]);
      co_await subscribe(client, "stream");
      if (i < 2) {
        client->pause_receiving();
        slow.push_back(client);
      } else {
        readers.push_back(client);
      }
    }
    ProtocolClient* publisher = co_await test.connect(Via::websocket);
    // Until the kernel's buffers and then the queues of the two are full.
    const std::string data(16'000, 'd');
    std::uint64_t published = 0;
    std::uint64_t longest = 0;
    std::uint32_t delivered = 50;
    while (delivered > 48 && published < 2000) {
      const ServerMessage ack =
          co_await publisher->reply(begin_publish(publisher, "stream", data, true));
      EXPECT_EQ(ack.opcode, Opcode::Ack);
      delivered = ack.delivered;
      EXPECT_EQ(ack.offset, ++published);
      for (ProtocolClient* reader : readers) {
        const ServerMessage event = co_await reader->event();
        EXPECT_EQ(event.offset, published);
      }
      const std::uint64_t queued = co_await longest_queue(test);
      longest = std::max(longest, queued);
    }
    EXPECT_EQ(delivered, 48u);
    EXPECT_LE(longest, kQueueBytesMax + 1024) << "the limit, and a last word";
    EXPECT_GT(longest, kQueueBytesMax / 2) << "the queues were never full: this tests nothing";
    for (ProtocolClient* client : slow) {
      client->resume_receiving();
      const bool closed = co_await client->closed();
      EXPECT_TRUE(closed);
      if (client->via() == Via::tcp) {
        EXPECT_FALSE(client->events().empty());
        if (client->events().empty()) co_return;
        const ServerMessage& last = client->events().back();
        EXPECT_EQ(last.error, ErrorCode::slow_reader);
      } else {
        EXPECT_EQ(client->close_code(), ws::CloseCode::policy_violation);
      }
      EXPECT_EQ(client->problem(), "");
      expect_unbroken(client);
      EXPECT_LT(client->events().size(), published + 1);
    }
    // Everybody else goes on.
    const ServerMessage ack =
        co_await publisher->reply(begin_publish(publisher, "stream", "end", true));
    EXPECT_EQ(ack.delivered, 48u);
    for (ProtocolClient* reader : readers) {
      const ServerMessage event = co_await reader->event();
      EXPECT_EQ(event.data, "end");
    }
  });
}

// The largest burst of one turn, from the server's side: 20 events of 400 KiB.
constexpr int kBurstEvents = 20;

Task<void> publish_burst(NodeUnderTest& test, ProtocolClient* publisher, std::string_view channel) {
  co_await runtime::submit_to(publisher->core(), [&test, publisher, channel] {
    const std::string data(400 * 1024, 'b');
    test.node().cores()->sessions().for_each([&](services::Session& session) {
      if (session.uuid() != publisher->uuid()) return;
      for (int i = 0; i < kBurstEvents; ++i) {
        services::PubSub::local().publish(
            {.channel = channel, .data = bytes_of(data), .publisher = session.uuid()}, {});
      }
    });
  });
}

// A peer that takes nothing keeps the rest of burst_patience, and at most the bound of a burst.
TEST(FanOut, ABurstPastTheQueuesLimitReachesReadersAndClosesOnlyThoseThatDoNotRead) {
  for (const CoreId cores : {CoreId{1}, CoreId{2}}) {
    with_node(cores, [cores](NodeUnderTest& test) -> Task<void> {
      for (const Via via : {Via::websocket, Via::tcp}) {
        SCOPED_TRACE(testing::Message() << cores << " cores, transport " << static_cast<int>(via));
        ProtocolClient* publisher = co_await test.connect(Via::websocket);
        ProtocolClient* reader = co_await test.connect_on(static_cast<CoreId>(cores - 1), via);
        co_await subscribe(reader, "burst");
        for (int round = 0; round < 3; ++round) {
          co_await publish_burst(test, publisher, "burst");
          const bool all = co_await reader->has_events(kBurstEvents);
          EXPECT_TRUE(all) << reader->events().size() << " events, " << reader->problem();
          if (!all) co_return;
          reader->events().clear();
        }
        // It stops: the first burst may be kept for it, but not one after the other.
        reader->pause_receiving();
        for (int round = 0; round < 3; ++round) {
          co_await publish_burst(test, publisher, "burst");
          for (int turn = 0; turn < 20; ++turn) co_await publisher->settle();
        }
        const std::uint64_t longest = co_await longest_queue(test);
        EXPECT_LE(longest, net::NetworkOptions::kBurst << 20);
        reader->resume_receiving();
        const bool closed = co_await reader->closed();
        EXPECT_TRUE(closed);
        if (via == Via::tcp) {
          EXPECT_FALSE(reader->events().empty());
          if (reader->events().empty()) co_return;
          EXPECT_EQ(reader->events().back().error, ErrorCode::slow_reader);
        } else {
          EXPECT_EQ(reader->close_code(), ws::CloseCode::policy_violation);
        }
      }
    });
  }
}

// An Ack, a small event over TCP: what is copied behind events that are shared.
TEST(FanOut, SmallAnswersBehindABurstCloseNoReader) {
  constexpr int kLarge = 10;
  constexpr int kSmall = 20;
  for (const CoreId cores : {CoreId{1}, CoreId{2}}) {
    with_node(cores, [cores](NodeUnderTest& test) -> Task<void> {
      for (const Via via : {Via::websocket, Via::tcp}) {
        SCOPED_TRACE(testing::Message() << cores << " cores, transport " << static_cast<int>(via));
        ProtocolClient* client = co_await test.connect_on(static_cast<CoreId>(cores - 1), via);
        co_await subscribe(client, "large");
        co_await subscribe(client, "small");
        for (int round = 0; round < 3; ++round) {
          co_await runtime::submit_to(client->core(), [&test, client] {
            const std::string data(400 * 1024, 'l');
            auto& pubsub = services::PubSub::local();
            test.node().cores()->sessions().for_each([&](services::Session& session) {
              if (session.uuid() != client->uuid()) return;
              for (int i = 0; i < kLarge + kSmall; ++i) {
                const bool is_large = i < kLarge;
                pubsub.publish({.channel = is_large ? "large" : "small",
                                .data = bytes_of(is_large ? data : "s"),
                                .publisher = session.uuid()},
                               services::ReplyTo::session(session, {}, true));
              }
            });
          });
          const bool all = co_await client->has_events(2 * (kLarge + kSmall));  // and their Acks
          EXPECT_TRUE(all) << client->events().size() << " events, " << client->problem();
          if (!all) co_return;
          client->events().clear();
        }
      }
    });
  }
}

// --- Lanes

TEST(FanOut, FloodsThroughLanesOfSixteenPlacesLoseNothingAndEnd) {
  runtime::RuntimeOptions runtime_options = tests::node_cores(3, 16);
  runtime_options.ring.entries = 8;
  runtime_options.ring.completion_entries = 32;
  with_node(runtime_options, {}, [](NodeUnderTest& test) -> Task<void> {
    constexpr std::uint64_t kPublishes = 3000;
    const std::string channels[] = {"flood-a", "flood-b", "flood-c", "flood-d"};
    std::vector<ProtocolClient*> subscribers;
    std::vector<ProtocolClient*> publishers;
    for (CoreId core = 0; core < 3; ++core) {
      subscribers.push_back(co_await test.connect_on(core));
      for (const std::string& channel : channels) {
        co_await subscribe(subscribers.back(), channel);
      }
    }
    publishers.push_back(co_await test.connect_on(1));  // all from one core
    publishers.push_back(co_await test.connect_on(1, Via::tcp));
    // More than anything between them holds; both wait for room at their own side.
    std::vector<std::vector<protocol::Uuid>> acks(publishers.size());
    for (std::uint64_t i = 0; i < kPublishes; ++i) {
      for (std::size_t p = 0; p < publishers.size(); ++p) {
        const protocol::Uuid id =
            begin_publish(publishers[p], channels[i % 4], std::to_string(i), true);
        EXPECT_NE(id, protocol::kNilUuid);
        acks[p].push_back(id);
      }
      if (i % 64 == 63) {
        for (ProtocolClient* publisher : publishers) co_await publisher->settle();
      }
    }
    for (std::size_t p = 0; p < publishers.size(); ++p) {
      for (const protocol::Uuid& id : acks[p]) {
        const ServerMessage ack = co_await publishers[p]->reply(id);
        EXPECT_EQ(ack.delivered, 3u);
      }
    }
    for (ProtocolClient* subscriber : subscribers) {
      const bool all = co_await subscriber->has_events(2 * kPublishes);
      EXPECT_TRUE(all) << subscriber->events().size();
      std::map<std::string, std::uint64_t> next;
      for (const ServerMessage& event : subscriber->events()) {
        EXPECT_EQ(event.offset, ++next[event.channel]);
      }
    }
  });
}

}  // namespace
}  // namespace corelane
