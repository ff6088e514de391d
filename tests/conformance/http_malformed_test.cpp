// Goal: every malformed or ambiguous request is refused with its exact status, in every cut, and
// nothing behind it is parsed; what is legal beside it is taken. Method: a corpus by the classes of
// RFC 9112 (and of known request smuggling), each case whole, byte by byte and in random pieces,
// each followed by a well-formed request that must never be seen.
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "net/http/request_parser.hpp"
#include "tests/conformance/http_corpus.hpp"
#include "tests/unit/net/http_support.hpp"

namespace corelane {
namespace {

using net::http::RequestParser;
using Event = RequestParser::Event;
using Case = http_corpus::Case;

class HttpMalformed : public testing::TestWithParam<Case> {};

void expect_refused(const Case& c, const http_test::Cutter& cutter, const char* how) {
  // What an attacker hides behind it. None of the texts above may become whole by it.
  const std::string text = c.text + "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
  RequestParser parser;
  http_test::Feeder feeder;
  const auto outcome = feeder.feed(parser, text, cutter);
  ASSERT_EQ(outcome.event, Event::error) << how;
  EXPECT_EQ(parser.status(), c.status) << how;
  EXPECT_TRUE(parser.request().path.empty()) << how;
  const auto after = parser.feed(http_test::as_bytes(text.substr(c.text.size())));
  EXPECT_EQ(after.event, Event::error) << how;
  EXPECT_EQ(after.consumed, 0U) << how;
}

TEST_P(HttpMalformed, IsRefusedWithItsStatusInEveryCut) {
  expect_refused(GetParam(), http_test::whole(), "whole");
  expect_refused(GetParam(), http_test::pieces_of(1), "byte by byte");
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    std::mt19937_64 random{seed};
    expect_refused(GetParam(), http_test::random_pieces(random, 2 + seed), "random pieces");
  }
}

std::string name_of(const testing::TestParamInfo<Case>& info) {
  return info.param.name;
}
INSTANTIATE_TEST_SUITE_P(RequestLine, HttpMalformed, testing::ValuesIn(http_corpus::kRequestLines),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Version, HttpMalformed, testing::ValuesIn(http_corpus::kVersions),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Field, HttpMalformed, testing::ValuesIn(http_corpus::kFields), name_of);
INSTANTIATE_TEST_SUITE_P(Framing, HttpMalformed, testing::ValuesIn(http_corpus::kFraming), name_of);
INSTANTIATE_TEST_SUITE_P(Chunk, HttpMalformed, testing::ValuesIn(http_corpus::kChunks), name_of);

class HttpLegal : public testing::TestWithParam<Case> {};

TEST_P(HttpLegal, IsTakenInEveryCut) {
  for (std::size_t bytes = 1; bytes <= GetParam().text.size(); ++bytes) {
    RequestParser parser;
    http_test::Feeder feeder;
    const auto outcome = feeder.feed(parser, GetParam().text, http_test::pieces_of(bytes));
    ASSERT_EQ(outcome.event, Event::complete) << bytes;
    EXPECT_EQ(outcome.consumed, GetParam().text.size()) << bytes;
  }
}

INSTANTIATE_TEST_SUITE_P(Request, HttpLegal, testing::ValuesIn(http_corpus::kLegal), name_of);

}  // namespace
}  // namespace corelane
