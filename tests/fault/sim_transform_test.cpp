// Goal: behind a transform every kind of send arrives once, whole and in order; what is queued is
// counted, dropped and overtaken as without one; and memory comes back. Method: streams whose bytes
// go in numbered, masked records (tests/support/xor_records.hpp), in the simulation, over seeds.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "runtime/random.hpp"
#include "runtime/shared_bytes.hpp"
#include "runtime/sim/world.hpp"
#include "tests/support/on_cores.hpp"
#include "tests/support/xor_records.hpp"

namespace corelane {
namespace {

using runtime::Task;
using runtime::sim::Faults;
using runtime::sim::World;
using tests::RecordLayer;

// Keeps what comes.
struct Collector {
  std::vector<std::byte> got;
  bool closed = false;

  static Collector& of(net::Stream& stream) { return *static_cast<Collector*>(stream.owner()); }
  static void on_data(net::Stream& stream, const net::Received& received) noexcept {
    std::vector<std::byte>& got = of(stream).got;
    got.insert(got.end(), received.bytes.begin(), received.bytes.end());
  }
  static void on_end(net::Stream& stream) noexcept { stream.close(0); }
  static void on_closed(net::Stream& stream, runtime::Error) noexcept { of(stream).closed = true; }
  static void on_timer(net::Stream&) noexcept {}
  static void on_writable(net::Stream&) noexcept {}
};

// Two ends within one network, both behind transforms: `near` sends, `far` collects.
class Line {
 public:
  explicit Line(const net::NetworkOptions& options) : network_(options) {}

  Task<void> connect() {
    has_far_ = false;
    const auto listener = network_.listen(
        tests::loopback(), {},
        [](void* line, net::Stream& stream) noexcept {
          auto& self = *static_cast<Line*>(line);
          stream.set_handler(tests::OverRecords<Collector>::kHandler, &self.collected);
          RecordLayer::attach(stream);
          self.far_ = stream.id();
          self.has_far_ = true;
          return true;
        },
        this);
    const auto made = co_await network_.connect(*network_.address_of(*listener),
                                                tests::OverRecords<Collector>::kHandler, &back_);
    near_ = *made;
    RecordLayer::attach(near());
    while (!has_far_) co_await runtime::Yield{};
  }
  net::Stream& near() { return *network_.find(near_); }
  net::Stream& far() { return *network_.find(far_); }
  net::Network& network() noexcept { return network_; }

  Collector collected;

