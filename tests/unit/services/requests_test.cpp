// Goal: every request has the effect and the reply that protocol/README.md promises, between any
// two cores and over every transport. Method: a whole node with clients whose sessions lie on
// chosen cores, found by WhoAmI.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/services/requests.hpp"

namespace {

using protocol::ErrorCode;
using protocol::Opcode;
using runtime::CoreId;
using runtime::Task;
using tests::bytes_of;
using tests::expect_error;
using tests::for_every_pair;
using tests::kTransports;
using tests::NodeUnderTest;
using tests::ProtocolClient;
using tests::ServerMessage;
using tests::Via;
using tests::with_node;

// --- WhoAmI, Ping

TEST(Requests, WhoAmINamesSessionCoreTransportAndLimits) {
  services::NodeOptions options;
  options.dispatch.node_name = "n1";
  with_node(tests::node_cores(2), options, [](NodeUnderTest& test) -> Task<void> {
    protocol::Uuid before{};
    for (const Via via : {Via::websocket, Via::tcp, Via::compressed}) {
      ProtocolClient* client = co_await test.connect(via);
      const ServerMessage reply = co_await client->request(protocol::WhoAmIBody{});
      EXPECT_EQ(reply.opcode, Opcode::WhoAmIReply);
      EXPECT_EQ(reply.from, client->uuid()) << "asked twice, the session is the same";
      EXPECT_NE(reply.from, before);
      before = reply.from;
      EXPECT_LT(reply.core, 2);
      EXPECT_EQ(reply.transport,
                via == Via::tcp ? protocol::Transport::tcp : protocol::Transport::websocket);
      EXPECT_EQ(reply.frame_bytes_max, 1u << 20);
      EXPECT_EQ(reply.subscriptions_max, 1000u);
      EXPECT_GT(reply.timestamp, 0u);
    }
  });
}

// With direct descriptors, the default, and with plain ones.
TEST(Requests, WhoAmITellsTheClientsOwnAddress) {
  for (const bool direct : {true, false}) {
    services::NodeOptions options;
    options.network.direct_descriptors = direct;
    for (const char* listen : {"127.0.0.1:0", "[::1]:0"}) {
      SCOPED_TRACE(testing::Message() << listen << (direct ? " direct" : " plain"));
      options.listen = options.tcp_listen = {*runtime::Address::parse(listen)};
      with_node(tests::node_cores(2), options, [](NodeUnderTest& test) -> Task<void> {
        for (const Via via : {Via::websocket, Via::tcp}) {
          ProtocolClient* client = co_await test.connect(via);
          const auto own =
              runtime::Core::current().ring().local_address(client->stream()->descriptor());
          EXPECT_TRUE(own);
          for (int i = 0; i < 2; ++i) {
            const ServerMessage reply = co_await client->request(protocol::WhoAmIBody{});
            EXPECT_EQ(reply.remote_address, own->text());
          }
        }
      });
    }
  }
}

TEST(Requests, WhoAmIKnowsAUnixStream) {
  services::NodeOptions options;
  const std::string name = "unix:@corelane-test-" +
                           std::to_string(testing::UnitTest::GetInstance()->random_seed()) + "-" +
                           std::to_string(reinterpret_cast<std::uintptr_t>(&options));
  options.tcp_listen = {*runtime::Address::parse(name)};
  with_node(tests::node_cores(2), options, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect(Via::tcp);
    const ServerMessage reply = co_await client->request(protocol::WhoAmIBody{});
    EXPECT_EQ(reply.transport, protocol::Transport::unix_stream);
    EXPECT_EQ(reply.remote_address, "");
  });
}

