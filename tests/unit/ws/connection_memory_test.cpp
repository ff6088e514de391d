// Goal: in steady state an echoed message costs no allocation, whatever its size and way, bytes
// that were only announced cost no memory, and what waits for a peer that does not read costs about
// as much as the queue's limit counts of it. Method: this program counts every allocation it makes,
// its client's included; it is built without sanitizers, which allocate for themselves.
#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "runtime/await.hpp"
#include "tests/unit/ws/ws_site.hpp"

namespace {

std::size_t allocations = 0;
std::size_t allocated_bytes = 0;
std::size_t live_bytes = 0;

void* counted_allocation(std::size_t size) {
  ++allocations;
  allocated_bytes += size;
  void* const at = std::malloc(size);
  if (at == nullptr) std::abort();
  live_bytes += malloc_usable_size(at);
  return at;
}

void counted_free(void* at) noexcept {
  live_bytes -= malloc_usable_size(at);
  std::free(at);
}

}  // namespace

void* operator new(std::size_t size) {
  return counted_allocation(size);
}
void operator delete(void* at) noexcept {
  counted_free(at);
}
void operator delete(void* at, std::size_t) noexcept {
  counted_free(at);
}

namespace corelane {
namespace {

using namespace runtime;
using tests::run_ws_site;
using tests::WsClient;
using tests::WsSite;
using tests::WsSiteOptions;
using tests::wire::frame;
using tests::wire::header;

// Takes a WsClient's stream over and exchanges one batch again and again. Allocates nothing itself.
struct Pounder {
  std::string_view batch;
  std::size_t answer_bytes = 0;
  std::size_t rounds = 0;
  std::size_t received = 0;
  bool closed = false;
  WaitQueue done{};

  void send(net::Stream& stream) {
    EXPECT_TRUE(stream.send_static(std::as_bytes(std::span{batch})));
  }
  static Pounder& of(net::Stream& stream) { return *static_cast<Pounder*>(stream.owner()); }
  static void on_data(net::Stream& stream, const net::Received& got) noexcept {
    Pounder& self = of(stream);
    self.received += got.bytes.size();
    if (self.received < self.answer_bytes) return;
    EXPECT_EQ(self.received, self.answer_bytes);
    self.received = 0;
    if (--self.rounds > 0) {
      self.send(stream);
    } else {
      self.done.wake_all(WaitQueue::Outcome::granted);
    }
  }
  static void on_end(net::Stream& stream) noexcept { stream.close(0); }
  static void on_closed(net::Stream& stream, Error) noexcept {
    of(stream).closed = true;
    of(stream).done.wake_all(WaitQueue::Outcome::granted);
  }
  static void on_timer(net::Stream&) noexcept {}
  static constexpr net::StreamHandler kHandler{"pounder", on_data,  on_end,
                                               on_closed, on_timer, nullptr};

