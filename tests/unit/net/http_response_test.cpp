// Goal: what is written is what RFC 9110 and 9112 ask for, byte for byte, and no value can break
// out of its line. Method: expected texts; write then parse with ResponseParser.
#include "net/http/response.hpp"

#include <gtest/gtest.h>

#include <array>
#include <stdexcept>
#include <string>

#include "net/http/response_parser.hpp"
#include "tests/unit/net/http_support.hpp"

namespace corelane {
namespace {

using http_test::as_bytes;
using http_test::as_text;
using net::http::Field;
using net::http::ResponseContext;
using net::http::Status;

constexpr ResponseContext kOpen{.keep_alive = true, .is_head = false, .version = 11};

TEST(HttpResponse, WritesStatusLineFieldsAndBody) {
  std::vector<std::byte> out;
  const std::array<Field, 1> fields{{{"ETag", "\"1\""}}};
  ASSERT_TRUE(net::http::write_response(
      out, Status::ok, kOpen,
      {.content_type = "text/plain", .date = "Thu, 01 Jan 1970 00:00:00 GMT", .fields = fields},
      "hello"));
  EXPECT_EQ(as_text(out),
            "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Type: text/plain\r\n"
            "Content-Length: 5\r\nETag: \"1\"\r\n\r\nhello");
}

TEST(HttpResponse, AppendsBehindWhatIsThere) {
  std::vector<std::byte> out;
  ASSERT_TRUE(net::http::write_response(out, Status::no_content, kOpen, {}, ""));
  ASSERT_TRUE(net::http::write_response(out, Status::created, {}, {}, "x"));
  EXPECT_EQ(as_text(out),
            "HTTP/1.1 204 No Content\r\n\r\n"
            "HTTP/1.1 201 Created\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx");
}

TEST(HttpResponse, AnswersHeadWithTheLengthAndNoBody) {
  std::vector<std::byte> out;
  ASSERT_TRUE(net::http::write_response(out, Status::ok, {true, true, 10}, {}, "hello"));
  EXPECT_EQ(as_text(out), "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n");
}

TEST(HttpResponse, RefusesValuesThatBreakOutOfTheirLine) {
  for (const std::string_view bad :
       {std::string_view{"a\r\nX: 1"}, std::string_view{"a\nb"}, std::string_view{"a\rb"},
        std::string_view{"a\0b", 3}, std::string_view{"\x7f"}}) {
    std::vector<std::byte> out;
    const std::array<Field, 1> fields{{{"X", bad}}};
    EXPECT_FALSE(net::http::write_response(out, Status::ok, kOpen,
                                           {.content_type = {}, .date = {}, .fields = fields}, ""));
    EXPECT_FALSE(net::http::write_response(out, Status::ok, kOpen,
                                           {.content_type = bad, .date = {}, .fields = {}}, ""));
    EXPECT_TRUE(out.empty()) << "nothing is written when something is refused";
  }
}

TEST(HttpResponse, RefusesNamesThatAreNoneOrAreItsOwn) {
  for (const std::string_view name :
       {"", "a b", "a:", "caf\xe9", "Content-length", "TRANSFER-ENCODING", "connection"}) {
    std::vector<std::byte> out;
    const std::array<Field, 1> fields{{{name, "1"}}};
    EXPECT_FALSE(net::http::write_response(out, Status::ok, kOpen,
                                           {.content_type = {}, .date = {}, .fields = fields}, ""))
        << name;
    EXPECT_TRUE(out.empty());
  }
  std::vector<std::byte> out;
  EXPECT_FALSE(net::http::write_response(out, Status::no_content, kOpen, {}, "body"));
}

TEST(HttpResponse, ErrorsCloseAndCarryWhatTheirStatusDemands) {
  struct Case {
    Status status;
    const char* expected;
  };
  for (const Case& c : {
           Case{Status::bad_request,
                "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"
                "Content-Length: 16\r\nConnection: close\r\n\r\n400 Bad Request\n"},
           Case{Status::method_not_allowed,
                "HTTP/1.1 405 Method Not Allowed\r\nContent-Type: text/plain; charset=utf-8\r\n"
                "Content-Length: 23\r\nAllow: GET, HEAD\r\nConnection: close\r\n\r\n"
                "405 Method Not Allowed\n"},
           Case{Status::upgrade_required,
                "HTTP/1.1 426 Upgrade Required\r\nContent-Type: text/plain; charset=utf-8\r\n"
                "Content-Length: 21\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                "Connection: Upgrade, close\r\n\r\n426 Upgrade Required\n"},
           Case{Status::service_unavailable,
                "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n"
                "Content-Length: 24\r\nRetry-After: 7\r\nConnection: close\r\n\r\n"
                "503 Service Unavailable\n"},
       }) {
    std::vector<std::byte> out;
    net::http::write_error(out, c.status,
                           {.context = {}, .allow = "GET, HEAD", .retry_after_s = 7});
    EXPECT_EQ(as_text(out), c.expected);
  }
}

TEST(HttpResponse, EveryErrorIsReadableByAClient) {
  for (const Status status :
       {Status::bad_request, Status::forbidden, Status::not_found, Status::method_not_allowed,
        Status::request_timeout, Status::content_too_large, Status::uri_too_long,
        Status::expectation_failed, Status::upgrade_required,
        Status::request_header_fields_too_large, Status::service_unavailable,
        Status::http_version_not_supported}) {
    for (const bool is_head : {false, true}) {
      std::vector<std::byte> out;
      net::http::write_error(
          out, status,
          {.context = {.keep_alive = false, .is_head = is_head, .version = 11}, .allow = "GET"});
      net::http::ResponseParser parser;
      parser.reset(is_head);
      const auto progress = parser.feed(out);
      ASSERT_EQ(progress.event, net::http::ResponseParser::Event::complete) << as_text(out);
      EXPECT_EQ(progress.consumed, out.size());
      EXPECT_EQ(parser.response().status, status);
      EXPECT_EQ(parser.response().reason, net::http::reason_phrase(status));
      EXPECT_NE(parser.response().reason, "Unknown");
      EXPECT_FALSE(parser.response().keep_alive);
      EXPECT_EQ(parser.response().body.empty(), is_head);
    }
  }
}

TEST(HttpResponse, AStaticResponseHasOneTextForEachContext) {
  const net::http::StaticResponse response{Status::ok, "text/plain", "ok\n"};
  const std::string head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n";
  EXPECT_EQ(as_text(response.bytes({true, false, 11})), head + "\r\nok\n");
  EXPECT_EQ(as_text(response.bytes({true, true, 11})), head + "\r\n");
  EXPECT_EQ(as_text(response.bytes({true, false, 10})),
            head + "Connection: keep-alive\r\n\r\nok\n");
  EXPECT_EQ(as_text(response.bytes({false, false, 10})), head + "Connection: close\r\n\r\nok\n");
  EXPECT_EQ(response.bytes({true, false, 11}).data(), response.bytes({true, true, 11}).data());
  EXPECT_THROW((net::http::StaticResponse{Status::ok, "a\nb", ""}), std::invalid_argument);
}

TEST(HttpResponse, WritesDates) {
  struct Case {
    std::int64_t unix_s;
    const char* text;
  };
  for (const Case& c : {Case{0, "Thu, 01 Jan 1970 00:00:00 GMT"},
                        Case{784'111'777, "Sun, 06 Nov 1994 08:49:37 GMT"},
                        Case{951'782'400, "Tue, 29 Feb 2000 00:00:00 GMT"},
                        Case{4'107'542'399, "Sun, 28 Feb 2100 23:59:59 GMT"},
                        Case{4'107'542'400, "Mon, 01 Mar 2100 00:00:00 GMT"},
                        Case{253'402'300'799, "Fri, 31 Dec 9999 23:59:59 GMT"}}) {
    const net::http::DateText date = net::http::format_date(c.unix_s);
    EXPECT_EQ(net::http::to_view(date), c.text);
  }
}

TEST(HttpResponse, RefusesRequestsThatCannotBeSent) {
  std::vector<std::byte> out;
  const std::array<Field, 1> good{{{"X", "1"}}};
  EXPECT_FALSE(net::http::write_request(out, {.host = ""}));
  EXPECT_FALSE(net::http::write_request(out, {.host = "a\r\nX: 1"}));
  EXPECT_FALSE(net::http::write_request(out, {.target = "/a b", .host = "a"}));
  EXPECT_FALSE(net::http::write_request(out, {.target = "a", .host = "a"}));
  EXPECT_FALSE(net::http::write_request(out, {.method = "G T", .host = "a"}));
  const std::array<Field, 1> bad{{{"X", "1\r\n"}}};
  EXPECT_FALSE(net::http::write_request(out, {.host = "a", .fields = bad}));
  const std::array<Field, 1> own{{{"content-length", "1"}}};
  EXPECT_FALSE(net::http::write_request(out, {.host = "a", .fields = own}));
  EXPECT_TRUE(out.empty());
  EXPECT_TRUE(net::http::write_request(out, {.host = "a", .fields = good}));
  EXPECT_EQ(as_text(out), "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n");
}

}  // namespace
}  // namespace corelane
