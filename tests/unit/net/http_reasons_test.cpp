// Goal: the body of every error response says which rule or limit it was, with the limit's name in
// the configuration and its value. Method: one request a fault, each at a fresh server.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/http_site.hpp"

namespace corelane {
namespace {

using tests::answers_in;
using tests::exchange_at;
using tests::SiteOptions;

struct Fault {
  std::string text;
  int status;
  std::string why;
};

std::string get(const std::string& fields, const std::string& line = "GET /hello HTTP/1.1") {
  return line + "\r\n" + fields + "\r\n";
}

std::string chunks(const std::string& body) {
  return get("Host: a\r\nTransfer-Encoding: chunked\r\n", "POST /echo HTTP/1.1") + body;
}

const std::string kHost = "Host: a\r\n";

std::vector<Fault> faults() {
  const std::string long_target = "GET /" + std::string(5000, 'a') + " HTTP/1.1";
  const std::string long_field = "X: " + std::string(9000, 'a') + "\r\n";
  std::string many_fields;
  for (int i = 0; i < 64; ++i) many_fields += "X: 1\r\n";
  const std::string too_large = "body larger than limits.http_body_bytes_max (1048576)";
  return {
      {"\x16\x03\x01\x02", 400, "no HTTP request begins here"},
      {std::string{"P\0\0\0\x10\0", 6}, 400, "no HTTP request begins here"},
      {get(kHost, "GET /hello"), 400, "malformed request line"},
      {get(kHost, "GET hello HTTP/1.1"), 400, "malformed request target"},
      {get(kHost, "GET /hello HTTP/x"), 400, "malformed HTTP version"},
      {"GET /hello HTTP/1.1\nHost: a\n\n", 400, "a line that does not end with CRLF"},
      {get(kHost, "GET /hello HTTP/2.0"), 505, "only HTTP/1.1 and HTTP/1.0 are served"},
      {get(kHost, long_target), 414,
       "request line longer than limits.request_line_bytes_max (4096)"},
      {get(kHost + long_field), 431, "header larger than limits.header_bytes_max (8192)"},
      {get(kHost + many_fields), 431, "more header fields than limits.header_fields_max (64)"},
      {get(kHost + "X : 1\r\n"), 400, "malformed header field"},
      {get(""), 400, "HTTP/1.1 without Host"},
      {get(kHost + kHost), 400, "Host is malformed or comes twice"},
      {get(kHost, "GET http://b/hello HTTP/1.1"), 400,
       "Host differs from the host of the request target"},
      {get(kHost + "Connection: close\r\nExpect: a miracle\r\n"), 417,
       "only 100-continue can be expected"},
      {get(kHost + "Content-Length: 1, 1\r\n"), 400, "Content-Length is malformed or comes twice"},
      {get(kHost + "Transfer-Encoding: gzip\r\n"), 400,
       "a Transfer-Encoding other than chunked, once"},
      {get(kHost + "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n"), 400,
       "Transfer-Encoding together with Content-Length, or in HTTP/1.0"},
      {get(kHost + "Connection: a b\r\n"), 400, "malformed Connection or Content-Length"},
      {get(kHost + "Content-Length: 2000000\r\n"), 413, too_large},
      {chunks("200000\r\n"), 413, too_large},
      {chunks("x\r\n"), 400, "malformed chunk size"},
      {chunks("1\r\nabc"), 400, "chunk data without its CRLF"},
      {chunks("0\r\nHost: b\r\n\r\n"), 400, "malformed or forbidden trailer field"},
      {chunks("0\r\nX: " + std::string(9000, 'a') + "\r\n\r\n"), 431,
       "trailer larger than limits.header_bytes_max (8192)"},
      {chunks("1;x=" + std::string(300, 'a') + "\r\n"), 400, "a chunk's line is too long"},
      {get(kHost + "Connection: close\r\n", "GET /silent HTTP/1.1"), 500,
       "the handler has given no answer"},
  };
}

TEST(HttpReasons, EveryFaultIsToldInTheBody) {
  for (const Fault& fault : faults()) {
    SCOPED_TRACE(fault.why);
    const auto answers = answers_in(exchange_at(SiteOptions{}, fault.text).received);
    ASSERT_EQ(answers.size(), 1u);
    EXPECT_EQ(answers[0].status, fault.status);
    EXPECT_EQ(answers[0].body, fault.why + "\n");
  }
}

TEST(HttpReasons, ALimitIsToldWithItsConfiguredValue) {
  SiteOptions options;
  options.server.limits.body_bytes_max = 10;
  options.server.limits.discarded_bytes_max = 0;
  const std::string post = get(kHost + "Content-Length: 11\r\n", "POST /echo HTTP/1.1");
  const auto answers = answers_in(exchange_at(options, post).received);
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].body, "body larger than limits.http_body_bytes_max (10)\n");
}

TEST(HttpReasons, ADeadlineIsToldWithItsConfiguredValue) {
  SiteOptions options;
  options.server.header_deadline = 250 * runtime::kMillisecond;
  const auto head = answers_in(exchange_at(options, "GET / HTTP/1.1\r\n").received);
  ASSERT_EQ(head.size(), 1u);
  EXPECT_EQ(head[0].body, "header not finished within limits.header_deadline (250ms)\n");
  options.server.body_deadline = 125 * runtime::kMillisecond;
  const std::string post = get(kHost + "Content-Length: 11\r\n", "POST /echo HTTP/1.1");
  const auto body = answers_in(exchange_at(options, post + "half").received);
  ASSERT_EQ(body.size(), 1u);
  EXPECT_EQ(body[0].body, "body not finished within limits.message_deadline (125ms)\n");
}

}  // namespace
}  // namespace corelane
