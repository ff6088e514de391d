// Goal: over a real socket a malformed or ambiguous request gets exactly one response, with its
// status, and then the end, and nothing behind it is parsed. Method: the whole corpus against the
// server, each case followed by a well-formed request that must never be answered; in buffers of
// 64 bytes and byte by byte.
#include <gtest/gtest.h>

#include <string>

#include "tests/conformance/http_corpus.hpp"
#include "tests/support/http_site.hpp"

namespace corelane {
namespace {

using http_corpus::Case;

class HttpServerCorpus : public testing::TestWithParam<Case> {};

TEST_P(HttpServerCorpus, IsAnsweredOnceWithItsStatusAndClosed) {
  const Case& c = GetParam();
  for (const std::uint32_t buffer_bytes : {64U, 1U}) {
    tests::SiteOptions options;
    options.network.receive_buffer_bytes = buffer_bytes;
    options.network.receive_buffers = 64;
    const tests::Exchange exchange =
        tests::exchange_at(options, c.text + "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    const auto answers = tests::answers_in(exchange.received);
    ASSERT_EQ(answers.size(), 1U) << exchange.received;
    EXPECT_EQ(answers[0].status, static_cast<int>(c.status));
    EXPECT_FALSE(answers[0].keep_alive);
    EXPECT_EQ(exchange.requests, 0U);
  }
}

std::string name_of(const testing::TestParamInfo<Case>& info) {
  return info.param.name;
}
INSTANTIATE_TEST_SUITE_P(RequestLine, HttpServerCorpus,
                         testing::ValuesIn(http_corpus::kRequestLines), name_of);
INSTANTIATE_TEST_SUITE_P(Version, HttpServerCorpus, testing::ValuesIn(http_corpus::kVersions),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Field, HttpServerCorpus, testing::ValuesIn(http_corpus::kFields), name_of);
INSTANTIATE_TEST_SUITE_P(Framing, HttpServerCorpus, testing::ValuesIn(http_corpus::kFraming),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Chunk, HttpServerCorpus, testing::ValuesIn(http_corpus::kChunks), name_of);

// What looks like it but is legal reaches the routes, of which there is none for it.
class HttpServerLegal : public testing::TestWithParam<Case> {};

TEST_P(HttpServerLegal, ReachesTheRoutes) {
  const std::string last = "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
  const auto answers = tests::answers_in(tests::exchange_at({}, GetParam().text + last).received);
  ASSERT_FALSE(answers.empty());
  EXPECT_EQ(answers[0].status, GetParam().text.starts_with("OPTIONS *") ? 204 : 404);
}
INSTANTIATE_TEST_SUITE_P(Request, HttpServerLegal, testing::ValuesIn(http_corpus::kLegal), name_of);

}  // namespace
}  // namespace corelane
