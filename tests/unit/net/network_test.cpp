// Goal: a core's network bounds what a turn hands over, and accepts as long as it can, however
// accepting fails. Method: echo servers and clients on one core over the real ring; what only the
// kernel knows is asked from the sockets.
#include "net/network.hpp"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cstring>
#include <memory>
#include <vector>

#include "runtime/await.hpp"
#include "runtime/task_group.hpp"
#include "tests/support/echo_streams.hpp"
#include "tests/support/on_cores.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::CountingPeer;
using tests::EchoClient;
using tests::EchoServer;
using tests::exchange;
using tests::loopback;
using tests::run_on_cores;
using tests::tiny;

// A fan-out of large messages once held its core until all of them had been copied, 0.5 s.
TEST(Network, ATurnHandsOverABoundedNumberOfBytesAndTheRestFollowsWithoutMoreComingIn) {
  run_on_cores(1, []() -> Task<void> {
    constexpr std::size_t kStreams = 40;
    constexpr std::size_t kBytes = 1024 * 1024;
    constexpr std::uint64_t kSendsMax =
        net::NetworkOptions::kTurnBytesMax / (kBytes + net::NetworkOptions::kStreamBytes) + 1;
    static_assert(kStreams > kSendsMax);
    net::NetworkOptions options;
    options.direct_descriptors = false;
    net::Network network(options);
    CountingPeer servers;
    CountingPeer clients;
    co_await CountingPeer::connect(network, servers, clients, kStreams);
    SharedBytes block = SharedBytes::allocate(kBytes);
    std::memset(block.data(), 7, kBytes);
    const auto send_to_all = [&](const void* owner, std::size_t bytes) {
      network.for_each([&](auto, net::Stream& stream) {
        if (stream.owner() != owner) return;
        EXPECT_TRUE(stream.send_shared(block, {block.data(), bytes}));
      });
    };
    send_to_all(&servers, kBytes);
    std::uint64_t sends = network.counters().sends;
    std::uint64_t begun = 0;
    while (begun < kStreams) {
      const std::uint64_t turn = Core::current().counters().turns;
      co_await Yield{};
      EXPECT_EQ(Core::current().counters().turns, turn + 1);
      const std::uint64_t now_begun = network.counters().sends - sends;
      sends += now_begun;
      begun += now_begun;
      EXPECT_LE(now_begun, kSendsMax);
      EXPECT_TRUE(begun == kStreams || clients.received == 0);
    }
    EXPECT_EQ(network.counters().flushes_cut, 1u);
    while (clients.received < kStreams * kBytes) co_await Yield{};
    // And nothing has got stuck: the other direction works, too.
    send_to_all(&clients, 1);
    while (servers.received < kStreams) co_await Yield{};
    co_await network.shutdown();
  });
}

TEST(Network, ACoreMayHaveOneNetworkAfterTheOther) {
  run_on_cores(1, []() -> Task<void> {
    for (int i = 0; i < 3; ++i) co_await exchange(tiny(), loopback(), 2, 10'000, 4096);
  });
}

// The listening sockets of this process on a port.
int listening_descriptor(std::uint16_t port) {
  for (int fd = 0; fd < 1024; ++fd) {
    int listens = 0;
    socklen_t bytes = sizeof listens;
    if (::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &bytes) != 0 || listens == 0)
      continue;
    sockaddr_in address{};
    bytes = sizeof address;
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &bytes) != 0) continue;
    if (ntohs(address.sin_port) == port) return fd;
  }
  return -1;
}

