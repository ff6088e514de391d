// Goal: a listener gives every connection once, holds few before accept(), owns its address alone
// unless asked otherwise, and leaves nothing behind. Method: clients and listeners on one core,
// over both rings.
#include <gtest/gtest.h>

#include <cerrno>
#include <optional>
#include <utility>
#include <vector>

#include "net/tcp.hpp"
#include "runtime/combine.hpp"
#include "runtime/task_group.hpp"
#include "tests/support/on_cores.hpp"
#include "tests/support/tcp_pair.hpp"

namespace corelane {
namespace {

using namespace runtime;
using net::TcpListener;
using net::TcpStream;
using tests::loopback;
using tests::read_all;
using tests::run_on_cores;

TEST(TcpListener, AnAddressHasOneListenerUnlessBothAskToShareIt) {
  run_on_cores(1, []() -> Task<void> {
    auto alone = TcpListener::listen(loopback());
    const Address address = *alone->address();
    for (const bool reuse_port : {false, true}) {
      const auto second = TcpListener::listen(address, {.reuse_port = reuse_port});
      EXPECT_FALSE(second);
      if (!second) {
        EXPECT_EQ(second.error(), Error::from_errno(EADDRINUSE));
      }
    }
    auto sharing = TcpListener::listen(loopback(), {.reuse_port = true});
    const Address shared = *sharing->address();
    EXPECT_TRUE(TcpListener::listen(shared, {.reuse_port = true}));
    EXPECT_FALSE(TcpListener::listen(shared));
    co_return;
  });
}

TEST(TcpListener, ConnectionsThatNobodyTakesWaitAndAreNotLost) {
  constexpr std::size_t kClients = 300;
  RuntimeOptions options = tests::small_options(1);
  options.ring.direct_descriptors = 2 * kClients;
  run_on_cores(options, []() -> Task<void> {
    auto listener = TcpListener::listen(loopback());
    net::Network& network = net::Network::local();
    std::vector<TcpStream> clients;
    for (std::size_t i = 0; i < kClients; ++i) {
      auto client = co_await TcpStream::connect(*listener->address());
      EXPECT_TRUE(client);
      if (!client) co_return;
      clients.push_back(std::move(*client));
    }
    co_await sleep_for(10 * kMillisecond);
    EXPECT_GE(network.counters().accepted, TcpListener::kAcceptedMax);
    EXPECT_LE(network.counters().accepted, TcpListener::kAcceptedMax + net::Network::kAccepts);
    for (std::size_t i = 0; i < kClients; ++i) {
      auto server = co_await with_timeout(10 * kSecond, listener->accept());
      EXPECT_TRUE(server);
      if (!server) co_return;
      EXPECT_TRUE(co_await server->write_all("x"));
    }
    for (TcpStream& client : clients) EXPECT_EQ(co_await read_all(client), "x");
  });
}

TEST(TcpListener, AClosedListenerEndsItsWaitsAndFreesItsAddress) {
  run_on_cores(1, []() -> Task<void> {
    auto listener = TcpListener::listen(loopback());
    const Address address = *listener->address();
    TaskGroup group("accept");
    int ended = 0;
    for (int i = 0; i < 2; ++i) {
      group.spawn(
          "accept",
          [](TcpListener* from, int* count) -> Task<void> {
            const auto stream = co_await from->accept();
            EXPECT_FALSE(stream);
            if (!stream) {
              EXPECT_EQ(stream.error().code, ErrorCode::closed);
            }
            ++*count;
          },
          &*listener, &ended);
    }
    co_await Yield{};
    co_await listener->close();
    co_await group.join();
    EXPECT_EQ(ended, 2);
    EXPECT_FALSE(listener->address());
    for (int i = 0; i < 3; ++i) {
      auto again = TcpListener::listen(address);
      EXPECT_TRUE(again);
      if (again) co_await again->close();
    }
  });
}

TEST(TcpListener, AcceptCanBeCancelledAndTheNextConnectionIsNotLost) {
  run_on_cores(1, []() -> Task<void> {
    auto listener = TcpListener::listen(loopback());
    const auto none = co_await with_timeout(kMillisecond, listener->accept());
    EXPECT_FALSE(none);
    if (!none) {
      EXPECT_EQ(none.error().code, ErrorCode::timed_out);
    }
    auto client = co_await TcpStream::connect(*listener->address());
    auto server = co_await listener->accept();
    EXPECT_TRUE(server);
    EXPECT_TRUE(co_await server->write_all("hello\n"));
    EXPECT_EQ((co_await client->read_line(10)).value_or("?"), "hello");
  });
}

TEST(TcpListener, OneThatIsClosedAndDestroyedEndsItsWaits) {
  run_on_cores(1, []() -> Task<void> {
    TaskGroup group("accept");
    const auto wait = [](TcpListener* from) -> Task<void> {
      const auto stream = co_await from->accept();
      EXPECT_FALSE(stream);
      if (!stream) {
        EXPECT_EQ(stream.error().code, ErrorCode::closed);
      }
    };
    for (const bool closes : {true, false}) {
      std::optional<TcpListener> listener = *TcpListener::listen(loopback());
      group.spawn("accept", wait, &*listener);
      co_await Yield{};
      if (closes) {
        TaskGroup closing("close");
        closing.spawn(
            "close", [](TcpListener* ending) -> Task<void> { co_await ending->close(); },
            &*listener);
        listener.reset();
        co_await closing.join();
      } else {
        listener.reset();
      }
    }
    co_await group.join();
  });
}

TEST(TcpListener, AssignmentClosesTheListenerThatWasThere) {
  run_on_cores(1, []() -> Task<void> {
    auto first = TcpListener::listen(loopback());
    auto second = TcpListener::listen(loopback());
    const Address address = *first->address();
    *first = std::move(*second);
    EXPECT_NE(first->address()->text(), address.text());
    for (;;) {  // it closes in the background
      const auto again = TcpListener::listen(address);
      if (again) break;
      EXPECT_EQ(again.error(), Error::from_errno(EADDRINUSE));
      co_await Yield{};
    }
    auto client = co_await TcpStream::connect(*first->address());
    EXPECT_TRUE(client);
    EXPECT_TRUE(co_await first->accept());
  });
}

TEST(TcpListener, TheEndOfItsNetworkEndsItsWaits) {
  run_on_cores(1, []() -> Task<void> {
    net::Network network(tests::tiny());
    auto listener = TcpListener::listen(loopback());
    TaskGroup group("stop");
    group.spawn(
        "stop", [](net::Network* stopping) -> Task<void> { co_await stopping->stop_listening(); },
        &network);
    const auto stream = co_await listener->accept();
    EXPECT_FALSE(stream);
    if (!stream) {
      EXPECT_EQ(stream.error().code, ErrorCode::closed);
    }
    co_await group.join();
    co_await network.shutdown();
  });
}

Task<void> serve_one(TcpStream stream) {
  const auto count = co_await net::splice(stream, stream);
  EXPECT_TRUE(count);
}

Task<void> serve_all(TcpListener* listener, TaskGroup* group) {
  for (;;) {
    auto stream = co_await listener->accept();
    if (!stream) co_return;
    group->spawn("serve", serve_one, std::move(*stream));
  }
}

Task<void> come_and_go(Address address, std::size_t times, std::size_t* done) {
  for (std::size_t i = 0; i < times; ++i) {
    auto stream = co_await TcpStream::connect(address);
    EXPECT_TRUE(stream) << describe(stream.error());
    if (!stream) co_return;
    EXPECT_TRUE(co_await stream->write_all("ping\n"));
    EXPECT_EQ((co_await stream->read_line(10)).value_or("?"), "ping");
    ++*done;
    if (i % 3 == 0) continue;  // destroyed with the echo's end still to come
    stream->shutdown_send();
    const auto end = co_await stream->read_some();
    EXPECT_FALSE(end);
    if (i % 3 == 1) {
      EXPECT_TRUE(co_await stream->close());
    }
  }
}

TEST(TcpListener, ConnectionsThatComeAndGoLeaveNothingBehind) {
  constexpr std::size_t kClients = 20;
  constexpr std::size_t kTimes = 50;
  RuntimeOptions options = tests::small_options(1);
  options.ring.direct_descriptors = 256;
  run_on_cores(options, []() -> Task<void> {
    auto listener = TcpListener::listen(loopback());
    TaskGroup group("churn");
    TaskGroup clients("clients");
    group.spawn("accept", serve_all, &*listener, &group);
    std::size_t done = 0;
    for (std::size_t i = 0; i < kClients; ++i) {
      clients.spawn("client", come_and_go, *listener->address(), kTimes, &done);
    }
    co_await clients.join();
    EXPECT_EQ(done, kClients * kTimes);
    co_await listener->close();
    co_await group.join();
    net::Network& network = net::Network::local();
    while (network.stream_count() != 0) co_await sleep_for(kMillisecond);
    EXPECT_EQ(network.counters().closed, 2 * kClients * kTimes);
    EXPECT_EQ(Core::current().memory().held(MemoryKind::queued), 0u);
    EXPECT_EQ(Core::current().memory().held(MemoryKind::messages), 0u);
  });
}

}  // namespace
}  // namespace corelane
