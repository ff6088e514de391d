// Goal: an HttpClient reads every form of answer, follows redirects within its bounds, refuses what
// it must not send or believe, and tells errors apart. Method: a peer that follows a script, byte
// by byte, over both rings.
#include "net/http/client.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/combine.hpp"
#include "runtime/task_group.hpp"
#include "tests/support/on_cores.hpp"
#include "tests/support/scripted_peer.hpp"

namespace corelane {
namespace {

using namespace runtime;
using namespace tests;
using net::http::ClientFault;
using net::http::ClientOptions;
using net::http::ClientRequest;
using net::http::fault_of;
using net::http::Field;
using net::http::HttpClient;
using net::http::Status;

constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

const ClientOptions kDefault;

// The body of one answer, and what happened to the connection.
struct Got {
  std::string body;
  std::size_t idle = 0;
  std::size_t pieces = 0;
  std::optional<Error> error;
};

Task<Got> read_in_pieces(HttpClient& client, std::string url) {
  Got got;
  {
    auto answer = co_await client.get(url);
    if (!answer) {
      got.error = answer.error();
      co_return got;
    }
    for (;;) {
      const auto piece = co_await answer->read();
      if (!piece) {
        if (piece.error().code != ErrorCode::end_of_file) got.error = piece.error();
        break;
      }
      EXPECT_FALSE(piece->empty());
      got.body.append(reinterpret_cast<const char*>(piece->data()), piece->size());
      ++got.pieces;
    }
  }
  got.idle = client.idle_connections();
  co_return got;
}

// Without a default for the options: g++ 12 destroys such a temporary of a co_await twice.
Task<Got> ask_peer(std::vector<PeerStep> steps, ClientOptions options) {
  Got got;
  co_await with_peer(std::move(steps), [&](ScriptedPeer& peer) -> Task<void> {
    HttpClient client(options);
    got = co_await read_in_pieces(client, peer.url());
  });
  co_return got;
}

struct Form {
  std::string_view text;
  std::string_view body;
  bool is_kept;
};

constexpr std::array kForms{
    Form{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", true},
    Form{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "", true},
    Form{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
         "5;name=value\r\nhello\r\n1\r\n!\r\n0\r\nTrailer: x\r\n\r\n",
         "hello!", true},
    Form{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "", true},
    Form{"HTTP/1.1 204 No Content\r\n\r\n", "", true},
    Form{"HTTP/1.1 304 Not Modified\r\nContent-Length: 700\r\n\r\n", "", true},
    // It must not have these, so a body may follow that the sender means.
    Form{"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", "", true},
    Form{"HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n", "", false},
    Form{"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", "", false},
    Form{"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
         "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
         "ok", true},
    Form{"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", "ok", false},
    Form{"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok", false},
};

TEST(HttpClient, EveryFormOfAnswerIsReadWholeHoweverItIsCut) {
  run_on_cores(1, []() -> Task<void> {
    for (const Form& form : kForms) {
      for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, form.text.size()}) {
        std::vector<PeerStep> steps{accept_one(), take_head(), say_in_pieces(form.text, piece),
                                    read_to_end()};
        const Got got = co_await ask_peer(std::move(steps), kDefault);
        EXPECT_FALSE(got.error) << form.text << net::http::describe_client_error(*got.error);
        EXPECT_EQ(got.body, form.body) << form.text;
        EXPECT_EQ(got.idle, form.is_kept ? 1u : 0u) << form.text;
      }
    }
  });
}

TEST(HttpClient, ABodyWithoutALengthEndsWithTheConnection) {
  run_on_cores(1, []() -> Task<void> {
    std::vector<PeerStep> steps{accept_one(), take_head(),
                                say_in_pieces("HTTP/1.1 200 OK\r\n\r\nuntil the end", 3),
                                close_it()};
    const Got got = co_await ask_peer(std::move(steps), kDefault);
    EXPECT_FALSE(got.error);
    EXPECT_EQ(got.body, "until the end");
    EXPECT_EQ(got.idle, 0u);
  });
}

struct Wrong {
  std::string_view text;
  ErrorCode code;
  ClientFault fault;
};

constexpr std::array kWrong{
    Wrong{"", ErrorCode::closed, ClientFault::no_answer},
    Wrong{"HTT", ErrorCode::closed, ClientFault::cut_answer},
    Wrong{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", ErrorCode::closed,
          ClientFault::cut_answer},
    Wrong{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", ErrorCode::closed,
          ClientFault::cut_answer},
    Wrong{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfive\r\n", ErrorCode::closed,
          ClientFault::malformed_answer},
    Wrong{"SSH-2.0-OpenSSH_9.2\r\n", ErrorCode::closed, ClientFault::malformed_answer},
    Wrong{"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", ErrorCode::closed,
          ClientFault::malformed_answer},
    Wrong{"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
          ErrorCode::closed, ClientFault::malformed_answer},
};

TEST(HttpClient, AnAnswerThatIsCutOrMalformedIsAnErrorAndItsConnectionIsNotKept) {
  run_on_cores(1, []() -> Task<void> {
    for (const Wrong& wrong : kWrong) {
      std::vector<PeerStep> steps{accept_one(), take_head(), say(wrong.text), close_it()};
      const Got got = co_await ask_peer(std::move(steps), kDefault);
      EXPECT_EQ(got.idle, 0u) << wrong.text;
      EXPECT_TRUE(got.error) << wrong.text;
      if (!got.error) continue;
      EXPECT_EQ(got.error->code, wrong.code) << wrong.text;
      EXPECT_EQ(fault_of(*got.error), wrong.fault) << wrong.text;
    }
  });
}

TEST(HttpClient, LimitsOfHeadFieldsAndBodyHold) {
  run_on_cores(1, []() -> Task<void> {
    std::string many = "HTTP/1.1 200 OK\r\n";
    for (int i = 0; i < 9; ++i) many += "A: b\r\n";
    const std::vector<std::string> texts{
        "HTTP/1.1 200 OK\r\nA: " + std::string(300, 'a') + "\r\n\r\n", many + "\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n",
        "HTTP/1.1 200 OK\r\n\r\n" + std::string(101, 'x')};
    ClientOptions options;
    options.limits.header_bytes_max = 256;
    options.limits.fields_max = 8;
    options.limits.body_bytes_max = 100;
    for (const std::string& text : texts) {
      std::vector<PeerStep> steps{accept_one(), take_head(), say(text), read_to_end()};
      const Got got = co_await ask_peer(std::move(steps), options);
      EXPECT_TRUE(got.error) << text;
      if (!got.error) continue;
      EXPECT_EQ(fault_of(*got.error), ClientFault::large_answer) << text;
      EXPECT_EQ(got.idle, 0u);
    }
  });
}

TEST(HttpClient, WhatCouldSplitARequestIsRefusedBeforeAnythingIsSent) {
  run_on_cores(1, []() -> Task<void> {
    HttpClient client;
    const std::array<std::array<Field, 1>, 5> wrong{{{{{"X", "a\r\nB: c"}}},
                                                     {{{"X", "a\nb"}}},
                                                     {{{"X", std::string_view{"a\0b", 3}}}},
                                                     {{{"X: y", "z"}}},
                                                     {{{"Content-Length", "7"}}}}};
    for (const auto& fields : wrong) {
      const auto answer = co_await client.send({.url = "http://127.0.0.1:1/", .fields = fields});
      EXPECT_FALSE(answer);
      if (!answer) {
        EXPECT_EQ(fault_of(answer.error()), ClientFault::bad_request);
      }
    }
    const auto method = co_await client.send({.method = "GET /x", .url = "http://127.0.0.1:1/"});
    EXPECT_TRUE(!method && fault_of(method.error()) == ClientFault::bad_request);
    for (const char* url : {"ftp://127.0.0.1/", "127.0.0.1", "http://", "http://a b/", "/path",
                            "http://127.0.0.1/a\r\nb", "http://user@127.0.0.1/"}) {
      const auto answer = co_await client.get(url);
      EXPECT_TRUE(!answer && fault_of(answer.error()) == ClientFault::bad_url) << url;
    }
    EXPECT_EQ(client.counters().connections, 0u);
  });
}

TEST(HttpClient, TlsIsRefusedWithAnErrorThatSaysSo) {
  run_on_cores(1, []() -> Task<void> {
    HttpClient client;
    const auto answer = co_await client.get("https://127.0.0.1/");
    EXPECT_FALSE(answer);
    if (answer) co_return;
    EXPECT_EQ(answer.error().code, ErrorCode::unsupported);
    EXPECT_EQ(fault_of(answer.error()), ClientFault::no_tls);
    EXPECT_NE(net::http::describe_client_error(answer.error()).find("TLS"), std::string::npos);
  });
}

TEST(HttpClient, WhatNobodyListensOnIsRefused) {
  run_on_cores(1, []() -> Task<void> {
    HttpClient client;
    const auto answer = co_await client.get("http://127.0.0.1:1/");
    EXPECT_TRUE(!answer && answer.error() == Error::from_errno(ECONNREFUSED));
    EXPECT_EQ(client.open_connections(), 0u);
  });
}

TEST(HttpClient, ARequestIsWrittenAsItWasAsked) {
  run_on_cores(1, []() -> Task<void> {
    std::vector<PeerStep> steps{accept_one(), take_head(), take_bytes(4), say(kOk), read_to_end()};
    co_await with_peer(std::move(steps), [](ScriptedPeer& peer) -> Task<void> {
      HttpClient client;
      const std::string url = peer.url("/a?b=%20#fragment");
      const std::array<Field, 2> fields{{{"Accept", "text/plain"}, {"X-Empty", ""}}};
      const auto answer =
          co_await client.send({.method = "POST",
                                .url = url,
                                .fields = fields,
                                .body = std::as_bytes(std::span{std::string_view{"body"}})});
      EXPECT_TRUE(answer);
      EXPECT_EQ(peer.heads.at(0), "POST /a?b=%20 HTTP/1.1\r\nHost: " + peer.authority() +
                                      "\r\nAccept: text/plain\r\nX-Empty: \r\n"
                                      "Content-Length: 4\r\n\r\n");
      EXPECT_EQ(peer.bytes, "body");
    });
  });
}

TEST(HttpClient, APathStandsBehindTheBase) {
  run_on_cores(1, []() -> Task<void> {
    std::vector<PeerStep> steps{accept_one(), take_head(), say(kOk), read_to_end()};
    co_await with_peer(std::move(steps), [](ScriptedPeer& peer) -> Task<void> {
      ClientOptions options;
      options.base = peer.url();
      HttpClient client(std::move(options));
      auto answer = co_await client.get("/x/y");
      EXPECT_TRUE(answer);
      EXPECT_TRUE(peer.heads.at(0).starts_with("GET /x/y HTTP/1.1\r\n"));
    });
  });
}

TEST(HttpClient, APathStandsBehindThePathOfTheBase) {
  run_on_cores(1, []() -> Task<void> {
    for (const char* base : {"/v1", "/v1/"}) {
      std::vector<PeerStep> steps{accept_one(), take_head(), say(kOk), take_head(),
                                  say(kOk),     take_head(), say(kOk), read_to_end()};
      co_await with_peer(std::move(steps), [base](ScriptedPeer& peer) -> Task<void> {
        ClientOptions options;
        options.base = peer.url(base);
        HttpClient client(std::move(options));
        for (const char* path : {"/list?a=b", "/", "/../list"}) {
          auto answer = co_await client.get(path);
          EXPECT_TRUE(answer);
          if (answer) co_await answer->discard();
        }
        EXPECT_TRUE(peer.heads.at(0).starts_with("GET /v1/list?a=b HTTP/1.1\r\n"));
        EXPECT_TRUE(peer.heads.at(1).starts_with("GET /v1/ HTTP/1.1\r\n"));
        EXPECT_TRUE(peer.heads.at(2).starts_with("GET /v1/list HTTP/1.1\r\n"));
      });
    }
  });
}

TEST(HttpClient, APathThatNamesAnotherHostIsRefused) {
  run_on_cores(1, []() -> Task<void> {
    ClientOptions options;
    options.base = "http://127.0.0.1:1/";
    HttpClient client(options);
    for (const char* path : {"//127.0.0.2:1/", "//", "///x"}) {
      const auto answer = co_await client.get(path);
      EXPECT_TRUE(!answer && fault_of(answer.error()) == ClientFault::bad_url) << path;
    }
    EXPECT_THROW(HttpClient({.base = "http://127.0.0.1:1/a?b"}), std::invalid_argument);
  });
}

TEST(HttpClient, AnEndlessBodyEndsAtTheDeadlineThoughItsBytesAreThere) {
  run_on_cores(1, []() -> Task<void> {
    auto listener = net::TcpListener::listen(loopback());
    EXPECT_TRUE(listener);
    if (!listener) co_return;
    TaskGroup group("server");
    group.spawn(
        "server",
        [](net::TcpListener* from) -> Task<void> {
          auto stream = co_await from->accept();
          if (!stream) co_return;
          const auto head = co_await stream->read_until("\r\n\r\n", 1000);
          EXPECT_TRUE(head);
          auto sent = co_await stream->write_all("HTTP/1.1 200 OK\r\n\r\n");
          const std::string bytes(100'000, 'x');
          while (sent) sent = co_await stream->write_all(bytes);
        },
        &*listener);
    ClientOptions options;
    options.request_timeout = 100 * kMillisecond;
    HttpClient client(options);
    auto answer = co_await client.get("http://" + listener->address()->text() + "/");
    EXPECT_TRUE(answer);
    const Nanoseconds begun = Core::current().now();
    while (answer) {
      const auto piece = co_await answer->read();
      if (!piece) {
        EXPECT_EQ(piece.error().code, ErrorCode::timed_out);
        break;
      }
      const bool is_in_time = Core::current().now() - begun < 5 * kSecond;
      EXPECT_TRUE(is_in_time);
      if (!is_in_time) break;
      co_await sleep_for(kMillisecond);  // slower than the server
    }
    answer = runtime::fail(ErrorCode::closed);
    group.cancel();
    co_await group.join();
    co_await listener->close();
  });
}

TEST(HttpClient, ATimeoutOfAnyLengthIsADeadline) {
  run_on_cores(1, []() -> Task<void> {
    std::vector<PeerStep> steps{accept_one(), take_head(), wait_for_test(), say(kOk),
                                read_to_end()};
    co_await with_peer(std::move(steps), [](ScriptedPeer& peer) -> Task<void> {
      TaskGroup group("later");
      group.spawn(
          "later",
          [](ScriptedPeer* of) -> Task<void> {
            co_await sleep_for(600 * kMillisecond);  // deadlines are up to 250 ms late
            of->go_on.set();
          },
          &peer);
      ClientOptions options;
      options.request_timeout = kNever - 1;
      HttpClient client(options);
      const Got got = co_await read_in_pieces(client, peer.url());
      EXPECT_FALSE(got.error);
      EXPECT_EQ(got.body, "ok");
      co_await group.join();
    });
  });
}

TEST(HttpClient, AConnectionThatTheRequestEndsIsNotKept) {
  run_on_cores(1, []() -> Task<void> {
    std::vector<PeerStep> steps{accept_one(), take_head(), say(kOk), read_to_end()};
    co_await with_peer(std::move(steps), [](ScriptedPeer& peer) -> Task<void> {
      HttpClient client;
      const std::string url = peer.url();
      const std::array<Field, 1> fields{{{"connection", "x, Close"}}};
      auto answer = co_await client.send({.url = url, .fields = fields});
      EXPECT_TRUE(answer);
      if (!answer) co_return;
      EXPECT_EQ((co_await answer->collect()).value_or("?"), "ok");
      EXPECT_EQ(client.open_connections(), 0u);
    });
  });
}

TEST(HttpClient, AHeadRequestHasNoBodyWhateverItsFieldsSay) {
  run_on_cores(1, []() -> Task<void> {
    std::vector<PeerStep> steps{
        accept_one(), take_head(), say("HTTP/1.1 200 OK\r\nContent-Length: 700\r\n\r\n"),
        take_head(),  say(kOk),    read_to_end()};
    co_await with_peer(std::move(steps), [](ScriptedPeer& peer) -> Task<void> {
      HttpClient client;
      const std::string url = peer.url();
      for (const char* method : {"HEAD", "GET"}) {
        auto answer = co_await client.send({.method = method, .url = url});
        EXPECT_TRUE(answer);
        if (!answer) co_return;
        const auto text = co_await answer->collect();
        EXPECT_TRUE(text);
        EXPECT_EQ(answer->single("content-length"), method[0] == 'H' ? "700" : "2");
        EXPECT_EQ(answer->body_bytes(), method[0] == 'H' ? 0u : 2u);
      }
      EXPECT_EQ(client.counters().connections, 1u);
    });
  });
}

TEST(HttpClient, AReadIsCopiedInThePartsThatAreAskedFor) {
  run_on_cores(1, []() -> Task<void> {
    std::vector<PeerStep> steps{
        accept_one(), take_head(),
        say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nabcdefg\r\n3\r\nhij\r\n"
            "0\r\n\r\n"),
        read_to_end()};
    co_await with_peer(std::move(steps), [](ScriptedPeer& peer) -> Task<void> {
      HttpClient client;
      auto answer = co_await client.get(peer.url());
      EXPECT_TRUE(answer);
      if (!answer) co_return;
      std::array<std::byte, 3> part;
      std::string text;
      for (;;) {
        const auto read = co_await answer->read_some(part);
        if (!read) break;
        text.append(reinterpret_cast<const char*>(part.data()), *read);
      }
      EXPECT_EQ(text, "abcdefghij");
      EXPECT_EQ(client.idle_connections(), 1u);
    });
  });
}

TEST(HttpClient, CollectingStopsAtItsLimit) {
  run_on_cores(1, []() -> Task<void> {
    std::vector<PeerStep> steps{accept_one(), take_head(),
                                say("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world"),
                                read_to_end()};
    co_await with_peer(std::move(steps), [](ScriptedPeer& peer) -> Task<void> {
      HttpClient client;
      auto answer = co_await client.get(peer.url());
      EXPECT_TRUE(answer);
      if (!answer) co_return;
      const auto text = co_await answer->collect(10);
      EXPECT_TRUE(!text && fault_of(text.error()) == ClientFault::large_answer);
    });
  });
}

TEST(HttpClient, AUnixSocketIsAskedByItsPath) {
  run_on_cores(1, []() -> Task<void> {
    const Address address = *Address::parse("unix:@corelane-http-client-test");
    auto listener = net::TcpListener::listen(address);
    EXPECT_TRUE(listener);
    if (!listener) co_return;
    TaskGroup group("server");
    group.spawn(
        "server",
        [](net::TcpListener* from) -> Task<void> {
          auto stream = co_await from->accept();
          const auto head = co_await stream->read_until("\r\n\r\n", 1000);
          EXPECT_TRUE(head && head->find("Host: localhost\r\n") != head->npos);
          const auto sent = co_await stream->write_all(kOk);
          EXPECT_TRUE(sent);
        },
        &*listener);
    HttpClient client;
    auto answer = co_await client.get("http+unix://@corelane-http-client-test/list");
    EXPECT_TRUE(answer) << describe(answer.error());
    if (answer) {
      EXPECT_EQ((co_await answer->collect()).value_or("?"), "ok");
    }
    group.cancel();
    co_await group.join();
    co_await listener->close();
  });
}

}  // namespace
}  // namespace corelane