TEST(Requests, PingIsAnsweredByPongWithItsDataAndTheServersClock) {
  with_node(2, [](NodeUnderTest& test) -> Task<void> {
    for (const Via via : kTransports) {
      ProtocolClient* client = co_await test.connect(via);
      std::uint64_t before = 0;
      for (const std::size_t size : {0u, 1u, 4096u, 100'000u}) {
        const std::string data(size, 'p');
        const protocol::PingBody body{.data = bytes_of(data)};
        const ServerMessage pong = co_await client->request(body);
        EXPECT_EQ(pong.opcode, Opcode::Pong);
        EXPECT_EQ(pong.data, data);
        EXPECT_GE(pong.server_time, before);
        before = pong.server_time;
      }
      EXPECT_GT(before, 0u);
    }
  });
}

// A Ping as FlatBuffers' own builder makes it, which lays everything out differently.
std::vector<std::byte> foreign_ping(const protocol::Uuid& id, std::string_view data) {
  using namespace protocol;
  flatbuffers::FlatBufferBuilder inner;
  const auto bytes =
      inner.CreateVector(reinterpret_cast<const std::uint8_t*>(data.data()), data.size());
  inner.Finish(fbs::CreatePingRequest(inner, bytes));
  flatbuffers::FlatBufferBuilder builder;
  const auto payload = builder.CreateVector(inner.GetBufferPointer(), inner.GetSize());
  const fbs::UUID wire_id = to_fbs(id);
  builder.FinishSizePrefixed(fbs::CreateMessage(builder, Opcode::Ping, &wire_id, payload));
  const auto* frame = reinterpret_cast<const std::byte*>(builder.GetBufferPointer());
  return {frame, frame + builder.GetSize()};
}

TEST(Requests, MessagesOfOtherBuildersAreServedInTheirPlaceAmongOurs) {
  with_node(2, [](NodeUnderTest& test) -> Task<void> {
    for (const Via via : {Via::websocket, Via::compressed, Via::tcp}) {
      ProtocolClient* client = co_await test.connect(via);
      std::vector<std::pair<protocol::Uuid, std::string>> sent;
      std::vector<std::byte> batch;
      for (std::size_t i = 0; i < 60; ++i) {
        const auto& [id, data] =
            sent.emplace_back(client->new_transaction(), std::string(i, static_cast<char>(i)));
        std::vector<std::byte> frame;
        if (i % 3 == 0) {
          frame = foreign_ping(id, data);
        } else {
          const protocol::MessageHeader header{.transaction_id = id,
                                               .span_id = i % 3 == 1 ? 0 : std::uint64_t{i}};
          protocol::append_frame(frame, header, protocol::PingBody{.data = bytes_of(data)});
        }
        batch.insert(batch.end(), frame.begin(), frame.end());
      }
      client->send_bytes(batch);
      std::uint64_t before = 0;
      for (const auto& [id, data] : sent) {
        const ServerMessage pong = co_await client->reply(id);
        EXPECT_EQ(pong.opcode, Opcode::Pong);
        EXPECT_EQ(pong.data, data);
        EXPECT_GT(pong.arrival, before);
        before = pong.arrival;
      }
    }
  });
}

TEST(Requests, APongFromAClientIsTakenInSilence) {
  with_node(2, [](NodeUnderTest& test) -> Task<void> {
    for (const Via via : kTransports) {
      ProtocolClient* client = co_await test.connect(via);
      const protocol::Uuid id = client->send(protocol::PongBody{.data = {}, .server_time = 1});
      const bool settled = co_await client->settle();
      EXPECT_TRUE(settled);
      EXPECT_TRUE(client->events().empty());
      // A reply would have come ahead of that to the Ping.
      EXPECT_FALSE(client->has_reply(id));
    }
  });
}

// --- Opcodes that nobody serves

TEST(Requests, OpcodesThatAreNotServedGetTheErrorOfTheirClass) {
  with_node(2, [](NodeUnderTest& test) -> Task<void> {
    for (const Via via : kTransports) {
      ProtocolClient* client = co_await test.connect(via);
      for (std::uint16_t number = 0; number < 300; ++number) {
        if (number >= 1 && number <= 8) continue;
        SCOPED_TRACE(number);
        const auto opcode = static_cast<Opcode>(number);
        ErrorCode expected = ErrorCode::unknown_opcode;
        if (number >= 9 && number <= 18) expected = ErrorCode::unsupported_opcode;
        if (number >= 19 && number <= 63) expected = ErrorCode::unexpected_opcode;
        const protocol::RawBody body{.kOpcode = opcode, .payload = bytes_of("any")};
        const ServerMessage reply = co_await client->request(body);
        expect_error(reply, expected, opcode);
        EXPECT_EQ(reply.retry_after_ms, 0u);
      }
      const protocol::RawBody last{.kOpcode = static_cast<Opcode>(65'535), .payload = {}};
      const ServerMessage reply = co_await client->request(last);
      expect_error(reply, ErrorCode::unknown_opcode, static_cast<Opcode>(65'535));
    }
  });
}

// --- Subscribe and unsubscribe

TEST(Requests, ASubscribeAnswersEachChannelOnItsOwn) {
  with_node(3, [](NodeUnderTest& test) -> Task<void> {
    for (const Via via : kTransports) {
      ProtocolClient* client = co_await test.connect(via);
      const std::string longest(255, 'a');
      const std::string too_long(256, 'a');
      const std::string_view names[] = {"good",
                                        "",
                                        longest,
                                        too_long,
                                        "tab\there",
                                        "del\x7f",
                                        "\xff\xfe",
                                        "good",
                                        "\xc3\xa9t\xc3\xa9",
                                        std::string_view("nul\0l", 5),
                                        "with space",
                                        "\xed\xa0\x80"};
      const protocol::SubscribeBody body{.channels = names};
      const ServerMessage reply = co_await client->request(body);
      EXPECT_EQ(reply.opcode, Opcode::SubscribeReply);
      constexpr auto kInvalid = ErrorCode::channel_name_invalid;
      const std::vector<ErrorCode> expected = {
          ErrorCode::none, kInvalid, ErrorCode::none, kInvalid,
          kInvalid,        kInvalid, kInvalid,        ErrorCode::already_subscribed,
          ErrorCode::none, kInvalid, ErrorCode::none, kInvalid};
      EXPECT_EQ(reply.results.size(), expected.size());
      if (reply.results.size() != expected.size()) co_return;
      for (std::size_t i = 0; i < expected.size(); ++i) {
        SCOPED_TRACE(i);
        EXPECT_EQ(reply.results[i].code(), expected[i]);
        const bool held = expected[i] == ErrorCode::none;
        EXPECT_EQ(reply.results[i].epoch() != 0, held) << "only a subscription has a position";
        EXPECT_EQ(reply.results[i].offset(), 0u);
        EXPECT_EQ(reply.results[i].flags(), 0u);
      }
      const ServerMessage again = co_await subscribe(client, "good");
      EXPECT_EQ(again.results.at(0).code(), ErrorCode::already_subscribed);
      client->close();
      co_await client->closed();
    }
  });
}

TEST(Requests, ASessionHoldsAThousandSubscriptionsAndNotOneMore) {
  with_node(2, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect(Via::websocket);
    std::vector<std::string> names;
    for (int i = 0; i < 1001; ++i) names.push_back("channel-" + std::to_string(i));
    std::vector<std::string_view> views(names.begin(), names.end());
    {
      const protocol::SubscribeBody body{.channels = views};
      const ServerMessage reply = co_await client->request(body);
      expect_error(reply, ErrorCode::too_many_channels, Opcode::ClientSubscribe);
    }
    const auto first_999 = std::span(views).first(999);
    const protocol::SubscribeBody most{.channels = first_999};
    const ServerMessage held = co_await client->request(most);
    EXPECT_EQ(held.results.size(), 999u);
    for (const auto& result : held.results) EXPECT_EQ(result.code(), ErrorCode::none);
    // At the limit, and one past it.
    const protocol::SubscribeBody rest{.channels = std::span(views).last(2)};
    const ServerMessage reply = co_await client->request(rest);
    EXPECT_EQ(reply.results.at(0).code(), ErrorCode::none);
    EXPECT_EQ(reply.results.at(1).code(), ErrorCode::too_many_subscriptions);
    const ServerMessage same = co_await subscribe(client, names[5]);
    EXPECT_EQ(same.results.at(0).code(), ErrorCode::already_subscribed)
        << "a channel that is held needs no room";
    const ServerMessage left = co_await unsubscribe(client, names[7]);
    EXPECT_EQ(left.results.at(0).code(), ErrorCode::none);
    const ServerMessage fits = co_await subscribe(client, names[1000]);
    EXPECT_EQ(fits.results.at(0).code(), ErrorCode::none) << "room that was given back";
    // One request of 1,000 is at its limit.
    const protocol::UnsubscribeBody all{.channels = std::span(views).first(1000)};
    const ServerMessage gone = co_await client->request(all);
    EXPECT_EQ(gone.results.size(), 1000u);
    EXPECT_EQ(gone.results.at(7).code(), ErrorCode::not_subscribed);
    EXPECT_EQ(gone.results.at(8).code(), ErrorCode::none);
  });
}

TEST(Requests, AnUnsubscribeAnswersEachChannelOnItsOwn) {
  with_node(2, [](NodeUnderTest& test) -> Task<void> {
    for (const Via via : kTransports) {
      ProtocolClient* client = co_await test.connect(via);
      co_await subscribe(client, "held");
      const std::string_view names[] = {"held", "never", "held", ""};
      const protocol::UnsubscribeBody body{.channels = names};
      const ServerMessage reply = co_await client->request(body);
      EXPECT_EQ(reply.opcode, Opcode::UnsubscribeReply);
      EXPECT_EQ(reply.results.size(), 4u);
      if (reply.results.size() != 4) co_return;
      EXPECT_EQ(reply.results[0].code(), ErrorCode::none);
      EXPECT_EQ(reply.results[1].code(), ErrorCode::not_subscribed);
      EXPECT_EQ(reply.results[2].code(), ErrorCode::not_subscribed);
      EXPECT_EQ(reply.results[3].code(), ErrorCode::channel_name_invalid);
    }
  });
}

TEST(Requests, EmptyListsOfChannelsHaveEmptyReplies) {
  with_node(2, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect(Via::websocket);
    const ServerMessage first = co_await client->request(protocol::SubscribeBody{.channels = {}});
    EXPECT_EQ(first.opcode, Opcode::SubscribeReply);
    EXPECT_TRUE(first.results.empty());
    const ServerMessage last = co_await client->request(protocol::UnsubscribeBody{.channels = {}});
    EXPECT_EQ(last.opcode, Opcode::UnsubscribeReply);
    EXPECT_TRUE(last.results.empty());
  });
}

TEST(Requests, NoEventFollowsAnUnsubscribeReply) {
  for_every_pair([](NodeUnderTest&, ProtocolClient* from, ProtocolClient* to) -> Task<void> {
    for (const std::string name : {"one", "two", "three", "four"}) {
      const std::string channel =
          name + std::to_string(from->core()) + "-" + std::to_string(to->core());
      co_await subscribe(to, channel);
      for (int i = 0; i < 20; ++i) {
        from->send(protocol::PublishBody{.channel = channel, .data = {}, .requires_ack = false});
      }
      const ServerMessage gone = co_await unsubscribe(to, channel);
      EXPECT_EQ(gone.results.at(0).code(), ErrorCode::none);
      const ServerMessage ack = co_await publish(from, channel, "late");
      EXPECT_EQ(ack.delivered, 0u);
      EXPECT_EQ(ack.offset, 21u);
      co_await to->settle();
      for (const ServerMessage& event : to->events()) EXPECT_LT(event.arrival, gone.arrival);
      to->events().clear();
    }
    from->close();
    to->close();
  });
}

// Whether owner and subscriber share a core must not matter to a client that does not wait.
TEST(Requests, RequestsThatAreNotWaitedForTakeEffectInTheirOrder) {
  with_node(3, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* other = co_await test.connect(Via::websocket);
    for (int i = 0; i < 12; ++i) {
      const std::string channel = "pipelined-" + std::to_string(i);
      SCOPED_TRACE(channel);
      ProtocolClient* client = co_await test.connect_on(static_cast<CoreId>(i % 3));
      const std::string_view names[] = {channel};
      const auto say = [&](std::string_view data) {
        return client->send(protocol::PublishBody{
            .channel = channel, .data = bytes_of(data), .requires_ack = true});
      };
      const auto enter = [&] { return client->send(protocol::SubscribeBody{.channels = names}); };
      const auto leave = [&] { return client->send(protocol::UnsubscribeBody{.channels = names}); };
      const auto before = say("before");
      const auto first_enter = enter();
      const auto heard = say("heard");
      const auto first_leave = leave();
      const auto missed = say("missed");
      const auto second_enter = enter();
      const auto heard_too = say("heard too");
      const auto twice = enter();

      EXPECT_EQ((co_await client->reply(before)).delivered, 0u);
      const ServerMessage entered = co_await client->reply(first_enter);
      EXPECT_EQ(entered.results.at(0).code(), ErrorCode::none);
      EXPECT_EQ(entered.results.at(0).offset(), 1u);
      EXPECT_EQ((co_await client->reply(first_leave)).results.at(0).code(), ErrorCode::none);
      EXPECT_EQ((co_await client->reply(missed)).delivered, 0u);
      const ServerMessage entered_again = co_await client->reply(second_enter);
      EXPECT_EQ(entered_again.results.at(0).code(), ErrorCode::none);
      EXPECT_EQ(entered_again.results.at(0).offset(), 3u);
      EXPECT_EQ((co_await client->reply(heard_too)).delivered, 1u);
      EXPECT_EQ((co_await client->reply(twice)).results.at(0).code(),
                ErrorCode::already_subscribed);
      const ServerMessage heard_ack = co_await client->reply(heard);
      EXPECT_EQ(heard_ack.offset, 2u);

      const ServerMessage ack = co_await publish(other, channel, "last");
      EXPECT_EQ(ack.delivered, 1u);
      EXPECT_EQ(ack.offset, 5u);
      const bool all = co_await client->wait_until(
          [client] { return !client->events().empty() && client->events().back().data == "last"; });
      EXPECT_TRUE(all);
      // "heard" is handed over unless the unsubscribe was looked at before it came back.
      std::vector<std::string> data;
      for (const ServerMessage& event : client->events()) {
        if (event.data != "heard") data.push_back(event.data);
        EXPECT_GT(event.arrival, entered.arrival);
      }
      EXPECT_EQ(data, (std::vector<std::string>{"heard too", "last"}));
      client->close();
    }
  });
}

// --- Publish

TEST(Requests, APublishReachesSubscribersOnAnyCoreWithItsPosition) {
  for_every_pair([](NodeUnderTest&, ProtocolClient* from, ProtocolClient* to) -> Task<void> {
    // Several names, so that every core owns one of them.
    for (int i = 0; i < 8; ++i) {
      const std::string channel = "channel-" + std::to_string(from->core()) +
                                  std::to_string(to->core()) + "-" + std::to_string(i);
      const ServerMessage nobody = co_await publish(from, channel, "to nobody");
      EXPECT_EQ(nobody.opcode, Opcode::Ack);
      EXPECT_EQ(nobody.delivered, 0u);
      EXPECT_EQ(nobody.offset, 1u);
      const ServerMessage held = co_await subscribe(to, channel);
      EXPECT_EQ(held.results.at(0).epoch(), nobody.epoch);
      EXPECT_EQ(held.results.at(0).offset(), 1u);

      const ServerMessage ack = co_await publish(from, channel, "first");
      EXPECT_EQ(ack.delivered, 1u);
      EXPECT_EQ(ack.offset, 2u);
      EXPECT_EQ(ack.epoch, nobody.epoch);
      const ServerMessage event = co_await to->event();
      EXPECT_EQ(event.opcode, Opcode::Event);
      EXPECT_EQ(event.channel, channel);
      EXPECT_EQ(event.data, "first");
      EXPECT_EQ(event.epoch, ack.epoch);
      EXPECT_EQ(event.offset, ack.offset);
      EXPECT_EQ(event.from, from->uuid());
      EXPECT_GT(event.timestamp, 0u);

      // The publisher is a subscriber as well.
      co_await subscribe(from, channel);
      const ServerMessage both = co_await publish(from, channel, "");
      EXPECT_EQ(both.delivered, 2u);
      const ServerMessage own = co_await from->event();
      EXPECT_EQ(own.offset, 3u);
      EXPECT_EQ(own.data, "");
      const ServerMessage theirs = co_await to->event();
      EXPECT_EQ(theirs.offset, 3u);
    }
    from->close();
    to->close();
    co_await from->closed();
    co_await to->closed();
  });
}

TEST(Requests, APublishWithoutAckIsAnsweredByNothing) {
  for_every_pair([](NodeUnderTest&, ProtocolClient* from, ProtocolClient* to) -> Task<void> {
    co_await subscribe(to, "quiet");
    const protocol::Uuid id = from->send(
        protocol::PublishBody{.channel = "quiet", .data = bytes_of("data"), .requires_ack = false});
    const ServerMessage event = co_await to->event();
    EXPECT_EQ(event.data, "data");
    const ServerMessage ack = co_await publish(from, "quiet", "with ack");
    EXPECT_EQ(ack.offset, event.offset + 1);
    EXPECT_FALSE(from->has_reply(id));
    co_await to->event();
    co_await unsubscribe(to, "quiet");
  });
}

TEST(Requests, APublishToAnInvalidNameIsRefusedWithAndWithoutAck) {
  with_node(2, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect(Via::websocket);
    const std::string too_long(256, 'x');
    for (const std::string_view name : {std::string_view{}, std::string_view{too_long},
                                        std::string_view{"a\nb"}, std::string_view{"\xc0\x80"}}) {
      for (const bool requires_ack : {true, false}) {
        const protocol::PublishBody body{.channel = name, .data = {}, .requires_ack = requires_ack};
        const ServerMessage reply = co_await client->request(body);
        expect_error(reply, ErrorCode::channel_name_invalid, Opcode::Publish);
      }
    }
    const ServerMessage longest = co_await publish(client, std::string(255, 'x'), "");
    EXPECT_EQ(longest.opcode, Opcode::Ack);
  });
}

TEST(Requests, AnAckCountsTheSessionsExactly) {
  with_node(3, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* publisher = co_await test.connect(Via::tcp);
    std::vector<ProtocolClient*> subscribers;
    for (std::uint32_t i = 0; i < 30; ++i) {
      constexpr Via kAll[] = {Via::websocket, Via::tcp, Via::compressed};
      subscribers.push_back(co_await test.connect(kAll[i % 3]));
      co_await subscribe(subscribers.back(), "counted");
      const ServerMessage ack = co_await publish(publisher, "counted", "x");
      EXPECT_EQ(ack.delivered, i + 1);
      EXPECT_EQ(ack.offset, i + 1);
    }
    for (std::uint32_t i = 0; i < 30; ++i) {
      const bool all = co_await subscribers[i]->has_events(30 - i);
      EXPECT_TRUE(all);
      co_await unsubscribe(subscribers[i], "counted");
      const ServerMessage ack = co_await publish(publisher, "counted", "y");
      EXPECT_EQ(ack.delivered, 29 - i);
    }
  });
}

