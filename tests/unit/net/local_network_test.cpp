// Goal: everything on a core that has sockets uses one network, whichever came first, and the core
// ends it. Method: networks, shares and streams in each order, over both rings.
#include <gtest/gtest.h>

#include <array>
#include <optional>
#include <utility>

#include "net/network.hpp"
#include "net/tcp.hpp"
#include "runtime/sharded.hpp"
#include "runtime/task_group.hpp"
#include "tests/support/on_cores.hpp"
#include "tests/support/tcp_pair.hpp"

namespace corelane {
namespace {

using namespace runtime;
using net::Network;
using tests::connect_pair;
using tests::loopback;
using tests::run_on_cores;
using tests::TcpPair;
using tests::tiny;

TEST(LocalNetwork, IsTheOneThatTheCoreHas) {
  run_on_cores(1, []() -> Task<void> {
    EXPECT_EQ(Network::local_or_null(), nullptr);
    {
      Network network(tiny());
      EXPECT_EQ(&Network::local(), &network);
      EXPECT_EQ(&*net::SharedNetwork(), &network);
    }
    EXPECT_EQ(Network::local_or_null(), nullptr);
    Network& made = Network::local(tiny());
    EXPECT_EQ(made.options().receive_buffers, tiny().receive_buffers);
    EXPECT_EQ(&Network::local(), &made);
    co_return;
  });
}

TEST(LocalNetwork, IsAnotherOneOnEachCore) {
  run_on_cores(2, []() -> Task<void> {
    Network* const here = &Network::local();
    Network* const there = co_await call_on(1, [] { return &Network::local(); });
    EXPECT_NE(here, there);
    const auto again = co_await call_on(1, [] { return Network::local_or_null(); });
    EXPECT_EQ(again, there);
  });
}

TEST(LocalNetwork, ASecondNetworkBesideOneInUseIsRefusedWithWords) {
  run_on_cores(1, []() -> Task<void> {
    {
      Network network(tiny());
      try {
        Network second(tiny());
        ADD_FAILURE() << "there are two";
      } catch (const net::NetworkExists& error) {
        EXPECT_NE(std::string_view{error.what()}.find("Network::local()"), std::string_view::npos);
      }
    }
    {
      const net::SharedNetwork shared;
      EXPECT_THROW(Network{tiny()}, net::NetworkExists);
    }
    {
      TcpPair pair;
      co_await connect_pair(pair);
      EXPECT_THROW(Network{tiny()}, net::NetworkExists);
    }
    EXPECT_THROW(Network{tiny()}, net::NetworkExists) << "its streams are still closing";
  });
}

TEST(LocalNetwork, OneThatIsNotUsedGivesWayToANetworkWithOptions) {
  run_on_cores(1, []() -> Task<void> {
    {
      TcpPair pair;
      co_await connect_pair(pair);
      pair.client.abort();
      pair.server.abort();
    }
    while (!Network::local().at_rest()) co_await Yield{};
    Network network(tiny());
    EXPECT_EQ(&Network::local(), &network);
    TcpPair pair;
    co_await connect_pair(pair);
    EXPECT_TRUE(co_await pair.client.write_all("x"));
    EXPECT_EQ((co_await pair.server.read_some())->text(), "x");
    co_await network.shutdown();
  });
}

// The coroutine has been woken, and has not gone on.
TEST(LocalNetwork, OneWhoseEndIsAwaitedIsInUse) {
  run_on_cores(1, []() -> Task<void> {
    auto listener = net::TcpListener::listen(loopback());
    TaskGroup group("close");
    group.spawn(
        "close", [](net::TcpListener* closing) -> Task<void> { co_await closing->close(); },
        &*listener);
    group.spawn(
        "evict",
        [](net::TcpListener* closing) -> Task<void> {
          while (closing->address()) co_await Yield{};
          for (int made = 0; made == 0;) {
            try {
              const Network network(tiny());
              ++made;
            } catch (const net::NetworkExists&) {
            }
            co_await Yield{};
          }
        },
        &*listener);
    co_await group.join();
  });
}

TEST(LocalNetwork, AListenerThatIsGoneHasNoAddress) {
  run_on_cores(1, []() -> Task<void> {
    Network network(tiny());
    const auto accept = [](void*, net::Stream&) noexcept { return false; };
    const auto first = network.listen(loopback(), {}, accept, nullptr);
    co_await network.stop_listening(*first);
    EXPECT_FALSE(network.address_of(*first));
    const auto second = network.listen(loopback(), {}, accept, nullptr);
    EXPECT_FALSE(network.address_of(*first));
    EXPECT_TRUE(network.address_of(*second));
    co_await network.shutdown();
  });
}

struct Listening {
  Network* network;
  int more = 40;
  static bool accept(void* context, net::Stream& stream) noexcept {
    auto& self = *static_cast<Listening*>(context);
    for (; self.more > 0; --self.more) {
      EXPECT_TRUE(self.network->listen(loopback(), {}, tests::EchoServer::accept, nullptr));
    }
    return tests::EchoServer::accept(nullptr, stream);
  }
};

TEST(LocalNetwork, AnAcceptFunctionMayListen) {
  run_on_cores(1, []() -> Task<void> {
    Network network(tiny());
    Listening listening{.network = &network};
    const auto listener = network.listen(loopback(), {}, Listening::accept, &listening);
    for (int i = 0; i < 3; ++i) {
      auto client = co_await net::TcpStream::connect(*network.address_of(*listener));
      EXPECT_TRUE(client);
      if (!client) continue;
      EXPECT_TRUE(co_await client->write_all("echo"));
      std::array<std::byte, 4> back{};
      EXPECT_TRUE(co_await client->read_exactly(back));
      EXPECT_EQ(tests::as_text(back), "echo");
    }
    co_await network.shutdown();
  });
}

TEST(LocalNetwork, ACoreThatStopsEndsItsStreamsAndListeners) {
  for (const CoreId cores : {CoreId{1}, CoreId{2}}) {
    tests::CountingPeer peer;
    run_on_cores(cores, [&]() -> Task<void> {
      co_await call_on(static_cast<CoreId>(Core::current().cores() - 1), []() -> Task<void> {
        TcpPair pair;
        co_await connect_pair(pair);
        EXPECT_TRUE(co_await pair.client.write_all("never read"));
      });
      // And what is open at the end, in the layer of callbacks.
      Network& network = Network::local();
      const auto listening = network.listen(loopback(), {}, tests::EchoServer::accept, nullptr);
      const auto made = co_await network.connect(*network.address_of(*listening),
                                                 tests::CountingPeer::kHandler, &peer);
      EXPECT_TRUE(made);
    });
  }
}

}  // namespace
}  // namespace corelane
