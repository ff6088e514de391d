// Goal: a coroutine reads and writes a stream without losing, doubling or reordering a byte, in
// whichever way it asks; half-closes, cancels, deadlines and errors mean what net/tcp.hpp says; and
// what a slow side makes the other one hold is bounded. Method: both ends on one core, over both
// rings, with buffers of 64 bytes and with those of a server.
#include "net/tcp.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "runtime/combine.hpp"
#include "runtime/task_group.hpp"
#include "tests/support/on_cores.hpp"
#include "tests/support/tcp_pair.hpp"

namespace corelane {
namespace {

using namespace runtime;
using net::TcpStream;
using tests::as_text;
using tests::numbered;
using tests::read_all;
using tests::TcpPair;
using tests::tiny;
using tests::with_pair;

TEST(TcpStream, AnEchoByLeasesBringsEveryByteBack) {
  for (const net::NetworkOptions& options : {tiny(), net::NetworkOptions{}}) {
    with_pair(options, [](TcpPair& pair) -> Task<void> {
      TaskGroup group("echo");
      group.spawn(
          "echo",
          [](TcpStream* stream) -> Task<void> {
            const auto count = co_await net::splice(*stream, *stream);
            EXPECT_TRUE(count);
            EXPECT_EQ(count ? *count : 0, 300'000u);
          },
          &pair.server);
      group.spawn(
          "send",
          [](TcpStream* stream) -> Task<void> {
            const auto sent = co_await stream->write_all(numbered(1, 0, 300'000));
            EXPECT_TRUE(sent);
            stream->shutdown_send();
          },
          &pair.client);
      const std::string back = co_await read_all(pair.client);
      EXPECT_TRUE(back == as_text(numbered(1, 0, 300'000)));
      co_await group.join();
    });
  }
}

TEST(TcpStream, SpeaksOverIpv6AndUnixSockets) {
  const std::string path = "unix:" + ::testing::TempDir() + "corelane_tcp_stream_test";
  for (const std::string& address : {std::string{"[::1]:0"}, path}) {
    with_pair(
        {},
        [](TcpPair& pair) -> Task<void> {
          EXPECT_TRUE(co_await pair.client.write_all("hello\n"));
          const auto line = co_await pair.server.read_line(100);
          EXPECT_EQ(line ? *line : "?", "hello");
        },
        *Address::parse(address));
  }
}

TEST(TcpStream, ReadSomeCopiesWhatHasComeAndFits) {
  with_pair(tiny(), [](TcpPair& pair) -> Task<void> {
    EXPECT_TRUE(co_await pair.client.write_all("abcdef"));
    while (pair.server.unread_bytes() < 6) co_await Yield{};
    std::array<std::byte, 4> into{};
    EXPECT_EQ((co_await pair.server.read_some(into)).value_or(0), 4u);
    EXPECT_EQ(as_text(into), "abcd");
    EXPECT_EQ((co_await pair.server.read_some(into)).value_or(0), 2u);
    EXPECT_EQ(as_text(into).substr(0, 2), "ef");
  });
}

TEST(TcpStream, ReadExactlyFillsItsMemoryOrTakesNothing) {
  with_pair(tiny(), [](TcpPair& pair) -> Task<void> {
    EXPECT_TRUE(co_await pair.client.write_all(numbered(2, 0, 1'000)));
    pair.client.shutdown_send();
    std::vector<std::byte> into(700);
    EXPECT_TRUE(co_await pair.server.read_exactly(into));
    EXPECT_TRUE(into == numbered(2, 0, 700));
    const auto missing = co_await pair.server.read_exactly(into);
    EXPECT_FALSE(missing);
    EXPECT_EQ(missing.error().code, ErrorCode::end_of_file);
    std::vector<std::byte> rest(300);
    EXPECT_TRUE(co_await pair.server.read_exactly(rest));
    EXPECT_TRUE(rest == numbered(2, 700, 300));
    const auto end = co_await pair.server.read_some();
    EXPECT_EQ(end.error().code, ErrorCode::end_of_file);
  });
}

TEST(TcpStream, ReadLineGivesLinesWhereverTheyAreCut) {
  with_pair(tiny(), [](TcpPair& pair) -> Task<void> {
    const std::string text = "one\r\n\n" + std::string(500, 'x') + "\r\nlast";
    for (const char byte : text.substr(0, 20)) {
      EXPECT_TRUE(co_await pair.client.write_all(std::string_view{&byte, 1}));
      co_await Yield{};
    }
    EXPECT_TRUE(co_await pair.client.write_all(std::string_view{text}.substr(20)));
    pair.client.shutdown_send();
    EXPECT_EQ((co_await pair.server.read_line(100)).value_or("?"), "one");
    EXPECT_EQ((co_await pair.server.read_line(100)).value_or("?"), "");
    EXPECT_EQ((co_await pair.server.read_line(1'000)).value_or("?"), std::string(500, 'x'));
    const auto unfinished = co_await pair.server.read_line(100);
    EXPECT_EQ(unfinished.error().code, ErrorCode::end_of_file);
    EXPECT_EQ(co_await read_all(pair.server), "last");
  });
}

TEST(TcpStream, ReadUntilTakesNothingWhenItsLimitIsPassed) {
  with_pair(tiny(), [](TcpPair& pair) -> Task<void> {
    EXPECT_TRUE(co_await pair.client.write_all(std::string(200, 'a') + "END" + "b"));
    pair.client.shutdown_send();
    for (const std::size_t most : {std::size_t{0}, std::size_t{10}, std::size_t{202}}) {
      const auto found = co_await pair.server.read_until("END", most);
      EXPECT_FALSE(found);
      if (!found) {
        EXPECT_EQ(found.error().code, ErrorCode::limit_exceeded);
      }
    }
    const auto found = co_await pair.server.read_until("END", 203);
    EXPECT_EQ(found ? *found : "?", std::string(200, 'a') + "END");
    EXPECT_EQ(co_await read_all(pair.server), "b");
  });
}

TEST(TcpStream, ReadUntilFindsADelimiterThatComesInParts) {
  with_pair(tiny(), [](TcpPair& pair) -> Task<void> {
    TaskGroup group("send");
    group.spawn(
        "send",
        [](TcpStream* stream) -> Task<void> {
          for (const char byte : std::string_view{"one\r\r\ntwo"}) {
            EXPECT_TRUE(co_await stream->write_all(std::string_view{&byte, 1}));
            co_await sleep_for(kMillisecond);
          }
        },
        &pair.client);
    const auto found = co_await pair.server.read_until("\r\n", 100);
    EXPECT_EQ(found ? *found : "?", "one\r\r\n");
    co_await group.join();
  });
}

// More than an unread input holds.
TEST(TcpStream, ReadUntilWaitsForAsMuchAsItMayHold) {
  with_pair({}, [](TcpPair& pair) -> Task<void> {
    TaskGroup group("send");
    group.spawn(
        "send",
        [](TcpStream* stream) -> Task<void> {
          EXPECT_TRUE(co_await stream->write_all(std::string(1'000'000, 'a') + "\n"));
        },
        &pair.client);
    const auto line = co_await pair.server.read_line(2'000'000);
    EXPECT_TRUE(line);
    EXPECT_EQ(line ? line->size() : 0, 1'000'000u);
    co_await group.join();
  });
}

TEST(TcpStream, AParserSeesWhatCameWhileItWaitedForSomethingElse) {
  with_pair(tiny(), [](TcpPair& pair) -> Task<void> {
    EXPECT_TRUE(co_await pair.client.write_all("one tw"));
    EXPECT_TRUE(co_await pair.server.wait_for_more());
    while (pair.server.unread_bytes() < 6) co_await Yield{};
    EXPECT_EQ(as_text(pair.server.unread()), "one tw");
    EXPECT_TRUE(co_await pair.client.write_all("o three"));
    while (pair.server.unread_bytes() < 13) co_await Yield{};
    pair.server.consume(4);
    EXPECT_TRUE(co_await pair.server.wait_for_more());
    EXPECT_EQ(as_text(pair.server.unread()), "two three");
    pair.server.consume(9);
    pair.client.shutdown_send();
    EXPECT_EQ((co_await pair.server.wait_for_more()).error().code, ErrorCode::end_of_file);
  });
}

TEST(TcpStream, ACancelledReadLosesNothing) {
  with_pair(tiny(), [](TcpPair& pair) -> Task<void> {
    std::vector<std::byte> into(1'000);
    std::string sent;
    for (int i = 0; i < 10; ++i) {
      const std::string part(10, static_cast<char>('a' + i));
      sent += part;
      EXPECT_TRUE(co_await pair.client.write_all(part));
      const auto some = co_await with_timeout(kMillisecond, pair.server.read_exactly(into));
      EXPECT_FALSE(some);
      if (!some) {
        EXPECT_EQ(some.error().code, ErrorCode::timed_out);
      }
      const auto line = co_await with_timeout(kMillisecond, pair.server.read_line(5'000));
      EXPECT_FALSE(line);
    }
    std::string all(100, ' ');
    EXPECT_TRUE(co_await pair.server.read_exactly(std::as_writable_bytes(std::span{all})));
    EXPECT_EQ(all, sent);
    const auto none = co_await with_timeout(kMillisecond, pair.server.read_some());
    EXPECT_FALSE(none);
    if (!none) {
      EXPECT_EQ(none.error().code, ErrorCode::timed_out);
    }
    EXPECT_TRUE(co_await pair.client.write_all("still"));
    EXPECT_EQ((co_await pair.server.read_some())->text(), "still");
  });
}

TEST(TcpStream, BothDirectionsEndByThemselves) {
  with_pair(tiny(), [](TcpPair& pair) -> Task<void> {
    EXPECT_TRUE(co_await pair.client.write_all("question"));
    pair.client.shutdown_send();
    EXPECT_EQ(co_await read_all(pair.server), "question");
    // The other direction goes on after the end of file, for long.
    TaskGroup group("answer");
    group.spawn(
        "answer",
        [](TcpStream* stream) -> Task<void> {
          co_await sleep_for(2 * kMillisecond);
          EXPECT_TRUE(co_await stream->write_all(numbered(4, 0, 100'000)));
          stream->shutdown_send();
        },
        &pair.server);
    EXPECT_TRUE(co_await read_all(pair.client) == as_text(numbered(4, 0, 100'000)));
    co_await group.join();
    const auto late = co_await pair.client.write_all("x");
    EXPECT_EQ(late.error().code, ErrorCode::closed);
    EXPECT_EQ(pair.client.try_write(numbered(4, 0, 1)), 0u);
  });
}

TEST(TcpStream, SeveralPiecesAndSharedMemoryLeaveInOrder) {
  with_pair(tiny(), [](TcpPair& pair) -> Task<void> {
    const std::vector<std::byte> first = numbered(5, 0, 10);
    const std::vector<std::byte> second = numbered(5, 10, 20'000);
    const std::array<std::span<const std::byte>, 3> parts{first, std::span<const std::byte>{},
                                                          second};
    SharedBytes block = SharedBytes::copy(numbered(5, 20'010, 40'000));
    TaskGroup group("write");
    group.spawn(
        "write",
        [](TcpStream* stream, const std::array<std::span<const std::byte>, 3>* all,
           const SharedBytes* shared) -> Task<void> {
          EXPECT_TRUE(co_await stream->write_all(*all));
          EXPECT_TRUE(co_await stream->write_all(*shared, {shared->data(), 40'000}));
          stream->shutdown_send();
        },
        &pair.client, &parts, &block);
    EXPECT_TRUE(co_await read_all(pair.server) == as_text(numbered(5, 0, 60'010)));
    co_await group.join();
  });
}

TEST(TcpStream, WritersTakeTurnsAndTheBytesOfACallStayTogether) {
  with_pair(tiny(), [](TcpPair& pair) -> Task<void> {
    constexpr std::size_t kBytes = 50'000;
    TaskGroup group("write");
    for (const char letter : {'a', 'b', 'c'}) {
      group.spawn(
          "write",
          [](TcpStream* stream, char fill) -> Task<void> {
            EXPECT_TRUE(co_await stream->write_all(std::string(kBytes, fill)));
          },
          &pair.client, letter);
    }
    std::string text(3 * kBytes, ' ');
    EXPECT_TRUE(co_await pair.server.read_exactly(std::as_writable_bytes(std::span{text})));
    EXPECT_TRUE(text ==
                std::string(kBytes, 'a') + std::string(kBytes, 'b') + std::string(kBytes, 'c'));
    co_await group.join();
  });
}

TEST(TcpStream, APeerThatDoesNotReadHoldsUpTheWriterAndBothSidesHoldLittle) {
  with_pair({}, [](TcpPair& pair) -> Task<void> {
    constexpr std::size_t kBytes = 20'000'000;
    TaskGroup group("write");
    bool done = false;
    group.spawn(
        "write",
        [](TcpStream* stream, bool* is_done) -> Task<void> {
          EXPECT_TRUE(co_await stream->write_all(numbered(6, 0, kBytes)));
          *is_done = true;
          stream->shutdown_send();
        },
        &pair.client, &done);
    std::size_t before = 1;
    while (pair.server.unread_bytes() != before || pair.client.queued_bytes() == 0) {
      before = pair.server.unread_bytes();
      co_await sleep_for(20 * kMillisecond);
    }
    EXPECT_FALSE(done);
    EXPECT_LE(pair.client.queued_bytes(), net::NetworkOptions{}.queued_bytes_max);
    EXPECT_LE(pair.server.unread_bytes(),
              net::TcpInput::kBytesMax + net::NetworkOptions{}.large_buffer_bytes);
    EXPECT_GE(pair.server.unread_bytes(), net::TcpInput::kBytesMax / 64);
    std::uint64_t position = 0;
    bool right = true;
    for (;;) {
      auto bytes = co_await pair.server.read_some();
      if (!bytes) break;
      for (const std::byte byte : bytes->bytes()) {
        right = right && byte == tests::byte_at(6, position++);
      }
    }
    EXPECT_EQ(position, kBytes);
    EXPECT_TRUE(right);
    co_await group.join();
  });
}

TEST(TcpStream, AWriteThatIsCancelledLeavesTheNextOneItsTurn) {
  with_pair(tiny(), [](TcpPair& pair) -> Task<void> {
    const auto full = co_await with_timeout(5 * kMillisecond,
                                            pair.client.write_all(std::string(20'000'000, 'a')));
    EXPECT_FALSE(full);
    if (!full) {
      EXPECT_EQ(full.error().code, ErrorCode::timed_out);
    }
    TaskGroup group("write");
    group.spawn(
        "write",
        [](TcpStream* stream) -> Task<void> {
          EXPECT_TRUE(co_await stream->write_all("b"));
          stream->shutdown_send();
        },
        &pair.client);
    const std::string all = co_await read_all(pair.server);
    EXPECT_EQ(all.find('b'), all.size() - 1);
    co_await group.join();
  });
}

}  // namespace
}  // namespace corelane
