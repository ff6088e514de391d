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
using tests::connect_pair;
using tests::loopback;
using tests::numbered;
using tests::read_all;
using tests::run_on_cores;
using tests::TcpPair;
using tests::tiny;

// Runs `body` with a connected pair on a network of `options`.
template <class Body>
void with_pair(const net::NetworkOptions& options, Body body, Address on = loopback()) {
  run_on_cores(1, [&]() -> Task<void> {
    net::Network network(options);
    {
      TcpPair pair;
      co_await connect_pair(pair, on);
      co_await body(pair);
    }
    co_await network.shutdown();
  });
}

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
      if (!found) EXPECT_EQ(found.error().code, ErrorCode::limit_exceeded);
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
      if (!some) EXPECT_EQ(some.error().code, ErrorCode::timed_out);
      const auto line = co_await with_timeout(kMillisecond, pair.server.read_line(5'000));
      EXPECT_FALSE(line);
    }
    std::string all(100, ' ');
    EXPECT_TRUE(co_await pair.server.read_exactly(std::as_writable_bytes(std::span{all})));
    EXPECT_EQ(all, sent);
    const auto none = co_await with_timeout(kMillisecond, pair.server.read_some());
    EXPECT_FALSE(none);
    if (!none) EXPECT_EQ(none.error().code, ErrorCode::timed_out);
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
    if (!full) EXPECT_EQ(full.error().code, ErrorCode::timed_out);
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

TEST(TcpStream, AConnectionThatIsRefusedIsAnError) {
  run_on_cores(1, []() -> Task<void> {
    // Port 1 on loopback: nobody listens there, and binding it would need privileges.
    const auto stream = co_await TcpStream::connect(*Address::parse("127.0.0.1:1"));
    EXPECT_FALSE(stream);
    if (!stream) EXPECT_EQ(stream.error(), Error::from_errno(ECONNREFUSED));
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
    if (!write) EXPECT_EQ(write.error().code, ErrorCode::timed_out);
    pair.server.set_deadline(0);
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
        if (line) EXPECT_EQ(*line, text.substr(0, line->size()));
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
    if (address) EXPECT_EQ(address->host(), "127.0.0.1");
  });
}

}  // namespace
}  // namespace corelane
