// Goal: connections that come and go in every way leave nothing: no stream, no buffer, no frame, no
// task, no queued byte, no descriptor. Method: 10,000 of them between a server and clients of one
// core, that end orderly, by a half-close, by an abort of either side, by a cancel anywhere (within
// connect, too), and while much is queued; then the counts are those of before. AddressSanitizer
// adds what nobody counts.
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <string>
#include <utility>

#include "net/tcp.hpp"
#include "runtime/combine.hpp"
#include "runtime/task_group.hpp"
#include "runtime/task_list.hpp"
#include "tests/support/on_cores.hpp"
#include "tests/support/open_descriptors.hpp"
#include "tests/support/prng.hpp"
#include "tests/support/tcp_pair.hpp"

namespace corelane {
namespace {

using namespace runtime;
using net::TcpListener;
using net::TcpStream;
using tests::as_text;
using tests::loopback;
using tests::numbered;
using tests::Prng;

// What the first byte of a client asks the server for.
constexpr char kEcho = 'e';      // everything back
constexpr char kQuestion = 'q';  // an answer behind the client's half-close
constexpr char kMuch = 'm';      // more than the queues hold
constexpr char kSilence = 's';   // nothing
constexpr char kAbort = 'a';     // a reset

enum Kind : std::uint8_t {
  echoed,
  half_closed,
  aborted_by_client,
  aborted_by_server,
  cancelled,
  left_full,     // with much on its way to the client
  left_at_once,  // without a byte
  kinds
};

struct Churn {
  Address server;
  std::uint64_t seed = 0;
  std::size_t left = 0;
  std::array<std::size_t, kinds> done{};  // as it should be
  std::size_t ended_by_cancel = 0;
};

Task<Result<void>> send_much(TcpStream& stream) {
  const std::string piece(10'000, 'm');
  for (int i = 0; i < 10; ++i) {
    const auto sent = co_await stream.write_all(piece);
    if (!sent) co_return sent.error();
  }
  co_return Result<void>{};
}

Task<void> answer(TcpStream stream) {
  std::array<std::byte, 1> what{};
  const auto asked = co_await stream.read_exactly(what);
  if (!asked) co_return;
  switch (std::to_integer<char>(what[0])) {
    case kEcho:
      static_cast<void>(co_await net::splice(stream, stream));
      co_return;
    case kQuestion: {
      const std::string question = co_await tests::read_all(stream);
      static_cast<void>(co_await stream.write_all("answer to " + question));
      co_return;
    }
    case kMuch: {
      const auto sent = co_await send_much(stream);
      if (sent) static_cast<void>(co_await tests::read_all(stream));
      co_return;
    }
    case kAbort:
      stream.abort();
      co_return;
    default:
      static_cast<void>(co_await tests::read_all(stream));
  }
}

Task<bool> begin(TcpStream& stream, const Churn& churn, char what) {
  auto connected = co_await TcpStream::connect(churn.server);
  EXPECT_TRUE(connected) << describe(connected.error());
  if (!connected) co_return false;
  stream = std::move(*connected);
  const std::string asked(1, what);
  const auto sent = co_await stream.write_all(asked);
  co_return sent.has_value();
}

Task<bool> echo(const Churn& churn, Prng& random) {
  TcpStream stream;
  const bool begun = co_await begin(stream, churn, kEcho);
  if (!begun) co_return false;
  const auto bytes = numbered(random.next(), 0, 1 + random.below(9'000));
  const auto sent = co_await stream.write_all(bytes);
  std::vector<std::byte> back(bytes.size());
  const auto read = co_await stream.read_exactly(back);
  if (!sent || !read || back != bytes) co_return false;
  const auto closed = co_await stream.close();
  co_return closed.has_value();
}

Task<bool> ask(const Churn& churn, Prng& random) {
  TcpStream stream;
  const bool begun = co_await begin(stream, churn, kQuestion);
  if (!begun) co_return false;
  const std::string question(random.below(9'000), 'q');
  const auto sent = co_await stream.write_all(question);
  stream.shutdown_send();
  const std::string got = co_await tests::read_all(stream);
  co_return sent.has_value() && got == "answer to " + question;
}

// Silence, or much that is read slowly, then silence: until somebody ends it.
Task<Result<void>> wait_for_nothing(const Churn* churn, char what) {
  auto stream = co_await TcpStream::connect(churn->server);
  if (!stream) co_return stream.error();
  const std::string asked(1, what);
  const auto sent = co_await stream->write_all(asked);
  if (!sent) co_return sent.error();
  std::array<std::byte, 512> some{};
  for (;;) {
    const auto read = co_await stream->read_some(some);
    if (!read) co_return read.error();
  }
}

Task<bool> run_one(Churn& churn, Kind kind, Prng& random) {
  TcpStream stream;
  switch (kind) {
    case echoed:
      co_return co_await echo(churn, random);
    case half_closed:
      co_return co_await ask(churn, random);
    case aborted_by_client: {
      const bool begun = co_await begin(stream, churn, random.chance(1, 2) ? kEcho : kSilence);
      if (!begun) co_return false;
      const std::string some(random.below(20'000), 'x');
      const bool sent = some.empty() || (co_await stream.write_all(some)).has_value();
      stream.abort();
      co_return sent;
    }
    case aborted_by_server: {
      const bool begun = co_await begin(stream, churn, kAbort);
      const std::string got = co_await tests::read_all(stream);
      co_return begun&& got.empty();
    }
    case cancelled: {
      const auto patience = static_cast<Nanoseconds>(1 + random.below(3'000'000));
      const auto ended = co_await with_timeout(
          patience, wait_for_nothing(&churn, random.chance(1, 2) ? kMuch : kSilence));
      if (ended) co_return false;
      if (ended.error().code == ErrorCode::timed_out) ++churn.ended_by_cancel;
      co_return ended.error().code == ErrorCode::timed_out;
    }
    case left_full: {
      const bool begun = co_await begin(stream, churn, kMuch);
      std::array<std::byte, 1> first{};
      const auto read = co_await stream.read_exactly(first);
      co_return begun&& read.has_value();
    }
    case left_at_once: {
      auto connected = co_await TcpStream::connect(churn.server);
      co_return connected.has_value();
    }
    case kinds:
      break;
  }
  co_return false;
}

Task<void> client(Churn* churn, std::uint64_t number) {
  Prng random(churn->seed * 1'000 + number);
  while (churn->left > 0) {
    --churn->left;
    const auto kind = static_cast<Kind>(random.below(kinds));
    const bool is_done = co_await run_one(*churn, kind, random);
    EXPECT_TRUE(is_done) << "kind " << int{kind};
    if (is_done) ++churn->done[kind];
    if (testing::Test::HasFailure()) co_return;
  }
}

struct Counts {
  std::uint64_t frame_bytes;
  std::size_t tasks;
  std::uint32_t replies;
  std::size_t queued;
  std::size_t messages;
  std::size_t shared;
  friend bool operator==(const Counts&, const Counts&) = default;
};

Counts count() {
  Core& core = Core::current();
  const FramePool::Counters& frames = core.frame_pool().counters();
  return {.frame_bytes = frames.system_bytes - frames.retained_bytes,
          .tasks = list_tasks().tasks.size(),
          .replies = core.replies_awaited(),
          .queued = core.memory().held(MemoryKind::queued),
          .messages = core.memory().held(MemoryKind::messages),
          .shared = core.memory().held(MemoryKind::shared)};
}

Task<void> serve_all(TcpListener* listener) {
  static_cast<void>(co_await net::serve(*listener, "answer", answer));
}

Task<void> run(Churn* churn, std::size_t clients, Address on) {
  auto listener = TcpListener::listen(on);
  EXPECT_TRUE(listener) << describe(listener.error());
  if (!listener) co_return;
  churn->server = *listener->address();
  TaskGroup servers("servers");
  servers.spawn("serve", serve_all, &*listener);
  TaskGroup group("clients");
  for (std::size_t i = 0; i < clients; ++i) group.spawn("client", client, churn, i);
  co_await group.join();
  co_await listener->close();
  co_await servers.join();
}

// The network's end asserts that all of its receive buffers are home.
Task<void> churn_connections(Churn* churn, Address on, std::uint64_t* accepted) {
  net::Network network({.queued_bytes_max = 32 * 1024});  // writers wait
  co_await run(churn, 50, on);
  while (network.stream_count() > 0) co_await sleep_for(kMillisecond);
  EXPECT_TRUE(network.at_rest());
  *accepted = network.counters().accepted;
  EXPECT_EQ(network.counters().refused, 0u);
  co_await network.shutdown();
}

void expect_nothing_left(std::size_t connections, Address on) {
  RuntimeOptions options = tests::small_options(1);
  options.ring = {.entries = 64, .completion_entries = 256, .direct_descriptors = 512};
  const std::size_t descriptors = tests::open_descriptors();
  Churn churn{.server = {}, .seed = 20'261'130, .left = connections};
  std::uint64_t accepted = 0;
  tests::run_on_cores(options, [&]() -> Task<void> {
    const Counts before = count();
    co_await churn_connections(&churn, on, &accepted);
    const Counts after = count();
    EXPECT_EQ(before.tasks, after.tasks);
    EXPECT_EQ(before.frame_bytes, after.frame_bytes);
    EXPECT_TRUE(before == after);
    EXPECT_EQ(after.queued + after.messages + after.shared, 0u);
  });
  EXPECT_EQ(tests::open_descriptors(), descriptors);
  std::size_t done = 0;
  for (const std::size_t one : churn.done) {
    EXPECT_GT(one, connections / (2 * kinds));
    done += one;
  }
  EXPECT_EQ(done, connections);
  EXPECT_GT(churn.ended_by_cancel, 0u);
  // Those whose connect was cancelled may never have come.
  EXPECT_GE(accepted + churn.ended_by_cancel, connections);
}

TEST(TcpChurn, TenThousandConnectionsLeaveNothing) {
  expect_nothing_left(10'000, loopback());
}

TEST(TcpChurn, ConnectionsOverUnixSocketsLeaveNothing) {
  expect_nothing_left(2'000, *Address::parse("unix:@corelane-churn-" + std::to_string(::getpid())));
}

}  // namespace
}  // namespace corelane
