// Goal: bodies go out in pieces, with a length or in chunks, at the pace of the server, wait for
// its 100 where that is asked for, and end early when it has answered. Method: a peer that follows
// a script, and our own server, over both rings.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/http/client.hpp"
#include "runtime/task_group.hpp"
#include "tests/support/http_site.hpp"
#include "tests/support/on_cores.hpp"
#include "tests/support/scripted_peer.hpp"

namespace corelane {
namespace {

using namespace runtime;
using tests::accept_one;
using tests::close_it;
using tests::HttpSite;
using tests::PeerStep;
using tests::read_to_end;
using tests::run_on_cores;
using tests::say;
using tests::ScriptedPeer;
using tests::take_bytes;
using tests::take_head;
using tests::wait_for_test;
using tests::with_peer;
using Client = net::http::HttpClient;
using net::http::ClientFault;
using net::http::ClientOptions;
using net::http::fault_of;

constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
constexpr std::size_t kPiece = 100'000;
constexpr std::size_t kPieces = 100;
constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span{text});
}

TEST(HttpUpload, PiecesGoOutInChunksOrWithALength) {
  run_on_cores(1, []() -> Task<void> {
    for (const bool has_length : {false, true}) {
      const std::string_view on_the_wire =
          has_length ? "hello world" : "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
      std::vector<PeerStep> steps{accept_one(), take_head(), take_bytes(on_the_wire.size()),
                                  say(kOk), read_to_end()};
      co_await with_peer(std::move(steps), [&](ScriptedPeer& peer) -> Task<void> {
        Client client;
        const std::string url = peer.url();
        std::optional<std::uint64_t> length;
        if (has_length) length = 11;
        auto upload = co_await client.begin({.method = "POST", .url = url}, length);
        EXPECT_TRUE(upload);
        if (!upload) co_return;
        for (const std::string_view piece : {"hello", "", " world"}) {
          const auto written = co_await upload->write(piece);
          EXPECT_TRUE(written);
        }
        auto answer = co_await upload->finish();
        EXPECT_TRUE(answer);
        EXPECT_EQ(peer.bytes, on_the_wire);
        const std::string& head = peer.heads.at(0);
        EXPECT_EQ(head.find("Content-Length: 11\r\n") != head.npos, has_length);
        EXPECT_EQ(head.find("Transfer-Encoding: chunked\r\n") != head.npos, !has_length);
        if (answer) {
          EXPECT_EQ((co_await answer->collect()).value_or("?"), "ok");
        }
        EXPECT_EQ(client.idle_connections(), 1u);
      });
    }
  });
}

TEST(HttpUpload, MoreOrLessThanAnnouncedIsRefused) {
  run_on_cores(1, []() -> Task<void> {
    std::vector<PeerStep> steps{accept_one(), take_head(), read_to_end()};
    co_await with_peer(std::move(steps), [](ScriptedPeer& peer) -> Task<void> {
      Client client;
      const std::string url = peer.url();
      auto upload = co_await client.begin({.method = "PUT", .url = url}, 5);
      EXPECT_TRUE(upload);
      if (!upload) co_return;
      const auto more = co_await upload->write("123456");
      EXPECT_TRUE(!more && fault_of(more.error()) == ClientFault::bad_length);
      const auto less = co_await upload->write("1234");
      EXPECT_TRUE(less);
      while (peer.heads.empty()) co_await sleep_for(kMillisecond);
      {
        const auto answer = co_await upload->finish();
        EXPECT_TRUE(!answer && fault_of(answer.error()) == ClientFault::bad_length);
      }
      while (!peer.is_done) co_await sleep_for(kMillisecond);
      EXPECT_TRUE(std::string_view{"1234"}.starts_with(peer.bytes));
      EXPECT_EQ(client.open_connections(), 0u);
    });
  });
}

