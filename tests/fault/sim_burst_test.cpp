// Goal: a burst of events past the limit of its queue closes no reader, also a reader that is
// descheduled for a while. A peer that takes nothing is ended, and until then its core keeps no
// more memory than its bound. Method: whole nodes in the simulation, over seeds; readers stop
// receiving for a while or for good.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "runtime/random.hpp"
#include "runtime/sim/world.hpp"
#include "tests/unit/services/requests.hpp"

namespace corelane {
namespace {

using runtime::CoreId;
using runtime::kMillisecond;
using runtime::Nanoseconds;
using runtime::Task;
using runtime::sim::Faults;
using runtime::sim::World;
using tests::bytes_of;
using tests::NodeUnderTest;
using tests::ProtocolClient;
using tests::ServerMessage;
using tests::Via;
using tests::with_node;

// Everything that may go wrong, but a network that brings what is sent.
Faults fast_network(std::uint64_t seed) {
  Faults faults = seed == 1 ? Faults::none() : Faults::swarm(seed, false);
  faults.socket_buffer_bytes = 256 * 1024;
  faults.network_delay = Faults::none().network_delay;
  return faults;
}

// Events of one turn, from the server's side: the publisher's own queue plays no part.
Task<void> publish_events(NodeUnderTest& test, ProtocolClient* publisher, std::string_view channel,
                          std::size_t bytes, int events = 1) {
  co_await runtime::submit_to(publisher->core(), [&test, publisher, channel, bytes, events] {
    const std::string data(bytes, 'b');
    test.node().cores()->sessions().for_each([&](services::Session& session) {
      if (session.uuid() != publisher->uuid()) return;
      for (int i = 0; i < events; ++i) {
        services::PubSub::local().publish(
            {.channel = channel, .data = bytes_of(data), .publisher = session.uuid()}, {});
      }
    });
  });
}

struct Held {
  std::uint64_t longest_queue = 0;
  std::uint64_t most_shared = 0;  // memory of one core
  std::uint64_t closing = 0;      // sessions
};

Task<Held> look(NodeUnderTest& test) {
  Held all;
  for (CoreId core = 0; core < runtime::Core::current().cores(); ++core) {
    const Held here = co_await runtime::submit_to(core, [&test] {
      Held held;
      test.node().cores()->network().for_each([&](auto, net::Stream& stream) {
        held.longest_queue = std::max<std::uint64_t>(held.longest_queue, stream.queued_bytes());
      });
      held.most_shared = runtime::Core::current().shared_bytes();
      test.node().cores()->sessions().for_each(
          [&](services::Session& session) { held.closing += session.closing() ? 1u : 0u; });
      return held;
    });
    all.longest_queue = std::max(all.longest_queue, here.longest_queue);
    all.most_shared = std::max(all.most_shared, here.most_shared);
    all.closing += here.closing;
  }
  co_return all;
}

constexpr std::size_t kEventBytes = 400 * 1024;
constexpr Nanoseconds kPause = 5 * kMillisecond;  // between two events: 80 MB/s

// Once a socket that was full for two turns of the server ended its reader.
TEST(SimBurst, AReaderThatTakesNothingForAWhileGetsTheWholeBurstInOrder) {
  for (const std::uint64_t seed : runtime::sim::seeds(1, 100)) {
    SCOPED_TRACE(seed);
    World world(seed, fast_network(seed));
    const Via via = seed % 2 == 0 ? Via::tcp : Via::websocket;
    with_node(2, [seed, via](NodeUnderTest& test) -> Task<void> {
      constexpr int kEvents = 25;
      runtime::Random random(seed);
      ProtocolClient* publisher = co_await test.connect(Via::websocket);
      ProtocolClient* reader = co_await test.connect_on(1, via);
      co_await subscribe(reader, "burst");
      const auto stop_after = static_cast<int>(random.between(1, 6));
      const auto pauses = static_cast<int>(random.between(4, 16));  // 20 to 80 ms
      std::uint64_t longest = 0;
      for (int i = 0; i < kEvents; ++i) {
        if (i == stop_after) reader->pause_receiving();
        if (i == stop_after + pauses) reader->resume_receiving();
        co_await publish_events(test, publisher, "burst", kEventBytes);
        co_await runtime::sleep_for(kPause);
        const Held held = co_await look(test);
        longest = std::max(longest, held.longest_queue);
      }
      const bool all = co_await reader->has_events(kEvents);
      EXPECT_TRUE(all) << reader->events().size() << " events, closed with "
                       << static_cast<int>(reader->close_code());
      EXPECT_TRUE(reader->open());
      if (pauses > 6) {
        EXPECT_GT(longest, 1u << 20) << "no queue was full: this tests nothing";
      }
      for (std::size_t i = 0; i < reader->events().size(); ++i) {
        EXPECT_EQ(reader->events()[i].offset, i + 1);
        EXPECT_EQ(reader->events()[i].data.size(), kEventBytes);
      }
    });
    if (HasFailure()) return;
  }
}

// If events come fast, the bound of the queue ends it; if they come slowly, its time does.
TEST(SimBurst, AReaderThatTakesNothingAtAllIsClosedWithinTheBound) {
  for (const std::uint64_t seed : runtime::sim::seeds(1, 100)) {
    SCOPED_TRACE(seed);
    World world(seed, fast_network(seed));
    const Via via = seed % 2 == 0 ? Via::tcp : Via::websocket;
    const bool is_fast = seed % 4 < 2;
    with_node(2, [via, is_fast](NodeUnderTest& test) -> Task<void> {
      const Nanoseconds patience = net::NetworkOptions{}.burst_patience;
      const Nanoseconds between = is_fast ? kPause : patience / 5;
      ProtocolClient* publisher = co_await test.connect(Via::websocket);
      ProtocolClient* reader = co_await test.connect_on(1, via);
      co_await subscribe(reader, "burst");
      reader->pause_receiving();
      const Nanoseconds begin = runtime::Core::current().now();
      Held held;
      std::uint64_t longest = 0;
      std::uint64_t published = 0;
      while (held.closing == 0 && published < 100) {
        co_await publish_events(test, publisher, "burst", kEventBytes);
        ++published;
        co_await runtime::sleep_for(between);
        held = co_await look(test);
        longest = std::max(longest, held.longest_queue);
      }
      const Nanoseconds taken = runtime::Core::current().now() - begin;
      EXPECT_EQ(held.closing, 1u);
      EXPECT_LE(longest, net::NetworkOptions::kBurst << 20);
      EXPECT_GT(longest, is_fast ? 7u << 20 : 1u << 20);
      EXPECT_LE(taken, patience + 5 * between);
      if (!is_fast) {
        EXPECT_GE(taken, patience);
      }
      reader->resume_receiving();
      const bool closed = co_await reader->closed();
      EXPECT_TRUE(closed);
      EXPECT_FALSE(reader->events().empty());
      if (reader->events().empty()) co_return;
      if (via == Via::tcp) {
        EXPECT_EQ(reader->events().back().error, protocol::ErrorCode::slow_reader);
        reader->events().pop_back();
      } else {
        EXPECT_EQ(reader->close_code(), ws::CloseCode::policy_violation);
      }
      EXPECT_LT(reader->events().size(), published);
      for (std::size_t i = 0; i < reader->events().size(); ++i) {
        EXPECT_EQ(reader->events()[i].offset, i + 1);
      }
      // The last handle may be on its way home, to the core that owns the channel.
      std::uint64_t shared = (co_await look(test)).most_shared;
      for (int i = 0; shared != 0 && i < 10; ++i) {
        co_await runtime::sleep_for(runtime::kMillisecond);
        shared = (co_await look(test)).most_shared;
      }
      EXPECT_EQ(shared, 0u);
    });
    if (HasFailure()) return;
  }
}

// Each on a channel of its own, so that nothing is shared: without a bound for the core they would
// keep 200 times what one may.
TEST(SimBurst, WhatTwoHundredStalledReadersKeepIsBoundedAndOthersGoOn) {
  constexpr std::size_t kReaders = 200;
  constexpr std::size_t kBytes = 20'000;
  services::NodeOptions options;
  options.network.queued_bytes_max = 64 * 1024;
  options.network.shared_bytes_max = 2 * 1024 * 1024;
  options.network.burst_patience = 60 * runtime::kSecond;  // so that memory alone decides
  const std::uint64_t bound =
      options.network.shared_bytes_max + kReaders * options.network.queued_bytes_max;
  ASSERT_LT(2 * bound, kReaders * net::NetworkOptions::kBurst * options.network.queued_bytes_max);
  for (const std::uint64_t seed : runtime::sim::seeds(1, 20)) {
    SCOPED_TRACE(seed);
    Faults faults = fast_network(seed);
    faults.socket_buffer_bytes = 16 * 1024;
    World world(seed, faults);
    const auto cores = static_cast<CoreId>(1 + seed % 2);
    with_node(tests::node_cores(cores), options, [bound, seed](NodeUnderTest& test) -> Task<void> {
      ProtocolClient* publisher = co_await test.connect(Via::websocket);
      ProtocolClient* healthy = co_await test.connect(Via::websocket);
      co_await subscribe(healthy, "healthy");
      std::vector<ProtocolClient*> readers;
      std::vector<std::string> channels;
      for (std::size_t i = 0; i < kReaders; ++i) {
        readers.push_back(co_await test.connect(i % 2 == 0 ? Via::websocket : Via::tcp));
        channels.push_back("c" + std::to_string(i));
        co_await subscribe(readers[i], channels[i]);
        readers[i]->pause_receiving();
      }
      std::uint64_t most = 0;
      std::uint64_t healthy_events = 0;
      Held held;
      // More for each of them than it may have, in an order that no two have in common.
      runtime::Random random(seed);
      for (std::size_t round = 0; round < 40; ++round) {
        for (std::size_t i = 0; i < kReaders / 10; ++i) {
          co_await publish_events(test, publisher, channels[random.below(kReaders)], kBytes, 3);
        }
        co_await publish_events(test, publisher, "healthy", kBytes);
        ++healthy_events;
        co_await runtime::sleep_for(20 * kMillisecond);
        held = co_await look(test);
        most = std::max(most, held.most_shared);
        EXPECT_LE(held.longest_queue, net::NetworkOptions::kBurst * 64 * 1024);
      }
      EXPECT_LE(most, bound + 3 * kBytes + 1024);
      EXPECT_GT(most, bound / 4) << "they never kept much: this tests nothing";
      EXPECT_GT(held.closing, 0u);
      const bool all = co_await healthy->has_events(healthy_events);
      EXPECT_TRUE(all);
      for (ProtocolClient* reader : readers) reader->resume_receiving();
    });
    if (HasFailure()) return;
  }
}

// A block is as large as the last run of its channel. Without a copy into a smaller block, a small
// event behind a large one makes a slow reader keep a second block of the large event's size.
TEST(SimBurst, AStalledReaderKeepsNoMoreMemoryThanItsQueueCounts) {
  constexpr std::size_t kBytes = 60'000;
  for (const std::uint64_t seed : runtime::sim::seeds(1, 20)) {
    SCOPED_TRACE(seed);
    Faults faults = fast_network(seed);
    faults.socket_buffer_bytes = 16 * 1024;
    World world(seed, faults);
    with_node(1, [](NodeUnderTest& test) -> Task<void> {
      ProtocolClient* publisher = co_await test.connect(Via::websocket);
      ProtocolClient* reader = co_await test.connect(Via::websocket);
      co_await subscribe(reader, "mixed");
      reader->pause_receiving();
      for (int i = 0; i < 8; ++i) {
        co_await publish_events(test, publisher, "mixed", kBytes);
        co_await runtime::sleep_for(kPause);
        co_await publish_events(test, publisher, "mixed", 1);
        co_await runtime::sleep_for(kPause);
      }
      const Held held = co_await look(test);
      EXPECT_GT(held.longest_queue, 6 * kBytes) << "nothing waited: this tests nothing";
      EXPECT_LE(held.most_shared, held.longest_queue + kBytes + 1024);  // one is sent in part
      reader->resume_receiving();
      const bool all = co_await reader->has_events(16);
      EXPECT_TRUE(all);
    });
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace corelane
