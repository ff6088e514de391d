// Goal: a client reads the body that RFC 9112 section 6.3 gives a response, and refuses what a
// strict server would. Method: each way to end a body in every cut; a table of malformed ones.
#include "net/http/response_parser.hpp"

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "tests/unit/net/http_support.hpp"

namespace corelane {
namespace {

using http_test::as_bytes;
using http_test::as_text;
using net::http::ResponseParser;
using net::http::Status;
using Event = ResponseParser::Event;
using Failure = ResponseParser::Failure;

struct Fed {
  Event event = Event::need_more;
  std::size_t consumed = 0;
};

Fed feed_pieces(ResponseParser& parser, std::string_view text, std::size_t bytes) {
  Fed fed;
  while (fed.consumed < text.size() && fed.event == Event::need_more) {
    const auto progress = parser.feed(as_bytes(text.substr(fed.consumed, bytes)));
    fed.event = progress.event;
    fed.consumed += progress.consumed;
  }
  return fed;
}

TEST(HttpResponseParser, ReadsEachKindOfBodyInEveryCut) {
  struct Case {
    std::string text;
    std::string body;
    std::size_t behind;  // bytes that belong to the next message
    bool keep_alive;
  };
  const Case cases[] = {
      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP", "hello", 4, true},
      {"HTTP/1.1 200 \r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "", 0, false},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nX", "abc", 1,
       true},
      {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx", "x", 0, true},
      {"HTTP/1.1 204 No Content\r\n\r\nX", "", 1, true},
      {"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\nX", "", 1, true},
      {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81", "", 1, true},
      {"HTTP/1.1 100 Continue\r\n\r\nX", "", 1, true},
  };
  for (const Case& c : cases) {
    for (std::size_t bytes = 1; bytes <= c.text.size(); ++bytes) {
      ResponseParser parser;
      const Fed fed = feed_pieces(parser, c.text, bytes);
      ASSERT_EQ(fed.event, Event::complete) << c.text << bytes;
      EXPECT_EQ(fed.consumed, c.text.size() - c.behind) << c.text << bytes;
      EXPECT_EQ(as_text(parser.response().body), c.body) << c.text << bytes;
      EXPECT_EQ(parser.response().keep_alive, c.keep_alive) << c.text << bytes;
      EXPECT_EQ(parser.feed_end(), Event::complete);
    }
  }
}

// Of a parser of pieces: everything up to the end, each piece appended. An interim answer is
// dropped.
struct InPieces {
  Event event = Event::need_more;
  std::size_t consumed = 0;
  std::size_t heads = 0;
  std::string body;
};

InPieces feed_in_pieces(ResponseParser& parser, std::string_view text, std::size_t bytes) {
  InPieces fed;
  while (fed.event != Event::complete && fed.event != Event::error) {
    const std::string_view piece = text.substr(fed.consumed, bytes);
    if (piece.empty()) break;
    const std::string copy{piece};
    const auto progress = parser.feed(as_bytes(copy));
    fed.event = progress.event;
    fed.consumed += progress.consumed;
    if (fed.event == Event::head) ++fed.heads;
    if (fed.event != Event::body && fed.event != Event::complete) continue;
    EXPECT_TRUE(fed.event == Event::complete || !parser.piece().empty());
    fed.body += as_text(parser.piece());
  }
  return fed;
}

TEST(HttpResponseParser, GivesEachKindOfBodyInPiecesInEveryCut) {
  struct Case {
    std::string text;
    std::string body;
    std::size_t behind;
    std::size_t heads;
    std::optional<std::uint64_t> announced;
  };
  const Case cases[] = {
      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP", "hello", 4, 1, 5},
      {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "", 0, 0, std::nullopt},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: "
       "t\r\n"
       "\r\nX",
       "abcde", 1, 1, std::nullopt},
      {"HTTP/1.1 204 No Content\r\n\r\nX", "", 1, 0, std::nullopt},
  };
  for (const Case& c : cases) {
    for (std::size_t bytes = 1; bytes <= c.text.size(); ++bytes) {
      ResponseParser parser({}, ResponseParser::Bodies::pieces);
      const InPieces fed = feed_in_pieces(parser, c.text, bytes);
      ASSERT_EQ(fed.event, Event::complete) << c.text << bytes;
      EXPECT_EQ(fed.consumed, c.text.size() - c.behind) << c.text << bytes;
      EXPECT_EQ(fed.heads, c.heads) << c.text << bytes;
      EXPECT_EQ(fed.body, c.body) << c.text << bytes;
      EXPECT_EQ(parser.response().reason, c.text.substr(13, parser.response().reason.size()));
    }
    ResponseParser parser({}, ResponseParser::Bodies::pieces);
    const auto head = parser.feed(as_bytes(c.text));
    EXPECT_EQ(parser.announced_bytes(), c.announced);
    EXPECT_EQ(head.event, c.heads == 1 ? Event::head : Event::complete);
  }
}

TEST(HttpResponseParser, LimitsABodyInPiecesAsAWholeOne) {
  net::http::Limits limits;
  limits.body_bytes_max = 4;
  for (const char* text :
       {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 200 OK\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"}) {
    for (const std::size_t bytes : {std::size_t{1}, std::size_t{1000}}) {
      ResponseParser parser(limits, ResponseParser::Bodies::pieces);
      EXPECT_EQ(feed_in_pieces(parser, text, bytes).event, Event::error) << text;
      EXPECT_EQ(parser.failure(), Failure::limit_exceeded);
    }
  }
  ResponseParser parser(limits, ResponseParser::Bodies::pieces);
  const InPieces fed = feed_in_pieces(parser, "HTTP/1.1 200 OK\r\n\r\nbody", 3);
  EXPECT_EQ(fed.body, "body");
  EXPECT_EQ(parser.feed_end(), Event::complete);
}

TEST(HttpResponseParser, ReadsABodyThatTheEndOfTheStreamEnds) {
  ResponseParser parser;
  EXPECT_EQ(feed_pieces(parser, "HTTP/1.0 200 OK\r\nX: 1\r\n\r\nabcdef", 3).event,
            Event::need_more);
  EXPECT_EQ(parser.feed_end(), Event::complete);
  EXPECT_EQ(as_text(parser.response().body), "abcdef");
  EXPECT_FALSE(parser.response().keep_alive);
  EXPECT_EQ(parser.response().single("x"), "1");
}

TEST(HttpResponseParser, AHeadResponseHasNoBody) {
  ResponseParser parser;
  parser.reset(true);
  const std::string head = "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n";
  const auto progress = parser.feed(as_bytes(head + "HTTP"));
  EXPECT_EQ(progress.event, Event::complete);
  EXPECT_EQ(progress.consumed, head.size());
  parser.reset();
  EXPECT_EQ(parser.feed(as_bytes("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n")).event,
            Event::need_more);
}

TEST(HttpResponseParser, SaysThatAStreamEndedTooEarly) {
  for (const char* text : {"", "HTTP/1.1 2", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nx",
                           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"}) {
    ResponseParser parser;
    EXPECT_EQ(parser.feed(as_bytes(text)).event, Event::need_more);
    EXPECT_EQ(parser.feed_end(), Event::error);
    EXPECT_EQ(parser.failure(), Failure::truncated);
  }
}

TEST(HttpResponseParser, LimitsTheBody) {
  const net::http::Limits limits{.body_bytes_max = 3};
  for (const char* text :
       {"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nabcd",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n"}) {
    ResponseParser parser{limits};
    EXPECT_EQ(feed_pieces(parser, text, 1).event, Event::error) << text;
    EXPECT_EQ(parser.failure(), Failure::limit_exceeded) << text;
  }
  ResponseParser parser{limits};
  EXPECT_EQ(feed_pieces(parser, "HTTP/1.1 200 OK\r\n\r\nabc", 1).event, Event::need_more);
  EXPECT_EQ(parser.feed_end(), Event::complete);
}

TEST(HttpResponseParser, RefusesMalformedResponsesInEveryCut) {
  for (const char* text :
       {"\r\nHTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n", "HTTP/1.1 099 OK\r\n\r\n", "HTTP/1.1 600 OK\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n", "http/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\n\n",
        "HTTP/1.1 200 O\rK\r\n\r\n", "HTTP/1.1 200 OK\r\n X: folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n"}) {
    for (const std::size_t bytes : {std::size_t{1}, std::size_t{9}, std::size_t{1000}}) {
      ResponseParser parser;
      EXPECT_EQ(feed_pieces(parser, text, bytes).event, Event::error) << text;
      EXPECT_EQ(parser.failure(), Failure::malformed) << text;
      parser.reset();
      EXPECT_EQ(parser.feed(as_bytes("HTTP/1.1 204 No Content\r\n\r\n")).event, Event::error);
    }
  }
}

}  // namespace
}  // namespace corelane