TEST(HttpUpload, AnUploadThatIsLeftClosesItsConnection) {
  run_on_cores(1, []() -> Task<void> {
    std::vector<PeerStep> steps{accept_one(), take_head(), read_to_end()};
    co_await with_peer(std::move(steps), [](ScriptedPeer& peer) -> Task<void> {
      Client client;
      {
        const std::string url = peer.url();
        auto upload = co_await client.begin({.method = "PUT", .url = url});
        EXPECT_TRUE(upload);
        while (peer.heads.empty()) co_await sleep_for(kMillisecond);
      }
      EXPECT_EQ(client.open_connections(), 0u);
      while (!peer.is_done) co_await sleep_for(kMillisecond);
    });
  });
}

TEST(HttpUpload, AWriterWaitsForAServerThatDoesNotRead) {
  run_on_cores(1, []() -> Task<void> {
    std::vector<PeerStep> steps{accept_one(),    take_head(),
                                wait_for_test(), take_bytes(kPiece * kPieces),
                                say(kOk),        read_to_end()};
    co_await with_peer(std::move(steps), [](ScriptedPeer& peer) -> Task<void> {
      Client client;
      const std::string url = peer.url();
      auto upload = co_await client.begin({.method = "POST", .url = url}, kPiece * kPieces);
      EXPECT_TRUE(upload);
      if (!upload) co_return;
      const std::string piece(kPiece, 'x');
      std::size_t written = 0;
      TaskGroup group("writer");
      group.spawn(
          "write",
          [](net::http::ClientUpload* to, const std::string* what,
             std::size_t* count) -> Task<void> {
            for (std::size_t i = 0; i < kPieces; ++i) {
              const auto done = co_await to->write(*what);
              EXPECT_TRUE(done);
              ++*count;
            }
          },
          &*upload, &piece, &written);
      const auto waited = co_await peer.waits.wait();
      EXPECT_TRUE(waited);
      co_await sleep_for(20 * kMillisecond);
      EXPECT_LT(written, kPieces);
      peer.go_on.set();
      co_await group.join();
      auto answer = co_await upload->finish();
      EXPECT_TRUE(answer);
      EXPECT_EQ(peer.bytes.size(), kPiece * kPieces);
    });
  });
}

TEST(HttpUpload, ABodyWaitsForTheContinue) {
  run_on_cores(1, []() -> Task<void> {
    std::vector<PeerStep> steps{accept_one(),  take_head(), wait_for_test(), say(kContinue),
                                take_bytes(4), say(kOk),    read_to_end()};
    co_await with_peer(std::move(steps), [](ScriptedPeer& peer) -> Task<void> {
      ClientOptions options;
      options.continue_timeout = kNever;
      Client client(options);
      TaskGroup group("continue");
      group.spawn(
          "continue",
          [](ScriptedPeer* of) -> Task<void> {
            const auto waited = co_await of->waits.wait();
            EXPECT_TRUE(waited);
            co_await sleep_for(20 * kMillisecond);
            EXPECT_EQ(of->bytes, "") << "nothing of the body comes before";
            of->go_on.set();
          },
          &peer);
      const std::string url = peer.url();
      auto answer = co_await client.send(
          {.method = "POST", .url = url, .body = bytes_of("body"), .expect_continue = true});
      EXPECT_TRUE(answer);
      co_await group.join();
      EXPECT_NE(peer.heads.at(0).find("Expect: 100-continue\r\n"), std::string::npos);
      EXPECT_EQ(peer.bytes, "body");
      if (answer) {
        EXPECT_EQ((co_await answer->collect()).value_or("?"), "ok");
      }
      EXPECT_EQ(client.idle_connections(), 1u);
    });
  });
}