// What a client may send, an event of it must be deliverable to every subscriber.
TEST(Requests, DataThatWouldNotFitAnyonesQueueIsRefusedAndCostsNobodyTheConnection) {
  for_every_pair([](NodeUnderTest&, ProtocolClient* from, ProtocolClient* to) -> Task<void> {
    co_await subscribe(to, "large");
    std::string data((1 << 20) - 132, 'd');  // a frame of about 1 MiB, which the server takes
    const ServerMessage publish_reply = co_await publish(from, "large", data);
    expect_error(publish_reply, ErrorCode::payload_too_large, Opcode::Publish);
    const protocol::PingBody ping{.data = bytes_of(data)};
    const ServerMessage pong = co_await from->request(ping);
    EXPECT_EQ(pong.opcode, Opcode::Pong) << "a Ping and its Pong are of the same size";
    data.resize(data.size() - 400);
    const ServerMessage ack = co_await publish(from, "large", data);
    EXPECT_EQ(ack.delivered, 1u);
    const ServerMessage event = co_await to->event();
    EXPECT_EQ(event.data.size(), data.size());
    const protocol::SendBody send{
        .session = to->uuid(), .data = bytes_of(data), .requires_ack = true};
    const ServerMessage sent = co_await from->request(send);
    EXPECT_EQ(sent.delivered, 1u);
    const ServerMessage direct = co_await to->event();
    EXPECT_EQ(direct.data.size(), data.size());
    EXPECT_TRUE(to->open());
    EXPECT_TRUE(from->open());
    co_await unsubscribe(to, "large");
  });
}

}  // namespace
