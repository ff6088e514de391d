// Goal: Subscribe and Unsubscribe have the effect and the reply that protocol/README.md promises,
// for each channel by itself and in the order of the requests. Method: a whole node with clients
// whose sessions lie on chosen cores, found by WhoAmI.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/services/requests.hpp"

namespace corelane {
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

TEST(SubscribeRequests, ASubscribeAnswersEachChannelOnItsOwn) {
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

TEST(SubscribeRequests, ASessionHoldsAThousandSubscriptionsAndNotOneMore) {
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

TEST(SubscribeRequests, AnUnsubscribeAnswersEachChannelOnItsOwn) {
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

TEST(SubscribeRequests, EmptyListsOfChannelsHaveEmptyReplies) {
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

TEST(SubscribeRequests, NoEventFollowsAnUnsubscribeReply) {
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

// A publisher that is subscribed when its events are ordered gets them, also if it does not wait
// for them before it unsubscribes.
TEST(SubscribeRequests, EventsThatAreOrderedBeforeAnUnsubscribeArriveAheadOfItsReply) {
  with_node(3, [](NodeUnderTest& test) -> Task<void> {
    for (int i = 0; i < 12; ++i) {
      const std::string channel = "left-" + std::to_string(i);
      SCOPED_TRACE(channel);
      ProtocolClient* client = co_await test.connect_on(static_cast<CoreId>(i % 3));
      // Another subscriber on the same core: the channel stays there, and goes on.
      ProtocolClient* stays = co_await test.connect_on(static_cast<CoreId>(i % 3));
      co_await subscribe(client, channel);
      co_await subscribe(stays, channel);
      const std::string_view names[] = {channel};
      const auto say = [&](std::string_view data) {
        client->send(protocol::PublishBody{
            .channel = channel, .data = bytes_of(data), .requires_ack = false});
      };
      for (const std::string_view data : {"one", "two", "three"}) say(data);
      const auto left = client->send(protocol::UnsubscribeBody{.channels = names});
      say("four");
      const ServerMessage gone = co_await client->reply(left);
      EXPECT_EQ(gone.results.at(0).code(), ErrorCode::none);
      EXPECT_EQ(gone.results.at(0).offset(), 3u);
      co_await client->settle();
      EXPECT_EQ(client->events().size(), 3u);
      for (const ServerMessage& event : client->events()) EXPECT_LT(event.arrival, gone.arrival);
      const bool all = co_await stays->wait_until([stays] { return stays->events().size() == 4; });
      EXPECT_TRUE(all);
      client->close();
      stays->close();
    }
  });
}

// A session may hold one channel for each that it leaves, also before it is told that it has left.
TEST(SubscribeRequests, AChannelThatIsBeingLeftCountsNoMore) {
  services::NodeOptions options;
  options.pubsub.subscriptions_per_session_max = 1;
  tests::with_node(tests::node_cores(3), options, [](NodeUnderTest& test) -> Task<void> {
    ProtocolClient* client = co_await test.connect(Via::websocket);
    std::vector<protocol::Uuid> entered;
    std::vector<protocol::Uuid> left;
    for (int i = 0; i < 20; ++i) {
      const std::string channel = "one-" + std::to_string(i);
      const std::string_view names[] = {channel};
      entered.push_back(client->send(protocol::SubscribeBody{.channels = names}));
      left.push_back(client->send(protocol::UnsubscribeBody{.channels = names}));
    }
    for (const protocol::Uuid& id : entered) {
      EXPECT_EQ((co_await client->reply(id)).results.at(0).code(), ErrorCode::none);
    }
    for (const protocol::Uuid& id : left) {
      EXPECT_EQ((co_await client->reply(id)).results.at(0).code(), ErrorCode::none);
    }
  });
}

// A publish is laid out for the subscribers of its time. A later subscriber of the same turn gets
// the publish's position in its reply, and must not get the event. Also when the subscriber's own
// core owns the channel.
TEST(SubscribeRequests, NoEventAtOrBelowThePositionOfASubscribeFollowsIt) {
  for (const CoreId cores : {CoreId{1}, CoreId{2}}) {
    with_node(cores, [](NodeUnderTest& test) -> Task<void> {
      std::vector<ProtocolClient*> present;
      for (CoreId core = 0; core < runtime::Core::current().cores(); ++core) {
        present.push_back(co_await test.connect_on(core));
      }
      for (int i = 0; i < 16; ++i) {
        const std::string channel = "turn-" + std::to_string(i);
        SCOPED_TRACE(channel);
        for (ProtocolClient* client : present) co_await subscribe(client, channel);
        ProtocolClient* late =
            co_await test.connect_on(static_cast<CoreId>(i % static_cast<int>(present.size())));
        const std::string_view names[] = {channel};
        for (int event = 0; event < 3; ++event) {
          late->send(protocol::PublishBody{.channel = channel, .data = {}, .requires_ack = false});
        }
        const protocol::SubscribeBody body{.channels = names};
        const ServerMessage entered = co_await late->reply(late->send(body));
        EXPECT_EQ(entered.results.at(0).offset(), 3u);
        co_await publish(late, channel, "last");
        const ServerMessage first = co_await late->event();
        EXPECT_EQ(first.data, "last") << "offset " << first.offset;
        for (ProtocolClient* client : present) {
          const bool all = co_await client->has_events(4);
          EXPECT_TRUE(all);
          client->events().clear();
        }
        late->close();
      }
    });
  }
}

// Whether owner and subscriber share a core must not matter to a client that does not wait.
TEST(SubscribeRequests, RequestsThatAreNotWaitedForTakeEffectInTheirOrder) {
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
      std::vector<std::string> data;
      for (const ServerMessage& event : client->events()) {
        data.push_back(event.data);
        EXPECT_GT(event.arrival, entered.arrival);
      }
      EXPECT_EQ(data, (std::vector<std::string>{"heard", "heard too", "last"}));
      client->close();
    }
  });
}

}  // namespace
}  // namespace corelane