TEST(HttpUpload, ARefusalComesInPlaceOfTheContinueAndTheBodyIsNotSent) {
  run_on_cores(1, []() -> Task<void> {
    for (const bool in_pieces : {false, true}) {
      std::vector<PeerStep> steps{
          accept_one(), take_head(),
          say("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig"), read_to_end()};
      co_await with_peer(std::move(steps), [in_pieces](ScriptedPeer& peer) -> Task<void> {
        Client client;
        const std::string url = peer.url();
        Result<net::http::ClientResponse> answer = runtime::fail(ErrorCode::closed);
        if (in_pieces) {
          auto upload =
              co_await client.begin({.method = "PUT", .url = url, .expect_continue = true}, 4);
          EXPECT_TRUE(upload);
          if (!upload) co_return;
          const auto written = co_await upload->write("body");
          EXPECT_TRUE(!written && fault_of(written.error()) == ClientFault::answered);
          answer = co_await upload->finish();
        } else {
          answer = co_await client.send(
              {.method = "PUT", .url = url, .body = bytes_of("body"), .expect_continue = true});
        }
        EXPECT_TRUE(answer);
        if (!answer) co_return;
        EXPECT_EQ(static_cast<int>(answer->status()), 413);
        EXPECT_EQ((co_await answer->collect()).value_or("?"), "big");
        EXPECT_EQ(client.open_connections(), 0u) << "the server still expects the body";
        while (!peer.is_done) co_await sleep_for(kMillisecond);
        EXPECT_EQ(peer.bytes, "");
      });
    }
  });
}

TEST(HttpUpload, WithoutAContinueTheBodyIsSentAfterATime) {
  run_on_cores(1, []() -> Task<void> {
    std::vector<PeerStep> steps{accept_one(), take_head(), take_bytes(4), say(kOk), read_to_end()};
    co_await with_peer(std::move(steps), [](ScriptedPeer& peer) -> Task<void> {
      ClientOptions options;
      options.continue_timeout = 20 * kMillisecond;
      Client client(options);
      const std::string url = peer.url();
      auto answer = co_await client.send(
          {.method = "PUT", .url = url, .body = bytes_of("body"), .expect_continue = true});
      EXPECT_TRUE(answer);
      EXPECT_EQ(peer.bytes, "body");
    });
  });
}

TEST(HttpUpload, AnEarlyAnswerEndsALargeBody) {
  run_on_cores(1, []() -> Task<void> {
    std::vector<PeerStep> steps{
        accept_one(), take_head(), take_bytes(1'000'000),
        say("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig"), read_to_end()};
    co_await with_peer(std::move(steps), [](ScriptedPeer& peer) -> Task<void> {
      Client client;
      const std::string url = peer.url();
      const std::string body(50'000'000, 'x');
      auto answer = co_await client.send({.method = "PUT", .url = url, .body = bytes_of(body)});
      EXPECT_TRUE(answer);
      if (!answer) co_return;
      EXPECT_EQ(static_cast<int>(answer->status()), 413);
      EXPECT_EQ((co_await answer->collect()).value_or("?"), "big");
      EXPECT_EQ(client.open_connections(), 0u);
      while (!peer.is_done) co_await sleep_for(kMillisecond);
      EXPECT_LT(peer.bytes.size(), body.size());
    });
  });
}

TEST(HttpUpload, AnAnswerIsNoticedWhileTheServerDoesNotRead) {
  run_on_cores(1, []() -> Task<void> {
    for (const bool in_pieces : {false, true}) {
      std::vector<PeerStep> steps{
          accept_one(), take_head(), wait_for_test(),
          say("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig"), wait_for_test()};
      co_await with_peer(std::move(steps), [in_pieces](ScriptedPeer& peer) -> Task<void> {
        ClientOptions options;
        options.request_timeout = 20 * kSecond;
        Client client(options);
        const std::string url = peer.url();
        const std::string body(50'000'000, 'x');
        TaskGroup group("answer");
        group.spawn(
            "answer",
            [](ScriptedPeer* of) -> Task<void> {
              co_await sleep_for(300 * kMillisecond);  // the client waits for room
              of->go_on.set();
            },
            &peer);
        const Nanoseconds begun = Core::current().now();
        Result<net::http::ClientResponse> answer = runtime::fail(ErrorCode::closed);
        if (in_pieces) {
          auto upload = co_await client.begin({.method = "PUT", .url = url});
          EXPECT_TRUE(upload);
          if (!upload) std::abort();
          const auto written = co_await upload->write(body);
          EXPECT_TRUE(!written && fault_of(written.error()) == ClientFault::answered);
          answer = co_await upload->finish();
        } else {
          answer = co_await client.send({.method = "PUT", .url = url, .body = bytes_of(body)});
        }
        co_await group.join();
        EXPECT_TRUE(answer);
        if (!answer) co_return;
        EXPECT_LT(Core::current().now() - begun, options.request_timeout / 2);
        EXPECT_EQ(static_cast<int>(answer->status()), 413);
        EXPECT_EQ((co_await answer->collect()).value_or("?"), "big");
        EXPECT_EQ(client.open_connections(), 0u);
      });
    }
  });
}

