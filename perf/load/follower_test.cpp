// Goal: subscribers that follow the log accept exactly the stream that was published, however it is
// cut, in whatever order they read, with pings of their own between messages and with frames cut
// differently; and notice each byte that differs. Method: streams of several protocols are made
// from the payloads and fed to followers in random pieces.

#include "perf/load/follower.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "perf/load/message_ring.hpp"
#include "protocol/message.hpp"
#include "runtime/random.hpp"

namespace corelane {
namespace {

using perf::DeliveryLog;
using perf::DeliveryOrder;
using perf::FanoutProtocol;
using perf::Follower;
using perf::Protocol;
using perf::PublishedPayloads;
using perf::Scheme;
using Bytes = std::vector<std::byte>;
using View = std::span<const std::byte>;

constexpr std::size_t kPayloadBytes = 40;

void append(Bytes& to, View bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}
void append(Bytes& to, std::string_view text) {
  append(to, std::as_bytes(std::span{text}));
}

struct Server {
  Scheme scheme;
  Protocol protocol;
  PublishedPayloads payloads{kPayloadBytes};

  Bytes greeting() const {
    Bytes bytes;
    if (protocol == Protocol::nats) append(bytes, "INFO {}\r\nPONG\r\n");
    if (protocol == Protocol::resp) append(bytes, "*3\r\n$9\r\nsubscribe\r\n$4\r\nload\r\n:1\r\n");
    if (protocol == Protocol::raw && scheme == Scheme::tcp) append(bytes, "S");
    if (protocol == Protocol::opcode) {
      const protocol::fbs::ChannelResult result(7, 0, protocol::ErrorCode::none, 0, 0);
      append(bytes, opcode(protocol::SubscribeReplyBody{.results = {&result, 1}}));
    }
    return bytes;
  }
  Bytes message(std::uint64_t sequence) {
    const View payload = payloads.make(sequence);
    Bytes bytes;
    switch (protocol) {
      case Protocol::nats:
        append(bytes, "MSG load 1 40\r\n");
        append(bytes, payload);
        append(bytes, "\r\n");
        break;
      case Protocol::resp:
        append(bytes, "*3\r\n$7\r\nmessage\r\n$4\r\nload\r\n$40\r\n");
        append(bytes, payload);
        append(bytes, "\r\n");
        break;
      case Protocol::opcode:
        append(bytes, opcode(event(sequence, payload)));
        break;
      case Protocol::raw:
        append(bytes, scheme == Scheme::ws ? perf::server_frame(payload)
                                           : Bytes(payload.begin(), payload.end()));
        break;
    }
    return bytes;
  }
  static protocol::EventBody event(std::uint64_t sequence, View payload) {
    return {.channel = "load", .epoch = 7, .offset = sequence + 1, .data = payload};
  }
  template <class Body>
  Bytes opcode(const Body& body) const {
    Bytes frame;
    protocol::append_frame(frame, {.timestamp = 12345}, body);
    return scheme == Scheme::ws ? perf::server_frame(frame) : frame;
  }
};

perf::Settings settings_of(const Server& server) {
  perf::Settings settings;
  settings.target.scheme = server.scheme;
  settings.protocol = server.protocol;
  settings.payload_bytes = kPayloadBytes;
  return settings;
}

std::vector<Server> all_servers() {
  return {{Scheme::ws, Protocol::raw},    {Scheme::tcp, Protocol::raw},
          {Scheme::ws, Protocol::opcode}, {Scheme::tcp, Protocol::opcode},
          {Scheme::tcp, Protocol::nats},  {Scheme::tcp, Protocol::resp}};
}

// Subscribers of one load.
struct Readers {
  Readers(const Server& server, std::size_t count, perf::Numbering numbering = {})
      : protocol(perf::make_fanout_protocol(settings_of(server))),
        order(payloads, numbering),
        log(*protocol, order),
        followers(count, Follower(*protocol, order, log, Follower::Judged::yes)) {}

