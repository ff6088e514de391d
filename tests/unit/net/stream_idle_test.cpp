// Goal: what the kernel tells a stream that waits with a poll: bytes, the peer's end, a reset, and
// that it may be cancelled. Method: an echo server and a client on one core, over the real ring,
// that are silent until both wait so.
#include <gtest/gtest.h>

#include <array>
#include <cerrno>

#include "net/network.hpp"
#include "runtime/await.hpp"
#include "tests/support/echo_streams.hpp"
#include "tests/support/on_cores.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::EchoClient;
using tests::EchoServer;
using tests::loopback;
using tests::run_on_cores;
using tests::tiny;

struct Idle {
  explicit Idle(const net::NetworkOptions& options) : network(options) {}

  Task<void> open() {
    const auto listener = network.listen(loopback(), {}, EchoServer::accept, nullptr);
    client.keep_open = true;
    id = *co_await network.connect(*network.address_of(*listener), EchoClient::kHandler, &client);
    co_await polls(2);
  }
  Task<void> polls(std::uint64_t count) {
    while (network.counters().polls < count) co_await sleep_for(10 * kMillisecond);
  }
  Task<void> all_gone() {
    while (network.stream_count() > 0) co_await sleep_for(kMillisecond);
  }
  net::Stream& near() { return *network.find(id); }
  net::Stream& far() { return *tests::server_stream(network); }

  net::Network network;
  EchoClient client;
  net::StreamId id;
};

void run_idle(const net::NetworkOptions& options, Task<void> (*body)(Idle&)) {
  run_on_cores(1, [options, body]() -> Task<void> {
    Idle idle(options);
    co_await idle.open();
    co_await body(idle);
    co_await idle.network.shutdown();
  });
}

Task<void> exchange_and_rest_again(Idle& idle) {
  const std::uint64_t polled = idle.network.counters().polls;
  for (int i = 0; i < 3; ++i) {
    idle.client.total += 1000;
    idle.client.send_more(idle.near());
    co_await idle.client.all_back();
    EXPECT_FALSE(idle.client.wrong);
  }
  co_await idle.polls(polled + 2);
}

TEST(StreamIdle, GetsWhatComesAndRestsAgain) {
  run_idle(tiny(), exchange_and_rest_again);
}

TEST(StreamIdle, GetsWhatComesOnPlainDescriptors) {
  net::NetworkOptions options = tiny();
  options.direct_descriptors = false;
  run_idle(options, exchange_and_rest_again);
}

TEST(StreamIdle, SeesThePeersEnd) {
  run_idle(tiny(), [](Idle& idle) -> Task<void> {
    idle.near().close(30 * kSecond);
    co_await idle.all_gone();
    EXPECT_EQ(idle.client.why, (Error{ErrorCode::closed, 0}));
  });
}

TEST(StreamIdle, IsToldOfAReset) {
  run_idle(tiny(), [](Idle& idle) -> Task<void> {
    idle.far().pause_receiving();
    EXPECT_TRUE(idle.near().send_copy(std::array<std::byte, 8>{}));
    while (idle.network.counters().bytes_sent < 8) co_await sleep_for(kMillisecond);
    idle.far().abort();
    co_await idle.all_gone();
    EXPECT_EQ(idle.client.why, Error::from_errno(ECONNRESET));
  });
}

TEST(StreamIdle, ReceivesAfterAPause) {
  run_idle(tiny(), [](Idle& idle) -> Task<void> {
    idle.far().pause_receiving();
    idle.client.total = 100;
    idle.client.send_more(idle.near());
    while (idle.network.counters().bytes_sent < 100) co_await sleep_for(kMillisecond);
    EXPECT_EQ(idle.network.counters().bytes_received, 0u);
    idle.far().resume_receiving();
    co_await idle.client.all_back();
  });
}

}  // namespace
}  // namespace corelane