TEST(HttpUpload, ARequestWithoutABodyExpectsNoContinue) {
  run_on_cores(1, []() -> Task<void> {
    std::vector<PeerStep> steps{accept_one(), take_head(), say(kOk),
                                take_head(),  say(kOk),    read_to_end()};
    co_await with_peer(std::move(steps), [](ScriptedPeer& peer) -> Task<void> {
      ClientOptions options;
      options.continue_timeout = kNever;
      Client client(options);
      const std::string url = peer.url();
      auto answer = co_await client.send({.method = "PUT", .url = url, .expect_continue = true});
      EXPECT_TRUE(answer);
      if (!answer) co_return;
      co_await answer->discard();
      auto upload =
          co_await client.begin({.method = "PUT", .url = url, .expect_continue = true}, 0);
      EXPECT_TRUE(upload);
      if (!upload) co_return;
      EXPECT_TRUE(co_await upload->finish());
      for (const std::string& head : peer.heads) EXPECT_EQ(head.find("Expect"), head.npos);
      EXPECT_EQ(peer.heads.size(), 2u);
    });
  });
}

// --- Our own server

Task<void> ask_our_server(HttpSite& site) {
  Client client;
  const std::string base = "http://" + site.address.text();
  const std::string body(9'000, 'e');
  for (int round = 0; round < 3; ++round) {
    auto hello = co_await client.get(base + "/hello");
    EXPECT_TRUE(hello);
    if (!hello) co_return;
    EXPECT_EQ((co_await hello->collect()).value_or("?"), "hello");
    auto big = co_await client.get(base + "/big");
    EXPECT_TRUE(big && big->body_bytes() == tests::site_routes::kBigBytes);
    if (!big) co_return;
    EXPECT_EQ((co_await big->collect()).value_or("?").size(), tests::site_routes::kBigBytes);
    const std::string url = base + "/echo";
    auto echo = co_await client.send(
        {.method = "POST", .url = url, .body = bytes_of(body), .expect_continue = round == 1});
    EXPECT_TRUE(echo);
    if (!echo) co_return;
    EXPECT_EQ((co_await echo->collect()).value_or("?"), body);
    auto upload = co_await client.begin({.method = "POST", .url = url});
    EXPECT_TRUE(upload);
    if (!upload) co_return;
    for (int i = 0; i < 10; ++i) {
      const auto written = co_await upload->write("0123456789");
      EXPECT_TRUE(written);
    }
    auto echoed = co_await upload->finish();
    EXPECT_TRUE(echoed);
    if (!echoed) co_return;
    EXPECT_EQ((co_await echoed->collect()).value_or("?").size(), 100u);
    auto none = co_await client.get(base + "/nowhere");
    EXPECT_TRUE(none && none->status() == net::http::Status::not_found);
  }
  EXPECT_EQ(client.counters().connections, 1u);
  EXPECT_EQ(site.server.counters().requests, 15u);
}

TEST(HttpUpload, OurServerAndOurClientUnderstandEachOtherOnOneConnection) {
  tests::run_site({}, ask_our_server);
}

}  // namespace
}  // namespace corelane