TEST(Network, AnErrorThatLastsPausesAcceptingInsteadOfSpinning) {
  run_on_cores(1, []() -> Task<void> {
    net::Network network(tiny());
    const auto listener = network.listen(loopback(), {}, EchoServer::accept, nullptr);
    const int descriptor = listening_descriptor(network.address_of(*listener)->port());
    EXPECT_GE(descriptor, 0);
    co_await Yield{};
    ::shutdown(descriptor, SHUT_RDWR);  // accept(2) says EINVAL from now on
    while (network.counters().accept_pauses == 0) co_await sleep_for(kMillisecond);
    Ring& ring = Core::current().ring();
    const std::uint64_t before = ring.counters().operations;
    const Nanoseconds begun = Core::current().now();
    co_await sleep_for(50 * kMillisecond);
    // It tries again every 100 ms; the sleep may have taken longer on a busy machine.
    const Nanoseconds pauses = (Core::current().now() - begun) / (100 * kMillisecond) + 1;
    EXPECT_LE(ring.counters().operations - before, 4u * static_cast<std::uint64_t>(pauses));
    // And it is tried again, by time alone: each time an accept that fails, in the same pause.
    for (int look = 0; look < 60'000 && ring.counters().operations < before + 2; ++look) {
      co_await sleep_for(kMillisecond);
    }
    EXPECT_GE(ring.counters().operations, before + 2);
    EXPECT_EQ(network.counters().accept_pauses, 1u);
    co_await network.shutdown();
  });
}

TEST(Network, AcceptedSocketsLookWhetherTheirPeerIsStillThere) {
  run_on_cores(1, []() -> Task<void> {
    net::NetworkOptions options = tiny();
    options.direct_descriptors = false;
    net::Network network(options);
    int accepted = -1;
    const auto listener = network.listen(
        loopback(), {},
        [](void* context, net::Stream& stream) noexcept {
          *static_cast<int*>(context) = stream.descriptor().number;
          return EchoServer::accept(nullptr, stream);
        },
        &accepted);
    EchoClient client;
    client.total = 10;
    client.keep_open = true;
    co_await EchoClient::run(network, *network.address_of(*listener), client);
    const auto option = [&accepted](int level, int name) {
      int value = -1;
      socklen_t bytes = sizeof value;
      EXPECT_EQ(::getsockopt(accepted, level, name, &value, &bytes), 0);
      return value;
    };
    EXPECT_EQ(option(SOL_SOCKET, SO_KEEPALIVE), 1);
    EXPECT_EQ(option(IPPROTO_TCP, TCP_NODELAY), 1);
    const int found_within = option(IPPROTO_TCP, TCP_KEEPIDLE) +
                             option(IPPROTO_TCP, TCP_KEEPINTVL) * option(IPPROTO_TCP, TCP_KEEPCNT);
    EXPECT_LE(found_within, 300);
    co_await network.shutdown();
  });
}

// Over the real ring: what the kernel does when a table is full is its own affair.
TEST(Network, StopsAcceptingBeforeItsDescriptorsRunOutAndGoesOnWhenSomeAreFree) {
  constexpr std::size_t kClients = 150;
  run_on_cores(1, []() -> Task<void> {  // 64 direct descriptors
    net::Network network(tiny());
    const auto listener = network.listen(loopback(), {}, EchoServer::accept, nullptr);
    const auto other = network.listen(loopback(), {}, EchoServer::accept, nullptr);
    const Address addresses[] = {*network.address_of(*listener), *network.address_of(*other)};
    std::vector<std::unique_ptr<EchoClient>> all;
    TaskGroup group("clients");
    for (std::size_t i = 0; i < kClients; ++i) {
      all.push_back(std::make_unique<EchoClient>());
      all.back()->total = 100;
      all.back()->keep_open = true;
      group.spawn(
          "client",
          [](net::Network* on, Address to, EchoClient* client) -> Task<void> {
            co_await EchoClient::run(*on, to, *client);
          },
          &network, addresses[i % 2], all.back().get());
    }
    while (network.counters().accept_pauses == 0) co_await Yield{};
    EXPECT_LE(network.counters().accepted, 64u);
    // One after the other makes place for the next.
    std::size_t served = 0;
    while (served < kClients) {
      co_await Yield{};
      network.for_each([&](auto, net::Stream& stream) {
        const auto* client = static_cast<EchoClient*>(stream.owner());
        if (client == nullptr || stream.closing() || client->received < client->total) return;
        ++served;
        stream.abort();
      });
      for (const auto& client : all) {
        if (client->closed && client->received < client->total) {
          ADD_FAILURE() << describe(client->why);
          served = kClients;
        }
      }
    }
    co_await group.join();
    for (const auto& client : all) EXPECT_EQ(client->received, 100u) << describe(client->why);
    EXPECT_EQ(network.counters().refused, 0u);
    co_await network.shutdown();
  });
}

}  // namespace
}  // namespace corelane
