// Goal: RequestParser reads exactly one request, whatever the cuts, keeps every limit to the byte,
// and stops for good at an error. Method: the same text whole, byte by byte and in random pieces;
// each limit at its value and one past it; random requests against the model they were made from.
#include "net/http/request_parser.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "net/http/response.hpp"
#include "tests/support/seed.hpp"
#include "tests/unit/net/http_support.hpp"

namespace corelane {
namespace {

using http_test::as_bytes;
using http_test::as_text;
using http_test::Feeder;
using http_test::pieces_of;
using http_test::whole;
using net::http::Limits;
using net::http::RequestParser;
using net::http::Status;
using Event = RequestParser::Event;

constexpr std::string_view kUpgrade =
    "GET /chat?room=1 HTTP/1.1\r\nHost: example.com:8080\r\nConnection: keep-alive, Upgrade\r\n"
    "Upgrade: websocket\r\nOrigin: http://example.com\r\nX-Empty:\r\n"
    "X-Latin: caf\xe9\r\nX-Padded: \t a b\t \r\n\r\n";

void expect_upgrade(const net::http::Request& request) {
  EXPECT_EQ(request.method, "GET");
  EXPECT_EQ(request.target, "/chat?room=1");
  EXPECT_EQ(request.path, "/chat");
  EXPECT_EQ(request.query, "room=1");
  EXPECT_EQ(request.host, "example.com:8080");
  EXPECT_EQ(request.version, 11);
  EXPECT_TRUE(request.keep_alive);
  ASSERT_EQ(request.fields.size(), 7U);
  EXPECT_EQ(request.fields[4].name, "X-Empty");
  EXPECT_EQ(request.fields[4].value, "");
  EXPECT_EQ(request.single("x-latin"), "caf\xe9");
  EXPECT_EQ(request.single("X-Padded"), "a b");
  EXPECT_TRUE(request.has_token("connection", "upgrade"));
  EXPECT_TRUE(request.body.empty());
}

TEST(HttpRequestParser, ReadsARequestFromOneBufferWithoutCopying) {
  RequestParser parser;
  const auto progress = parser.feed(as_bytes(kUpgrade));
  ASSERT_EQ(progress.event, Event::complete);
  EXPECT_EQ(progress.consumed, kUpgrade.size());
  expect_upgrade(parser.request());
  EXPECT_EQ(parser.request().method.data(), kUpgrade.data());
  EXPECT_EQ(parser.request().host.data(), kUpgrade.data() + kUpgrade.find("example.com:8080"));
}

TEST(HttpRequestParser, ReadsTheSameFromEveryCutInTwo) {
  for (std::size_t cut = 1; cut < kUpgrade.size(); ++cut) {
    RequestParser parser;
    const std::string first{kUpgrade.substr(0, cut)};
    auto gone = std::make_unique<std::string>(first);
    ASSERT_EQ(parser.feed(as_bytes(*gone)).event, Event::need_more) << cut;
    gone.reset();
    const auto progress = parser.feed(as_bytes(kUpgrade.substr(cut)));
    ASSERT_EQ(progress.event, Event::complete) << cut;
    EXPECT_EQ(progress.consumed, kUpgrade.size() - cut);
    expect_upgrade(parser.request());
  }
}

TEST(HttpRequestParser, KeepsBodyAndHeadApartInEveryCut) {
  const std::string text =
      "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello\r\n\r\n12GET / HTTP/1.1\r\n";
  const std::size_t end = text.find("GET");
  for (std::size_t bytes = 1; bytes <= text.size(); ++bytes) {
    RequestParser parser;
    Feeder feeder;
    const auto outcome = feeder.feed(parser, text, pieces_of(bytes));
    feeder.release_all_but_last();
    ASSERT_EQ(outcome.event, Event::complete) << bytes;
    EXPECT_EQ(outcome.consumed, end) << bytes;
    EXPECT_EQ(as_text(parser.request().body), "hello\r\n\r\n12") << bytes;
    EXPECT_EQ(parser.request().path, "/x") << bytes;
  }
}

TEST(HttpRequestParser, DecodesAChunkedBodyInEveryCut) {
  const std::string text =
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n"
      "5\r\nhello\r\n00a;name=val ; q=\"a\\\"b;\"\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\nNEXT";
  for (std::size_t bytes = 1; bytes <= text.size(); ++bytes) {
    RequestParser parser;
    Feeder feeder;
    const auto outcome = feeder.feed(parser, text, pieces_of(bytes));
    feeder.release_all_but_last();
    ASSERT_EQ(outcome.event, Event::complete) << bytes;
    EXPECT_EQ(outcome.consumed, text.size() - 4) << bytes;
    EXPECT_EQ(as_text(parser.request().body), "hello0123456789") << bytes;
    EXPECT_EQ(parser.request().count("x-sum"), 0U) << "trailers are ignored";
  }
}

TEST(HttpRequestParser, ReadsPipelinedRequestsOneAtATime) {
  const std::string text =
      "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"
      "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
      "\r\nPOST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nz\r\n0\r\n\r\n"
      "GET /4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
  for (const std::size_t bytes : {std::size_t{1}, std::size_t{7}, text.size()}) {
    RequestParser parser;
    std::string_view rest = text;
    std::string seen;
    while (!rest.empty()) {
      Feeder feeder;
      const auto outcome = feeder.feed(parser, rest, pieces_of(bytes));
      ASSERT_EQ(outcome.event, Event::complete) << seen;
      seen += std::string{parser.request().path} + "=" +
              std::string{as_text(parser.request().body)} +
              (parser.request().keep_alive ? ";" : "!");
      rest.remove_prefix(outcome.consumed);
      parser.reset();
      EXPECT_TRUE(parser.is_idle());
    }
    EXPECT_EQ(seen, "/1=;/2=abc;/3=z;/4=!");
  }
}

TEST(HttpRequestParser, ParsesNothingAfterAnError) {
  RequestParser parser;
  const std::string smuggled =
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n"
      "0\r\n\r\nGET /admin HTTP/1.1\r\nHost: a\r\n\r\n";
  ASSERT_EQ(parser.feed(as_bytes(smuggled)).event, Event::error);
  EXPECT_EQ(parser.status(), Status::bad_request);
  for (int i = 0; i < 2; ++i) {
    const auto progress = parser.feed(as_bytes("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    EXPECT_EQ(progress.event, Event::error);
    EXPECT_EQ(progress.consumed, 0U);
    EXPECT_EQ(parser.status(), Status::bad_request);
    EXPECT_TRUE(parser.request().path.empty());
    parser.reset();
  }
}

TEST(HttpRequestParser, TellsKeepAliveFromVersionAndConnection) {
  struct Case {
    const char* version;
    const char* connection;
    bool keep_alive;
  };
  for (const Case& c : {Case{"1.1", "", true}, Case{"1.1", "Connection: Close\r\n", false},
                        Case{"1.1", "Connection: x, close\r\nConnection: keep-alive\r\n", false},
                        Case{"1.0", "", false}, Case{"1.0", "Connection: Keep-Alive\r\n", true},
                        Case{"1.0", "Connection: keep-alive, close\r\n", false}}) {
    const std::string text =
        std::string{"GET / HTTP/"} + c.version + "\r\nHost: a\r\n" + c.connection + "\r\n";
    RequestParser parser;
    ASSERT_EQ(parser.feed(as_bytes(text)).event, Event::complete) << text;
    EXPECT_EQ(parser.request().keep_alive, c.keep_alive) << text;
  }
}

TEST(HttpRequestParser, ReadsEveryFormOfTargetItServes) {
  struct Case {
    const char* line;
    const char* path;
    const char* query;
    const char* host;
  };
  for (const Case& c :
       {Case{"GET /", "/", "", "a.b"}, Case{"GET /?", "/", "", "a.b"},
        Case{"GET //x//?y?z", "//x//", "y?z", "a.b"}, Case{"OPTIONS *", "*", "", "a.b"},
        Case{"GET http://A.b", "/", "", "A.b"}, Case{"GET HTTPS://a.b?q", "/", "q", "a.b"},
        Case{"GET http://a.b/c?d", "/c", "d", "a.b"},
        Case{"GET /%2e%2F?%zz", "/%2e%2F", "%zz", "a.b"}, Case{"m-search /", "/", "", "a.b"}}) {
    const std::string text = std::string{c.line} + " HTTP/1.1\r\nHost: a.b\r\n\r\n";
    RequestParser parser;
    ASSERT_EQ(parser.feed(as_bytes(text)).event, Event::complete) << text;
    EXPECT_EQ(parser.request().path, c.path) << text;
    EXPECT_EQ(parser.request().query, c.query) << text;
    EXPECT_EQ(parser.request().host, c.host) << text;
  }
}

TEST(HttpRequestParser, AsksForContinueOnlyWhenTheBodyHasNotBegun) {
  const std::string head =
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-Continue\r\n\r\n";
  RequestParser parser;
  const auto waiting = parser.feed(as_bytes(head));
  EXPECT_EQ(waiting.event, Event::expect_continue);
  EXPECT_EQ(waiting.consumed, head.size());
  EXPECT_TRUE(parser.is_in_body());
  EXPECT_EQ(parser.request().method, "POST");
  const auto done = parser.feed(as_bytes("hi"));
  EXPECT_EQ(done.event, Event::complete);
  EXPECT_EQ(as_text(parser.request().body), "hi");

  RequestParser eager;
  EXPECT_EQ(eager.feed(as_bytes(head + "h")).event, Event::need_more);
  EXPECT_EQ(eager.feed(as_bytes("i")).event, Event::complete);

  RequestParser bodiless;
  EXPECT_EQ(
      bodiless.feed(as_bytes("GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n")).event,
      Event::complete);

  RequestParser old;
  EXPECT_EQ(old.feed(as_bytes("POST / HTTP/1.0\r\nContent-Length: 2\r\n"
                              "Expect: 100-continue\r\n\r\n"))
                .event,
            Event::need_more);
}

TEST(HttpRequestParser, KnowsWhetherARequestHasBegun) {
  RequestParser parser;
  EXPECT_TRUE(parser.is_idle());
  EXPECT_EQ(parser.feed({}).event, Event::need_more);
  EXPECT_TRUE(parser.is_idle());
  parser.feed(as_bytes("\r\n"));
  EXPECT_TRUE(parser.is_idle()) << "an empty line before a request is no request";
  parser.feed(as_bytes("G"));
  EXPECT_FALSE(parser.is_idle());
  EXPECT_FALSE(parser.is_in_body());
  parser.feed(as_bytes("ET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n"));
  EXPECT_TRUE(parser.is_in_body());
  EXPECT_EQ(parser.feed(as_bytes("x")).event, Event::complete);
}

// Each limit: the request at the limit is complete, one more byte (or field) has the given status,
// whole and byte by byte.
void expect_limit(const Limits& limits, const std::string& at_limit, const std::string& past,
                  Status status) {
  for (const std::size_t bytes : {std::size_t{1}, std::size_t{61}, std::size_t{1} << 30}) {
    RequestParser parser{limits};
    Feeder feeder;
    ASSERT_EQ(feeder.feed(parser, at_limit, pieces_of(bytes)).event, Event::complete) << bytes;
    RequestParser strict{limits};
    Feeder other;
    ASSERT_EQ(other.feed(strict, past, pieces_of(bytes)).event, Event::error) << bytes;
    EXPECT_EQ(strict.status(), status) << bytes;
  }
}

TEST(HttpRequestParser, LimitsTheRequestLine) {
  const auto request = [](std::size_t line_bytes) {
    return "GET /" + std::string(line_bytes - 14, 'x') + " HTTP/1.1\r\nHost: a\r\n\r\n";
  };
  expect_limit({}, request(4096), request(4097), Status::uri_too_long);
  expect_limit({.request_line_bytes_max = 20}, request(20), request(21), Status::uri_too_long);
}

TEST(HttpRequestParser, LimitsTheHeaderBytes) {
  const auto request = [](std::size_t header_bytes) {
    return "GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(header_bytes - 9 - 5, 'x') + "\r\n\r\n";
  };
  expect_limit({}, request(8192), request(8193), Status::request_header_fields_too_large);
}

// A client of another protocol waits for an answer to these, and sends no end of a line.
TEST(HttpRequestParser, RefusesOtherProtocolsBeforeALineEnds) {
  using namespace std::string_view_literals;
  for (const std::string_view text : {"\x16\x03\x01"sv, "P\0\0\0"sv, "PRI\xff"sv}) {
    RequestParser parser;
    EXPECT_EQ(parser.feed(as_bytes(text)).event, Event::error);
    RequestParser byte_by_byte;
    Event last = Event::need_more;
    for (std::size_t at = 0; at < text.size() && last == Event::need_more; ++at) {
      last = byte_by_byte.feed(as_bytes(text.substr(at, 1))).event;
    }
    EXPECT_EQ(last, Event::error);
  }
}

// Refuses at the first byte after which no line end can come within the limit, and not earlier.
TEST(HttpRequestParser, RefusesALongLineBeforeItEnds) {
  RequestParser line;
  ASSERT_EQ(line.feed(as_bytes("GET /" + std::string(4092, 'x'))).event, Event::need_more);
  ASSERT_EQ(line.feed(as_bytes("x")).event, Event::error);
  EXPECT_EQ(line.status(), Status::uri_too_long);
  RequestParser header;
  const std::string fields = "Host: a\r\nX: ";
  const std::string text = "GET / HTTP/1.1\r\n" + fields + std::string(8191 - fields.size(), 'x');
  ASSERT_EQ(header.feed(as_bytes(text)).event, Event::need_more);
  ASSERT_EQ(header.feed(as_bytes("x")).event, Event::error);
  EXPECT_EQ(header.status(), Status::request_header_fields_too_large);
}

TEST(HttpRequestParser, LimitsTheNumberOfFields) {
  const auto request = [](std::size_t fields) {
    std::string text = "GET / HTTP/1.1\r\nHost: a\r\n";
    for (std::size_t i = 1; i < fields; ++i) text += "X: 1\r\n";
    return text + "\r\n";
  };
  expect_limit({}, request(64), request(65), Status::request_header_fields_too_large);
}

TEST(HttpRequestParser, LimitsTheBodyBeforeItComes) {
  const auto sized = [](const std::string& length) {
    return "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + length + "\r\n\r\n";
  };
  expect_limit({.body_bytes_max = 3, .discarded_bytes_max = 0}, sized("3") + "abc", sized("4"),
               Status::content_too_large);
  expect_limit({}, sized("1048576") + std::string(1048576, 'x'), sized("1114113"),
               Status::content_too_large);
  expect_limit({}, sized("0"), sized("99999999999999999999999999"), Status::content_too_large);
}

TEST(HttpRequestParser, LimitsAChunkedBodyWhileItComes) {
  const std::string head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  // The size of the chunk that is too much is refused, before any byte of it.
  expect_limit({.body_bytes_max = 5, .discarded_bytes_max = 0},
               head + "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", head + "3\r\nabc\r\n3\r\n",
               Status::content_too_large);
  expect_limit({.body_bytes_max = 5}, head + "0\r\n\r\n", head + "ffffffffffffffffff\r\n",
               Status::content_too_large);
}

struct Refused {
  std::string text;
  Status status;
};

TEST(HttpRequestParser, ReadsWhatItRefusesToItsEndAndGoesOnBehindIt) {
  const Limits limits{.body_bytes_max = 3, .discarded_bytes_max = 4};
  const auto post = [](std::string_view fields, std::string_view body) {
    return "POST /p HTTP/1.1\r\nHost: a\r\n" + std::string{fields} + "\r\n" + std::string{body};
  };
  const std::string chunked = "Transfer-Encoding: chunked\r\n";
  const std::vector<Refused> cases = {
      {post("Content-Length: 4\r\n", "abcd"), Status::content_too_large},
      {post("Content-Length: 7\r\n", "abcdefg"), Status::content_too_large},
      {post(chunked, "7\r\nabcdefg\r\n0\r\nT: 1\r\n\r\n"), Status::content_too_large},
      {post(chunked, "2\r\nab\r\n2\r\ncd\r\n3\r\nefg\r\n0\r\n\r\n"), Status::content_too_large},
      {post("Expect: 200-ok\r\n", ""), Status::expectation_failed},
      {post("Expect:\r\nContent-Length: 3\r\n", "abc"), Status::expectation_failed},
      {post("Expect: 100-continue\r\nExpect: x\r\n", ""), Status::expectation_failed},
      {post("Expect: x\r\nContent-Length: 4\r\n", "abcd"), Status::content_too_large},
  };
  const std::string next = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
  for (const Refused& c : cases) {
    for (const std::size_t bytes : {std::size_t{1}, std::size_t{5}, std::size_t{1} << 30}) {
      RequestParser parser{limits};
      Feeder feeder;
      const std::string text = c.text + next;
      const auto outcome = feeder.feed(parser, text, pieces_of(bytes));
      ASSERT_EQ(outcome.event, Event::refused) << c.text << bytes;
      EXPECT_EQ(parser.status(), c.status) << c.text;
      EXPECT_EQ(outcome.consumed, c.text.size()) << c.text;
      EXPECT_EQ(parser.request().method, "POST");
      EXPECT_TRUE(parser.request().keep_alive);
      EXPECT_TRUE(parser.request().body.empty());
      parser.reset();
      ASSERT_EQ(parser.feed(as_bytes(next)).event, Event::complete) << c.text;
      EXPECT_EQ(parser.request().path, "/next");
    }
  }
  // One more byte ends the connection, and so does a body that the client has not begun to send.
  for (const std::string& text : {post("Content-Length: 8\r\n", ""), post(chunked, "8\r\n"),
                                  post("Content-Length: 4\r\nExpect: 100-continue\r\n", "")}) {
    RequestParser parser{limits};
    ASSERT_EQ(parser.feed(as_bytes(text)).event, Event::error) << text;
    EXPECT_EQ(parser.status(), Status::content_too_large);
  }
}

TEST(HttpRequestParser, LimitsChunkLinesExtensionsAndTrailers) {
  const std::string head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  const auto with_line = [&head](std::size_t line_bytes) {
    return head + "1;" + std::string(line_bytes - 4, 'e') + "\r\nx\r\n0\r\n\r\n";
  };
  expect_limit({}, with_line(256), with_line(257), Status::bad_request);

  const auto with_extensions = [&head](std::size_t extension_bytes) {
    std::string text = head;
    for (; extension_bytes > 200; extension_bytes -= 200) {
      text += "1;" + std::string(199, 'e') + "\r\nx\r\n";
    }
    return text + "1;" + std::string(extension_bytes - 1, 'e') + "\r\nx\r\n0\r\n\r\n";
  };
  expect_limit({}, with_extensions(4096), with_extensions(4097), Status::bad_request);

  const auto with_trailer = [&head](std::size_t trailer_bytes) {
    return head + "0\r\nX: " + std::string(trailer_bytes - 5, 'x') + "\r\n\r\n";
  };
  expect_limit({}, with_trailer(8192), with_trailer(8193), Status::request_header_fields_too_large);

  const auto with_trailers = [&head](std::size_t count) {
    std::string text = head + "0\r\n";
    for (std::size_t i = 0; i < count; ++i) text += "X: 1\r\n";
    return text + "\r\n";
  };
  expect_limit({}, with_trailers(64), with_trailers(65), Status::request_header_fields_too_large);
}

// A head of 2 MiB byte by byte: looked at once a byte it is nothing, looked at again on every call
// it is 2^41 byte visits, which runs into the time limit that every test has.
TEST(HttpRequestParser, LooksAtEachByteOfASlowHeadOnce) {
  const std::size_t bytes = std::size_t{2} << 20;
  const std::string text =
      "GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(bytes, 'x') + "\r\n\r\n";
  RequestParser parser{{.header_bytes_max = 2 * bytes}};
  Event event = Event::need_more;
  for (const char c : text) event = parser.feed(as_bytes({&c, 1})).event;
  EXPECT_EQ(event, Event::complete);
}

struct Model {
  std::string method;
  std::string path;
  std::vector<std::pair<std::string, std::string>> fields;
  std::string body;
  bool chunked = false;
};

Model make_model(std::mt19937_64& random) {
  const auto text = [&random](std::string_view alphabet, std::size_t bytes_max) {
    std::string made;
    for (std::size_t n = random() % (bytes_max + 1); n > 0; --n) {
      made += alphabet[random() % alphabet.size()];
    }
    return made;
  };
  Model model;
  model.method = "M" + text("GETPOSUABCdef-_.!", 9);
  model.path = "/" + text("abc/.-_~:@$&'()*+,;=?", 60);
  for (std::size_t n = random() % 20; n > 0; --n) {
    std::string value = text("abc \t\"\\,;=\xe9\x80\xff", 40);
    value = std::string{net::http::trim_white_space(value)};
    model.fields.emplace_back("X-" + text("abcDEF09!#$%&'*+-.^_`|~", 12), std::move(value));
  }
  model.body = text("abc\r\n\x01\xff", random() % 4 == 0 ? 5000 : 20);
  if (random() % 3 == 0) model.body.clear();
  model.chunked = random() % 2 == 0;
  return model;
}

TEST(HttpRequestParser, ReadsBackRandomRequestsInRandomPieces) {
  const tests::Seed seed = tests::test_seed();
  std::mt19937_64 random{seed.mixed()};
  RequestParser parser;
  for (int round = 0; round < 2000; ++round) {
    const Model model = make_model(random);
    std::vector<net::http::Field> fields;
    for (const auto& [name, value] : model.fields) fields.push_back({name, value});
    std::vector<std::byte> wire;
    ASSERT_TRUE(net::http::write_request(wire,
                                         {.method = model.method,
                                          .target = model.path,
                                          .host = "[::1]:80",
                                          .fields = fields,
                                          .chunked = model.chunked},
                                         as_bytes(model.body)));
    Feeder feeder;
    const std::size_t piece_max = round % 3 == 0 ? 1 << 20 : 1 + random() % 200;
    const std::string trailing = "\r\nGET";
    const std::string text = std::string{as_text(wire)} + trailing;
    const auto outcome = feeder.feed(parser, text, http_test::random_pieces(random, piece_max));
    feeder.release_all_but_last();
    ASSERT_EQ(outcome.event, Event::complete) << "round " << round << "\n" << text;
    ASSERT_EQ(outcome.consumed, wire.size()) << "round " << round;
    const net::http::Request& request = parser.request();
    EXPECT_EQ(request.method, model.method);
    EXPECT_EQ(request.target, model.path);
    EXPECT_EQ(request.host, "[::1]:80");
    EXPECT_EQ(as_text(request.body), model.body);
    std::size_t next = 1;  // after Host
    for (const auto& [name, value] : model.fields) {
      ASSERT_LT(next, request.fields.size());
      EXPECT_EQ(request.fields[next].name, name) << "round " << round;
      EXPECT_EQ(request.fields[next].value, value) << "round " << round;
      ++next;
    }
    if (HasFailure()) return;
    parser.reset();
  }
}

// --- Bodies in pieces

constexpr std::uint64_t kPiecesMax = 3000;

// A body of 2,000 bytes, of either framing; the next request follows.
std::vector<std::string> texts_with_a_body(const std::string& body) {
  const std::string head = "POST /x HTTP/1.1\r\nHost: a\r\n";
  const std::string next = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
  return {head + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body + next,
          head + "Transfer-Encoding: chunked\r\n\r\n1\r\n" + body.substr(0, 1) + "\r\n7cf;a=b\r\n" +
              body.substr(1) + "\r\n0\r\nT: 1\r\n\r\n" + next};
}

TEST(HttpRequestParser, ReadsABodyInPiecesHoweverItIsCut) {
  const std::string body = std::string(1000, 'a') + std::string(1000, 'b');
  const Limits limits{.body_bytes_max = 10, .discarded_bytes_max = 0};
  for (const std::string& text : texts_with_a_body(body)) {
    for (const std::size_t piece : {1u, 7u, 100'000u}) {
      RequestParser parser{limits, kPiecesMax};
      std::size_t at = 0;
      auto progress = parser.feed(as_bytes(text.substr(0, 0)));
      while (progress.event == Event::need_more) {
        progress = parser.feed(as_bytes(std::string_view{text}.substr(at, piece)));
        at += progress.consumed;
      }
      ASSERT_EQ(progress.event, Event::body_follows);
      EXPECT_EQ(parser.request().path, "/x");
      ASSERT_TRUE(parser.begin_pieces(kPiecesMax));
      EXPECT_TRUE(parser.is_in_body());
      std::vector<std::byte> data;
      do {
        progress = parser.feed_piece(as_bytes(std::string_view{text}.substr(at, piece)), data);
        at += progress.consumed;
      } while (progress.event == Event::need_more);
      ASSERT_EQ(progress.event, Event::complete);
      EXPECT_EQ(as_text(data), body);
      parser.reset();
      progress = parser.feed(as_bytes(std::string_view{text}.substr(at)));
      EXPECT_EQ(progress.event, Event::complete) << "a request without a body does not stop";
      EXPECT_EQ(at + progress.consumed, text.size());
    }
  }
}

TEST(HttpRequestParser, ABodyThatNobodyReadsInPiecesIsWithinTheLimitsAsBefore) {
  const Limits limits{.body_bytes_max = 10, .discarded_bytes_max = 5};
  const auto outcome_of = [&](std::size_t bytes, bool chunked) {
    RequestParser parser{limits, kPiecesMax};
    const std::string body(bytes, 'x');
    const std::string text =
        "POST /x HTTP/1.1\r\nHost: a\r\n" +
        (chunked ? "Transfer-Encoding: chunked\r\n\r\n" + fmt::format("{:x}", bytes) + "\r\n" +
                       body + "\r\n0\r\n\r\n"
                 : "Content-Length: " + std::to_string(bytes) + "\r\n\r\n" + body);
    const auto head = parser.feed(as_bytes(text));
    EXPECT_EQ(head.event, Event::body_follows);
    return parser.take_body(as_bytes(std::string_view{text}.substr(head.consumed))).event;
  };
  for (const bool chunked : {false, true}) {
    EXPECT_EQ(outcome_of(10, chunked), Event::complete);
    EXPECT_EQ(outcome_of(11, chunked), Event::refused);
    EXPECT_EQ(outcome_of(15, chunked), Event::refused);
    EXPECT_EQ(outcome_of(16, chunked), Event::error);
  }
}

TEST(HttpRequestParser, LimitsABodyInPiecesToTheByteAndForThisRequestAlone) {
  const std::string head = "POST /x HTTP/1.1\r\nHost: a\r\n";
  for (const std::uint64_t limit : {9u, 10u}) {
    RequestParser length{Limits{}, kPiecesMax};
    ASSERT_EQ(length.feed(as_bytes(head + "Content-Length: 10\r\n\r\n")).event,
              Event::body_follows);
    EXPECT_EQ(length.begin_pieces(limit), limit == 10);
    EXPECT_EQ(length.status() == Status::content_too_large, limit == 9);

    RequestParser chunked{Limits{}, kPiecesMax};
    const std::string text = head + "Transfer-Encoding: chunked\r\n\r\n";
    ASSERT_EQ(chunked.feed(as_bytes(text)).event, Event::body_follows);
    ASSERT_TRUE(chunked.begin_pieces(limit));
    std::vector<std::byte> data;
    const auto progress = chunked.feed_piece(as_bytes("a\r\n0123456789\r\n0\r\n\r\n"), data);
    EXPECT_EQ(progress.event, limit == 10 ? Event::complete : Event::error);
    if (limit == 9) continue;
    chunked.reset();
    ASSERT_EQ(chunked.feed(as_bytes(text)).event, Event::body_follows);
    const std::string larger = fmt::format("{:x}\r\n{}\r\n0\r\n\r\n", 1000, std::string(1000, 'x'));
    EXPECT_EQ(chunked.take_body(as_bytes(larger)).event, Event::complete);
  }
}

}  // namespace
}  // namespace corelane
