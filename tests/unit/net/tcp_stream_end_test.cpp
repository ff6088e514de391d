// Goal: errors, deadlines, aborts and closes of a stream mean what net/tcp.hpp says, for the
// coroutines that wait on it and for the bytes that are queued or unread. Method: both ends on one
// core, over both rings, with buffers of 64 bytes and with those of a server.
#include "net/tcp.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "net/connect.hpp"
#include "runtime/combine.hpp"
#include "runtime/task_group.hpp"
#include "tests/support/on_cores.hpp"
#include "tests/support/tcp_pair.hpp"

namespace corelane {
namespace {

using namespace runtime;
using net::TcpStream;
using tests::as_text;
using tests::connect_pair;
using tests::loopback;
using tests::numbered;
using tests::read_all;
using tests::run_on_cores;
using tests::TcpPair;
using tests::tiny;
using tests::with_pair;

// A number has no unit: it does not compile where a duration is meant.
template <class T>
concept IsDuration = requires(TcpStream& stream, T duration) {
  stream.set_deadline(duration);
  stream.close(duration);
  net::connect_first({}, duration);
};
static_assert(IsDuration<std::chrono::milliseconds> && IsDuration<std::chrono::hours>);
static_assert(IsDuration<std::chrono::duration<double>> && IsDuration<Nanoseconds>);
static_assert(!IsDuration<int> && !IsDuration<unsigned> && !IsDuration<double>);
static_assert(!IsDuration<long long> && !IsDuration<std::size_t> && !IsDuration<bool>);

TEST(TcpStream, AConnectionThatIsRefusedIsAnError) {
  run_on_cores(1, []() -> Task<void> {
    // Port 1 on loopback: nobody listens there, and binding it would need privileges.
    const auto stream = co_await TcpStream::connect(*Address::parse("127.0.0.1:1"));
    EXPECT_FALSE(stream);
    if (!stream) {
      EXPECT_EQ(stream.error(), Error::from_errno(ECONNREFUSED));
    }
  });
}

TEST(TcpStream, AResetEndsReadersAndWritersWithItsErrno) {
  with_pair(tiny(), [](TcpPair& pair) -> Task<void> {
    EXPECT_TRUE(co_await pair.client.write_all("unread by the server"));
    while (pair.server.unread_bytes() == 0) co_await Yield{};
    TaskGroup group("wait");
    bool write_failed = false;
    group.spawn(
        "write",
        [](TcpStream* stream, bool* failed) -> Task<void> {
          const auto sent = co_await stream->write_all(std::string(20'000'000, 'a'));
          EXPECT_FALSE(sent);
          *failed = true;
        },
        &pair.client, &write_failed);
    // Until the server's kernel has bytes that are not received.
    const net::Network::Counters& counters = net::Network::local().counters();
    while (counters.bytes_sent - counters.bytes_received < 20'000) co_await Yield{};
    while (!pair.server.stream()->receiving_paused()) co_await Yield{};
    pair.server.abort();
    Error why{};
    co_await read_all(pair.client, &why);
    EXPECT_EQ(why.code, ErrorCode::system);
    EXPECT_TRUE(why.detail == ECONNRESET || why.detail == EPIPE) << why.detail;
    co_await group.join();
    EXPECT_TRUE(write_failed);
    EXPECT_FALSE(co_await pair.client.write_all("x"));
  });
}

TEST(TcpStream, ADestroyedStreamSendsWhatIsQueuedAndItsEnd) {
  with_pair(tiny(), [](TcpPair& pair) -> Task<void> {
    EXPECT_TRUE(co_await pair.server.write_all("unread"));
    while (pair.client.unread_bytes() == 0) co_await Yield{};
    {
      TcpStream ending = std::move(pair.client);
      EXPECT_TRUE(co_await ending.write_all(numbered(7, 0, 8'000)));
    }
    Error why{};
    EXPECT_TRUE(co_await read_all(pair.server, &why) == as_text(numbered(7, 0, 8'000)));
    EXPECT_EQ(why.code, ErrorCode::end_of_file);
  });
}

TEST(TcpStream, CloseReturnsWhenThePeerHasTakenEverything) {
  with_pair(tiny(), [](TcpPair& pair) -> Task<void> {
    TaskGroup group("read");
    std::size_t taken = 0;
    group.spawn(
        "read",
        [](TcpStream* stream, std::size_t* count) -> Task<void> {
          *count = (co_await read_all(*stream)).size();
          EXPECT_TRUE(co_await stream->close());
        },
        &pair.server, &taken);
    EXPECT_TRUE(co_await pair.client.write_all(numbered(8, 0, 16'000)));
    EXPECT_TRUE(co_await pair.client.close());
    EXPECT_FALSE(pair.client);
    EXPECT_EQ(taken, 16'000u);
    co_await group.join();
  });
}

TEST(TcpStream, ADeadlineEndsWaitsAndCanBeTakenBack) {
  with_pair(tiny(), [](TcpPair& pair) -> Task<void> {
    pair.server.set_deadline(10 * kMillisecond);
    const Nanoseconds begun = Core::current().now();
    const auto late = co_await pair.server.read_some();
    EXPECT_EQ(late.error().code, ErrorCode::timed_out);
    EXPECT_GE(Core::current().now() - begun, 10 * kMillisecond);
    const auto again = co_await pair.server.read_some();
    EXPECT_EQ(again.error().code, ErrorCode::timed_out);
    EXPECT_TRUE(co_await pair.server.write_all("fits at once"));
    const auto write = co_await pair.server.write_all(std::string(20'000'000, 'a'));
    EXPECT_FALSE(write);
    if (!write) {
      EXPECT_EQ(write.error().code, ErrorCode::timed_out);
    }
    pair.server.set_deadline(std::chrono::seconds(-1));  // it has passed
    EXPECT_EQ((co_await pair.server.read_some()).error().code, ErrorCode::timed_out);
    for (const Duration none : {Duration(std::chrono::hours::max()), Duration(0 * kSecond)}) {
      pair.server.set_deadline(10 * kMillisecond);
      pair.server.set_deadline(none);
    }
    EXPECT_TRUE(co_await pair.client.write_all("in time"));
    EXPECT_EQ((co_await pair.server.read_some())->text(), "in time");
  });
}

TEST(TcpStream, WhatCameBeforeTheEndOfTheNetworkCanStillBeRead) {
  run_on_cores(1, []() -> Task<void> {
    TcpPair pair;
    {
      net::Network network(tiny());
      co_await connect_pair(pair);
      EXPECT_TRUE(co_await pair.client.write_all("kept"));
      while (pair.server.unread_bytes() < 4) co_await Yield{};
      co_await network.shutdown();
    }
    EXPECT_EQ((co_await pair.server.read_some())->text(), "kept");
    EXPECT_EQ((co_await pair.server.read_some()).error().code, ErrorCode::closed);
    EXPECT_EQ((co_await pair.client.write_all("x")).error().code, ErrorCode::closed);
    EXPECT_EQ(pair.client.queued_bytes(), 0u);
    EXPECT_TRUE(co_await pair.client.close());
  });
}

// The buffers of the broken stream are the next ones that are received into.
TEST(TcpStream, ALineStaysReadableWhenItsConnectionBreaks) {
  with_pair(tiny(), [](TcpPair& pair) -> Task<void> {
    EXPECT_TRUE(co_await pair.client.write_all("of this stream\nand more\nrest"));
    while (pair.server.unread_bytes() < 28) co_await Yield{};
    const auto line = co_await pair.server.read_line(100);
    EXPECT_TRUE(line);
    if (!line) co_return;
    pair.server.stream()->abort();
    while (pair.server.stream() != nullptr) co_await Yield{};
    TcpPair other;
    co_await connect_pair(other);
    for (int i = 0; i < 20; ++i) {
      EXPECT_TRUE(co_await other.client.write_all(std::string(64, 'x')));
      std::array<std::byte, 64> into{};
      EXPECT_TRUE(co_await other.server.read_exactly(into));
    }
    EXPECT_EQ(*line, "of this stream");
    EXPECT_EQ((co_await pair.server.read_line(100)).value_or("?"), "and more");
    EXPECT_EQ((co_await pair.server.read_some())->text(), "rest");
  });
}

TEST(TcpStream, ANetworkThatEndsDoesNotWaitForALineThatIsHeld) {
  for (const std::string_view text : {"all\n", "first\nsecond\n"}) {
    run_on_cores(1, [&]() -> Task<void> {
      TcpPair pair;
      {
        net::Network network(tiny());
        co_await connect_pair(pair);
        EXPECT_TRUE(co_await pair.client.write_all(text));
        while (pair.server.unread_bytes() < text.size()) co_await Yield{};
        const auto line = co_await pair.server.read_line(100);
        EXPECT_TRUE(line);
        co_await network.shutdown();
        if (line) {
          EXPECT_EQ(*line, text.substr(0, line->size()));
        }
      }
      auto next = co_await pair.server.read_line(100);
      EXPECT_EQ(std::move(next).value_or("none"), text.size() > 4 ? "second" : "none");
    });
  }
}

TEST(TcpStream, AStreamThatIsPausedHoldsCopiesAndNoBuffers) {
  with_pair({}, [](TcpPair& pair) -> Task<void> {
    EXPECT_TRUE(co_await pair.client.write_all(std::string(1'000'000, 'a')));
    while (pair.server.unread_bytes() < net::TcpInput::kBytesMax) {
      if (pair.server.stream()->receiving_paused()) break;
      co_await Yield{};
    }
    EXPECT_GE(Core::current().memory().held(MemoryKind::shared), pair.server.unread_bytes());
  });
}

TEST(TcpStream, AnAbortEndsItsWaits) {
  with_pair(tiny(), [](TcpPair& pair) -> Task<void> {
    TaskGroup group("wait");
    std::vector<ErrorCode> ended;
    group.spawn(
        "read",
        [](TcpStream* stream, std::vector<ErrorCode>* codes) -> Task<void> {
          const auto bytes = co_await stream->read_some();
          if (!bytes) codes->push_back(bytes.error().code);
        },
        &pair.client, &ended);
    group.spawn(
        "write",
        [](TcpStream* stream, std::vector<ErrorCode>* codes) -> Task<void> {
          const auto sent = co_await stream->write_all(std::string(20'000'000, 'a'));
          if (!sent) codes->push_back(sent.error().code);
        },
        &pair.client, &ended);
    while (pair.client.queued_bytes() == 0) co_await Yield{};
    pair.client.abort();
    EXPECT_EQ(pair.client.try_write(numbered(1, 0, 1)), 0u);
    co_await group.join();
    EXPECT_EQ(ended, std::vector<ErrorCode>(2, ErrorCode::closed));
    EXPECT_EQ((co_await pair.client.read_some()).error().code, ErrorCode::closed);
  });
}

TEST(TcpStream, OfThreeWaitingWritersAnyCanBeCancelled) {
  for (const std::size_t cancelled : {std::size_t{0}, std::size_t{1}, std::size_t{2}}) {
    with_pair(tiny(), [cancelled](TcpPair& pair) -> Task<void> {
      const std::string filling(8'000, '.');
      for (bool fits = true; fits;) {
        const auto some = co_await with_timeout(
            100 * kMillisecond, pair.client.write_some(std::as_bytes(std::span{filling})));
        if (!some) fits = false;
      }
      TaskGroup groups[3] = {TaskGroup("0"), TaskGroup("1"), TaskGroup("2")};
      std::size_t failed = 0;
      const auto write = [](TcpStream* stream, std::size_t letter,
                            std::size_t* count) -> Task<void> {
        const auto sent =
            co_await stream->write_all(std::string(3, static_cast<char>('a' + letter)));
        if (!sent) ++*count;
      };
      for (std::size_t i = 0; i < 3; ++i) groups[i].spawn("write", write, &pair.client, i, &failed);
      co_await Yield{};
      groups[cancelled].cancel();
      co_await groups[cancelled].join();
      EXPECT_EQ(failed, 1u);
      // Behind the others, whichever was cancelled.
      TaskGroup last("last");
      last.spawn(
          "write",
          [](TcpStream* stream) -> Task<void> {
            EXPECT_TRUE(co_await stream->write_all("d"));
            stream->shutdown_send();
          },
          &pair.client);
      std::string text = co_await read_all(pair.server);
      text.erase(0, text.find_last_of('.') + 1);
      std::string expected = "aaabbbcccd";
      expected.erase(3 * cancelled, 3);
      EXPECT_EQ(text, expected);
      for (TaskGroup& group : groups) co_await group.join();
      co_await last.join();
    });
  }
}

TEST(TcpStream, CloseIsNoErrorWhenThePeerKeepsItsSideOpen) {
  with_pair(tiny(), [](TcpPair& pair) -> Task<void> {
    EXPECT_TRUE(co_await pair.client.write_all("taken"));
    const auto closed = co_await pair.client.close(10 * kMillisecond);
    EXPECT_TRUE(closed);
    EXPECT_EQ(co_await read_all(pair.server), "taken");
  });
}

TEST(TcpStream, QueuedBytesHaveTimeToLeaveHoweverShortTheLinger) {
  with_pair(tiny(), [](TcpPair& pair) -> Task<void> {
    TaskGroup group("write");
    std::size_t sent = 0;
    group.spawn(
        "write",
        [](TcpStream* stream, std::size_t* count) -> Task<void> {
          const std::vector<std::byte> bytes(1'000);
          for (;;) {
            const auto done = co_await with_timeout(10 * kMillisecond, stream->write_all(bytes));
            if (!done) co_return;
            *count += bytes.size();
          }
        },
        &pair.client, &sent);
    co_await group.join();
    EXPECT_GT(pair.client.queued_bytes(), 0u);
    TaskGroup closing("close");
    closing.spawn(
        "close",
        [](TcpStream* stream) -> Task<void> {
          const auto closed = co_await stream->close(10 * kMillisecond);
          EXPECT_TRUE(closed) << describe(closed.error());
        },
        &pair.client);
    co_await sleep_for(500 * kMillisecond);  // the peer begins to read long after the linger
    EXPECT_GE((co_await read_all(pair.server)).size(), sent);
    co_await closing.join();
  });
}

TEST(TcpStream, APeerHasAnAddress) {
  with_pair({}, [](TcpPair& pair) -> Task<void> {
    const auto address = co_await pair.server.peer_address();
    EXPECT_TRUE(address);
    if (address) {
      EXPECT_EQ(address->host(), "127.0.0.1");
    }
  });
}

}  // namespace
}  // namespace corelane