  // Feeds it; false when something was wrong.
  bool feed(std::size_t reader, View bytes) {
    Follower& follower = followers[reader];
    auto found = follower.feed(bytes);
    for (; found != Follower::Found::drained; found = follower.feed({})) {
      if (found == Follower::Found::ping) {
        ++pings;
      } else if (found != Follower::Found::confirmed) {
        return false;
      }
    }
    return true;
  }
  std::uint64_t behind() const {
    std::uint64_t least = UINT64_MAX;
    for (const Follower& follower : followers) least = std::min(least, follower.next_sequence());
    return least;
  }

  std::unique_ptr<FanoutProtocol> protocol;
  PublishedPayloads payloads{kPayloadBytes};
  DeliveryOrder order;
  DeliveryLog log;
  std::vector<Follower> followers;
  std::size_t pings = 0;
};

TEST(Follower, AllGetTheStreamHoweverItIsCutAndWhicheverReadsFirst) {
  constexpr std::uint64_t kMessages = 3000;
  runtime::Random random(3);
  auto servers = all_servers();
  for (Server& server : servers) {
    for (const std::size_t piece_max : {1U, 50U, 1000U}) {
      Readers readers(server, 4);
      for (std::size_t i = 0; i < 4; ++i) ASSERT_TRUE(readers.feed(i, server.greeting()));
      Bytes stream;
      for (std::uint64_t i = 0; i < kMessages; ++i) append(stream, server.message(i));
      std::vector<std::size_t> at(4);
      while (*std::min_element(at.begin(), at.end()) < stream.size()) {
        const auto reader = static_cast<std::size_t>(random.below(4));
        const std::size_t piece =
            std::min<std::size_t>(1 + random.below(piece_max), stream.size() - at[reader]);
        ASSERT_TRUE(readers.feed(reader, View{stream}.subspan(at[reader], piece)));
        at[reader] += piece;
        readers.log.forget_before(std::min(readers.behind(), readers.log.sequences()));
      }
      EXPECT_EQ(readers.behind(), kMessages);
      EXPECT_EQ(readers.log.sequences(), kMessages);
    }
  }
}

TEST(Follower, PingsOfOneSubscriberConcernNobodyElse) {
  const Bytes ping{std::byte{0x89}, std::byte{2}, std::byte{'h'}, std::byte{'i'}};
  for (const std::size_t piece : {1U, 7U, 100'000U}) {
    for (const Protocol spoken : {Protocol::raw, Protocol::opcode}) {
      Server server{Scheme::ws, spoken};
      Readers readers(server, 2);
      Bytes with = server.greeting();
      Bytes without = with;
      for (std::uint64_t i = 0; i < 50; ++i) {
        append(with, ping);
        append(with, server.message(i));
        append(without, server.message(i));
      }
      for (std::size_t at = 0; at < with.size(); at += piece) {
        for (std::size_t reader = 0; reader < 2; ++reader) {
          const Bytes& stream = reader == 0 ? with : without;
          if (at >= stream.size()) continue;
          const std::size_t part = std::min(piece, stream.size() - at);
          ASSERT_TRUE(readers.feed(reader, View{stream}.subspan(at, part)));
        }
      }
      EXPECT_EQ(readers.behind(), 50U);
      EXPECT_EQ(readers.pings, 50U);
    }
  }
}

TEST(Follower, AServerMayCutTheSameEventsIntoOtherMessages) {
  Server server{Scheme::ws, Protocol::opcode};
  Readers readers(server, 2);
  Bytes single = server.greeting();
  Bytes paired = single;
  for (std::uint64_t i = 0; i < 60; i += 2) {
    Bytes both;
    for (std::uint64_t sequence = i; sequence < i + 2; ++sequence) {
      append(single, server.message(sequence));
      PublishedPayloads payloads{kPayloadBytes};
      protocol::append_frame(both, {.timestamp = 12345},
                             Server::event(sequence, payloads.make(sequence)));
    }
    append(paired, perf::server_frame(both));
  }
  ASSERT_TRUE(readers.feed(0, single));
  ASSERT_TRUE(readers.feed(1, paired));
  EXPECT_EQ(readers.behind(), 60U);
}

TEST(Follower, NoticesADamagedByteOfAnyPayloadWhicheverReadsFirst) {
  auto servers = all_servers();
  for (Server& server : servers) {
    Bytes good = server.greeting();
    for (std::uint64_t i = 0; i < 3; ++i) append(good, server.message(i));
    const Bytes second = server.message(1);
    const auto payload = std::search(good.begin(), good.end(), second.begin(), second.end()) -
                         good.begin() +
                         (std::search(second.begin(), second.end(), server.payloads.make(1).begin(),
                                      server.payloads.make(1).end()) -
                          second.begin());
    for (std::size_t i = 0; i < kPayloadBytes; ++i) {
      Bytes damaged = good;
      damaged[static_cast<std::size_t>(payload) + i] ^= std::byte{1};
      for (const bool damaged_first : {false, true}) {
        Readers readers(server, 2);
        EXPECT_EQ(readers.feed(0, damaged_first ? damaged : good), !damaged_first);
        EXPECT_EQ(readers.feed(1, damaged_first ? good : damaged), damaged_first);
      }
    }
  }
}

TEST(Follower, NoticesLostDoubledAndSwappedMessages) {
  auto servers = all_servers();
  for (Server& server : servers) {
    const std::vector<std::vector<std::uint64_t>> orders{
        {0, 2, 3, 4}, {0, 1, 1, 2}, {0, 2, 1, 3}, {1, 2, 3, 4}};
    for (const auto& order : orders) {
      for (const bool alone : {false, true}) {
        Readers readers(server, 2);
        Bytes good = server.greeting();
        Bytes bad = good;
        for (std::uint64_t i = 0; i < 5; ++i) append(good, server.message(i));
        for (const std::uint64_t i : order) append(bad, server.message(i));
        if (!alone) {
          EXPECT_TRUE(readers.feed(0, good));
        }
        EXPECT_FALSE(readers.feed(1, bad));
        EXPECT_FALSE(readers.followers[1].explain().empty());
      }
    }
  }
}

// What two publishers of every third message, from the second on, have published: 1, 7, 13 the one
// and 4, 10, 16 the other.
constexpr perf::Numbering kTwoPublishers{.first = 1, .step = 3, .publishers = 2};

TEST(Follower, SeveralPublishersMayComeInAnyOneOrderThatKeepsTheirs) {
  auto servers = all_servers();
  for (Server& server : servers) {
    for (const std::vector<std::uint64_t>& order :
         {std::vector<std::uint64_t>{1, 4, 7, 10}, {4, 1, 10, 7}, {1, 7, 13, 4}, {4, 10, 16, 1}}) {
      Readers readers(server, 2, kTwoPublishers);
      Bytes stream = server.greeting();
      for (const std::uint64_t number : order) append(stream, server.message(number));
      EXPECT_TRUE(readers.feed(0, stream));
      EXPECT_TRUE(readers.feed(1, stream));
      EXPECT_EQ(readers.behind(), order.size());
      for (std::size_t place = 0; place < order.size(); ++place) {
        EXPECT_EQ(readers.order.number(place), order[place]);
      }
    }
  }
}

TEST(Follower, NoticesWhatSeveralPublishersCannotHaveCaused) {
  auto servers = all_servers();
  for (Server& server : servers) {
    const auto stream_of = [&](const std::vector<std::uint64_t>& order) {
      Bytes stream = server.greeting();
      for (const std::uint64_t number : order) append(stream, server.message(number));
      return stream;
    };
    // Out of a publisher's order, lost, doubled, of another channel.
    for (const std::vector<std::uint64_t>& order :
         {std::vector<std::uint64_t>{7, 1}, {4, 16}, {1, 4, 4}, {1, 5}, {0}}) {
      EXPECT_FALSE(Readers(server, 1, kTwoPublishers).feed(0, stream_of(order)));
    }
    // Another order than the first subscriber has got.
    Readers readers(server, 2, kTwoPublishers);
    EXPECT_TRUE(readers.feed(0, stream_of({1, 4, 7})));
    EXPECT_FALSE(readers.feed(1, stream_of({1, 7, 4})));
    EXPECT_FALSE(readers.followers[1].explain().empty());
  }
}

}  // namespace
}  // namespace corelane