 private:
  net::Network network_;
  Collector back_;
  net::StreamId near_;
  net::StreamId far_;
  bool has_far_ = false;
};

struct Lent : net::ForeignBytes {
  Lent(int& counter, std::vector<std::byte> from)
      : ForeignBytes{&Lent::back}, alive(counter), bytes(std::move(from)) {
    ++alive;
  }
  static void back(net::ForeignBytes& self) noexcept {
    --static_cast<Lent&>(self).alive;
    delete &static_cast<Lent&>(self);
  }
  int& alive;
  std::vector<std::byte> bytes;
};

std::vector<std::byte> fresh(runtime::Random& random, std::size_t bytes) {
  std::vector<std::byte> made(bytes);
  for (std::byte& each : made) each = static_cast<std::byte>(random.next());
  return made;
}

// Sends the bytes in one of the ways there are; false: the queue took nothing.
bool send_somehow(net::Stream& stream, runtime::Random& random, int& lent,
                  std::span<const std::byte> bytes, const std::vector<std::byte>& still) {
  switch (random.below(5)) {
    case 0:
      return stream.send_copy(bytes);
    case 1: {
      std::byte* const to = stream.send_space(bytes.size());
      if (to != nullptr) std::copy(bytes.begin(), bytes.end(), to);
      return to != nullptr;
    }
    case 2: {
      const auto block = runtime::SharedBytes::copy(bytes);
      return stream.send_shared(block, {block.data(), bytes.size()});
    }
    case 3:
      // `still` outlives the stream, and is what `bytes` are a part of.
      EXPECT_GE(bytes.data(), still.data());
      return stream.send_static(bytes);
    default: {
      auto* const foreign = new Lent(lent, {bytes.begin(), bytes.end()});
      if (stream.send_foreign(*foreign, foreign->bytes)) return true;
      foreign->release(*foreign);
      return false;
    }
  }
}

TEST(SimTransform, EveryKindOfSendArrivesOnceInOrderOver200Seeds) {
  for (const std::uint64_t seed : runtime::sim::seeds(1, 200)) {
    SCOPED_TRACE(seed);
    World world(seed, Faults::swarm(seed, false));
    int lent = 0;
    tests::run_on_cores(1, [seed, &lent]() -> Task<void> {
      runtime::Random random(seed);
      const std::vector<std::byte> all = fresh(random, 100'000);
      net::NetworkOptions options = tests::tiny();
      options.queued_bytes_max = seed % 2 == 0 ? 2048 : 64 * 1024;
      Line line(options);
      co_await line.connect();
      std::size_t sent = 0;
      while (sent < all.size()) {
        const std::size_t most = std::min<std::size_t>(all.size() - sent, 1500);
        const std::size_t bytes = 1 + random.below(most);
        if (send_somehow(line.near(), random, lent, std::span{all}.subspan(sent, bytes), all)) {
          sent += bytes;
        } else {
          EXPECT_GT(line.near().queued_bytes() + bytes, options.queued_bytes_max);
          co_await runtime::sleep_for(runtime::kMillisecond);
        }
        if (random.below(8) == 0) co_await runtime::Yield{};
      }
      line.near().send_last(std::as_bytes(std::span{std::string_view{"the end"}}));
      line.near().close(0);
      while (!line.collected.closed) co_await runtime::sleep_for(runtime::kMillisecond);
      EXPECT_EQ(line.collected.got.size(), all.size() + 7);
      line.collected.got.resize(all.size());
      EXPECT_TRUE(line.collected.got == all);
      co_await line.network().shutdown();
    });
    EXPECT_EQ(lent, 0);
    if (HasFailure()) return;
  }
}

// The peer reads nothing: what the socket has not taken stays, the rest may be dropped.
TEST(SimTransform, LimitsCountWhatIsQueuedAndOnlyWhatHasNotBegunIsDropped) {
  for (const std::uint64_t seed : runtime::sim::seeds(1, 50)) {
    SCOPED_TRACE(seed);
    Faults faults = Faults::swarm(seed, false);
    faults.socket_buffer_bytes = 4096;
    World world(seed, faults);
    tests::run_on_cores(1, [seed]() -> Task<void> {
      runtime::Random random(seed);
      const std::vector<std::byte> all = fresh(random, 1'000'000);
      net::NetworkOptions options = tests::tiny();
      options.queued_bytes_max = 300'000;  // more than one operation
      Line line(options);
      co_await line.connect();
      line.far().pause_receiving();
      std::size_t sent = 0;
      // Until the socket is full and so is the queue.
      for (int refused = 0; refused < 20;) {
        const std::size_t bytes = 500 + random.below(20'000);
        const std::size_t before = line.near().queued_bytes();
        if (line.near().send_copy(std::span{all}.subspan(sent, bytes))) {
          EXPECT_EQ(line.near().queued_bytes(), before + bytes);
          EXPECT_LE(before + bytes, options.queued_bytes_max);
          sent += bytes;
        } else {
          EXPECT_GT(before + bytes, options.queued_bytes_max);
          ++refused;
          co_await runtime::sleep_for(20 * runtime::kMillisecond);
        }
      }
      EXPECT_LT(sent, all.size() - 20'500) << "the socket took everything: this tests nothing";
      const std::size_t queued = line.near().queued_bytes();
      const std::size_t dropped = line.near().drop_unsent();
      EXPECT_GT(dropped, 0u);
      EXPECT_EQ(line.near().queued_bytes(), queued - dropped);
      EXPECT_GT(line.near().queued_bytes(), 0u) << "an operation is in flight";
      const auto word = std::as_bytes(std::span{std::string_view{"last"}});
      line.near().send_control(net::ControlKind::close, word);
      line.far().resume_receiving();
      line.near().close(runtime::kSecond);
      while (!line.collected.closed) co_await runtime::sleep_for(runtime::kMillisecond);
      const std::vector<std::byte>& got = line.collected.got;
      EXPECT_EQ(got.size(), sent - dropped + word.size());
      if (got.size() < word.size()) co_return;
      const auto end = got.end() - static_cast<std::ptrdiff_t>(word.size());
      EXPECT_TRUE(std::equal(end, got.end(), word.begin()));
      EXPECT_TRUE(std::equal(got.begin(), end, all.begin()));
      co_await line.network().shutdown();
    });
    if (HasFailure()) return;
  }
}

// Ended in the middle of what was transformed: its pieces come back, and its queue, which goes to
// the next stream, has no rest of the records.
TEST(SimTransform, AStreamThatIsAbortedLeavesNothingBehind) {
  for (const std::uint64_t seed : runtime::sim::seeds(1, 50)) {
    SCOPED_TRACE(seed);
    Faults faults = Faults::swarm(seed, false);
    faults.socket_buffer_bytes = 4096;
    World world(seed, faults);
    int lent = 0;
    tests::run_on_cores(1, [seed, &lent]() -> Task<void> {
      runtime::Random random(seed);
      Line line(tests::tiny());
      co_await line.connect();
      line.far().pause_receiving();
      for (int i = 0; i < 10; ++i) {
        auto* const foreign = new Lent(lent, fresh(random, 1000));
        EXPECT_TRUE(line.near().send_foreign(*foreign, foreign->bytes));
        if (random.below(2) == 0) co_await runtime::sleep_for(runtime::kMillisecond);
      }
      EXPECT_GT(lent, 0) << "the socket took everything: this tests nothing";
      line.near().abort();
      while (lent > 0) co_await runtime::sleep_for(runtime::kMillisecond);
      co_await line.connect();
      const std::vector<std::byte> next = fresh(random, 500);
      EXPECT_TRUE(line.near().send_copy(next));
      while (line.collected.got.size() < next.size()) {
        co_await runtime::sleep_for(runtime::kMillisecond);
      }
      EXPECT_TRUE(line.collected.got == next);
      co_await line.network().shutdown();
    });
    EXPECT_EQ(lent, 0);
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace corelane