  Task<void> run(net::Stream& stream, std::size_t count) {
    rounds = count;
    send(stream);
    while (rounds > 0 && !closed) {
      WaitQueue::Waiter waiter{done};
      co_await waiter;
    }
  }
};

// What a thousand rounds allocate after the pools have filled.
std::size_t steady_allocations(const std::string& batch, std::size_t answer_bytes,
                               WsSiteOptions options = {}) {
  std::size_t counted = 0;
  options.network.queued_bytes_max = 8 << 20;
  run_ws_site(options, [&](WsSite& site) -> Task<void> {
    WsClient client;
    co_await client.open(site);
    Pounder pounder{.batch = batch, .answer_bytes = answer_bytes};
    net::Stream& stream = *client.stream();
    stream.set_handler(Pounder::kHandler, &pounder);
    co_await pounder.run(stream, 500);
    const std::size_t before = allocations;
    co_await pounder.run(stream, 1000);
    counted = allocations - before;
    EXPECT_FALSE(pounder.closed);
    stream.abort();
    while (!pounder.closed) {
      WaitQueue::Waiter waiter{pounder.done};
      co_await waiter;
    }
  });
  return counted;
}

TEST(WsMemory, AnEchoedBatchOfSmallMessagesCostsNoAllocation) {
  std::string batch;
  for (int i = 0; i < 16; ++i) batch += frame({.opcode = 2, .payload = std::string(125, 'm')});
  EXPECT_EQ(steady_allocations(batch, std::size_t{16} * 127), 0u);
}

TEST(WsMemory, AnEchoedMessageThatIsCutCostsNoAllocation) {
  EXPECT_EQ(steady_allocations(frame({.opcode = 1, .payload = std::string(10'000, 'm')}), 10'004),
            0u);
}

TEST(WsMemory, AnEchoedFragmentedMessageCostsNoAllocation) {
  const std::string batch = frame({.opcode = 1, .payload = "first", .is_final = false}) +
                            frame({.opcode = 0, .payload = std::string(300, 'm')});
  EXPECT_EQ(steady_allocations(batch, 4 + 305), 0u);
}

TEST(WsMemory, AnAnsweredPingCostsNoAllocation) {
  // 1500 pings take less than a second, which is more than a peer is allowed by default.
  WsSiteOptions options;
  options.endpoint.pings_per_second_max = 100'000;
  EXPECT_EQ(steady_allocations(frame({.opcode = 9, .payload = "m"}), 3, options), 0u);
}

// The allocations of a connection and its client from the handshake to the end, with filled
// pools.
std::size_t connection_allocations(const ws::ConnectionHandler& handler) {
  std::size_t fewest = SIZE_MAX;
  WsSiteOptions options;
  options.handler = handler;
  run_ws_site(options, [&fewest](WsSite& site) -> Task<void> {
    for (std::size_t round = 1; round <= 50; ++round) {
      const std::size_t before = allocations;
      WsClient client;
      co_await client.open(site);
      client.abort();
      co_await client.until_closed();
      co_await site.witness.until_ends(round);
      fewest = std::min(fewest, allocations - before);
    }
  });
  return fewest;
}

TEST(WsMemory, AHandshakeThatIsAdmittedAtOnceAllocatesNoMoreThanOneThatNobodyDecidesAbout) {
  ws::ConnectionHandler deciding = tests::Witness::kHandler;
  deciding.admit = [](void*, const ws::Handshake&) { return ws::Admission::admit(); };
  EXPECT_EQ(connection_allocations(deciding), connection_allocations(tests::Witness::kHandler));
}

TEST(WsMemory, ConnectionsThatOnlyAnnounceCostNoMemoryForIt) {
  for (const bool is_allowed : {true, false}) {
    WsSiteOptions options;
    options.network.receive_buffers = 512;
    RuntimeOptions runtime_options = tests::small_options(1);
    runtime_options.ring = {.entries = 256, .completion_entries = 4096, .direct_descriptors = 0};
    run_ws_site(
        options,
        [is_allowed](WsSite& site) -> Task<void> {
          constexpr std::size_t kCount = 400;  // two descriptors each, and 1024 a process
          std::vector<std::unique_ptr<WsClient>> clients;
          for (std::size_t i = 0; i < kCount; ++i) {
            clients.push_back(std::make_unique<WsClient>());
            co_await clients.back()->open(site);
          }
          const std::uint64_t bytes = is_allowed ? 1 << 20 : std::uint64_t{1} << 40;
          const std::string announcement = header({.opcode = 2}, bytes, true) + "keys";
          const std::size_t before = allocated_bytes;
          const std::uint64_t received = site.network.counters().bytes_received;
          for (const auto& client : clients) client->send(announcement);
          if (is_allowed) {
            constexpr std::string_view kPiece = "a byte or two of it";
            for (const auto& client : clients) client->send(kPiece);
            const std::uint64_t all = kCount * (announcement.size() + kPiece.size());
            while (site.network.counters().bytes_received < received + all) {
              co_await sleep_for(kMillisecond);
            }
            EXPECT_EQ(site.endpoint.connection_count(), kCount);
          } else {
            co_await site.witness.until_ends(kCount);
            EXPECT_EQ(site.witness.ends.front().code, ws::CloseCode::message_too_big);
          }
          // A Partial and a first block of a joined message; the queues of two streams.
          EXPECT_LT(allocated_bytes - before, kCount * 16 * 1024);
          for (const auto& client : clients) client->abort();
          for (const auto& client : clients) co_await client->until_closed();
        },
        runtime_options);
  }
}

TEST(WsMemory, SmallWritesBetweenEventsCostAPeerThatDoesNotReadNoBlockEach) {
  WsSiteOptions options;
  options.network.queued_bytes_max = 1 << 20;
  run_ws_site(options, [](WsSite& site) -> Task<void> {
    constexpr std::size_t kPairs = 5000;
    WsClient client;
    co_await client.open(site);
    ws::Connection& connection = site.connection();
    const std::string event = frame({.opcode = 2, .payload = "event", .masked = 0});
    const SharedBytes block = SharedBytes::copy(std::as_bytes(std::span{event}));
    const std::size_t before = live_bytes;
    for (std::size_t i = 0; i < kPairs; ++i) {
      const std::string answer = std::to_string(i);
      EXPECT_TRUE(connection.send(ws::MessageKind::text, std::as_bytes(std::span{answer})));
      EXPECT_TRUE(connection.send_frames(block, std::as_bytes(std::span{event})));
    }
    EXPECT_LT(live_bytes - before, kPairs * 256);
    co_await client.until_frames(2 * kPairs);
    for (std::size_t i = 0; i < kPairs; ++i) {
      EXPECT_EQ(client.frames[2 * i].payload, std::to_string(i));
      EXPECT_EQ(client.frames[2 * i + 1].payload, "event");
    }
    client.abort();
    co_await client.until_closed();
  });
}

TEST(WsMemory, SmallJoinedMessagesOfAPeerThatDoesNotReadAreKeptWithoutTheirBlocks) {
  WsSiteOptions options;
  options.network.queued_bytes_max = 32 << 20;
  run_ws_site(options, [](WsSite& site) -> Task<void> {
    constexpr std::size_t kMessages = 20'000;
    WsClient client;
    co_await client.open(site);
    client.stream()->pause_receiving();
    // More than the sockets take, so that what comes behind it waits.
    const std::string filler(8 << 20, 'f');
    EXPECT_TRUE(site.connection().send(ws::MessageKind::text, std::as_bytes(std::span{filler})));
    std::string batch;
    for (std::size_t i = 0; i < kMessages; ++i) {
      batch += frame({.opcode = 1, .payload = "", .is_final = false});
      batch += frame({.opcode = 0, .payload = i % 2 == 0 ? "even" : "odd"});
    }
    const std::size_t before = live_bytes;
    client.send_at_once(batch);
    co_await site.witness.until([&] { return site.witness.messages == kMessages; });
    EXPECT_LT(live_bytes - before, batch.size() + kMessages * 16);
    client.stream()->resume_receiving();
    co_await client.until_frames(1 + kMessages);
    for (std::size_t i = 0; i < kMessages; ++i) {
      EXPECT_EQ(client.frames[1 + i].payload, i % 2 == 0 ? "even" : "odd");
    }
    client.abort();
    co_await client.until_closed();
  });
}

}  // namespace
}  // namespace corelane
